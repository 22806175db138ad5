//! An inference layer by layer gives what one at a stretch gives.

use fleetfoot_engine::{EngineError, Kernels, Model, Session};

mod support;

#[repr(align(16))]
struct Aligned([u8; 1 << 16]);

#[test]
fn step_by_step_is_a_run() {
    let plan = support::small();
    let mut weights = Box::new(Aligned([0; 1 << 16]));
    weights.0[..plan.weights.len()].copy_from_slice(&plan.weights);
    let model = Model::open(&plan.graph[..], &weights.0[..plan.weights.len()]).expect("sound");
    let kernels = Kernels::detect();
    let mut arena = vec![0; model.arena_len(kernels)];
    let mut session = Session::new(&model, kernels, &mut arena).expect("enough");
    let inputs = [3u8, 90, 200].map(|seed| {
        let len = model.inputs()[0].span.len as usize;
        (0..len).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect::<Vec<u8>>()
    });
    for input in &inputs {
        session.set_input(0, input).expect("as long as it must be");
        session.run().expect("runs");
        let want = session.output(0).expect("there").to_vec();

        session.set_input(0, input).expect("as long as it must be");
        let mut steps = 1;
        while session.step().expect("runs") {
            steps += 1;
        }
        assert_eq!(steps, model.records().count());
        assert_eq!(session.output(0).expect("there"), want, "{steps} steps");

        // A run in the middle of steps begins anew, and so do the steps behind it.
        session.set_input(0, input).expect("as long as it must be");
        assert!(session.step().expect("runs"));
        session.set_input(0, input).expect("as long as it must be");
        session.run().expect("runs");
        assert_eq!(session.output(0).expect("there"), want);
        session.set_input(0, input).expect("as long as it must be");
        while session.step().expect("runs") {}
        assert_eq!(session.output(0).expect("there"), want);
    }
    let need = model.arena_len(kernels);
    let refused = Session::new(&model, kernels, &mut arena[..need - 1]).err();
    assert_eq!(refused, Some(EngineError::ArenaTooSmall { need, have: need - 1 }));
}
