//! How much faster int8 is than float: by a rule of thumb, and by the clock.

use std::time::{Duration, Instant};

use fleetfoot_engine::{Kernels, Model as Engine};
use fleetfoot_plan::{Aligned, Plan};

use crate::{float_error::QuantizeError as Error, reference::Reference, report::LayerReport};

/// Times of one inference on one thread, microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// In float, through `tract`.
    pub float_us: f64,
    /// In int8, through the engine.
    pub int8_us: f64,
    /// How many times faster int8 should be: a model of costs.
    pub predicted: f64,
}

/// The clock is looked at for no longer than this.
const MOST: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 200;

impl Speed {
    /// Runs both networks on `sample` in turn, and takes the least time of each: what else the machine does adds to times and
    /// never takes away.
    ///
    /// # Errors
    /// Those of running the networks.
    pub fn measure(reference: &Reference, plan: &Plan, layers: &[LayerReport], sample: &[f32]) -> Result<Self, Error> {
        let weights = Aligned::copy_of(&plan.weights);
        let model = Engine::open(&plan.graph[..], weights.as_ref())?;
        let kernels = Kernels::detect();
        let mut arena = Aligned::zeroed(model.bounded_arena_len(kernels, 1)?);
        let (mut float, mut int8) = (Duration::MAX, Duration::MAX);
        let start = Instant::now();
        for round in 0..ROUNDS {
            let before = Instant::now();
            std::hint::black_box(reference.run(sample)?);
            float = float.min(before.elapsed());
            // int8 is over sooner: a few runs for each of float.
            for _ in 0..3 {
                let before = Instant::now();
                model.run(kernels, arena.as_mut())?;
                int8 = int8.min(before.elapsed());
            }
            if round >= 2 && start.elapsed() > MOST {
                break;
            }
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let predicted = predict(layers, kernels.name());
        Ok(Self { float_us: us(float), int8_us: us(int8), predicted })
    }

    /// How many times faster int8 is.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.float_us / self.int8_us.max(1e-3)
    }
}

/// A roofline of the core: each layer takes as long as its multiplications or its bytes, whichever is longer. int8 has a quarter
/// of the bytes, and as many multiplications at once as the instruction set has for it, next to fused ones in float32.
fn predict(layers: &[LayerReport], isa: &str) -> f64 {
    // Multiply-accumulates per cycle in float32 and in int8.
    let (float, int8) = match isa {
        "avx512vnni" => (32.0, 128.0),
        "avxvnni" => (16.0, 64.0),
        "avx2" => (16.0, 32.0),
        "i8mm" => (8.0, 64.0),
        "dotprod" => (8.0, 32.0),
        "neon" => (8.0, 16.0),
        _ => (1.0, 1.0),
    };
    // From a cache near the core.
    const BYTES: f64 = 32.0;
    let time = |rate: f64, width: f64| -> f64 {
        layers.iter().map(|l| (l.macs as f64 / rate).max(l.bytes as f64 * width / BYTES)).sum()
    };
    let (float, int8) = (time(float, 4.0), time(int8, 1.0));
    if int8 > 0.0 { float / int8 } else { 1.0 }
}
