//! Nodes as open files.

use super::pages::{MAX_SIZE, PAGE, Place};
use super::{Body, Node};
use crate::errno::Errno;
use crate::fs::context::Caller;
use crate::fs::dirfile::DirFile;
use crate::fs::file::{File, PageSource, Sink, Source};
use crate::fs::inode::{InodeRef, OpenHow};
use crate::fs::stat::Stat;
use alloc::string::String;
use alloc::sync::Arc;
use core::any::Any;

/// Opens device files.
pub trait DeviceOpener: Send + Sync {
    /// Opens the character device `rdev`, found as `inode`.
    ///
    /// # Errors
    /// ENXIO where there is no such device.
    fn open(
        &self,
        rdev: u64,
        inode: InodeRef,
        caller: &Caller,
        how: OpenHow,
    ) -> Result<Arc<dyn File>, Errno>;
}

pub(super) fn open(node: Arc<Node>, caller: &Caller, how: OpenHow) -> Result<Arc<dyn File>, Errno> {
    match &node.body {
        Body::Regular(_) => Ok(Arc::new(RegularFile { inode: node.clone(), node })),
        Body::Directory(_) => Ok(Arc::new(DirFile::new(node))),
        Body::Device(rdev) => {
            let devices = node.fs.devices.as_ref().ok_or(Errno::ENXIO)?;
            devices.open(*rdev, node.clone(), caller, how)
        }
        // A fifo's open may wait: the caller does it (`fs::open`).
        Body::Fifo(_) | Body::Socket(_) => Err(Errno::ENXIO),
        Body::Symlink(_) => Err(Errno::ELOOP),
    }
}

/// An open regular file.
pub struct RegularFile {
    node: Arc<Node>,
    inode: InodeRef,
}

impl File for RegularFile {
    fn read(&self, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let read = self.node.read(offset, into)?;
        self.node.touch_access();
        Ok(read)
    }

    fn write(&self, offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let written = self.node.write(offset, from)?;
        self.node.touch_change();
        Ok(written)
    }

    fn append(&self, from: &mut dyn Source) -> Result<(u64, usize), Errno> {
        let _one = self.node.append.lock();
        let end = self.node.regular()?.lock().size();
        let written = self.write(end, from)?;
        Ok((end + written as u64, written))
    }

    fn pages(&self) -> Option<Arc<dyn PageSource>> {
        Some(self.node.clone())
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn stat(&self) -> Stat {
        self.node.stat()
    }

    fn inode(&self) -> Option<&InodeRef> {
        Some(&self.inode)
    }

    fn description(&self) -> String {
        // Only a file without a place in the tree is asked.
        String::from("/memfd: (deleted)")
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl RegularFile {
    /// SEEK_DATA and SEEK_HOLE.
    ///
    /// # Errors
    /// ENXIO beyond the end.
    pub fn seek(&self, offset: u64, is_hole: bool) -> Result<u64, Errno> {
        self.node.regular()?.lock().seek(offset, is_hole).ok_or(Errno::ENXIO)
    }

    /// Turns `offset..offset + length` into zeros (FALLOC_FL_PUNCH_HOLE).
    ///
    /// # Errors
    /// ENOSPC, EIO.
    pub fn punch(&self, offset: u64, length: u64) -> Result<(), Errno> {
        let end = offset.saturating_add(length);
        self.node.regular()?.lock().punch(&self.node.fs, offset, end)?;
        self.node.touch_change();
        Ok(())
    }
}

impl Node {
    fn read(&self, offset: u64, into: &mut dyn Sink) -> Result<usize, Errno> {
        let pages = self.regular()?;
        let wanted = into.remaining();
        let mut at = offset;
        while into.remaining() > 0 {
            let (place, size) = {
                let pages = pages.lock();
                (pages.place(at), pages.size())
            };
            let start = (at % PAGE) as usize;
            let in_page = (PAGE - at % PAGE).min(size.saturating_sub(at));
            let in_page = in_page.min(into.remaining() as u64) as usize;
            let result = match place {
                Place::End => break,
                Place::Heap(page) => into.put(&page[start..start + in_page]).map(|()| in_page),
                Place::Shared(address) => {
                    let mut copy = [0; PAGE as usize];
                    let copy = &mut copy[..in_page];
                    let read = self.fs.platform.read(address + start as u64, copy);
                    read.map_err(|_| Errno::EIO).and_then(|()| into.put(copy)).map(|()| in_page)
                }
                Place::Zeros(count) => {
                    let count = count.min(into.remaining() as u64) as usize;
                    into.put_zeros(count).map(|()| count)
                }
                Place::Below(file, count) => {
                    let step = in_page.min(usize::try_from(count).unwrap_or(in_page));
                    let block = file.block(at / PAGE);
                    block.and_then(|block| into.put(&block[start..start + step])).map(|()| step)
                }
            };
            match result {
                Ok(count) => at += count as u64,
                Err(_) if at > offset => break,
                Err(error) => return Err(error),
            }
        }
        debug_assert!((at - offset) as usize <= wanted);
        Ok((at - offset) as usize)
    }

    fn write(&self, offset: u64, from: &mut dyn Source) -> Result<usize, Errno> {
        let pages = self.regular()?;
        let mut at = offset;
        let mut buffer = [0; PAGE as usize];
        while from.remaining() > 0 {
            let room = MAX_SIZE.saturating_sub(at).min(PAGE - at % PAGE);
            let count = room.min(from.remaining() as u64) as usize;
            // The source is asked without the lock: it may fault on a page of this very file.
            let result = match count {
                0 => Err(Errno::EFBIG),
                _ => from.take(&mut buffer[..count]),
            };
            let result = result.and_then(|()| pages.lock().write(&self.fs, at, &buffer[..count]));
            match result {
                Ok(()) => at += count as u64,
                Err(_) if at > offset => break,
                Err(error) => return Err(error),
            }
        }
        Ok((at - offset) as usize)
    }
}

impl PageSource for Node {
    fn read_page(&self, index: u64, into: &mut [u8; 4096]) -> Result<(), Errno> {
        self.regular()?.lock().read_page(&self.fs, index, into)
    }

    fn size(&self) -> u64 {
        self.regular().map_or(0, |pages| pages.lock().size())
    }

    fn content_digest(&self) -> Option<[u8; 32]> {
        self.regular().ok()?.lock().digest()
    }

    fn identity(&self) -> (u64, u64) {
        (self.fs.dev, self.ino)
    }

    fn share_page(&self, index: u64, address: u64) -> Result<(), Errno> {
        self.regular()?.lock().share(&self.fs, index, address)
    }

    fn unshare_page(&self, index: u64) {
        if let Ok(pages) = self.regular() {
            pages.lock().unshare(&self.fs, index);
        }
    }
}
