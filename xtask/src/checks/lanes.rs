//! Running checks side by side.
//!
//! ```text
//! one lane    each check in this process, its output streamed
//! several     each lane takes the next check and runs `xtask check NAME`; the output is kept and printed whole when the check ends
//! ```

use std::{
    env,
    fs::{self, File},
    process::{Command, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Instant,
};

use super::{Check, Outcome, Room, Row};
use crate::{setup::Ready, shell::Tree};

/// Runs `chosen` in this many lanes. The rows are in the order of the table, whichever ended first.
pub(super) fn run(tree: &Tree, chosen: &[&'static Check], ready: &Ready, lanes: usize) -> Vec<Row> {
    let (state, ended) = (Mutex::new(State::new(chosen)), Condvar::new());
    // Nobody panics while holding it; if somebody did, the rows would still be whole.
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let lane = || {
        loop {
            let mut now = lock();
            let index = loop {
                match now.take() {
                    Some(index) => break index,
                    None if now.waiting.is_empty() => return,
                    None => now = ended.wait(now).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(now);
            let (check, start) = (chosen[index], Instant::now());
            let outcome = match check.area.and_then(|area| ready.missing(area)) {
                Some(what) if Tree::is_ci() => Outcome::Failed(format!("not run: {what}")),
                Some(what) => Outcome::Skipped(what),
                None if lanes == 1 => here(tree, check),
                None => beside(tree, check),
            };
            if let Outcome::Failed(fault) = &outcome {
                println!("FAILED {}: {fault}", check.name);
            }
            let mut now = lock();
            now.running.retain(|running| running.name != check.name);
            now.rows.push((index, (check.name, start.elapsed(), outcome)));
            ended.notify_all();
        }
    };
    thread::scope(|scope| {
        for _ in 1..lanes {
            scope.spawn(lane);
        }
        lane();
    });
    let mut state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.rows.sort_by_key(|(index, _)| *index);
    state.rows.into_iter().map(|(_, row)| row).collect()
}

struct State {
    /// With their places in the table.
    waiting: Vec<(usize, &'static Check)>,
    running: Vec<&'static Check>,
    rows: Vec<(usize, Row)>,
}

impl State {
    fn new(chosen: &[&'static Check]) -> Self {
        Self { waiting: chosen.iter().copied().enumerate().collect(), running: Vec::new(), rows: Vec::new() }
    }

    /// The first check that waits and whose room is free begins to run.
    fn take(&mut self) -> Option<usize> {
        let is_free = |check: &Check| check.room == Room::Own || !self.running.iter().any(|r| r.room == check.room);
        let place = self.waiting.iter().position(|(_, check)| is_free(check))?;
        let (index, check) = self.waiting.remove(place);
        self.running.push(check);
        Some(index)
    }
}

fn here(tree: &Tree, check: &Check) -> Outcome {
    println!("\n=== {} ===", check.name);
    (check.run)(tree).map_or_else(Outcome::Failed, |()| Outcome::Ok)
}

/// The check in a process of its own, with both of its outputs in one file, in the order in which they were written. A file and not a
/// pipe: what a check might leave running would hold the end of a pipe open.
fn beside(tree: &Tree, check: &Check) -> Outcome {
    println!("... {} begins", check.name);
    let folder = tree.target.join("checks");
    let log = folder.join(format!("{}.log", check.name));
    let ended = fs::create_dir_all(&folder).and_then(|()| File::create(&log)).and_then(|file| {
        let stderr = file.try_clone()?;
        Command::new(env::current_exe()?)
            .args(["check", check.name])
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(stderr)
            .status()
    });
    let ended = match ended {
        Ok(ended) => ended,
        Err(fault) => return Outcome::Failed(format!("{}: {fault}", log.display())),
    };
    let said = fs::read(&log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    println!("\n=== {} ===\n{}", check.name, said.trim_end());
    if ended.success() {
        return Outcome::Ok;
    }
    let last = said.lines().rev().find_map(|line| line.strip_prefix("xtask: "));
    Outcome::Failed(last.map_or_else(|| ended.to_string(), String::from))
}

#[cfg(test)]
mod tests {
    use super::{Check, Room, State};

    #[test]
    fn two_of_one_room_wait_for_each_other() {
        static TABLE: [Check; 4] = [
            Check { name: "a", area: None, room: Room::Debug, run: |_| Ok(()) },
            Check { name: "b", area: None, room: Room::Debug, run: |_| Ok(()) },
            Check { name: "c", area: None, room: Room::Own, run: |_| Ok(()) },
            Check { name: "d", area: None, room: Room::Own, run: |_| Ok(()) },
        ];
        let mut state = State::new(&TABLE.iter().collect::<Vec<_>>());
        assert_eq!([state.take(), state.take(), state.take(), state.take()], [Some(0), Some(2), Some(3), None]);
        state.running.retain(|check| check.name != "a");
        assert_eq!([state.take(), state.take()], [Some(1), None]);
    }
}
