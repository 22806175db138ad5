//! A peer in its process: `benches/peers/src/protocol.rs` tells what is said.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use crate::shell::{Result, on_path};

/// A running peer. It ends when it is dropped.
pub(super) struct Child {
    process: std::process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A peer that has loaded its network.
pub(super) struct Start {
    pub(super) child: Child,
    pub(super) version: String,
    /// Its outputs for all samples.
    pub(super) output: Vec<f32>,
}

impl Child {
    /// Starts `command`, pinned to `threads` cores, and waits until it is ready. `Err` is why it is absent.
    pub(super) fn start(command: &[&str], output: &Path, threads: usize) -> Result<Start> {
        // A peer that dies before it writes must not be judged by what another one left.
        let _ = std::fs::remove_file(output);
        let pinned = pin(threads)?;
        let all: Vec<&str> = pinned.iter().map(String::as_str).chain(command.iter().copied()).collect();
        let (program, args) = all.split_first().ok_or("no program")?;
        let mut process = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{program}: {e}"))?;
        let (Some(input), Some(lines)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("no pipes".into());
        };
        let mut child = Self { process, input: Some(input), output: BufReader::new(lines) };
        loop {
            let line = child.line()?;
            if let Some(why) = line.strip_prefix("absent ") {
                return Err(why.trim().into());
            }
            // Some peers greet on standard output.
            let Some(version) = line.strip_prefix("ready ") else { continue };
            let bytes = std::fs::read(output).map_err(|e| format!("{}: {e}", output.display()))?;
            let output = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            return Ok(Start { child, version: version.trim().into(), output });
        }
    }

    /// Times of `runs` inferences, in nanoseconds.
    pub(super) fn times(&mut self, runs: u64) -> Result<Vec<u64>> {
        let input = self.input.as_mut().ok_or("ended")?;
        writeln!(input, "{runs}").and_then(|()| input.flush()).map_err(|e| format!("ended: {e}"))?;
        let line = self.line()?;
        let times: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        if times.len() as u64 == runs { Ok(times) } else { Err(format!("answered: {}", line.trim())) }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("its process ended".into()),
            Ok(_) => Ok(line),
            Err(e) => Err(e.to_string()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        // Nothing is lost if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command before the command that pins it to the last `threads` cores; none where there is no `taskset`.
fn pin(threads: usize) -> Result<Vec<String>> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if threads > cores {
        return Err(format!("{threads} threads need as many cores, here are {cores}"));
    }
    if !is_pinned() {
        return Ok(Vec::new());
    }
    Ok(vec!["taskset".into(), "-c".into(), format!("{}-{}", cores - threads, cores - 1)])
}

/// Whether peers are pinned on this machine.
pub(super) fn is_pinned() -> bool {
    on_path("taskset").is_some()
}
