//! What serves: bundles from the store or from the application, opened by the hash that was recorded.
//!
//! A bundle that cannot be opened is forgotten, and the machine names the next one, until one serves or none is left.

use std::{path::PathBuf, sync::Arc};

use fleetfoot_format::record::Version;
use fleetfoot_update::Event as Input;

use super::{Agent, Event, VersionInfo};
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
    /// Makes [`serving`](Self::serving) what the machine says. A bundle that cannot be served is forgotten and the next one is tried.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        let settled = self.choose_serving();
        self.publish();
        settled
    }

    fn choose_serving(&mut self) -> Result<(), Error> {
        let mut storing = self.newer.is_none();
        while let Some(version) = self.machine.serving().copied() {
            let trial = self.machine.in_trial();
            if let Some(serving) = &mut self.serving
                && serving.version.sha256 == version.sha256
            {
                serving.trial = trial;
                return Ok(());
            }
            let fault = match self.load(&version) {
                Ok((file, model)) => {
                    let version = self.describe(&version);
                    self.serving = Some(Serving { version, trial, file, model });
                    return Ok(());
                }
                Err(fault) if is_damage(&fault) => fault,
                Err(fault) => return Err(fault),
            };
            self.serving = None;
            let from = self.describe(&version);
            let input = Input::Broken { sha256: version.sha256 };
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

    fn path(&self, version: &Version) -> PathBuf {
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
