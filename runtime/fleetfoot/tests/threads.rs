//! Sessions with threads give the bytes of sessions without, many at a time and from any thread; batches give those of
//! their items.
#![allow(clippy::unwrap_used, reason = "a session that cannot be made must fail the test")]

use std::{sync::Arc, thread};

use fleetfoot::{Error, Kernels, Model, Session, engine::MAX_THREADS};
use fleetfoot_plan::{
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Quant, Tensor, TensorId},
    plan,
};

/// Two inputs, two outputs, and steps that are cut: a convolution by rows, one of a single cell, a depthwise one.
fn model() -> Arc<Model> {
    let mut graph = Graph::default();
    let mut tensor = |shape: &[usize], dtype: ElementType, data: Option<Vec<u8>>| {
        let quant = Some(Quant { scales: vec![0.05], zero_points: vec![0], axis: 0 });
        let name = format!("t{}", graph.tensors.len());
        graph.tensors.push(Tensor { name, shape: shape.to_vec(), dtype, quant, data });
        TensorId(graph.tensors.len() - 1)
    };
    let mut constants = |shape: &[usize], out_c: usize| {
        let data = (0..shape.iter().product::<usize>()).map(|i| (i * 31 % 11) as u8).collect();
        let weights = tensor(shape, ElementType::Int8, Some(data));
        let bias = tensor(&[out_c], ElementType::Int32, Some(vec![0; 4 * out_c]));
        [weights, bias]
    };
    let [w1, b1] = constants(&[16, 3, 3, 16], 16);
    let [w2, b2] = constants(&[32, 1, 1, 16], 32);
    let [w3, b3] = constants(&[1, 3, 3, 32], 32);
    let activations = [16, 16, 16, 32, 16, 32].map(|c| tensor(&[1, 57, 33, c], ElementType::Int8, None));
    let [a, b, after_conv, after_cell, sum, after_depthwise] = activations;
    let (stride, dilation, padding, activation) = ([1, 1], [1, 1], Padding::Same, Activation::None);
    let conv = OpKind::Conv2d { stride, dilation, padding, activation };
    let ops = [
        (conv.clone(), vec![a, w1, b1], after_conv),
        (OpKind::Add { activation }, vec![after_conv, b], sum),
        (conv, vec![sum, w2, b2], after_cell),
        (OpKind::DepthwiseConv2d { stride, dilation, padding, activation }, vec![after_cell, w3, b3], after_depthwise),
    ];
    for (position, (kind, inputs, output)) in ops.into_iter().enumerate() {
        graph.ops.push(Op { position, kind, inputs: inputs.into_iter().map(Some).collect(), outputs: vec![output] });
    }
    (graph.inputs, graph.outputs) = (vec![a, b], vec![sum, after_depthwise]);
    Arc::new(Model::open_unsigned(&plan(&graph).unwrap()).unwrap())
}

fn input(model: &Model, index: usize, items: usize) -> Vec<u8> {
    let len = model.engine().inputs()[index].span.len as usize;
    (0..items * len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The outputs of `item` of `inputs`.
fn single(session: &mut Session, inputs: &[Vec<u8>], item: usize) -> Vec<Vec<u8>> {
    for (index, bytes) in inputs.iter().enumerate() {
        let len = session.input_mut(index).unwrap().len();
        session.set_input(index, &bytes[item * len..][..len]).unwrap();
    }
    session.run().unwrap();
    (0..2).map(|index| session.output(index).unwrap().to_vec()).collect()
}

#[test]
fn many_sessions_from_many_threads() {
    let model = model();
    let kernels = Kernels::detect();
    let inputs = [input(&model, 0, 1), input(&model, 1, 1)];
    let expected = single(&mut Session::new(Arc::clone(&model), kernels).unwrap(), &inputs, 0);
    let rounds = if cfg!(debug_assertions) { 60 } else { 600 };
    thread::scope(|scope| {
        for threads in [1, 2, 3, 5] {
            let mut session = Session::with_threads(Arc::clone(&model), kernels, threads).unwrap();
            assert_eq!(session.threads(), threads);
            let (inputs, expected) = (&inputs, &expected);
            // Made by one thread, used by another, and by a third.
            scope.spawn(move || {
                for _ in 0..rounds {
                    assert!(single(&mut session, inputs, 0) == *expected, "{threads} threads");
                }
                scope.spawn(move || assert!(single(&mut session, inputs, 0) == *expected, "{threads} threads, moved"));
            });
        }
    });
}

#[test]
fn batches_are_their_items() {
    let model = model();
    for kernels in Kernels::available() {
        let mut one = Session::new(Arc::clone(&model), kernels).unwrap();
        for threads in [1, 2, 4] {
            let mut session = Session::with_threads(Arc::clone(&model), kernels, threads).unwrap();
            for items in [0, 1, 2, 3, 4, 5, 7, 9] {
                let inputs = [input(&model, 0, items), input(&model, 1, items)];
                let mut expected = vec![Vec::new(); 2];
                for item in 0..items {
                    for (all, one) in expected.iter_mut().zip(single(&mut one, &inputs, item)) {
                        all.extend(one);
                    }
                }
                let outputs = session.run_batch(&[&inputs[0], &inputs[1]]).unwrap();
                assert!(outputs == expected, "{items} items, {threads} threads, {}", kernels.name());
            }
        }
    }
}

#[test]
fn batches_of_wrong_lengths_are_refused() {
    let model = model();
    let (a, b) = (input(&model, 0, 3), input(&model, 1, 3));
    for threads in [1, 2] {
        let mut session = Session::with_threads(Arc::clone(&model), Kernels::detect(), threads).unwrap();
        let mut code = |inputs: &[&[u8]]| session.run_batch(inputs).map_err(|error| error.code());
        assert_eq!(code(&[]), Err(307));
        assert_eq!(code(&[&a]), Err(307));
        assert_eq!(code(&[&a, &b, &b]), Err(307));
        assert_eq!(code(&[&a[1..], &b]), Err(308));
        assert_eq!(code(&[&a, &b[1..]]), Err(308));
        assert_eq!(code(&[&a, &b[..2 * b.len() / 3]]), Err(308));
        assert!(code(&[&a, &b]).is_ok());
    }
}

#[test]
fn numbers_of_threads_that_are_refused() {
    let model = model();
    for threads in [0, MAX_THREADS + 1, usize::MAX] {
        let error = Session::with_threads(Arc::clone(&model), Kernels::detect(), threads).unwrap_err();
        assert!(matches!(error, Error::ThreadCount { .. }) && error.code() == 433, "{error}");
        assert!(error.to_string().contains("1 to 64"), "{error}");
    }
    let session = Session::with_threads(model, Kernels::detect(), MAX_THREADS).unwrap();
    assert_eq!(session.threads(), MAX_THREADS);
}
