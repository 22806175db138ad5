//! `isa [--rounds N]`: whether the instruction set that is picked is the fastest that this CPU has, on every network.
//!
//! Instruction sets run in turn, round after round, so that noise hits all; the least times are compared. Exits with 1 if
//! another than the picked one is faster by more than what two runs of the same differ.
#![forbid(unsafe_code)]

use std::{process::ExitCode, time::Instant};

use fleetfoot::{Kernels, Session};

/// Least times closer than this are the same.
const SAME: f64 = 0.03;
/// Microseconds for one instruction set in one round.
const SLICE_US: f64 = 4000.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match &args[..] {
        [] => Some(20),
        [flag, value] if flag == "--rounds" => value.parse().ok().filter(|&n: &u32| n > 0),
        _ => None,
    };
    let Some(rounds) = rounds else {
        eprintln!("usage: isa [--rounds N]");
        return ExitCode::from(2);
    };
    match run(rounds) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a row for each network; whether the pick was the fastest on all.
fn run(rounds: u32) -> Result<bool, String> {
    let all: Vec<Kernels> = Kernels::available().collect();
    let pick = Kernels::detect();
    print!("{:20}", "least us");
    all.iter().for_each(|kernels| print!("{:>12}", kernels.name()));
    println!("  picked {}", pick.name());
    let mut is_fastest = true;
    for network in fleetfoot_benches::networks()? {
        let sessions: Result<Vec<Session>, String> = all.iter().map(|&kernels| network.session(kernels)).collect();
        let least = least_us(&mut sessions?, rounds)?;
        print!("{:20}", network.name);
        least.iter().for_each(|us| print!("{us:12.1}"));
        let picked = all.iter().zip(&least).find(|(kernels, _)| **kernels == pick).map_or(f64::NAN, |(_, us)| *us);
        let (best, best_us) = all
            .iter()
            .zip(&least)
            .fold((pick, picked), |best, (&kernels, &us)| if us < best.1 { (kernels, us) } else { best });
        // Not `>`: a missing number is no proof.
        if picked <= best_us * (1.0 + SAME) {
            println!("  the fastest");
        } else {
            println!("  NOT the fastest: {} is", best.name());
            is_fastest = false;
        }
    }
    Ok(is_fastest)
}

/// The least time of each session, all in turn.
fn least_us(sessions: &mut [Session], rounds: u32) -> Result<Vec<f64>, String> {
    let mut least = vec![f64::INFINITY; sessions.len()];
    for _ in 0..rounds {
        for (session, least) in sessions.iter_mut().zip(&mut least) {
            let slice = Instant::now();
            loop {
                let start = Instant::now();
                session.run().map_err(|e| e.to_string())?;
                *least = least.min(start.elapsed().as_secs_f64() * 1e6);
                if slice.elapsed().as_secs_f64() * 1e6 >= SLICE_US {
                    break;
                }
            }
        }
    }
    Ok(least)
}
