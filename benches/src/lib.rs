//! The networks that are measured: those of this repository, and those of the folder `shared` where it stands beside it.
#![forbid(unsafe_code)]

use std::{fmt::Display, path::PathBuf, sync::Arc};

use fleetfoot::{Kernels, Model, Session};

/// Short name and `.tflite`, small networks first.
const SHARED: &[(&str, &str)] = &[
    ("ad", "mlperf-tiny/ad_int8"),
    ("kws", "mlperf-tiny/kws_logits_int8"),
    ("vww", "mlperf-tiny/vww_logits_int8"),
    ("ic", "mlperf-tiny/ic_logits_int8"),
    ("mobilenet_v3_small", "shapes/mobilenet_v3_small_logits_int8"),
    ("mobilenet_v2", "shapes/mobilenet_v2_1.0_224_logits_int8"),
    ("efficientnet_lite0", "shapes/efficientnet_lite0_logits_int8"),
    ("mobilenet_v1", "shapes/mobilenet_v1_1.0_224_logits_int8"),
];

/// A network in memory.
pub struct Network {
    /// Its short name.
    pub name: &'static str,
    /// Ready for sessions.
    pub model: Arc<Model>,
}

/// All networks that are here.
///
/// # Errors
/// The file that cannot be read, imported or planned, and why.
pub fn networks() -> Result<Vec<Network>, String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![("digits", root.join("examples/digits/digits_v2.tflite"))];
    let shared = root.join("../shared/models");
    if shared.is_dir() {
        files.extend(SHARED.iter().map(|(name, stem)| (*name, shared.join(format!("{stem}.tflite")))));
    } else {
        eprintln!("only the network of this repository: there is no folder `shared` beside it");
    }
    files.into_iter().map(|(name, path)| open(&path).map(|model| Network { name, model })).collect()
}

fn open(path: &std::path::Path) -> Result<Arc<Model>, String> {
    let fault = |e: &dyn Display| format!("{}: {e}", path.display());
    let bytes = std::fs::read(path).map_err(|e| fault(&e))?;
    let graph = fleetfoot_import::tflite(&bytes).map_err(|e| fault(&e))?;
    let plan = fleetfoot_plan::plan(&graph).map_err(|e| fault(&e))?;
    Ok(Arc::new(Model::open_unsigned(&plan).map_err(|e| fault(&e))?))
}

impl Network {
    /// A session with inputs that are no constant.
    ///
    /// # Errors
    /// What the library says.
    pub fn session(&self, kernels: Kernels) -> Result<Session, String> {
        let mut session = Session::new(self.model.clone(), kernels).map_err(|e| e.to_string())?;
        for index in 0..self.model.engine().inputs().len() {
            let input = session.input_mut(index).map_err(|e| e.to_string())?;
            input.iter_mut().enumerate().for_each(|(i, b)| *b = (i as u8).wrapping_mul(37));
        }
        Ok(session)
    }
}
