//! Inputs that the targets accept.

use sgx::sgxs::{Ecreate, Io, Page, Writer};
use sgx::{PAGE_SIZE, Secinfo, SecinfoFlags, Tcs};
use workload::manifest::{
    ArgvRule, AttestationFiles, Attester, AttesterLevel, AttesterVerify, Availability, Enclave,
    EnvRule, FORMAT, Identity, Inputs, Manifest, Network, Process, Reserved, Root, Signal, Source,
    User,
};
use workload::meta::{NewInode, NewKind};
use workload::request::{Kind, Mount, Request, Rlimit};

/// A vector of the crate attestation.
macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../crates/common/attestation/tests/vectors/",
            $name
        ))
        .to_vec()
    };
}

mod container;
mod dcap;
mod session;
mod shelter;

pub(crate) use self::container::{
    bus_message, cgroup_mounts, compiled_filter, container_config, container_state, route_answer,
    seccomp_profile,
};
pub(crate) use self::shelter::{saved_measurements, shelter_address};
pub(crate) use dcap::{
    certificate, collateral, crl, pck_extension, policy, qe_identity, quote, tcb_info,
};
pub(crate) use session::{
    client_hello, compat_evidence, hop_json, hop_reply, legacy_certificate, session_claims,
    session_frames,
};

pub(crate) fn sgxs() -> Vec<Vec<u8>> {
    let ecreate = Ecreate { ssaframesize_pages: 1, size: 0x10000 };
    let mut writer = Writer::new(Io(Vec::new()), ecreate).expect("canonical");
    let rx = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::X);
    writer.measured(0, &rx, &[0x90; PAGE_SIZE]).expect("canonical");
    let tcs = Tcs { ossa: 0x2000, nssa: 2, ..Tcs::default() };
    writer.measured(0x1000, &Secinfo::tcs(), &tcs.to_bytes()).expect("canonical");
    let rw = Secinfo::reg(SecinfoFlags::R | SecinfoFlags::W);
    writer.unmeasured_zero(0x2000, &rw).expect("canonical");
    let (present, measured) = (0x00ff, 0x000f);
    let mut page = Page { offset: 0x3000, secinfo: rw, measured, present, data: [0; PAGE_SIZE] };
    page.data[..2048].fill(7);
    writer.page(&page).expect("canonical");
    vec![writer.into_inner().0]
}

pub(crate) fn sigstruct() -> Vec<Vec<u8>> {
    vec![include_bytes!("../../../crates/common/sgx/tests/data/toy.sig").to_vec()]
}

/// A static program: read-only headers, text with a system call, data.
pub(crate) fn elf() -> Vec<Vec<u8>> {
    let segments =
        [(1, 4, 0, 0x1000), (1, 5, 0x1000, 0x1000), (1, 6, 0x2000, 0x1000), (0x6474_e551, 6, 0, 0)];
    let mut fixed = program(2, 0x40_0000, &segments);
    // mov eax, 60; syscall; ret
    fixed[0x1000..0x1008].copy_from_slice(&[0xb8, 60, 0, 0, 0, 0x0f, 0x05, 0xc3]);
    let mut dynamic = program(3, 0, &[(1, 5, 0, 0x2000), (3, 4, 0x1800, 16)]);
    dynamic[0x1800..0x1810].copy_from_slice(b"/lib/ld-linux.s\0");
    vec![fixed, dynamic]
}

/// What the link script of the enclave program produces, with one relocation.
pub(crate) fn enclave_elf() -> Vec<Vec<u8>> {
    let mut elf = program(3, 0, &[(1, 5, 0, 0x2000), (1, 6, 0x2000, 0x1000), (2, 6, 0x2100, 0x40)]);
    // DT_RELA, DT_RELASZ, DT_RELAENT, DT_NULL; the table at 0x1800: R_X86_64_RELATIVE at 0x2000.
    for (i, value) in [7, 0x1800, 8, 24, 9, 24, 0, 0].into_iter().enumerate() {
        put(&mut elf, 0x2100 + 8 * i, value, 8);
    }
    for (i, value) in [0x2000, 8, 0x1000].into_iter().enumerate() {
        put(&mut elf, 0x1800 + 8 * i, value, 8);
    }
    vec![elf]
}

/// An ELF64 file for x86-64 of 0x3000 bytes: type, address of offset 0, and program headers
/// (type, flags, offset, size). Its entry point is the file's offset 0x1000.
fn program(e_type: u64, base: u64, segments: &[(u64, u64, u64, u64)]) -> Vec<u8> {
    let mut file = vec![0; 0x3000];
    file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    for (at, value, length) in [
        (16, e_type, 2),
        (18, 62, 2),
        (20, 1, 4),
        (24, base + 0x1000, 8),
        (32, 64, 8),
        (52, 64, 2),
        (54, 56, 2),
        (56, segments.len() as u64, 2),
    ] {
        put(&mut file, at, value, length);
    }
    for (i, &(kind, flags, offset, size)) in segments.iter().enumerate() {
        let at = 64 + 56 * i;
        put(&mut file, at, kind, 4);
        put(&mut file, at + 4, flags, 4);
        for (j, value) in
            [offset, base + offset, base + offset, size, size, 0x1000].into_iter().enumerate()
        {
            put(&mut file, at + 8 + 8 * j, value, 8);
        }
    }
    file
}

fn put(bytes: &mut [u8], at: usize, value: u64, length: usize) {
    bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
}

pub(crate) fn a_manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        runtime_version: "0.1.0".into(),
        root: Root { digest: workload::digest::Hex([7; 32]), size: 8192, source: Source::Layers },
        process: Process {
            argv: ArgvRule::Exact(vec!["/bin/server".into(), "--port=1".into()]),
            env: [("PATH".into(), EnvRule::Exact("/bin".into())), ("TZ".into(), EnvRule::Any)]
                .into(),
            cwd: "/".into(),
            user: User::default(),
            stdin: Availability::Denied,
            tty: Availability::Denied,
        },
        exec: vec![],
        mounts: [].into(),
        inputs: Inputs::default(),
        signals: Signal::DEFAULT.to_vec(),
        enclave: Enclave::default(),
        network: Network {
            connect: vec!["any:443".parse().unwrap(), "[2001:db8::/32]:any".parse().unwrap()],
            listen: vec![80, 8443],
        },
        attester: None,
        key_broker: Reserved,
        attestation: AttestationFiles::default(),
        identity: Identity::default(),
        debug: false,
    }
}

pub(crate) fn manifest() -> Vec<Vec<u8>> {
    let attester = Attester {
        forward: "127.0.0.1:8080".into(),
        level: AttesterLevel::Bound,
        listen: 443,
        uid: Attester::UID,
        sessions: Attester::SESSIONS,
        quotes: Attester::QUOTES,
        endorsements: Some("/run/collateral.json".into()),
        verify: Some(AttesterVerify {
            policy: "/etc/peer.toml".into(),
            root: "/etc/root.pem".into(),
            collateral: None,
            first: true,
            reattest: Some(60),
        }),
    };
    let attested = Manifest { attester: Some(attester), ..a_manifest() };
    vec![a_manifest().to_canonical(), attested.to_canonical()]
}

pub(crate) fn request() -> Vec<Vec<u8>> {
    let request = Request {
        kind: Kind::Init,
        argv: vec!["/bin/server".into(), "--port=1".into()],
        env: vec!["PATH=/bin".into(), "TZ=UTC".into(), "HOSTNAME=a".into()],
        cwd: "/".into(),
        user: User::default(),
        hostname: "a".into(),
        mounts: vec![Mount {
            destination: "/proc".into(),
            kind: "proc".into(),
            options: vec!["nosuid".into()],
        }],
        tty: false,
        has_stdin: false,
        rlimits: vec![Rlimit { resource: 7, soft: 1024, hard: 4096 }],
        inputs: [("/etc/hosts".into(), "127.0.0.1 localhost\n".into())].into(),
    };
    vec![request.to_json()]
}

pub(crate) fn metadata() -> Vec<Vec<u8>> {
    let plain = |kind| NewInode {
        permissions: 0o755,
        uid: 1,
        gid: 2,
        xattrs: [(b"user.x".to_vec(), b"value".to_vec())].into(),
        kind,
    };
    let digest = workload::verity::Tree::of(b"hello").digest;
    let blob = workload::meta::write(&[
        plain(NewKind::Directory([(b"etc".to_vec(), 1), (b"a".to_vec(), 2)].into())),
        plain(NewKind::Directory([(b"b".to_vec(), 3)].into())),
        plain(NewKind::Symlink(b"etc/b".to_vec())),
        plain(NewKind::Regular { size: 5, digest, mtime: 1 }),
    ]);
    vec![blob.expect("four inodes are not too many").bytes]
}

/// A directory, a file of five bytes, a hard link, a symlink and a whiteout; once with extended headers.
pub(crate) fn tar() -> Vec<Vec<u8>> {
    let mut plain = Vec::new();
    plain.extend(tar_entry("a/", b'5', "", b""));
    plain.extend(tar_entry("a/b", b'0', "", b"hello"));
    plain.extend(tar_entry("a/c", b'1', "a/b", b""));
    plain.extend(tar_entry("d", b'2', "a/b", b""));
    plain.extend(tar_entry(".wh.e", b'0', "", b""));
    let mut extended = tar_entry("pax", b'x', "", b"14 path=a/bc\n\n");
    extended.extend(tar_entry("a", b'0', "", b"x"));
    extended.extend(tar_entry("././@LongLink", b'L', "", &[b'n'; 200]));
    extended.extend(tar_entry("n", b'0', "", b"y"));
    [plain, extended].map(|archive| [archive, vec![0; 1024]].concat()).into()
}

pub(crate) fn layer() -> Vec<Vec<u8>> {
    tar()
}

/// A header in the ustar format and the content, padded.
fn tar_entry(name: &str, kind: u8, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000755\0");
    header[108..124].copy_from_slice(b"0000000\x000000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend_from_slice(content);
    header.resize(512 + content.len().next_multiple_of(512), 0);
    header
}

pub(crate) fn image_documents() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "7".repeat(64));
    let descriptor = format!(
        r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":7}}"#
    );
    [
        format!(r#"{{"schemaVersion":2,"manifests":[{descriptor}]}}"#),
        format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{descriptor}]}}"#),
        format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["/a"],"Env":["A=b"],"User":"1:2","WorkingDir":"/"}},"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#
        ),
        r#"[{"Config":"a.json","RepoTags":["a:1"],"Layers":["a/layer.tar"]}]"#.to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}

pub(crate) fn hostcall_request() -> Vec<Vec<u8>> {
    // Sequence 1 and, for each of the first calls, version 1 and the call's number; arguments all zero.
    (0..120u64)
        .map(|call| {
            let mut header = vec![0; 0x90];
            put(&mut header, 0x10, 1, 8);
            put(&mut header, 0x18, 1 << 32 | call, 8);
            header
        })
        .collect()
}

pub(crate) fn hostcall_reply() -> Vec<Vec<u8>> {
    (0..9u8)
        .map(|choice| {
            let mut reply = vec![0; 4096 + 256];
            put(&mut reply, 0x58, 1, 8);
            put(&mut reply, 0x88, 100, 8);
            reply.insert(0, choice);
            reply
        })
        .collect()
}

/// Real reports of versions 2 and 3, and one of version 5 that was made.
pub(crate) fn snp_report() -> Vec<Vec<u8>> {
    vec![
        vector!("snp/report_milan.bin"),
        vector!("snp/report_genoa.bin"),
        vector!("made/report_turin.bin"),
    ]
}

pub(crate) fn snp_key() -> Vec<Vec<u8>> {
    vec![
        vector!("snp/vcek_milan.der"),
        vector!("snp/vcek_genoa.der"),
        vector!("snp/vcek_turin.der"),
        vector!("made/vlek_milan.der"),
    ]
}

/// Two entries, the end, and their bytes.
pub(crate) fn snp_table() -> Vec<Vec<u8>> {
    let vcek = [
        0x8d, 0x75, 0xda, 0x63, 0x64, 0xe6, 0x64, 0x45, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac,
        0xcd,
    ];
    let mut table = Vec::new();
    for (id, offset, length) in [(vcek, 72_u32, 8_u32), ([7; 16], 80, 4), ([0; 16], 0, 0)] {
        table.extend(id);
        table.extend(offset.to_le_bytes());
        table.extend(length.to_le_bytes());
    }
    table.extend([1; 12]);
    vec![table, Vec::new()]
}

/// Both spellings; the payload of the second is crate ear 0.6's.
pub(crate) fn ear_token() -> Vec<Vec<u8>> {
    // {"alg":"ES256"}, and the payload between.
    let token = |payload: &[u8]| {
        let mut token = b"eyJhbGciOiJFUzI1NiJ9.".to_vec();
        token.extend(base64url(payload));
        token.extend(b".AAAA");
        token
    };
    let dotted = vector!("ear/ear-0.5.jwt");
    let underscored = vector!("ear/ear-0.6.json");
    vec![dotted.trim_ascii_end().to_vec(), token(underscored.trim_ascii_end())]
}

/// base64url without padding.
fn base64url(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|i| DIGITS[(bits >> (18 - 6 * i) & 63) as usize]);
        text.extend(digits);
    }
    text
}

pub(crate) fn aesm_request() -> Vec<Vec<u8>> {
    use aesm::Message;
    use aesm::message::{
        GetQuoteExRequest, GetQuoteSizeExRequest, GetSupportedAttKeyIdNumRequest,
        GetSupportedAttKeyIdsRequest, InitQuoteExRequest, Request, SelectAttKeyIdRequest,
    };
    let key = aesm::AttKeyId::ecdsa_p256(&[9; 32], 1).0.to_vec();
    let (id, none) = (Some(key.clone()), Request::default());
    let timeout_us = Some(30_000_000);
    let list = [&[0, 0, 0, 0, 1, 0, 0, 0][..], &key].concat();
    let init = |b_pub_key_id| InitQuoteExRequest {
        att_key_id: id.clone(),
        b_pub_key_id,
        buf_size: Some(32),
        timeout_us,
    };
    let quote = |qe_report_info| GetQuoteExRequest {
        report: vec![1; 432],
        att_key_id: id.clone(),
        qe_report_info,
        buf_size: 5000,
        timeout_us,
    };
    let select = SelectAttKeyIdRequest { att_key_id_list: Some(list), timeout_us };
    let size = GetQuoteSizeExRequest { att_key_id: id.clone(), timeout_us };
    let number = GetSupportedAttKeyIdNumRequest { timeout_us };
    let ids = GetSupportedAttKeyIdsRequest { buf_size: 256, timeout_us };
    [
        Request { init_quote_ex: Some(init(false)), ..none.clone() },
        Request { init_quote_ex: Some(init(true)), ..none.clone() },
        Request { get_quote_ex: Some(quote(None)), ..none.clone() },
        Request { get_quote_ex: Some(quote(Some(vec![0; 960]))), ..none.clone() },
        Request { select_att_key_id: Some(select), ..none.clone() },
        Request { get_quote_size_ex: Some(size), ..none.clone() },
        Request { get_supported_att_key_id_num: Some(number), ..none.clone() },
        Request { get_supported_att_key_ids: Some(ids), ..none },
    ]
    .map(|request| request.encode_to_vec())
    .into()
}

/// What the service answers to its seeds, as the client gets it.
pub(crate) fn aesm_reply() -> Vec<Vec<u8>> {
    use aesm::Message;
    use aesm::message::{GetQuoteExResponse, Response};
    let mut quote = vec![7; 500];
    put(&mut quote, 432, 60, 4);
    quote[496..].fill(0);
    let quote =
        GetQuoteExResponse { error: 0, quote: Some(quote), qe_report_info: Some(vec![5; 960]) };
    let quote = Response { get_quote_ex: Some(quote), ..Response::default() };
    let framed = |response: Response| {
        let mut stream = Vec::new();
        aesm::write_frame(&mut stream, &response.encode_to_vec()).expect("short");
        stream
    };
    let service = crate::run::FakeQuoting;
    aesm_request()
        .iter()
        .map(|request| aesm::server::answer(&service, request).response)
        // The service's quote is not one that a client takes.
        .filter(|response| response.get_quote_ex.is_none())
        .chain([quote])
        .map(framed)
        .collect()
}

pub(crate) fn host_quote() -> Vec<Vec<u8>> {
    let mut quote = vec![0; 48];
    quote[0] = 3;
    quote[2] = 2;
    quote.extend(&crate::run::a_report()[..384]);
    quote.extend(40_u32.to_le_bytes());
    quote.extend([0x5a; 40]);
    vec![quote]
}

pub(crate) fn bound_record() -> Vec<Vec<u8>> {
    let mut record = b"EAABND01\x01\0\0\0\0\0\0\x07".to_vec();
    for fill in 1..=4 {
        record.extend([fill; 48]);
    }
    let with_claims = [&record[..], b"\xa1\x61a\x41b"].concat();
    vec![record, with_claims]
}
