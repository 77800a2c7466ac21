//! What a compiled filter answers, without installing it.

use super::compile::{ARCH, ARGS, AUDIT_ARCH_X86_64, NR, code};
use super::table::{N, numbers};
use super::{Filter, ret};
use crate::sys::SockFilter;

impl Filter {
    /// Whether a call of an x86-64 program gets through with all arguments zero. Conservative for rules on
    /// arguments: those of thread creation allow ordinary threads by the absence of bits.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        matches!(self.answer(name), ret::ALLOW | ret::LOG)
    }

    /// Whether a call is answered as by a kernel that has no such call (ENOSYS): C libraries then fall back to
    /// an older one, which they do not on EPERM.
    #[must_use]
    pub fn hides(&self, name: &str) -> bool {
        self.answer(name) == ret::ERRNO | libc::ENOSYS as u32
    }

    fn answer(&self, name: &str) -> u32 {
        let Some([number, ..]) = numbers(name).filter(|n| n[0] != N) else {
            return ret::KILL_PROCESS;
        };
        run(&self.program, AUDIT_ARCH_X86_64, number, [0; 6])
    }
}

/// Runs a program over `struct seccomp_data`. A program that leaves its end kills, as the kernel would not
/// have taken it.
pub(super) fn run(program: &[SockFilter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let load = |offset: u32| match offset {
        NR => number,
        ARCH => arch,
        o => {
            let at = o.wrapping_sub(ARGS);
            let arg = args.get((at / 8) as usize).copied().unwrap_or(0);
            if at % 8 == 0 { arg as u32 } else { (arg >> 32) as u32 }
        }
    };
    let (mut a, mut at) = (0u32, 0usize);
    while let Some(i) = program.get(at) {
        at += 1;
        let jump = |condition: bool| usize::from(if condition { i.jt } else { i.jf });
        match i.code {
            code::LD_ABS => a = load(i.k),
            code::AND => a &= i.k,
            code::JEQ => at += jump(a == i.k),
            code::JGT => at += jump(a > i.k),
            code::JGE => at += jump(a >= i.k),
            code::JA => at += i.k as usize,
            code::RET => return i.k,
            _ => return ret::KILL_PROCESS,
        }
    }
    ret::KILL_PROCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_it_allows() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["read","futex"],"action":"SCMP_ACT_ALLOW"},
            {"names":["clone"],"action":"SCMP_ACT_ALLOW",
             "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
        let filter = Filter::new(&serde_json::from_str(json).unwrap()).unwrap();
        assert!(filter.allows("read") && filter.allows("futex") && filter.allows("clone"));
        assert!(!filter.allows("write") && !filter.allows("no_such_call"));
    }

    #[test]
    fn a_call_that_is_answered_with_enosys_is_hidden() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38},
            {"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        let filter = Filter::new(&serde_json::from_str(json).unwrap()).unwrap();
        assert!(filter.hides("clone3") && !filter.allows("clone3"));
        assert!(!filter.hides("write") && !filter.hides("read") && !filter.hides("no_such_call"));
    }
}
