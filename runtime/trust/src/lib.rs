//! Which bytes may be believed. The only crate that names a type of key or signature.
//!
//! ```text
//! bytes ──Preamble::read──▶ signers ──k of n Ed25519──▶ Bundle::parse ──SHA-256 of every section──▶ Verified<Bundle>
//! ```
//! A device without clock, JSON or TLS believes the files of [`lite`] instead of metadata.
//!
//! Only this crate makes a [`Verified`], and only after the signatures held: no parser, and nothing behind it, ever sees bytes that
//! nobody vouched for. There is no heap and no clock here; expiry and rollback of metadata belong to `fleetfoot-tuf`.
//!
//! Every message that is signed begins with a domain prefix, so that a signature for one purpose means nothing for
//! another.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "conformance")]
extern crate alloc;

mod bundle;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod hash;
mod keys;
pub mod lite;
mod report;
#[cfg(feature = "sign")]
mod sign;
mod verified;

pub use bundle::{SignatureState, SignerStatus, signatures, verify_bundle};
pub use error::{KeyPrefix, TrustError};
pub use hash::{Sha256, sha256};
pub use keys::{Keys, verify_signature};
pub use report::ReportKey;
#[cfg(feature = "sign")]
pub use sign::{SigningKey, sign_bundle, sign_lite};
pub use verified::Verified;

/// First bytes of what is signed for a bundle; the SHA-256 of preamble, signers and header follows.
pub const BUNDLE_DOMAIN: [u8; 13] = *b"ff-bundle-v1\0";
/// First bytes of what the tag of a health report is over; the message follows.
pub const REPORT_DOMAIN: [u8; 13] = *b"ff-report-v1\0";
