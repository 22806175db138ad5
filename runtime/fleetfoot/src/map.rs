//! Read-only bytes that models borrow: a mapped file, or an aligned copy.
//!
//! One of two places with `unsafe` in this crate (the other is `pool.rs`): mapping a file is sound as long as nobody truncates or rewrites it while it is mapped. The
//! store keeps its files private and read-only and replaces them by renaming, never in place; a file that is given by
//! path is the caller's to leave alone, as it is for every other runtime that maps its models.

use std::{fs::File, io, path::Path, sync::Arc};

use fleetfoot_plan::Aligned;

/// A shared run of read-only bytes. Clones are cheap and point to the same bytes.
#[derive(Clone, Debug)]
pub struct Bytes {
    source: Source,
    start: usize,
    len: usize,
}

#[derive(Clone, Debug)]
enum Source {
    Mapped(Arc<memmap2::Mmap>),
    Owned(Arc<Aligned>),
}

impl Bytes {
    /// Maps the whole file at `path`.
    ///
    /// # Errors
    /// What the operating system reports; an empty file is [`io::ErrorKind::UnexpectedEof`].
    pub fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if metadata.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
        }
        #[allow(unsafe_code, reason = "see the module documentation")]
        // SAFETY: the file is opened read-only and, by the contract of this module, nobody changes it while it is mapped.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        let len = map.len();
        Ok(Self { source: Source::Mapped(Arc::new(map)), start: 0, len })
    }

    /// A copy of `bytes` that begins at a multiple of 64 in memory.
    #[must_use]
    pub fn aligned_copy(bytes: &[u8]) -> Self {
        let len = bytes.len();
        Self { source: Source::Owned(Arc::new(Aligned::copy_of(bytes))), start: 0, len }
    }

    /// The part of these bytes that `range` names.
    ///
    /// # Panics
    /// If `range` is not inside.
    #[must_use]
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "range outside the bytes");
        Self { source: self.source.clone(), start: self.start + range.start, len: range.end - range.start }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        let all: &[u8] = match &self.source {
            Source::Mapped(map) => map,
            Source::Owned(bytes) => (**bytes).as_ref(),
        };
        &all[self.start..self.start + self.len]
    }
}
