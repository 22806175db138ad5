//! The agent's side of a [`Live`] handle: puts versions into their places there, and makes durable what was found out.

use std::sync::Arc;

use fleetfoot_format::record::Version;
use fleetfoot_update::Event as Input;

use super::{Agent, Outcome, Serving};
use crate::{
    error::Error,
    live::{
        Live,
        core::{Core, Roles},
        outcomes::Outcomes,
    },
};

/// What a handle was told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    serving: Option<[u8; 32]>,
    fallback: Option<[u8; 32]>,
    shadow: Option<[u8; 32]>,
    trial: bool,
    watched: bool,
}

impl Agent {
    /// A handle for the threads that want inferences. All handles of an agent are one.
    #[must_use]
    pub fn live(&self) -> Live {
        Live { core: Arc::clone(&self.live) }
    }

    /// Takes up what the inferences of [`live`](Self::live) handles have shown: good ones of a trial, what a shadow compared, and a version
    /// that was condemned. Needs no network and costs next to nothing where nothing happened. [`poll`](Self::poll) does it, too.
    ///
    /// # Errors
    /// [`Error::File`] where the state cannot be stored.
    pub fn tick(&mut self, now: i64) -> Result<Option<Outcome>, Error> {
        self.now = now;
        if self.newer.is_some() {
            return Ok(None);
        }
        self.prove_fallback();
        let heard = self.hear()?;
        // Time passes for a trial, a shadow and a watch.
        let action = match self.machine.in_shadow() {
            Some(_) => self.step_in_shadow(Input::Resume { now })?,
            None => self.step(Input::Inferences { good: 0, bad: 0, now })?,
        };
        let outcome = self.carry(action, None)?.or(heard);
        self.tend_reports(false);
        Ok(outcome)
    }

    /// The handle of this agent, before anything serves.
    pub(super) fn handle(config: &super::AgentConfig, predictions: &std::path::Path) -> (Arc<Core>, Result<(), Error>) {
        let outcomes = Outcomes::open(predictions, config.live.predictions, Arc::clone(&config.disk));
        let (outcomes, result) = match outcomes {
            Ok(outcomes) => (Some(outcomes), Ok(())),
            Err(error) => (None, Err(error)),
        };
        (Core::new(&config.model, config.live.clone(), config.kernels, config.at, outcomes), result)
    }

    /// What the handles have to say.
    pub(super) fn hear(&mut self) -> Result<Option<Outcome>, Error> {
        if self.newer.is_some() {
            return Ok(None);
        }
        self.live.look_after_shadow();
        let (news, good) = (self.live.take_news(), self.live.take_good());
        if let Some(reports) = &mut self.reports {
            reports.compared(news.runs, news.agree);
        }
        let mut outcome = None;
        for (sha256, reason) in news.condemned {
            let action = self.step(Input::Condemn { sha256, reason })?;
            self.live.settled(&sha256);
            self.published = None;
            outcome = self.carry(action, None)?.or(outcome);
        }
        let compared = news.agreement.map(|(sha256, _)| sha256);
        if news.runs > 0 && compared == self.machine.in_shadow().map(|candidate| candidate.sha256) {
            let action = self.step_in_shadow(Input::Shadow { runs: news.runs, agree: news.agree, now: self.now })?;
            outcome = self.carry(action, None)?.or(outcome);
        }
        if good > 0 && self.machine.in_trial() {
            let action = self.step(Input::Inferences { good, bad: 0, now: self.now })?;
            outcome = self.carry(action, None)?.or(outcome);
        }
        Ok(outcome)
    }

    fn watched_fallback(&self) -> Option<Version> {
        self.machine.watches().then(|| self.machine.fallback()).flatten()
    }

    /// The version that may take over at once proves itself, if it has not since the system changed. Opening does not wait for that.
    pub(super) fn prove_fallback(&mut self) {
        if let Some(version) = self.watched_fallback().filter(|version| !self.is_proved(version))
            && self.newer.is_none()
            && self.trust(&version, true).is_ok()
        {
            self.publish();
        }
    }

    /// Puts every version into its place in the handle.
    pub(super) fn publish(&mut self) {
        let sha256 = |version: &Version| version.sha256;
        // What may serve at once has to answer rightly here, too.
        let fallback = self.watched_fallback().filter(|version| self.is_proved(version));
        let shadow = self.machine.in_shadow().copied();
        let now = Published {
            serving: self.serving.as_ref().map(|serving| serving.version.sha256),
            fallback: fallback.as_ref().map(sha256),
            shadow: shadow.as_ref().map(sha256),
            trial: self.machine.in_trial(),
            watched: self.machine.watches(),
        };
        if self.published == Some(now) {
            return;
        }
        let live = Arc::clone(&self.live);
        let swapped = self.published.is_none_or(|before| before.serving != now.serving);
        let serving = self.serving.clone().and_then(|Serving { version, file, model, .. }| {
            let (budget, observer) = (file.info().budget.p99_us, self.observe(&file, &model));
            live.slot(&version.sha256, || Some((version.clone(), model, budget, observer)))
        });
        let mut other = |version: Version| {
            live.slot(&version.sha256, || {
                let (file, model) = self.load(&version).ok()?;
                let (budget, observer) = (file.info().budget.p99_us, self.observe(&file, &model));
                Some((self.describe(&version), model, budget, observer))
            })
        };
        let (fallback, shadow) = (fallback.and_then(&mut other), shadow.and_then(&mut other));
        live.publish(Roles { serving, fallback, shadow, trial: now.trial, watched: now.watched });
        self.published = Some(now);
        if swapped {
            self.tend_reports(true);
        }
    }
}
