//! One file per command.

pub(crate) mod bench;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod pack;
pub(crate) mod run;
pub(crate) mod verify;
