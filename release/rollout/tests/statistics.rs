//! The statistics against published tables and against simulation.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_rollout::stats::{
    ab::{Verdict, one_side, verdict},
    confidence,
    counts::{more_events, sample_ratio},
    sequential::{Memo, Sequential, bounds, crossed},
    spending::Spending,
    sums::{Estimate, Sums},
    welch::welch,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use rand_distr::{Distribution as _, StandardNormal};

/// Five equal looks, one-sided 0.025: the boundaries that the R packages gsDesign and rpact give for the spending functions of
/// Lan and DeMets (`sfLDPocock`, `sfLDOF`; gsDesign 3.6, documentation of the spending functions).
#[test]
fn published_boundaries() {
    let times = [0.2, 0.4, 0.6, 0.8, 1.0];
    for (spending, expected) in [
        (Spending::Pocock, [2.4380, 2.4268, 2.4101, 2.3966, 2.3859]),
        (Spending::ObrienFleming, [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]),
    ] {
        let got = bounds(spending, 0.025, &times);
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 0.002, "{spending:?}: {got} is not {expected}");
        }
        let crossed = crossed(&times, &got, 0.0);
        for (time, crossed) in times.iter().zip(&crossed) {
            let spent = spending.spent(0.025, *time);
            assert!((crossed - spent).abs() < 1e-4, "{spending:?}: at {time} {crossed} is crossed, {spent} is spent");
        }
    }
}

/// Looks at any times, also twice at one: what is spent is never more than was allowed, and nothing breaks.
#[test]
fn uneven_looks() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for round in 0..20 {
        let mut times: Vec<f64> = (0..12)
            .map(|_| {
                let z: f64 = StandardNormal.sample(&mut rng);
                (0.5 + 0.3 * z).clamp(0.001, 1.0)
            })
            .collect();
        times.push(1.0);
        times.sort_by(f64::total_cmp);
        let mut test = Sequential::new(Spending::Pocock, 0.05);
        let bounds: Vec<f64> = times.iter().map(|&time| test.look(time)).collect();
        let all = *crossed(&times, &bounds, 0.0).last().unwrap();
        assert!((all - 0.05).abs() < 5e-4, "round {round}: {all}");
    }
}

/// 20 000 rollouts without a fault, looked at on 28 days; the naive test beside it shows why.
#[test]
fn false_alarms() {
    const LOOKS: usize = 28;
    let times: Vec<f64> = (1..=LOOKS).map(|k| k as f64 / LOOKS as f64).collect();
    let (pocock, obf) = (bounds(Spending::Pocock, 0.05, &times), bounds(Spending::ObrienFleming, 0.05, &times));
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (n, mut hits) = (20_000, [0u32; 4]);
    let mut with_drift = 0u32;
    for _ in 0..n {
        let (mut b, mut seen, mut drifted) = (0.0, [false; 4], false);
        for k in 0..LOOKS {
            let step: f64 = StandardNormal.sample(&mut rng);
            b += step / (LOOKS as f64).sqrt();
            let z = b / times[k].sqrt();
            let mean = z / ((k + 1) as f64).sqrt();
            let watched = confidence::one_sided((k + 1) as f64, 0.05, 5.0);
            for (seen, hit) in seen.iter_mut().zip([z > 1.645, z > pocock[k], z > obf[k], mean > watched]) {
                *seen |= hit;
            }
            drifted |= z + 3.0 * times[k].sqrt() > pocock[k];
        }
        for (hits, seen) in hits.iter_mut().zip(seen) {
            *hits += u32::from(seen);
        }
        with_drift += u32::from(drifted);
    }
    let [naive, pocock_rate, obf_rate, watched] = hits.map(|hits| f64::from(hits) / f64::from(n));
    println!(
        "28 looks without a fault: naive {naive:.3}, Pocock {pocock_rate:.4}, O'Brien-Fleming {obf_rate:.4}, confidence sequence {watched:.4}"
    );
    // Two standard errors of 20 000 draws at 5%: 0.0031.
    assert!(naive > 0.2, "{naive}");
    assert!((pocock_rate - 0.05).abs() < 0.0031, "{pocock_rate}");
    assert!((obf_rate - 0.05).abs() < 0.0031, "{obf_rate}");
    assert!(watched <= 0.0531, "{watched}");
    // The power that the integration foretells is the one that is drawn.
    let foretold = *crossed(&times, &pocock, 3.0).last().unwrap();
    let drawn = f64::from(with_drift) / f64::from(n);
    assert!((foretold - drawn).abs() < 0.01, "{foretold} {drawn}");
}

/// 2 000 comparisons of a version with itself, looked at every day for 14 days.
#[test]
fn a_against_a() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let memo = Memo::default();
    let (runs, mut decided, mut better) = (2_000, 0, 0);
    for run in 0..runs + 200 {
        // The last 200 have an effect of 10%.
        let effect = if run >= runs { 0.1 } else { 0.0 };
        let (mut t, mut c) = (Sums::default(), Sums::default());
        let (mut times, mut said) = (Vec::new(), Verdict::Open);
        for day in 1..=14 {
            for _ in 0..60 {
                let (a, b): (f64, f64) = (StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng));
                t.add((1.0 + 0.4 * a) * (1.0 + effect));
                c.add(1.0 + 0.4 * b);
            }
            times.push(f64::from(day) / 14.0);
            let bound = memo.bound(Spending::ObrienFleming, one_side(0.05), &times);
            said = verdict(Estimate::relative(&t, &c), bound, 0.0, day == 14);
            if said != Verdict::Open {
                break;
            }
        }
        assert_ne!(said, Verdict::Open, "the last day has a verdict");
        match (run >= runs, said) {
            (false, Verdict::Better | Verdict::Worse) => decided += 1,
            (true, Verdict::Better) => better += 1,
            _ => {}
        }
    }
    let share = f64::from(decided) / f64::from(runs);
    println!("A/A: {share:.4} decided of {runs}; with an effect of 10%: {better} of 200 better");
    // Two standard errors of 2 000 draws at 5%: 0.0097.
    assert!(share <= 0.0597, "{share}");
    assert!(better >= 190, "{better}");
}

#[test]
fn counts_and_splits() {
    // Exact: the binomial tail by hand. 3 or more of 3 with share 1/2: 1/8. 5 or more of 6: 7/64.
    for (t, c, exposure, expected) in [
        (3, 0, (10.0, 10.0), 0.125),
        (5, 1, (10.0, 10.0), 7.0 / 64.0),
        (0, 9, (10.0, 10.0), 1.0),
        (2, 0, (10.0, 30.0), 1.0 / 16.0),
    ] {
        let got = more_events(t, c, exposure, 1.0);
        assert!((got - expected).abs() < 1e-12, "{t} {c}: {got}");
    }
    assert!(sample_ratio(5_000.0, 5_000.0, (1.0, 1.0)) > 0.99);
    // 51 to 49 of 100 000 where it should be even: chi2 = 40.
    let planted = sample_ratio(51_000.0, 49_000.0, (50.0, 50.0));
    assert!(planted < 1e-9, "{planted}");
    // 3.841 is the 95% point of chi-square with one degree of freedom.
    let p = sample_ratio(5_000.0 + 98.0, 5_000.0 - 98.0, (1.0, 1.0));
    assert!((p - 0.05).abs() < 0.001, "{p}");
}

/// The example of the R documentation of `t.test`: the data set `sleep`, t = -1.8608, 17.776 degrees of freedom, p = 0.07939.
#[test]
fn welch_of_sleep() {
    let of = |values: [f64; 10]| {
        values.into_iter().fold(Sums::default(), |mut sums, value| {
            sums.add(value);
            sums
        })
    };
    let a = of([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]);
    let b = of([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]);
    let (p, freedom) = welch(&a, &b).unwrap();
    assert!((p - 0.07939).abs() < 1e-5 && (freedom - 17.776).abs() < 1e-3, "{p} {freedom}");
    assert_eq!(welch(&a, &Sums::default()), None);
}
