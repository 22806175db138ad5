//! The file `.ffm`: a planned int8 network without signature, golden vectors or budget. `docs/formats.md` has its layout.
//!
//! It holds the sections *graph* and *weights* of a bundle, so that what opens a bundle opens this, with the same proofs.

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_plan::{Aligned, Plan, Removed};
use fleetfoot_trust::Sha256;

use crate::float_error::QuantizeError as Error;

/// The first bytes: not text, not a bundle, damaged by what damages text.
const MAGIC: [u8; 8] = *b"\x89FFM\r\n\x1a\n";
const VERSION: u32 = 2;
/// Where the hashes of where it comes from begin; then the sum, then what it sums.
const SOURCES: usize = 24;
const SUM: usize = 88;
const HEAD_LEN: usize = 104;
/// The longest text of options.
const MAX_CONFIG_LEN: usize = 1024;

/// A network from or for a file `.ffm`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ffm {
    /// The plan.
    pub plan: Plan,
    /// SHA-256 of the float network that it was made from.
    pub source_sha256: [u8; 32],
    /// SHA-256 of the samples that it was calibrated with, as float32 one after another.
    pub data_sha256: [u8; 32],
    /// What it was made with; at most 1024 bytes.
    pub config: String,
}

impl Ffm {
    /// Whether `bytes` are of this kind of file.
    #[must_use]
    pub fn is(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Plan { graph, weights, .. } = &self.plan;
        let config = &self.config.as_bytes()[..self.config.floor_char_boundary(MAX_CONFIG_LEN)];
        let mut out = Vec::with_capacity(HEAD_LEN + graph.len() + weights.len() + config.len());
        out.extend_from_slice(&MAGIC);
        for word in [VERSION, graph.len() as u32, weights.len() as u32, config.len() as u32] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.source_sha256);
        out.extend_from_slice(&self.data_sha256);
        out.extend_from_slice(&[0; HEAD_LEN - SUM]);
        out.extend_from_slice(graph);
        out.extend_from_slice(weights);
        out.extend_from_slice(config);
        let sum = sum(&out);
        out[SUM..HEAD_LEN].copy_from_slice(&sum);
        out
    }

    /// Reads a file and proves that the engine can run it.
    ///
    /// # Errors
    /// [`Error::Ffm`] for a damaged file, [`Error::Engine`] for a plan that the engine does not take.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |what| Error::Ffm { what };
        let head: &[u8; HEAD_LEN] = bytes.first_chunk().ok_or_else(|| damaged("it ends within its head"))?;
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        if !Self::is(head) || word(8) != VERSION as usize || word(20) > MAX_CONFIG_LEN {
            return Err(damaged("its head is not one of version 2"));
        }
        let (graph_len, weights_len, config_len) = (word(12), word(16), word(20));
        let content = &bytes[HEAD_LEN..];
        if graph_len.checked_add(weights_len).and_then(|len| len.checked_add(config_len)) != Some(content.len()) {
            return Err(damaged("its length is not what its head says"));
        }
        if sum(bytes) != head[SUM..] {
            return Err(damaged("its bytes are not those that were written"));
        }
        let (graph, rest) = content.split_at(graph_len);
        let (weights, config) = rest.split_at(weights_len);
        let config = std::str::from_utf8(config).map_err(|_| damaged("its options are no text"))?.to_owned();
        let aligned = Aligned::copy_of(weights);
        let model = Model::open(graph, aligned.as_ref())?;
        let plan = Plan {
            graph: graph.to_vec(),
            weights: weights.to_vec(),
            arena_len: model.arena_len(Kernels::scalar()) as u32,
            // Of the network it was planned from, which is not here: the bound of the plan itself.
            arena_lower_bound: model.arena_len(Kernels::scalar()) as u64,
            macs: model.records().map(|record| record.step.macs()).sum(),
            removed: Removed::default(),
        };
        let hash = |at: usize| std::array::from_fn(|i| head[at + i]);
        Ok(Self { plan, source_sha256: hash(SOURCES), data_sha256: hash(SOURCES + 32), config })
    }
}

/// Over everything but the lengths and itself. Against damage, not against people: nobody signs this.
fn sum(file: &[u8]) -> [u8; HEAD_LEN - SUM] {
    let mut hash = Sha256::new();
    hash.update(&file[SOURCES..SUM]);
    hash.update(&file[HEAD_LEN..]);
    let whole = hash.finish();
    std::array::from_fn(|i| whole[i])
}
