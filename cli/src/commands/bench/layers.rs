//! `bench --per-op`: what each step takes, beside the whole, and how near it comes to the best of this core.
//!
//! ```text
//! for many rounds, in turn, so that noise hits both:
//!     one inference with the clock read around it       -> the least is the whole
//!     one inference with the clock read between steps   -> the least of each step
//! ```
//! Reading the clock takes time itself, also measured as the least of many; it comes off every difference of two readings. The
//! sum of the steps is then near the whole: the ratio is printed, so that a reader sees how far to trust the rows. The
//! best of this core is measured too: [`Kernels::peak`].

use std::time::{Duration, Instant};

use fleetfoot::{Kernels, Session};
use serde_json::{Value, json};

use super::{fill, micros};
use crate::{failure::Failure, output::table};

/// Rounds go on for at least this long, or small networks would see only a moment.
const AT_LEAST: Duration = Duration::from_millis(400);
/// Steps of the loop that measures the peak at once: a fraction of a millisecond.
const PEAK_STEPS: u32 = 20_000;

/// A step of the plan and what is known of it before it runs.
pub(super) struct Step {
    pub(super) name: String,
    pub(super) op: &'static str,
    pub(super) macs: u64,
    pub(super) bytes: u64,
}

/// The least times of all steps and of the whole, in microseconds.
pub(super) struct PerOp {
    us: Vec<f64>,
    whole_us: f64,
    /// Multiply-accumulates of this core in a microsecond, where the instruction set has a peak.
    peak: Option<f64>,
}

impl PerOp {
    pub(super) fn measure(session: &mut Session, n_steps: usize, runs: u32) -> Result<Self, Failure> {
        let clock = clock_cost();
        let mut peak = Peak::new(session.kernels());
        let mut least = vec![Duration::MAX; n_steps];
        let mut whole = Duration::MAX;
        let begin = Instant::now();
        let mut rounds = 0;
        while rounds < runs || begin.elapsed() < AT_LEAST {
            rounds += 1;
            // The core must be at the same speed when its peak is measured.
            if rounds % 8 == 1 {
                peak.round();
            }
            fill(session)?;
            let start = Instant::now();
            session.run()?;
            whole = whole.min(start.elapsed());
            fill(session)?;
            let mut last = Instant::now();
            session.run_observed(|step| {
                let now = Instant::now();
                least[step.index] = least[step.index].min(now - last);
                last = now;
            })?;
        }
        // A step that takes no longer than the clock shows as the shortest time that is one.
        let net = |time: Duration| micros(time.saturating_sub(clock).max(Duration::from_nanos(1)));
        let us = least.into_iter().map(net).collect();
        Ok(Self { us, whole_us: net(whole), peak: peak.per_us() })
    }

    fn sum_us(&self) -> f64 {
        self.us.iter().sum()
    }

    /// Of the most that this core could have done in the time of a step; none without multiply-accumulates.
    fn share_of_peak(&self, macs: u64, us: f64) -> Option<f64> {
        self.peak.filter(|_| macs > 0 && us > 0.0).map(|peak| macs as f64 / us / peak)
    }

    /// For people.
    pub(super) fn text(&self, steps: &[Step]) -> String {
        let sum = self.sum_us();
        let rows = steps.iter().zip(&self.us).map(|(step, &us)| {
            let rate = if step.macs > 0 { format!("{:.1}", step.macs as f64 / us / 1e3) } else { String::new() };
            let share = self.share_of_peak(step.macs, us).map_or(String::new(), percent);
            vec![
                step.op.to_string(),
                format!("{us:.2}"),
                percent(us / sum),
                step.macs.to_string(),
                step.bytes.to_string(),
                rate,
                share,
                step.name.clone(),
            ]
        });
        let mut text = table(&["op", "us", "time", "MACs", "bytes", "GMAC/s", "of peak", "layer"], rows);
        let whole = self.whole_us;
        text += &format!("\nsum of the layers {sum:.2} us, whole inference {whole:.2} us, ratio {:.3}\n", sum / whole);
        text += &match self.peak {
            Some(peak) => {
                let macs: u64 = steps.iter().map(|step| step.macs).sum();
                let share = percent(macs as f64 / whole / peak);
                format!("peak of this core, measured: {:.1} GMAC/s; the whole inference reaches {share}\n", peak / 1e3)
            }
            None => "this instruction set has no peak to compare with\n".into(),
        };
        text
    }

    /// `layers` of the contract, with the share of the peak, and what it was measured against.
    pub(super) fn json(&self, steps: &[Step]) -> (Vec<Value>, Value) {
        let layers = steps.iter().zip(&self.us).map(|(step, &us)| {
            json!({
                "name": step.name, "op": step.op, "us": us, "macs": step.macs, "bytes": step.bytes,
                "share_of_peak": self.share_of_peak(step.macs, us),
            })
        });
        let sum = self.sum_us();
        let summary = json!({
            "layers_us": sum, "whole_us": self.whole_us, "layers_over_whole": sum / self.whole_us,
            "peak_gmacs": self.peak.map(|peak| peak / 1e3),
        });
        (layers.collect(), summary)
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// What one reading of the clock adds to the difference of two.
fn clock_cost() -> Duration {
    let readings = || {
        let start = Instant::now();
        Instant::now() - start
    };
    (0..10_000).map(|_| readings()).min().unwrap_or_default()
}

/// The peak of this core: the best of many short loops.
struct Peak {
    kernels: Kernels,
    best: f64,
}

impl Peak {
    fn new(kernels: Kernels) -> Self {
        let mut this = Self { kernels, best: 0.0 };
        (0..8).for_each(|_| this.round());
        this
    }

    fn round(&mut self) {
        let start = Instant::now();
        let macs = self.kernels.peak(PEAK_STEPS);
        self.best = self.best.max(macs as f64 / micros(start.elapsed()));
    }

    fn per_us(&self) -> Option<f64> {
        (self.best > 0.0).then_some(self.best)
    }
}
