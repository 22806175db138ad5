//! Whole networks, each with every instruction set of this CPU: `cargo xtask bench models [FILTER]`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fleetfoot::Kernels;

fn models(c: &mut Criterion) {
    let networks = match fleetfoot_benches::networks() {
        Ok(networks) => networks,
        Err(fault) => return eprintln!("{fault}"),
    };
    for network in networks {
        let macs = network.model.engine().records().map(|r| r.step.macs()).sum();
        let mut group = c.benchmark_group(network.name);
        group.throughput(Throughput::Elements(macs)).sample_size(20);
        for kernels in Kernels::available() {
            let mut session = match network.session(kernels) {
                Ok(session) => session,
                Err(fault) => return eprintln!("{}: {fault}", network.name),
            };
            group.bench_function(kernels.name(), |b| b.iter(|| session.run()));
        }
    }
}

criterion_group!(benches, models);
criterion_main!(benches);
