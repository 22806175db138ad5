//! A session has the threads that it was asked for, and none beyond: counted in `/proc`, in a test of its own because
//! the threads of other tests would be counted, too.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a session that cannot be made must fail the test")]

use std::{fs, sync::Arc, thread, time::Duration};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_plan::{
    graph::{ElementType, Graph, Op, OpKind, Quant, Tensor, TensorId},
    plan,
};

fn model() -> Arc<Model> {
    let quant = |scale| Some(Quant { scales: vec![scale], zero_points: vec![0], axis: 0 });
    let tensor = |name: &str, scale| Tensor {
        name: name.into(),
        shape: vec![1, 8],
        dtype: ElementType::Int8,
        quant: quant(scale),
        data: None,
    };
    let (input, output) = (TensorId(0), TensorId(1));
    let op = Op { position: 0, kind: OpKind::Tanh, inputs: vec![Some(input)], outputs: vec![output] };
    let graph = Graph {
        tensors: vec![tensor("x", 0.1), tensor("y", 1.0 / 128.0)],
        ops: vec![op],
        inputs: vec![input],
        outputs: vec![output],
    };
    Arc::new(Model::open_unsigned(&plan(&graph).unwrap()).unwrap())
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Waits for threads that were joined to leave `/proc`, too.
fn settles_at(n: usize) -> bool {
    (0..2000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        threads() == n
    })
}

#[test]
fn one_thread_is_none_and_drops_end_the_others() {
    let (model, kernels, before) = (model(), Kernels::detect(), threads());
    let mut alone = Session::new(Arc::clone(&model), kernels).unwrap();
    alone.run().unwrap();
    alone.run_batch(&[&[0; 80]]).unwrap();
    assert_eq!(threads(), before);

    let mut three = Session::with_threads(Arc::clone(&model), kernels, 3).unwrap();
    assert!(settles_at(before + 2));
    three.run().unwrap();
    three.run_batch(&[&[0; 80]]).unwrap();
    let two = Session::with_threads(model, kernels, 2).unwrap();
    assert!(settles_at(before + 3));
    drop(three);
    assert!(settles_at(before + 1));
    drop(two);
    assert!(settles_at(before));
}
