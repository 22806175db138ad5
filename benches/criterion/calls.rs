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
use fleetfoot_tests::calls::bundle;
use fleetfoot_trust::SigningKey;

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
