//! Device rules, for both kinds of cgroups: lines of `devices.allow` on v1, an eBPF program on v2.
//!
//! The last rule that covers an access decides; none means no. After the configuration's own rules come
//! those that every container has: making nodes, the default devices and terminals.

use crate::spec::resources::DeviceRule;
use crate::sys::BpfInstruction;

const READ: u32 = 2;
const WRITE: u32 = 4;
const MKNOD: u32 = 1;

/// What is always allowed: type, major, minor, access.
const ALWAYS: [(char, Option<u32>, Option<u32>, &str); 11] = [
    ('c', None, None, "m"),
    ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"),
    ('c', Some(1), Some(8), "rwm"),
    ('c', Some(1), Some(7), "rwm"),
    ('c', Some(5), Some(0), "rwm"),
    ('c', Some(1), Some(5), "rwm"),
    ('c', Some(1), Some(9), "rwm"),
    ('c', Some(136), None, "rwm"),
    ('c', Some(5), Some(2), "rwm"),
    ('c', Some(10), Some(200), "rwm"),
];

/// One rule, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) is_allowed: bool,
    /// `c`, `b` or `a` for both.
    kind: char,
    major: Option<u32>,
    minor: Option<u32>,
    access: String,
}

impl Rule {
    fn new(rule: &DeviceRule) -> Self {
        // Other runtimes take -1 for "any"; what fits no device number covers none.
        let number = |n: Option<i64>| match n {
            Some(n) if n >= 0 => Some(u32::try_from(n).unwrap_or(u32::MAX)),
            _ => None,
        };
        Self {
            is_allowed: rule.allow,
            kind: match rule.kind.as_str() {
                "c" | "u" => 'c',
                "b" => 'b',
                _ => 'a',
            },
            major: number(rule.major),
            minor: number(rule.minor),
            access: if rule.access.is_empty() { "rwm".into() } else { rule.access.clone() },
        }
    }

    /// Whether it covers every access to every device.
    pub(super) fn is_everything(&self) -> bool {
        self.kind == 'a'
            && self.major.is_none()
            && self.minor.is_none()
            && "rwm".chars().all(|c| self.access.contains(c))
    }

    /// The line for `devices.allow` or `devices.deny`.
    pub(super) fn line(&self) -> String {
        if self.is_everything() {
            return "a".into();
        }
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        format!("{} {}:{} {}", self.kind, number(self.major), number(self.minor), self.access)
    }

    fn access_bits(&self) -> u32 {
        self.access.chars().fold(0, |bits, c| {
            bits | match c {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => 0,
            }
        })
    }
}

/// All rules in order.
pub(super) fn rules(own: &[DeviceRule]) -> Vec<Rule> {
    let always = ALWAYS.iter().map(|(kind, major, minor, access)| Rule {
        is_allowed: true,
        kind: *kind,
        major: *major,
        minor: *minor,
        access: (*access).to_owned(),
    });
    own.iter().map(Rule::new).chain(always).collect()
}

/// One kind of device that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceLine {
    /// `c` or `b`.
    pub(crate) kind: char,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) access: String,
}

/// What the rules allow, as a list; `None` where they allow all at first. A list has no exceptions: what a
/// later rule takes away again must be taken away by other means.
pub(crate) fn device_lines(own: &[DeviceRule]) -> Option<Vec<DeviceLine>> {
    let rules = rules(own);
    let first = rules.iter().rposition(Rule::is_everything);
    if first.is_some_and(|at| rules[at].is_allowed) {
        return None;
    }
    let mut out: Vec<DeviceLine> = Vec::new();
    for rule in rules.iter().skip(first.map_or(0, |at| at + 1)) {
        for kind in if rule.kind == 'a' {
            "cb"
        } else if rule.kind == 'b' {
            "b"
        } else {
            "c"
        }
        .chars()
        {
            let is_same =
                |l: &DeviceLine| (l.kind, l.major, l.minor) == (kind, rule.major, rule.minor);
            out.retain(|l| !is_same(l));
            if rule.is_allowed {
                let (major, minor, access) = (rule.major, rule.minor, rule.access.clone());
                out.push(DeviceLine { kind, major, minor, access });
            }
        }
    }
    Some(out)
}

const R0: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

const LOAD_WORD: u8 = 0x61;
const MOVE_IMMEDIATE: u8 = 0xb4;
const MOVE: u8 = 0xbc;
const AND_IMMEDIATE: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> BpfInstruction {
    BpfInstruction { code, registers: from << 4 | to, offset, immediate }
}

/// The program over `struct bpf_cgroup_dev_ctx` (access and type in one word, major, minor): 1 allows.
pub(super) fn program(rules: &[Rule]) -> Vec<BpfInstruction> {
    let mut out = vec![
        instruction(LOAD_WORD, KIND, CONTEXT, 0, 0),
        instruction(MOVE, ACCESS, KIND, 0, 0),
        instruction(AND_IMMEDIATE, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    // The last rule first: the first that covers the access answers.
    for rule in rules.iter().rev() {
        let mut block: Vec<BpfInstruction> = Vec::new();
        let kind = match rule.kind {
            'b' => Some(1),
            'c' => Some(2),
            _ => None,
        };
        let mut tests: Vec<(u8, i32)> = Vec::new();
        tests.extend(kind.map(|k| (KIND, k)));
        tests.extend(rule.major.map(|n| (MAJOR, n as i32)));
        tests.extend(rule.minor.map(|n| (MINOR, n as i32)));
        for (register, value) in tests {
            block.push(instruction(JUMP_NOT_EQUAL, register, 0, 0, value));
        }
        let bits = rule.access_bits();
        if bits != READ | WRITE | MKNOD {
            block.push(instruction(MOVE, SCRATCH, ACCESS, 0, 0));
            block.push(instruction(AND_IMMEDIATE, SCRATCH, 0, 0, !(bits as i32)));
            block.push(instruction(JUMP_NOT_EQUAL, SCRATCH, 0, 0, 0));
        }
        let is_unconditional = block.is_empty();
        block.push(instruction(MOVE_IMMEDIATE, R0, 0, 0, i32::from(rule.is_allowed)));
        block.push(instruction(EXIT, 0, 0, 0, 0));
        // A failed test goes behind the block.
        let length = block.len();
        for (index, i) in block.iter_mut().enumerate() {
            if i.code == JUMP_NOT_EQUAL {
                i.offset = (length - index - 1) as i16;
            }
        }
        out.extend(block);
        if is_unconditional {
            // The verifier refuses instructions that are never reached.
            return out;
        }
    }
    out.push(instruction(MOVE_IMMEDIATE, R0, 0, 0, 0));
    out.push(instruction(EXIT, 0, 0, 0, 0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program.
    fn run(program: &[BpfInstruction], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let (mut r, mut at) = ([0u32; 8], 0usize);
        loop {
            let i = program[at];
            at += 1;
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            match i.code {
                LOAD_WORD => r[to] = context[i.offset as usize / 4],
                MOVE_IMMEDIATE => r[to] = i.immediate as u32,
                MOVE => r[to] = r[from],
                AND_IMMEDIATE => r[to] &= i.immediate as u32,
                SHIFT_RIGHT => r[to] >>= i.immediate,
                JUMP_NOT_EQUAL if r[to] != i.immediate as u32 => at += i.offset as usize,
                JUMP_NOT_EQUAL => {}
                EXIT => return r[0] != 0,
                other => panic!("{other:#x}"),
            }
        }
    }

    fn device_rules(json: &str) -> Vec<Rule> {
        let own: Vec<DeviceRule> = serde_json::from_str(json).unwrap();
        rules(&own)
    }

    #[test]
    fn the_last_rule_that_covers_an_access_decides() {
        let json = r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"access":"r"},
            {"allow":false,"type":"b","major":8,"minor":1,"access":"rwm"}]"#;
        let program = program(&device_rules(json));
        assert!(run(&program, 2, READ | WRITE, 1, 3), "null");
        assert!(!run(&program, 2, READ, 1, 11), "kmsg");
        assert!(run(&program, 2, MKNOD, 1, 11), "making any node");
        assert!(run(&program, 1, READ, 8, 0));
        assert!(!run(&program, 1, READ | WRITE, 8, 0));
        assert!(!run(&program, 1, READ, 8, 1));
    }

    #[test]
    fn everything_can_be_allowed() {
        let program = program(&device_rules(r#"[{"allow":true,"access":"rwm"}]"#));
        assert!(run(&program, 2, READ, 1, 11) && run(&program, 1, READ | WRITE, 8, 0));
    }

    #[test]
    fn lines_are_as_v1_takes_them() {
        let rules = device_rules(
            r#"[{"allow":false,"type":"a","access":"rwm"},{"allow":true,"type":"c","major":1,"minor":-1,"access":"r"}]"#,
        );
        assert_eq!(rules[0].line(), "a");
        assert_eq!(rules[1].line(), "c 1:* r");
        assert_eq!(rules[4].line(), "c 1:3 rwm");
    }

    #[test]
    fn the_kernel_takes_the_program() {
        use rustix::fd::AsFd;
        let top = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .into_iter()
            .find(|d| std::path::Path::new(d).join("cgroup.controllers").exists());
        let Some(top) = top.filter(|_| rustix::process::geteuid().is_root()) else {
            eprintln!("skipped: the_kernel_takes_the_program: needs root and a cgroup2 tree");
            return;
        };
        let directory =
            std::path::Path::new(top).join(format!("devices-test-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let fd = std::fs::File::open(&directory).unwrap();
        let rules = device_rules(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","access":"r"}]"#,
        );
        let result = crate::sys::attach_device_program(fd.as_fd(), &program(&rules));
        drop(fd);
        std::fs::remove_dir(&directory).unwrap();
        result.unwrap();
    }
}
