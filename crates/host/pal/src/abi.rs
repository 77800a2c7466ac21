//! The C ABI, versions 1 to 4: structures and function types.
//!
//! System V x86-64, natural alignment. Upstream's text for version 2 calls two structures packed and writes
//! `char *argv[]` members; no PAL was ever built so, and the layout here is the one that all of them have. Each
//! version's structures begin with those of the version before. `include/pal.h` is the same in C.

use std::ffi::{c_char, c_int, c_void};

/// Highest version known.
pub const MAX_VERSION: i32 = 4;

/// `struct pal_attr_v1`: versions 1 and 2.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AttrV1 {
    /// Arguments, separated by spaces. Offset 0.
    pub args: *const c_char,
    /// Log level. Offset 8.
    pub log_level: *const c_char,
}

/// `struct pal_attr_v3`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AttrV3 {
    /// Offset 0.
    pub v1: AttrV1,
    /// Device descriptor of a pooled enclave, or -1. Offset 16.
    pub fd: c_int,
    /// Its address, or 0. Offset 24.
    pub addr: u64,
}

/// `struct pal_attr_v4`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct AttrV4 {
    /// Offset 0.
    pub v3: AttrV3,
    /// Bytes of this structure. Offset 32.
    pub struct_size: u64,
    /// The container's root directory, or -1. Offset 40.
    pub root_fd: c_int,
    /// Where lines for the operator go, or -1. Offset 44.
    pub log_fd: c_int,
}

/// `struct pal_stdio_fds`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StdioFds {
    /// Offset 0.
    pub stdin: c_int,
    /// Offset 4.
    pub stdout: c_int,
    /// Offset 8.
    pub stderr: c_int,
}

/// `struct pal_create_process_args`: versions 2 and 3.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CreateProcessArgs {
    /// Offset 0.
    pub path: *const c_char,
    /// Ended by a null pointer. Offset 8.
    pub argv: *const *const c_char,
    /// Ended by a null pointer. Offset 16.
    pub env: *const *const c_char,
    /// Offset 24.
    pub stdio: *const StdioFds,
    /// Out. Offset 32.
    pub pid: *mut c_int,
}

/// `struct pal_create_process_args_v4`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CreateProcessArgsV4 {
    /// Offset 0.
    pub v2: CreateProcessArgs,
    /// Bytes of this structure. Offset 40.
    pub struct_size: u64,
    /// Working directory. Offset 48.
    pub cwd: *const c_char,
    /// Offset 56.
    pub uid: u32,
    /// Offset 60.
    pub gid: u32,
    /// Null if there are none. Offset 64.
    pub additional_gids: *const u32,
    /// How many. Offset 72.
    pub additional_gids_len: u64,
    /// [`PROCESS_TERMINAL`]; other bits 0. Offset 80.
    pub flags: u64,
    /// All that the host asks, as JSON, or null. Offset 88.
    pub request: *const c_char,
}

/// The descriptors are a terminal made for the process.
pub const PROCESS_TERMINAL: u64 = 1;

/// `struct pal_exec_args`: versions 2 to 4.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ExecArgs {
    /// Offset 0.
    pub pid: c_int,
    /// Out. Offset 8.
    pub exit_value: *mut c_int,
}

/// `int pal_get_version(void)`.
pub type GetVersion = unsafe extern "C" fn() -> c_int;
/// `uint64_t pal_get_capabilities(void)`: version 4.
pub type GetCapabilities = unsafe extern "C" fn() -> u64;
/// `int pal_init(const struct pal_attr_vN *)`.
pub type Init = unsafe extern "C" fn(*const c_void) -> c_int;
/// `int pal_exec` of version 1.
pub type ExecV1 =
    unsafe extern "C" fn(*const c_char, *const *const c_char, *const StdioFds, *mut c_int) -> c_int;
/// `int pal_create_process(struct pal_create_process_args *)`, or its version 4 structure.
pub type CreateProcess = unsafe extern "C" fn(*const c_void) -> c_int;
/// `int pal_exec(struct pal_exec_args *)`.
pub type Exec = unsafe extern "C" fn(*const ExecArgs) -> c_int;
/// `int pal_kill(int pid, int sig)`.
pub type Kill = unsafe extern "C" fn(c_int, c_int) -> c_int;
/// `int pal_get_local_report(void *, int, void *, int *)`.
pub type GetLocalReport =
    unsafe extern "C" fn(*const c_void, c_int, *mut c_void, *mut c_int) -> c_int;
/// `int pal_destroy(void)`.
pub type Destroy = unsafe extern "C" fn() -> c_int;

/// Capability bit of version 4: what it runs is emulated.
pub const CAPABILITY_EMULATED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_have_the_sizes_and_offsets_of_upstream() {
        assert_eq!((size_of::<AttrV1>(), size_of::<AttrV3>()), (16, 32));
        assert_eq!((offset_of!(AttrV3, fd), offset_of!(AttrV3, addr)), (16, 24));
        assert_eq!(size_of::<StdioFds>(), 12);
        assert_eq!(size_of::<CreateProcessArgs>(), 40);
        assert_eq!(offset_of!(CreateProcessArgs, pid), 32);
        assert_eq!((size_of::<ExecArgs>(), offset_of!(ExecArgs, exit_value)), (16, 8));
    }
}
