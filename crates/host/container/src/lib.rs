//! OCI container core: what `rune` does to run a container.
//!
//! It guarantees:
//!
//! - a container is described by its directory alone ([`state`]), and killing the runtime at any moment
//!   leaves nothing that [`life::delete`] with force does not remove;
//! - no path below the container's root is resolved twice ([`rootfs::resolve`]);
//! - every refusal names the operation, the field and, where that is known, the missing capability
//!   ([`error`]).
//!
//! It does not: protect its own file unless told to (by a [`Launcher`] or [`sys::protect_own_file`]), or decide
//! what an enclave needs.
//!
//! Linux 5.12 or newer (`mount_setattr`); x86-64.

#![deny(unsafe_code)] // allowed in `sys` alone

pub mod caps;
pub mod cgroup;
pub mod console;
mod create;
pub mod criu;
pub mod error;
mod exec;
mod foreground;
mod gate;
mod hooks;
mod init;
mod labels;
mod launcher;
pub mod life;
mod members;
mod netdev;
mod notify;
mod plan;
pub mod process;
pub mod rdt;
pub mod rootfs;
pub mod seccomp;
pub mod spec;
pub mod state;
mod sync;
pub mod sys;
pub mod systemd;
pub mod time;
mod tuning;

pub use create::{Created, Options, create, write_pid_file};
pub use error::{Error, Result};
pub use exec::{ExecOptions, Executed, exec};
pub use foreground::{Foreground, exit_code};
pub use gate::connect_to;
pub use init::{Entry, InProcess, Inside, Running};
pub use launcher::Launcher;
pub use members::processes;
#[doc(hidden)]
pub use netdev::fuzz as fuzz_route;
pub use notify::Notify;
pub use spec::Spec;
#[doc(hidden)]
pub use systemd::fuzz as fuzz_bus;
pub use tuning::{MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES};
