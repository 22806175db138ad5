//! One file per command.

pub(crate) mod admit;
pub(crate) mod audit;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod device;
pub(crate) mod diff;
pub(crate) mod eval;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod lite;
pub(crate) mod openapi;
pub(crate) mod pack;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod quantize;
pub(crate) mod repo;
pub(crate) mod rollout;
pub(crate) mod rotate;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod token;
pub(crate) mod verify;
