//! The file `.ffm`: a planned int8 network without signature, golden vectors or budget. `docs/formats.md` has its layout.
//!
//! It holds the sections *graph* and *weights* of a bundle, so that what opens a bundle opens this, with the same proofs.

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_plan::{Aligned, Plan, Removed};
use fleetfoot_trust::sha256;

use crate::float_error::QuantizeError as Error;

/// The first bytes: not text, not a bundle, damaged by what damages text.
const MAGIC: [u8; 8] = *b"\x89FFM\r\n\x1a\n";
const VERSION: u32 = 1;
const HEAD_LEN: usize = 72;

/// A network from or for a file `.ffm`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ffm {
    /// The plan.
    pub plan: Plan,
    /// SHA-256 of the float network that it was made from.
    pub source_sha256: [u8; 32],
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
        let mut out = Vec::with_capacity(HEAD_LEN + graph.len() + weights.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(graph.len() as u32).to_le_bytes());
        out.extend_from_slice(&(weights.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.source_sha256);
        // Against damage, not against people: nobody signs this.
        let mut content = graph.clone();
        content.extend_from_slice(weights);
        out.extend_from_slice(&sha256(&content)[..16]);
        out.extend_from_slice(&content);
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
        if !Self::is(head) || word(8) != VERSION as usize || word(20) != 0 {
            return Err(damaged("its head is not one of version 1"));
        }
        let (graph_len, weights_len) = (word(12), word(16));
        let content = &bytes[HEAD_LEN..];
        if graph_len.checked_add(weights_len) != Some(content.len()) {
            return Err(damaged("its length is not what its head says"));
        }
        if sha256(content)[..16] != head[56..] {
            return Err(damaged("its bytes are not those that were written"));
        }
        let (graph, weights) = content.split_at(graph_len);
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
        let mut source_sha256 = [0; 32];
        source_sha256.copy_from_slice(&head[24..56]);
        Ok(Self { plan, source_sha256 })
    }
}
