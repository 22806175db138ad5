//! `--apply`: does what the report asks for, one thing after the other, and keeps what helps.

use crate::{
    cause::{Cause, Fix},
    data::Data,
    float::{Options, Quantized, quantize},
    float_error::QuantizeError as Error,
};

/// Something that was tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Applied {
    /// What.
    pub fix: Fix,
    /// Signal to noise of the output before, dB.
    pub before_db: f64,
    /// And with it, dB.
    pub after_db: f64,
    /// Whether it was kept: it made the output truer.
    pub kept: bool,
}

/// Quantizes; then, as long as the report of a layer names something that can be done, tries it and keeps it if the output has
/// less noise. Ends by itself: no fix is tried twice.
///
/// # Errors
/// Those of [`quantize`].
pub fn mend(
    bytes: &[u8],
    data: &Data,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(Quantized, Vec<Applied>), Error> {
    let mut best = quantize(bytes, data, options, progress)?;
    let mut applied: Vec<Applied> = Vec::new();
    while let Some(fix) = wished(&best).into_iter().find(|fix| applied.iter().all(|a| a.fix != *fix)) {
        let other = quantize(bytes, data, &best.options.with(fix), progress)?;
        let kept = other.ratio > best.ratio;
        applied.push(Applied { fix, before_db: best.sqnr_db, after_db: other.sqnr_db, kept });
        if kept {
            best = other;
        }
    }
    Ok((best, applied))
}

/// What the layers ask for, the worst first.
fn wished(made: &Quantized) -> Vec<Fix> {
    let mut layers: Vec<_> = made.layers.iter().collect();
    layers.sort_by_key(|layer| layer.rank);
    layers.iter().flat_map(|layer| &layer.causes).filter_map(Cause::fix).collect()
}
