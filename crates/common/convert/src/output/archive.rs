//! Writing archives: few files, fixed attributes, the same bytes every time.

use std::io::{self, Read, Write};

const BLOCK: u64 = 512;

/// An archive being written.
pub(super) struct ArchiveWriter<W>(pub(super) W);

impl<W: Write> ArchiveWriter<W> {
    /// Adds a directory; its name ends in a slash.
    pub(super) fn directory(&mut self, name: &str) -> io::Result<()> {
        self.0.write_all(&header(name, b'5', 0o755, 0)?)
    }

    /// Adds a file of `size` bytes.
    pub(super) fn file(&mut self, name: &str, size: u64, data: &mut dyn Read) -> io::Result<()> {
        self.0.write_all(&header(name, b'0', 0o644, size)?)?;
        let copied = io::copy(&mut data.take(size), &mut self.0)?;
        if copied != size {
            let message = format!("{name}: expected {size} bytes, got {copied}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
        }
        let padding = size.next_multiple_of(BLOCK) - size;
        self.0.write_all(&[0; BLOCK as usize][..padding as usize])
    }

    /// Adds a file.
    pub(super) fn bytes(&mut self, name: &str, mut data: &[u8]) -> io::Result<()> {
        self.file(name, data.len() as u64, &mut data)
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(self.0)
    }
}

/// A ustar header of root's, at the beginning of time.
fn header(name: &str, kind: u8, mode: u32, size: u64) -> io::Result<[u8; BLOCK as usize]> {
    let mut header = [0; BLOCK as usize];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    if name.len() > 100 {
        let message = format!("{name}: expected a name of at most 100 bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    put(0, name.as_bytes());
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\x000000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}
