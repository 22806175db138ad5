//! Policies that are wrong: every problem is told at once, with its line and a way out.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_rollout::{policy::Stage, read};

const GOOD: &str = "\
rollout: kws-2026-11
model: kws
candidate: 42
baseline: 41
match: {hardware: [cortex-m4f, linux-arm64], region: [eu], runtime: \">=0.3\"}
stages:
  - shadow: {percent: 5, bake: 24h, min_reports: 2000, agreement: 0.9}
  - canary: {percent: 1, bake: 24h}
  - ab:     {percent: 20, split: [50, 50], max: 14d, metric: click_rate, minimum_effect: 1%}
  - full:   {ramp: [50, 100], step: 12h}
guardrails:
  - {metric: error_rate,    worse_by: 0.1%, action: rollback}
  - {metric: latency_p99,   ratio: 2.0,     action: hold}
device: {attempts: 2, health_window: 6h, min_inferences: 500, keep: 5}
network: {poll: 4h, poll_active: 15m, apply_jitter: 2h, metered: false, window: \"01:00-05:00\"}
";

#[test]
fn a_good_one() {
    let policy = read::policy(GOOD).unwrap();
    assert_eq!((policy.candidate, policy.baseline, policy.stages.len(), policy.guardrails.len()), (42, 41, 4, 2));
    assert_eq!(policy.stages[1], Stage::Canary { percent_bp: 100, bake_s: 86_400 });
    assert_eq!(policy.network.window, Some((60, 300)));
    assert_eq!(policy.selectors["hardware"], ["cortex-m4f", "linux-arm64"]);
    assert_eq!(policy.device.keep, Some(5));
}

/// One line of the good policy replaced: where the problem is, and a word of it.
#[test]
fn bad_ones() {
    // `^` stands before the place that is named; it is taken out.
    for (line, marked, word) in [
        (1, "rollout: ^Kws 1", "1 to 64"),
        (3, "candidate: ^forty", "'forty' is not understood"),
        (3, "candidate: ^41", "not above the baseline"),
        (5, "match: {hardware: ^{a: b}}", "1 to 16 values"),
        (7, "  - shadow: ^{percent: 5}", "bake: is missing"),
        (8, "  - canary: {percent: ^0.001, bake: 24h}", "steps of 0.01"),
        (8, "  - canary: {percent: 1, bake: ^24}", "a time such as"),
        (8, "  - canary: {percent: ^60, bake: 24h}", "no equal control"),
        (8, "  - canary: {percent: 1, bake: ^0s}", "from 1m to 365d"),
        (8, "  - canary: {percent: 1, bake: ^200000000000000d}", "from 1m to 365d"),
        (7, "  - shadow: {percent: 5, bake: 24h, agreement: ^0.00001}", "0.1 to 1"),
        (9, "  - ab: {percent: 20, max: 14d, metric: ^error_rate, minimum_effect: 1%}", "less is better"),
        (12, "  - {metric: error_rate, worse_by: ^1000%, action: rollback}", "at most 100%"),
        (12, "  - {metric: ^crash_rate, worse_by: 1%, action: rollback}", "no other limit"),
        (10, "  - full:   {ramp: [5, 100], step: 12h}", "fewer devices than the one before"),
        (10, "  - shadow: {percent: 5, bake: 1d}", "the last stage is not full"),
        (8, "  - ^canari: {percent: 1, bake: 24h}", "'canari' is no stage"),
        (9, "  - ab: {percent: 20, max: 14d, metric: click_rate, minimum_effect: ^1}", "with its sign"),
        (10, "  - full:   {ramp: [50, ^40], step: 12h}", "a ramp only rises"),
        (12, "  - {metric: ^error_rate, worse_by: 0.1%, ratio: 2, action: rollback}", "exactly one of"),
        (12, "  - {metric: error_rate, worse_by: 0.1%, action: ^explode}", "hold, halt or rollback"),
        (12, "  - {metric: latency_ms, ratio: 0.9, action: hold}", "fires without a fault"),
        (14, "device: {atempts: ^2}", "did you mean `attempts`?"),
        (15, "network: {window: ^\"25:00-05:00\"}", "two times of the local day"),
        (2, "model: kws\nbudget: ^3", "budget: is not known"),
        (1, "rollout: [", "YAML"),
        (4, "baseline: 41\npreset: ^nextflix", "one of netflix"),
    ] {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        let replaced = marked.replace('^', "");
        lines[line - 1] = &replaced;
        let problems = read::policy(&lines.join("\n")).unwrap_err();
        let found = problems.iter().find(|problem| problem.to_string().contains(word));
        let problem = found.unwrap_or_else(|| panic!("{marked}: {problems:?}"));
        if let Some(at) = marked.find('^') {
            let before = &marked[..at];
            let (row, column) = (line + before.matches('\n').count(), at - before.rfind('\n').map_or(0, |n| n + 1) + 1);
            assert_eq!((problem.line, problem.column), (row as u64, column as u64), "{marked}: {problem}");
        }
    }
}

#[test]
fn all_at_once() {
    let problems =
        read::policy("rollout: x\nmodel: X\nstages:\n  - full: {ramp: [5], step: 1h}\nextra: 1\n").unwrap_err();
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    for word in ["candidate: is missing", "baseline: is missing", "model: 'X'", "ends at 100", "extra: is not known"] {
        assert!(all.iter().any(|line| line.contains(word)), "{word}: {all:#?}");
    }
    assert_eq!(problems.len(), 5, "{all:#?}");
}

#[test]
fn a_preset_and_what_differs() {
    let head = "rollout: x\nmodel: m\ncandidate: 2\nbaseline: 1\npreset: netflix\n";
    let names = |text: &str| read::policy(text).unwrap().stages.iter().map(Stage::name).collect::<Vec<_>>();
    assert_eq!(names(head), ["canary", "shadow", "full"]);
    assert_eq!(names(&format!("{head}kind: recommendations\n")), ["canary", "shadow", "ab", "full"]);
    assert_eq!(names(&format!("{head}stages:\n  - full: {{ramp: [100], step: 1h}}\n")), ["full"]);
    let problems =
        read::policy(&format!("{head}kind: recommendations\nstages:\n  - full: {{ramp: [100], step: 1h}}\n"))
            .unwrap_err();
    assert!(problems[0].to_string().contains("asks for an A/B stage"), "{problems:?}");
    let policy = read::policy(&format!("{head}device: {{attempts: 3}}\n")).unwrap();
    assert_eq!((policy.device.attempts, policy.device.keep), (Some(3), Some(5)));
}
