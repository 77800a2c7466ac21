//! Each rule of admission, and the refusals by the name of what is attempted.

use super::*;
use crate::manifest::tests::example;
use alloc::vec;

fn request() -> Request {
    Request {
        kind: Kind::Init,
        argv: vec!["/bin/server".into(), "--port=1".into()],
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        user: User::default(),
        hostname: "4f2c".into(),
        mounts: vec![],
        tty: false,
        has_stdin: false,
        rlimits: vec![],
        inputs: BTreeMap::new(),
    }
}

fn bind(destination: &str) -> Mount {
    Mount {
        destination: destination.into(),
        kind: "bind".into(),
        options: vec!["rbind".into(), "rprivate".into()],
    }
}

/// What `admit` says to the example request with a change.
fn refused(change: impl FnOnce(&mut Manifest, &mut Request)) -> String {
    let (mut manifest, mut request) = (example(), request());
    change(&mut manifest, &mut request);
    manifest.validate().expect("the tests change it to a valid one");
    admit(&manifest, &request).unwrap_err().to_string()
}

fn accepted(change: impl FnOnce(&mut Manifest, &mut Request)) -> Admitted {
    let (mut manifest, mut request) = (example(), request());
    change(&mut manifest, &mut request);
    manifest.validate().expect("the tests change it to a valid one");
    admit(&manifest, &request).expect("allowed")
}

fn dropped(admitted: &Admitted) -> Vec<&str> {
    let fields = admitted.dropped.iter();
    fields.map(|dropped| dropped.field.as_str()).collect()
}

#[test]
fn what_docker_and_cri_inject_is_dropped_not_refused() {
    let admitted = accepted(|_, r| {
        for entry in [
            "HOSTNAME=4f2c",
            "TERM=xterm",
            "HOME=/root",
            "KUBERNETES_SERVICE_HOST=10.0.0.1",
            "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443",
            "container=podman",
            "EMPTY=",
        ] {
            r.env.push(entry.into());
        }
        r.mounts = vec![
            Mount { destination: "/proc".into(), kind: "proc".into(), options: vec![] },
            bind("/etc/hosts"),
            bind("/dev/termination-log"),
            bind("/var/run/secrets/kubernetes.io/serviceaccount"),
        ];
        r.inputs = [
            ("/etc/hosts".into(), "127.0.0.1 localhost\n".into()),
            ("/etc/hostname".into(), "4f2c\n".into()),
        ]
        .into();
    });
    assert_eq!(admitted.env, ["PATH=/bin"]);
    assert_eq!(admitted.mounts, []);
    assert_eq!(admitted.inputs, BTreeMap::new());
    assert_eq!(admitted.hostname, "localhost");
    assert_eq!(
        dropped(&admitted),
        [
            "env.HOSTNAME",
            "env.TERM",
            "env.HOME",
            "env.KUBERNETES_SERVICE_HOST",
            "env.KUBERNETES_PORT_443_TCP",
            "env.container",
            "env.EMPTY",
            "mounts./proc",
            "mounts./etc/hosts",
            "mounts./dev/termination-log",
            "mounts./var/run/secrets/kubernetes.io/serviceaccount",
            "inputs./etc/hostname",
            "inputs./etc/hosts",
            "hostname",
        ]
    );
    assert!(
        !admitted.dropped.iter().any(|d| d.to_string().contains("10.0.0.1")),
        "values stay out of the log"
    );
}

#[test]
fn injected_ld_preload_is_refused() {
    assert_eq!(
        refused(|_, r| r.env.push("LD_PRELOAD=/tmp/evil.so".into())),
        "env.LD_PRELOAD: expected not set, got \"/tmp/evil.so\""
    );
    for name in ["GCONV_PATH", "PYTHONPATH", "JAVA_TOOL_OPTIONS", "NODE_OPTIONS"] {
        assert!(refused(|_, r| r.env.push(format!("{name}=x"))).starts_with("env."));
    }
}

#[test]
fn listed_dangerous_variable_is_accepted() {
    let admitted = accepted(|m, r| {
        let rule = EnvRule::Exact("/opt/lib".into());
        m.process.env.insert("LD_LIBRARY_PATH".into(), rule);
        r.env.push("LD_LIBRARY_PATH=/opt/lib".into());
    });
    assert_eq!(admitted.env, ["LD_LIBRARY_PATH=/opt/lib", "PATH=/bin"]);
}

#[test]
fn changed_listed_env_is_refused_and_missing_is_set() {
    assert_eq!(
        refused(|_, r| r.env = vec!["PATH=/evil:/bin".into()]),
        "env.PATH: expected \"/bin\", got \"/evil:/bin\""
    );
    assert_eq!(
        refused(|_, r| r.env.push("PATH=/bin".into())),
        "env.PATH: expected one value, got several"
    );
    assert_eq!(accepted(|_, r| r.env.clear()).env, ["PATH=/bin"]);
    for entry in ["", "PATH", "=x"] {
        assert!(
            refused(|_, r| r.env.push(entry.into())).starts_with("env[1]: expected NAME=value")
        );
    }
}

#[test]
fn env_rules_with_freedom() {
    let with = |rule: EnvRule, value: &str| {
        let (mut manifest, mut request) = (example(), request());
        manifest.process.env.insert("MODE".into(), rule);
        request.env.push(format!("MODE={value}"));
        admit(&manifest, &request).map_err(|refusal| refusal.to_string())
    };
    assert!(with(EnvRule::Any, "x").is_ok());
    assert!(with(EnvRule::Prefix("tcp:".into()), "tcp:1").is_ok());
    assert_eq!(
        with(EnvRule::Prefix("tcp:".into()), "udp:1").unwrap_err(),
        "env.MODE: expected a value that starts with \"tcp:\", got \"udp:1\""
    );
    let one_of = EnvRule::OneOf(vec!["a".into(), "b".into()]);
    assert!(with(one_of.clone(), "b").is_ok());
    assert_eq!(
        with(one_of, "c").unwrap_err(),
        "env.MODE: expected one of [\"a\", \"b\"], got \"c\""
    );
}

#[test]
fn changed_argv_is_refused() {
    assert_eq!(
        refused(|_, r| r.argv[1] = "--port=2".into()),
        "argv[1]: expected \"--port=1\", got \"--port=2\""
    );
    assert_eq!(
        refused(|_, r| r.argv.push("--debug".into())),
        "argv[2]: expected nothing, got \"--debug\""
    );
    assert_eq!(refused(|_, r| r.argv.clear()), "argv[0]: expected \"/bin/server\", got nothing");
}

#[test]
fn argv_prefix() {
    let prefix = |m: &mut Manifest| {
        m.process.argv =
            ArgvRule::Prefix { argv: vec!["/bin/server".into(), "--port=1".into()], force: false };
    };
    let admitted = accepted(|m, r| {
        prefix(m);
        r.argv.push("--verbose".into());
    });
    assert_eq!(admitted.argv, ["/bin/server", "--port=1", "--verbose"]);
    assert_eq!(
        refused(|m, r| {
            prefix(m);
            r.argv.truncate(1);
        }),
        "argv[1]: expected \"--port=1\", got nothing"
    );
}

#[test]
fn changed_cwd_user_and_tty_are_refused() {
    assert_eq!(refused(|_, r| r.cwd = "/tmp".into()), "cwd: expected \"/\", got \"/tmp\"");
    assert_eq!(refused(|_, r| r.user.uid = 5), "user.uid: expected 0, got 5");
    assert_eq!(refused(|_, r| r.user.gid = 6), "user.gid: expected 0, got 6");
    assert_eq!(
        refused(|_, r| r.user.additional_gids = vec![27, 4]),
        "user.additional_gids: expected any of [], got 27"
    );
    let groups = accepted(|_, r| r.user.additional_gids = vec![0]).user.additional_gids;
    assert_eq!(groups, [0; 0], "the primary group again changes nothing");
    assert_eq!(refused(|_, r| r.tty = true), "tty: expected no terminal, got a terminal");
}

#[test]
fn data_on_a_closed_stdin_does_not_get_in() {
    let admitted = accepted(|_, r| r.has_stdin = true);
    assert!(!admitted.stdin);
    assert_eq!(dropped(&admitted), ["hostname", "stdin"].iter().rev().copied().collect::<Vec<_>>());
    let open = accepted(|m, r| {
        m.process.stdin = Availability::Allowed;
        r.has_stdin = true;
    });
    assert!(open.stdin);
}

#[test]
fn changed_listed_mount_is_refused() {
    let listed = |m: &mut Manifest| {
        m.mounts.insert("/data".into(), MountRule::Host { read_only: false });
        m.mounts.insert("/run".into(), MountRule::Tmpfs { size: 4096 });
    };
    let admitted = accepted(|m, r| {
        listed(m);
        r.mounts = vec![bind("/data/"), bind("/elsewhere")];
    });
    let destinations: Vec<&str> =
        admitted.mounts.iter().map(|mount| mount.destination.as_str()).collect();
    assert_eq!(destinations, ["/data", "/run"], "a tmpfs needs no request");
    assert_eq!(
        refused(|m, r| {
            listed(m);
            r.mounts = vec![bind("/run")];
        }),
        "mounts./run: expected a tmpfs, got a bind mount"
    );
    assert_eq!(
        refused(|m, r| {
            listed(m);
            r.mounts = vec![Mount { kind: "nfs".into(), options: vec![], ..bind("/data") }];
        }),
        "mounts./data: expected a bind mount, got \"nfs\""
    );
    assert_eq!(
        refused(|m, r| {
            listed(m);
            r.mounts = vec![bind("/data"), bind("/data/")];
        }),
        "mounts./data: expected one mount, got several"
    );
}

#[test]
fn exec_of_an_unlisted_command_is_refused() {
    let exec = |r: &mut Request, argv: &[&str]| {
        r.kind = Kind::Exec;
        r.argv = argv.iter().map(ToString::to_string).collect();
    };
    assert_eq!(
        refused(|_, r| exec(r, &["sh", "-c", "id"])),
        "exec.argv: expected no exec, got [\"sh\", \"-c\", \"id\"]"
    );
    let probe = |m: &mut Manifest| {
        m.exec = vec![ExecRule {
            argv: vec!["/bin/probe".into(), "live".into()],
            stdin: Availability::Denied,
            tty: Availability::Denied,
        }];
    };
    assert_eq!(
        refused(|m, r| {
            probe(m);
            exec(r, &["/bin/probe", "live", "--write"]);
        }),
        "exec.argv: expected the listed command [\"/bin/probe\", \"live\"], \
         got [\"/bin/probe\", \"live\", \"--write\"]"
    );
    let admitted = accepted(|m, r| {
        probe(m);
        exec(r, &["/bin/probe", "live"]);
        r.mounts = vec![bind("/x")];
    });
    assert_eq!(admitted.argv, ["/bin/probe", "live"]);
    assert_eq!(admitted.env, ["PATH=/bin"]);
    assert_eq!(admitted.mounts, [], "exec mounts nothing");
    assert_eq!(
        refused(|m, r| {
            probe(m);
            exec(r, &["/bin/probe", "live"]);
            r.env.push("LD_PRELOAD=x".into());
        }),
        "env.LD_PRELOAD: expected not set, got \"x\""
    );
}

#[test]
fn inputs_follow_their_rules() {
    let hosts = |text: &str| [("/etc/hosts".to_string(), text.to_string())].into();
    let admitted = accepted(|m, r| {
        m.inputs.hosts = InputRule::Accept;
        m.inputs.hostname = InputRule::Accept;
        r.inputs = hosts("1.2.3.4 x");
    });
    assert_eq!(admitted.inputs, hosts("1.2.3.4 x"));
    assert_eq!(admitted.hostname, "4f2c");
    let want = Digest::of(b"a");
    assert_eq!(
        refused(|m, r| {
            m.inputs.hosts = InputRule::Exact(want);
            r.inputs = hosts("b");
        }),
        format!("inputs./etc/hosts: expected sha256 {want}, got sha256 {}", Digest::of(b"b"))
    );
    assert!(
        refused(|_, r| r.inputs = [("/etc/passwd".into(), String::new())].into())
            .starts_with("inputs: expected one of /etc/hosts")
    );
    assert!(
        refused(|m, r| {
            m.inputs.hostname = InputRule::Accept;
            r.hostname = "a b".into();
        })
        .starts_with("hostname: expected at most 64")
    );
}

#[test]
fn config_digest_covers_exactly_what_is_free() {
    // Nothing is left to the host.
    let fixed = accepted(|m, _| drop(m.process.env.remove("TZ"))).config_digest;
    assert_eq!(
        fixed.to_string(),
        Digest::of(
            b"inclavare config-digest v1\n{\"argv\":[],\"env\":{},\"tty\":null,\"stdin\":null,\
              \"hostname\":null,\"mounts\":[],\"inputs\":{},\"rlimits\":[]}"
        )
        .to_string(),
        "the bytes are part of the format"
    );
    // And verifiers know their digest.
    let known = "85c8969050d39c9b2e9b75ecc47d70c8ec99f66368d9b4c1edf3fea5dc7678f8";
    assert_eq!(fixed.to_string(), known);
    let of_host = |m: &mut Manifest| {
        m.mounts.insert("/data".into(), MountRule::Host { read_only: true });
    };
    let base = accepted(|_, _| ()).config_digest;
    assert_eq!(base, accepted(|_, r| r.env.push("HOSTNAME=x".into())).config_digest);
    assert_eq!(base, accepted(|_, r| r.hostname = "other".into()).config_digest);
    assert_eq!(base, accepted(|m, _| m.debug = true).config_digest);
    let tmpfs = accepted(|m, _| {
        m.mounts.insert("/run".into(), MountRule::Tmpfs { size: 4096 });
    });
    assert_eq!(base, tmpfs.config_digest, "it exists in any case");
    let free = [
        accepted(|_, r| r.env.push("TZ=UTC".into())).config_digest,
        accepted(|_, r| r.env.push("TZ=CET".into())).config_digest,
        accepted(|m, _| m.process.tty = Availability::Allowed).config_digest,
        accepted(|m, r| {
            m.process.tty = Availability::Allowed;
            r.tty = true;
        })
        .config_digest,
        accepted(|m, _| m.inputs.hostname = InputRule::Accept).config_digest,
        accepted(|_, r| r.rlimits = vec![Rlimit { resource: 7, soft: 1, hard: 2 }]).config_digest,
        // What the host may give and does not is a choice of its own.
        accepted(|m, _| of_host(m)).config_digest,
        accepted(|m, r| {
            of_host(m);
            r.mounts.push(bind("/data"));
        })
        .config_digest,
        accepted(|m, _| m.inputs.hosts = InputRule::Accept).config_digest,
        accepted(|m, r| {
            m.process.argv = ArgvRule::Prefix { argv: r.argv.clone(), force: false };
        })
        .config_digest,
        fixed,
        base,
    ];
    for (index, digest) in free.iter().enumerate() {
        assert!(!free[..index].contains(digest), "{index}");
    }
}

#[test]
fn requests_no_honest_host_sends_are_refused() {
    for (got, start) in [
        (refused(|_, r| r.argv[0] = "a\0b".into()), "argv: expected no NUL"),
        (
            refused(|_, r| r.env = vec![String::new(); 20_000]),
            "env: expected at most 16384 entries, got 20000",
        ),
        (
            refused(|_, r| r.rlimits = vec![Rlimit { resource: 16, soft: 1, hard: 2 }]),
            "rlimits.resource: expected at most 15, got 16",
        ),
        (
            refused(|_, r| r.rlimits = vec![Rlimit { resource: 7, soft: 3, hard: 2 }]),
            "rlimits.7.soft: expected at most the hard limit 2, got 3",
        ),
    ] {
        assert!(got.starts_with(start), "{got}");
    }
    let json = request().to_json();
    assert_eq!(Request::parse(&json), Ok(request()));
    for end in 0..json.len() {
        assert!(Request::parse(&json[..end]).is_err());
    }
    let extra = String::from_utf8(json).unwrap().replacen('{', "{\"x\":1,", 1);
    assert!(Request::parse(extra.as_bytes()).is_err());
}

#[test]
fn an_unlisted_signal_is_refused() {
    let manifest = example();
    for number in [15, 2, 1, 28] {
        assert_eq!(admit_signal(&manifest, number).unwrap().number(), number);
    }
    for (number, got) in [(10, "USR1"), (9, "9"), (0, "0"), (35, "RTMIN+1"), (200, "200")] {
        assert_eq!(
            admit_signal(&manifest, number).unwrap_err().to_string(),
            format!("signals: expected one of TERM, INT, HUP, WINCH, got {got}")
        );
    }
}
