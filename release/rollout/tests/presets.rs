//! Every preset on a fleet: a planted fault is noticed before too many devices have it, a planted improvement reaches everybody, and without either the
//! current version stays where people's behaviour is asked.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_rollout::{
    plan::{self, Fleet},
    presets, read,
    simulate::{End, Fault, Scenario, run},
};

struct Row {
    preset: &'static str,
    devices: u32,
    fault: &'static str,
    outcome: End,
    /// Devices that may have had the candidate at most.
    exposed: u64,
}

const ROWS: &[Row] = &[
    Row { preset: "netflix", devices: 20_000, fault: "error_rate=0.03@0", outcome: End::RolledBack, exposed: 210 },
    Row { preset: "netflix", devices: 20_000, fault: "latency_factor=3@0", outcome: End::RolledBack, exposed: 210 },
    Row { preset: "netflix", devices: 20_000, fault: "crash_loop=1@0", outcome: End::RolledBack, exposed: 210 },
    Row { preset: "airbnb", devices: 20_000, fault: "metric_drop=0.2@1", outcome: End::RolledBack, exposed: 240 },
    Row { preset: "google", devices: 20_000, fault: "metric_drop=0.1@0", outcome: End::RolledBack, exposed: 1_100 },
    Row { preset: "lyft", devices: 20_000, fault: "metric_drop=0.3@0", outcome: End::RolledBack, exposed: 240 },
    Row {
        preset: "stripe",
        devices: 200_000,
        fault: "false_positive_rate=12@0",
        outcome: End::RolledBack,
        exposed: 240,
    },
    Row { preset: "stripe", devices: 200_000, fault: "latency_factor=15@0", outcome: End::RolledBack, exposed: 240 },
    Row { preset: "appstore7", devices: 20_000, fault: "error_rate=0.03@0", outcome: End::RolledBack, exposed: 240 },
    Row { preset: "appstore7", devices: 20_000, fault: "constant_output=1@0", outcome: End::RolledBack, exposed: 240 },
    Row { preset: "appstore7", devices: 20_000, fault: "mute=0.5@0", outcome: End::Held, exposed: 1_200 },
    Row { preset: "netflix", devices: 20_000, fault: "metric_gain=0.05@0", outcome: End::Full, exposed: 20_000 },
    Row { preset: "airbnb", devices: 20_000, fault: "metric_gain=0.06@0", outcome: End::Full, exposed: 20_000 },
    Row { preset: "google", devices: 20_000, fault: "metric_gain=0.05@0", outcome: End::Full, exposed: 20_000 },
    Row { preset: "lyft", devices: 20_000, fault: "metric_gain=0.05@0", outcome: End::Full, exposed: 20_000 },
    Row { preset: "stripe", devices: 50_000, fault: "metric_gain=0.05@0", outcome: End::Full, exposed: 50_000 },
    Row { preset: "appstore7", devices: 20_000, fault: "metric_gain=0.05@0", outcome: End::Full, exposed: 20_000 },
    Row { preset: "netflix", devices: 20_000, fault: "", outcome: End::Kept, exposed: 2_100 },
    Row { preset: "airbnb", devices: 20_000, fault: "", outcome: End::Kept, exposed: 4_200 },
    Row { preset: "lyft", devices: 20_000, fault: "", outcome: End::Kept, exposed: 9_200 },
    Row { preset: "stripe", devices: 50_000, fault: "", outcome: End::Kept, exposed: 5_200 },
    Row { preset: "google", devices: 20_000, fault: "", outcome: End::Full, exposed: 20_000 },
    Row { preset: "appstore7", devices: 20_000, fault: "", outcome: End::Full, exposed: 20_000 },
];

fn policy(preset: &str) -> fleetfoot_rollout::Policy {
    let yaml =
        format!("rollout: demo-1\nmodel: demo\nkind: recommendations\npreset: {preset}\ncandidate: 2\nbaseline: 1\n");
    read::policy(&yaml).unwrap_or_else(|problems| panic!("{preset}: {problems:?}"))
}

#[test]
fn every_preset_with_and_without_a_fault() {
    for row in ROWS {
        let faults = if row.fault.is_empty() { Vec::new() } else { vec![Fault::parse(row.fault).unwrap()] };
        let scenario = Scenario { devices: row.devices, seed: 1, faults, inferences_per_day: 200.0 };
        let run = run(&policy(row.preset), &scenario, |_, _| {});
        println!(
            "{:10} {:26} {:?} after {:.2} days, {} of {} exposed: {}",
            row.preset, row.fault, run.outcome, run.decided_at_days, run.exposed_devices, run.devices, run.reason
        );
        assert_eq!(run.outcome, row.outcome, "{} {}: {run:?}", row.preset, row.fault);
        assert!(run.exposed_devices <= row.exposed, "{} {}: {}", row.preset, row.fault, run.exposed_devices);
    }
}

/// The same seed is the same run, to the last number.
#[test]
fn a_run_is_repeated_exactly() {
    let scenario = Scenario {
        devices: 5_000,
        seed: 9,
        faults: vec![Fault::parse("error_rate=0.01@1").unwrap()],
        inferences_per_day: 100.0,
    };
    let once = format!("{:?}", run(&policy("google"), &scenario, |_, _| {}));
    assert_eq!(once, format!("{:?}", run(&policy("google"), &scenario, |_, _| {})));
}

/// 300 rollouts with an error rate that is exactly as bad as allowed: alarms stay near the nominal 5%, and with one three times that nearly all are stopped.
#[test]
fn false_alarms_of_a_rollout() {
    let yaml = "rollout: demo-1\nmodel: demo\ncandidate: 2\nbaseline: 1\nstages:\n  - canary: {percent: 25, bake: 14d}\n  - full: {ramp: [100], step: 1d}\n";
    let policy = read::policy(yaml).unwrap();
    let mut counts = [0u32; 2];
    let n = 300u32;
    for (count, rate) in counts.iter_mut().zip(["error_rate=0.001@0", "error_rate=0.004@0"]) {
        for seed in 0..n {
            let scenario = Scenario {
                devices: 1_200,
                seed: u64::from(seed),
                faults: vec![Fault::parse(rate).unwrap()],
                inferences_per_day: 100.0,
            };
            let run = run(&policy, &scenario, |_, _| {});
            *count += u32::from(run.outcome != End::Full);
        }
    }
    let [alarms, power] = counts.map(|count| f64::from(count) / f64::from(n));
    println!("{n} seeds, daily looks: {alarms:.3} stopped at the limit, {power:.3} at four times the limit");
    assert!(alarms <= 0.05 + 2.0 * (0.05f64 * 0.95 / f64::from(n)).sqrt(), "{alarms}");
    assert!(power >= 0.9, "{power}");
}

/// 400 comparisons of a version with itself, on devices that keep their own level for the whole time, looked at every day and every hour: the same
/// device again and again is no new evidence.
#[test]
fn the_same_devices_again_are_no_new_evidence() {
    let yaml = |look: &str| {
        format!(
            "rollout: demo-1\nmodel: demo\ncandidate: 2\nbaseline: 1\nstages:\n  - ab: {{percent: 90, max: 7d, metric: clicks, minimum_effect: 0%}}\n  - full: {{ramp: [100], step: 1d}}\n\
             guardrails:\n  - {{metric: clicks, drop: 0%, action: rollback, look: {look}}}\n"
        )
    };
    for (look, n) in [("24h", 300u32), ("12h", 100)] {
        let policy = read::policy(&yaml(look)).unwrap();
        let mut decided = 0;
        for seed in 0..n {
            let scenario =
                Scenario { devices: 400, seed: u64::from(seed), faults: Vec::new(), inferences_per_day: 100.0 };
            decided += u32::from(run(&policy, &scenario, |_, _| {}).outcome != End::Kept);
        }
        let share = f64::from(decided) / f64::from(n);
        println!("A/A with levels of devices, looks every {look}: {share:.3} of {n} decided");
        // A verdict has 5%, the guardrails and the sample ratio at most another 5%.
        assert!(share <= 0.10 + 2.0 * (0.1f64 * 0.9 / f64::from(n)).sqrt(), "{look}: {share}");
    }
}

#[test]
fn plans_say_what_a_stage_cannot_see() {
    let fleet = |devices| Fleet { devices, bundle_bytes: 350_000, inferences_per_day: 100.0 };
    let small = plan::plan(&policy("netflix"), fleet(1_000));
    assert!(small.warnings.iter().any(|warning| warning.contains("10 devices")), "{:?}", small.warnings);
    let large = plan::plan(&policy("netflix"), fleet(1_000_000));
    // Only that nobody is left to compare with at 100%.
    assert_eq!(large.warnings.len(), 1, "{:?}", large.warnings);
    let seen = large.stages[0].power.iter().find(|power| power.metric == "error_rate").unwrap().smallest_seen.unwrap();
    assert!((0.001..0.003).contains(&seen), "{seen}");
    // Each device fetches the bundle once.
    assert_eq!(large.stages.iter().map(|stage| stage.bytes).sum::<u64>(), 1_000_000 * 350_000);
    for preset in presets::ALL {
        let plan = plan::plan(&policy(preset.name), fleet(100_000));
        assert_eq!(plan.stages.last().unwrap().exposed_devices, 100_000, "{}", preset.name);
    }
}
