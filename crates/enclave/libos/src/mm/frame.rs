//! Saved contents of pages.

use super::image::MappedImage;
use crate::errno::Errno;
use crate::fs::file::PageSource;
use crate::sync::Mutex;
use alloc::boxed::Box;
use alloc::sync::Arc;

/// The bytes of a page.
pub type Bytes = [u8; 4096];

/// Contents that one or several processes agree on for a page.
pub enum Frame {
    /// Bytes of memory. `None`: they are what memory holds at the page's address right now, and nobody
    /// may change that before they are copied here.
    Data(Mutex<Option<Box<Bytes>>>),
    /// An unmodified page of a file that cannot change; it can be read again.
    File(FilePage),
}

/// Which page of which file.
#[derive(Clone)]
pub struct FilePage {
    /// The file.
    pub source: Arc<dyn PageSource>,
    /// Page index in the file.
    pub index: u64,
    /// Where its system calls go; None for what is not executable.
    pub image: Option<Arc<MappedImage>>,
}

impl FilePage {
    /// The page as a program sees it at `address`: verified, with its system calls patched.
    ///
    /// # Errors
    /// As [`PageSource::read_page`].
    pub fn read(&self, address: u64, into: &mut Bytes) -> Result<(), Errno> {
        self.source.read_page(self.index, into)?;
        if let Some(image) = &self.image {
            image.apply(address, into);
        }
        Ok(())
    }

    /// Whether both are the same bytes, known without reading them.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_image = match (&self.image, &other.image) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        self.index == other.index
            && same_image
            && (Arc::ptr_eq(&self.source, &other.source)
                || self
                    .source
                    .content_digest()
                    .is_some_and(|d| Some(d) == other.source.content_digest()))
    }
}

impl Frame {
    /// A frame of its own bytes.
    #[must_use]
    pub fn data(bytes: Box<Bytes>) -> Arc<Self> {
        Arc::new(Self::Data(Mutex::new(Some(bytes))))
    }

    /// A frame whose bytes are in memory.
    #[must_use]
    pub fn in_memory() -> Arc<Self> {
        Arc::new(Self::Data(Mutex::new(None)))
    }

    /// A page of zeros.
    #[must_use]
    pub fn zeros() -> Arc<Self> {
        Self::data(zeroed())
    }

    /// Whether both are the same contents by name.
    #[must_use]
    pub fn is_same(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        Arc::ptr_eq(self, other)
            || matches!((&**self, &**other), (Self::File(a), Self::File(b)) if a.is_same(b))
    }

    /// Whether the bytes are only in memory.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        matches!(self, Self::Data(bytes) if bytes.lock().is_none())
    }
}

/// A page of zeros, not built on the stack.
#[must_use]
pub fn zeroed() -> Box<Bytes> {
    alloc::vec![0u8; 4096].into_boxed_slice().try_into().expect("4096 bytes")
}
