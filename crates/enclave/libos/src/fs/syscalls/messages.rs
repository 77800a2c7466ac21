//! send, recv and their like, with what travels beside the bytes: descriptors and credentials.

use super::poll::Until;
use super::sockets::{read_address, socket_of, write_address};
use super::{SysResult, unsigned};
use crate::errno::Errno;
use crate::fs::fd::OpenFile;
use crate::fs::file::{Sink, Source};
use crate::fs::socket::options::so;
use crate::fs::socket::{Attached, Destination, Kind, Received, Socket, own_credentials};
use crate::fs::task::{Task, retry_within, signo};
use crate::syscall::Args;
use crate::usermem::{UserBuf, UserVec};
use alloc::vec;
use alloc::vec::Vec;

const MSG_OOB: u32 = 0x1;
const MSG_PEEK: u32 = 0x2;
const MSG_CTRUNC: u32 = 0x8;
const MSG_TRUNC: u32 = 0x20;
const MSG_DONTWAIT: u32 = 0x40;
const MSG_WAITALL: u32 = 0x100;
const MSG_ERRQUEUE: u32 = 0x2000;
const MSG_NOSIGNAL: u32 = 0x4000;
const MSG_WAITFORONE: u32 = 0x1_0000;
const MSG_ZEROCOPY: u32 = 0x400_0000;
const MSG_FASTOPEN: u32 = 0x2000_0000;
const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;

const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const SCM_CREDENTIALS: u32 = 2;
/// Most descriptors of one message (SCM_MAX_FD).
const SCM_MAX_FD: usize = 253;
/// Bytes of `struct cmsghdr`.
const HEADER: usize = 16;
/// Longest control buffer that is read.
const MAX_CONTROL: u64 = 16_384;

/// What one send or receive works on.
struct Call<'a> {
    task: &'a dyn Task,
    open: &'a OpenFile,
    socket: &'a dyn Socket,
    flags: u32,
}

impl<'a> Call<'a> {
    fn new(task: &'a dyn Task, open: &'a OpenFile, flags: u32) -> Result<Self, Errno> {
        Ok(Self { task, open, socket: socket_of(open)?, flags })
    }

    fn waits(&self) -> bool {
        !self.open.is_nonblocking() && self.flags & MSG_DONTWAIT == 0
    }

    fn limit_ns(&self, is_send: bool) -> Option<u64> {
        self.socket.options().wait_limit_ns(is_send)
    }
}

/// sendto(2)
pub(super) fn sendto(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let call = Call::new(task, &open, unsigned(args, 3))?;
    let name = match args.0[4] {
        0 => None,
        address => Some(read_address(task, address, unsigned(args, 5))?),
    };
    let mut buffer = UserBuf::new(task.memory(), args.0[1], args.0[2]);
    let attached = Attached { sender: own_credentials(task), ..Attached::default() };
    call.send(&mut buffer, attached, name.as_deref())
}

/// sendmsg(2)
pub(super) fn sendmsg(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    Call::new(task, &open, unsigned(args, 2))?.send_message(args.0[1])
}

/// sendmmsg(2)
pub(super) fn sendmmsg(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let call = Call::new(task, &open, unsigned(args, 3))?;
    each_message(task, args, |address, _| call.send_message(address))
}

/// recvfrom(2)
pub(super) fn recvfrom(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let call = Call::new(task, &open, unsigned(args, 3))?;
    let mut buffer = UserBuf::new(task.memory(), args.0[1], args.0[2]);
    let received = call.receive(&mut buffer)?;
    write_address(task, &received.attached.from, args.0[4], args.0[5])?;
    Ok(call.answer(&received))
}

/// recvmsg(2)
pub(super) fn recvmsg(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    Call::new(task, &open, unsigned(args, 2))?.receive_message(args.0[1])
}

/// recvmmsg(2). The time is looked at after each message, as Linux does.
pub(super) fn recvmmsg(task: &dyn Task, args: &Args) -> SysResult {
    let open = task.files().get_file(args.int(0))?;
    let mut call = Call::new(task, &open, unsigned(args, 3))?;
    let until = match args.0[4] {
        0 => Until::Forever,
        address => Until::timespec(task, address)?,
    };
    each_message(task, args, |address, done| {
        if done > 0 && call.flags & MSG_WAITFORONE != 0 {
            call.flags |= MSG_DONTWAIT;
        }
        if done > 0 && until.is_over(task) {
            return Err(Errno::EAGAIN);
        }
        call.receive_message(address)
    })
}

/// Runs `one` on each `struct mmsghdr` until one fails; the first failure alone is an error.
fn each_message(
    task: &dyn Task,
    args: &Args,
    mut one: impl FnMut(u64, u64) -> SysResult,
) -> SysResult {
    let mut done = 0;
    for index in 0..u64::from(unsigned(args, 2)).min(1024) {
        let address = args.0[1].wrapping_add(index * 64);
        match one(address, done) {
            Ok(count) => {
                task.write_user(address.wrapping_add(56), &(count as u32).to_le_bytes())?
            }
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
        done += 1;
    }
    Ok(done)
}

/// `struct msghdr`.
struct Header {
    name: (u64, u32),
    vector: (u64, u64),
    control: (u64, u64),
}

fn header(task: &dyn Task, address: u64) -> Result<Header, Errno> {
    let raw: [u8; 56] = task.read_array(address)?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&raw[at..at + 8]);
        u64::from_le_bytes(word)
    };
    Ok(Header {
        name: (word(0), word(8) as u32),
        vector: (word(16), word(24)),
        control: (word(32), word(40)),
    })
}

/// Reads control messages.
fn attach(task: &dyn Task, control: &[u8], attached: &mut Attached) -> Result<(), Errno> {
    let mut rest = control;
    while rest.len() >= HEADER {
        let word =
            |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let length = word(0) as usize;
        if length < HEADER || length > rest.len() || word(4) != 0 {
            return Err(Errno::EINVAL);
        }
        let data = &rest[HEADER..length];
        if word(8) == SOL_SOCKET {
            match word(12) {
                SCM_RIGHTS => {
                    for fd in data.chunks_exact(4) {
                        let fd = i32::from_le_bytes([fd[0], fd[1], fd[2], fd[3]]);
                        attached.rights.push(task.files().get(fd)?);
                    }
                    if attached.rights.len() > SCM_MAX_FD {
                        return Err(Errno::EINVAL);
                    }
                }
                SCM_CREDENTIALS if data.len() >= 12 => {
                    let claim = |at: usize| {
                        u32::from_le_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
                    };
                    let own = attached.sender;
                    let is_true = claim(0) == own.pid && claim(4) == own.uid && claim(8) == own.gid;
                    if !is_true && !task.credentials().is_privileged() {
                        return Err(Errno::EPERM);
                    }
                    (attached.sender.pid, attached.sender.uid) = (claim(0), claim(4));
                    attached.sender.gid = claim(8);
                }
                _ => return Err(Errno::EINVAL),
            }
        }
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(())
}

impl Call<'_> {
    fn send_message(&self, address: u64) -> SysResult {
        let task = self.task;
        let header = header(task, address)?;
        let name = match header.name {
            (0, _) => None,
            (address, length) => Some(read_address(task, address, length)?),
        };
        let mut attached = Attached { sender: own_credentials(task), ..Attached::default() };
        if header.control.0 != 0 && header.control.1 != 0 {
            if header.control.1 > MAX_CONTROL {
                return Err(Errno::ENOBUFS);
            }
            let mut control = vec![0; header.control.1 as usize];
            task.read_user(header.control.0, &mut control)?;
            attach(task, &control, &mut attached)?;
        }
        let mut buffers = UserVec::new(task.memory(), header.vector.0, header.vector.1)?;
        self.send(&mut buffers, attached, name.as_deref())
    }

    fn send(&self, from: &mut dyn Source, attached: Attached, name: Option<&[u8]>) -> SysResult {
        // What a program relies on when it asks for it: urgent data, a connection by the first send, word of
        // when memory is free again.
        if self.flags & (MSG_OOB | MSG_FASTOPEN | MSG_ZEROCOPY) != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let to = match name {
            Some(name) => self.socket.destination(self.task, name)?,
            None => None,
        };
        let result = self.send_all(from, attached, to.as_ref());
        let is_told = self.flags & MSG_NOSIGNAL == 0 && self.socket.kind() != Kind::Datagram;
        if result == Err(Errno::EPIPE) && is_told {
            self.task.signal_self(signo::SIGPIPE);
        }
        result
    }

    fn send_all(
        &self,
        from: &mut dyn Source,
        attached: Attached,
        to: Option<&Destination>,
    ) -> SysResult {
        let (socket, waits) = (self.socket, self.waits());
        let sender = attached.sender;
        // Descriptors travel with the first bytes.
        let mut first = Some(attached);
        let mut total = 0;
        loop {
            let mut attempt = || {
                let attached = first.clone().unwrap_or(Attached { sender, ..Attached::default() });
                socket.send(from, attached, to)
            };
            let step = match attempt() {
                Err(Errno::EAGAIN) if waits => socket.wait_for_room(to, &mut |room| {
                    retry_within(self.task, room, self.limit_ns(true), &mut attempt)
                }),
                done => done,
            };
            match step {
                Ok(count) => {
                    total += count as u64;
                    first = None;
                }
                Err(_) if total > 0 => return Ok(total),
                Err(error) => return Err(error),
            }
            if from.remaining() == 0 || socket.kind() != Kind::Stream || !waits {
                return Ok(total);
            }
        }
    }

    fn receive(&self, into: &mut dyn Sink) -> Result<Received, Errno> {
        let (socket, waits) = (self.socket, self.waits());
        match self.flags {
            // Nothing urgent ever comes, and no error is queued.
            flags if flags & MSG_OOB != 0 => return Err(Errno::EINVAL),
            flags if flags & MSG_ERRQUEUE != 0 => return Err(Errno::EAGAIN),
            _ => {}
        }
        let peeks = self.flags & MSG_PEEK != 0;
        let once = |into: &mut dyn Sink| match socket.receive(into, peeks) {
            Err(Errno::EAGAIN) if waits => {
                let limit = self.limit_ns(false);
                retry_within(self.task, socket.events(), limit, || socket.receive(into, peeks))
            }
            done => done,
        };
        let mut received = once(into)?;
        let is_stream = socket.kind() == Kind::Stream;
        let is_all = self.flags & MSG_WAITALL != 0 && is_stream && waits && !peeks;
        while is_all && into.remaining() > 0 && received.count > 0 {
            match once(into) {
                Ok(more) if more.count > 0 => received.count += more.count,
                _ => break,
            }
        }
        if is_stream {
            received.length = received.count;
        }
        Ok(received)
    }

    /// What recv gives: with MSG_TRUNC the whole length of a datagram.
    fn answer(&self, received: &Received) -> u64 {
        let is_whole = self.flags & MSG_TRUNC != 0;
        (if is_whole { received.length.max(received.count) } else { received.count }) as u64
    }

    fn receive_message(&self, address: u64) -> SysResult {
        let task = self.task;
        let header = header(task, address)?;
        let mut buffers = UserVec::new(task.memory(), header.vector.0, header.vector.1)?;
        let received = self.receive(&mut buffers)?;
        let mut out_flags = 0;
        if received.length > received.count && self.socket.kind() != Kind::Stream {
            out_flags |= MSG_TRUNC;
        }
        let name = &received.attached.from;
        if header.name.0 != 0 {
            let count = name.len().min(header.name.1 as usize);
            task.write_user(header.name.0, &name[..count])?;
            task.write_user(address.wrapping_add(8), &(name.len() as u32).to_le_bytes())?;
        }
        let passes = self.socket.options().is_set(so::PASSCRED);
        let room = header.control.1 as usize;
        let (control, is_cut) =
            control_messages(task, &received.attached, passes, room, self.flags)?;
        if is_cut {
            out_flags |= MSG_CTRUNC;
        }
        task.write_user(header.control.0, &control)
            .or_else(|error| if control.is_empty() { Ok(()) } else { Err(error) })?;
        task.write_user(address.wrapping_add(40), &(control.len() as u64).to_le_bytes())?;
        task.write_user(address.wrapping_add(48), &out_flags.to_le_bytes())?;
        Ok(self.answer(&received))
    }
}

/// Makes control messages that fit into `room`; whether something did not.
fn control_messages(
    task: &dyn Task,
    attached: &Attached,
    passes_credentials: bool,
    room: usize,
    flags: u32,
) -> Result<(Vec<u8>, bool), Errno> {
    let mut out = Vec::new();
    let mut is_cut = false;
    let mut put = |kind: u32, data: &[u8]| {
        let start = out.len();
        out.extend_from_slice(&((HEADER + data.len()) as u64).to_le_bytes());
        out.extend_from_slice(&SOL_SOCKET.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(data);
        let padded = (start + HEADER + data.len()).next_multiple_of(8);
        out.resize(padded.min(room).max(start + HEADER + data.len()), 0);
        out.len()
    };
    let mut used = 0;
    if passes_credentials {
        if room >= HEADER + 12 {
            let sender = attached.sender;
            let data = [sender.pid, sender.uid, sender.gid].map(u32::to_le_bytes).concat();
            used = put(SCM_CREDENTIALS, &data);
        } else {
            is_cut = true;
        }
    }
    if !attached.rights.is_empty() {
        let fit = room.saturating_sub(used + HEADER) / 4;
        let is_cloexec = flags & MSG_CMSG_CLOEXEC != 0;
        let mut numbers = Vec::new();
        for open in attached.rights.iter().take(fit) {
            let installed = super::open::install(task, open.clone(), is_cloexec);
            let Ok(fd) = installed else { break };
            numbers.extend_from_slice(&(fd as u32).to_le_bytes());
        }
        is_cut |= numbers.len() < attached.rights.len() * 4;
        if !numbers.is_empty() {
            put(SCM_RIGHTS, &numbers);
        }
    }
    Ok((out, is_cut))
}
