//! An estimate of cycles from counts, for two cores: **not measured on hardware**.
//!
//! A core is a set of pipes with so many operations a cycle. Each class of instructions takes its pipes; the estimate is the
//! time of the busiest pipe, or of fetching and issuing if that is longer:
//!
//! ```text
//! Cortex-A55   in order, two a cycle.  load: 8 bytes a cycle; store: 16; SIMD: two pipes of 64 bits, so one operation on 128;
//!              branch, multiply: one; a SIMD load of more than 8 bytes issues alone
//! Cortex-A76   four decoded a cycle.   L: two, each a load of 16 bytes or a store of 8; V0 and V1: SIMD; B: one branch;
//!              three for integers, one of which multiplies
//! ```
//! `benches/arm/README.md` gives the numbers of each class and where they are from. All instructions are taken to be independent
//! and all data to be in the first cache: what is left out makes real code slower, so this is a floor, good for comparing
//! programs whose instructions differ, not for promising a time.

use super::count::Counts;

/// What the estimate is called wherever it is shown.
pub(super) const LABEL: &str = "estimate, not measured on hardware";

/// A core that the estimate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Core {
    /// In order, small: also the nearest to a Cortex-A53.
    A55,
    /// Out of order, large. Matrix products, which it lacks, are taken as on its descendants: both pipes, one each a cycle.
    A76,
}

/// Cycles of `counts`; `None` where no core of this class has the instructions (matrix products on an A55).
pub(super) fn cycles(core: Core, counts: &Counts) -> Option<f64> {
    match core {
        Core::A55 if counts.get("mmla") > 0 => None,
        Core::A55 => Some(a55(counts)),
        Core::A76 => Some(a76(counts)),
    }
}

/// SIMD arithmetic: everything on the SIMD pipes but loads and stores.
const ARITHMETIC: [&str; 8] = ["dot", "mmla", "wmul", "imul", "fmul", "shift", "convert", "simd"];

fn a55(c: &Counts) -> f64 {
    let n = |name| c.get(name) as f64;
    let simd = c.sum(&ARITHMETIC) as f64;
    // Nothing is issued beside the first cycles of a wide load.
    let (wide, alone) = (n("wide"), n("wide8"));
    let beside = [
        (c.total() as f64 - wide) / 2.0,
        n("load8") - alone,
        n("store16"),
        (2.0 * simd - n("half")) / 2.0,
        n("branch"),
        n("gpmul"),
    ];
    alone + beside.into_iter().fold(0.0, f64::max)
}

fn a76(c: &Counts) -> f64 {
    let n = |name| c.get(name) as f64;
    // `v0` counts a 128-bit multiply or conversion twice, as the pipe does; a store of SIMD registers passes a pipe as well.
    let once = c.sum(&["dot", "mmla", "fmul", "shift", "simd", "v0", "vstore8"]) as f64;
    let pipes = [
        c.total() as f64 / 4.0,
        (n("load16") + n("store8")) / 2.0,
        once / 2.0,
        n("v0"),
        n("shift"),
        n("branch"),
        (n("gp") + n("gpmul")) / 3.0,
        n("gpmul"),
    ];
    pipes.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::{
        super::count::Counts,
        Core::{A55, A76},
        cycles,
    };

    fn check(columns: &[(&str, u64)], a55: Option<f64>, a76: Option<f64>) {
        let counts = Counts::of(columns);
        assert_eq!((cycles(A55, &counts), cycles(A76, &counts)), (a55, a76), "{columns:?}");
    }

    #[test]
    fn the_busiest_pipe_counts() {
        check(&[], Some(0.0), Some(0.0));
        // Integers: two and three a cycle.
        check(&[("gp", 12)], Some(6.0), Some(4.0));
        check(&[("gp", 12), ("gpmul", 12)], Some(12.0), Some(12.0));
        check(&[("branch", 12)], Some(12.0), Some(12.0));
        // One sdot on 128 bits a cycle on the small core, two on the large one.
        check(&[("dot", 12)], Some(12.0), Some(6.0));
        check(&[("dot", 12), ("half", 12)], Some(6.0), Some(6.0));
        check(&[("dot", 12), ("gp", 12)], Some(12.0), Some(6.0));
        // No small core of that age multiplies matrices.
        check(&[("mmla", 12)], None, Some(6.0));
        // Widening multiplies have one pipe, and pairwise sums the other.
        check(&[("wmul", 12), ("v0", 12)], Some(12.0), Some(12.0));
        check(&[("wmul", 12), ("v0", 12), ("shift", 12)], Some(24.0), Some(12.0));
        // Multiplies of 128 bits take it twice.
        check(&[("imul", 6), ("v0", 12)], Some(6.0), Some(12.0));
        // ldr q: two cycles alone, where the large core does two a cycle.
        check(&[("vload", 6), ("load8", 12), ("load16", 6), ("wide", 6), ("wide8", 12)], Some(12.0), Some(3.0));
        let both = [("vload", 6), ("load8", 12), ("load16", 6), ("wide", 6), ("wide8", 12), ("dot", 12)];
        check(&both, Some(24.0), Some(6.0));
        // ldr d beside it costs nothing.
        check(&[("vload", 6), ("load8", 6), ("load16", 6), ("dot", 12)], Some(12.0), Some(6.0));
        // str q.
        check(&[("vstore", 6), ("store8", 12), ("store16", 6), ("vstore8", 12)], Some(6.0), Some(6.0));
    }
}
