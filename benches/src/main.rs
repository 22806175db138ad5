//! Our side of `cargo xtask bench peers`: the library in a process of its own, asked as the others are.
#![forbid(unsafe_code)]

#[path = "../peers/src/protocol.rs"]
mod protocol;

use std::sync::Arc;

use fleetfoot::{Kernels, Model, Session, format::graph::IoType};
use protocol::{Args, Peer, Result, serve, text};

fn main() {
    let args = match Args::read() {
        Ok(args) => args,
        Err(why) => return eprintln!("{why}"),
    };
    // `NAME` is `fleetfoot` or `fleetfoot:ISA`.
    let kernels = match args.name.split_once(':') {
        Some((_, isa)) => Kernels::by_name(isa),
        None => Some(Kernels::detect()),
    };
    let Some(kernels) = kernels else { return println!("absent this CPU does not have it") };
    let version = format!("{}/{}", env!("CARGO_PKG_VERSION"), kernels.name());
    serve(&args, 1, &version, || {
        let bytes = std::fs::read(&args.model).map_err(|e| format!("{}: {e}", args.model))?;
        let graph = fleetfoot_import::tflite(&bytes).map_err(text)?;
        let model = Model::open_unsigned(&fleetfoot_plan::plan(&graph).map_err(text)?).map_err(text)?;
        Ok(Box::new(Ours(Session::with_threads(Arc::new(model), kernels, args.threads).map_err(text)?)))
    });
}

struct Ours(Session);

impl Peer for Ours {
    fn put(&mut self, sample: &[u8]) -> Result<()> {
        self.0.set_input(0, sample).map_err(text)
    }

    fn run(&mut self) -> Result<()> {
        self.0.run().map_err(text)
    }

    fn get(&mut self) -> Result<Vec<f32>> {
        let is_signed = self.0.model().engine().output(0).map_err(text)?.dtype == IoType::Int8;
        let value = |&b: &u8| if is_signed { f32::from(b.cast_signed()) } else { f32::from(b) };
        Ok(self.0.output(0).map_err(text)?.iter().map(value).collect())
    }
}
