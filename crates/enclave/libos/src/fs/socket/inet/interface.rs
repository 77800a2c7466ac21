//! The one interface, lo, as ioctl(2) tells of it (netdevice(7)).

use crate::errno::Errno;
use crate::fs::task::Task;

/// Bytes that wait to be read: FIONREAD.
pub(super) const SIOCINQ: u32 = super::super::FIONREAD;
/// Bytes that were written and have not arrived.
pub(super) const SIOCOUTQ: u32 = 0x5411;
/// Whether the next byte is urgent.
pub(super) const SIOCATMARK: u32 = 0x8905;

const SIOCGIFNAME: u32 = 0x8910;
const SIOCGIFCONF: u32 = 0x8912;
const SIOCGIFFLAGS: u32 = 0x8913;
const SIOCGIFADDR: u32 = 0x8915;
const SIOCGIFDSTADDR: u32 = 0x8917;
const SIOCGIFBRDADDR: u32 = 0x8919;
const SIOCGIFNETMASK: u32 = 0x891b;
const SIOCGIFMETRIC: u32 = 0x891d;
const SIOCGIFMTU: u32 = 0x8921;
const SIOCGIFHWADDR: u32 = 0x8927;
const SIOCGIFINDEX: u32 = 0x8933;
const SIOCGIFTXQLEN: u32 = 0x8942;

/// Its name, index, MTU and flags: IFF_UP, IFF_LOOPBACK, IFF_RUNNING.
pub const NAME: &[u8] = b"lo";
#[allow(missing_docs)]
pub const INDEX: u32 = 1;
#[allow(missing_docs)]
pub const MTU: u32 = 65_536;
#[allow(missing_docs)]
pub const FLAGS: u32 = 0x1 | 0x8 | 0x40;
/// ARPHRD_LOOPBACK
pub const HARDWARE: u16 = 772;

/// Bytes of `struct ifreq`, of them the name's.
const REQUEST: usize = 40;
const REQUEST_NAME: usize = 16;

/// Serves a request about interfaces; None for another request.
pub(super) fn ioctl(task: &dyn Task, request: u32, argument: u64) -> Option<Result<u64, Errno>> {
    let done = match request {
        SIOCGIFCONF => list(task, argument),
        SIOCGIFNAME => name(task, argument),
        _ => one(task, request, argument)?,
    };
    Some(done.map(|()| 0))
}

/// `struct sockaddr_in` without a port.
fn address(octets: [u8; 4]) -> [u8; 16] {
    let mut raw = [0; 16];
    raw[0] = 2;
    raw[4..8].copy_from_slice(&octets);
    raw
}

/// `struct ifconf`: bytes of the buffer, padding, its address; one entry for IPv4.
fn list(task: &dyn Task, argument: u64) -> Result<(), Errno> {
    let raw: [u8; 16] = task.read_array(argument)?;
    let [a, b, c, d, _, _, _, _, buffer @ ..] = raw;
    let (room, buffer) = (i32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(buffer));
    let mut length = REQUEST;
    if buffer != 0 {
        length = 0;
        if usize::try_from(room).map_err(|_| Errno::EINVAL)? >= REQUEST {
            let mut entry = [0; REQUEST];
            entry[..NAME.len()].copy_from_slice(NAME);
            entry[REQUEST_NAME..][..16].copy_from_slice(&address([127, 0, 0, 1]));
            task.write_user(buffer, &entry)?;
            length = REQUEST;
        }
    }
    task.write_user(argument, &(length as u32).to_le_bytes())
}

/// `struct ifreq` with an index: its name.
fn name(task: &dyn Task, argument: u64) -> Result<(), Errno> {
    let index = u32::from_le_bytes(task.read_array(argument.wrapping_add(REQUEST_NAME as u64))?);
    if index != INDEX {
        return Err(Errno::ENODEV);
    }
    let mut name = [0; REQUEST_NAME];
    name[..NAME.len()].copy_from_slice(NAME);
    task.write_user(argument, &name)
}

/// `struct ifreq` with a name: something of the interface.
fn one(task: &dyn Task, request: u32, argument: u64) -> Option<Result<(), Errno>> {
    let word = |value: u32| {
        let mut raw = [0; 16];
        raw[..4].copy_from_slice(&value.to_le_bytes());
        raw
    };
    let answer = match request {
        SIOCGIFFLAGS => word(FLAGS),
        SIOCGIFADDR | SIOCGIFDSTADDR => address([127, 0, 0, 1]),
        SIOCGIFBRDADDR => address([0; 4]),
        SIOCGIFNETMASK => address([255, 0, 0, 0]),
        SIOCGIFMETRIC => word(0),
        SIOCGIFMTU => word(MTU),
        SIOCGIFHWADDR => word(HARDWARE.into()),
        SIOCGIFINDEX => word(INDEX),
        SIOCGIFTXQLEN => word(1000),
        _ => return None,
    };
    let length = match request {
        SIOCGIFFLAGS => 2,
        SIOCGIFMETRIC | SIOCGIFMTU | SIOCGIFINDEX | SIOCGIFTXQLEN => 4,
        _ => 16,
    };
    Some(task.read_array::<REQUEST_NAME>(argument).and_then(|name| {
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if name != NAME {
            return Err(Errno::ENODEV);
        }
        task.write_user(argument.wrapping_add(REQUEST_NAME as u64), &answer[..length])
    }))
}
