//! The stack of a new program: argument and environment strings, and the auxiliary vector (System V ABI,
//! AMD64 supplement 1.0, process initialization; getauxval(3)).

use crate::errno::Errno;
use alloc::vec::Vec;
use core::ops::Range;

/// Longest single string (MAX_ARG_STRLEN).
const MAX_STRING: usize = 128 << 10;

/// Auxiliary vector types.
#[allow(missing_docs)]
pub(super) mod auxiliary {
    pub(crate) const AT_PHDR: u64 = 3;
    pub(crate) const AT_PHENT: u64 = 4;
    pub(crate) const AT_PHNUM: u64 = 5;
    pub(crate) const AT_PAGESZ: u64 = 6;
    pub(crate) const AT_BASE: u64 = 7;
    pub(crate) const AT_FLAGS: u64 = 8;
    pub(crate) const AT_ENTRY: u64 = 9;
    pub(crate) const AT_UID: u64 = 11;
    pub(crate) const AT_EUID: u64 = 12;
    pub(crate) const AT_GID: u64 = 13;
    pub(crate) const AT_EGID: u64 = 14;
    pub(crate) const AT_PLATFORM: u64 = 15;
    pub(crate) const AT_HWCAP: u64 = 16;
    pub(crate) const AT_CLKTCK: u64 = 17;
    pub(crate) const AT_SECURE: u64 = 23;
    pub(crate) const AT_RANDOM: u64 = 25;
    pub(crate) const AT_HWCAP2: u64 = 26;
    pub(crate) const AT_EXECFN: u64 = 31;
    pub(crate) const AT_MINSIGSTKSZ: u64 = 51;
}

/// What goes on the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contents<'a> {
    /// Arguments, without NULs.
    pub argv: &'a [Vec<u8>],
    /// Environment, without NULs.
    pub env: &'a [Vec<u8>],
    /// Path of the program (AT_EXECFN).
    pub path: &'a [u8],
    /// AT_RANDOM's bytes.
    pub random: [u8; 16],
    /// Other entries of the auxiliary vector, in order.
    pub auxiliary: &'a [(u64, u64)],
}

/// A stack to write at `sp`, which ends at the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    /// RSP at the entry point; a multiple of 16.
    pub sp: u64,
    /// Bytes from `sp` to the top.
    pub bytes: Vec<u8>,
    /// Where the argument strings lie, NULs included (/proc/PID/cmdline).
    pub arguments: Range<u64>,
    /// Where the environment strings lie (/proc/PID/environ).
    pub environment: Range<u64>,
}

/// Lays out a stack that ends at `top` (a multiple of 16) and takes at most `limit` bytes.
///
/// # Errors
/// E2BIG.
pub(super) fn build(contents: &Contents<'_>, top: u64, limit: usize) -> Result<Stack, Errno> {
    let mut strings = Strings { bytes: Vec::new(), limit };
    let arguments = strings.list(contents.argv)?;
    let environment = strings.list(contents.env)?;
    let path = strings.push(contents.path)?;
    let platform = strings.push(b"x86_64")?;
    let random = strings.bytes.len();
    strings.bytes.extend_from_slice(&contents.random);
    strings.bytes.resize(strings.bytes.len().next_multiple_of(16), 0);
    // The last word stays zero, as on Linux.
    strings.bytes.extend_from_slice(&[0; 16]);
    let base = top - strings.bytes.len() as u64;

    let mut words = alloc::vec![contents.argv.len() as u64];
    words.extend(arguments.iter().map(|&at| base + at as u64));
    words.push(0);
    words.extend(environment.iter().map(|&at| base + at as u64));
    words.push(0);
    for &(kind, value) in contents.auxiliary {
        words.extend([kind, value]);
    }
    words.extend([
        auxiliary::AT_RANDOM,
        base + random as u64,
        auxiliary::AT_EXECFN,
        base + path as u64,
        auxiliary::AT_PLATFORM,
        base + platform as u64,
        0,
        0,
    ]);
    if words.len() % 2 == 1 {
        // Padding goes between the vector and the strings, so that RSP is aligned at argc.
        words.push(0);
    }
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if bytes.len() + strings.bytes.len() > limit {
        return Err(Errno::E2BIG);
    }
    let sp = base - bytes.len() as u64;
    bytes.append(&mut strings.bytes);
    let environment_start = environment.first().copied().unwrap_or(path);
    let arguments_start = arguments.first().copied().unwrap_or(environment_start);
    Ok(Stack {
        sp,
        bytes,
        arguments: base + arguments_start as u64..base + environment_start as u64,
        environment: base + environment_start as u64..base + path as u64,
    })
}

struct Strings {
    bytes: Vec<u8>,
    limit: usize,
}

impl Strings {
    /// Adds a string with its NUL; gives its place.
    fn push(&mut self, string: &[u8]) -> Result<usize, Errno> {
        let at = self.bytes.len();
        if string.len() >= MAX_STRING || at + string.len() + 1 > self.limit {
            return Err(Errno::E2BIG);
        }
        self.bytes.extend_from_slice(string);
        self.bytes.push(0);
        Ok(at)
    }

    fn list(&mut self, strings: &[Vec<u8>]) -> Result<Vec<usize>, Errno> {
        strings.iter().map(|string| self.push(string)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x7000_0000;

    fn strings(list: &[&str]) -> Vec<Vec<u8>> {
        list.iter().map(|string| string.as_bytes().to_vec()).collect()
    }

    fn built(argv: &[&str], env: &[&str]) -> Stack {
        let (argv, env) = (strings(argv), strings(env));
        let contents = Contents {
            argv: &argv,
            env: &env,
            path: b"/bin/x",
            random: [7; 16],
            auxiliary: &[(6, 4096)],
        };
        build(&contents, TOP, 1 << 20).unwrap()
    }

    fn word(stack: &Stack, index: usize) -> u64 {
        u64::from_le_bytes(stack.bytes[index * 8..index * 8 + 8].try_into().unwrap())
    }

    fn string(stack: &Stack, address: u64) -> Vec<u8> {
        let at = (address - stack.sp) as usize;
        stack.bytes[at..].iter().copied().take_while(|&byte| byte != 0).collect()
    }

    #[test]
    fn the_abi_finds_what_it_looks_for() {
        for argv in [&["sh", "-c", "x"][..], &["sh"]] {
            let stack = built(argv, &["A=1", "B="]);
            assert_eq!(stack.sp % 16, 0);
            assert_eq!(stack.sp + stack.bytes.len() as u64, TOP);
            assert_eq!(word(&stack, 0), argv.len() as u64);
            assert_eq!(string(&stack, word(&stack, 1)), b"sh");
            let env = argv.len() + 2;
            assert_eq!(word(&stack, env - 1), 0);
            assert_eq!(string(&stack, word(&stack, env)), b"A=1");
            assert_eq!(word(&stack, env + 2), 0);
            assert_eq!((word(&stack, env + 3), word(&stack, env + 4)), (6, 4096));
            assert_eq!(word(&stack, env + 5), auxiliary::AT_RANDOM);
            assert_eq!(string(&stack, word(&stack, env + 8)), b"/bin/x");
        }
    }

    #[test]
    fn ranges_hold_the_strings_for_proc() {
        let stack = built(&["sh", "-c"], &["A=1"]);
        let at = |range: &Range<u64>| {
            &stack.bytes[(range.start - stack.sp) as usize..(range.end - stack.sp) as usize]
        };
        assert_eq!(at(&stack.arguments), b"sh\0-c\0");
        assert_eq!(at(&stack.environment), b"A=1\0");
        assert!(built(&[], &[]).arguments.is_empty());
    }

    #[test]
    fn too_much_is_refused() {
        let long = alloc::vec![alloc::vec![b'a'; MAX_STRING]];
        let many = alloc::vec![alloc::vec![b'a'; 1000]; 200];
        let contents =
            Contents { argv: &long, env: &[], path: b"x", random: [0; 16], auxiliary: &[] };
        assert_eq!(build(&contents, TOP, 1 << 20), Err(Errno::E2BIG));
        let contents = Contents { argv: &many, ..contents };
        assert_eq!(build(&contents, TOP, 100_000), Err(Errno::E2BIG));
        assert!(build(&contents, TOP, 1 << 20).is_ok());
    }
}
