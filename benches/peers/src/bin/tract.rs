//! tract as a peer, with floats or with u8 QDQ, one thread (its default).

#[path = "../protocol.rs"]
mod protocol;

use std::sync::Arc;

use protocol::{Args, Peer, Result, serve, text};
use tract_onnx::prelude::*;

fn main() {
    let args = match Args::read() {
        Ok(args) => args,
        Err(why) => return eprintln!("{why}"),
    };
    let is_float = args.model.ends_with("fp32.onnx");
    serve(&args, if is_float { 4 } else { 1 }, "0.23.9", || {
        if args.threads != 1 {
            return Err("built for one thread".into());
        }
        let kind = if is_float { f32::datum_type() } else { u8::datum_type() };
        let model = tract_onnx::onnx()
            .model_for_path(&args.model)
            .and_then(|model| model.with_input_fact(0, InferenceFact::dt_shape(kind, &args.shape)))
            .and_then(|model| model.into_optimized())
            .and_then(|model| model.into_runnable())
            .map_err(|e| format!("{e:#}"))?;
        Ok(Box::new(Tract { model, kind, shape: args.shape.clone(), input: None, output: None }))
    });
}

struct Tract {
    model: Arc<TypedRunnableModel>,
    kind: DatumType,
    shape: Vec<usize>,
    input: Option<TValue>,
    output: Option<TValue>,
}

impl Peer for Tract {
    fn put(&mut self, sample: &[u8]) -> Result<()> {
        let mut tensor = Tensor::zero_dt(self.kind, &self.shape).map_err(text)?;
        tensor.as_bytes_mut().copy_from_slice(sample);
        self.input = Some(tensor.into_tvalue());
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let input = self.input.clone().ok_or("no input")?;
        self.output = self.model.run(tvec!(input)).map_err(text)?.into_iter().next();
        Ok(())
    }

    fn get(&mut self) -> Result<Vec<f32>> {
        let output = self.output.as_ref().ok_or("no output")?;
        let bytes = output.as_bytes();
        if output.datum_type().size_of() == 1 {
            return Ok(bytes.iter().map(|&b| f32::from(b) - 128.0).collect());
        }
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
}
