//! From the queue to a receiver: many reports in one request, removed when it has answered. Whoever sends waits for it, so all of it has
//! an end: after [`MOST`] no further request is made, and the rest waits for the next time.

use std::time::{Duration, Instant};

use super::queue::{Key, Queue};
use crate::{error::Error, transport::TransportError};

/// How reports leave the device. The body is messages of [`fleetfoot_format::report`], one after the other.
pub trait ReportTransport: Send + Sync {
    /// Delivers `body`.
    ///
    /// # Errors
    /// What kept it from arriving; it is sent again later.
    fn post(&self, body: &[u8]) -> Result<Answer, TransportError>;
}

/// What the receiver said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It has every report, or had it already, or will never take it: none needs to be sent again.
    Taken,
    /// The request is none that it takes, whatever is in it: sent again in parts, and what is refused alone is dropped.
    Refused,
    /// Not now.
    Later,
}

/// What became of a run of `send`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Reports that the receiver has.
    pub taken: usize,
    /// Reports that were dropped, because it refuses them or they were damaged.
    pub dropped: usize,
    /// Reports that wait for the next time.
    pub waiting: usize,
}

/// Sends what waits, the oldest first, but for `kept`, as long as there is time.
pub(super) fn send(queue: &Queue, transport: &dyn ReportTransport, kept: &[Key]) -> Result<Sent, Error> {
    let start = Instant::now();
    send_until(queue, transport, kept, || start.elapsed() >= MOST)
}

fn send_until(
    queue: &Queue,
    transport: &dyn ReportTransport,
    kept: &[Key],
    is_late: impl Fn() -> bool,
) -> Result<Sent, Error> {
    let mut sent = Sent::default();
    let mut keys = queue.keys()?;
    keys.retain(|key| !kept.contains(key));
    let mut rest = &keys[..];
    let mut batch_len = BATCH;
    while !rest.is_empty() {
        if is_late() {
            sent.waiting = rest.len();
            return Ok(sent);
        }
        let (batch, after) = rest.split_at(batch_len.min(rest.len()));
        let (body, whole) = gather(queue, batch)?;
        let answer = if body.is_empty() { Ok(Answer::Refused) } else { transport.post(&body) };
        match answer {
            Ok(Answer::Taken) => {
                forget(queue, batch)?;
                sent.taken += whole;
                sent.dropped += batch.len() - whole;
                rest = after;
            }
            Ok(Answer::Refused) if batch.len() > 1 => batch_len = 1,
            Ok(Answer::Refused) => {
                forget(queue, batch)?;
                sent.dropped += 1;
                rest = after;
                // That was the one: the others may go together again.
                batch_len = BATCH;
            }
            Ok(Answer::Later) | Err(_) => {
                sent.waiting = rest.len();
                if let Err(error) = answer {
                    return Err(error.into());
                }
                return Ok(sent);
            }
        }
    }
    Ok(sent)
}

/// The messages of a batch one after the other, and how many there are.
fn gather(queue: &Queue, batch: &[Key]) -> Result<(Vec<u8>, usize), Error> {
    let (mut body, mut whole) = (Vec::new(), 0);
    for &key in batch {
        if let Some(message) = queue.read(key)? {
            body.extend_from_slice(&message);
            whole += 1;
        }
    }
    Ok((body, whole))
}

fn forget(queue: &Queue, batch: &[Key]) -> Result<(), Error> {
    batch.iter().try_for_each(|&key| queue.remove(key))
}

/// Reports in one request: at most 24 KiB.
const BATCH: usize = 16;
/// After so much time no further request is made. With the last one, which takes no longer, a poll sends for a minute at most.
const MOST: Duration = Duration::from_secs(30);

/// Sends with `POST`, to a server as `fleetfoot serve` is one.
#[cfg(feature = "net")]
#[derive(Debug)]
pub struct HttpReports {
    agent: ureq::Agent,
    url: String,
}

#[cfg(feature = "net")]
impl HttpReports {
    /// To the server whose API is below `base`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIMEOUT))
            // The same for every device of this runtime: it tells them no more apart than the report does.
            .user_agent("fleetfoot")
            .build();
        Self { agent: config.new_agent(), url: format!("{}/v1/reports", base.trim_end_matches('/')) }
    }
}

#[cfg(feature = "net")]
impl ReportTransport for HttpReports {
    fn post(&self, body: &[u8]) -> Result<Answer, TransportError> {
        let sent = self.agent.post(&self.url).header("content-type", "application/octet-stream").send(body);
        let unreachable =
            |error: ureq::Error| TransportError::Unreachable { url: self.url.clone(), source: error.into() };
        Ok(match sent.map_err(unreachable)?.status().as_u16() {
            200..=299 => Answer::Taken,
            400 | 413 | 422 => Answer::Refused,
            _ => Answer::Later,
        })
    }
}

#[cfg(feature = "net")]
const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::store::OsDisk;

    /// Refuses every request with `0xff` in it, and notes how long each was.
    #[derive(Default)]
    struct Picky(Mutex<Vec<usize>>);

    impl ReportTransport for Picky {
        fn post(&self, body: &[u8]) -> Result<Answer, TransportError> {
            self.0.lock().unwrap().push(body.len());
            Ok(if body.contains(&0xff) { Answer::Refused } else { Answer::Taken })
        }
    }

    fn queue(folder: &std::path::Path) -> Queue {
        let queue = Queue::open(folder, Arc::new(OsDisk), 1 << 20).unwrap();
        for part in 0..40 {
            let bytes = if part == 2 { [0xff] } else { [part] };
            queue.push((20_000, part, 7), &bytes, 20_000).unwrap();
        }
        queue
    }

    #[test]
    fn one_that_is_refused_keeps_no_others_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, picky) = (queue(dir.path()), Picky::default());
        let sent = send(&queue, &picky, &[]).unwrap();
        assert_eq!(sent, Sent { taken: 39, dropped: 1, waiting: 0 });
        assert_eq!(*picky.0.lock().unwrap(), [16, 1, 1, 1, 16, 16, 5]);
        assert!(queue.is_empty().unwrap());
    }

    #[test]
    fn what_there_is_no_time_for_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, picky, looks) = (queue(dir.path()), Picky::default(), Cell::new(0));
        let is_late = || looks.replace(looks.get() + 1) >= 5;
        let sent = send_until(&queue, &picky, &[], is_late).unwrap();
        assert_eq!(sent, Sent { taken: 18, dropped: 1, waiting: 21 });
        assert_eq!(queue.len().unwrap(), 21);
    }
}
