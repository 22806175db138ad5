//! What a call costs: a model that does nearly nothing (a table over 16 bytes), run by the facade and through the C interface, also with a buffer of 150 kB.
//!
//! `cargo bench -p fleetfoot-benches --bench calls`
#![allow(missing_docs)]

use std::{hint::black_box, ptr, sync::Arc};

use criterion::Criterion;
use fleetfoot::{Bytes, Kernels, Keys, Model, Session, VerifiedFile};
use fleetfoot_c::{
    ff_model_from_memory, ff_model_release, ff_session_bind_input, ff_session_create, ff_session_release,
    ff_session_run,
};
use fleetfoot_format::{
    bundle::{Budget, Header, SectionKind},
    graph::{self, Io, IoType, Lut, Record, Span, Step},
};
use fleetfoot_trust::{SigningKey, sign_bundle};

/// A bundle whose model has `len` inputs and looks the first 16 of them up in a table.
fn bundle(len: u32, key: &SigningKey) -> Vec<u8> {
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

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let key = SigningKey::from_seed(&[1; 32]);
    let public = key.public();
    for (name, len) in [("16 bytes", 16_u32), ("150 kB", 150_000)] {
        let bundle = bundle(len, &key);
        let keys = Keys::new(&[public], 1).expect("a key");
        let file = VerifiedFile::of_bytes(Bytes::aligned_copy(&bundle), &keys).expect("a good bundle");
        let model = Arc::new(Model::from_file(&file).expect("a model"));
        let mut session = Session::new(model, Kernels::detect()).expect("a session");
        criterion.bench_function(&format!("facade, {name}"), |b| b.iter(|| black_box(&mut session).run()));

        let (mut model, mut session, none) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        let input = vec![1_u8; len as usize];
        // SAFETY: the bundle, the key and the input are as long as is said, and outlive the session.
        unsafe {
            let data = bundle.as_ptr().cast();
            assert_eq!(ff_model_from_memory(data, bundle.len(), public.as_ptr(), 1, 1, &raw mut model, none), 0);
            assert_eq!(ff_session_create(model, ptr::null(), &raw mut session, none), 0);
        }
        // SAFETY: the handle is open, and NULL is allowed for the others.
        let mut run = || unsafe { ff_session_run(black_box(session), ptr::null_mut(), ptr::null_mut()) };
        criterion.bench_function(&format!("C, {name}, input in its place"), |b| b.iter(&mut run));
        // SAFETY: as above.
        assert_eq!(unsafe { ff_session_bind_input(session, 0, input.as_ptr().cast(), input.len(), none) }, 0);
        criterion.bench_function(&format!("C, {name}, input bound: one copy"), |b| b.iter(&mut run));
        ff_session_release(session);
        ff_model_release(model);
    }
    criterion.final_summary();
}
