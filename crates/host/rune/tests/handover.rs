//! What the caller hands in and gets back: interfaces, the readiness of the program, descriptors of processes.

use conformance::{Bundle, Runtime, obstacle};
use serde_json::json;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

struct Place {
    // Dropped in this order: the bundle's drop deletes its container by the state in the directory.
    bundle: Bundle,
    directory: tempfile::TempDir,
}

fn place(name: &str, script: &str) -> Option<Place> {
    if let Some(reason) = obstacle() {
        eprintln!("skipped: {name}: {reason}");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_rune"));
    let runtime = Runtime { program, root: directory.path().join("state"), hides_cgroup2: false };
    Some(Place { directory, bundle: Bundle::new(&runtime, script).unwrap() })
}

impl Place {
    fn command(&self, args: &[&str]) -> Command {
        self.bundle.write().unwrap();
        let mut command = self.bundle.runtime().command(args);
        command.current_dir(self.bundle.path()).stdin(Stdio::null());
        command
    }
}

#[test]
fn an_interface_moves_with_its_addresses_and_is_up() {
    let name = "an_interface_moves_with_its_addresses_and_is_up";
    let script =
        "cat /sys/class/net/inside/operstate /sys/class/net/inside/address; ip addr show inside";
    let Some(mut place) = place(name, script) else { return };
    let Ok(check) = Command::new("ip").arg("-V").output() else {
        eprintln!("skipped: {name}: no ip (package iproute2)");
        return;
    };
    assert!(check.status.success());
    let busybox = place.bundle.rootfs().join("bin/ip");
    std::os::unix::fs::symlink("busybox", busybox).unwrap();
    let (a, b) = (format!("rta{}", std::process::id()), format!("rtb{}", std::process::id()));
    place.bundle.set("/linux/netDevices", json!({a.as_str(): {"name": "inside"}}));
    // In a network namespace of the test: it goes with its processes, whatever happens.
    let setup = format!(
        "ip link add {a} type veth peer name {b} && ip addr add 10.77.0.2/24 dev {a} && \
         ip addr add 169.254.7.7/16 scope link dev {a} && ip link set {a} up && ip link set {b} up && exec \"$@\""
    );
    let run = place.command(&["run", &place.bundle.id]);
    let output = Command::new("unshare")
        .args(["-n", "sh", "-c", &setup, "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(place.bundle.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(text.starts_with("up\n"), "{text}");
    assert!(text.contains("inet 10.77.0.2/24"), "{text}");
    // Addresses of narrower scope stay behind.
    assert!(!text.contains("169.254"), "{text}");
    place.bundle.expect_nothing_left().unwrap();
}

#[test]
fn a_missing_interface_is_named_and_nothing_is_left() {
    let name = "a_missing_interface_is_named_and_nothing_is_left";
    let Some(mut place) = place(name, "true") else { return };
    place.bundle.set("/linux/netDevices", json!({"nosuch0": {}}));
    let output = place.command(&["run", &place.bundle.id]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("linux.netDevices") && message.contains("nosuch0"), "{message}");
    place.bundle.expect_nothing_left().unwrap();
}

/// The program's readiness, sent here from outside by the same socket that it has inside.
#[test]
fn start_waits_for_the_programs_readiness_and_passes_it_on() {
    let name = "start_waits_for_the_programs_readiness_and_passes_it_on";
    let script = "test -S $NOTIFY_SOCKET && echo socket; touch $NOTIFY_SOCKET.x 2>/dev/null || echo fixed; \
                  sleep 1000";
    let Some(place) = place(name, script) else { return };
    let manager = place.directory.path().join("manager");
    let socket = UnixDatagram::bind(&manager).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let id = place.bundle.id.clone();
    let output = std::fs::File::create(place.bundle.path().join("output")).unwrap();
    let status = place
        .command(&["create", &id])
        .env("NOTIFY_SOCKET", &manager)
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .status()
        .unwrap();
    assert!(status.success(), "{}", place.bundle.output());
    let mut start = place.command(&["start", &id]).env("NOTIFY_SOCKET", &manager).spawn().unwrap();
    place.bundle.wait_for_output("fixed").unwrap();
    assert_eq!(place.bundle.output(), "socket\nfixed\n");
    assert!(start.try_wait().unwrap().is_none(), "start did not wait");
    let inside = place.directory.path().join("state").join(&id).join("notify/notify.sock");
    let program = UnixDatagram::unbound().unwrap();
    program.send_to(b"STATUS=soon", &inside).unwrap();
    program.send_to(b"FDSTORE=1\nREADY=1\nMAINPID=1", &inside).unwrap();
    assert!(start.wait().unwrap().success());
    let mut buffer = [0u8; 256];
    let n = socket.recv(&mut buffer).unwrap();
    let pid = place.bundle.runtime().state(&id).unwrap()["pid"].to_string();
    assert_eq!(String::from_utf8_lossy(&buffer[..n]), format!("MAINPID={pid}\nREADY=1\n"));
    place.command(&["delete", "--force", &id]).status().unwrap();
    place.bundle.expect_nothing_left().unwrap();
}

#[test]
fn a_program_that_ends_before_it_is_ready_does_not_hold_start() {
    let name = "a_program_that_ends_before_it_is_ready_does_not_hold_start";
    let Some(place) = place(name, "exit 3") else { return };
    let manager = place.directory.path().join("manager");
    let _socket = UnixDatagram::bind(&manager).unwrap();
    let output =
        place.command(&["run", &place.bundle.id]).env("NOTIFY_SOCKET", &manager).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    place.bundle.expect_nothing_left().unwrap();
}

#[test]
fn a_descriptor_of_the_first_process_is_sent() {
    use container::console::receive_fds;
    use std::os::fd::AsFd;
    let Some(place) = place("a_descriptor_of_the_first_process_is_sent", "sleep 1000") else {
        return;
    };
    let path = place.directory.path().join("pidfd");
    let listener = UnixListener::bind(&path).unwrap();
    let reader = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        receive_fds(stream.as_fd(), &mut [0; 64]).unwrap().1.pop().unwrap()
    });
    let id = place.bundle.id.clone();
    let output = std::fs::File::create(place.bundle.path().join("output")).unwrap();
    let status = place
        .command(&["create", "--pidfd-socket", path.to_str().unwrap(), &id])
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .status()
        .unwrap();
    assert!(status.success(), "{}", place.bundle.output());
    let pidfd = reader.join().unwrap();
    let info = format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd));
    let info = std::fs::read_to_string(info).unwrap();
    let pid = place.bundle.runtime().state(&id).unwrap()["pid"].to_string();
    assert!(info.lines().any(|l| l == format!("Pid:\t{pid}")), "{info}");
    place.command(&["delete", "--force", &id]).status().unwrap();
    place.bundle.expect_nothing_left().unwrap();
}

/// A file that the runtime opens must not be taken for one of them, nor the container's be another one.
#[test]
fn closed_standard_streams_are_on_the_null_device() {
    let name = "closed_standard_streams_are_on_the_null_device";
    let script = "for fd in 0 1 2; do seen=\"$seen$(readlink /proc/1/fd/$fd) \"; done; echo $seen >/tmp/seen";
    let Some(place) = place(name, script) else { return };
    let run = place.command(&["run", "--bundle", ".", &place.bundle.id]);
    let status = Command::new("sh")
        .args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(place.bundle.path())
        .status()
        .unwrap();
    assert!(status.success());
    let seen = std::fs::read_to_string(place.bundle.rootfs().join("tmp/seen")).unwrap();
    assert_eq!(seen, "/dev/null /dev/null /dev/null\n");
}

/// The standard library's start does this, which the program goes without.
#[test]
fn a_closed_pipe_is_an_error_and_not_the_end() {
    let name = "a_closed_pipe_is_an_error_and_not_the_end";
    let Some(place) = place(name, "true") else { return };
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let status = place.command(&["state", "none"]).stderr(write).status().unwrap();
    assert_eq!(status.code(), Some(1), "{status}");
}
