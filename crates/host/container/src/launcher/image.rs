//! The launcher's ELF file: its code with a list of system calls.
//!
//! One segment at a fixed address, which nobody may write: addresses in the list are therefore known here,
//! and nothing is relocated.

use crate::sys::{SockFilter, launcher_code};

/// Where it is loaded: where programs without position-independent code are.
const BASE: u64 = 0x40_0000;
const FILE_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const CODE: usize = FILE_HEADER + 2 * PROGRAM_HEADER;
/// Bytes of a call in the list.
const ENTRY: usize = 80;

/// What a call's result means.
pub(super) mod result {
    /// Interrupted: again.
    pub(crate) const AGAIN: u64 = 1;
    /// It may fail.
    pub(crate) const ANY: u64 = 2;
    /// It is the descriptor to which failures are reported from here on.
    pub(crate) const REPORT: u64 = 4;
    /// Zero is the end of a socket: nobody is there to start the program.
    pub(crate) const NOT_ZERO: u64 = 8;
}

/// One argument.
pub(super) enum Word<'a> {
    /// As it is.
    Value(u64),
    /// The address of a copy.
    Bytes(&'a [u8]),
    /// The address of a `struct sock_fprog`.
    Program(&'a [SockFilter]),
}

/// One system call.
pub(super) struct Call<'a> {
    pub(super) number: libc::c_long,
    pub(super) words: Vec<Word<'a>>,
    /// What it does, for a report of its failure.
    pub(super) text: String,
    /// Of [`result`].
    pub(super) result: u64,
}

/// The file. Failures are reported to `report` until a call gives another descriptor, -1 for nowhere;
/// `last` is the text before the program's path.
pub(super) fn build(report: i32, calls: &[Call<'_>], last: &str) -> Vec<u8> {
    let code = launcher_code();
    let list = CODE + code.len();
    // The list's length is known, so what the calls point to goes right behind it.
    let mut data = Data { at: list + 8 + (calls.len() + 1) * ENTRY, bytes: Vec::new() };
    let mut words: Vec<u64> = vec![i64::from(report) as u64];
    for call in calls {
        words.push(call.number as u64);
        let addresses = call.words.iter().map(|word| match word {
            Word::Value(value) => *value,
            Word::Bytes(bytes) => data.put(bytes),
            Word::Program(program) => data.put_program(program),
        });
        words.extend(addresses.chain(std::iter::repeat(0)).take(6));
        words.extend([data.put(call.text.as_bytes()), call.text.len() as u64, call.result]);
    }
    words.push(u64::MAX);
    words.extend([0; 6]);
    words.extend([data.put(last.as_bytes()), last.len() as u64, 0]);
    let length = (data.at + data.bytes.len()) as u64;

    let mut out = Vec::with_capacity(length as usize);
    file_header(&mut out);
    // PT_LOAD, readable and executable; PT_GNU_STACK, not executable.
    program_header(&mut out, 1, 5, BASE, length, 4096);
    program_header(&mut out, 0x6474_e551, 6, 0, 0, 16);
    out.extend_from_slice(code);
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    out.extend_from_slice(&data.bytes);
    out
}

/// What is pointed to.
struct Data {
    /// Offset of its first byte in the file.
    at: usize,
    bytes: Vec<u8>,
}

impl Data {
    /// Appends; the result is the address, a multiple of eight.
    fn put(&mut self, bytes: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let address = BASE + (self.at + self.bytes.len()) as u64;
        self.bytes.extend_from_slice(bytes);
        address
    }

    fn put_program(&mut self, program: &[SockFilter]) -> u64 {
        let bytes: Vec<u8> = program.iter().flat_map(|it| it.to_bytes()).collect();
        let address = self.put(&bytes);
        // The kernel takes at most 4096 instructions; a longer program is refused before.
        let mut header = (program.len() as u64).to_le_bytes().to_vec();
        header.extend(address.to_le_bytes());
        self.put(&header)
    }
}

/// ELF header (System V ABI, "ELF Header") of an x86-64 program at a fixed address.
fn file_header(out: &mut Vec<u8>) {
    out.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(2u16.to_le_bytes()); // ET_EXEC
    out.extend(62u16.to_le_bytes()); // EM_X86_64
    out.extend(1u32.to_le_bytes());
    out.extend((BASE + CODE as u64).to_le_bytes()); // e_entry
    out.extend((FILE_HEADER as u64).to_le_bytes()); // e_phoff
    out.extend(0u64.to_le_bytes()); // e_shoff
    out.extend(0u32.to_le_bytes());
    for half in [FILE_HEADER as u16, PROGRAM_HEADER as u16, 2, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
}

fn program_header(out: &mut Vec<u8>, kind: u32, flags: u32, address: u64, size: u64, align: u64) {
    out.extend(kind.to_le_bytes());
    out.extend(flags.to_le_bytes());
    for word in [0, address, address, size, size, align] {
        out.extend(word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(file: &[u8], address: u64) -> u64 {
        let at = (address - BASE) as usize;
        u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn addresses_are_where_the_bytes_are() {
        let program = [SockFilter { code: 6, jt: 1, jf: 2, k: 0x7fff_0000 }];
        let calls = [
            Call {
                number: 157,
                words: vec![Word::Value(15), Word::Bytes(b"name\0")],
                text: String::new(),
                result: result::ANY,
            },
            Call {
                number: 317,
                words: vec![Word::Value(1), Word::Value(0), Word::Program(&program)],
                text: "install".into(),
                result: 0,
            },
        ];
        let file = build(-1, &calls, "execute ");
        let list = BASE + (CODE + launcher_code().len()) as u64;
        assert_eq!(word(&file, list), u64::MAX);
        let (first, second) = (list + 8, list + 8 + ENTRY as u64);
        assert_eq!((word(&file, first), word(&file, first + 8)), (157, 15));
        let name = (word(&file, first + 16) - BASE) as usize;
        assert_eq!(&file[name..name + 5], b"name\0");
        assert_eq!(word(&file, first + 72), result::ANY);
        let header = word(&file, second + 24);
        assert_eq!(word(&file, header), 1, "instructions");
        assert_eq!(word(&file, word(&file, header + 8)), 0x7fff_0000_0201_0006);
        let last = second + ENTRY as u64;
        assert_eq!(word(&file, last), u64::MAX);
        let text = (word(&file, last + 56) - BASE) as usize;
        assert_eq!(&file[text..], b"execute ");
        assert_eq!(word(&file, last + 64), 8);
    }
}
