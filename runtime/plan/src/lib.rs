//! From a quantized graph to a plan: what runs when a bundle is packed, and on big devices when a raw model is loaded.
//!
//! [`graph`] is the model as its author wrote it, operator by operator; [`plan()`] lowers it to the steps of
//! `fleetfoot-format`, places every tensor in one arena and packs the weights. [`tables`] computes the tables of
//! 256 entries that stand for every non-linear function, so that no device's mathematics library decides a byte.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

extern crate alloc;

mod aligned;
mod constant_channels;
mod error;
mod expand;
mod fuse;
pub mod graph;
mod lower;
mod memory;
mod pack;
mod plan;
mod ranges;
pub mod tables;

pub use aligned::{ALIGN, Aligned};
pub use error::PlanError;
pub use plan::{Plan, Removed, plan, plan_as_written};
