//! A device with a power switch: releases come, good ones and bad ones of every kind, and the power fails at every moment that
//! matters: before a record is written, in the middle of the write, after it, in a download, while code of a candidate runs.
//!
//! What must hold at every start: some version serves, its file is there, and it is a good one. What must hold in
//! the end: the newest good release serves.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use fleetfoot_update::{
    Action, Config, Event, Machine, ShadowGate,
    record::{MAX_RECORD_LEN, Reason, Record, Version},
};

const CONFIG: Config = Config {
    attempts: 2,
    min_inferences: 3,
    health_window_s: 0,
    slots: 3,
    checkpoint: 1,
    watch_s: 100,
    shadow: Some(ShadowGate { min_runs: 2, bake_s: 0, agreement_bp: 9000, stays: false }),
};

/// Releases that a device looks at; fewer than the rejections it remembers.
const LOOKED_AT: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    GoldenMismatch,
    DiesInValidation,
    DiesInShadow,
    Disagrees,
    DiesInTrial,
    BadInference,
    /// Fails only after it was committed.
    BadWhenWatched,
}

const KINDS: [Kind; 8] = [
    Kind::Good,
    Kind::GoldenMismatch,
    Kind::DiesInValidation,
    Kind::DiesInShadow,
    Kind::Disagrees,
    Kind::DiesInTrial,
    Kind::BadInference,
    Kind::BadWhenWatched,
];

/// The power is gone; only what is in [`Device`] is left.
struct Dark;

/// What survives: two record slots, and the complete files. With it the world around: what is released, and when power fails.
struct Device {
    slots: [Vec<u8>; 2],
    files: BTreeSet<[u8; 32]>,
    releases: BTreeMap<u64, (Version, Kind)>,
    /// Asked at every moment that matters: `None` goes on, `Some(k)` cuts, in a write after byte `k`.
    cut: Box<dyn FnMut() -> Option<usize>>,
    cuts: u64,
    /// Asked where nothing is left to do: `Some(k)` goes back to the `k`-th kept version.
    rollback: Box<dyn FnMut() -> Option<usize>>,
    /// Deaths by the code of each candidate itself.
    deaths: BTreeMap<([u8; 32], u32), u32>,
}

impl Device {
    fn new(cut: impl FnMut() -> Option<usize> + 'static) -> Self {
        let factory = Version { sha256: [1; 32], number: 1, len: 10, attempt: 1, epoch: 0 };
        let record = Record { factory: Some(factory), ..Record::default() };
        let mut slots = [vec![0; MAX_RECORD_LEN], vec![0; MAX_RECORD_LEN]];
        record.encode(&mut slots[0]).unwrap();
        let releases = BTreeMap::from([(1, (factory, Kind::Good))]);
        Self {
            slots,
            files: BTreeSet::from([[1; 32]]),
            releases,
            cut: Box::new(cut),
            cuts: 0,
            rollback: Box::new(|| None),
            deaths: BTreeMap::new(),
        }
    }

    fn release(&mut self, kind: Kind) {
        let number = self.releases.len() as u64 + 1;
        let mut sha256 = [0; 32];
        sha256[..8].copy_from_slice(&number.to_le_bytes());
        self.releases.insert(number, (Version { sha256, number, len: 10, attempt: 1, epoch: 0 }, kind));
    }

    fn kind(&self, version: &Version) -> Kind {
        self.releases[&version.number].1
    }

    fn load(&self) -> Record {
        let records = self.slots.iter().filter_map(|slot| Record::decode(slot).ok());
        records.max_by_key(|record| record.seq).expect("one slot is always intact")
    }

    fn power(&mut self) -> Result<(), Dark> {
        match (self.cut)() {
            None => Ok(()),
            Some(_) => {
                self.cuts += 1;
                Err(Dark)
            }
        }
    }

    /// Writes the record over the older slot; a cut leaves the first bytes new and the others as they were.
    fn store(&mut self, record: &Record) -> Result<(), Dark> {
        let seq = |slot: &Vec<u8>| Record::decode(slot).map_or(0, |r| r.seq);
        let older = usize::from(seq(&self.slots[0]) >= seq(&self.slots[1]) && Record::decode(&self.slots[0]).is_ok());
        let mut new = vec![0; MAX_RECORD_LEN];
        let len = record.encode(&mut new).unwrap();
        self.power()?;
        if let Some(k) = (self.cut)() {
            self.cuts += 1;
            let k = k % (len + 1);
            self.slots[older][..k].copy_from_slice(&new[..k]);
            return Err(Dark);
        }
        self.slots[older] = new;
        self.power()
    }

    /// From power on to power off, or to where nothing is left to do.
    fn run(&mut self) -> Result<(), Dark> {
        let mut machine = Machine::new(CONFIG, self.load());
        self.check(&machine);
        let mut event = Event::Resume { now: 0 };
        loop {
            let mut action = machine.step(event).unwrap();
            if action == Action::Persist {
                self.store(machine.record())?;
                action = machine.step(Event::Persisted).unwrap();
            }
            self.check(&machine);
            event = match action {
                Action::Fetch { version, .. } => {
                    self.power()?;
                    self.files.insert(version.sha256);
                    Event::Fetched
                }
                Action::Validate { version } => {
                    self.power()?;
                    match self.kind(&version) {
                        Kind::GoldenMismatch => Event::Refuse(Reason::GOLDEN_MISMATCH),
                        Kind::DiesInValidation => return self.die(&version),
                        _ => Event::Validated,
                    }
                }
                Action::Validated { .. } => Event::Resume { now: 0 },
                Action::StartShadow { version } => self.shadow(&version)?,
                Action::None if machine.in_shadow().is_some() => {
                    let version = *machine.in_shadow().unwrap();
                    self.shadow(&version)?
                }
                Action::StartTrial { version } => self.inference(&version)?,
                Action::None if machine.in_trial() => {
                    let version = *machine.serving().unwrap();
                    self.inference(&version)?
                }
                Action::NotTaken(_) => return Ok(()),
                Action::None | Action::Committed { .. } | Action::Rejected { .. } | Action::RolledBack { .. } => {
                    self.files.retain(|sha256| !machine.may_delete(sha256));
                    if let Some(&Version { sha256, .. }) = machine.record().active()
                        && self.kind(machine.record().active().unwrap()) == Kind::BadWhenWatched
                    {
                        self.power()?;
                        event = Event::Condemn { sha256, reason: Reason::CONSTANT };
                        continue;
                    }
                    match self.newest(&machine) {
                        Some(version) => Event::Offer { version, now: 0 },
                        None => match (self.rollback)() {
                            Some(k) if machine.record().kept.iter().any(|v| self.kind(v) == Kind::Good) => {
                                let kept = machine.record().kept.iter().filter(|v| self.kind(v) == Kind::Good);
                                let kept: Vec<_> = kept.collect();
                                Event::Rollback { to: Some(kept[k % kept.len()].sha256), remote: false }
                            }
                            _ => return Ok(()),
                        },
                    }
                }
                other => panic!("{other:?}"),
            };
        }
    }

    fn shadow(&mut self, version: &Version) -> Result<Event, Dark> {
        self.power()?;
        match self.kind(version) {
            Kind::DiesInShadow => self.die(version).map(|()| unreachable!()),
            Kind::Disagrees => Ok(Event::Shadow { runs: 1, agree: 0, now: 0 }),
            _ => Ok(Event::Shadow { runs: 1, agree: 1, now: 0 }),
        }
    }

    fn inference(&mut self, version: &Version) -> Result<Event, Dark> {
        self.power()?;
        match self.kind(version) {
            Kind::DiesInTrial => self.die(version).map(|()| unreachable!()),
            Kind::BadInference => Ok(Event::Inferences { good: 0, bad: 1, now: 0 }),
            _ => Ok(Event::Inferences { good: 1, bad: 0, now: 0 }),
        }
    }

    fn die(&mut self, version: &Version) -> Result<(), Dark> {
        *self.deaths.entry((version.sha256, version.attempt)).or_default() += 1;
        Err(Dark)
    }

    /// The newest release that was not rejected, of as many as the list of rejections holds for certain; a good one that power
    /// cuts got rejected is offered again.
    fn newest(&mut self, machine: &Machine) -> Option<Version> {
        let active = machine.record().active().map_or(0, |v| v.number);
        for (version, kind) in self.releases.values_mut().rev().take(LOOKED_AT).take_while(|(v, _)| v.number > active) {
            match machine.record().rejection(&version.sha256, version.attempt) {
                None => return Some(*version),
                Some(Reason::ROLLED_BACK) => {}
                Some(reason) if *kind == Kind::Good => {
                    assert_eq!(reason, Reason::CRASH_LOOP, "only lost power makes a good version look bad");
                    version.attempt += 1;
                    return Some(*version);
                }
                Some(_) => {}
            }
        }
        None
    }

    #[track_caller]
    fn check(&self, machine: &Machine) {
        let serving = machine.serving().expect("some version serves");
        assert!(self.files.contains(&serving.sha256), "the file of version {} is there", serving.number);
        let active = machine.record().active().unwrap();
        let watched = self.kind(active) == Kind::BadWhenWatched && machine.watches();
        assert!(watched || self.kind(active) == Kind::Good, "version {} is active", active.number);
        assert!(!watched || machine.fallback().is_some(), "there is a version to go back to");
        assert!(machine.in_trial() || serving == active);
        for (who, deaths) in &self.deaths {
            assert!(*deaths <= u32::from(CONFIG.attempts), "{who:?} killed the process {deaths} times");
        }
    }

    fn run_until_quiet(&mut self) {
        for _ in 0..10_000 {
            if self.run().is_ok() {
                return;
            }
        }
        panic!("the device never comes to rest");
    }

    /// Where the power is on, everything ends well.
    fn ends_well(&mut self) {
        (self.cut, self.rollback) = (Box::new(|| None), Box::new(|| None));
        self.run_until_quiet();
        let best = self.releases.values().rev().take(LOOKED_AT).find(|(_, kind)| *kind == Kind::Good);
        let (best, _) = best.expect("one of them is good");
        assert_eq!(self.load().active(), Some(best));
    }
}

/// Every moment of an update, and every pair of moments, for every kind of release, and writes torn at several lengths.
#[test]
fn every_moment_and_every_pair() {
    let mut cuts = 0;
    for kind in KINDS {
        let mut moments = usize::MAX;
        for first in 0.. {
            for second in std::iter::once(usize::MAX).chain(0..moments.min(60)) {
                for torn in [0, 1, 6, 9, 40, 80, 120, 160] {
                    let mut waits = vec![second, first];
                    let mut device = Device::new(move || match waits.last_mut() {
                        Some(0) => waits.pop().map(|_| torn),
                        Some(wait) => {
                            *wait -= 1;
                            None
                        }
                        None => None,
                    });
                    device.release(Kind::Good);
                    device.release(kind);
                    device.run_until_quiet();
                    cuts += device.cuts;
                    if second == usize::MAX && device.cuts == 0 {
                        moments = first;
                    }
                    device.ends_well();
                    // One lost power supply alone never gets a good version rejected.
                    if second == usize::MAX {
                        assert!(
                            device.releases.values().all(|(version, _)| version.attempt == 1),
                            "{kind:?}, moment {first}"
                        );
                    }
                }
            }
            if moments != usize::MAX {
                break;
            }
        }
        assert!(moments > 20, "{kind:?} has {moments} moments");
    }
    println!("{cuts} cuts");
    assert!(cuts > 10_000);
}

/// Long lives: forty releases in random order, rollbacks on a whim, under random cuts.
#[test]
fn random_lives() {
    let mut cuts = 0;
    let first = std::env::var("SEED").ok().map(|s| s.parse::<u64>().unwrap());
    for seed in first.map_or(1..=300, |seed| seed..=seed) {
        println!("SEED={seed}");
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut dice = next;
        let one_in = 3 + next() % 30;
        let mut device = Device::new(move || dice().is_multiple_of(one_in).then(|| (dice() >> 20) as usize));
        let mut whim = next;
        device.rollback = Box::new(move || whim().is_multiple_of(7).then(|| (whim() >> 20) as usize));
        for _ in 0..40 {
            device.release(KINDS[next() as usize % KINDS.len()]);
            for _ in 0..next() % 12 {
                let _ = device.run();
            }
        }
        cuts += device.cuts;
        device.release(Kind::Good);
        device.ends_well();
    }
    println!("{cuts} cuts");
    assert!(first.is_some() || cuts > 10_000, "{cuts}");
}
