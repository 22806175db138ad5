//! Proof on the target: a device without clock, JSON, TLS or heap follows a chain of trust and takes a header and a directive, and refuses
//! every changed file.
//!
//! ```text
//! FF_FIRST      the link that is compiled in      \
//! FF_TRUST      trust.bin, which goes on from it   |  named by variables of the build: files of a repository that
//! FF_HEADER     header.bin                         |  `fleetfoot publish` and `fleetfoot repo lite` have written
//! FF_DIRECTIVE  directive.bin                     /
//! ```
//! The name of the model is the one that the compiled-in link states: here the files are those of this run, whichever model it took. A
//! product compiles its name in. With the feature `baseline` everything is left out but the printing, to weigh the rest.
#![no_std]
#![no_main]

#[allow(dead_code, reason = "the slot and the painted stack are those of `golden`")]
mod board;
mod tick;

use semihosting::println;

#[board::entry]
fn main() -> ! {
    tick::start();
    let start = tick::now();
    let status = check::run();
    println!("{} instructions in all", tick::now() - start);
    semihosting::process::exit(status)
}

/// What is weighed.
#[cfg(not(feature = "baseline"))]
mod check {
    use fleetfoot_format::lite::{Frame, Kind, MAX_FRAME_LEN, Root as Link, State};
    use fleetfoot_trust::lite::{Decision, Device, LiteError, Root};
    use semihosting::println;

    use crate::tick;

    static FIRST: &[u8] = include_bytes!(env!("FF_FIRST"));
    static TRUST: &[u8] = include_bytes!(env!("FF_TRUST"));
    static HEADER: &[u8] = include_bytes!(env!("FF_HEADER"));
    static DIRECTIVE: &[u8] = include_bytes!(env!("FF_DIRECTIVE"));
    /// A bit of every so many bytes is changed.
    const STRIDE: usize = 5;
    /// The chain has as many links in this program at most.
    const MAX_LINKS: usize = 2;

    pub(crate) fn run() -> i32 {
        match accepted().and_then(|state| refused(&state)) {
            Ok(n) => {
                println!("{n} changed files, all refused");
                0
            }
            Err(code) => {
                println!("FAILED: {code}");
                1
            }
        }
    }

    fn device() -> Result<Device<'static>, u16> {
        let frame = Frame::whole(FIRST, Kind::Root).map_err(|e| e.code())?;
        Ok(Device { model: Link::parse(&frame).map_err(|e| e.code())?.model, hardware: "cortex-m4f" })
    }

    /// The good files, measured.
    fn accepted() -> Result<State, u16> {
        let device = device()?;
        let code = |e: LiteError| e.code();
        let start = tick::now();
        let first = Root::first(FIRST, &device).map_err(code)?;
        println!("compiled-in link, version {}: {} instructions", first.version(), tick::now() - start);
        let start = tick::now();
        let (root, state) = first.follow(TRUST, &State::default(), &device).map_err(code)?;
        println!("trust.bin to version {}: {} instructions", root.version(), tick::now() - start);
        let start = tick::now();
        let decision = root.decide(HEADER, DIRECTIVE, None, &state, &device).map_err(code)?;
        println!("header.bin and directive.bin: {} instructions", tick::now() - start);
        let header = decision.header();
        println!("{} release {} of {} bytes: {:?}", header.model, header.number, header.len, decision.order(9_999));
        Ok(decision.state())
    }

    /// Changed copies of each file; how many. The state is the one after the good files.
    fn refused(state: &State) -> Result<usize, u16> {
        let device = device()?;
        let mut buffer = [0; MAX_LINKS * MAX_FRAME_LEN];
        let mut n = 0;
        for (which, file) in [TRUST, HEADER, DIRECTIVE].into_iter().enumerate() {
            let copy = buffer.get_mut(..file.len()).ok_or(104_u16)?;
            copy.copy_from_slice(file);
            for at in (0..file.len()).step_by(STRIDE) {
                copy[at] ^= 1 << (at % 8);
                let mut files = [TRUST, HEADER, DIRECTIVE];
                files[which] = copy;
                if take(&files, state, &device).is_ok() {
                    println!("byte {at} of file {which} was changed, and it was taken");
                    return Err(0);
                }
                copy[at] ^= 1 << (at % 8);
                n += 1;
            }
        }
        // Nothing that was refused has changed what is stored: the good files are still good, and older ones are not.
        take(&[TRUST, HEADER, DIRECTIVE], state, &device).map_err(|e| e.code())?;
        let later = State { header: state.header + 1, ..*state };
        match take(&[TRUST, HEADER, DIRECTIVE], &later, &device) {
            Err(LiteError::Stale { .. }) => Ok(n + 1),
            _ => Err(0),
        }
    }

    fn take<'a>(files: &[&'a [u8]; 3], state: &State, device: &Device<'_>) -> Result<Decision<'a>, LiteError> {
        let [chain, header, directive] = files;
        let (root, state) = Root::first(FIRST, device)?.follow(chain, state, device)?;
        root.decide(header, directive, None, &state, device)
    }
}

#[cfg(feature = "baseline")]
mod check {
    use semihosting::println;

    /// The kinds of printing that the other one has.
    pub(crate) fn run() -> i32 {
        println!("{} {:?}", crate::tick::now(), Some(1u8));
        0
    }
}
