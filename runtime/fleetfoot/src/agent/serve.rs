//! What serves: bundles from the store or from the application, opened by the hash that was recorded.
//!
//! A bundle that is damaged, or does not answer rightly any more, is forgotten, and the machine names the next one, until one serves or none is
//! left. Where the operating system refuses a bundle for the moment (rights, handles), or its proof did not come back this time, nothing is
//! forgotten: another version stands in until the next start or poll finds it well.

use std::{path::PathBuf, sync::Arc};

use fleetfoot_format::record::Version;
use fleetfoot_update::Event as Input;

use super::{Agent, Event, VersionInfo, admit::NotTrusted};
use crate::{error::Error, model::Model, verified::VerifiedFile};

/// The version that serves.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Which.
    pub version: VersionInfo,
    /// Whether it is on trial.
    pub trial: bool,
    /// Its bundle: labels, provenance, golden cases.
    pub file: VerifiedFile,
    /// Its model, for sessions. Sessions that run keep theirs when another version takes over.
    pub model: Arc<Model>,
}

impl Agent {
    /// Makes [`serving`](Self::serving) what the machine says. A bundle that cannot be served is passed over; see the module.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let settled = self.choose_serving();
        self.publish();
        settled
    }

    fn choose_serving(&mut self) -> Result<(), Error> {
        let mut storing = self.newer.is_none();
        while let Some(version) = self.machine.serving().copied() {
            let trial = self.machine.in_trial();
            if self.passed_over == Some(version.sha256) && self.serving.is_some() {
                return Ok(());
            }
            let (fault, input) = match self.serve(&version, trial, storing) {
                Ok(()) => {
                    // Whatever was passed over before is wanted anew when its turn comes again.
                    self.passed_over = None;
                    return Ok(());
                }
                Err(NotTrusted::ForGood(input, fault)) => (fault, input),
                // The trial rests; the attempt that was taken for it is given back.
                Err(NotTrusted::JustNow(fault)) if trial => (fault, Input::Suspend { now: self.now }),
                Err(NotTrusted::JustNow(fault)) => return self.stand_in(&version, *fault, storing),
            };
            self.serving = None;
            let from = self.describe(&version);
            // Where nothing may or can be stored it is forgotten in memory only: the next one serves all the same.
            if storing && let Err(error) = self.stored(input) {
                self.emit(&Event::Failed(error.to_string()));
                storing = false;
            }
            if !storing {
                self.unstored(input);
            }
            let to = self.machine.serving().copied().map(|to| self.describe(&to));
            self.emit(&Event::FellBack { from, because: fault.to_string(), to });
        }
        self.serving = None;
        Ok(())
    }

    /// Serves `version` from now on, if it is whole and answers rightly here.
    fn serve(&mut self, version: &Version, trial: bool, storing: bool) -> Result<(), NotTrusted> {
        if let Some(serving) = &mut self.serving
            && serving.version.sha256 == version.sha256
        {
            serving.trial = trial;
            return Ok(());
        }
        let (file, model) = self.load(version).map_err(|fault| match is_damage(&fault) {
            true => NotTrusted::ForGood(Input::Broken { sha256: version.sha256 }, Box::new(fault)),
            false => NotTrusted::JustNow(Box::new(fault)),
        })?;
        self.trust(version, storing)?;
        let version = self.describe(version);
        self.serving = Some(Serving { version, trial, file, model });
        Ok(())
    }

    /// Serves another version than `wanted`, which cannot be served just now; the record stays as it is.
    fn stand_in(&mut self, wanted: &Version, fault: Error, storing: bool) -> Result<(), Error> {
        let record = self.machine.record().clone();
        let before = self.serving.take();
        let last_good = record.last_good.as_ref().and_then(|sha256| record.kept(sha256));
        let others = last_good.into_iter().chain(&record.kept).chain(&record.factory);
        for other in others.filter(|other| other.sha256 != wanted.sha256) {
            // It was rejected, or it is no better off.
            if record.rejection(&other.sha256, other.attempt).is_some() || self.serve(other, false, storing).is_err() {
                continue;
            }
            self.passed_over = Some(wanted.sha256);
            let to = self.describe(other);
            if before.is_none_or(|before| before.version != to) {
                let from = self.describe(wanted);
                self.emit(&Event::FellBack { from, because: fault.to_string(), to: Some(to) });
            }
            return Ok(());
        }
        // Nothing can be opened just now: what is in memory goes on, unless it was rejected.
        let still_good = |serving: &Serving| {
            let known = record.kept(&serving.version.sha256).or(record.factory.as_ref());
            known
                .is_some_and(|v| v.sha256 == serving.version.sha256 && record.rejection(&v.sha256, v.attempt).is_none())
        };
        if let Some(mut before) = before.filter(still_good) {
            before.trial = false;
            self.passed_over = Some(wanted.sha256);
            self.serving = Some(before);
            return Ok(());
        }
        Err(fault)
    }

    pub(super) fn load(&mut self, version: &Version) -> Result<(VerifiedFile, Arc<Model>), Error> {
        let path = self.path(version);
        let found = std::fs::metadata(&path).map_err(|source| Error::file("open", &path, source))?.len();
        if found != version.len {
            return Err(Error::WrongLength { path, expected: version.len, found });
        }
        let file = VerifiedFile::open_known(&path, &version.sha256)?;
        self.labels.insert(version.sha256, file.info().version.clone());
        let model = Arc::new(Model::from_file(&file)?);
        Ok((file, model))
    }

    pub(super) fn path(&self, version: &Version) -> PathBuf {
        match &self.config.factory {
            Some(factory) if self.factory.is_some_and(|f| f.sha256 == version.sha256) => factory.path.clone(),
            _ => self.models.version_path(&version.sha256),
        }
    }

    pub(super) fn open_factory(&mut self) -> Result<Option<Version>, Error> {
        let Some(factory) = &self.config.factory else { return Ok(None) };
        let file = VerifiedFile::open(&factory.path, &factory.keys)?;
        let info = file.info();
        if info.model != self.config.model {
            let (announced, found) = (self.config.model.clone(), info.model.clone());
            return Err(Error::Announcement { what: "model", announced, found });
        }
        let (sha256, number, len) = (file.sha256(), info.number, file.bytes().len() as u64);
        self.labels.insert(sha256, info.version.clone());
        Ok(Some(Version { sha256, number, len, attempt: 0, epoch: 0 }))
    }

    /// The names of a version; the label is read from its bundle where it is not known yet.
    pub(super) fn describe(&mut self, version: &Version) -> VersionInfo {
        let Version { sha256, number, .. } = *version;
        if !self.labels.contains_key(&sha256)
            && let Ok(file) = VerifiedFile::open_known(&self.path(version), &sha256)
        {
            self.labels.insert(sha256, file.info().version.clone());
        }
        VersionInfo { version: self.labels.get(&sha256).cloned().unwrap_or_default(), number, sha256 }
    }
}

/// Whether a bundle that cannot be opened is lost, as opposed to an operating system that refuses for the moment.
fn is_damage(fault: &Error) -> bool {
    match fault {
        Error::File { source, .. } => {
            matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof)
        }
        _ => true,
    }
}
