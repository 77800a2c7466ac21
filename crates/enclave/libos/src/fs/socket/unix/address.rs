//! Names of Unix sockets: `struct sockaddr_un`, and where a name leads.

use super::Socket;
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::memfs::Node;
use crate::fs::ops::names::mknod;
use crate::fs::permission::WRITE;
use crate::fs::stat::FileType;
use crate::fs::task::Task;
use crate::fs::walk::resolve;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// AF_UNIX.
pub const AF_UNIX: u16 = 1;
/// Bytes of `sun_path`.
const PATH: usize = 108;

/// The bytes of `sun_path`, up to the NUL of a pathname. Empty for the family only.
///
/// # Errors
/// EINVAL for another family or a length that no such address has.
pub(super) fn decode(raw: &[u8]) -> Result<Vec<u8>, Errno> {
    if !(2..=2 + PATH).contains(&raw.len()) || u16::from_le_bytes([raw[0], raw[1]]) != AF_UNIX {
        return Err(Errno::EINVAL);
    }
    let path = &raw[2..];
    let end = match path.first() {
        Some(0) | None => path.len(),
        Some(_) => path.iter().position(|byte| *byte == 0).unwrap_or(path.len()),
    };
    Ok(path[..end].to_vec())
}

/// `struct sockaddr_un` of a name; a pathname has its NUL.
pub(super) fn encode(name: &[u8]) -> Vec<u8> {
    let mut raw = Vec::from(AF_UNIX.to_le_bytes());
    raw.extend_from_slice(name);
    if name.first().is_some_and(|byte| *byte != 0) {
        raw.push(0);
    }
    raw
}

/// The socket that a name leads to.
///
/// # Errors
/// ECONNREFUSED where nobody has the name, and as for any path.
pub(super) fn find(task: &dyn Task, name: &[u8]) -> Result<Arc<Socket>, Errno> {
    match name.first() {
        None => return Err(Errno::EINVAL),
        Some(0) => return Socket::find_abstract(name),
        Some(_) => {}
    }
    let caller = Caller::of(task);
    let place = resolve(&caller, &caller.fs.cwd(), name, true)?;
    caller.credentials.check(&place.inode.stat(), WRITE)?;
    let node = place.inode.as_any().downcast_ref::<Node>().ok_or(Errno::ECONNREFUSED)?;
    let bound = node.socket().ok_or(Errno::ECONNREFUSED)?;
    bound.downcast::<Socket>().map_err(|_| Errno::ECONNREFUSED)
}

/// Gives a socket a name; a pathname becomes a file.
///
/// # Errors
/// EINVAL where it has one, EADDRINUSE where the name is taken, and as for any path.
pub(super) fn bind(task: &dyn Task, socket: &Socket, name: &[u8]) -> Result<(), Errno> {
    if name.is_empty() {
        return socket.bind_any();
    }
    let caller = Caller::of(task);
    socket.bind_name(name, |weak| {
        let mode = FileType::Socket as u32 | 0o777;
        let inode = mknod(&caller, &caller.fs.cwd(), name, mode, 0)
            .map_err(|error| if error == Errno::EEXIST { Errno::EADDRINUSE } else { error })?;
        let inode: &dyn Any = inode.as_any();
        inode.downcast_ref::<Node>().ok_or(Errno::EPERM)?.bind(weak);
        Ok(())
    })
}
