//! From a profile to a program.
//!
//! Layout: check the architecture, load the number, search it in sorted ranges (a tree of `jge`), and end
//! in a leaf: a return, or a chain of argument comparisons. Jumps of a tree span at most 255 instructions,
//! so far ones go through a `ja`.

use super::table::{N, numbers};
use super::{action, ret};
use crate::error::{Error, Result};
use crate::spec::{Seccomp, SeccompArg};
use crate::sys::SockFilter;
use std::collections::BTreeMap;

pub(super) const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;
const ENOSYS: u32 = ret::ERRNO | libc::ENOSYS as u32;

/// Operations of classic BPF.
pub(super) mod code {
    pub(crate) const LD_ABS: u16 = 0x20;
    pub(crate) const JEQ: u16 = 0x15;
    pub(crate) const JGT: u16 = 0x25;
    pub(crate) const JGE: u16 = 0x35;
    pub(crate) const JA: u16 = 0x05;
    pub(crate) const AND: u16 = 0x54;
    pub(crate) const RET: u16 = 0x06;
}
use code::{AND, JA, JEQ, JGE, JGT, LD_ABS, RET};

/// Offset of the number in `struct seccomp_data`; the architecture follows, then ip, then six arguments.
pub(super) const NR: u32 = 0;
pub(super) const ARCH: u32 = 4;
pub(super) const ARGS: u32 = 16;

/// What happens to one number: argument rules in order, then the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    conditional: Vec<(Vec<Comparison>, u32)>,
    otherwise: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Comparison {
    index: u32,
    op: Op,
    value: u64,
    /// For `MaskedEq`: `value` is the mask, this the wanted result.
    two: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    MaskedEq,
}

/// Compiles a profile for x86-64 and the listed architectures.
///
/// # Errors
/// The field that is not possible.
pub fn compile(profile: &Seccomp) -> Result<Vec<SockFilter>> {
    let default =
        action("linux.seccomp.defaultAction", &profile.default_action, profile.default_errno_ret)?;
    // The native architecture is always in, as with libseccomp.
    let mut architectures = [true, false, false];
    for (index, name) in profile.architectures.iter().enumerate() {
        match name.as_str() {
            "SCMP_ARCH_X86_64" | "SCMP_ARCH_NATIVE" => {}
            "SCMP_ARCH_X86" => architectures[1] = true,
            "SCMP_ARCH_X32" => architectures[2] = true,
            // Profiles for many machines list theirs; a foreign one never runs here.
            other if other.starts_with("SCMP_ARCH_") => {}
            other => {
                let field = format!("linux.seccomp.architectures[{index}]");
                return Err(Error::config(field, "SCMP_ARCH_...", format!("{other:?}")));
            }
        }
    }
    let tables = verdicts(profile, default)?;
    let [x86_64, i386, x32] = tables;
    // Calls that this profile's author could not know get ENOSYS, on which programs fall back, and not the
    // default errno, which they take for a refusal.
    let mut native = x86_64;
    if architectures[2] {
        native.extend(x32);
    }
    let native = search_list(&native, default, newest_named(profile, default, 0), architectures[2]);
    let foreign = search_list(&i386, default, newest_named(profile, default, 1), false);

    let mut out = Assembler::default();
    out.push(LD_ABS, 0, 0, ARCH);
    let native_code = assemble(&native);
    let foreign_code = if architectures[1] { assemble(&foreign) } else { Vec::new() };
    // jeq native ? 1 : 0 ; ja over ; native ... ; jeq i386 ? ...
    out.push(JEQ, 1, 0, AUDIT_ARCH_X86_64);
    out.push(JA, 0, 0, native_code.len() as u32);
    out.code.extend(native_code);
    if architectures[1] {
        out.push(JEQ, 1, 0, AUDIT_ARCH_I386);
        out.push(JA, 0, 0, foreign_code.len() as u32);
        out.code.extend(foreign_code);
    }
    out.push(RET, 0, 0, ret::KILL_PROCESS);
    if out.code.len() > 4096 {
        let got = format!("{} instructions", out.code.len());
        return Err(Error::config("linux.seccomp", "a filter of at most 4096 instructions", got));
    }
    Ok(out.code)
}

/// Verdicts by number for x86-64, i386 and x32, where they differ from the default.
fn verdicts(profile: &Seccomp, default: u32) -> Result<[BTreeMap<u32, Verdict>; 3]> {
    let mut tables: [BTreeMap<u32, Verdict>; 3] = Default::default();
    for (index, rule) in profile.syscalls.iter().enumerate() {
        let field = |name: &str| format!("linux.seccomp.syscalls[{index}].{name}");
        let value = action(&field("action"), &rule.action, rule.errno_ret)?;
        let comparisons = rule
            .args
            .iter()
            .enumerate()
            .map(|(i, arg)| comparison(&field(&format!("args[{i}]")), arg))
            .collect::<Result<Vec<_>>>()?;
        // Several comparisons of one argument are alternatives, as with libseccomp's users.
        let alternatives = if has_repeated_index(&comparisons) {
            comparisons.iter().map(|c| vec![*c]).collect()
        } else {
            vec![comparisons]
        };
        for name in &rule.names {
            let Some(found) = numbers(name) else { continue };
            for (table, number) in tables.iter_mut().zip(found) {
                if number == N {
                    continue;
                }
                let verdict = table
                    .entry(number)
                    .or_insert_with(|| Verdict { conditional: Vec::new(), otherwise: default });
                for alternative in &alternatives {
                    if alternative.is_empty() {
                        // The first unconditional rule holds; conditional ones before it stay.
                        if verdict.otherwise == default {
                            verdict.otherwise = value;
                        }
                    } else if value != default {
                        verdict.conditional.push((alternative.clone(), value));
                    }
                }
            }
        }
    }
    Ok(tables)
}

fn has_repeated_index(comparisons: &[Comparison]) -> bool {
    comparisons.iter().enumerate().any(|(i, a)| comparisons[..i].iter().any(|b| a.index == b.index))
}

fn comparison(field: &str, arg: &SeccompArg) -> Result<Comparison> {
    if arg.index > 5 {
        return Err(Error::config(format!("{field}.index"), "0 to 5", arg.index));
    }
    let op = match arg.op.as_str() {
        "SCMP_CMP_NE" => Op::Ne,
        "SCMP_CMP_LT" => Op::Lt,
        "SCMP_CMP_LE" => Op::Le,
        "SCMP_CMP_EQ" => Op::Eq,
        "SCMP_CMP_GE" => Op::Ge,
        "SCMP_CMP_GT" => Op::Gt,
        "SCMP_CMP_MASKED_EQ" => Op::MaskedEq,
        other => {
            let expected = super::OPERATORS.join(", ");
            return Err(Error::config(format!("{field}.op"), expected, format!("{other:?}")));
        }
    };
    Ok(Comparison { index: arg.index, op, value: arg.value, two: arg.value_two })
}

/// The newest call of an architecture that the profile names, if numbers beyond it get `ENOSYS`.
fn newest_named(profile: &Seccomp, default: u32, column: usize) -> Option<u32> {
    let is_errno = default & 0xffff_0000 == ret::ERRNO;
    if !is_errno || default == ENOSYS {
        return None;
    }
    let named = profile.syscalls.iter().flat_map(|r| &r.names).filter_map(|n| numbers(n));
    named.map(|n| n[column]).filter(|n| *n != N).map(|n| n & !X32_BIT).max()
}

/// Sorted starts of ranges, each with its verdict, covering all numbers.
fn search_list(
    table: &BTreeMap<u32, Verdict>,
    default: u32,
    newest: Option<u32>,
    has_x32: bool,
) -> Vec<(u32, Verdict)> {
    // x32's own calls end at 547, above most profiles' newest.
    let x32_newest = newest.map(|n| n.max(547));
    let unlisted = |number: u32| {
        let newest = if number & X32_BIT == 0 { newest } else { x32_newest };
        if number == u32::MAX {
            default // -1, which a tracer may set
        } else if number & X32_BIT != 0 && !has_x32 {
            ret::KILL_PROCESS
        } else if newest.is_some_and(|newest| number & !X32_BIT > newest) {
            ENOSYS
        } else {
            default
        }
    };
    let mut starts: Vec<u32> = vec![0, X32_BIT, u32::MAX];
    starts.extend(table.keys().flat_map(|n| [*n, *n + 1]));
    starts.extend(newest.map(|n| n + 1));
    starts.extend(x32_newest.map(|n| X32_BIT | (n + 1)));
    starts.sort_unstable();
    starts.dedup();
    let mut merged: Vec<(u32, Verdict)> = Vec::new();
    for start in starts {
        let verdict = table
            .get(&start)
            .cloned()
            .unwrap_or_else(|| Verdict { conditional: Vec::new(), otherwise: unlisted(start) });
        if merged.last().is_none_or(|(_, last)| *last != verdict) {
            merged.push((start, verdict));
        }
    }
    merged
}

#[derive(Default)]
struct Assembler {
    code: Vec<SockFilter>,
}

impl Assembler {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.code.push(SockFilter { code, jt, jf, k });
    }
}

/// The code of one architecture: number loaded, searched, answered. It never falls through.
fn assemble(list: &[(u32, Verdict)]) -> Vec<SockFilter> {
    let mut out = Assembler::default();
    out.push(LD_ABS, 0, 0, NR);
    out.code.extend(tree(list));
    out.code
}

fn tree(list: &[(u32, Verdict)]) -> Vec<SockFilter> {
    if let [(_, verdict)] = list {
        return leaf(verdict);
    }
    let middle = list.len() / 2;
    let (low, high) = list.split_at(middle);
    let (low_code, high_code) = (tree(low), tree(high));
    let mut out = Assembler::default();
    match u8::try_from(low_code.len()) {
        Ok(skip) => out.push(JGE, skip, 0, high[0].0),
        Err(_) => {
            out.push(JGE, 0, 1, high[0].0);
            out.push(JA, 0, 0, low_code.len() as u32);
        }
    }
    out.code.extend(low_code);
    out.code.extend(high_code);
    out.code
}

fn leaf(verdict: &Verdict) -> Vec<SockFilter> {
    let mut out = Assembler::default();
    for (comparisons, value) in &verdict.conditional {
        // A failed comparison jumps over the rest of this rule: build backwards to know how far.
        let mut rule = vec![SockFilter { code: RET, jt: 0, jf: 0, k: *value }];
        for comparison in comparisons.iter().rev() {
            let mut code = compare(*comparison, rule.len());
            code.append(&mut rule);
            rule = code;
        }
        out.code.extend(rule);
    }
    out.push(RET, 0, 0, verdict.otherwise);
    out.code
}

/// Code that falls through if the comparison holds and skips `skip` instructions after itself if not.
/// A rule has at most six comparisons of at most eight instructions, so a jump always fits.
fn compare(c: Comparison, skip: usize) -> Vec<SockFilter> {
    let low = ARGS + 8 * c.index;
    let high = low + 4;
    let (value_high, value_low) = ((c.value >> 32) as u32, c.value as u32);
    let skip = skip as u8;
    let mut out = Assembler::default();
    out.push(LD_ABS, 0, 0, high);
    match c.op {
        Op::Eq => {
            out.push(JEQ, 0, skip + 2, value_high);
            out.push(LD_ABS, 0, 0, low);
            out.push(JEQ, 0, skip, value_low);
        }
        Op::Ne => {
            out.push(JEQ, 0, 2, value_high);
            out.push(LD_ABS, 0, 0, low);
            out.push(JEQ, skip, 0, value_low);
        }
        // high greater: holds; high less: fails; equal: the low half decides.
        Op::Gt | Op::Ge => {
            out.push(JGT, 3, 0, value_high);
            out.push(JEQ, 0, skip + 2, value_high);
            out.push(LD_ABS, 0, 0, low);
            out.push(if c.op == Op::Gt { JGT } else { JGE }, 0, skip, value_low);
        }
        Op::Lt | Op::Le => {
            out.push(JGT, skip + 3, 0, value_high);
            out.push(JEQ, 0, 2, value_high);
            out.push(LD_ABS, 0, 0, low);
            out.push(if c.op == Op::Lt { JGE } else { JGT }, skip, 0, value_low);
        }
        Op::MaskedEq => {
            out.push(AND, 0, 0, value_high);
            out.push(JEQ, 0, skip + 3, (c.two >> 32) as u32);
            out.push(LD_ABS, 0, 0, low);
            out.push(AND, 0, 0, value_low);
            out.push(JEQ, 0, skip, c.two as u32);
        }
    }
    out.code
}

#[cfg(test)]
mod tests {
    use super::super::interpret::run;
    use super::super::table::SYSCALLS;
    use super::*;

    fn profile(json: &str) -> Seccomp {
        serde_json::from_str(json).unwrap()
    }

    const EPERM: u32 = ret::ERRNO | 1;

    #[test]
    fn every_listed_call_gets_its_action_and_every_other_the_default() {
        // Names chosen across the table so that ranges split often.
        let names: Vec<String> = SYSCALLS
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 3 != 0)
            .map(|(_, (n, _))| format!("{n:?}"))
            .collect();
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"],
                "syscalls":[{{"names":[{}],"action":"SCMP_ACT_ALLOW"}}]}}"#,
            names.join(",")
        );
        let program = compile(&profile(&json)).unwrap();
        let listed = |name: &str| names.contains(&format!("{name:?}"));
        let newest =
            SYSCALLS.iter().filter(|(n, _)| listed(n)).map(|(_, n)| n[0]).filter(|n| *n != N).max();
        for (name, numbers) in SYSCALLS {
            for (arch, number) in [
                (AUDIT_ARCH_X86_64, numbers[0]),
                (AUDIT_ARCH_I386, numbers[1]),
                (AUDIT_ARCH_X86_64, numbers[2]),
            ] {
                if number == N {
                    continue;
                }
                let got = run(&program, arch, number, [0; 6]);
                if listed(name) {
                    assert_eq!(got, ret::ALLOW, "{name} {number}");
                } else if number & !X32_BIT <= newest.unwrap() {
                    assert_eq!(got, EPERM, "{name} {number}");
                }
            }
        }
        assert!(program.len() < 1500, "{}", program.len());
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, 5000, [0; 6]), ret::ERRNO | 38);
        assert_eq!(run(&program, 0xc000_00b7, 0, [0; 6]), ret::KILL_PROCESS);
    }

    #[test]
    fn x32_is_killed_where_it_is_not_listed() {
        let p = profile(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        let program = compile(&p).unwrap();
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, 1, [0; 6]), ret::ALLOW);
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, X32_BIT | 1, [0; 6]), ret::KILL_PROCESS);
        assert_eq!(run(&program, AUDIT_ARCH_I386, 1, [0; 6]), ret::KILL_PROCESS);
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, u32::MAX, [0; 6]), ret::ALLOW);
    }

    #[test]
    fn comparisons_hold_at_their_edges() {
        let holds = |op: Op, value: u64, two: u64, arg: u64| match op {
            Op::Ne => arg != value,
            Op::Lt => arg < value,
            Op::Le => arg <= value,
            Op::Eq => arg == value,
            Op::Ge => arg >= value,
            Op::Gt => arg > value,
            Op::MaskedEq => arg & value == two,
        };
        let values =
            [0, 1, 2, 0xffff_fffe, 0xffff_ffff, 1 << 32, (1 << 32) + 1, u64::MAX - 1, u64::MAX];
        let names = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
        let ops = [Op::Ne, Op::Lt, Op::Le, Op::Eq, Op::Ge, Op::Gt, Op::MaskedEq];
        for (name, op) in names.iter().zip(ops) {
            for value in values {
                for two in [0, 1, value] {
                    let p = profile(&format!(
                        r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["read"],
                        "action":"SCMP_ACT_ERRNO","args":[
                        {{"index":2,"value":{value},"valueTwo":{two},"op":"SCMP_CMP_{name}"}},
                        {{"index":0,"value":7,"op":"SCMP_CMP_EQ"}}]}}]}}"#
                    ));
                    let program = compile(&p).unwrap();
                    for arg in values {
                        for first in [7, 8] {
                            let want = holds(op, value, two, arg) && first == 7;
                            let got = run(&program, AUDIT_ARCH_X86_64, 0, [first, 0, arg, 0, 0, 0]);
                            assert_eq!(got == EPERM, want, "{name} {value:#x} {two:#x} {arg:#x}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn two_comparisons_of_one_argument_are_alternatives() {
        let p = profile(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["personality"],
            "action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"},
            {"index":0,"value":8,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        let program = compile(&p).unwrap();
        let at = |v| run(&program, AUDIT_ARCH_X86_64, 135, [v, 0, 0, 0, 0, 0]);
        assert_eq!((at(0), at(8), at(4)), (ret::ALLOW, ret::ALLOW, EPERM));
    }

    #[test]
    fn impossible_values_are_named_by_field() {
        for (json, field) in [
            (r#"{"defaultAction":"ALLOW"}"#, "linux.seccomp.defaultAction"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["x86"]}"#, "architectures[0]"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG",
                "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
                "syscalls[0].args[0].index",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
                "errnoRet":5000}]}"#,
                "syscalls[0].errnoRet",
            ),
        ] {
            let e = compile(&profile(json)).unwrap_err().to_string();
            assert!(e.contains(field), "{e}");
        }
    }
}
