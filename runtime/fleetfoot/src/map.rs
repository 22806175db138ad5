//! Read-only bytes that models borrow: a mapped file, or an aligned copy.
//!
//! One of two places with `unsafe` in this crate (the other is `pool.rs`): mapping a file is sound as long as nobody truncates or rewrites it while it is mapped. The
//! store keeps its files private and read-only and replaces them by renaming, never in place; a file that is given by
//! path is the caller's to leave alone, as it is for every other runtime that maps its models.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
};

use fleetfoot_plan::{ALIGN, Aligned};

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
        Self::map_part(&File::open(path)?, 0, None)
    }

    /// Maps `len` bytes of `file` from `offset` on, or all that follow. An offset that is no multiple of 64 would leave weights
    /// where kernels do not read them: those bytes are copied instead.
    ///
    /// # Errors
    /// What the operating system reports; [`io::ErrorKind::UnexpectedEof`] where the file ends before, or nothing is left.
    pub fn map_part(file: &File, offset: u64, len: Option<u64>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let rest = metadata.len().saturating_sub(offset);
        let len = len.unwrap_or(rest);
        let usable = usize::try_from(len).ok().filter(|&usable| usable > 0 && len <= rest);
        let Some(usable) = usable else {
            let why = if metadata.len() == 0 { "the file is empty" } else { "the file ends before" };
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        };
        if !offset.is_multiple_of(ALIGN as u64) {
            let mut copy = Aligned::zeroed(usable);
            let mut file = file;
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(copy.as_mut())?;
            return Ok(Self { source: Source::Owned(Arc::new(copy)), start: 0, len: usable });
        }
        #[allow(unsafe_code, reason = "see the module documentation")]
        // SAFETY: the file is opened read-only and, by the contract of this module, nobody changes it while it is mapped.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(usable).map(file)? };
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
