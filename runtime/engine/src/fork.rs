//! The seam to threads: the engine cuts a step into parts and hands them over; who implements [`Fork`] has the threads.
//!
//! ```text
//! Model::prepare_for     decides once how each step is cut           (split.rs)
//! Model::run_forked      cut the output and the scratch of a step -> Fork::run(parts) -> next step
//! ```
//! Parts write disjoint slices, each with scratch of its own, and every part is a call of the same kernel on a smaller
//! problem. So the bytes are the same however many threads there are, and whoever runs which part. The engine itself has no
//! thread, no lock and no atomic; [`Model::run`](crate::Model::run) and
//! [`Model::run_prepared`](crate::Model::run_prepared) never come here.

pub use crate::split::Part;

/// Threads, and so parts of a step, at most: the list of parts lies on the stack.
pub const MAX_THREADS: usize = 64;

/// Runs the parts of a step, several at once where it can.
///
/// ```
/// use fleetfoot_engine::{Fork, Part};
///
/// /// One part after the other.
/// struct InTurn;
///
/// impl Fork for InTurn {
///     fn run(&self, parts: &mut [Part<'_>]) {
///         parts.iter_mut().for_each(Part::run);
///     }
/// }
/// ```
pub trait Fork {
    /// Calls [`Part::run`] once on each of `parts`, in any order and on any threads, and returns when all calls have
    /// returned. Parts that are left out leave wrong bytes in the output, and nothing worse.
    fn run(&self, parts: &mut [Part<'_>]);
}
