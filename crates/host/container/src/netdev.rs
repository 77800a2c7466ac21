//! Interfaces of a container's network namespace: its loopback, which is up in a new one, and `linux.netDevices`, those
//! of the host that move into it.
//!
//! A moved interface keeps its permanent addresses of global scope and is up afterwards, as the specification
//! demands; the kernel drops both when an interface moves. It speaks rtnetlink itself: six message types do
//! not pay for a crate with an async runtime. What goes wrong is named by the interface's field.

use crate::error::{Error, Result};
use crate::spec::linux::NetDevice;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::collections::BTreeMap;

// linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x600;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const HEADER: usize = 16;

/// Index of `lo` in every network namespace (`LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

/// Longest interface name (`IFNAMSIZ` without its zero byte).
const MAX_NAME: usize = 15;

/// Checks the names.
///
/// # Errors
/// A name that no interface can have.
pub(crate) fn check(devices: &BTreeMap<String, NetDevice>) -> Result<()> {
    for (name, device) in devices {
        let field = format!("linux.netDevices[{name:?}]");
        let other = device.name.as_deref().filter(|n| !n.is_empty());
        for (field, name) in [(field.clone(), Some(name.as_str())), (field + ".name", other)] {
            let is_bad = |n: &str| {
                n.is_empty()
                    || n.len() > MAX_NAME
                    || n == "."
                    || n == ".."
                    || n.bytes()
                        .any(|b| b == b'/' || b == b':' || b.is_ascii_whitespace() || b == 0)
            };
            if let Some(bad) = name.filter(|n| is_bad(n)) {
                let expected = "an interface name of at most 15 bytes";
                return Err(Error::config(field, expected, format!("{bad:?}")));
            }
        }
    }
    Ok(())
}

/// Brings up the loopback interface of this process's network namespace, a new one.
///
/// # Errors
/// The kernel's.
pub(crate) fn bring_up_loopback() -> Result<()> {
    let up = || Route::open()?.bring_up(LOOPBACK);
    up().map_err(Error::os("bring up", "the loopback interface of the new network namespace"))
}

/// Moves interfaces into a network namespace.
///
/// # Errors
/// The interface that could not be moved.
pub(crate) fn move_all(devices: &BTreeMap<String, NetDevice>, target: &OwnedFd) -> Result<()> {
    let failed = |operation| Error::os(operation, "linux.netDevices");
    let mut here = Route::open().map_err(failed("open rtnetlink for"))?;
    let home = open_namespace("/proc/self/ns/net").map_err(failed("open the namespace for"))?;
    rustix::thread::move_into_link_name_space(target.as_fd(), None)
        .map_err(failed("join the network namespace for"))?;
    // A socket belongs to the namespace in which it was made.
    let there = Route::open();
    rustix::thread::move_into_link_name_space(home.as_fd(), None)
        .map_err(failed("leave the network namespace for"))?;
    let mut there = there.map_err(failed("open rtnetlink for"))?;
    for (name, device) in devices {
        let new = device.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(name);
        move_one(&mut here, &mut there, name, new, target.as_fd()).map_err(|(operation, e)| {
            Error::os(operation, format!("linux.netDevices[{name:?}]"))(e)
        })?;
    }
    Ok(())
}

/// Opens a namespace file.
pub(crate) fn open_namespace(path: &str) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

type Step<T> = std::result::Result<T, (&'static str, Errno)>;

fn move_one(
    here: &mut Route,
    there: &mut Route,
    name: &str,
    new: &str,
    target: BorrowedFd<'_>,
) -> Step<()> {
    let at = |operation: &'static str| move |e: Errno| (operation, e);
    let index = name_to_index(&here.socket, name).map_err(at("find"))?;
    let addresses = here.addresses(index).map_err(at("read the addresses of"))?;
    let mut message = Message::new(RTM_SETLINK, REQUEST | ACK);
    message.link(index, 0, 0);
    message.attribute(IFLA_NET_NS_FD, &target.as_raw_fd().to_ne_bytes());
    let mut text = new.as_bytes().to_vec();
    text.push(0);
    message.attribute(IFLA_IFNAME, &text);
    here.call(message).map_err(at("move"))?;
    let index = name_to_index(&there.socket, new).map_err(at("find in the container"))?;
    for address in addresses {
        there.call(address.message(index)).map_err(at("add an address to"))?;
    }
    there.bring_up(index).map_err(at("bring up"))
}

/// An address with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// From the payload of a `RTM_NEWADDR`, if it is a permanent one of global scope on this interface.
    fn parse(payload: &[u8], wanted: u32) -> Option<Self> {
        let (head, mut rest) = payload.split_at_checked(8)?;
        let (family, prefix, flags, scope) = (head[0], head[1], u32::from(head[2]), head[3]);
        let index = u32::from_ne_bytes(head[4..8].try_into().ok()?);
        let mut flags = flags;
        let mut attributes = Vec::new();
        while let Some((kind, value, next)) = attribute(rest) {
            match kind {
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => attributes.push((kind, value.to_vec())),
                IFA_FLAGS => flags = u32::from_ne_bytes(value.try_into().ok()?),
                _ => {}
            }
            rest = next;
        }
        let is_wanted = index == wanted && scope == 0 && flags & IFA_F_PERMANENT != 0;
        is_wanted.then_some(Self { family, prefix, attributes })
    }

    fn message(&self, index: u32) -> Message {
        let mut message = Message::new(RTM_NEWADDR, REQUEST | ACK | CREATE);
        message.bytes.extend([self.family, self.prefix, IFA_F_PERMANENT as u8, 0]);
        message.bytes.extend(index.to_ne_bytes());
        for (kind, value) in &self.attributes {
            message.attribute(*kind, value);
        }
        message
    }
}

/// The first attribute, and what comes after it.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let value = bytes.get(4..length)?;
    Some((kind, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self { bytes }
    }

    /// `struct ifinfomsg`.
    fn link(&mut self, index: u32, flags: u32, change: u32) {
        self.bytes.extend([0; 4]);
        for word in [index, flags, change] {
            self.bytes.extend(word.to_ne_bytes());
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend((4 + value.len() as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A socket of one network namespace.
struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl Route {
    fn open() -> std::result::Result<Self, Errno> {
        // Protocol 0 is NETLINK_ROUTE.
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok(Self { socket, sequence: 0 })
    }

    fn send(&mut self, mut message: Message) -> std::result::Result<(), Errno> {
        self.sequence += 1;
        let length = (message.bytes.len() as u32).to_ne_bytes();
        message.bytes[..4].copy_from_slice(&length);
        message.bytes[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        rustix::net::send(&self.socket, &message.bytes, SendFlags::empty()).map(drop)
    }

    /// Calls `each` with type and payload of every answer until the last; an error ends it. `buffer` holds a datagram.
    fn receive(
        &self,
        buffer: &mut [u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> std::result::Result<(), Errno> {
        loop {
            let (n, _) = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.socket, &mut *buffer, RecvFlags::empty())
            })?;
            if answers(buffer.get(..n).unwrap_or_default(), &mut each)? {
                return Ok(());
            }
        }
    }

    fn call(&mut self, message: Message) -> std::result::Result<(), Errno> {
        self.send(message)?;
        self.receive(&mut [0; 4 << 10], |_, _| ())
    }

    fn bring_up(&mut self, index: u32) -> std::result::Result<(), Errno> {
        let mut message = Message::new(RTM_NEWLINK, REQUEST | ACK);
        let up = libc::IFF_UP as u32;
        message.link(index, up, up);
        self.call(message)
    }

    fn addresses(&mut self, index: u32) -> std::result::Result<Vec<Address>, Errno> {
        let mut message = Message::new(RTM_GETADDR, REQUEST | DUMP);
        message.bytes.extend([0; 8]);
        self.send(message)?;
        let mut out = Vec::new();
        self.receive(&mut vec![0; 32 << 10], |kind, payload| {
            if kind == RTM_NEWADDR {
                out.extend(Address::parse(payload, index));
            }
        })?;
        Ok(out)
    }
}

/// Calls `each` with type and payload of every answer in a datagram. True if the last is among them.
fn answers(mut rest: &[u8], mut each: impl FnMut(u16, &[u8])) -> std::result::Result<bool, Errno> {
    while let Some(header) = rest.get(..HEADER) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let payload = rest.get(HEADER..length).ok_or(Errno::BADMSG)?;
        match (kind, payload.first_chunk::<4>()) {
            (NLMSG_ERROR, Some(code)) => {
                // `errno` ends at 4095; another number is none.
                return match i32::from_ne_bytes(*code) {
                    0 => Ok(true),
                    code @ -4095..0 => Err(Errno::from_raw_os_error(-code)),
                    _ => Err(Errno::BADMSG),
                };
            }
            (NLMSG_DONE, _) => return Ok(true),
            _ => each(kind, payload),
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// For the fuzz target: reads a datagram as one full of addresses of interface 1. True if there is one that
/// is kept; it is then the same after being written and read again.
#[doc(hidden)]
#[must_use]
pub fn fuzz(bytes: &[u8]) -> bool {
    let mut kept = Vec::new();
    let _ = answers(bytes, |kind, payload| {
        if kind == RTM_NEWADDR {
            kept.extend(Address::parse(payload, 1));
        }
    });
    for address in &kept {
        let again = address.message(1).bytes.split_off(HEADER);
        assert_eq!(Address::parse(&again, 1).as_ref(), Some(address));
    }
    !kept.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let device = |name: Option<&str>| NetDevice { name: name.map(str::to_owned) };
        let of = |key: &str, name| check(&BTreeMap::from([(key.to_owned(), device(name))]));
        of("eth0", Some("net1")).unwrap();
        of("eth0", None).unwrap();
        for (key, name) in [
            ("", None),
            ("sixteen-letters-", None),
            ("e", Some("a/b")),
            ("e", Some("..")),
            ("a b", None),
        ] {
            let error = of(key, name).unwrap_err().to_string();
            assert!(error.contains("linux.netDevices"), "{error}");
        }
    }

    #[test]
    fn an_error_that_is_no_errno_is_a_bad_answer() {
        for (code, errno) in [(-1, Errno::PERM), (7, Errno::BADMSG), (i32::MIN, Errno::BADMSG)] {
            let mut bytes = [20u32.to_ne_bytes(), [2, 0, 0, 0], [0; 4], [0; 4]].concat();
            bytes.extend(i32::to_ne_bytes(code));
            assert_eq!(answers(&bytes, |_, _| ()), Err(errno), "{code}");
        }
    }

    #[test]
    fn only_permanent_global_addresses_are_kept_and_any_bytes_parse() {
        let kept =
            Address { family: 2, prefix: 24, attributes: vec![(IFA_LOCAL, vec![10, 0, 0, 1])] };
        let mut payload = kept.message(5).bytes.split_off(HEADER);
        assert_eq!(Address::parse(&payload, 5), Some(kept));
        assert_eq!(Address::parse(&payload, 6), None);
        payload[3] = 253; // link scope
        assert_eq!(Address::parse(&payload, 5), None);
        for length in 0..payload.len() {
            let _ = Address::parse(&payload[..length], 5);
        }
        payload[8] = 255;
        let _ = Address::parse(&payload, 5);
    }
}
