//! Files: the verified root, what lies over it, and everything that is reached by a descriptor.

pub mod file;
