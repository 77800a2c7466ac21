//! Other people's programs agree with what conversion computes.

mod support;

use convert::pack;
use convert::{Input, Options, convert};
use sgx::hash::{Portable, Sha256};
use std::process::Command;
use support::TestImage;

/// The hash that the crate sgxs computes with; its own default needs OpenSSL.
struct OracleHash(Portable);

impl sgxs::crypto::SgxHashOps for OracleHash {
    fn new() -> Self {
        Self(Portable::new())
    }
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }
    fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

#[test]
fn mrenclave_is_what_the_crate_sgxs_computes() {
    let directory = tempfile::tempdir().unwrap();
    TestImage::example().write_layout(directory.path());
    let input = Input::open(directory.path(), None).unwrap();
    let made = convert(&input, Options::default()).unwrap();
    let hash =
        sgxs::sigstruct::EnclaveHash::from_stream::<_, OracleHash>(&mut &made.enclave.sgxs[..]);
    assert_eq!(hash.unwrap().hash(), made.enclave.mrenclave.0);
}

#[test]
fn digests_are_what_fsverity_computes() {
    if Command::new("fsverity").arg("--version").output().is_err() {
        eprintln!("skipped: fsverity is not installed (package fsverity)");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let layout = directory.path().join("layout");
    TestImage::example().write_layout(&layout);
    let input = Input::open(&layout, None).unwrap();
    let made = convert(&input, Options::default()).unwrap();
    let place = directory.path().join("pack");
    pack::write(&made, &place).unwrap();
    let fsverity = |path: &std::path::Path| {
        let output = Command::new("fsverity").arg("digest").arg(path).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split([':', ' ']).nth(1).unwrap().to_string()
    };
    assert_eq!(fsverity(&place.join("meta.bin")), made.manifest.root.digest.to_string());

    // A file of each layer, found in the metadata as the library OS finds it.
    let bytes = std::fs::read(place.join("meta.bin")).unwrap();
    let meta = workload::meta::Meta::open(&bytes[..], bytes.len() as u64).unwrap();
    for (path, content) in
        [(["bin", "server"], support::pattern(300_000)), (["srv", "new"], b"new".to_vec())]
    {
        let mut inode = meta.root().unwrap();
        for part in path {
            let number = meta.lookup(&inode, part.as_bytes()).unwrap().expect(part);
            inode = meta.inode(number).unwrap();
        }
        let file = directory.path().join("file");
        std::fs::write(&file, &content).unwrap();
        assert_eq!(inode.digest.to_string(), fsverity(&file), "{path:?}");
        // And the tree in the pack verifies its blocks.
        let trees = std::fs::read(place.join("trees.bin")).unwrap();
        let nodes = At(&trees, inode.tree_offset());
        let mut verifier = workload::verity::Verifier::new(inode.size, inode.digest);
        for (index, block) in content.chunks(4096).enumerate() {
            verifier.verify(index as u64, block, &nodes).unwrap();
        }
    }
}

/// A file's tree at its place in `trees.bin`.
struct At<'a>(&'a [u8], u64);

impl workload::verity::Nodes for At<'_> {
    type Error = &'static str;
    fn read(&self, offset: u64, into: &mut [u8; 4096]) -> Result<(), Self::Error> {
        let start = (self.1 + offset) as usize;
        into.copy_from_slice(self.0.get(start..start + 4096).ok_or("cut short")?);
        Ok(())
    }
}
