//! The networks in every form, and the programs of the peers: made once, below the target folder.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{
    Form, Peer, Program,
    child::{Child, Start},
};
use crate::shell::{Cmd, Result, Tree};

/// Short name, int8 `.tflite` without the suffix, its QDQ form, beside the checkout in `shared/models`; and by how many
/// steps of the int8 output another form may differ. Weights that were not trained make large differences of small ones.
pub(in crate::bench) const NETWORKS: &[(&str, &str, &str, f32)] = &[
    ("ad", "mlperf-tiny/ad_int8", "mlperf-tiny/ad_qdq_u8", TRAINED_STEPS),
    ("kws", "mlperf-tiny/kws_logits_int8", "mlperf-tiny/kws_logits_qdq_u8", TRAINED_STEPS),
    ("vww", "mlperf-tiny/vww_logits_int8", "mlperf-tiny/vww_logits_qdq_u8", TRAINED_STEPS),
    ("ic", "mlperf-tiny/ic_logits_int8", "mlperf-tiny/ic_logits_qdq_u8", TRAINED_STEPS),
    ("mobilenet_v3_small", "shapes/mobilenet_v3_small_logits_int8", "shapes/mobilenet_v3_small_qdq_u8", RANDOM_STEPS),
    (
        "mobilenet_v2",
        "shapes/mobilenet_v2_1.0_224_logits_int8",
        "shapes/mobilenet_v2_1.0_224_logits_qdq_u8",
        RANDOM_STEPS,
    ),
    (
        "efficientnet_lite0",
        "shapes/efficientnet_lite0_logits_int8",
        "shapes/efficientnet_lite0_logits_qdq_u8",
        RANDOM_STEPS,
    ),
    ("mobilenet_v1", "shapes/mobilenet_v1_1.0_224_logits_int8", "shapes/mobilenet_v1_1.0_224_qdq_u8", RANDOM_STEPS),
];

/// About 2.5 % of the range of an int8 output.
const TRAINED_STEPS: f32 = 6.0;
/// About 10 % of it.
const RANDOM_STEPS: f32 = 26.0;

/// A network that is ready for every peer.
pub(super) struct Network {
    pub(super) name: String,
    tflite: PathBuf,
    folder: PathBuf,
    shape: String,
    /// Real value of one step of the output, and the step that means 0.
    pub(super) scale: f32,
    pub(super) zero_point: f32,
    pub(super) samples: usize,
    /// Steps by which forms other than the `.tflite` may differ.
    pub(super) tolerance: f32,
    /// Outputs of LiteRT for all samples, in steps.
    pub(super) golden: Vec<f32>,
    absent: BTreeMap<String, String>,
}

/// Where everything is.
pub(super) struct Forms {
    folder: PathBuf,
    scripts: PathBuf,
    python: PathBuf,
    ours: PathBuf,
    rust: PathBuf,
    /// Python packages that could not be installed, and Rust peers that could not be built.
    failed: BTreeMap<String, String>,
}

impl Forms {
    /// Builds and installs the peers.
    pub(super) fn prepare(tree: &Tree, with_rust: bool) -> Result<Self> {
        let folder = tree.target.join("peers");
        let scripts = tree.root.join("benches/peers");
        let exe = std::env::consts::EXE_SUFFIX;
        Cmd::cargo(tree, ["build", "--release", "--quiet", "-p", "fleetfoot-benches", "--bins"]).run()?;
        let mut failed = install(&folder, &scripts)?;
        let rust = folder.join("rust");
        if with_rust {
            let built = Cmd::cargo(tree, ["build", "--release", "--quiet", "--locked", "--manifest-path"])
                .arg(scripts.join("Cargo.toml"))
                .arg("--target-dir")
                .arg(&rust)
                .run();
            if let Err(why) = built {
                println!("{why}");
                failed.extend(["tract", "rten"].map(|name| (name.to_string(), "benches/peers did not build".into())));
            }
        }
        Ok(Self {
            python: folder.join("venv/bin/python"),
            ours: tree.target.join(format!("release/peer{exe}")),
            rust: rust.join("release"),
            folder,
            scripts,
            failed,
        })
    }

    /// The wanted networks (all, if none is named) in all forms.
    pub(super) fn networks(&self, tree: &Tree, wanted: &[String]) -> Result<Vec<Network>> {
        let digits = tree.root.join("examples/digits");
        let mut found =
            vec![("digits", digits.join("digits_v2.tflite"), digits.join("digits_v2.golden.npz"), None, 0.0)];
        if let Some(shared) = tree.shared() {
            let file = |stem: &str, end: &str| shared.join("models").join(format!("{stem}{end}"));
            found.extend(NETWORKS.iter().map(|&(name, tflite, qdq, tolerance)| {
                (name, file(tflite, ".tflite"), file(tflite, ".golden.npz"), Some(file(qdq, ".onnx")), tolerance)
            }));
        } else {
            println!("only the network of this repository: there is no folder `shared` beside it");
        }
        let names: Vec<&str> = found.iter().map(|network| network.0).collect();
        for unknown in wanted.iter().filter(|name| !names.contains(&name.as_str())) {
            println!("no network {unknown} here; there are: {}", names.join(", "));
        }
        found.retain(|network| wanted.is_empty() || wanted.iter().any(|name| name == network.0));
        if found.is_empty() {
            return Err("--models names none that is here".into());
        }
        let made = |(name, tflite, golden, qdq, tolerance): (&str, PathBuf, PathBuf, Option<PathBuf>, f32)| {
            Ok(Network { tolerance, ..self.network(name, tflite, &golden, qdq.as_deref())? })
        };
        found.into_iter().map(made).collect()
    }

    fn network(&self, name: &str, tflite: PathBuf, golden: &Path, qdq: Option<&Path>) -> Result<Network> {
        let folder = self.folder.join("forms").join(name);
        let about = folder.join("about.json");
        if !about.exists() {
            Cmd::new(&self.python)
                .arg(self.scripts.join("prepare.py"))
                .arg(&tflite)
                .arg(golden)
                .arg(qdq.unwrap_or(Path::new("-")))
                .arg(&folder)
                .run()?;
        }
        let fault = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let text = fs::read_to_string(&about).map_err(|e| fault(&about, &e))?;
        let facts: Value = serde_json::from_str(&text).map_err(|e| fault(&about, &e))?;
        let golden = folder.join("golden.i8");
        let golden = fs::read(&golden).map_err(|e| fault(&golden, &e))?;
        let number = |key: &str| facts[key].as_f64().ok_or_else(|| fault(&about, &format!("no {key}")));
        let shape: Vec<String> = facts["shape"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let absent = facts["absent"].as_object().into_iter().flatten();
        Ok(Network {
            name: name.into(),
            tflite,
            shape: shape.join(","),
            scale: number("scale")? as f32,
            zero_point: number("zero_point")? as f32,
            samples: number("samples")? as usize,
            tolerance: 0.0,
            golden: golden.into_iter().map(|b| f32::from(b.cast_signed())).collect(),
            absent: absent.map(|(form, why)| (form.clone(), why.as_str().unwrap_or_default().into())).collect(),
            folder,
        })
    }

    /// Starts a peer on a network; `Err` is why it is absent.
    pub(super) fn start(&self, network: &Network, peer: &Peer, threads: usize) -> Result<Start> {
        if let Some(why) = self.failed.get(peer.name).or_else(|| network.absent.get(peer.form.key())) {
            return Err(why.clone());
        }
        let model = match peer.form {
            Form::TfLite => network.tflite.clone(),
            form => network.folder.join(form.file()),
        };
        let (input, output) = (network.folder.join(peer.form.input()), network.folder.join("output.f32"));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut command = match peer.program {
            Program::Ours => vec![text(&self.ours)],
            Program::Python => vec![text(&self.python), text(&self.scripts.join("peer.py"))],
            Program::Rust => vec![text(&self.rust.join(format!("{}{}", peer.name, std::env::consts::EXE_SUFFIX)))],
        };
        command.push(peer.name.into());
        let options = [
            ("--model", text(&model)),
            ("--input", text(&input)),
            ("--output", text(&output)),
            ("--shape", network.shape.clone()),
            ("--threads", threads.to_string()),
        ];
        command.extend(options.into_iter().flat_map(|(flag, value)| [flag.to_string(), value]));
        Child::start(&command.iter().map(String::as_str).collect::<Vec<_>>(), &output, threads)
    }
}

impl Form {
    /// Its name in `about.json`.
    const fn key(self) -> &'static str {
        match self {
            Self::TfLite => "tflite",
            Self::QdqU8 => "qdq",
            Self::Fp32 => "fp32",
            Self::Mnn => "mnn",
            Self::Ncnn => "ncnn",
        }
    }

    /// What the table calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TfLite => "int8 tflite",
            Self::QdqU8 => "u8 QDQ",
            Self::Fp32 | Self::Mnn | Self::Ncnn => "fp32",
        }
    }

    const fn file(self) -> &'static str {
        match self {
            Self::TfLite => "",
            Self::QdqU8 => "qdq.onnx",
            Self::Fp32 => "fp32.onnx",
            Self::Mnn => "fp32.mnn",
            Self::Ncnn => "fp32.ncnn.param",
        }
    }

    const fn input(self) -> &'static str {
        match self {
            Self::TfLite => "input.i8",
            Self::QdqU8 => "input.u8",
            Self::Fp32 | Self::Mnn | Self::Ncnn => "input.f32",
        }
    }

    /// Whether its outputs are real numbers; else they are steps.
    pub(super) const fn is_real(self) -> bool {
        matches!(self, Self::Fp32 | Self::Mnn | Self::Ncnn)
    }
}

/// Makes the Python environment; returns the packages that could not be installed, and why.
fn install(folder: &Path, scripts: &Path) -> Result<BTreeMap<String, String>> {
    let list = scripts.join("requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let (venv, stamp) = (folder.join("venv"), folder.join("venv/requirements.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(BTreeMap::new());
    }
    println!("installing the peers that are Python packages into {}", venv.display());
    Cmd::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).run()?;
    let mut failed = BTreeMap::new();
    for line in wanted.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // Without dependencies: a converter would bring a whole framework that it does not need for this.
        let done = Cmd::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", line])
            .run();
        if let Err(why) = done {
            let package = line.split("==").next().unwrap_or(line).to_lowercase();
            let name = if package == "ai-edge-litert" { "litert".into() } else { package };
            println!("{why}");
            failed.insert(name, format!("not installed: pip install {line} failed"));
        }
    }
    // Without the stamp the next run tries again.
    if failed.is_empty() {
        fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    }
    Ok(failed)
}
