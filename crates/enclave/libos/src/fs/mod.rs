//! Files: the verified root, what lies over it, and everything that is reached by a descriptor.
//!
//! The layers, top down: [`fd`] (descriptors and open file descriptions), [`mount`] and [`location`] (the
//! tree), [`inode`] and [`file`] (what file systems implement). What the calling thread and process give is
//! [`task::Task`]. Lock orders are in [`file`] and [`fd`].
//!
//! Permissions are semantics, not a boundary: all processes of a container trust each other.

pub mod attestation;
pub mod boot;
pub mod context;
pub mod devices;
pub mod dirfile;
pub mod endpoint;
pub mod epoll;
pub mod eventfd;
pub mod fd;
pub mod file;
pub mod flags;
pub mod hand;
pub mod inode;
pub mod location;
pub mod locks;
pub mod memfs;
pub mod mount;
pub mod ops;
pub mod outside;
pub mod permission;
pub mod pipe;
pub mod procfs;
pub mod pseudo;
pub mod reopen;
pub mod signalfd;
pub mod socket;
pub mod stat;
pub mod stream;
pub mod syscalls;
pub mod sysfs;
pub mod task;
pub mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod thread;
pub mod timerfd;
pub mod verified;
pub mod walk;
