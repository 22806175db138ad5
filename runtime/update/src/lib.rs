//! The life of a model on a device: a slot state machine without IO.
//!
//! The machine has no clock, no socket, no flash and no heap. A driver tells it what happened ([`Event`]) and does what it asks for
//! ([`Action`]); the same machine runs in a firmware, in a phone and in the fleet simulator.
//!
//! ```text
//!             Offer           Fetched          Validated         Resume           enough good inferences
//!   (none) ----------> Writing -----> Ready ------------> Validated ----> Trial ----------------------> active
//!                        |              |                  [Shadow] ----^    |                            |
//!                        |              |                  if asked for      |                   Condemn, while watched
//!                        |              |                     |              |                            |
//!                        |              |                     +- disagrees --+--> rejected[]      last good; rejected[]
//!                        +-- Defer -----+--> Deferred -- Resume, in time --> Writing or Ready
//!                        |              |                                   |
//!                        +-- Refuse ----+-- Refuse, no attempt left --------+-- bad inference --> rejected[]
//! ```
//!
//! **What is durable comes first.** Every change of the state record is handed out as [`Action::Persist`]. The driver stores
//! [`Machine::record`], says [`Event::Persisted`], and only then gets the action that relies on it. If storing fails, the driver
//! reads back what is stored and makes a new machine from it: the machine never guesses which of two records survived.
//!
//! **Attempts.** Before code of a candidate runs, in validation, in the shadow or in a trial, an attempt is taken from it and that is made durable. When
//! this run of the code ends in order (validated, refused, suspended), the attempt is given back. So only a death of
//! the process costs an attempt, and a candidate that kills its process is rejected when none is left, without anybody's help.
//!
//! | phase | event | becomes | durable before the action | action |
//! |---|---|---|---|---|
//! | none, or any before the trial | `Offer`, taken | `Writing(0)`, all attempts | yes | `Fetch` |
//! | any | `Offer`, not taken | same | no | `NotTaken` |
//! | `Writing` | `Resume` | same | no | `Fetch` from the bookmark |
//! | `Writing` | `Written` | `Writing(offset)` | yes | none |
//! | `Writing` | `Fetched` | `Ready`, one attempt taken | yes | `Validate` |
//! | `Ready` | `Resume` | one attempt taken | yes | `Validate` |
//! | `Ready`, validating | `Validated` | `Validated`, attempt back | yes | `Validated` |
//! | `Validated`, a shadow is asked for | `Resume` | `Shadow(0)`, one attempt taken | yes | `StartShadow` |
//! | `Validated` | `Resume` | `Trial(0)`, one attempt taken | yes | `StartTrial` |
//! | `Shadow`, after a start | `Resume` | one attempt taken | yes | `StartShadow` |
//! | `Shadow`, none is asked for any more | `Resume` | `Trial(0)`, one attempt taken | yes | `StartTrial` |
//! | `Shadow` | `Shadow` or `Resume`, enough, and they agree | `Trial(0)`, its attempt stays taken | yes | `StartTrial` |
//! | `Shadow` | `Shadow` or `Resume`, enough, and they do not | rejected: disagrees | yes | `Rejected` |
//! | `Trial`, after a start | `Resume` | one attempt taken | yes | `StartTrial` |
//! | `Ready`, `Shadow`, `Trial` | `Resume`, no attempt left | rejected: crash loop | yes | `Rejected` |
//! | `Trial` | `Inferences`, enough good | active; the old active is last good | yes | `Committed` |
//! | `Trial` | `Inferences`, one bad | rejected | yes | `Rejected` |
//! | `Trial` | `ConfirmHealthy` | active | yes | `Committed` |
//! | `Shadow`, `Trial`, running | `Condemn` | rejected | yes | `Rejected` |
//! | active, watched, with another version to go back to | `Condemn` | last good, newest kept or factory is active; rejected | yes | `Rejected` |
//! | `Ready`, `Shadow`, `Trial`, running | `Suspend` | same, attempt back, counters saved | yes | none |
//! | any | `Refuse` | rejected | yes | `Rejected` |
//! | `Writing`, `Ready` | `Defer` | `Deferred`, attempt back | yes | `Deferred` |
//! | `Deferred` | `Resume`, early | same | no | `Deferred` |
//! | any | `Withdraw` | none | yes | `Withdrawn` |
//! | any | `Rollback` | none; another kept version is active | yes | `RolledBack` |
//! | `Ready`, validating | `Lost` | `Deferred`, the attempt stays spent | yes | `Deferred` |
//! | a trial that runs | `Lost` | same, nothing runs, the attempt stays spent | yes | none |
//! | code that runs | `Lost`, no attempt left | rejected | yes | `Rejected` |
//! | `Deferred` | `Retry` | as `Resume` when its time has come | | |
//! | any | `Unfit` | rejected and forgotten; last good, newest kept or factory serves | yes | `FellBack`, of a candidate `Rejected` |
//! | any | `Enrol`, `RolloutRole`, where they say something new | same | yes | none |
//! | any | `Broken` | the file is forgotten; last good, newest kept or factory serves | yes | `FellBack` |
//!
//! A trial is over when `min_inferences` were good and the health window has passed, or after four windows with at
//! least one good and none bad, so that a device that is seldom used does not stay in a trial for ever.
//!
//! A shadow is judged once, when it has both its number of runs and its bake time. Without runs there is no verdict: the candidate stays in
//! the shadow and the active version serves, until the driver asks for no shadow any more or a newer version is offered.
//! A gate that says `stays` rejects, but lets nothing through: for a rollout that has not come further than its stage shadow. Where nothing is active there is nothing to
//! compare with, and the trial begins at once.
//!
//! **The watch.** After a commit the active version can be condemned for `watch_s` seconds. A version that is condemned with nothing left to
//! go back to stays: an answer that may be wrong is the driver's to withhold, not the machine's.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod change;
pub mod cohort;
mod config;
pub mod directive;
pub mod envelope;
mod error;
mod event;
mod machine;

pub use cohort::{Exposure, Stage};
pub use config::{Config, ShadowGate};
pub use directive::Directive;
pub use envelope::{Decision, Envelope, Why, decide};
pub use error::UpdateError;
pub use event::{Action, Event, NotTaken};
pub use fleetfoot_format::record::{self, Arm};
pub use machine::Machine;
