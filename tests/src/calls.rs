//! A model that does nearly nothing: what is measured with it is the call.

use fleetfoot_format::{
    bundle::{Budget, Header, SectionKind},
    graph::{self, Io, IoType, Lut, Record, Span, Step},
};
use fleetfoot_trust::{SigningKey, sign_bundle};

/// A signed bundle whose model has `len` inputs and looks the first 16 of them up in a table.
///
/// # Panics
/// Where it cannot be made: this is for tests.
#[must_use]
pub fn bundle(len: u32, key: &SigningKey) -> Vec<u8> {
    let io = |name, offset, len: u32| Io {
        name,
        dtype: IoType::Int8,
        dims: [1, len].into_iter().collect(),
        scale: 1.0,
        zero_point: 0,
        span: Span { offset, len },
    };
    let (input, output) = (io("in", 0, len), io("out", len, 16));
    let looked_at = Span { offset: 0, len: 16 };
    let lut = Lut { input: looked_at, output: output.span, table: Span { offset: 0, len: 256 } };
    let steps = [Record { name: "table", step: Step::Lut(lut) }];
    let graph = graph::write(&[input], &[output], len + 16, 256, &steps).expect("a graph");
    let header = Header {
        model: "calls",
        version: "1.0.0",
        number: 1,
        total_len: 0,
        min_runtime: (0, 1),
        target: "portable",
        budget: Budget::default(),
        sections: Default::default(),
    };
    let parts = [(SectionKind::GRAPH, &graph[..]), (SectionKind::WEIGHTS, &[7; 256][..])];
    let mut bundle = fleetfoot_quantize::assemble(header, &parts, &[key.public()]).expect("a bundle");
    sign_bundle(&mut bundle, key).expect("a signature");
    bundle
}
