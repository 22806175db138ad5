//! A model in memory, ready for sessions.

use fleetfoot_engine as engine;
use fleetfoot_format::bundle::SectionKind;
use fleetfoot_kernels::Kernels;
use fleetfoot_plan::Plan;

use crate::{
    error::Error,
    map::Bytes,
    process::{self, Processing},
    verified::VerifiedFile,
};

/// A model whose plan is proved sound. Weights stay in the mapped file; the graph is a copy, so that a file that changes
/// under a running process cannot change what was checked.
#[derive(Clone, Debug)]
pub struct Model {
    engine: engine::Model<Bytes>,
    graph_len: usize,
    pub(crate) processing: Processing,
}

impl Model {
    /// From a verified bundle.
    ///
    /// # Errors
    /// [`Error::Format`] where a section is missing, [`Error::Engine`] where the plan is not sound, [`Error::Preprocess`] where raw inputs would not
    /// become the input of the model.
    pub fn from_file(file: &VerifiedFile) -> Result<Self, Error> {
        let section = |kind: SectionKind| {
            let what = kind.name();
            file.section(kind).ok_or(Error::Format(fleetfoot_format::FormatError::MissingSection { what }))
        };
        let graph = Bytes::aligned_copy(section(SectionKind::GRAPH)?.as_ref());
        let graph_len = graph.as_ref().len();
        let engine = engine::Model::open(graph, section(SectionKind::WEIGHTS)?)?;
        let [preprocess, postprocess] = process::SECTIONS.map(|kind| file.section(kind));
        let bytes = [&preprocess, &postprocess].map(|section| section.as_ref().map(AsRef::as_ref));
        let processing = Processing::new(&engine, bytes[0], bytes[1], file.labels())?;
        Ok(Self { engine, graph_len, processing })
    }

    /// From a plan made in memory: no signature vouches for it. For trying raw model files, not for devices.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn open_unsigned(plan: &Plan) -> Result<Self, Error> {
        let (graph, weights) = (Bytes::aligned_copy(&plan.graph), Bytes::aligned_copy(&plan.weights));
        let engine = engine::Model::open(graph, weights)?;
        Ok(Self { engine, graph_len: plan.graph.len(), processing: Processing::default() })
    }

    /// The same with the sections *preprocess* and *postprocess* and the labels that a bundle of it is to have.
    ///
    /// # Errors
    /// [`Error::Format`] where a section does not decode, [`Error::Preprocess`] where it does not fit the model.
    pub fn with_processing(
        self,
        preprocess: Option<&[u8]>,
        postprocess: Option<&[u8]>,
        labels: Vec<String>,
    ) -> Result<Self, Error> {
        let processing = Processing::new(&self.engine, preprocess, postprocess, labels)?;
        Ok(Self { processing, ..self })
    }

    /// The engine's view: inputs, outputs, steps.
    #[must_use]
    pub const fn engine(&self) -> &engine::Model<Bytes> {
        &self.engine
    }

    /// Bytes of the graph and of the settings for raw inputs and answers, of which a model keeps copies.
    #[must_use]
    pub(crate) fn copied_len(&self) -> usize {
        self.graph_len + self.processing.len()
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
