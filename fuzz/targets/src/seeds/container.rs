//! Inputs of the container core.

fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// A string field of a D-Bus header, which begins at a multiple of eight.
fn field(out: &mut Vec<u8>, code: u8, kind: u8, text: &str) {
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend([code, 1, kind, 0]);
    string(out, text);
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.resize(out.len().next_multiple_of(4), 0);
    words(out, &[text.len() as u32]);
    out.extend(text.bytes().chain([0]));
}

/// The end of a job, and the answer to a call.
pub(crate) fn bus_message() -> Vec<Vec<u8>> {
    let message = |kind: u8, fields: &[u8], body: &[u8]| {
        let mut out = vec![b'l', kind, 0, 1];
        words(&mut out, &[body.len() as u32, 7, fields.len() as u32]);
        out.extend(fields);
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend(body);
        out
    };
    let mut fields = Vec::new();
    field(&mut fields, 1, b'o', "/org/freedesktop/systemd1");
    field(&mut fields, 2, b's', "org.freedesktop.systemd1.Manager");
    field(&mut fields, 3, b's', "JobRemoved");
    let mut body = Vec::new();
    words(&mut body, &[41]);
    for text in ["/org/freedesktop/systemd1/job/41", "rune-a.scope", "done"] {
        string(&mut body, text);
    }
    let mut reply = vec![5, 1, b'u', 0];
    words(&mut reply, &[3]);
    vec![message(4, &fields, &body), message(2, &reply, &[])]
}

/// Two addresses of interface 1 and the end of the list.
pub(crate) fn route_answer() -> Vec<Vec<u8>> {
    let message = |kind: u16, payload: &[u8]| {
        let mut out = (16 + payload.len() as u32).to_le_bytes().to_vec();
        out.extend(kind.to_le_bytes());
        out.extend([2, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
        out.extend(payload);
        out
    };
    // struct ifaddrmsg: family, prefix, flags (permanent), scope, index; then attributes.
    let v4 = [2, 24, 0x80, 0, 1, 0, 0, 0, 8, 0, 1, 0, 10, 9, 0, 1, 8, 0, 2, 0, 10, 9, 0, 1];
    let mut v6 = vec![10, 64, 0, 0, 1, 0, 0, 0, 20, 0, 1, 0];
    v6.extend([0xfd; 16]);
    v6.extend([8, 0, 8, 0, 0x80, 0, 0, 0]);
    vec![[message(20, &v4), message(20, &v6), message(3, &[0; 4])].concat()]
}

pub(crate) fn container_config() -> Vec<Vec<u8>> {
    let text = r#"{"ociVersion":"1.2.0","hostname":"a","root":{"path":"rootfs","readonly":true},
        "process":{"terminal":true,"consoleSize":{"height":1,"width":2},"user":{"uid":1,"gid":2,
        "umask":18,"additionalGids":[3]},"args":["sh"],"env":["PATH=/bin"],"cwd":"/","capabilities":
        {"bounding":["CAP_KILL"]},"rlimits":[{"type":"RLIMIT_CORE","soft":1,"hard":2}],
        "oomScoreAdj":5,"scheduler":{"policy":"SCHED_BATCH","nice":1},
        "ioPriority":{"class":"IOPRIO_CLASS_BE","priority":4}},
        "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["ro"]}],
        "hooks":{"prestart":[{"path":"/bin/true","args":["a"],"timeout":1}]},
        "annotations":{"a":"b"},"linux":{"namespaces":[{"type":"pid"},{"type":"time","path":"/x"}],
        "uidMappings":[{"containerID":0,"hostID":1,"size":2}],"sysctl":{"net.a":"1"},
        "devices":[{"path":"/dev/a","type":"c","major":1,"minor":2,"fileMode":438}],
        "resources":{"memory":{"limit":1048576},"cpu":{"shares":2,"cpus":"0-1"},"pids":{"limit":7},
        "devices":[{"allow":false,"access":"rwm"}],"unified":{"memory.high":"1"}},
        "seccomp":{"defaultAction":"SCMP_ACT_ALLOW"},"maskedPaths":["/proc/kcore"],
        "timeOffsets":{"monotonic":{"secs":1}},"intelRdt":{"closID":"a"},
        "netDevices":{"eth0":{"name":"net1"}},"personality":{"domain":"LINUX"},
        "memoryPolicy":{"mode":"MPOL_BIND","nodes":"0"}}}"#;
    vec![text.into(), br#"{"process":null,"mounts":null,"linux":null}"#.to_vec()]
}

pub(crate) fn container_state() -> Vec<Vec<u8>> {
    let text = r#"{"ociVersion":"1.2.0","id":"a","pid":12,"startTime":345,"bundle":"/b","rootfs":"/b/r",
        "created":"2026-01-01T00:00:00.0Z","owner":"root","annotations":{"a":"b"},
        "cgroups":{"v1":[["pids","/sys/fs/cgroup/pids/a"]],"unified":"/sys/fs/cgroup/unified/a"},
        "namespaces":131072,"enclave":{"type":"intelSgx","emulated":true,"mrenclave":"00"}}"#;
    vec![text.into()]
}

pub(crate) fn cgroup_mounts() -> Vec<Vec<u8>> {
    let text = "23 1 254:0 / / rw - ext4 /dev/vda rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu\\040x rw,relatime shared:3 - cgroup cgroup rw,cpu\n\
        40 31 0:37 /a /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\0\
        9:name=systemd:/a/b\n1:cpu:/\n0::/u\n";
    vec![text.into()]
}

pub(crate) fn seccomp_profile() -> Vec<Vec<u8>> {
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,
        "architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
        "flags":["SECCOMP_FILTER_FLAG_LOG"],"syscalls":[
        {"names":["read","write","openat","exit_group","futex"],"action":"SCMP_ACT_ALLOW"},
        {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"op":
        "SCMP_CMP_MASKED_EQ"},{"index":1,"value":8,"op":"SCMP_CMP_LT"}]},
        {"names":["personality"],"action":"SCMP_ACT_TRACE","args":[{"index":0,"value":0,"op":"SCMP_CMP_EQ"},
        {"index":0,"value":8,"op":"SCMP_CMP_GE"}]},
        {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]}"#;
    vec![text.into()]
}

pub(crate) fn compiled_filter() -> Vec<Vec<u8>> {
    vec![container::seccomp::cache::fuzz_seed()]
}
