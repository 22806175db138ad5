//! What planning makes of every reference network: an arena near the smallest possible, and no work for constants.
//! `--nocapture` shows the table.
#![allow(clippy::unwrap_used, reason = "a network that cannot be planned must fail the test")]

use fleetfoot_tests::shared;

/// Model, and the channels that cannot change (of which some stay to fill blocks of 16).
const MODELS: &[(&str, usize)] = &[
    ("mlperf-tiny/ad_int8", 0),
    ("mlperf-tiny/ic_int8", 0),
    ("mlperf-tiny/ic_logits_int8", 0),
    ("mlperf-tiny/kws_int8", 0),
    ("mlperf-tiny/kws_logits_int8", 0),
    ("mlperf-tiny/vww_int8", 800),
    ("mlperf-tiny/vww_logits_int8", 800),
    ("imagenet/mobilenet_v1_0.25_128_quant", 0),
    ("imagenet/tf2_mobilenet_v2_1.0_224_ptq", 0),
    ("shapes/efficientnet_lite0_logits_int8", 0),
    ("shapes/mobilenet_v1_1.0_224_logits_int8", 0),
    ("shapes/mobilenet_v2_1.0_224_logits_int8", 0),
    ("shapes/mobilenet_v3_small_logits_int8", 0),
];

#[test]
fn arenas_are_near_the_lower_bound_and_constant_channels_go() {
    for &(name, at_least) in MODELS {
        let Some(path) = shared(&format!("models/{name}.tflite")) else { continue };
        let graph = fleetfoot_import::tflite(&std::fs::read(path).unwrap()).unwrap();
        let (written, plan) = (fleetfoot_plan::plan_as_written(&graph).unwrap(), fleetfoot_plan::plan(&graph).unwrap());
        let ratio = f64::from(plan.arena_len) / plan.arena_lower_bound as f64;
        println!(
            "{name:40} arena {:8} -> {:8} = {ratio:.3} x bound, {:4} channels and {:2} steps removed, {:9} -> {:9} MACs, {:8} -> {:8} bytes of weights",
            written.arena_len,
            plan.arena_len,
            plan.removed.channels,
            plan.removed.steps,
            written.macs,
            plan.macs,
            written.weights.len(),
            plan.weights.len()
        );
        assert!(ratio <= 1.1, "{name}: an arena of {} bytes is {ratio:.3} x its lower bound", plan.arena_len);
        assert!(plan.removed.channels >= at_least, "{name}: {:?}", plan.removed);
        assert_eq!(written.macs, plan.macs + plan.removed.macs, "{name}");
        // Hard sigmoid comes as additions and multiplications with constants, one table after the other.
        let steps = if name.contains("mobilenet_v3") { 9 } else { 0 };
        assert!(plan.removed.steps >= steps, "{name}: {:?}", plan.removed);
    }
}
