//! `admit`: the process in which `device` lets a bundle prove itself. Not for people.

use std::{ffi::OsString, io::Write as _};

use crate::failure::Failure;

/// Let a bundle prove itself; `device` calls this.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What `device` says.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    job: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let answer = fleetfoot::watchdog::answer(&args.job, super::device::pause);
    // A parent that is gone needs no answer.
    let _ = writeln!(std::io::stdout(), "{answer}");
    Ok(())
}
