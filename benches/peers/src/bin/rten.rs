//! RTen as a peer, with floats or with u8 QDQ.

#[path = "../protocol.rs"]
mod protocol;

use std::sync::Arc;

use protocol::{Args, Peer, Result, serve, text};
use rten::{Model, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{Tensor, prelude::*};

fn main() {
    let args = match Args::read() {
        Ok(args) => args,
        Err(why) => return eprintln!("{why}"),
    };
    let is_float = args.model.ends_with("fp32.onnx");
    serve(&args, if is_float { 4 } else { 1 }, "0.27.0", || {
        let model = Model::load_file(&args.model).map_err(text)?;
        let pool = Arc::new(ThreadPool::with_num_threads(args.threads));
        Ok(Box::new(Rten { model, pool, is_float, shape: args.shape.clone(), input: None, output: None }))
    });
}

struct Rten {
    model: Model,
    pool: Arc<ThreadPool>,
    is_float: bool,
    shape: Vec<usize>,
    input: Option<Value>,
    output: Option<Value>,
}

impl Peer for Rten {
    fn put(&mut self, sample: &[u8]) -> Result<()> {
        let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        self.input = Some(if self.is_float {
            Tensor::from_data(&self.shape, sample.chunks_exact(4).map(float).collect::<Vec<f32>>()).into()
        } else {
            Tensor::from_data(&self.shape, sample.to_vec()).into()
        });
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let input: ValueOrView<'_> = self.input.as_ref().ok_or("no input")?.into();
        let mut options = RunOptions::default();
        options.thread_pool = Some(self.pool.clone());
        self.output = Some(self.model.run_one(input, Some(options)).map_err(text)?);
        Ok(())
    }

    fn get(&mut self) -> Result<Vec<f32>> {
        let output = self.output.take().ok_or("no output")?;
        if self.is_float {
            let output: Tensor<f32> = output.try_into().map_err(|_| "the output is not float")?;
            return Ok(output.to_vec());
        }
        let output: Tensor<u8> = output.try_into().map_err(|_| "the output is not u8")?;
        Ok(output.to_vec().into_iter().map(|b| f32::from(b) - 128.0).collect())
    }
}
