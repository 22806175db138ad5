//! The network half of a poll: metadata, announcements, bundles.

use std::{io, time::Duration};

use fleetfoot_format::{bundle::SectionKind, record::Version};
use fleetfoot_trust::Keys;
use fleetfoot_tuf::{Action, Client, Stored, Target, json::Value, rollout};

use super::{Agent, Event, rollout::Said};
use crate::{
    error::Error,
    transport::{Fetched, Request, TransportError},
    verified::VerifiedFile,
};

/// A release that the repository announces: a target of the role `releases-<model>`.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    /// What the machine needs to know.
    pub(super) version: Version,
    label: String,
    url_path: String,
    /// What its signers say about it, the envelope among it.
    pub(super) custom: Value,
}

/// All releases that can be used, the newest first, the keys that sign bundles of this model, and what is rolled out.
pub(super) struct Announcements {
    pub(super) offers: Vec<Announced>,
    pub(super) keys: Keys,
    pub(super) said: Said,
}

/// Where metadata comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The repository; what is verified is stored.
    Repository,
    /// The store alone. What it holds is believed as of the day of its timestamp, and nothing may be installed upon it.
    Store,
}

impl Agent {
    /// Refreshes the metadata, stores what was verified, and reads the announcements.
    pub(super) fn refresh(&mut self) -> Result<Announcements, Error> {
        self.read(Source::Repository)
    }

    /// Verifies the metadata from `source` and reads the announcements.
    pub(super) fn read(&mut self, source: Source) -> Result<Announcements, Error> {
        let role = format!("releases-{}", self.config.model);
        // Agents of other models share the metadata: its floors must not go down under them.
        let _turn = match source {
            Source::Repository => Some(self.store.lock_metadata(METADATA_PATIENCE)?),
            Source::Store => None,
        };
        let stored = self.store.metadata()?;
        let now = if source == Source::Store { 0 } else { self.now };
        let mut client = Client::pinned(&self.config.root_json, stored.clone(), now)?;
        if source == Source::Repository {
            client.not_before(self.config.build_time);
        }
        client.refresh(&role);
        self.drive(&mut client, &stored, source)?;
        if source == Source::Repository {
            self.emit(&Event::Refreshed);
        }
        let (keys, threshold) = client.role_keys(&role).ok_or(Error::NoRole { role: role.clone() })?;
        let keys = Keys::new(&keys, usize::try_from(threshold).unwrap_or(usize::MAX))?;
        let mut offers = Vec::new();
        for target in client.targets_of(&role) {
            match announced(&target, &self.config.model) {
                Ok(offer) => offers.push(offer),
                Err(what) => self.emit(&Event::Skipped { path: target.path, what }),
            }
        }
        offers.sort_unstable_by(|a: &Announced, b| {
            b.version.number.cmp(&a.version.number).then_with(|| a.url_path.cmp(&b.url_path))
        });
        for offer in &offers {
            self.labels.insert(offer.version.sha256, offer.label.clone());
        }
        let said = self.said(&mut client, &stored, source)?;
        Ok(Announcements { offers, keys, said })
    }

    /// Gives the client what it asks for until it is done.
    pub(super) fn drive(&mut self, client: &mut Client, stored: &Stored, source: Source) -> Result<(), Error> {
        loop {
            match client.poll()? {
                Action::Fetch { path, max_len, may_be_missing } => {
                    let bytes = match source {
                        Source::Repository => self.fetch_metadata(&path, max_len, stored)?,
                        // The client finds everything else in there by itself.
                        Source::Store => stored.get(&path).filter(|_| path == TIMESTAMP).cloned(),
                    };
                    if bytes.is_none() && !may_be_missing {
                        return Err(Error::Missing { path });
                    }
                    client.feed(bytes)?;
                }
                Action::Persist { name, bytes } => {
                    if source == Source::Repository {
                        self.store.put_metadata(&name, &bytes)?;
                        self.at("metadata");
                    }
                    client.persisted();
                }
                Action::Done => return Ok(()),
            }
        }
    }

    /// One metadata file. The timestamp, which alone changes under its name, is asked for on condition that it did.
    fn fetch_metadata(&mut self, name: &str, max_len: u64, stored: &Stored) -> Result<Option<Vec<u8>>, Error> {
        let known = stored.get(name).filter(|_| name == TIMESTAMP);
        let etag = known.and(self.timestamp_tag.as_deref());
        let request = Request { path: &format!("metadata/{name}"), offset: 0, max_len, etag };
        let mut bytes = Vec::new();
        let mut keep = |chunk: &[u8]| {
            bytes.extend_from_slice(chunk);
            io::Result::Ok(())
        };
        match self.config.transport.fetch(&request, &mut keep)? {
            Fetched::Body { etag, .. } => {
                if name == TIMESTAMP {
                    self.timestamp_tag = etag;
                }
                Ok(Some(bytes))
            }
            Fetched::NotModified => Ok(known.cloned()),
            Fetched::Missing => Ok(None),
        }
    }

    /// Brings the bundle of `offer` into the store, from where an earlier download stopped.
    pub(super) fn fetch(&mut self, version: &Version, offer: &Announced, keys: &Keys) -> Result<(), Error> {
        let path = self.models.version_path(&version.sha256);
        if VerifiedFile::open(&path, keys).is_ok_and(|file| agrees(&file, offer, &self.config.model).is_ok()) {
            return Ok(());
        }
        let mut partial = self.models.partial(version)?;
        let (offset, len) = (partial.offset(), version.len);
        self.room_for(len - offset)?;
        let info = self.describe(version);
        self.emit(&Event::Fetching { version: info, offset, len });
        let (at, path) = (self.config.at.unwrap_or(|_| {}), partial.path().to_owned());
        if offset < len {
            let request = Request { path: &offer.url_path, offset, max_len: len, etag: None };
            let fetched = self.config.transport.fetch(&request, &mut |chunk| {
                partial.append(chunk)?;
                at("fetching");
                Ok(())
            });
            match fetched {
                Ok(Fetched::Body { .. }) => {}
                Ok(Fetched::Missing | Fetched::NotModified) => {
                    return Err(Error::Missing { path: offer.url_path.clone() });
                }
                Err(error) => {
                    if matches!(error, TransportError::Status { status: RANGE_NOT_SATISFIABLE, .. }) {
                        self.models.discard(&path)?;
                    }
                    return Err(error.into());
                }
            }
        }
        if partial.offset() < len {
            let url = offer.url_path.clone();
            return Err(TransportError::Short { url, need: len, have: partial.offset() }.into());
        }
        let path = partial.finish()?;
        let verified = VerifiedFile::open(&path, keys);
        if let Err(error) = verified.and_then(|file| agrees(&file, offer, &self.config.model)) {
            self.models.discard(&path)?;
            return Err(error);
        }
        self.at("fetched");
        self.models.install(&path, &version.sha256)?;
        self.at("installed");
        let info = self.describe(version);
        self.emit(&Event::Fetched(info));
        Ok(())
    }
}

const TIMESTAMP: &str = "timestamp.json";
const RANGE_NOT_SATISFIABLE: u16 = 416;
/// How long a refresh waits for that of another agent of this device.
const METADATA_PATIENCE: Duration = Duration::from_secs(20);

/// Reads the announcement of a release out of the field `custom` of its target, or says which field is missing.
fn announced(target: &Target, model: &str) -> Result<Announced, &'static str> {
    let text = |name: &'static str| target.custom.get(name).and_then(|v| v.as_str()).ok_or(name);
    if text("model")? != model {
        return Err("model");
    }
    if target.length > fleetfoot_format::limits::MAX_BUNDLE_LEN {
        return Err("length");
    }
    let envelope = rollout::envelope(&target.custom)?;
    let version = Version {
        sha256: target.sha256,
        number: target.custom.get("number").and_then(Value::as_u64).ok_or("number")?,
        len: target.length,
        attempt: envelope.attempt,
        epoch: envelope.security_epoch,
    };
    let (label, url_path) = (text("version")?.into(), format!("targets/{}", target.url_path()));
    Ok(Announced { version, label, url_path, custom: target.custom.clone() })
}

/// Whether the signed header says what was announced. Both are signed; a difference is a mistake of the release, or worse.
fn agrees(file: &VerifiedFile, offer: &Announced, model: &str) -> Result<(), Error> {
    let differ = |what, announced: &dyn ToString, found: &dyn ToString| {
        let (announced, found) = (announced.to_string(), found.to_string());
        if announced == found { Ok(()) } else { Err(Error::Announcement { what, announced, found }) }
    };
    let info = file.info();
    differ("model", &model, &info.model)?;
    differ("version", &offer.label, &info.version)?;
    differ("number", &offer.version.number, &info.number)?;
    let digest = rollout::envelope(&offer.custom).ok().and_then(|envelope| envelope.golden_sha256);
    if let Some(digest) = digest {
        let golden = file.sections().iter().find(|section| section.kind == SectionKind::GOLDEN);
        let found = golden.map_or_else(String::new, |section| crate::hex(&section.sha256));
        differ("SHA-256 of the golden vectors", &crate::hex(&digest), &found)?;
    }
    differ("SHA-256", &crate::hex(&offer.version.sha256), &crate::hex(&file.sha256()))
}
