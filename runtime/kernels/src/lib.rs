//! Int8 neural network kernels: one result on every instruction set.
//!
//! [`mod@reference`] defines every operation slowly and plainly, after `docs/numerics.md`; [`Kernels`] runs it fast and
//! gives the same bytes. Kernels see numbers and slices, never a file format; they have no heap and no state.
//!
//! Activations are bytes in the order `[n, h, w, c]`; `DType` says how a byte is read. All lengths are checked once at the
//! entry of an operation, with a panic that names the slice: callers prove them when a model is loaded.
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

mod add;
mod broadcast;
mod conv;
mod copy;
mod depthwise;
mod doors;
#[allow(unsafe_code, reason = "vector instructions")]
mod isa;
mod kernels;
mod lut;
mod mean;
mod mul;
mod pad;
pub mod params;
mod pool;
pub mod reference;
mod requantize;
mod resample;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod ring;
mod softmax;

pub use kernels::Kernels;
pub use params::{
    Add, ArgExtreme, BinaryOp, Broadcast, Conv, Copy, DType, Door, Fixed, Mean, Mul, Pad, Pool, PoolKind, Prelu,
    Resample, Softmax, Window,
};
