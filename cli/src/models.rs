//! Models from files: a signed bundle, a planned `.ffm`, or a raw `.tflite` or `.onnx` that is imported and planned in memory.

use std::{fs, path::Path, sync::Arc};

use fleetfoot::{BundleInfo, Keys, Model, VerifiedFile};
use fleetfoot_format::bundle::{MAGIC, Preamble};
use fleetfoot_import::{FileKind, ImportError};
use fleetfoot_plan::Plan;
use fleetfoot_quantize::Ffm;
use fleetfoot_trust::{ReportKey, sha256};

use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// The largest raw model that is read into memory.
const MAX_MODEL_LEN: u64 = 1 << 30;
/// The preamble, signers, header and signatures of a bundle fit into this.
const MAX_HEAD_LEN: u64 = 64 << 10;

/// A model that can run, and where it came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) model: Arc<Model>,
    /// Of a bundle.
    pub(crate) info: Option<BundleInfo>,
    pub(crate) labels: Vec<String>,
    /// Bytes of the section weights.
    pub(crate) weights_len: usize,
}

/// A model that is verified, or made from a raw file, and not yet proved sound.
pub(crate) enum Opened {
    Bundle(VerifiedFile),
    Raw(Plan),
}

/// Opens whatever `path` is, and makes it ready. Says on standard error what nobody vouches for.
pub(crate) fn load(path: &Path, keys: &[std::path::PathBuf], output: &Output) -> Result<Loaded, Failure> {
    open(path, keys, output)?.load(path)
}

/// The first half of [`load`].
pub(crate) fn open(path: &Path, keys: &[std::path::PathBuf], output: &Output) -> Result<Opened, Failure> {
    if starts_with_magic(path)? {
        return Ok(Opened::Bundle(open_bundle(path, keys, output)?));
    }
    let plan = import(path)?.plan;
    output.note(&format!("{} is a raw model: no signature vouches for it", path.display()));
    Ok(Opened::Raw(plan))
}

impl Opened {
    /// The second half of [`load`]; `path` is for messages.
    pub(crate) fn load(self, path: &Path) -> Result<Loaded, Failure> {
        let fault = |e: fleetfoot::Error| Failure::from(e).in_file(path);
        match self {
            Self::Bundle(file) => {
                let model = Arc::new(Model::from_file(&file).map_err(fault)?);
                let weights = file.section(fleetfoot_format::bundle::SectionKind::WEIGHTS);
                let weights_len = weights.map_or(0, |s| s.as_ref().len());
                Ok(Loaded { model, info: Some(file.info().clone()), labels: file.labels(), weights_len })
            }
            Self::Raw(plan) => {
                let model = Arc::new(Model::open_unsigned(&plan).map_err(fault)?);
                Ok(Loaded { model, info: None, labels: Vec::new(), weights_len: plan.weights.len() })
            }
        }
    }
}

/// Opens a bundle with the public keys in `keys`, or, without any, with the signers that it declares itself.
pub(crate) fn open_bundle(path: &Path, keys: &[std::path::PathBuf], output: &Output) -> Result<VerifiedFile, Failure> {
    let by_itself = keys.is_empty();
    let keys = if by_itself {
        let head = read_head(path, MAX_HEAD_LEN)?;
        let preamble =
            Preamble::read(&head).map_err(|e| Failure::from(fleetfoot::TrustError::from(e)).in_file(path))?;
        let declared: Vec<[u8; 32]> = (0..preamble.n_signers).map(|i| *preamble.signature(&head, i).0).collect();
        Keys::new(&declared, 1).map_err(|e| Failure::from(e).in_file(path))?
    } else {
        read_keys(keys)?
    };
    let file = VerifiedFile::open(path, &keys).map_err(|e| Failure::from(e).in_file(path))?;
    if by_itself {
        output.note("checked against the keys that the bundle names itself: its bytes are whole, but give --key to know who signed it");
    }
    Ok(file)
}

/// All public keys in `paths`; every one of them must have signed.
pub(crate) fn read_keys(paths: &[std::path::PathBuf]) -> Result<Keys, Failure> {
    let mut keys = Vec::new();
    for path in paths {
        keys.push(fleetfoot_repository::keyfile::load_public(path).map_err(Failure::from)?);
    }
    Keys::new(&keys, keys.len()).map_err(Failure::from)
}

/// A model that is not a bundle, and where it came from.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) plan: Plan,
    /// Of the file that the author had: of a `.ffm` the float model behind it.
    pub(crate) source_sha256: [u8; 32],
    pub(crate) source_format: &'static str,
    /// Of a `.ffm`: the hash of the samples, and the options.
    pub(crate) quantization: Option<([u8; 32], String)>,
}

/// Reads, recognises, imports and plans a raw model.
pub(crate) fn import(path: &Path) -> Result<Imported, Failure> {
    let bytes = read_whole(path)?;
    if Ffm::is(&bytes) {
        let ffm = Ffm::parse(&bytes).map_err(|e| Failure::from(e).in_file(path))?;
        let quantization = Some((ffm.data_sha256, ffm.config));
        return Ok(Imported { plan: ffm.plan, source_sha256: ffm.source_sha256, source_format: "onnx", quantization });
    }
    let kind = fleetfoot_import::recognise(&bytes);
    let (graph, source_format) = match kind {
        FileKind::TfLite => (fleetfoot_import::tflite(&bytes), "tflite"),
        FileKind::Onnx => (fleetfoot_import::onnx::onnx(&bytes), "onnx"),
        _ => {
            let what = format!("{}: {}", path.display(), kind.what());
            return Err(Failure::new(Exit::Usage, what).help(kind.way_out()));
        }
    };
    let graph = graph.map_err(|e| Failure::from(e).in_file(path))?;
    let plan = fleetfoot_plan::plan(&graph).map_err(|e| Failure::from(e).in_file(path))?;
    Ok(Imported { plan, source_sha256: sha256(&bytes), source_format, quantization: None })
}

pub(crate) fn read_whole(path: &Path) -> Result<Vec<u8>, Failure> {
    let metadata = fs::metadata(path).map_err(|e| Failure::io("open", path, &e))?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{} is a folder, where a file is needed", path.display())));
    }
    if metadata.len() > MAX_MODEL_LEN {
        return Err(Failure::usage(format!(
            "{} has {} bytes, over the limit of {MAX_MODEL_LEN}",
            path.display(),
            metadata.len()
        )));
    }
    fs::read(path).map_err(|e| Failure::io("read", path, &e))
}

/// The first bytes of a file, `len` at most.
fn read_head(path: &Path, len: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let file = fs::File::open(path).map_err(|e| Failure::io("open", path, &e))?;
    let mut head = Vec::new();
    file.take(len).read_to_end(&mut head).map_err(|e| Failure::io("read", path, &e))?;
    Ok(head)
}

fn starts_with_magic(path: &Path) -> Result<bool, Failure> {
    let head = read_head(path, MAGIC.len() as u64)?;
    if head.is_empty() {
        return Err(Failure::usage(format!("{} is empty", path.display())));
    }
    let is_named_bundle = path.extension().is_some_and(|e| e == "ff");
    Ok(head.starts_with(&MAGIC) || is_named_bundle)
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::new(Exit::Unsupported, &error).code(error.code())
    }
}

/// The key of health reports: one line of 64 hexadecimal digits.
pub(crate) fn report_key(path: &Path) -> Result<ReportKey, Failure> {
    let bytes = read_whole(path)?;
    let text = std::str::from_utf8(&bytes).map_or("", str::trim);
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let plain = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let key: Option<Vec<u8>> = (0..32).map(|i| digit(2 * i).filter(|_| plain)).collect();
    let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
    let bad = || Failure::usage("a key of reports is one line of 64 hexadecimal digits").in_file(path);
    key.map(ReportKey::new).ok_or_else(bad)
}
