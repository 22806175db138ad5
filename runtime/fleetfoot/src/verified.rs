//! A bundle on disk that may be believed: mapped, verified, its header copied out.

use std::{path::Path, string::String, sync::OnceLock};

use fleetfoot_format::bundle::{Budget, Bundle, Section, SectionKind};
use fleetfoot_trust::{Keys, verify_bundle};

use crate::{error::Error, map::Bytes};

/// A mapped bundle whose signatures and hashes hold, or whose SHA-256 is the one that was recorded when they did.
///
/// ```no_run
/// use fleetfoot::{Keys, Kernels, Model, Session, VerifiedFile};
/// # fn example(public_key: [u8; 32]) -> Result<(), Box<dyn std::error::Error>> {
/// let keys = Keys::new(&[public_key], 1)?;
/// let file = VerifiedFile::open("kws-1.2.0.ff".as_ref(), &keys)?;
/// let model = std::sync::Arc::new(Model::from_file(&file)?);
/// let mut session = Session::new(model, Kernels::detect())?;
/// session.set_input(0, &[0; 490])?;
/// session.run()?;
/// println!("{:?}", session.output(0)?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct VerifiedFile {
    bytes: Bytes,
    info: BundleInfo,
    sections: Vec<Section>,
    /// Of the whole file, once it is known.
    sha256: OnceLock<[u8; 32]>,
}

/// What the signed header of a bundle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleInfo {
    /// Name of the model.
    pub model: String,
    /// Release label.
    pub version: String,
    /// Release number.
    pub number: u64,
    /// Lowest runtime, major and minor.
    pub min_runtime: (u16, u16),
    /// Layout of the weights.
    pub target: String,
    /// Admission limits.
    pub budget: Budget,
}

impl VerifiedFile {
    /// Maps the file and verifies it with `keys`: signatures first, then structure, then every section's hash. That is one pass over
    /// the bytes; the name of the file in a store costs a second one, when it is asked for ([`sha256`](Self::sha256)).
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Trust`].
    pub fn open(path: &Path, keys: &Keys) -> Result<Self, Error> {
        let bytes = Bytes::map(path).map_err(|source| Error::file("open", path, source))?;
        Self::of_bytes(bytes, keys)
    }

    /// As [`open`](Self::open), for bytes that are there already: a part of an open file ([`Bytes::map_part`]), or a copy
    /// ([`Bytes::aligned_copy`]).
    ///
    /// # Errors
    /// [`Error::Trust`].
    pub fn of_bytes(bytes: Bytes, keys: &Keys) -> Result<Self, Error> {
        let verified = verify_bundle(bytes.as_ref(), keys)?;
        let (info, sections) = describe(&verified);
        Ok(Self { bytes, info, sections, sha256: OnceLock::new() })
    }

    /// Maps a file that was verified when it was stored and checks that it still has the SHA-256 recorded then.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::HashMismatch`] or [`Error::Trust`].
    pub fn open_known(path: &Path, sha256: &[u8; 32]) -> Result<Self, Error> {
        let bytes = Bytes::map(path).map_err(|source| Error::file("open", path, source))?;
        let found = fleetfoot_trust::sha256(bytes.as_ref());
        if found != *sha256 {
            return Err(Error::HashMismatch { path: path.into(), expected: *sha256, found });
        }
        let bundle = Bundle::parse(bytes.as_ref())?;
        let (info, sections) = describe(&bundle);
        Ok(Self { bytes, info, sections, sha256: OnceLock::from(found) })
    }

    /// What the header says.
    #[must_use]
    pub const fn info(&self) -> &BundleInfo {
        &self.info
    }

    /// SHA-256 of the whole file: its name in every store. The first call hashes the file, unless it was opened by this hash.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        *self.sha256.get_or_init(|| fleetfoot_trust::sha256(self.bytes()))
    }

    /// The sections in file order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The first section of `kind`, if there is one.
    #[must_use]
    pub fn section(&self, kind: SectionKind) -> Option<Bytes> {
        let section = self.sections.iter().find(|s| s.kind == kind)?;
        let start = section.offset as usize;
        Some(self.bytes.slice(start..start + section.len as usize))
    }

    /// Labels of output 0, one per line of the section *labels*; empty without one.
    #[must_use]
    pub fn labels(&self) -> Vec<String> {
        let text = self.section(SectionKind::LABELS);
        text.map(|t| String::from_utf8_lossy(t.as_ref()).lines().map(String::from).collect()).unwrap_or_default()
    }
}

fn describe(bundle: &Bundle<'_>) -> (BundleInfo, Vec<Section>) {
    let header = bundle.header();
    let info = BundleInfo {
        model: header.model.into(),
        version: header.version.into(),
        number: header.number,
        min_runtime: header.min_runtime,
        target: header.target.into(),
        budget: header.budget,
    };
    (info, header.sections.to_vec())
}
