//! Executes a stored plan: no heap, no OS, no IO, no signatures, no `unsafe`.
//!
//! [`Model::open`] proves every bound of every step once; [`Model::run`] then only decodes the steps and calls the kernels. The
//! caller owns the arena, one slice of bytes whose exact length the model tells:
//!
//! ```text
//! 0 .. arena_len       tensors, at offsets that the plan chose
//! arena_len ..         scratch of the kernels in use; with threads, of each part of a step
//! ```
//! One thread is all that is needed. Where there are more, [`Model::run_forked`] hands them parts of large steps ([`Fork`]).
//!
//! The bytes come from a bundle whose signature holds, yet nothing here relies on that: whatever the bytes are, the worst
//! result is an error.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
extern crate std;

mod check;
mod constants;
mod error;
mod fork;
mod model;
mod session;
mod split;
mod step;
mod written;

pub use error::{EngineError, Number, Place};
pub use fleetfoot_kernels::Kernels;
pub use fork::{Fork, MAX_THREADS, Part};
pub use model::{Model, Prepared, Tensor};
pub use session::Session;
pub use step::StepInfo;
