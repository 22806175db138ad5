//! A model in memory, ready for sessions.

use fleetfoot_engine as engine;
use fleetfoot_format::bundle::SectionKind;
use fleetfoot_kernels::Kernels;
use fleetfoot_plan::Plan;

use crate::{error::Error, map::Bytes, verified::VerifiedFile};

/// A model whose plan is proved sound. Weights stay in the mapped file; the graph is a copy, so that a file that changes
/// under a running process cannot change what was checked.
#[derive(Clone, Debug)]
pub struct Model {
    engine: engine::Model<Bytes>,
    graph_len: usize,
}

impl Model {
    /// From a verified bundle.
    ///
    /// # Errors
    /// [`Error::Format`] where a section is missing, [`Error::Engine`] where the plan is not sound.
    pub fn from_file(file: &VerifiedFile) -> Result<Self, Error> {
        let section = |kind: SectionKind| {
            let what = kind.name();
            file.section(kind).ok_or(Error::Format(fleetfoot_format::FormatError::MissingSection { what }))
        };
        let graph = Bytes::aligned_copy(section(SectionKind::GRAPH)?.as_ref());
        let graph_len = graph.as_ref().len();
        Ok(Self { engine: engine::Model::open(graph, section(SectionKind::WEIGHTS)?)?, graph_len })
    }

    /// From a plan made in memory: no signature vouches for it. For trying raw model files, not for devices.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn open_unsigned(plan: &Plan) -> Result<Self, Error> {
        let (graph, weights) = (Bytes::aligned_copy(&plan.graph), Bytes::aligned_copy(&plan.weights));
        Ok(Self { engine: engine::Model::open(graph, weights)?, graph_len: plan.graph.len() })
    }

    /// The engine's view: inputs, outputs, steps.
    #[must_use]
    pub const fn engine(&self) -> &engine::Model<Bytes> {
        &self.engine
    }

    /// Bytes of the graph, of which a model keeps a copy.
    #[must_use]
    pub const fn graph_len(&self) -> usize {
        self.graph_len
    }

    /// Bytes of arena that a session of one thread with `kernels` takes.
    #[must_use]
    pub fn arena_len(&self, kernels: Kernels) -> usize {
        self.engine.arena_len(kernels)
    }

    /// Bytes of all inputs together, as a golden case stores them.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.engine.inputs().iter().map(|t| t.span.len as usize).sum()
    }
}
