//! Files: the verified root, what lies over it, and everything that is reached by a descriptor.

pub mod context;
pub mod fd;
pub mod file;
pub mod syscalls;
