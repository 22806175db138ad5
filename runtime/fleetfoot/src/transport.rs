//! How bytes of the repository reach the device: a web server, a folder (a mounted USB stick), or what the application brings.
//!
//! A transport is not trusted. It is bounded in what it may deliver, and everything it delivers is checked by the caller
//! against signed lengths and hashes. It fetches one file at a time, from an offset on, and hands the bytes on as they come.

mod folder;
#[cfg(feature = "net")]
mod http;

use std::io;

pub use folder::FolderTransport;
#[cfg(feature = "net")]
pub use http::{HttpTransport, Timeouts};
use thiserror::Error;

/// Takes the bytes as they come. An error stops the transfer.
pub type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Fetches files of a repository by their path in it.
pub trait Transport: Send {
    /// Fetches `request.path` from `request.offset` on and hands the bytes to `sink` in order.
    ///
    /// # Errors
    /// [`TransportError`]; what `sink` got until then stays good.
    fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError>;
}

/// What to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Path in the repository, such as `metadata/timestamp.json`, without a leading slash, with `%` escapes where it has any.
    pub path: &'a str,
    /// Bytes at the front that are there already.
    pub offset: u64,
    /// Bytes that the whole file may have. Not one more is handed on.
    pub max_len: u64,
    /// The tag of a copy that is there already: where it still holds, the answer is [`Fetched::NotModified`].
    pub etag: Option<&'a str>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Everything from the offset on was handed to the sink.
    Body {
        /// Bytes handed on.
        len: u64,
        /// The tag of this version of the file, if the transport knows one.
        etag: Option<String>,
    },
    /// The copy with the given tag is still good.
    NotModified,
    /// There is no such file.
    Missing,
}

/// Why a file did not come.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No connection, or it broke, or it took too long.
    #[error("cannot fetch {url}: {source}")]
    Unreachable {
        /// What was fetched.
        url: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered something else.
    #[error("{url}: the server answered with status {status}")]
    Status {
        /// What was fetched.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The file is longer than it may be.
    #[error("{url}: longer than the {limit} bytes that it may have")]
    TooLong {
        /// What was fetched.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// The file ended before its announced length.
    #[error("{url}: ended after {have} of {need} bytes")]
    Short {
        /// What was fetched.
        url: String,
        /// Bytes announced.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// The server pointed to another host, or in circles.
    #[error("{url}: redirected to {to}, which is not followed")]
    Redirected {
        /// What was fetched.
        url: String,
        /// Where the server points.
        to: String,
    },
    /// The path would leave the repository.
    #[error("{path:?} is not a path in a repository")]
    BadPath {
        /// The path.
        path: String,
    },
    /// The address of the repository is none that this build can use.
    #[error("{url}: neither a folder nor an address that this build can fetch from (https needs the feature `tls`)")]
    Unsupported {
        /// The address.
        url: String,
    },
    /// What takes the bytes could not store them.
    #[error("cannot store what was fetched: {0}")]
    Sink(#[source] io::Error),
}

/// The transport for an address: `http://`, `https://` (feature `tls`), `file://` or the path of a folder.
///
/// # Errors
/// [`TransportError::Unsupported`].
pub fn open(url: &str) -> Result<Box<dyn Transport>, TransportError> {
    if let Some(folder) = url.strip_prefix("file://") {
        return Ok(Box::new(FolderTransport::new(folder)));
    }
    #[cfg(feature = "net")]
    if url.starts_with("http://") || (cfg!(feature = "tls") && url.starts_with("https://")) {
        return Ok(Box::new(HttpTransport::new(url)));
    }
    if url.contains("://") {
        return Err(TransportError::Unsupported { url: url.into() });
    }
    Ok(Box::new(FolderTransport::new(url)))
}

/// A relative path of plain segments: it can neither leave the repository nor carry a query.
fn checked(path: &str) -> Result<&str, TransportError> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\' | b':');
    let segments = path.split('/').all(|s| !s.is_empty() && s != "." && s != "..");
    if segments && path.bytes().all(plain) { Ok(path) } else { Err(TransportError::BadPath { path: path.into() }) }
}

/// Hands the bytes of a body on: those before `skip` are dropped, and not one after the limit is read.
struct Bounded<'a, 'b> {
    url: &'a str,
    request: &'a Request<'b>,
    /// Position in the file of the next byte that comes.
    at: u64,
}

impl Bounded<'_, '_> {
    /// Copies `body` to the end. Returns the bytes handed on.
    fn copy(mut self, body: &mut dyn io::Read, sink: Sink<'_>) -> Result<u64, TransportError> {
        let mut chunk = vec![0; 64 * 1024];
        let mut handed_on = 0;
        loop {
            let n = match body.read(&mut chunk) {
                Ok(0) => return Ok(handed_on),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(TransportError::Unreachable { url: self.url.into(), source: error.into() }),
            };
            let limit = self.request.max_len;
            if self.at + n as u64 > limit {
                return Err(TransportError::TooLong { url: self.url.into(), limit });
            }
            let skip = self.request.offset.saturating_sub(self.at).min(n as u64) as usize;
            self.at += n as u64;
            if skip < n {
                sink(&chunk[skip..n]).map_err(TransportError::Sink)?;
                handed_on += (n - skip) as u64;
            }
        }
    }
}
