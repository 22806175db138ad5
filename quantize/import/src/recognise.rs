//! What kind of file someone handed over, told from its first bytes; and how to get a `.tflite` or `.onnx` from it.
//!
//! Nothing is opened or executed. A wrong guess costs a less helpful message, nothing else.

use fleetfoot_format::bundle::MAGIC;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A model of TensorFlow Lite: [`tflite`](crate::tflite) reads it.
    TfLite,
    /// A bundle of Fleetfoot.
    Bundle,
    /// No bytes.
    Empty,
    /// Python objects as `pickle` or `joblib` write them.
    Pickle,
    /// What `torch.save` writes, or TorchScript.
    PyTorch,
    /// A model of Keras 3.
    Keras,
    /// Arrays of numpy, `.npz`.
    Npz,
    /// One array of numpy, `.npy`.
    Npy,
    /// Another ZIP archive.
    Zip,
    /// A compressed file: gzip, zlib, bzip2, xz or zstd.
    Compressed,
    /// ONNX.
    Onnx,
    /// A model of Core ML.
    CoreMl,
    /// HDF5: a model of Keras 1 or 2.
    Hdf5,
    /// `saved_model.pb` of TensorFlow.
    SavedModel,
    /// A frozen graph of TensorFlow 1.
    FrozenGraph,
    /// Weights without a network.
    Safetensors,
    /// A language model of llama.cpp.
    Gguf,
    /// PMML or other XML.
    Xml,
    /// JSON, as XGBoost and TensorFlow.js write.
    Json,
    /// A picture.
    Picture,
    /// None of these.
    Unknown,
}

/// Tells the kind of a file from its bytes.
#[must_use]
pub fn recognise(bytes: &[u8]) -> FileKind {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let text = bytes.trim_ascii_start();
    match bytes {
        [] => FileKind::Empty,
        _ if starts(&MAGIC) => FileKind::Bundle,
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => FileKind::TfLite,
        _ if starts(b"PK\x03\x04") => zip(bytes),
        [0x80, 2..=5, ..] => FileKind::Pickle,
        _ if starts(b"\x89HDF\r\n\x1a\n") => FileKind::Hdf5,
        _ if starts(b"\x93NUMPY") => FileKind::Npy,
        _ if starts(b"GGUF") => FileKind::Gguf,
        _ if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"BM") => FileKind::Picture,
        [0x1f, 0x8b, ..] | [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => FileKind::Compressed,
        _ if starts(b"BZh") || starts(b"\xfd7zXZ") || starts(b"\x28\xb5\x2f\xfd") => FileKind::Compressed,
        [_, _, _, _, _, _, 0, 0, b'{', ..] => FileKind::Safetensors,
        [0x08, 1, 0x12, _, ..] => FileKind::SavedModel,
        [0x08, 1..=9, 0x12, rest @ ..] if core_ml(rest) => FileKind::CoreMl,
        [0x08, 3..=20, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42, ..] => FileKind::Onnx,
        [0x0a, ..] if contains(window(bytes), b"Placeholder") => FileKind::FrozenGraph,
        _ if text.starts_with(b"<") || text.starts_with(b"\xef\xbb\xbf<") => FileKind::Xml,
        _ if text.starts_with(b"{") || text.starts_with(b"[") => FileKind::Json,
        _ => FileKind::Unknown,
    }
}

impl FileKind {
    /// What it is, in words.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self {
            Self::TfLite => "a .tflite model",
            Self::Bundle => "a Fleetfoot bundle",
            Self::Empty => "an empty file",
            Self::Pickle => "a Python pickle, which can run any code when it is loaded; it was not opened",
            Self::PyTorch => {
                "a PyTorch file, which holds a pickle that can run any code when it is loaded; it was not opened"
            }
            Self::Keras => "a Keras model",
            Self::Npz => "an archive of numpy arrays",
            Self::Npy => "a numpy array",
            Self::Zip => "a ZIP archive",
            Self::Compressed => "a compressed file",
            Self::Onnx => "an ONNX model",
            Self::CoreMl => "a Core ML model",
            Self::Hdf5 => "an HDF5 file, probably a Keras model",
            Self::SavedModel => "a TensorFlow SavedModel",
            Self::FrozenGraph => "a frozen graph of TensorFlow 1",
            Self::Safetensors => "a safetensors file: weights without a network",
            Self::Gguf => "a GGUF language model",
            Self::Xml => "an XML file, perhaps PMML",
            Self::Json => "a JSON file",
            Self::Picture => "a picture",
            Self::Unknown => "a file of an unknown kind",
        }
    }

    /// How to get a model from it that can be imported, or quantized first.
    #[must_use]
    pub const fn way_out(&self) -> &'static str {
        match self {
            Self::TfLite => "it can be imported",
            Self::Bundle => "it is ready to run: fleetfoot run B.ff --input X.npz",
            Self::Empty => "was the download or the export interrupted?",
            Self::Pickle => {
                "load it only if you trust its author; export a PyTorch network with torch.onnx.export(model.eval(), sample, \
                 'model.onnx', opset_version=17) and give that to fleetfoot quantize; rebuild a scikit-learn model as a Keras \
                 network and convert that"
            }
            Self::PyTorch => {
                "in Python: torch.onnx.export(model.eval(), sample, 'model.onnx', opset_version=17), of TorchScript with \
                 torch.jit.load(path) as model; then fleetfoot quantize model.onnx --data samples.npz -o model.ffm"
            }
            Self::Keras | Self::Hdf5 => {
                "in Python: c = tf.lite.TFLiteConverter.from_keras_model(keras.models.load_model(path)); c.optimizations = \
                 [tf.lite.Optimize.DEFAULT]; c.representative_dataset = samples; c.target_spec.supported_ops = \
                 [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]; c.inference_input_type = c.inference_output_type = tf.int8; \
                 open('model.tflite', 'wb').write(c.convert())"
            }
            Self::SavedModel => {
                "pip install tf2onnx, then python -m tf2onnx.convert --saved-model FOLDER --opset 17 --output model.onnx; then \
                 fleetfoot quantize model.onnx --data samples.npz -o model.ffm"
            }
            Self::FrozenGraph => {
                "in Python: c = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(path, inputs, outputs), then quantize as \
                 for a SavedModel and write c.convert() to model.tflite"
            }
            Self::Onnx => {
                "quantized it can be run and packed as it is; a float one first goes through fleetfoot quantize model.onnx --data \
                 samples.npz -o model.ffm"
            }
            Self::CoreMl => {
                "Core ML cannot be converted back: export from the network's source, for example with litert-torch"
            }
            Self::Safetensors => "load the weights into their network in PyTorch or Keras and export that",
            Self::Gguf => "language models are not supported",
            Self::Npz | Self::Npy => "data goes to --input or --golden; here belongs a .tflite model or a bundle",
            Self::Picture => "a picture goes to --input; here belongs a .tflite model or a bundle",
            Self::Zip | Self::Compressed => "unpack it and give the model within",
            Self::Xml => {
                "trees and linear models of PMML are not supported; rebuild the model as a Keras network and convert that"
            }
            Self::Json => {
                "models of XGBoost and TensorFlow.js are not supported; export a .tflite from the network's source"
            }
            Self::Unknown => {
                "export the model as an int8 .tflite: tf.lite.TFLiteConverter from Keras, litert-torch from PyTorch, onnx2tf from ONNX"
            }
        }
    }
}

/// Names of entries stand at the beginning of each entry, and again at the end of the archive.
fn zip(bytes: &[u8]) -> FileKind {
    let tail = &bytes[bytes.len().saturating_sub(WINDOW)..];
    let has = |name: &[u8]| contains(window(bytes), name) || contains(tail, name);
    if has(b"data.pkl") {
        FileKind::PyTorch
    } else if has(b"model.weights.h5") {
        FileKind::Keras
    } else if has(b".npy") {
        FileKind::Npz
    } else {
        FileKind::Zip
    }
}

/// Behind the tag of field 2: ONNX has a producer's name there, Core ML a message that begins with field 1.
fn core_ml(rest: &[u8]) -> bool {
    let len_bytes = rest.iter().take_while(|&&b| b >= 0x80).count() + 1;
    rest.get(len_bytes) == Some(&0x0a)
}

const WINDOW: usize = 64 << 10;

fn window(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(WINDOW)]
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::{FileKind, MAGIC, recognise};

    #[test]
    fn kinds() {
        let check = |bytes: &[u8], kind| assert_eq!(recognise(bytes), kind, "{bytes:02x?}");
        check(b"", FileKind::Empty);
        check(&MAGIC, FileKind::Bundle);
        check(b"\x1c\0\0\0TFL3", FileKind::TfLite);
        check(b"\x80\x04\x95\x0b\0", FileKind::Pickle);
        check(b"PK\x03\x04\x0a\0\0\0 model/data.pkl", FileKind::PyTorch);
        check(b"PK\x03\x04\x0a\0\0\0 metadata.json config.json model.weights.h5", FileKind::Keras);
        check(b"PK\x03\x04\x0a\0\0\0 input.npy", FileKind::Npz);
        check(b"PK\x03\x04\x0a\0\0\0 a.txt", FileKind::Zip);
        check(b"\x93NUMPY\x01\0", FileKind::Npy);
        check(b"\x1f\x8b\x08", FileKind::Compressed);
        check(b"\x78\x9c\0", FileKind::Compressed);
        check(b"\x08\x08\x12\x07pytorch", FileKind::Onnx);
        check(b"\x08\x07\x3a\x90\x01", FileKind::Onnx);
        check(b"\x08\x06\x12\xa0\x01\x0a\x10", FileKind::CoreMl);
        check(b"\x08\x01\x12\x90\x20\x0a", FileKind::SavedModel);
        check(b"\x0a\x20\x0a\x05input\x12\x0bPlaceholder", FileKind::FrozenGraph);
        check(b"\x89HDF\r\n\x1a\n\0", FileKind::Hdf5);
        check(b"\x40\0\0\0\0\0\0\0{\"w\":", FileKind::Safetensors);
        check(b"GGUF\x03\0\0\0", FileKind::Gguf);
        check(b"<?xml version=\"1.0\"?><PMML>", FileKind::Xml);
        check(b" {\"learner\":{}}", FileKind::Json);
        check(b"\x89PNG\r\n", FileKind::Picture);
        check(b"\x7fELF", FileKind::Unknown);
        check(b"TFL3", FileKind::Unknown);
    }
}
