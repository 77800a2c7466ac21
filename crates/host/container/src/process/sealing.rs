//! The last steps of [`ProcessPlan::seal`] as a list, for the launcher, and what must be so before it starts.
//!
//! The launcher is started by an `execve`, which takes capabilities away: from a user other than root all that
//! are not ambient. Those that the last steps need are carried through it as ambient ones.

use super::ProcessPlan;
use crate::caps::{self, Sets};
use crate::error::{Error, Result};
use crate::sys::{SockFilter, execute_fd};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use std::ffi::CString;

/// An argument of a step.
#[derive(Debug)]
pub(crate) enum Operand<'a> {
    /// As it is.
    Value(u64),
    /// The address of these bytes.
    Bytes(Vec<u8>),
    /// The address of a `struct sock_fprog`.
    Filter(&'a [SockFilter]),
}

/// One system call.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) number: libc::c_long,
    pub(crate) operands: Vec<Operand<'a>>,
    /// What it does.
    pub(crate) text: String,
    pub(crate) may_fail: bool,
}

const SECCOMP_SET_MODE_FILTER: u64 = 1;

/// The text of the step that installs the filter.
pub(crate) const INSTALL: &str = "install linux.seccomp";

/// Why the filter could not be installed.
pub(crate) fn not_installed(errno: Errno) -> Error {
    match errno {
        Errno::ACCESS => Error::Capability {
            operation: "install the system call filter".into(),
            capability: "CAP_SYS_ADMIN",
            field: "linux.seccomp".into(),
            advice: "set process.noNewPrivileges to true".into(),
            errno: libc::EACCES,
        },
        errno => Error::os("install", "linux.seccomp")(errno),
    }
}

impl ProcessPlan {
    /// Has the launcher make the last steps.
    pub(crate) const fn use_launcher(&mut self) {
        self.has_launcher = true;
    }

    /// Capabilities that the last steps need or give to the program.
    pub(super) fn carried(&self, caps: &Sets) -> u64 {
        let needs_admin = self.filter.is_some() && !self.is_privilege_fixed;
        let admin = caps::bit("CAP_SYS_ADMIN").filter(|_| needs_admin).map_or(0, |bit| 1 << bit);
        caps.permitted | caps.inheritable | admin
    }

    /// In the child: keeps the rights of the last steps through the start of the launcher, and no others.
    ///
    /// # Errors
    /// As `capset(2)` and `prctl(2)`.
    pub(crate) fn carry(&self) -> Result<()> {
        self.caps.as_ref().map_or(Ok(()), |_| caps::carry())
    }

    /// The steps of [`seal`](Self::seal).
    pub(crate) fn sealing(&self) -> Vec<Step<'_>> {
        let mut out = Vec::new();
        if self.is_privilege_fixed {
            let operands = [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0, 0, 0];
            out.push(step(libc::SYS_prctl, operands, "set no_new_privs"));
            self.rights(&mut out);
            self.filter(&mut out);
        } else {
            self.filter(&mut out);
            self.rights(&mut out);
        }
        out
    }

    fn filter<'a>(&'a self, out: &mut Vec<Step<'a>>) {
        let Some(filter) = &self.filter else { return };
        let operands = [SECCOMP_SET_MODE_FILTER, u64::from(filter.flags)];
        let mut install = step(libc::SYS_seccomp, operands, INSTALL);
        install.operands.push(Operand::Filter(&filter.program));
        out.push(install);
    }

    fn rights(&self, out: &mut Vec<Step<'_>>) {
        let Some(caps) = &self.caps else { return };
        let (header, data) = caps::structures(caps);
        let mut set = step(libc::SYS_capset, [], "set process.capabilities");
        set.operands = vec![Operand::Bytes(header.to_vec()), Operand::Bytes(data.to_vec())];
        out.push(set);
        let ambient = |what: libc::c_int, bit: u64, text: &str| {
            step(libc::SYS_prctl, [libc::PR_CAP_AMBIENT as u64, what as u64, bit, 0, 0], text)
        };
        let clear = ambient(libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, "clear the ambient set");
        out.push(Step { may_fail: true, ..clear });
        for (bit, name) in caps::NAMES.iter().enumerate() {
            if caps.ambient & (1 << bit) != 0 {
                let text = format!("raise in the ambient set {name}");
                out.push(ambient(libc::PR_CAP_AMBIENT_RAISE, bit as u64, &text));
            }
        }
    }

    /// Becomes the launcher in `file` of a program. Returns only if that failed.
    pub(crate) fn execute_launcher(&mut self, file: BorrowedFd<'_>, program: CString) -> Error {
        self.argv_c.insert_first(program);
        Error::os("execute", "the launcher")(execute_fd(file, &self.argv_c, &self.env_c))
    }
}

fn step<'a, const N: usize>(number: libc::c_long, operands: [u64; N], text: &str) -> Step<'a> {
    let operands = operands.into_iter().map(Operand::Value).collect();
    Step { number, operands, text: text.into(), may_fail: false }
}
