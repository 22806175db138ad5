//! Boundaries of a test that is looked at again and again, and the probability of crossing them.
//!
//! With information fractions t1 < t2 < .. the statistic B(t) = Z(t) sqrt(t) is a Brownian motion, seen at the looks. The density of B over
//! those paths that have not crossed yet is carried from look to look by numerical integration:
//!
//! ```text
//! f1(b) = normal density of variance t1              f(k+1)(b) = integral over b' below the boundary of fk(b') phi(b - b'; t(k+1) - t(k))
//! ```
//! Source: P. Armitage, C. K. McPherson and B. C. Rowe, Repeated significance tests on accumulating data, J. R. Stat. Soc. A 132 (1969)
//! 235-244; the spending form: D. M. Reboussin et al., Control. Clin. Trials 21 (2000) 190-207. Upper boundaries only: every test here is one-sided.

use core::{cell::RefCell, f64::consts::PI};
use std::collections::HashMap;

use super::{spending::Spending, tail, upper_quantile};

/// A one-sided test under way: its boundaries so far. A look is added with [`look`](Self::look).
#[derive(Clone, Debug)]
pub struct Sequential {
    spending: Spending,
    alpha: f64,
    /// Probability without an effect of having crossed so far.
    spent: f64,
    /// Density of B after the last look.
    density: Option<Density>,
}

#[derive(Clone, Debug)]
struct Density {
    time: f64,
    /// Where the first point lies, and the distance of two points.
    from: f64,
    step: f64,
    /// Density times the weight of the trapezoid rule.
    mass: Vec<f64>,
}

impl Sequential {
    /// A test that raises a false alarm with probability `alpha` at most over all of its looks.
    #[must_use]
    pub const fn new(spending: Spending, alpha: f64) -> Self {
        Self { spending, alpha, spent: 0.0, density: None }
    }

    /// The boundary in standard errors at the next look, at the fraction `time` of the planned time. Infinite where
    /// nothing may be spent: time that stood still or ran out.
    pub fn look(&mut self, time: f64) -> f64 {
        let time = time.clamp(0.0, 1.0);
        let before = self.density.as_ref().map_or(0.0, |density| density.time);
        let budget = self.spending.spent(self.alpha, time) - self.spent;
        if time - before < SHORTEST || budget <= NOTHING {
            return f64::INFINITY;
        }
        let bound = match &self.density {
            None => upper_quantile(budget) * time.sqrt(),
            Some(density) => density.bound(time, budget),
        };
        self.spent += budget;
        self.density = Some(Density::after(self.density.as_ref(), time, bound, 0.0));
        bound / time.sqrt()
    }
}

/// Boundaries that were computed before. The same looks come again and again: every decision of a stage begins with those of the ones before.
#[derive(Debug, Default)]
pub struct Memo(RefCell<HashMap<Key, (f64, Sequential)>>);

type Key = (Spending, u64, Vec<u64>);

impl Memo {
    /// The boundary at the last of `times`, of a test with looks at all of them.
    pub fn bound(&self, spending: Spending, alpha: f64, times: &[f64]) -> f64 {
        self.state(spending, alpha, times).0
    }

    fn state(&self, spending: Spending, alpha: f64, times: &[f64]) -> (f64, Sequential) {
        let Some((last, before)) = times.split_last() else { return (f64::INFINITY, Sequential::new(spending, alpha)) };
        let key = (spending, alpha.to_bits(), times.iter().map(|time| time.to_bits()).collect());
        if let Some(known) = self.0.borrow().get(&key) {
            return known.clone();
        }
        let (_, mut test) = self.state(spending, alpha, before);
        let found = (test.look(*last), test);
        self.0.borrow_mut().insert(key, found.clone());
        found
    }
}

/// The probabilities of having crossed `bounds` (in standard errors) at each of the looks `times`, where the expectation of the
/// statistic at time 1 is `drift` standard errors.
///
/// # Panics
/// Where the two are not equally long.
#[must_use]
pub fn crossed(times: &[f64], bounds: &[f64], drift: f64) -> Vec<f64> {
    assert_eq!(times.len(), bounds.len(), "a boundary for each look");
    let mut density: Option<Density> = None;
    let mut sum = 0.0;
    let mut all = Vec::with_capacity(times.len());
    for (&time, &bound) in times.iter().zip(bounds) {
        let before = density.as_ref().map_or(0.0, |density| density.time);
        if bound.is_finite() && time - before >= SHORTEST {
            let bound = bound * time.sqrt();
            sum += match &density {
                None => tail((bound - drift * time) / time.sqrt()),
                Some(density) => density.crossing(time, bound, drift),
            };
            density = Some(Density::after(density.as_ref(), time, bound, drift));
        }
        all.push(sum);
    }
    all
}

/// The boundaries of a test with looks at `times`.
#[must_use]
pub fn bounds(spending: Spending, alpha: f64, times: &[f64]) -> Vec<f64> {
    let mut test = Sequential::new(spending, alpha);
    times.iter().map(|&time| test.look(time)).collect()
}

impl Density {
    /// The density at `time` below `bound`, from the one before.
    fn after(before: Option<&Self>, time: f64, bound: f64, drift: f64) -> Self {
        let spread = time.sqrt();
        let from = drift * time - REACH * spread;
        let to = bound.min(drift * time + REACH * spread).max(from);
        let gap = time - before.map_or(0.0, |density| density.time);
        // Points at a quarter of the smallest standard deviation around: the trapezoid rule is exact to many digits then.
        let n = (((to - from) / (gap.sqrt() / 4.0)).ceil().max(1.0) as usize).clamp(64, 4096);
        let step = (to - from) / n as f64;
        let mass = (0..=n)
            .map(|i| {
                let b = from + step * i as f64;
                let density = before.map_or_else(
                    || normal(b - drift * time, time),
                    |before| before.points().map(|(b0, mass)| mass * normal(b - b0 - drift * gap, gap)).sum(),
                );
                density * if i == 0 || i == n { step / 2.0 } else { step }
            })
            .collect();
        Self { time, from, step, mass }
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.mass.iter().enumerate().map(|(i, &mass)| (self.from + self.step * i as f64, mass))
    }

    /// The probability of being above `bound` at `time`.
    fn crossing(&self, time: f64, bound: f64, drift: f64) -> f64 {
        let gap = time - self.time;
        self.points().map(|(b, mass)| mass * tail((bound - b - drift * gap) / gap.sqrt())).sum()
    }

    /// The bound that is crossed at `time` with probability `budget`.
    fn bound(&self, time: f64, budget: f64) -> f64 {
        let (mut low, mut high) = (-REACH, REACH);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if self.crossing(time, middle, 0.0) > budget { low = middle } else { high = middle }
        }
        high
    }
}

fn normal(x: f64, variance: f64) -> f64 {
    (-x * x / (2.0 * variance)).exp() / (2.0 * PI * variance).sqrt()
}

/// Standard deviations that are integrated over.
const REACH: f64 = 9.0;
/// Looks that are nearer to one another are one look.
const SHORTEST: f64 = 1e-4;
/// A smaller probability is not worth a look.
const NOTHING: f64 = 1e-12;
