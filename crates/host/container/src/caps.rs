//! Capabilities: names to sets, and dropping to them.

use crate::error::{Error, Result};
use crate::spec;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Names by bit number (`linux/capability.h`).
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Every capability of [`NAMES`].
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// The sets of a process, as bit masks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // capabilities(7)
pub struct Sets {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

impl Sets {
    /// From the configuration. Names that nobody knows, and capabilities that this process does not have
    /// to give, are left out and returned for a warning, as other runtimes do.
    #[must_use]
    pub fn new(wanted: &spec::Capabilities, available: u64) -> (Self, Vec<String>) {
        let mut left_out = Vec::new();
        let mut mask = |names: &[String]| {
            names.iter().fold(0u64, |mask, name| match bit(name) {
                Some(bit) if available & (1 << bit) != 0 => mask | 1 << bit,
                _ => {
                    if !left_out.contains(name) {
                        left_out.push(name.clone());
                    }
                    mask
                }
            })
        };
        let sets = Self {
            bounding: mask(&wanted.bounding),
            effective: mask(&wanted.effective),
            inheritable: mask(&wanted.inheritable),
            permitted: mask(&wanted.permitted),
            ambient: mask(&wanted.ambient),
        };
        // The kernel's own rules: effective within permitted, ambient within both others.
        let effective = sets.effective & sets.permitted;
        let ambient = sets.ambient & sets.permitted & sets.inheritable;
        (Self { effective, ambient, ..sets }, left_out)
    }

    /// Adds one capability to the sets, as `exec --cap` does.
    pub fn add(&mut self, bit: u32) {
        for set in [&mut self.bounding, &mut self.effective, &mut self.permitted] {
            *set |= 1 << bit;
        }
    }
}

/// The number of a name, with or without `CAP_`, in any case.
#[must_use]
pub fn bit(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    NAMES.iter().position(|n| *n == full).map(|i| i as u32)
}

/// What this process may give: its permitted set.
///
/// # Errors
/// As `capget(2)`.
pub fn available() -> Result<u64> {
    capabilities(None).map(|s| s.permitted.bits()).map_err(Error::os("read", "the capabilities"))
}

/// What an operation's failure means: the want of a capability, if this process has not got it.
pub(crate) fn refused(
    operation: &'static str,
    capability: &'static str,
    field: impl Into<String>,
    advice: &'static str,
) -> impl FnOnce(Errno) -> Error {
    let field = field.into();
    move |errno| {
        let has = |bit: u32| available().is_ok_and(|permitted| permitted & (1 << bit) != 0);
        if errno != Errno::PERM || bit(capability).is_none_or(has) {
            return Error::os(operation, field)(errno);
        }
        let (operation, advice) = (format!("{operation} {field}"), advice.into());
        Error::Capability { operation, capability, field, advice, errno: errno.raw_os_error() }
    }
}

/// Removes from the bounding set what is not in the mask. Needs `CAP_SETPCAP`.
///
/// # Errors
/// As `prctl(2)`.
pub fn limit_bounding(mask: u64) -> Result<()> {
    for bit in 0..64 {
        if mask & (1 << bit) != 0 {
            continue;
        }
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Beyond the newest one that the kernel knows.
            Err(Errno::INVAL) => break,
            // Refused even where there is nothing to remove.
            Err(Errno::PERM) if capability_is_in_bounding_set(capability) == Ok(false) => {}
            Err(e) => {
                let field = "process.capabilities.bounding";
                let advice = "leave process.capabilities out";
                return Err(refused("limit", "CAP_SETPCAP", field, advice)(e));
            }
        }
    }
    Ok(())
}

/// Sets the effective, permitted and inheritable sets, then the ambient one.
///
/// # Errors
/// As `capset(2)` and `prctl(2)`.
pub fn apply(sets: &Sets) -> Result<()> {
    set_three(sets.effective, sets.permitted, sets.inheritable)?;
    let _ = clear_ambient_capability_set();
    for bit in 0..NAMES.len() as u32 {
        if sets.ambient & (1 << bit) != 0 {
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            configure_capability_in_ambient_set(capability, true)
                .map_err(Error::os("raise in the ambient set", name(bit)))?;
        }
    }
    Ok(())
}

/// Makes the permitted set effective again after a change of user with capabilities kept.
///
/// # Errors
/// As `capset(2)`.
pub fn raise_permitted() -> Result<()> {
    let sets = capabilities(None).map_err(Error::os("read", "the capabilities"))?;
    let all = sets.permitted.bits();
    set_three(all, all, sets.inheritable.bits())
}

/// Makes capabilities inheritable, as far as this process has them, before the bounding set forbids it.
///
/// # Errors
/// As `capset(2)`.
pub(crate) fn keep_inheritable(mask: u64) -> Result<()> {
    let sets = capabilities(None).map_err(Error::os("read", "the capabilities"))?;
    let permitted = sets.permitted.bits();
    let is_bounded = |bit: &u32| {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        capability_is_in_bounding_set(capability) == Ok(true)
    };
    let bits = (0..NAMES.len() as u32).filter(|bit| mask & permitted & (1 << bit) != 0);
    let kept = bits.filter(is_bounded).fold(0, |kept, bit| kept | 1 << bit);
    set_three(permitted, permitted, kept)
}

/// Leaves this process no more than what [`keep_inheritable`] kept, and hands that through the next `execve`,
/// whoever the user is.
///
/// # Errors
/// As `capset(2)` and `prctl(2)`.
pub(crate) fn carry() -> Result<()> {
    let sets = capabilities(None).map_err(Error::os("read", "the capabilities"))?;
    let kept = sets.permitted.bits() & sets.inheritable.bits();
    apply(&Sets { bounding: 0, effective: kept, inheritable: kept, permitted: kept, ambient: kept })
}

/// Bytes of `struct __user_cap_header_struct` for this process, version 3, and of the two
/// `struct __user_cap_data_struct` (`linux/capability.h`).
pub(crate) fn structures(sets: &Sets) -> ([u8; 8], [u8; 24]) {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&0x2008_0522u32.to_le_bytes());
    let mut data = [0; 24];
    for (half, chunk) in data.chunks_exact_mut(12).enumerate() {
        let words = [sets.effective, sets.permitted, sets.inheritable];
        for (word, place) in words.iter().zip(chunk.chunks_exact_mut(4)) {
            place.copy_from_slice(&((word >> (32 * half)) as u32).to_le_bytes());
        }
    }
    (header, data)
}

fn set_three(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    set_capabilities(None, sets).map_err(Error::os("set", "the capabilities"))
}

fn name(bit: u32) -> &'static str {
    NAMES.get(bit as usize).copied().unwrap_or("a capability unknown here")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_the_unknown_reported() {
        assert_eq!(bit("CAP_CHOWN"), Some(0));
        assert_eq!(bit("cap_checkpoint_restore"), Some(40));
        assert_eq!(bit("sys_admin"), Some(21));
        assert_eq!(bit("CAP_FLY"), None);
        let wanted = spec::Capabilities {
            bounding: vec!["CAP_KILL".into(), "CAP_FLY".into(), "CAP_SYS_RESOURCE".into()],
            permitted: vec!["CAP_KILL".into()],
            effective: vec!["CAP_KILL".into(), "CAP_CHOWN".into()],
            ..Default::default()
        };
        let (sets, left_out) = Sets::new(&wanted, !(1 << 24));
        assert_eq!(left_out, ["CAP_FLY", "CAP_SYS_RESOURCE"]);
        assert_eq!(sets.bounding, 1 << 5);
        assert_eq!(sets.effective, 1 << 5, "effective stays within permitted");
    }

    #[test]
    fn structures_are_the_kernels() {
        let sets =
            Sets { effective: 1, permitted: 1 << 33 | 3, inheritable: 1 << 40, ..Sets::default() };
        let (header, data) = structures(&sets);
        assert_eq!(header, [0x22, 5, 8, 0x20, 0, 0, 0, 0]);
        let words: Vec<u32> =
            data.chunks(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect();
        assert_eq!(words, [1, 3, 0, 0, 2, 1 << 8]);
    }
}
