//! What the emulator and containers need of the kernel.

use super::{Check, Need};
use std::fs;
use std::path::Path;

/// Where the lowest page of an enclave lies; everything below stays empty.
const FIRST_PAGE: u64 = 0x10000;

/// AT_HWCAP2 bit by which the kernel says that programs may use RDGSBASE and its like.
const HWCAP2_FSGSBASE: usize = 1 << 1;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = emulator();
    checks.extend(containers());
    checks
}

/// Release of the running kernel.
pub(super) fn kernel_version() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether a release such as `6.1.0-18-amd64` is at least `least`.
pub(super) fn has_kernel(release: &str, least: (u32, u32)) -> bool {
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let mut parts = release.split('.').map(digits).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= least
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn emulator() -> Vec<Check> {
    let version = kernel_version();
    let (_, hwcap2) = rustix::param::linux_hwcap();
    let fsgsbase = hwcap2 & HWCAP2_FSGSBASE != 0;
    let lowest = number("/proc/sys/vm/mmap_min_addr");
    let overcommit = number("/proc/sys/vm/overcommit_memory");
    let address_space = rustix::process::getrlimit(rustix::process::Resource::As).current;
    let xsave = std::arch::is_x86_feature_detected!("xsave");
    let check = |name, is_ok, found: String, action| Check {
        name,
        need: Need::Emulator,
        is_ok,
        found,
        action,
    };
    let show = |value: Option<u64>| value.map_or("unknown".into(), |value| value.to_string());
    vec![
        check(
            "syscall user dispatch",
            has_kernel(&version, (5, 11)),
            format!("Linux {version}"),
            "use Linux 5.11 or newer (PR_SET_SYSCALL_USER_DISPATCH): system calls inside the enclave have to trap",
        ),
        check(
            "FSGSBASE",
            fsgsbase,
            if fsgsbase { "yes" } else { "no" }.into(),
            "use a processor with FSGSBASE and Linux 5.9 or newer without the option nofsgsbase",
        ),
        check(
            "XSAVE",
            xsave,
            if xsave { "yes" } else { "no" }.into(),
            "use a processor with XSAVE: exceptions save the extended state",
        ),
        check(
            "vm.mmap_min_addr",
            lowest.is_some_and(|lowest| lowest <= FIRST_PAGE),
            show(lowest),
            "sysctl vm.mmap_min_addr=65536: an enclave starts at address 65536",
        ),
        check(
            "vm.overcommit_memory",
            overcommit.is_none_or(|mode| mode != 2),
            show(overcommit),
            "sysctl vm.overcommit_memory=0: an enclave reserves its whole range",
        ),
        check(
            "RLIMIT_AS",
            address_space.is_none(),
            address_space.map_or("unlimited".into(), |limit| format!("{limit} bytes")),
            "ulimit -v unlimited, or convert with an --enclave-size below the limit",
        ),
    ]
}

fn containers() -> Vec<Check> {
    let mode = cgroup_mode(|path| Path::new("/sys/fs/cgroup").join(path).exists());
    let is_root = rustix::process::geteuid().is_root();
    let missing: Vec<&str> = ["pid", "net", "ipc", "uts", "mnt", "user", "cgroup"]
        .into_iter()
        .filter(|name| !Path::new("/proc/self/ns").join(name).exists())
        .collect();
    let check = |name, is_ok, found: String, action| Check {
        name,
        need: Need::Container,
        is_ok,
        found,
        action,
    };
    vec![
        check(
            "cgroups",
            mode.is_some(),
            mode.unwrap_or("not mounted").into(),
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup: limits of containers need them",
        ),
        check(
            "namespaces",
            missing.is_empty(),
            if missing.is_empty() {
                "all".into()
            } else {
                format!("without {}", missing.join(", "))
            },
            "use a kernel with CONFIG_NAMESPACES and all of its options",
        ),
        check(
            "privilege",
            is_root,
            if is_root { "root" } else { "an ordinary user" }.into(),
            "run rune as root; converting, signing and inspecting need no privilege",
        ),
    ]
}

fn cgroup_mode(exists: impl Fn(&str) -> bool) -> Option<&'static str> {
    match (exists("cgroup.controllers"), exists("memory"), exists("unified")) {
        (true, ..) => Some("v2"),
        (false, true, true) => Some("hybrid: v1 controllers beside v2"),
        (false, true, false) => Some("v1"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases() {
        assert!(has_kernel("6.1.0-18-amd64", (6, 0)));
        assert!(has_kernel("6.0-rc1", (6, 0)));
        assert!(has_kernel("5.15.167.4-microsoft-standard-WSL2", (5, 11)));
        assert!(!has_kernel("5.10.0-20-amd64", (5, 11)));
        assert!(!has_kernel("4.4.0", (5, 11)));
        assert!(!has_kernel("", (5, 11)));
    }

    #[test]
    fn cgroup_modes() {
        let mode = |there: &[&str]| cgroup_mode(|path| there.contains(&path));
        assert_eq!(mode(&["cgroup.controllers"]), Some("v2"));
        assert_eq!(mode(&["memory", "unified"]), Some("hybrid: v1 controllers beside v2"));
        assert_eq!(mode(&["memory"]), Some("v1"));
        assert_eq!(mode(&[]), None);
    }
}
