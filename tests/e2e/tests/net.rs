//! Programs of an enclave that are reached from outside, and that reach out, by the rules of the manifest.

use e2e::{MODES, PATIENCE, Running, Workbench};
use fixtures::{Bundle, Image, checked, free_port, own_address};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Has the container in the network of this test.
fn in_our_network(bundle: Bundle) -> Bundle {
    bundle.join_host_network().unwrap();
    bundle
}

/// `net ARGUMENTS` (fixtures/programs/net.c) under a policy.
fn net(workbench: &Workbench, name: &str, arguments: &[&str], policy: &str) -> Option<Bundle> {
    let source = include_str!("../../fixtures/programs/net.c");
    let tree = match fixtures::musl_tree(workbench.path(), source) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("skipped: {error}");
            return None;
        }
    };
    let command = [&["/hello"], arguments].concat();
    let image = Image::new("net:test", tree, &command);
    Some(in_our_network(workbench.bundle(name, &image, policy)))
}

fn listen_on(port: u16) -> String {
    format!("[network]\nlisten = [{port}]\n")
}

/// Connects as soon as somebody listens.
fn reach(port: u16) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_web_server_is_reached_at_a_listed_port() {
    let Some(workbench) = Workbench::new() else { return };
    let port = free_port().unwrap();
    let script = format!("mkdir /www; echo hello >/www/file; exec httpd -f -p {port} -h /www");
    let bundle = in_our_network(workbench.busybox("httpd", &script, &listen_on(port)));
    for mode in MODES {
        let mut run = bundle.run_command();
        let mut child = run.env("RUNE_EMULATOR_MODE", mode).spawn().unwrap();
        for _ in 0..3 {
            let mut client = reach(port);
            client.write_all(b"GET /file HTTP/1.0\r\n\r\n").unwrap();
            let mut page = String::new();
            client.read_to_string(&mut page).unwrap();
            assert!(page.starts_with("HTTP/1") && page.ends_with("hello\n"), "{mode}: {page}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let id = run.get_args().last().unwrap();
        checked(bundle.programs().rune().args(["delete", "--force"]).arg(id)).unwrap();
    }
}

#[test]
fn without_a_rule_a_server_is_reached_from_inside_only_and_the_log_says_why() {
    let Some(workbench) = Workbench::new() else { return };
    let port = free_port().unwrap();
    let script = format!(
        "mkdir /www; echo hello >/www/file; httpd -p {port} -h /www\n\
         wget -q -O - http://127.0.0.1:{port}/file\n\
         cat /proc/inclavare/network; echo ready; sleep 100"
    );
    let bundle = in_our_network(workbench.busybox("inside", &script, ""));
    let mut running = Running::spawn(&bundle);
    assert_eq!(running.line(), "hello\n");
    assert_eq!(running.line(), format!("refused 1 listen {port}\n"));
    assert_eq!(running.line(), "ready\n");
    let error = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    let log = running.log();
    let reason = format!("network.listen: expected a port of the manifest, got {port}");
    assert_eq!(log.matches(&reason).count(), 1, "{log}");
}

#[test]
fn a_client_reaches_what_a_rule_names_and_nothing_else() {
    let Some(workbench) = Workbench::new() else { return };
    let Some(address) = own_address() else {
        eprintln!("skipped: this machine has no address but loopback");
        return;
    };
    let server = TcpListener::bind((address, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let arguments = ["fetch", &address.to_string(), &port.to_string()];
    let rule = format!("[network]\nconnect = [\"{address}:{port}\"]\n");
    let Some(bundle) = net(&workbench, "rule", &arguments, &rule) else { return };
    let answering = std::thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        let mut question = String::new();
        peer.read_to_string(&mut question).unwrap();
        peer.write_all(b"answer to ").unwrap();
        peer.write_all(question.as_bytes()).unwrap();
    });
    let got = bundle.run(b"").unwrap();
    assert_eq!((got.code, got.stdout.as_str()), (0, "answer to question\n"), "{got:?}");
    answering.join().unwrap();
    // Nobody listens there any more.
    let got = bundle.run(b"").unwrap();
    assert_eq!((got.code, got.stdout.as_str()), (1, "connect: Connection refused\n"), "{got:?}");

    let other = format!("[network]\nconnect = [\"{address}:1\"]\n");
    for (name, policy) in [("none", ""), ("other", &other)] {
        let bundle = net(&workbench, name, &arguments, policy).unwrap();
        let got = bundle.run(b"").unwrap();
        assert_eq!(got.stdout, "connect: Network unreachable\n", "{got:?}");
        let reason = format!(
            "network.connect: expected a destination of the manifest, got {address}:{port}"
        );
        assert!(got.stderr.contains(&reason), "{got:?}");
    }
}

#[test]
fn two_hundred_connections_at_once_are_served() {
    let Some(workbench) = Workbench::new() else { return };
    let port = free_port().unwrap();
    let arguments = ["serve", &port.to_string()];
    let Some(bundle) = net(&workbench, "many", &arguments, &listen_on(port)) else { return };
    let _running = Running::start(&bundle);
    let mut clients: Vec<_> = (0..200).map(|_| reach(port)).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.write_all(format!("{round} of {number}\n").as_bytes()).unwrap();
        }
        // The last first: nobody waits for another.
        for (number, client) in clients.iter_mut().enumerate().rev() {
            let expected = format!("{round} of {number}\n");
            let mut got = vec![0; expected.len()];
            client.read_exact(&mut got).unwrap();
            assert_eq!(String::from_utf8_lossy(&got), expected);
        }
    }
    for client in &mut clients {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end came back");
    }
}

#[test]
fn a_peer_that_does_not_read_is_waited_for_and_loses_nothing() {
    let Some(workbench) = Workbench::new() else { return };
    let port = free_port().unwrap();
    let arguments = ["serve", &port.to_string()];
    let Some(bundle) = net(&workbench, "pressure", &arguments, &listen_on(port)) else { return };
    let _running = Running::start(&bundle);
    let mut client = reach(port);
    let sent: Vec<u8> = (0..48_000_000_u32).map(|at| (at.wrapping_mul(7) / 5) as u8).collect();
    let mut writer = client.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    // Long enough for everything between the two to be full.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!writing.is_finished(), "48 MB are more than the sockets hold");
    // Others are served meanwhile.
    let mut other = reach(port);
    other.write_all(b"x").unwrap();
    other.read_exact(&mut [0]).unwrap();
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
    writing.join().unwrap();
    // One that goes in the middle, with bytes unread, is no matter for the rest.
    let mut rude = reach(port);
    rude.write_all(&sent[..1_000_000]).unwrap();
    drop(rude);
    other.write_all(b"y").unwrap();
    other.read_exact(&mut [0]).unwrap();
}

/// The peer of a connection over the host's loopback is nobody: programs trust who is on theirs.
#[test]
fn a_wait_in_accept_ends_with_a_signal_and_no_peer_is_on_loopback() {
    let Some(workbench) = Workbench::new() else { return };
    let port = free_port().unwrap();
    let arguments = ["wait", &port.to_string()];
    let Some(bundle) = net(&workbench, "accept", &arguments, &listen_on(port)) else { return };
    let mut running = Running::start(&bundle);
    drop(reach(port));
    assert_eq!(running.line(), "peer ::ffff:192.0.0.8\n");
    checked(running.rune(&["kill"]).arg("TERM")).unwrap();
    assert_eq!(running.line(), "accept: Interrupted system call\n");
    assert_eq!(running.ends_with(), 1);
    // SIGKILL ends what waits for nothing else.
    let mut running = Running::start(&bundle);
    checked(running.rune(&["kill"]).arg("KILL")).unwrap();
    assert_eq!(running.ends_with(), 137);
}
