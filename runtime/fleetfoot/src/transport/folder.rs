//! A repository in a folder: a USB stick, a network share, a test.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom},
    path::PathBuf,
};

use super::{Bounded, Fetched, Request, Sink, Transport, TransportError, checked};

/// Reads the files of a repository below one folder.
#[derive(Clone, Debug)]
pub struct FolderTransport {
    root: PathBuf,
}

impl FolderTransport {
    /// The repository whose folder `metadata` lies in `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
}

impl Transport for FolderTransport {
    fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError> {
        let path = self.root.join(checked(request.path)?);
        let url = path.display().to_string();
        let unreachable = |error: io::Error| TransportError::Unreachable { url: url.clone(), source: error.into() };
        // Looked at before it is opened: opening a pipe waits for somebody to write.
        let opened =
            fs::metadata(&path).and_then(|found| if found.is_file() { File::open(&path).map(Some) } else { Ok(None) });
        let mut file = match opened {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Fetched::Missing),
            // A stick that was pulled out is unreachable; a file that is not on it is missing.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => return Ok(Fetched::Missing),
            Err(error) => return Err(unreachable(error)),
        };
        file.seek(SeekFrom::Start(request.offset)).map_err(unreachable)?;
        let len = Bounded { url: &url, request, at: request.offset }.copy(&mut file, sink)?;
        Ok(Fetched::Body { len, etag: None })
    }
}
