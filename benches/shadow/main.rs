//! What a candidate in the shadow costs the calls of the application: `cargo bench -p fleetfoot-benches --bench shadow`.
//!
//! One device, one network as the version that serves and as the candidate, from a signed repository; one thread that calls. Blocks of
//! calls with the shadow on and off take turns, the order of each pair by a coin, so that whatever else the machine does hits
//! both. Of each block the 99th percentile and the median count; reported are the medians of the ratios over all pairs, and the
//! percentiles of all calls. `--blocks N`, `--calls N` and `--pause MICROSECONDS` between two calls change the numbers.
#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement that cannot be made must say so")]

#[path = "../../runtime/fleetfoot/tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use fleetfoot::{Agent, AgentConfig, Live, agent::Outcome, live::Conditions, transport::FolderTransport};
use fleetfoot_update::{Config, ShadowGate};
use support::{Body, MODEL, NOW, Release, Repository};

fn main() {
    // Criterion's benches are asked for the same way; `--bench` is what cargo adds.
    let number = |name: &str, default: usize| {
        let mut args = std::env::args().skip_while(|arg| arg != name);
        args.nth(1).map_or(default, |n| n.parse().expect("a number"))
    };
    let (blocks, calls) = (number("--blocks", 60), number("--calls", 1000));
    let pause = Duration::from_micros(number("--pause", 0) as u64);
    println!("{blocks} pairs of blocks of {calls} calls, {} us between two", pause.as_micros());
    println!(
        "{:24} {:>10} {:>10} {:>8} {:>10} {:>8} {:>7} {:>7}",
        "", "p99 off", "p99 on", "ratio", "ratio", "ratio", "", ""
    );
    println!(
        "{:24} {:>10} {:>10} {:>8} {:>10} {:>8} {:>7} {:>7}",
        "network", "us", "us", "of all", "of pairs", "median", "runs", "dropped"
    );
    for (name, path) in NETWORKS {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        if !path.exists() {
            println!("{name:24} not there");
            continue;
        }
        measure(name, &path, blocks, calls, pause);
    }
}

const NETWORKS: [(&str, &str); 3] = [
    ("digits", "examples/digits/digits_v2.tflite"),
    ("kws", "../shared/models/mlperf-tiny/kws_logits_int8.tflite"),
    ("ic", "../shared/models/mlperf-tiny/ic_logits_int8.tflite"),
];

fn measure(name: &str, path: &std::path::Path, blocks: usize, calls: usize, pause: Duration) {
    let graph = fleetfoot_import::tflite(&std::fs::read(path).unwrap()).unwrap();
    let plan = fleetfoot_plan::plan(&graph).unwrap();
    let release = |number| Release {
        plan: Some((plan.graph.clone(), plan.weights.clone())),
        body: Body::Table,
        ..Release::new(number)
    };
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let shadow = Some(ShadowGate { min_runs: u32::MAX, ..ShadowGate::default() });
    let transport = Box::new(FolderTransport::new(&repository.dir));
    let config = AgentConfig {
        limits: Config { shadow, ..Config::DEFAULT },
        ..AgentConfig::new(dir.path().join("store"), MODEL, &repository.root(), transport)
    };
    repository.publish(&[release(1)]);
    let mut agent = Agent::open(config, NOW).unwrap();
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    agent.tick(NOW + 100_000).unwrap();
    repository.publish(&[release(1), release(2)]);
    let outcome = agent.poll(NOW);
    assert!(matches!(outcome, Outcome::Shadow(_)), "{outcome:?}");
    let live = agent.live();
    let mut session = live.session().unwrap();
    let inputs = graph.inputs.len();
    let mut block = |on: bool, seed: usize| {
        live.set_conditions(Conditions { low_battery: !on, ..Conditions::default() });
        let mut times = Vec::with_capacity(calls);
        for call in 0..calls {
            for index in 0..inputs {
                let input = session.input_mut(index).unwrap();
                input.iter_mut().enumerate().for_each(|(i, b)| *b = ((i + seed) * (call + 37)) as u8);
            }
            let start = Instant::now();
            session.run().unwrap();
            times.push(start.elapsed());
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        times
    };
    block(true, 0);
    let (mut all, mut ratios, mut medians) = ([Vec::new(), Vec::new()], Vec::new(), Vec::new());
    for pair in 0..blocks {
        let first_on = ((pair * 0x9E37_79B9) >> 16) & 1 == 1;
        let mut pairs = [Vec::new(), Vec::new()];
        for on in [first_on, !first_on] {
            pairs[usize::from(on)] = block(on, pair);
        }
        let [off, on] = &mut pairs;
        ratios.push(percentile(on, 99).as_secs_f64() / percentile(off, 99).as_secs_f64());
        medians.push(percentile(on, 50).as_secs_f64() / percentile(off, 50).as_secs_f64());
        all[0].append(off);
        all[1].append(on);
    }
    let [off, on] = all.map(|mut times| percentile(&mut times, 99));
    let median = |ratios: &mut Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let (runs, dropped) = shadow_runs(&live);
    println!(
        "{name:24} {:10.1} {:10.1} {:8.3} {:10.3} {:8.3} {runs:7} {dropped:7}",
        off.as_secs_f64() * 1e6,
        on.as_secs_f64() * 1e6,
        on.as_secs_f64() / off.as_secs_f64(),
        median(&mut ratios),
        median(&mut medians),
    );
}

fn shadow_runs(live: &Live) -> (u32, u64) {
    live.status().shadow.map_or((0, 0), |shadow| (shadow.agreement.runs, shadow.dropped))
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent).div_ceil(100) - 1]
}
