//! The container's terminal: opened in its own devpts, its master end sent to whoever asked.

use crate::error::{Error, Result};
use crate::rootfs::mounts::{attach, clone_at};
use crate::rootfs::resolve::{Missing, Root, open_in};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::OFlags;
use rustix::io::{Errno, IoSlice};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, sendmsg, socket_with,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::path::Path;

const DEVPTS_MAGIC: u64 = 0x1cd1;

/// Connects to `--console-socket`, before the container has a say in what the path means.
///
/// # Errors
/// As `connect(2)`.
pub fn connect_socket(path: &Path) -> Result<OwnedFd> {
    let failed = |operation| Error::os(operation, path);
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(failed("make a socket for"))?;
    let address = SocketAddrUnix::new(path).map_err(failed("name the console socket"))?;
    connect(&socket, &address).map_err(failed("connect to the console socket"))?;
    Ok(socket)
}

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Terminal {
    /// For the outside.
    pub master: OwnedFd,
    /// For the program.
    pub slave: OwnedFd,
}

impl Terminal {
    /// Opens one in the container's devpts. The multiplexer must be a devpts file of the container
    /// (CVE-2025-52565: anything else could be the host's), and the slave comes from the master, not from
    /// a path.
    ///
    /// # Errors
    /// The container has no devpts, or the step that failed.
    pub fn open(root: &OwnedFd, size: Option<(u16, u16)>) -> Result<Self> {
        let failed = |operation| Error::os(operation, "/dev/pts/ptmx");
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = open_in(root, Path::new("/dev/pts/ptmx"), flags)
            .map_err(failed("open a terminal in the container at"))?;
        let file_system = rustix::fs::fstatfs(&master).map_err(failed("stat"))?;
        if file_system.f_type as u64 != DEVPTS_MAGIC {
            return Err(failed("find a devpts terminal at")(Errno::NOTTY));
        }
        unlockpt(&master).map_err(failed("unlock"))?;
        let open = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, open).map_err(failed("open the other end of"))?;
        if let Some((ws_row, ws_col)) = size {
            let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&slave, size).map_err(failed("set the size of"))?;
        }
        Ok(Self { master, slave })
    }

    /// Binds the slave over `/dev/console`.
    ///
    /// # Errors
    /// As the mount.
    pub fn bind_console(&self, root: &Root) -> Result<()> {
        let target = root.open_or_make(Path::new("/dev/console"), Missing::File)?;
        let failed = |operation| Error::os(operation, "/dev/console");
        let tree = clone_at(&self.slave, false).map_err(failed("open the terminal for"))?;
        attach(&tree, &target).map_err(failed("bind the terminal over"))
    }

    /// Makes the slave the controlling terminal and the standard streams of this process, which must lead
    /// a session.
    ///
    /// # Errors
    /// As the calls.
    pub fn adopt(&self) -> Result<()> {
        let failed = |operation| Error::os(operation, "the terminal");
        rustix::process::ioctl_tiocsctty(&self.slave).map_err(failed("control"))?;
        rustix::stdio::dup2_stdin(&self.slave).map_err(failed("use"))?;
        rustix::stdio::dup2_stdout(&self.slave).map_err(failed("use"))?;
        rustix::stdio::dup2_stderr(&self.slave).map_err(failed("use"))
    }

    /// Sends the master end.
    ///
    /// # Errors
    /// As `sendmsg(2)`.
    pub fn send(&self, socket: impl AsFd) -> Result<()> {
        send_fds(socket.as_fd(), b"/dev/ptmx", &[self.master.as_fd()])
            .map_err(Error::os("send the terminal to", "the console socket"))
    }
}

/// Sends descriptors with a message.
///
/// # Errors
/// As `sendmsg(2)`.
pub fn send_fds(
    socket: BorrowedFd<'_>,
    message: &[u8],
    fds: &[BorrowedFd<'_>],
) -> std::result::Result<(), Errno> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Receives a message with at most four descriptors.
///
/// # Errors
/// As `recvmsg(2)`.
pub fn receive_fds(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> std::result::Result<(usize, Vec<OwnedFd>), Errno> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let mut parts = [rustix::io::IoSliceMut::new(buffer)];
        recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok((received.bytes, fds))
}
