//! Rollouts: what a release manager plans, and what the numbers say about it. No IO: text and sums come in, decisions go out.
//!
//! ```text
//! read      YAML -> Policy, every problem with its line
//! presets   policies to begin from
//! directive what devices are told in a stage
//! gates     what the sums say: go on, promote, hold, roll back, with the numbers
//! plan      what a policy will do to a fleet: exposure by day, bytes, and which faults it could notice
//! simulate  a fleet under virtual time, with the real policy, gates and device state machine
//! stats     sequential tests on sums over device-days
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod directive;
pub mod gates;
pub mod plan;
pub mod policy;
pub mod presets;
pub mod read;
pub mod simulate;
pub mod stats;
mod units;

pub use fleetfoot_settings::Problem;
pub use policy::Policy;
pub use units::duration_text;

/// The JSON Schema of a policy, for editors. The reader ([`read`]) tells more.
pub const POLICY_SCHEMA: &str = include_str!("policy.schema.json");
