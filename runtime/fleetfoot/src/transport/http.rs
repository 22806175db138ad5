//! A repository behind a web server or a CDN.
//!
//! | answer | meaning |
//! |---|---|
//! | 200 | the whole file; bytes that are there already are dropped (the server does not know ranges, or the file changed) |
//! | 206 | the rest of the file; it must begin where it was asked to |
//! | 304 | the copy is still good |
//! | 403, 404, 410 | missing (stores of objects answer 403 where a name does not exist) |
//! | 301, 302, 307, 308 | followed on the same host, four times at most |
//! | other | an error |
//!
//! A broken download is continued with `Range`, and with `If-Range` where the tag is known from this process. Without it a file that
//! changed meanwhile is noticed too: its hash is wrong in the end.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use ureq::{Agent, Body, http};

use super::{Bounded, Fetched, Request, Sink, Transport, TransportError, checked};

/// Fetches over HTTP, and over HTTPS with the feature `tls`.
#[derive(Debug)]
pub struct HttpTransport {
    agent: Agent,
    base: String,
    /// Tags of files whose download began in this process.
    tags: Mutex<BTreeMap<String, String>>,
}

/// How long a server is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For its name, and for a connection: 10 s.
    pub connect: Duration,
    /// For the beginning of its answer: 30 s.
    pub response: Duration,
    /// For the next bytes of a body. A connection that delivers nothing for so long is given up: 30 s.
    pub stall: Duration,
    /// For a whole body, so that a server that drips bytes does not hold the agent; the next poll goes on with it: half an hour.
    pub body: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let [connect, response, stall, body] = [10, 30, 30, 30 * 60].map(Duration::from_secs);
        Self { connect, response, stall, body }
    }
}

impl HttpTransport {
    /// The repository whose folder `metadata` lies at `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self::with_timeouts(base, Timeouts::default())
    }

    /// As [`new`](Self::new), with other patience.
    #[must_use]
    pub fn with_timeouts(base: &str, timeouts: Timeouts) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_recv_response(Some(timeouts.response))
            .timeout_per_read(Some(timeouts.stall))
            .timeout_recv_body(Some(timeouts.body))
            .user_agent(concat!("fleetfoot/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .build();
        let base = base.trim_end_matches('/').to_owned();
        Self { agent: config.new_agent(), base, tags: Mutex::default() }
    }

    fn get(&self, url: &str, request: &Request<'_>) -> Result<http::Response<Body>, TransportError> {
        let mut get = self.agent.get(url);
        if request.offset > 0 {
            get = get.header("range", format!("bytes={}-", request.offset));
            if let Some(tag) = self.tags().get(request.path) {
                get = get.header("if-range", tag.clone());
            }
        } else if let Some(tag) = request.etag {
            get = get.header("if-none-match", tag);
        }
        get.call().map_err(|error| TransportError::Unreachable { url: url.into(), source: error.into() })
    }

    /// Follows redirects on the same host.
    fn follow(&self, request: &Request<'_>) -> Result<(String, http::Response<Body>), TransportError> {
        let mut url = format!("{}/{}", self.base, checked(request.path)?);
        for _ in 0..=MAX_REDIRECTS {
            let response = self.get(&url, request)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 307 | 308) {
                return Ok((url, response));
            }
            let to = header(&response, "location").unwrap_or_default();
            let next = match to {
                _ if to.starts_with('/') && !to.starts_with("//") => format!("{}{to}", origin(&url)),
                _ if !origin(&to).is_empty() && origin(&to) == origin(&url) => to,
                _ => return Err(TransportError::Redirected { url, to }),
            };
            url = next;
        }
        Err(TransportError::Redirected { to: url.clone(), url })
    }

    fn tags(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        // The map is whole whatever happened to a thread that held it.
        self.tags.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Transport for HttpTransport {
    fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError> {
        let (url, response) = self.follow(request)?;
        let status = response.status().as_u16();
        let at = match status {
            200 => 0,
            206 if range_start(&response) == Some(request.offset) => request.offset,
            304 if request.etag.is_some() && request.offset == 0 => return Ok(Fetched::NotModified),
            403 | 404 | 410 => return Ok(Fetched::Missing),
            status => return Err(TransportError::Status { url, status }),
        };
        let length = response.body().content_length();
        if length.is_some_and(|length| length.saturating_add(at) > request.max_len) {
            return Err(TransportError::TooLong { url, limit: request.max_len });
        }
        // Weak tags do not vouch for single bytes: no good for ranges.
        let etag = header(&response, "etag");
        if let Some(tag) = etag.as_ref().filter(|tag| !tag.starts_with("W/")) {
            let mut tags = self.tags();
            if tags.len() >= MAX_TAGS {
                tags.clear();
            }
            tags.insert(request.path.into(), tag.clone());
        }
        let len = Bounded { url: &url, request, at }.copy(&mut response.into_body().into_reader(), sink)?;
        Ok(Fetched::Body { len, etag })
    }
}

const MAX_REDIRECTS: usize = 4;
const MAX_TAGS: usize = 64;

fn header(response: &http::Response<Body>, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(String::from)
}

/// `a` of `Content-Range: bytes a-b/c`.
fn range_start(response: &http::Response<Body>) -> Option<u64> {
    header(response, "content-range")?.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Scheme, host and port; empty where there is no scheme of the web.
fn origin(url: &str) -> &str {
    let Some(rest) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else { return "" };
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    &url[..url.len() - rest.len() + host]
}
