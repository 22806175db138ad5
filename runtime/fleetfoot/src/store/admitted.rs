//! Which versions have proved on this device, in which environment, that they answer rightly: the file `admitted` of a model.
//!
//! ```text
//! fleetfoot-admitted-1 <first 16 digits of the SHA-256 of the lines that follow>
//! <SHA-256 of a bundle> <fingerprint of the environment, 16 digits> ok
//! <SHA-256 of a bundle> <fingerprint of the environment, 16 digits> <times that its code was started, and did not come back yet>
//! ```
//! It is overwritten in place at its full length, so a full disk does not matter. What is damaged or missing counts as nothing: then
//! the versions prove it once more.

use std::{io::Read as _, path::PathBuf, sync::Arc};

use fleetfoot_trust::sha256;

use super::{Disk, unhex};
use crate::error::{Error, hex};

/// How far the proof of a version has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Its golden cases were exact in this environment.
    Exact,
    /// Its code was started so often and did not come back.
    Started(u8),
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    sha256: [u8; 32],
    fingerprint: String,
    proof: Proof,
}

/// The file `admitted` of one model.
#[derive(Debug)]
pub struct Admitted {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    lines: Vec<Line>,
}

impl Admitted {
    pub(super) fn open(path: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let mut text = String::new();
        let read = std::fs::File::open(&path).and_then(|file| file.take(LEN as u64).read_to_string(&mut text));
        let lines = read.ok().and_then(|_| parse(&text)).unwrap_or_default();
        Self { path, disk, lines }
    }

    /// What is known of this version in this environment.
    #[must_use]
    pub fn proof(&self, sha256: &[u8; 32], fingerprint: &str) -> Option<Proof> {
        let line = self.lines.iter().find(|line| line.sha256 == *sha256)?;
        (line.fingerprint == fingerprint).then_some(line.proof)
    }

    /// Makes durable what is known now. The oldest line leaves a full file.
    ///
    /// # Errors
    /// [`Error::File`]; then it holds for this process only.
    pub fn set(&mut self, sha256: &[u8; 32], fingerprint: &str, proof: Proof) -> Result<(), Error> {
        self.lines.retain(|line| line.sha256 != *sha256);
        self.lines.truncate(MAX_LINES - 1);
        self.lines.insert(0, Line { sha256: *sha256, fingerprint: fingerprint.into(), proof });
        let body: String = self.lines.iter().map(Line::text).collect();
        let mut text = format!("{HEAD}{}\n{body}", check(&body)).into_bytes();
        text.resize(LEN, b'\n');
        let write = || {
            let create = !self.path.exists();
            let file = self.disk.create(&self.path)?;
            self.disk.write(&file, &text)?;
            self.disk.sync(&file)?;
            match self.path.parent() {
                Some(folder) if create => self.disk.sync_folder(folder),
                _ => Ok(()),
            }
        };
        write().map_err(|source| Error::file("write", &self.path, source))
    }
}

impl Line {
    fn text(&self) -> String {
        let proof = match self.proof {
            Proof::Exact => "ok".into(),
            Proof::Started(times) => times.to_string(),
        };
        format!("{} {} {proof}\n", hex(&self.sha256), self.fingerprint)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (sha256, fingerprint) = (unhex(words.next()?)?, words.next()?.to_owned());
        let proof = match words.next()? {
            "ok" => Proof::Exact,
            times => Proof::Started(times.parse().ok()?),
        };
        words.next().is_none().then_some(Self { sha256, fingerprint, proof })
    }
}

const HEAD: &str = "fleetfoot-admitted-1 ";
/// Length of the file: more than the longest text.
const LEN: usize = 1024;
/// More than the versions that a device has: five, the factory version and a candidate.
const MAX_LINES: usize = 8;

fn parse(text: &str) -> Option<Vec<Line>> {
    let (first, body) = text.split_once('\n')?;
    let body = body.trim_end_matches('\n');
    let body = if body.is_empty() { String::new() } else { format!("{body}\n") };
    if first.strip_prefix(HEAD)? != check(&body) {
        return None;
    }
    body.lines().take(MAX_LINES).map(Line::parse).collect()
}

/// It guards against torn writes, not against people: those who can write here can write the bundles, too.
fn check(body: &str) -> String {
    hex(&sha256(body.as_bytes())[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::OsDisk;

    #[test]
    fn lines_come_back_and_damage_counts_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admitted");
        let open = || Admitted::open(path.clone(), Arc::new(OsDisk));
        assert_eq!(open().proof(&[1; 32], "0123456789abcdef"), None);
        for n in 0..20 {
            let proof = if n % 2 == 0 { Proof::Exact } else { Proof::Started(n) };
            open().set(&[n; 32], "0123456789abcdef", proof).unwrap();
            assert_eq!(open().proof(&[n; 32], "0123456789abcdef"), Some(proof));
            assert_eq!(open().proof(&[n; 32], "another"), None);
            assert_eq!(std::fs::metadata(&path).unwrap().len(), LEN as u64);
        }
        assert_eq!(open().proof(&[12; 32], "0123456789abcdef"), Some(Proof::Exact), "eight are kept");
        assert_eq!(open().proof(&[11; 32], "0123456789abcdef"), None, "the oldest left");
        let whole = std::fs::read(&path).unwrap();
        let text = whole.iter().rposition(|&b| b != b'\n').unwrap();
        for cut in 0..text {
            let mut torn = whole.clone();
            torn[cut] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(open().proof(&[19; 32], "0123456789abcdef"), None, "byte {cut}");
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(open().proof(&[19; 32], "0123456789abcdef"), None, "cut after {cut}");
        }
    }
}
