//! Requests wait here for the next transaction: one commit, one wait for the disk, for all that came meanwhile.
//!
//! ```text
//! handlers ──▶ queue (bounded) ──▶ one thread: begin, fold all that is there, commit ──▶ answers
//! ```
//! A device forgets a report once it is answered for, so the answer comes after the commit.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use fleetfoot_format::report::Report;
use tokio::sync::oneshot;

use super::{ReportError, refused};
use crate::store::{Store, fold::Folded};

/// Requests that wait at most; more are told to come again. Guards memory: 64 reports of 1 kB in each.
const MAX_WAITING: usize = 1_024;
/// Reports in one transaction, about.
const MAX_BATCH: usize = 4_096;

struct Job {
    reports: Vec<Report>,
    today: u32,
    answer: oneshot::Sender<Result<Vec<Folded>, ReportError>>,
}

/// The way to the thread that folds. It ends with the queue.
#[derive(Debug)]
pub(crate) struct Queue(SyncSender<Job>);

impl Queue {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        thread::spawn(move || fold(&store, &waiting));
        Self(jobs)
    }

    /// Folds `reports` and waits until that is durable.
    pub(crate) async fn fold(&self, reports: Vec<Report>, today: u32) -> Result<Vec<Folded>, ReportError> {
        let (answer, folded) = oneshot::channel();
        self.0.try_send(Job { reports, today, answer }).map_err(|_| ReportError::Full)?;
        folded.await.unwrap_or(Err(ReportError::Full))
    }
}

fn fold(store: &Store, waiting: &Receiver<Job>) {
    while let Ok(first) = waiting.recv() {
        let today = first.today;
        let (mut reports, mut answers) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(Job { reports: own, answer, .. }) = next {
            answers.push((own.len(), answer));
            reports.extend(own);
            next = (reports.len() < MAX_BATCH).then(|| waiting.try_recv().ok()).flatten();
        }
        let mut folded = match store.fold(&reports, today) {
            Ok(folded) => Ok(folded.into_iter()),
            Err(error) => Err(refused(&error)),
        };
        for (n, answer) in answers {
            let own = folded.as_mut().map(|all| all.by_ref().take(n).collect()).map_err(|error| *error);
            // Whoever does not wait any more sends it again, and it is known then.
            let _ = answer.send(own);
        }
    }
}
