//! The launcher: what the first process of an ordinary container is between its set-up and its program.
//!
//! **For.** A process of a container that gets hold of `/proc/PID/exe` of this program can overwrite it once
//! nothing runs it any more (CVE-2019-5736). Starting this program a second time from a read-only view of its
//! file ([`crate::sys::protect_own_file`]) prevents that, at the price of a whole start. Where a container is
//! alone in a pid namespace of its own, nothing of it can look before the first process lets it run. So that
//! process, a fork of this program, ends its set-up by becoming a few hundred bytes of machine code in a sealed
//! file in memory. They say that all is set up, wait for the start, give up the last rights and become the
//! program.
//!
//! **Guarantees.** From the moment at which `create` says that the container is created, no process in its pid
//! namespace runs this program's file: neither a process that enters later (`exec`, another container that
//! joins the namespace) nor the program itself finds it behind `/proc/1/exe`. Whatever the program's path leads
//! to, an interpreter that is `/proc/self/exe` for one, finds the launcher, whose file is sealed and of no use
//! to anybody. Rights, filter and their order are those of [`ProcessPlan::seal`]: the filter need allow no more
//! than for a start without the launcher.
//!
//! **Does not serve** containers in which something else may run earlier, or whose last step needs more than
//! system calls: a joined pid, user or mount namespace, hooks before the program, a listener of the filter,
//! a label that is written for the next `execve`. Those keep the second start.

mod image;

use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::process::{INSTALL, Operand, ProcessPlan, not_installed};
use crate::spec::{NamespaceType, Spec};
use crate::sync::{Sync, Tag};
use image::{Call, Word, result};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::{Errno, FdFlags};
use std::ffi::CString;

/// The name of the process while it waits.
const NAME: &[u8; 10] = b"rune-init\0";

/// A launcher's file, empty until the container's plan is made.
#[derive(Debug)]
pub struct Launcher {
    file: OwnedFd,
}

impl Launcher {
    /// A launcher for this configuration; `None` where it does not serve, or where files in memory may not
    /// be executed (`vm.memfd_noexec`). Then the caller protects its own file.
    #[must_use]
    pub fn prepare(spec: &Spec) -> Option<Self> {
        if !serves(spec) {
            return None;
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Before Linux 6.3 the flag is unknown, and every such file may be executed.
        let file = match rustix::fs::memfd_create(c"rune-init", flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => rustix::fs::memfd_create(c"rune-init", flags),
            other => other,
        };
        Some(Self { file: file.ok()? })
    }

    /// Writes the file. In the runtime, before the fork: afterwards the container's limits hold.
    pub(crate) fn fill(&self, process: &ProcessPlan, gate: &Gate, sync: &Sync) -> Result<()> {
        let file = file(process, gate, sync);
        let failed = |operation| Error::os(operation, "the launcher's file");
        let mut rest = file.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::retry_on_intr(|| rustix::io::write(&self.file, rest))
                .map_err(failed("write"))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&self.file, seals).map_err(failed("seal"))
    }

    /// In the child, as the last thing: becomes the launcher of a program. Returns only if that failed.
    pub(crate) fn execute(
        &self,
        process: &mut ProcessPlan,
        program: CString,
        gate: &Gate,
        sync: &Sync,
    ) -> Error {
        let failed = |e| Error::os("keep", "the socket to the runtime")(e);
        let keep = |fd: &dyn AsFd| rustix::io::fcntl_setfd(fd.as_fd(), FdFlags::empty());
        if let Err(e) = keep(sync) {
            return failed(e);
        }
        if let Gate::Listener(fd) = gate
            && let Err(e) = keep(fd)
        {
            return failed(e);
        }
        process.execute_launcher(self.file.as_fd(), program)
    }
}

/// Whether nothing but the first process can run in the container before its program does.
fn serves(spec: &Spec) -> bool {
    use NamespaceType::{Mount, Pid, User};
    let namespaces = &spec.linux.namespaces;
    let has_new_pid = namespaces.iter().any(|n| n.kind == Pid && n.path.as_os_str().is_empty());
    let joins = |kind| namespaces.iter().any(|n| n.kind == kind && !n.path.as_os_str().is_empty());
    let hooks = &spec.hooks;
    let has_hooks = !(hooks.prestart.is_empty()
        && hooks.create_runtime.is_empty()
        && hooks.create_container.is_empty()
        && hooks.start_container.is_empty());
    let has_label = spec
        .process
        .as_ref()
        .is_some_and(|p| !p.apparmor_profile.is_empty() || !p.selinux_label.is_empty());
    let has_listener =
        spec.linux.seccomp.as_ref().is_some_and(|s| !s.listener_path.as_os_str().is_empty());
    has_new_pid && !joins(User) && !joins(Mount) && !has_hooks && !has_label && !has_listener
}

fn value(n: impl Into<i64>) -> Word<'static> {
    Word::Value(n.into() as u64)
}

/// The file for one container.
fn file(process: &ProcessPlan, gate: &Gate, sync: &Sync) -> Vec<u8> {
    let sync = sync.as_fd().as_raw_fd();
    let ready = [Tag::Ready as u8];
    let call =
        |number, words, text: &str, result| Call { number, words, text: text.into(), result };
    let mut calls = vec![
        call(
            libc::SYS_prctl,
            vec![value(libc::PR_SET_NAME), Word::Bytes(NAME)],
            "name the process",
            result::ANY,
        ),
        // A runtime that has gone shows at the next call, as it does without the launcher.
        call(
            libc::SYS_sendto,
            vec![value(sync), Word::Bytes(&ready), value(1), value(libc::MSG_NOSIGNAL)],
            "say that all is set up",
            result::ANY,
        ),
    ];
    let is_parent = matches!(gate, Gate::Parent);
    match gate {
        Gate::Listener(gate) => {
            let gate = gate.as_raw_fd();
            let accept = vec![value(gate), value(0), value(0), value(libc::SOCK_CLOEXEC)];
            calls.extend([
                call(libc::SYS_close, vec![value(sync)], "close the socket", 0),
                call(
                    libc::SYS_accept4,
                    accept,
                    "wait for the start",
                    result::AGAIN | result::REPORT,
                ),
                call(libc::SYS_close, vec![value(gate)], "close the socket", 0),
            ]);
        }
        // The message is not needed, its length is: the only one that can come is that to go on.
        Gate::Parent => calls.extend([
            call(
                libc::SYS_recvfrom,
                vec![value(sync), value(0), value(0), value(libc::MSG_TRUNC)],
                "wait for the start",
                result::AGAIN | result::NOT_ZERO,
            ),
            call(
                libc::SYS_fcntl,
                vec![value(sync), value(libc::F_SETFD), value(libc::FD_CLOEXEC)],
                "mark the socket",
                0,
            ),
        ]),
    }
    let sealing = process.sealing();
    calls.extend(sealing.iter().map(|step| {
        let words = step.operands.iter().map(|operand| match operand {
            Operand::Value(v) => Word::Value(*v),
            Operand::Bytes(bytes) => Word::Bytes(bytes),
            Operand::Filter(program) => Word::Program(program),
        });
        let result = if step.may_fail { result::ANY } else { 0 };
        Call { number: step.number, words: words.collect(), text: step.text.clone(), result }
    }));
    // A message to the runtime that waits has a tag; `start` reads a stream of text.
    let mut last = String::from("execute ");
    if is_parent {
        let tag = char::from(Tag::Failed as u8);
        for call in &mut calls {
            call.text.insert(0, tag);
        }
        last.insert(0, tag);
    }
    image::build(if is_parent { sync } else { -1 }, &calls, &last)
}

/// The text of a report: the launcher's own ends in a zero byte and `errno` in two digits.
pub(crate) fn reported(message: String) -> String {
    let Some((text, [low, high])) = message
        .split_once('\0')
        .map(|(text, code)| (text, code.as_bytes()))
        .and_then(|(text, code)| Some((text, <[u8; 2]>::try_from(code).ok()?)))
    else {
        return message;
    };
    let digit = |byte: u8| i32::from(byte.wrapping_sub(b'0'));
    let errno = match (digit(low), digit(high)) {
        (low @ 0..64, high @ 0..64) if low | high != 0 => Errno::from_raw_os_error(low | high << 6),
        _ => return message,
    };
    let error = match text.strip_prefix("execute ") {
        Some(path) => Error::os("execute", path)(errno),
        None if text == INSTALL => not_installed(errno),
        None => Error::os("launcher:", text)(errno),
    };
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> Spec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn only_containers_that_are_alone_are_served() {
        use serde_json::json;
        let with = |namespaces: serde_json::Value| {
            let namespaces = json!({"namespaces": namespaces});
            spec(
                json!({"ociVersion": "1.2.0", "process": {"cwd": "/", "args": ["a"]}, "linux": namespaces}),
            )
        };
        let own = json!([{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/x"}]);
        assert!(serves(&with(own.clone())));
        assert!(!serves(&with(json!([{"type": "mount"}]))), "the host's pid namespace");
        for kind in ["pid", "user", "mount"] {
            let mut joined = vec![json!({"type": kind, "path": "/x"})];
            if kind != "pid" {
                joined.push(json!({"type": "pid"}));
            }
            assert!(!serves(&with(json!(joined))), "{kind}");
        }
        let hook = vec![crate::spec::Hook::default()];
        let mut hooked = [(); 4].map(|()| with(own.clone()));
        hooked[0].hooks.prestart = hook.clone();
        hooked[1].hooks.create_runtime = hook.clone();
        hooked[2].hooks.create_container = hook.clone();
        hooked[3].hooks.start_container = hook;
        assert!(hooked.iter().all(|s| !serves(s)));
        let mut labelled = [(); 2].map(|()| with(own.clone()));
        labelled[0].process.as_mut().unwrap().apparmor_profile = "a".into();
        labelled[1].process.as_mut().unwrap().selinux_label = "a".into();
        assert!(labelled.iter().all(|s| !serves(s)));
    }

    #[test]
    fn reports_are_told_from_texts() {
        // ENOEXEC is 8; 1024 does not exist but needs both digits.
        assert_eq!(reported("execute /a\0\x380".into()), "execute /a: exec format error");
        assert!(
            reported("execute /a\0\x30\x40".into()).starts_with("execute /a: unknown error 1024")
        );
        assert_eq!(reported("set x\0\x310".into()), "launcher: set x: operation not permitted");
        assert!(reported(format!("{INSTALL}\0\x3d0")).contains("noNewPrivileges"));
        for other in ["plain", "", "a\0b", "a\0bcd", "a\0\x30\x30", "a\0zz", "a\0!!"] {
            assert_eq!(reported(other.into()), other);
        }
    }
}
