//! SGX: what the processor has (SDM Vol. 3D, "Discovering Support for Intel SGX and Enabling Enclave
//! Instructions", CPUID leaf 12H), and what the kernel makes of it.

use super::kernel::{has_kernel, kernel_version};
use super::{Check, Need};
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// What CPUID says of SGX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sgx {
    sgx: bool,
    flexible_launch_control: bool,
    sgx1: bool,
    sgx2: bool,
    exinfo: bool,
    kss: bool,
    /// Logarithm of the largest enclave.
    max_size_log2: u32,
    epc_bytes: u64,
}

/// Most EPC sections that are looked at; processors have one or two per socket.
const MAX_SECTIONS: u32 = 64;

impl Sgx {
    fn read(cpuid: impl Fn(u32, u32) -> CpuidResult) -> Self {
        let highest = cpuid(0, 0).eax;
        if highest < 7 {
            return Self::default();
        }
        let features = cpuid(7, 0);
        let mut sgx = Self {
            sgx: features.ebx & 1 << 2 != 0,
            flexible_launch_control: features.ecx & 1 << 30 != 0,
            ..Self::default()
        };
        if !sgx.sgx || highest < 0x12 {
            return sgx;
        }
        let capabilities = cpuid(0x12, 0);
        sgx.sgx1 = capabilities.eax & 1 != 0;
        sgx.sgx2 = capabilities.eax & 2 != 0;
        sgx.exinfo = capabilities.ebx & 1 != 0;
        sgx.max_size_log2 = capabilities.edx >> 8 & 0xff;
        sgx.kss = cpuid(0x12, 1).eax & 1 << 7 != 0;
        for section in 2..2 + MAX_SECTIONS {
            let found = cpuid(0x12, section);
            if found.eax & 0xf != 1 {
                break;
            }
            let high = u64::from(found.edx & 0xf_ffff) << 32;
            sgx.epc_bytes += high | u64::from(found.ecx & 0xffff_f000);
        }
        sgx
    }
}

pub(super) fn checks() -> Vec<Check> {
    let sgx = Sgx::read(|leaf, sub| match sub {
        0 if leaf == 0 => __cpuid(leaf),
        _ => __cpuid_count(leaf, sub),
    });
    let mut checks = processor(sgx);
    checks.extend(system());
    checks
}

fn processor(sgx: Sgx) -> Vec<Check> {
    let check = |name, is_ok, found: String, action| Check {
        name,
        need: Need::Hardware,
        is_ok,
        found,
        action,
    };
    let yes = |is: bool| if is { "yes".to_string() } else { "no".to_string() };
    let tier = match (sgx.sgx1, sgx.sgx2) {
        (_, true) => "SGX2: memory and threads are added as they are used",
        (true, false) => {
            "SGX1: a reduced tier (fixed heap, no lazy reservations, no RDTSC), not in this version"
        }
        (false, false) => "none",
    };
    vec![
        check(
            "SGX",
            sgx.sgx && sgx.sgx1,
            yes(sgx.sgx && sgx.sgx1),
            "enable SGX in the firmware; without the \
              processor feature only the emulator remains",
        ),
        check(
            "FLC",
            sgx.flexible_launch_control,
            yes(sgx.flexible_launch_control),
            "enable flexible launch control (\"SGX launch control: unlocked\") in the firmware: Linux starts \
             no enclave without it",
        ),
        check(
            "EDMM",
            sgx.sgx2,
            tier.into(),
            "use a processor with SGX2 (Ice Lake servers or newer)",
        ),
        check(
            "MISCSELECT.EXINFO",
            sgx.exinfo,
            yes(sgx.exinfo),
            "use a processor with SGX2: page faults are not reported to the enclave without it",
        ),
        check(
            "enclave size",
            sgx.max_size_log2 >= 36,
            match sgx.max_size_log2 {
                0 => "unknown".into(),
                log2 => format!("at most 2^{log2} bytes"),
            },
            "convert with a smaller --enclave-size",
        ),
        check(
            "EPC",
            sgx.epc_bytes > 0,
            format!("{} MiB", sgx.epc_bytes >> 20),
            "give SGX memory in the firmware (PRMRR size)",
        ),
        Check {
            name: "KSS",
            need: Need::Attestation,
            is_ok: sgx.kss,
            found: yes(sgx.kss),
            action: "leave identity.kss out of the policy: enclaves that have it do not start here",
        },
    ]
}

fn system() -> Vec<Check> {
    let version = kernel_version();
    let device = openable(Path::new("/dev/sgx_enclave"));
    let noexec = dev_is_noexec(&std::fs::read_to_string("/proc/mounts").unwrap_or_default());
    let provision = openable(Path::new("/dev/sgx_provision"));
    let aesm = Path::new("/var/run/aesmd/aesm.socket");
    vec![
        Check {
            name: "kernel for EDMM",
            need: Need::Hardware,
            is_ok: has_kernel(&version, (6, 0)),
            found: format!("Linux {version}"),
            action: "use Linux 6.0 or newer",
        },
        Check {
            name: "driver",
            need: Need::Hardware,
            is_ok: device.is_ok(),
            found: said("/dev/sgx_enclave", &device),
            action: "load a kernel with CONFIG_X86_SGX; add the user to the group of /dev/sgx_enclave",
        },
        Check {
            name: "/dev executable",
            need: Need::Hardware,
            is_ok: !noexec,
            found: if noexec { "no" } else { "yes" }.into(),
            action: "mount -o remount,exec /dev: enclave pages are mapped from the device",
        },
        Check {
            name: "provisioning",
            need: Need::Attestation,
            is_ok: provision.is_ok(),
            found: said("/dev/sgx_provision", &provision),
            action: "add the user to the group sgx_prv",
        },
        Check {
            name: "AESM",
            need: Need::Attestation,
            is_ok: aesm.exists(),
            found: if aesm.exists() { "its socket is there" } else { "no socket" }.into(),
            action: "install and start aesmd (package sgx-aesm-service): it makes quotes",
        },
    ]
}

fn openable(path: &Path) -> Result<(), ErrorKind> {
    File::options().read(true).write(true).open(path).map(drop).map_err(|error| error.kind())
}

fn said(path: &str, result: &Result<(), ErrorKind>) -> String {
    match result {
        Ok(()) => format!("{path} opens"),
        Err(ErrorKind::NotFound) => format!("no {path}"),
        Err(kind) => format!("{path}: {kind}"),
    }
}

fn dev_is_noexec(mounts: &str) -> bool {
    let mut options = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        (fields.next() == Some("/dev")).then(|| fields.nth(1)).flatten()
    });
    options.next_back().is_some_and(|options| options.split(',').any(|option| option == "noexec"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

    #[test]
    fn an_ice_lake_server_is_read_right() {
        let sgx = Sgx::read(|leaf, sub| match (leaf, sub) {
            (0, _) => CpuidResult { eax: 0x1b, ..NOTHING },
            (7, 0) => CpuidResult { ebx: 1 << 2, ecx: 1 << 30, ..NOTHING },
            (0x12, 0) => CpuidResult { eax: 3, ebx: 1, edx: 0x381f, ..NOTHING },
            (0x12, 1) => CpuidResult { eax: 0xb6, ..NOTHING },
            // Two sections of 2 GiB + 8 MiB and 4 GiB.
            (0x12, 2) => CpuidResult { eax: 1, ecx: 0x8080_0001, ..NOTHING },
            (0x12, 3) => CpuidResult { eax: 1, ecx: 1, edx: 1, ..NOTHING },
            _ => NOTHING,
        });
        let expected = Sgx {
            sgx: true,
            flexible_launch_control: true,
            sgx1: true,
            sgx2: true,
            exinfo: true,
            kss: true,
            max_size_log2: 56,
            epc_bytes: (2 << 30) + (8 << 20) + (4 << 30),
        };
        assert_eq!(sgx, expected);
        assert!(processor(sgx).iter().all(|check| check.is_ok));
    }

    #[test]
    fn sgx1_is_named_as_a_reduced_tier() {
        let sgx = Sgx { sgx: true, sgx1: true, ..Sgx::default() };
        let edmm = processor(sgx).into_iter().find(|check| check.name == "EDMM").unwrap();
        assert!(!edmm.is_ok && edmm.found.starts_with("SGX1: a reduced tier"));
        assert_eq!(Sgx::read(|_, _| NOTHING), Sgx::default());
    }

    #[test]
    fn the_last_mount_of_dev_counts() {
        assert!(!dev_is_noexec("udev /dev devtmpfs rw,nosuid 0 0\n"));
        assert!(dev_is_noexec(
            "udev /dev devtmpfs rw,noexec,nosuid 0 0\nx /dev/shm tmpfs rw 0 0\n"
        ));
        assert!(!dev_is_noexec("a /dev t rw,noexec 0 0\nb /dev t rw 0 0\n"));
    }
}
