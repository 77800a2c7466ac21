//! The gate page just above ELRANGE, and ENCLU sites turned into calls to it.
//!
//! An enclave emits every ENCLU as `0F 01 D7` with a four-byte NOP behind. In fast mode, after EINIT (so
//! after the measurement), such a site becomes `call gate` with a two-byte NOP. The gate page is the first
//! page after ELRANGE, which the image, at the top of ELRANGE, reaches with a 32-bit displacement.

use crate::gates;
use crate::signal::Frame;
use crate::space::{Locked, PAGE};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};
use sgx::driver::DriverError;

/// ENCLU and its NOP.
const SITE: [u8; 7] = [0x0f, 0x01, 0xd7, 0x0f, 0x1f, 0x40, 0x00];
/// Offset of the probe in the gate page: `mov eax, 39; syscall; ret`.
const PROBE: u64 = 64;
const PROBE_CODE: [u8; 8] = [0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3];
/// RIP that the signal of the probe's system call has.
const PROBE_AFTER: u64 = PROBE + 7;
/// What the probe returns when its system call was dispatched; no process id is negative.
const ANSWER: i64 = -0x5347;

/// Linear address of the mapped gate page; 0 for none.
static GATE_PAGE: AtomicU64 = AtomicU64::new(0);

/// The gate page. Exists with its enclave.
pub(crate) struct GatePage {
    address: u64,
}

impl GatePage {
    /// Maps the page at `address`, the end of ELRANGE.
    pub(crate) fn map(address: u64) -> Result<Self, DriverError> {
        let error = |operation| DriverError::Os {
            operation,
            errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        };
        // SAFETY: MAP_FIXED_NOREPLACE maps nothing over an existing mapping.
        let mapped = unsafe {
            libc::mmap(
                address as *mut c_void,
                PAGE as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            )
        };
        if mapped as u64 != address {
            return Err(error("mmap of the gate page after ELRANGE"));
        }
        let page = Self { address };
        // jmp qword ptr [rip + 2]; the target is at offset 8.
        let mut code = [0xcc_u8; 128];
        code[..6].copy_from_slice(&[0xff, 0x25, 2, 0, 0, 0]);
        code[8..16].copy_from_slice(&gates::gate().to_le_bytes());
        code[PROBE as usize..PROBE as usize + PROBE_CODE.len()].copy_from_slice(&PROBE_CODE);
        // SAFETY: the page was mapped writable just above and nobody else knows it; making it executable
        // changes no memory that Rust uses.
        let result = unsafe {
            core::ptr::copy_nonoverlapping(code.as_ptr(), mapped.cast::<u8>(), code.len());
            libc::mprotect(mapped, PAGE as usize, libc::PROT_READ | libc::PROT_EXEC)
        };
        if result != 0 {
            return Err(error("mprotect of the gate page"));
        }
        GATE_PAGE.store(address, Ordering::Release);
        Ok(page)
    }

    /// End of the addresses whose system calls are dispatched: ELRANGE and the gate page with its probe.
    pub(crate) const fn end(&self) -> u64 {
        self.address + PAGE
    }

    /// Executes a system call in the dispatched range and says whether it was dispatched.
    pub(crate) fn probe(&self) -> bool {
        // SAFETY: the code at this address was written by `map`; it is a function without arguments that
        // makes one harmless system call (getpid).
        let probe: extern "C" fn() -> i64 =
            unsafe { core::mem::transmute((self.address + PROBE) as *const ()) };
        probe() == ANSWER
    }
}

impl Drop for GatePage {
    fn drop(&mut self) {
        GATE_PAGE.store(0, Ordering::Release);
        // SAFETY: `map` mapped it, and no enclave code that could call it is left.
        unsafe { libc::munmap(self.address as *mut c_void, PAGE as usize) };
    }
}

/// Answers SIGSYS of the probe.
pub(crate) fn answer_probe(frame: &mut Frame<'_>) -> bool {
    let page = GATE_PAGE.load(Ordering::Acquire);
    if page == 0 || frame.rip() != page + PROBE_AFTER {
        return false;
    }
    frame.set_register(libc::REG_RAX, ANSWER as u64);
    true
}

/// Turns the sites in executable pages into calls. Gives their number.
pub(crate) fn patch(
    space: &Locked<'_>,
    code_pages: &[u64],
    gate_page: &GatePage,
) -> Result<usize, DriverError> {
    let mut sites = 0;
    for run in code_pages.chunk_by(|a, b| a + 1 == *b) {
        let (start, length) = (run[0] * PAGE, run.len() as u64 * PAGE);
        // SAFETY: these pages are mapped readable (executable implies it) and no enclave code runs yet.
        let code = unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) };
        let found: Vec<u64> = code
            .windows(SITE.len())
            .enumerate()
            .filter(|(_, window)| *window == SITE)
            .map(|(offset, _)| start + offset as u64)
            .collect();
        for site in found {
            let displacement = gate_page.address.wrapping_sub(site + 5) as i64;
            if let Ok(displacement) = i32::try_from(displacement) {
                let mut call = [0xe8, 0, 0, 0, 0, 0x66, 0x90];
                call[1..5].copy_from_slice(&displacement.to_le_bytes());
                space.poke(site, &call)?;
                sites += 1;
            }
        }
    }
    Ok(sites)
}
