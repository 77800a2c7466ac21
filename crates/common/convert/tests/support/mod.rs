//! Images for tests, made by other code than ours: the crates tar, flate2 and ruzstd.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How a layer's blob is stored.
#[derive(Clone, Copy, Debug)]
pub enum Compression {
    None,
    Gzip(u32),
    /// Two gzip members one after the other.
    TwoGzips,
    /// A skippable frame, then two frames.
    Zstd,
}

pub struct TestImage {
    pub layers: Vec<Vec<u8>>,
    pub compression: Compression,
    pub config: Value,
}

pub fn sha256(bytes: &[u8]) -> String {
    convert::hash::sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layer with a bit of everything.
pub fn base_layer() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, data: &[u8], link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        if kind == tar::EntryType::Char {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        if link.is_empty() {
            layer.append_data(&mut header, path, data).unwrap();
        } else {
            layer.append_link(&mut header, path, link).unwrap();
        }
    };
    use tar::EntryType as T;
    add("bin/", T::Directory, 0o755, b"", "");
    add("bin/server", T::Regular, 0o4755, &pattern(300_000), "");
    add("bin/alias", T::Link, 0o4755, b"", "bin/server");
    add("bin/sh", T::Symlink, 0o777, b"", "busybox");
    add("bin/busybox", T::Regular, 0o755, &pattern(5000), "");
    add("dev/null", T::Char, 0o666, b"", "");
    add(
        "etc/passwd",
        T::Regular,
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/x\n",
        "",
    );
    add("etc/group", T::Regular, 0o644, b"root:x:0:\nweb:x:33:\nlog:x:7:web\n", "");
    add("etc/empty", T::Regular, 0o600, b"", "");
    add("removed", T::Regular, 0o644, b"old", "");
    add(&format!("long/{}/name", "d".repeat(150)), T::Regular, 0o644, b"long", "");
    layer.into_inner().unwrap()
}

pub fn upper_layer() -> Vec<u8> {
    layer(&[(".wh.removed", b""), ("etc/empty", b"no longer"), ("srv/new", b"new")])
}

/// A layer of files.
pub fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(data.len() as u64);
        layer.append_data(&mut header, path, *data).unwrap();
    }
    layer.into_inner().unwrap()
}

pub fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

pub fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    let gzip = |bytes: &[u8], level| {
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    };
    let (first, second) = bytes.split_at(bytes.len() / 3);
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip(level) => gzip(bytes, level),
        Compression::TwoGzips => [gzip(first, 1), gzip(second, 9)].concat(),
        Compression::Zstd => {
            let skippable =
                [&0x184d_2a53u32.to_le_bytes()[..], &3u32.to_le_bytes(), b"abc"].concat();
            [skippable, zstd(first), zstd(second)].concat()
        }
    }
}

impl TestImage {
    pub fn new(layers: Vec<Vec<u8>>) -> Self {
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": ["/bin/server"],
                "Cmd": ["--port=1"],
                "Env": ["MODE=fast"],
                "WorkingDir": "/srv/",
                "User": "web",
            },
        });
        Self { layers, compression: Compression::Gzip(6), config }
    }

    pub fn example() -> Self {
        Self::new(vec![base_layer(), upper_layer()])
    }

    pub fn with(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    fn config(&self) -> Vec<u8> {
        let mut config = self.config.clone();
        if config.get("rootfs").is_none() {
            let ids = self.layers.iter().map(|layer| format!("sha256:{}", sha256(layer)));
            config["rootfs"] = json!({ "type": "layers", "diff_ids": ids.collect::<Vec<_>>() });
        }
        serde_json::to_vec(&config).unwrap()
    }

    /// Writes an OCI layout directory; gives the paths of the layers' blobs.
    pub fn write_layout(&self, directory: &Path) -> Vec<PathBuf> {
        std::fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
        let put = |bytes: &[u8]| {
            let path = directory.join("blobs/sha256").join(sha256(bytes));
            std::fs::write(&path, bytes).unwrap();
            let digest = format!("sha256:{}", sha256(bytes));
            (json!({ "digest": digest, "size": bytes.len() }), path)
        };
        let blobs: Vec<_> =
            self.layers.iter().map(|layer| put(&compress(layer, self.compression))).collect();
        let layers: Vec<Value> = blobs
            .iter()
            .map(|(descriptor, _)| {
                let mut descriptor = descriptor.clone();
                descriptor["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
                descriptor
            })
            .collect();
        let (config, _) = put(&self.config());
        let manifest =
            serde_json::to_vec(&json!({ "schemaVersion": 2, "config": config, "layers": layers }));
        let (manifest, _) = put(&manifest.unwrap());
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        blobs.into_iter().map(|(_, path)| path).collect()
    }

    /// Writes the archive of an old `docker save`, in which a repeated layer is a link.
    pub fn write_docker(&self, file: &Path) {
        let mut archive = tar::Builder::new(Vec::new());
        let config = self.config();
        let config_name = format!("{}.json", sha256(&config));
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, bytes).unwrap();
        };
        add(&config_name, &config);
        let mut names = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            add(&format!("real{index}/layer.tar"), layer);
            names.push(format!("link{index}/layer.tar"));
        }
        let manifest = json!([{ "Config": config_name, "RepoTags": ["a:b"], "Layers": names }]);
        add("manifest.json", manifest.to_string().as_bytes());
        for index in 0..self.layers.len() {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            let target = format!("../real{index}/layer.tar");
            archive.append_link(&mut header, format!("link{index}/layer.tar"), target).unwrap();
        }
        std::fs::write(file, archive.into_inner().unwrap()).unwrap();
    }
}

/// Packs a directory as one archive.
pub fn archive_of(directory: &Path, file: &Path) {
    let mut archive = tar::Builder::new(std::fs::File::create(file).unwrap());
    archive.append_dir_all(".", directory).unwrap();
    archive.finish().unwrap();
}
