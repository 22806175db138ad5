//! On-device inference with signed int8 bundles, staged updates and fallback: the library that applications link.
//!
//! ```text
//! VerifiedFile   a mapped bundle whose signatures hold
//! Model          its plan, proved sound; weights stay in the file
//! Session        an arena and the kernels of this CPU; run() allocates nothing; one thread, or as many as are asked for;
//!                set_image, set_audio, set_row and answer do what the bundle says about raw inputs and answers
//!
//! Agent          keeps one model up to date: poll, validate, trial, commit, fallback
//!   Live         what serves, for many threads: swaps, shadow, gates, outcomes
//!   Transport    how files of the repository arrive: HTTP, a folder, your own
//!   Store        what is on the device: state, bundles, metadata
//!   validate     golden vectors, latency and memory on this very device
//!   watchdog     in a thread with a deadline, or in a process of its own
//! ```
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agent;
mod arena;
mod batch;
pub mod conditions;
mod error;
pub mod health;
pub mod live;
mod map;
mod model;
mod pool;
mod process;
mod session;
pub mod store;
pub mod transport;
pub mod validate;
mod verified;
pub mod watchdog;

pub use agent::{Agent, AgentConfig};
pub use arena::Memory;
pub use error::{Error, hex};
pub use fleetfoot_engine as engine;
pub use fleetfoot_format as format;
pub use fleetfoot_kernels::Kernels;
pub use fleetfoot_preprocess as preprocess;
pub use fleetfoot_trust::{Keys, TrustError};
pub use fleetfoot_update as update;
pub use live::{Live, LiveConfig};
pub use map::Bytes;
pub use model::Model;
pub use process::{Answer, Label};
pub use session::Session;
pub use verified::{BundleInfo, VerifiedFile};
