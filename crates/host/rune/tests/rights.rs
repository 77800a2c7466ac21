//! A program's rights do not depend on who made the last steps: the launcher, or rune itself.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::{Value, json};
use std::path::Path;

/// `struct vfs_cap_data`, revision 2 (`linux/capability.h`): `CAP_KILL` permitted and effective.
const FILE_CAPABILITIES: [u8; 20] = [1, 0, 0, 2, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

const SCRIPT: &str = "grep -E '^(Name|Uid|Gid|Groups|Cap|NoNew|Seccomp|Sig[BIC]|ShdPnd)' /proc/1/status; \
    cat /proc/1/comm /proc/1/oom_score_adj; tr '\\0' ' ' </proc/1/cmdline | cut -c1-9; umask; \
    grep -E 'files|stack' /proc/1/limits; echo /proc/1/fd/*; /bin/busybox-capable cat /proc/self/status | grep Cap; \
    [ -r /proc/1/environ ] && echo dumpable";

fn bundle(runtime: &Runtime, change: &[(&str, Value)]) -> Bundle {
    let mut bundle = Bundle::new(runtime, SCRIPT).unwrap();
    // By a name that begins like this, busybox takes its first argument for the applet.
    let capable = bundle.rootfs().join("bin/busybox-capable");
    std::fs::copy(bundle.rootfs().join("bin/busybox"), &capable).unwrap();
    rustix::fs::setxattr(
        &capable,
        "security.capability",
        &FILE_CAPABILITIES,
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    for (pointer, value) in change {
        bundle.set(pointer, value.clone());
    }
    bundle
}

#[test]
fn rights_are_the_same_with_and_without_the_launcher() {
    let name = "rights_are_the_same_with_and_without_the_launcher";
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_rune")).to_owned();
    let root = directory.path().join("state");
    let runtime = Runtime { program, root, hides_cgroup2: false };
    let some = json!(["CAP_KILL", "CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
    let one = json!(["CAP_CHOWN"]);
    let sets = [
        Value::Null,
        json!({"bounding": some, "effective": some, "permitted": some}),
        json!({"bounding": some, "effective": one, "permitted": some, "inheritable": one, "ambient": one}),
        json!({"bounding": some, "effective": some, "permitted": some, "inheritable": some, "ambient": some}),
        json!({}),
    ];
    let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
        [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}]});
    let mut seen = std::collections::BTreeSet::new();
    for user in [0, 1000] {
        for is_fixed in [false, true] {
            for (index, set) in sets.iter().enumerate() {
                for filter in [&Value::Null, &filter] {
                    let change = [
                        ("/process/user", json!({"uid": user, "gid": user, "additionalGids": [7]})),
                        ("/process/noNewPrivileges", json!(is_fixed)),
                        ("/process/capabilities", set.clone()),
                        ("/linux/seccomp", filter.clone()),
                    ];
                    let what = format!("uid {user}, fixed {is_fixed}, set {index}, {filter}");
                    let ours = bundle(&runtime, &change).run().unwrap();
                    let mut slow = bundle(&runtime, &change);
                    slow.set("/hooks", json!({"createRuntime": [{"path": "/bin/true"}]}));
                    let theirs = slow.run().unwrap();
                    assert_eq!(ours.stdout, theirs.stdout, "{what}: {}", ours.stderr);
                    // A line of the log begins with the time.
                    let said =
                        |text: &str| text.split_once(" msg=").map(|(_, said)| said.to_owned());
                    assert_eq!(said(&ours.stderr), said(&theirs.stderr), "{what}");
                    assert_eq!(ours.code, theirs.code, "{what}");
                    seen.insert(ours.stdout);
                }
            }
        }
    }
    assert!(seen.len() > 10, "the cases do not differ: {seen:?}");
}
