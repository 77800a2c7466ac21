//! A connection to systemd: directly, by the socket that `systemctl` uses, or through the bus daemon.
//!
//! Guarantees: one call at a time, its answer waited for at most [`PATIENCE`]; a bus that says nonsense is an
//! error. Does not guarantee anything about messages that nobody asked for: they are read and dropped.

use super::message::{Call, FIXED, Kind, Message, Reader, length};
use crate::error::{Error, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer or the end of a job may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const DAEMON: &str = "org.freedesktop.DBus";

/// An open connection.
#[derive(Debug)]
pub(super) struct Bus {
    stream: UnixStream,
    socket: PathBuf,
    serial: u32,
    /// `JobRemoved` signals that came before somebody waited: job and result.
    ended: Vec<(String, String)>,
}

/// Where a manager listens, best first, and whether a bus daemon is between.
fn sockets(is_user: bool) -> Vec<(PathBuf, bool)> {
    let (variable, private, public) = if is_user {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).unwrap_or_default();
        ("DBUS_SESSION_BUS_ADDRESS", runtime.join("systemd/private"), runtime.join("bus"))
    } else {
        let private = PathBuf::from("/run/systemd/private");
        ("DBUS_SYSTEM_BUS_ADDRESS", private, "/run/dbus/system_bus_socket".into())
    };
    let mut out = Vec::new();
    if let Ok(address) = std::env::var(variable) {
        let paths = address.split(';').filter_map(|a| a.strip_prefix("unix:path="));
        out.extend(paths.map(|p| (PathBuf::from(p.split(',').next().unwrap_or(p)), true)));
    }
    out.push((private, false));
    out.push((public, true));
    out
}

impl Bus {
    /// Connects to the manager of the machine or of this user.
    ///
    /// # Errors
    /// No socket answers: the last one's failure.
    pub(super) fn connect(is_user: bool) -> Result<Self> {
        let mut last = None;
        for (socket, has_daemon) in sockets(is_user) {
            match Self::open(&socket, has_daemon) {
                Ok(bus) => return Ok(bus),
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .unwrap_or(Error::Systemd { operation: "connect".into(), reason: "no socket".into() }))
    }

    fn open(socket: &Path, has_daemon: bool) -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::os_io("connect to systemd (--systemd-cgroup) at", socket, &e)
        };
        let stream = UnixStream::connect(socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut bus = Self { stream, socket: socket.to_owned(), serial: 0, ended: Vec::new() };
        bus.authenticate()?;
        if has_daemon {
            let hello = Call {
                destination: DAEMON,
                path: "/org/freedesktop/DBus",
                interface: DAEMON,
                member: "Hello",
                signature: "",
            };
            bus.call(hello, &[])?;
            let mut rule = super::message::Writer::default();
            rule.text(&format!("type='signal',interface='{MANAGER}',member='JobRemoved'"));
            bus.call(Call { member: "AddMatch", signature: "s", ..hello }, &rule.bytes)?;
            // Without a subscriber the manager sends no signals to the bus.
            bus.manager("Subscribe", "", &[])?;
        }
        Ok(bus)
    }

    fn failed(&self, operation: &str, reason: impl Into<String>) -> Error {
        let operation = format!("{operation} at {}", self.socket.display());
        Error::Systemd { operation, reason: reason.into() }
    }

    /// `EXTERNAL`: the socket's credentials say who we are. `BEGIN` goes before the answer is there: systemd
    /// reads what comes right behind it into the buffer of the authentication, and looks there again only
    /// when yet more comes.
    fn authenticate(&mut self) -> Result<()> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|b| format!("{b:02x}")).collect();
        let line = format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n");
        let io = |e: std::io::Error| e.to_string();
        let answer: std::result::Result<String, String> = (|| {
            self.stream.write_all(line.as_bytes()).map_err(io)?;
            let mut answer = Vec::new();
            // Byte by byte: what follows the line is already the answer to something else.
            while !answer.ends_with(b"\r\n") && answer.len() < 512 {
                let mut byte = [0u8];
                self.stream.read_exact(&mut byte).map_err(io)?;
                answer.push(byte[0]);
            }
            Ok(String::from_utf8_lossy(&answer).trim_end().to_owned())
        })();
        match answer {
            Ok(line) if line.starts_with("OK ") => Ok(()),
            Ok(line) => Err(self.failed("authenticate", line)),
            Err(reason) => Err(self.failed("authenticate", reason)),
        }
    }

    /// Calls a method of the manager.
    pub(super) fn manager(
        &mut self,
        member: &str,
        signature: &str,
        body: &[u8],
    ) -> Result<Vec<u8>> {
        let (destination, path, interface) = (SYSTEMD, MANAGER_PATH, MANAGER);
        self.call(Call { destination, path, interface, member, signature }, body)
    }

    /// Calls a method; gives the answer's body.
    pub(super) fn call(&mut self, call: Call<'_>, body: &[u8]) -> Result<Vec<u8>> {
        self.serial += 1;
        let serial = self.serial;
        self.stream
            .write_all(&call.encode(serial, body))
            .map_err(|e| self.failed(call.member, e.to_string()))?;
        loop {
            let message = self.receive(call.member)?;
            match message.kind {
                Kind::Reply if message.reply_to == serial => return Ok(message.body),
                Kind::Error if message.reply_to == serial => {
                    let text = Reader::new(&message.body).text().unwrap_or_default().to_owned();
                    return Err(self.failed(call.member, format!("{}: {text}", message.error)));
                }
                _ => self.note(&message),
            }
        }
    }

    /// Waits for the end of a job; gives its result, `done` if all is well.
    pub(super) fn wait(&mut self, job: &str) -> Result<String> {
        loop {
            if let Some(index) = self.ended.iter().position(|(ended, _)| ended == job) {
                return Ok(self.ended.swap_remove(index).1);
            }
            let message = self.receive("wait for a job")?;
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Message) {
        if message.kind != Kind::Signal || message.member != "JobRemoved" {
            return;
        }
        let mut reader = Reader::new(&message.body);
        let fields = (reader.u32(), reader.text(), reader.text(), reader.text());
        if let (Some(_), Some(job), Some(_), Some(result)) = fields {
            self.ended.push((job.to_owned(), result.to_owned()));
        }
    }

    fn receive(&mut self, operation: &str) -> Result<Message> {
        let mut fixed = [0u8; FIXED];
        let mut bytes = Vec::new();
        let read = self.stream.read_exact(&mut fixed).and_then(|()| {
            let total = length(&fixed).ok_or(std::io::ErrorKind::InvalidData)?;
            bytes.extend(fixed);
            bytes.resize(total, 0);
            self.stream.read_exact(bytes.get_mut(FIXED..).unwrap_or_default())
        });
        read.map_err(|e| self.failed(operation, e.to_string()))?;
        Message::parse(&bytes).ok_or_else(|| self.failed(operation, "a message that is none"))
    }
}
