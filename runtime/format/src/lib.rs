//! Every byte layout that outlives a process.
//!
//! A device that reads a file written years ago, on another CPU, by another version of this
//! project, relies on this crate alone. It has no heap and no standard library; readers borrow from the bytes
//! they are given and writers (feature `alloc`) return a `Vec<u8>`. `docs/formats.md` describes
//! the same layouts for people.
//!
//! | module | layout |
//! |---|---|
//! | [`bundle`] | the signed file `.ff`: preamble, signers, header, signatures, sections |
//! | [`graph`] | the section *graph*: inputs, outputs and the steps of the plan |
//! | [`golden`] | the section *golden*: raw inputs and the SHA-256 of the outputs they must give |
//! | [`preprocess`] | the section *preprocess*: from a raw input to the input of the model |
//! | [`postprocess`] | the section *postprocess*: from outputs to an answer |
//! | [`raw_golden`] | the section *raw golden*: raw inputs, and what must become of them |
//! | [`lite`] | `trust.bin`, `header.bin`, `directive.bin` for devices without clock, JSON or TLS |
//! | [`baseline`] | the section *baseline*: how the values of inputs and outputs were spread |
//! | [`report`] | the health report of a device |
//! | [`record`] | the state record of one model on one device |
//! | [`agreement`] | sums over the inferences of a shadow, as a report carries them |
//!
//! All integers in fixed layouts are little-endian; everything else is
//! [postcard](https://postcard.jamesmunns.com/wire-format). Lengths are bounded by the constants
//! in [`limits`], each named after what it guards against.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod agreement;
pub mod baseline;
pub mod bundle;
pub mod error;
pub mod golden;
pub mod graph;
pub mod limits;
pub mod lite;
pub mod postprocess;
pub mod preprocess;
pub mod raw_golden;
pub mod record;
pub mod report;

pub use error::FormatError;

#[cfg(target_endian = "big")]
compile_error!(
    "weights are read in place and are little-endian; big-endian targets need a copy that does not exist yet"
);
