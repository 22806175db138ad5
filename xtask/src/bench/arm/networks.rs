//! The networks that are counted: the reference ones beside the checkout, and the one of this repository.

use std::path::PathBuf;

use crate::{
    bench::peers::NETWORKS,
    shell::{Result, Tree},
};

/// Files of one network.
pub(super) struct Network {
    pub(super) name: &'static str,
    pub(super) tflite: PathBuf,
    /// An `.npz` with `input` and the outputs of LiteRT.
    pub(super) golden: PathBuf,
    /// The name of those outputs.
    pub(super) array: &'static str,
    /// The same weights and scales for ONNX Runtime.
    pub(super) qdq: Option<PathBuf>,
}

/// The wanted networks, or all that are here: where the reference networks are missing, those of this repository.
pub(super) fn find(tree: &Tree, wanted: &[String]) -> Result<Vec<Network>> {
    let mut found = match tree.shared() {
        Some(shared) => {
            let file = |stem: &str, end: &str| shared.join("models").join(format!("{stem}{end}"));
            let network = |(name, tflite, qdq, _): &(&'static str, &str, &str, f32)| Network {
                name,
                tflite: file(tflite, ".tflite"),
                golden: file(tflite, ".golden.npz"),
                array: "output_xnnpack",
                qdq: Some(file(qdq, ".onnx")),
            };
            NETWORKS.iter().map(network).collect()
        }
        None => {
            println!("only the network of this repository: there is no folder `shared` beside it");
            Vec::new()
        }
    };
    if found.is_empty() || wanted.iter().any(|name| name == "digits") {
        let digits = tree.root.join("examples/digits");
        let (tflite, golden) = (digits.join("digits_v2.tflite"), digits.join("digits_v2.golden.npz"));
        found.push(Network { name: "digits", tflite, golden, array: "output", qdq: None });
    }
    let names: Vec<&str> = found.iter().map(|network| network.name).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("--models {unknown}: there are {}", names.join(",")));
    }
    found.retain(|network| wanted.is_empty() || wanted.iter().any(|name| name == network.name));
    Ok(found)
}
