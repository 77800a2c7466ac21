//! The vDSO function `__vdso_sgx_enter_enclave`.
//!
//! The vDSO is an ELF image that the kernel maps into every process. Its dynamic symbol table is read here
//! by hand; every offset in it is checked, although it is the kernel's.

use sgx::driver::DriverError;
use std::sync::OnceLock;

const NAME: &[u8] = b"__vdso_sgx_enter_enclave";
/// The vDSO is a few pages; what it says of itself is not believed beyond this.
const MAX_SIZE: usize = 64 * 1024;

const PT_LOAD: u32 = 1;
const SHT_DYNSYM: u32 = 11;

/// Address of the function.
pub(super) fn enter_enclave() -> Result<u64, DriverError> {
    static ADDRESS: OnceLock<Option<u64>> = OnceLock::new();
    ADDRESS.get_or_init(|| find(NAME)).ok_or(DriverError::Refused {
        operation: "EENTER",
        field: "__vdso_sgx_enter_enclave in the vDSO (CONFIG_X86_SGX)",
        expected: 1,
        got: 0,
    })
}

fn find(name: &[u8]) -> Option<u64> {
    // SAFETY: it only reads the auxiliary vector.
    let base = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if base == 0 {
        return None;
    }
    // SAFETY: the kernel maps at least one page there, and never unmaps or writes it.
    let header = unsafe { std::slice::from_raw_parts(base as *const u8, 4096) };
    let size = loaded_size(header)?;
    // SAFETY: the image's one loadable segment covers this much, and is mapped whole.
    let image = unsafe { std::slice::from_raw_parts(base as *const u8, size) };
    Some(base + symbol(image, name)?)
}

fn number<const N: usize>(image: &[u8], offset: usize) -> Option<u64> {
    let bytes = image.get(offset..offset.checked_add(N)?)?;
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes);
    Some(u64::from_le_bytes(wide))
}

fn index(image: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(number::<8>(image, offset)?).ok()
}

/// Bytes of the image in memory: the end of its loadable segment, rounded up to pages.
fn loaded_size(header: &[u8]) -> Option<usize> {
    if header.get(..5)? != b"\x7fELF\x02" {
        return None;
    }
    let (table, size) = (index(header, 32)?, number::<2>(header, 54)? as usize);
    (0..number::<2>(header, 56)? as usize).find_map(|i| {
        let entry = table.checked_add(i.checked_mul(size)?)?;
        if number::<4>(header, entry)? != u64::from(PT_LOAD)
            || number::<8>(header, entry + 16)? != 0
        {
            return None;
        }
        let end = index(header, entry + 40)?.checked_next_multiple_of(4096)?;
        (end <= MAX_SIZE).then_some(end)
    })
}

/// Offset of a symbol in an image, by its section headers.
fn symbol(image: &[u8], name: &[u8]) -> Option<u64> {
    let (sections, size) = (index(image, 40)?, number::<2>(image, 58)? as usize);
    let section = |i: usize| sections.checked_add(i.checked_mul(size)?);
    let symbols = (0..number::<2>(image, 60)? as usize)
        .filter_map(section)
        .find(|&at| number::<4>(image, at + 4) == Some(u64::from(SHT_DYNSYM)))?;
    let (start, length) = (index(image, symbols + 24)?, index(image, symbols + 32)?);
    let strings = index(image, section(number::<4>(image, symbols + 40)? as usize)? + 24)?;
    (0..length / 24).find_map(|i| {
        let at = start.checked_add(i * 24)?;
        let text = image.get(strings.checked_add(number::<4>(image, at)? as usize)?..)?;
        let is_defined = number::<2>(image, at + 6)? != 0;
        let matches = text.starts_with(name) && text.get(name.len()) == Some(&0);
        (matches && is_defined).then(|| number::<8>(image, at + 8))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vdso_has_a_clock() {
        let address = find(b"__vdso_clock_gettime").expect("x86-64 Linux has it");
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the symbol is the function of clock_gettime(2).
        let result = unsafe {
            let function: extern "C" fn(i32, *mut libc::timespec) -> i32 =
                std::mem::transmute(address as *const ());
            function(libc::CLOCK_REALTIME, &raw mut time)
        };
        assert_eq!(result, 0);
        assert!(time.tv_sec > 1_600_000_000);
        assert_eq!(find(b"__vdso_clock_gettim"), None, "a prefix is no match");
        assert_eq!(find(b"__vdso_no_such_function"), None);
    }

    #[test]
    fn damaged_images_give_nothing() {
        // SAFETY: as in `find`.
        let image = unsafe {
            let base = libc::getauxval(libc::AT_SYSINFO_EHDR) as *const u8;
            let size = loaded_size(std::slice::from_raw_parts(base, 4096)).expect("a vDSO");
            std::slice::from_raw_parts(base, size)
        };
        for length in (0..image.len()).step_by(97) {
            let _ = (loaded_size(&image[..length]), symbol(&image[..length], NAME));
        }
        for offset in 0..64 {
            let mut damaged = image.to_vec();
            damaged[offset] = 0xff;
            let _ = (loaded_size(&damaged), symbol(&damaged, NAME));
        }
        assert_eq!(loaded_size(b""), None);
    }
}
