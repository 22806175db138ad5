//! What a caller who brings the files and the thread of a poll tell one another. One caller feeds at a time.

use std::{
    ffi::CString,
    io,
    sync::{Condvar, Mutex, PoisonError},
};

use fleetfoot::transport::{Fetched, Request, Sink, TransportError};

use super::STOPPED;
use crate::{
    handle::lock,
    layout::ff_update_result,
    status::{Fault, Status},
};

/// What a caller and the thread of a poll tell one another.
#[derive(Debug, Default)]
pub(super) struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// What the poll waits for.
    pub(super) wanted: Option<Wanted>,
    /// Bytes that the poll has not taken yet, and what it said of the last ones.
    chunk: Option<Vec<u8>>,
    taken: Option<io::Result<()>>,
    answer: Option<Result<Fetched, TransportError>>,
    /// A caller waits for what becomes of its bytes.
    feeding: bool,
    pub(super) result: Option<Result<ff_update_result, Fault>>,
    stopped: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) path: CString,
    pub(super) etag: Option<CString>,
    pub(super) offset: u64,
    pub(super) max_len: u64,
    /// Bytes that came so far.
    fed: u64,
}

impl State {
    /// What the caller brings something for.
    fn take(&mut self) -> Result<Wanted, Fault> {
        if self.feeding {
            return Err(Fault::new(Status::Busy, "another thread feeds this poll"));
        }
        self.wanted.take().ok_or_else(|| unexpected("no file is asked for"))
    }
}

impl Wanted {
    fn url(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Feed {
    pub(super) fn stop(&self) {
        lock(&self.state).stopped = true;
        self.changed.notify_all();
    }

    /// Waits until `ready` has something, or the feed is stopped.
    pub(super) fn wait<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> Result<T, Fault> {
        let mut state = lock(&self.state);
        loop {
            if state.stopped {
                return Err(Status::Stopped.into());
            }
            if let Some(found) = ready(&mut state) {
                return Ok(found);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn change<T>(&self, with: impl FnOnce(&mut State) -> T) -> T {
        let done = with(&mut lock(&self.state));
        self.changed.notify_all();
        done
    }

    /// The side of the poll.
    pub(super) fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError> {
        let c_text = |text: &str| CString::new(text).unwrap_or_default();
        let (path, etag) = (c_text(request.path), request.etag.map(c_text));
        let wanted = Wanted { path, etag, offset: request.offset, max_len: request.max_len, fed: 0 };
        self.change(|state| state.wanted = Some(wanted));
        loop {
            let next = self.wait(|state| match state.chunk.take() {
                Some(chunk) => Some(Ok(chunk)),
                None => state.answer.take().map(Err),
            });
            match next {
                Ok(Ok(chunk)) => {
                    let taken = sink(&chunk);
                    let failed = taken.as_ref().err().map(|error| io::Error::new(error.kind(), error.to_string()));
                    self.change(|state| {
                        state.taken = Some(taken);
                        if failed.is_some() {
                            state.wanted = None;
                        }
                    });
                    if let Some(error) = failed {
                        return Err(TransportError::Sink(error));
                    }
                }
                Ok(Err(answer)) => return answer,
                Err(_) => {
                    return Err(TransportError::Unreachable { url: request.path.into(), source: STOPPED.into() });
                }
            }
        }
    }

    /// The side of the caller: bytes of the file that is wanted.
    pub(super) fn feed(&self, chunk: &[u8]) -> Result<(), Fault> {
        self.change(|state| {
            let mut wanted = state.take()?;
            let len = chunk.len() as u64;
            if wanted.offset.saturating_add(wanted.fed).saturating_add(len) > wanted.max_len {
                // That is the answer, too: nothing that the caller could still bring makes it right.
                let limit = wanted.max_len;
                state.answer = Some(Err(TransportError::TooLong { url: wanted.url(), limit }));
                return Err(Fault::new(Status::Length, format!("longer than the {limit} bytes that it may have")));
            }
            wanted.fed += len;
            state.wanted = Some(wanted);
            state.chunk = Some(chunk.to_vec());
            state.feeding = true;
            Ok(())
        })?;
        let taken = self.wait(|state| {
            let taken = match (state.taken.take(), &state.result) {
                (Some(taken), _) => {
                    taken.map_err(|error| fleetfoot::Error::Transport(TransportError::Sink(error)).into())
                }
                // The poll is over, and has not taken them.
                (None, Some(Err(fault))) => Err(fault.clone()),
                (None, Some(Ok(_))) => Err(unexpected("no file is asked for")),
                (None, None) => return None,
            };
            state.feeding = false;
            Some(taken)
        });
        taken?
    }

    pub(super) fn answer(&self, kind: i32, http_status: u32, etag: Option<&str>) -> Result<(), Fault> {
        self.change(|state| {
            let wanted = state.take()?;
            state.answer = Some(match (kind, http_status) {
                (0, _) => Ok(Fetched::Body { len: wanted.fed, etag: etag.map(Into::into) }),
                (1, _) => Ok(Fetched::NotModified),
                (2, _) => Ok(Fetched::Missing),
                (3, 1..=999) => Err(TransportError::Status { url: wanted.url(), status: http_status as u16 }),
                (3, _) => Err(TransportError::Unreachable {
                    url: wanted.url(),
                    source: "the application could not fetch it".into(),
                }),
                (other, _) => {
                    let fault = Fault::new(Status::Argument, format!("{other} is no answer"));
                    state.wanted = Some(wanted);
                    return Err(fault);
                }
            });
            Ok(())
        })
    }
}

fn unexpected(why: &str) -> Fault {
    Fault::new(Status::Argument, why)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{Fault, Feed, Status, Wanted, lock};

    fn asked(max_len: u64) -> Feed {
        let feed = Feed::default();
        let wanted = Wanted { path: c"a/b".into(), etag: None, offset: 0, max_len, fed: 0 };
        feed.change(|state| state.wanted = Some(wanted));
        feed
    }

    fn status(done: Result<(), Fault>) -> i32 {
        done.map_or_else(|fault| fault.status, |()| 0)
    }

    /// Bytes of one caller, while the poll does `then` with them.
    fn fed(feed: &Feed, then: impl FnOnce()) -> i32 {
        thread::scope(|scope| {
            let first = scope.spawn(|| status(feed.feed(b"abc")));
            while !lock(&feed.state).feeding {
                thread::yield_now();
            }
            then();
            first.join().expect("a caller does not panic")
        })
    }

    #[test]
    fn one_caller_feeds_at_a_time() {
        let (feed, busy) = (asked(9), i32::from(Status::Busy.code()));
        let first = fed(&feed, || {
            assert_eq!(status(feed.feed(b"x")), busy);
            assert_eq!(status(feed.answer(0, 0, None)), busy);
            let chunk = feed.change(|state| {
                state.taken = Some(Ok(()));
                state.chunk.take()
            });
            assert_eq!(chunk.as_deref(), Some(&b"abc"[..]));
        });
        assert_eq!(first, 0);
        assert_eq!(status(feed.answer(0, 0, None)), 0);
    }

    #[test]
    fn a_poll_that_ends_takes_its_caller_along() {
        let feed = asked(9);
        let first = fed(&feed, || {
            feed.change(|state| {
                state.wanted = None;
                state.result = Some(Err(Status::Panic.into()));
            });
        });
        assert_eq!(first, i32::from(Status::Panic.code()));
        assert_eq!(status(feed.feed(b"abc")), i32::from(Status::Argument.code()));
    }

    #[test]
    fn too_long_is_an_answer() {
        let feed = asked(2);
        assert_eq!(status(feed.feed(b"abc")), i32::from(Status::Length.code()));
        assert_eq!(status(feed.answer(0, 0, None)), i32::from(Status::Argument.code()));
        let answer = feed.change(|state| state.answer.take());
        assert!(answer.is_some_and(|answer| answer.is_err_and(|error| error.to_string().starts_with("a/b: longer"))));
    }
}
