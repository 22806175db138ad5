//! Admission, and what was admitted before in another environment.
//!
//! ```text
//! candidate        everything that `validate` asks for, under the watchdog; an attempt was durable before
//! what serves      admitted before in this environment: believed. Else its golden cases, once more, before it is trusted:
//!                    exact                     noted, serves
//!                    not exact                 rejected and forgotten; last good, kept or factory serves
//!                    does not come back        counted before it starts; after as many times as there are attempts, rejected and forgotten
//! ```
//! The environment is the version of this runtime, its kernels and those that the processor has, the release of the operating system, and what
//! the application adds. Where nothing changed this costs the reading of one small file.

use fleetfoot_format::record::{Reason, Version};
use fleetfoot_kernels::Kernels;
use fleetfoot_update::Event as Input;

use super::{Agent, Event};
use crate::{
    error::{Error, hex},
    store::Proof,
    validate::{Admission, prove, validate_within},
    verified::VerifiedFile,
    watchdog::{Job, Lost, ask, watched},
};

/// Why a version does not serve.
pub(super) enum NotTrusted {
    /// It is damaged, or answers wrongly: it is forgotten with this event.
    ForGood(Input, Box<Error>),
    /// The operating system refuses for the moment, or its code did not come back this time.
    JustNow(Box<Error>),
}

impl Agent {
    /// Runs what admission asks for; an attempt is durable.
    pub(super) fn admit(&mut self, version: &Version) -> Result<(), Error> {
        self.at("validating");
        let path = self.models.version_path(&version.sha256);
        let admission = self.under_watch(Job::All, &path, &version.sha256)?;
        self.at("validated");
        self.note(version, Proof::Exact);
        let version = self.describe(version);
        self.emit(&Event::Validated { version, admission });
        Ok(())
    }

    /// What became of a candidate whose admission failed.
    pub(super) fn after_admission(&mut self, version: &Version, fault: &Error) -> Input {
        let retry_at = self.now.saturating_add(TRY_AGAIN_S);
        match fault {
            Error::Refused(refusal) => Input::Refuse(refusal.reason()),
            Error::Lost(lost) => {
                let attempts_left = self.machine.record().candidate.map_or(0, |candidate| candidate.attempts_left);
                let (info, because) = (self.describe(version), lost.to_string());
                self.emit(&Event::Lost { version: info, because, attempts_left });
                Input::Lost { reason: lost.reason(), retry_at, now: self.now }
            }
            Error::Thread { .. } => Input::Defer { reason: Reason::NO_MEMORY, retry_at, now: self.now },
            // The file is not what was stored a moment ago: fetch it again.
            _ => Input::Broken { sha256: version.sha256 },
        }
    }

    /// Whether `version` answers rightly in this environment, as far as is written down.
    pub(super) fn is_proved(&self, version: &Version) -> bool {
        self.admitted.proof(&version.sha256, &self.fingerprint) == Some(Proof::Exact)
    }

    /// Lets a version prove in this environment that it still answers rightly, unless it has.
    pub(super) fn trust(&mut self, version: &Version, storing: bool) -> Result<(), NotTrusted> {
        let sha256 = version.sha256;
        let attempts = self.config.limits.attempts.max(1);
        let unfit = |reason, fault| NotTrusted::ForGood(Input::Unfit { sha256, reason }, Box::new(fault));
        let started = match self.admitted.proof(&sha256, &self.fingerprint) {
            Some(Proof::Exact) => return Ok(()),
            Some(Proof::Started(times)) if times >= attempts => {
                let how = format!("{times} times in this environment");
                return Err(unfit(Reason::CRASH_LOOP, Lost::Died { how }.into()));
            }
            Some(Proof::Started(times)) => times,
            None => 0,
        };
        // Durable before its code runs, wherever anything can be stored.
        if storing {
            self.note(version, Proof::Started(started + 1));
        }
        self.at("proving");
        let path = self.path(version);
        match self.under_watch(Job::Goldens, &path, &sha256) {
            Ok(Admission { goldens, .. }) => {
                if storing {
                    self.note(version, Proof::Exact);
                }
                let version = self.describe(version);
                self.emit(&Event::Proved { version, goldens });
                Ok(())
            }
            Err(fault) => Err(match &fault {
                Error::Refused(refusal) => unfit(refusal.reason(), fault),
                Error::Lost(lost) if started + 1 >= attempts => unfit(lost.reason(), fault),
                _ => NotTrusted::JustNow(Box::new(fault)),
            }),
        }
    }

    fn under_watch(&mut self, job: Job, path: &std::path::Path, sha256: &[u8; 32]) -> Result<Admission, Error> {
        let (kernels, watchdog) = (self.config.kernels, self.config.watchdog.clone());
        let (deadline, limit) = (watchdog.deadline, watchdog.max_memory_bytes);
        if let Some(isolated) = &watchdog.isolated {
            match ask(isolated, job, path, sha256, kernels, (deadline, limit)) {
                Err(Error::Thread { source }) => {
                    // A system that starts no process would keep every update away.
                    let why = format!("no process of its own for {}: {source}; a thread has to do", path.display());
                    self.emit(&Event::Failed(why));
                }
                answer => return answer,
            }
        }
        let file = VerifiedFile::open_known(path, sha256)?;
        let at = self.config.at.unwrap_or(|_| {});
        let admission = watched(deadline, move || {
            at("goldens");
            match job {
                Job::All => validate_within(&file, kernels, limit),
                Job::Goldens => prove(&file, kernels),
            }
        })?;
        Ok(admission?)
    }

    /// Where it cannot be stored it holds for this process, and the next one proves it again.
    fn note(&mut self, version: &Version, proof: Proof) {
        if let Err(error) = self.admitted.set(&version.sha256, &self.fingerprint, proof) {
            tracing::warn!("{error}");
        }
    }
}

/// How long a validation waits that was lost once.
const TRY_AGAIN_S: i64 = 600;

/// 16 digits that change with everything that may change what kernels answer.
pub(super) fn fingerprint(kernels: Kernels, more: &str) -> String {
    let mut parts = vec![env!("CARGO_PKG_VERSION").to_owned(), kernels.name().to_owned(), more.to_owned()];
    parts.push(std::env::consts::ARCH.into());
    parts.extend(Kernels::available().map(|kernels| kernels.name().to_owned()));
    #[cfg(unix)]
    {
        let name = rustix::system::uname();
        let of_system = [name.sysname(), name.release(), name.version(), name.machine()];
        parts.extend(of_system.map(|part| part.to_string_lossy().into_owned()));
    }
    hex(&fleetfoot_trust::sha256(parts.join("\n").as_bytes())[..8])
}
