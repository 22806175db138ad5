//! Sums that somebody made up, or that are too few: no gate is passed with them.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_rollout::{
    gates::{Decision, Look, Outcome, Side, decide},
    read,
    stats::sequential::Memo,
};

const POLICY: &str = "rollout: r-1\nmodel: kws\ncandidate: 2\nbaseline: 1\nstages:\n  \
                      - shadow: {percent: 5, bake: 24h, min_reports: 2000, agreement: 0.9}\n  \
                      - canary: {percent: 10, bake: 48h}\n  - full: {ramp: [100], step: 12h}\n";

fn decided(stage: usize, look: Look) -> Decision {
    decide(&read::policy(POLICY).unwrap().laid_out(), stage, &[look], &Memo::default())
}

fn side(devices: u64, device_days: f64) -> Side {
    Side { devices, device_days, ..Side::default() }
}

#[track_caller]
fn says(decision: &Decision, what: &str, outcome: Outcome) {
    let found = decision.findings.iter().find(|finding| finding.what == what).unwrap();
    assert_eq!(found.outcome, outcome, "{}", found.text);
}

#[test]
fn a_shadow_needs_devices() {
    for (devices, on_candidate, outcome) in
        [(1, 1, Outcome::Hold), (19, 19, Outcome::Hold), (20, 20, Outcome::Promote), (20, 3, Outcome::Hold)]
    {
        let look = Look {
            elapsed_s: 86_400,
            treatment: side(devices, devices as f64),
            compared: (4_000_000_000, 4_000_000_000),
            on_candidate: Some(on_candidate),
            ..Look::default()
        };
        assert_eq!(decided(0, look).outcome, outcome, "{devices} {on_candidate}");
    }
}

/// On the best day of both arms all looks well; another day has more devices than there are.
#[test]
fn every_day_is_asked_for_its_share() {
    let look = |most| Look {
        elapsed_s: 3600,
        treatment: side(100, 200.0),
        control: side(100, 200.0),
        shares: (1, 1),
        drawn: Some((100, 100)),
        most,
        ..Look::default()
    };
    says(&decided(1, look(Some((100, 100)))), "expected_share", Outcome::Continue);
    says(&decided(1, look(None)), "expected_share", Outcome::Continue);
    says(&decided(1, look(Some((100, 400)))), "expected_share", Outcome::Hold);
}

#[test]
fn the_arms_keep_their_proportion_over_all_days() {
    let look = |treatment, control| Look {
        elapsed_s: 3600,
        treatment: side(200, treatment),
        control: side(200, control),
        shares: (1, 1),
        ..Look::default()
    };
    says(&decided(1, look(2000.0, 1900.0)), "sample_ratio", Outcome::Continue);
    says(&decided(1, look(2000.0, 900.0)), "sample_ratio", Outcome::Hold);
    says(&decided(1, look(0.0, 0.0)), "sample_ratio", Outcome::Continue);
}
