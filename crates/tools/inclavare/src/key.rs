//! `inclavare key`

use crate::args::Key;
use crate::failure::Failure;
use sgx::hash::Fast;
use sgx::sign::SigningKey;
use sgx::sigstruct::PublicKey;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use workload::digest::Hex;

pub(crate) fn run(command: &Key) -> Result<(), Failure> {
    match command {
        Key::New { file, public } => new(file, public.as_deref()),
        Key::Show { file } => show(file),
    }
}

fn new(path: &Path, public: Option<&Path>) -> Result<(), Failure> {
    // The file is taken first: a key is not made in vain, and an old one never overwritten.
    let mut file = create(path, 0o600)?;
    let made = SigningKey::generate().map_err(Failure::refused).and_then(|key| {
        let pem = key.to_pem().map_err(Failure::refused)?;
        file.write_all(pem.as_bytes()).map_err(Failure::io("write", path))?;
        Ok(key)
    });
    let key = made.inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })?;
    if let Some(public) = public {
        let pem = key.public().to_pem().map_err(Failure::refused)?;
        let written = create(public, 0o644)?.write_all(pem.as_bytes());
        written.map_err(Failure::io("write", public))?;
    }
    print(&key.public());
    Ok(())
}

/// Makes a file that does not exist.
fn create(path: &Path, mode: u32) -> Result<File, Failure> {
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    file.map_err(Failure::io("make", path))
}

fn show(path: &Path) -> Result<(), Failure> {
    let pem = std::fs::read_to_string(path).map_err(Failure::io("read", path))?;
    let public = if pem.contains("PRIVATE KEY") {
        SigningKey::from_pem(&pem).map(|key| key.public())
    } else {
        PublicKey::from_pem(&pem)
    };
    print(&public.map_err(Failure::refused)?);
    Ok(())
}

fn print(key: &PublicKey) {
    println!("mrsigner  {}", Hex(key.mrsigner::<Fast>()));
}
