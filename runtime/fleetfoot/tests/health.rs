//! Health on a device: sessions are counted, reports are made once and survive power cuts, full disks and weeks without a network.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "no repository is needed here")]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use fleetfoot::{
    Model, Session, VerifiedFile,
    format::{
        baseline::{Baseline, TensorSketch},
        report::{Arm, Message, Report},
    },
    health::{
        Answer, Context, DAY_BYTES, ErrorKind, Observer, Outcomes, ReportConfig, ReportTransport, Reporter, Sent, Tally,
    },
    store::Disk,
    transport::TransportError,
};
use fleetfoot_trust::ReportKey;
use support::{INPUT, NOW, Release, kernels, release_keys};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Midnight of the day of NOW.
const MIDNIGHT: i64 = NOW - NOW % DAY;

fn model(dir: &Path) -> (VerifiedFile, Arc<Model>) {
    let path = dir.join("model.ff");
    std::fs::write(&path, Release::new(1).bundle()).unwrap();
    let file = VerifiedFile::open(&path, &release_keys()).unwrap();
    let model = Arc::new(Model::from_file(&file).unwrap());
    (file, model)
}

fn context() -> Context {
    Context { rollout: "kws-2026-11".into(), hourly: true, arm: Arm::Treatment, bundle: [7; 32], ..Context::default() }
}

fn config() -> ReportConfig {
    ReportConfig::new("linux-arm64")
}

/// A receiver as the one in release/server: each nonce and part once.
#[derive(Default)]
struct Receiver {
    seen: Mutex<BTreeMap<([u8; 16], u8), Report>>,
    posts: AtomicU64,
    key: Option<ReportKey>,
    /// What happens to post number n: arrives, answer arrives.
    fate: Option<fn(u64) -> (bool, bool)>,
}

impl Receiver {
    fn inferences(&self) -> u64 {
        self.seen.lock().unwrap().values().map(|report| u64::from(report.counts.inferences)).sum()
    }
}

impl ReportTransport for Receiver {
    fn post(&self, body: &[u8]) -> Result<Answer, TransportError> {
        let n = self.posts.fetch_add(1, Ordering::Relaxed);
        let (arrives, answered) = self.fate.map_or((true, true), |fate| fate(n));
        let mut rest = body;
        while arrives && !rest.is_empty() {
            let (message, after) = Message::split(rest).unwrap();
            assert!(self.key.as_ref().is_none_or(|key| key.verify(&message)), "the tag is good");
            let report = message.read().unwrap();
            let mut seen = self.seen.lock().unwrap();
            let before = seen.insert((report.nonce, report.part), report.clone());
            assert!(before.is_none_or(|before| before == report), "the same part is the same report");
            rest = after;
        }
        if answered { Ok(Answer::Taken) } else { Ok(Answer::Later) }
    }
}

#[test]
fn sessions_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (file, model) = model(dir.path());
    let plain = Observer::of(&file, &model).unwrap();
    assert!(plain.baseline().is_none(), "this bundle has none");
    // The baseline knows inputs of 0 to 63, and outputs that are nowhere near.
    let mut bins = [0; 16];
    (bins[8], bins[9], bins[10], bins[11]) = (500, 500, 500, 500);
    let sketch = |lo, hi, bins| [TensorSketch { lo, hi, bins }].into_iter().collect();
    let mut elsewhere = [0; 16];
    elsewhere[0] = 2000;
    let baseline = Baseline { inputs: sketch(0.0, 63.0, bins), outputs: sketch(-128.0, 127.0, elsewhere) };
    let observer = Observer::new(&model, Some(baseline.clone()));
    let run = |probe: &mut fleetfoot::health::Probe, session: &mut Session, first: u8| {
        let mut input = INPUT;
        input[..8].fill(first);
        session.set_input(0, &input).unwrap();
        probe.run(session).unwrap();
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut session = Session::new(Arc::clone(&model), kernels()).unwrap();
                let mut probe = observer.probe();
                (0..250).for_each(|i| run(&mut probe, &mut session, i % 2));
                probe.failed(ErrorKind::Memory);
            });
        }
    });
    observer.count(|tally| {
        tally.counters.fallbacks += 1;
        tally.metrics[0].record(0.5);
    });
    let tally = observer.take();
    assert_eq!((tally.counters.inferences, tally.latency.count()), (1000, 1000));
    assert_eq!((tally.counters.errors[ErrorKind::Memory as usize], tally.counters.fallbacks), (4, 1));
    assert_eq!((tally.inputs[0].total(), tally.outputs[0].total()), (8000, 8000), "eight values of each");
    assert!(tally.inputs[0].bins[8..12].iter().all(|&n| n > 0), "over all of them: {:?}", tally.inputs[0]);
    assert_eq!((tally.counters.out_of_range, tally.counters.nan), (0, 0));
    let verdicts = tally.verdicts(Some(&baseline));
    assert!(verdicts[0].milli < 100 && !verdicts[0].output, "{verdicts:?}");
    assert!(verdicts[1].milli > 250 && verdicts[1].output, "{verdicts:?}");
    assert_eq!(observer.take(), Tally::default(), "what was taken is taken");

    let mut session = Session::new(Arc::clone(&model), kernels()).unwrap();
    let mut probe = observer.probe();
    for first in [1, 1, 1, 200, 3] {
        run(&mut probe, &mut session, first);
    }
    let tally = observer.take();
    assert_eq!((tally.counters.constant, tally.counters.inferences), (2, 5), "twice the answer of the run before");
    assert!(tally.counters.out_of_range >= 1, "200 is -56 in int8");
    // A run is counted once, also where its inputs and its outputs are out of range.
    let baseline = Baseline { inputs: sketch(0.0, 63.0, bins), outputs: sketch(-128.0, -128.0, elsewhere) };
    let observer = Observer::new(&model, Some(baseline));
    let mut probe = observer.probe();
    for (first, expected) in [(0, 1), (200, 1)] {
        run(&mut probe, &mut session, first);
        assert_eq!(observer.take().counters.out_of_range, expected, "input {first}");
    }
    // The inputs of a run that gave no answer count, too.
    session.set_input(0, &[200; 64]).unwrap();
    probe.before(&session);
    probe.failed(ErrorKind::Engine);
    assert_eq!(observer.take().counters.out_of_range, 1);
}

/// What observing costs is printed; what it answers is what it answered without.
#[test]
fn observing_changes_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let (_, model) = model(dir.path());
    let observer = Observer::new(&model, None);
    let mut probe = observer.probe();
    let mut session = Session::new(model, kernels()).unwrap();
    const RUNS: u32 = 200_000;
    let mut best = [f64::INFINITY; 3];
    for _ in 0..5 {
        let start = Instant::now();
        (0..RUNS).for_each(|_| session.run().unwrap());
        let bare = start.elapsed();
        let start = Instant::now();
        for _ in 0..RUNS {
            probe.before(&session);
            probe.after(&session, 1000);
        }
        let counting = start.elapsed();
        let start = Instant::now();
        (0..RUNS).for_each(|_| probe.run(&mut session).unwrap());
        let observed = start.elapsed().saturating_sub(bare);
        for (best, took) in best.iter_mut().zip([bare, counting, observed]) {
            *best = best.min(took.as_secs_f64() * 1e9 / f64::from(RUNS));
        }
    }
    println!("a run {:.0} ns; counting it {:.0} ns; with two looks at the clock {:.0} ns", best[0], best[1], best[2]);
    session.set_input(0, &INPUT).unwrap();
    probe.run(&mut session).unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(1).output());
    assert_eq!(observer.take().counters.inferences, 5 * 2 * RUNS + 1);
}

fn observer(dir: &Path) -> Observer {
    Observer::new(&model(dir).1, None)
}

fn infer(observer: &Observer, n: u32) {
    observer.count(|tally| (0..n).for_each(|i| tally.inference(u64::from(1000 + i))));
}

#[test]
fn hours_in_a_rollout_and_days_without() {
    let dir = tempfile::tempdir().unwrap();
    let observer = observer(dir.path());
    for (rollout, ticks_per_day, parts) in [("kws-2026-11", 24 * 4, 7..=24), ("", 24 * 4, 1..=1)] {
        let folder = dir.path().join(format!("queue-{rollout}"));
        let key = ReportKey::new([5; 32]);
        let mut reporter =
            Reporter::open(&folder, ReportConfig { key: Some(key.clone()), ..config() }, [1; 16]).unwrap();
        let context = Context { rollout: rollout.into(), hourly: !rollout.is_empty(), ..context() };
        for tick in 0..=3 * ticks_per_day {
            infer(&observer, 10);
            reporter.tick(&observer, &context, MIDNIGHT + tick * DAY / ticks_per_day).unwrap();
        }
        let receiver = Receiver { key: Some(key), ..Receiver::default() };
        let sent = reporter.send(&receiver).unwrap();
        assert_eq!((sent.dropped, sent.waiting), (0, 0), "rollout {rollout:?}");
        assert!(parts.contains(&(sent.taken / 3)), "rollout {rollout:?}: {sent:?}");
        assert!(reporter.queue().is_empty().unwrap());
        let seen = receiver.seen.lock().unwrap();
        let nonces: BTreeSet<_> = seen.values().map(|report| (report.day, report.nonce)).collect();
        assert_eq!(nonces.len(), 3, "one nonce for each day");
        assert_eq!(seen.values().map(|r| r.counts.inferences).sum::<u32>(), 10 * 3 * ticks_per_day as u32);
        let bytes = receiver_bytes(&seen) / 3 + 32 * sent.taken / 3;
        println!("rollout {rollout:?}: {} reports, {bytes} bytes a day", sent.taken / 3);
        assert!(bytes < DAY_BYTES);
        let arms: BTreeSet<_> = seen.values().map(|report| report.arm).collect();
        assert_eq!(arms, [if rollout.is_empty() { Arm::None } else { Arm::Treatment }].into());
    }
}

fn receiver_bytes(seen: &BTreeMap<([u8; 16], u8), Report>) -> usize {
    seen.values().map(|report| report.encode(false, &mut [0; 2048]).unwrap()).sum()
}

#[test]
fn a_part_is_about_one_version() {
    let dir = tempfile::tempdir().unwrap();
    let observer = observer(dir.path());
    let mut reporter = Reporter::open(&dir.path().join("queue"), config(), [1; 16]).unwrap();
    let after = Context { bundle: [8; 32], ..context() };
    infer(&observer, 5);
    reporter.tick(&observer, &context(), MIDNIGHT).unwrap();
    infer(&observer, 7);
    reporter.tick(&observer, &after, MIDNIGHT + 60).unwrap();
    reporter.tick(&observer, &after, MIDNIGHT + DAY).unwrap();
    let receiver = Receiver::default();
    reporter.send(&receiver).unwrap();
    let seen = receiver.seen.lock().unwrap();
    let told: Vec<_> = seen.values().map(|r| (r.part, r.bundle[0], r.counts.inferences)).collect();
    assert_eq!(told, [(0, 7, 5), (1, 8, 7)]);
}

/// A device that is offline for long keeps a month, and sends it when it can, over a network that loses questions and answers.
#[test]
fn a_month_without_a_network() {
    let dir = tempfile::tempdir().unwrap();
    let observer = observer(dir.path());
    let context = Context { rollout: String::new(), ..context() };
    let folder = dir.path().join("queue");
    for days in [30, 45] {
        let mut reporter = Reporter::open(&folder, config(), [1; 16]).unwrap();
        for day in 0..days {
            infer(&observer, 100);
            reporter.tick(&observer, &context, MIDNIGHT + day * DAY + 9 * HOUR).unwrap();
            // The device is switched off every night.
            reporter = Reporter::open(&folder, config(), [1; 16]).unwrap();
        }
        reporter.tick(&observer, &context, MIDNIGHT + days * DAY).unwrap();
        let kept = days.min(31) as usize;
        assert_eq!(reporter.queue().len().unwrap(), kept, "reports of 30 days and the one of today");
        let receiver = Receiver {
            fate: Some(|n| [(false, false), (true, false), (true, true)][n as usize % 3]),
            ..Default::default()
        };
        let mut taken = 0;
        for _ in 0..20 {
            taken += reporter.send(&receiver).unwrap().taken;
        }
        assert_eq!((taken, receiver.inferences()), (kept, 100 * kept as u64), "each once");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn what_waits_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let observer = observer(dir.path());
    let folder = dir.path().join("queue");
    let mut reporter = Reporter::open(&folder, ReportConfig { max_bytes: 4096, ..config() }, [1; 16]).unwrap();
    for hour in 0..400 {
        infer(&observer, 100);
        reporter.tick(&observer, &context(), MIDNIGHT + hour * HOUR).unwrap();
    }
    let lens = std::fs::read_dir(&folder).unwrap().map(|entry| {
        let entry = entry.unwrap();
        if entry.file_name() == "open" { 0 } else { entry.metadata().unwrap().len() }
    });
    let all: u64 = lens.sum();
    assert!((2048..=4096).contains(&all), "{all} bytes wait");
    let receiver = Receiver::default();
    reporter.send(&receiver).unwrap();
    let last = receiver.seen.lock().unwrap().values().map(|r| (r.day, r.part)).max();
    let day = (MIDNIGHT / DAY + 16) as u32;
    assert_eq!(last.map(|(day, _)| day), Some(day), "the newest stay");
}

#[test]
fn switched_off_and_one_in_k() {
    let dir = tempfile::tempdir().unwrap();
    let observer = observer(dir.path());
    let folder = dir.path().join("queue");
    let mut reporter = Reporter::open(&folder, config(), [1; 16]).unwrap();
    for day in 0..3 {
        infer(&observer, 1);
        reporter.tick(&observer, &context(), MIDNIGHT + day * DAY).unwrap();
    }
    assert_eq!(reporter.queue().len().unwrap(), 2);
    let mut off = Reporter::open(&folder, ReportConfig { enabled: false, ..config() }, [1; 16]).unwrap();
    off.tick(&observer, &context(), MIDNIGHT + 3 * DAY).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "what waited is gone, and nothing comes");
    assert_eq!(off.send(&Receiver::default()).unwrap(), Sent::default());

    let mut selected = [0; 2];
    for device in 0..4000u32 {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&device.to_le_bytes());
        let reporter = Reporter::open(&folder, ReportConfig { one_in: 10, ..config() }, key).unwrap();
        for (n, rollout) in selected.iter_mut().zip(["kws-2026-11", "kws-2026-12"]) {
            *n += u32::from(reporter.selected(rollout));
            assert_eq!(reporter.selected(rollout), reporter.selected(rollout));
        }
    }
    assert!(selected.iter().all(|n| (320..480).contains(n)), "one in ten of 4000: {selected:?}");
    let bad = ReportConfig::new("Jane's phone");
    assert_eq!(Reporter::open(&folder, bad.clone(), [1; 16]).unwrap_err().code(), 425);
    // Off is off, whatever the class is called and whatever a power cut left.
    for name in ["open", "open.new", "20000-0-00000007.report", "20000-1-00000007.report.new"] {
        std::fs::write(folder.join(name), b"?").unwrap();
    }
    Reporter::open(&folder, ReportConfig { enabled: false, ..bad }, [1; 16]).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

fn told(receiver: &Receiver) -> Vec<(u32, u8, u32)> {
    let seen = receiver.seen.lock().unwrap();
    let mut told: Vec<_> = seen.values().map(|r| (r.day - DAY_0, r.part, r.counts.inferences)).collect();
    told.sort_unstable();
    told
}

fn nonces(receiver: &Receiver) -> usize {
    receiver.seen.lock().unwrap().keys().map(|(nonce, _)| *nonce).collect::<BTreeSet<_>>().len()
}

const DAY_0: u32 = (MIDNIGHT / DAY) as u32;

/// A clock is years ahead for two polls: what waits stays, what was counted then is of today, and outcomes are told once. Before its clock is set
/// at all, a device goes on with the day that it has.
#[test]
fn a_clock_that_was_years_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let (observer, folder) = (observer(dir.path()), dir.path().join("queue"));
    let open = || Reporter::open(&folder, config(), [1; 16]).unwrap();
    let mut reporter = open();
    let context = Context { hourly: false, ..context() };
    let [a, b, c, d, e, f, g, h, ..] = fleetfoot_trust::sha256(context.rollout.as_bytes());
    let rollout = [a, b, c, d, e, f, g, h];
    let sums = [Outcomes { day: DAY_0, rollout, arm: Arm::Treatment, n: 2, sum: 1.0, sum_squares: 1.0 }];
    let tick = |reporter: &mut Reporter, n, now| {
        infer(&observer, n);
        reporter.tick(&observer, &context, now).unwrap();
        reporter.late(&sums, &context, now).unwrap();
    };
    tick(&mut reporter, 5, MIDNIGHT);
    tick(&mut reporter, 7, MIDNIGHT + DAY);
    for seconds in [0, 600] {
        tick(&mut reporter, 3, MIDNIGHT + 3000 * DAY + seconds);
        reporter = open();
    }
    tick(&mut reporter, 4, MIDNIGHT + DAY + HOUR);
    reporter = open();
    tick(&mut reporter, 2, 60);
    tick(&mut reporter, 1, MIDNIGHT + 2 * DAY);
    tick(&mut reporter, 1, MIDNIGHT + 3 * DAY);
    let receiver = Receiver::default();
    assert_eq!(reporter.send(&receiver).unwrap(), Sent { taken: 5, dropped: 0, waiting: 0 });
    assert_eq!(told(&receiver), [(0, 0, 5), (0, 1, 0), (1, 0, 7), (1, 1, 12), (2, 0, 1)]);
    assert_eq!(nonces(&receiver), 3, "one nonce a day");
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(seen.values().flat_map(|report| &report.metrics).map(|metric| metric.n).sum::<u32>(), 2);
}

/// A device that leaves the ones that report and comes back on the same day has one nonce on it.
#[test]
fn one_nonce_a_day_over_rollouts() {
    let dir = tempfile::tempdir().unwrap();
    let (observer, folder) = (observer(dir.path()), dir.path().join("queue"));
    let mut reporter = Reporter::open(&folder, ReportConfig { one_in: 2, ..config() }, [1; 16]).unwrap();
    let name = |selected: bool| {
        let mut names = (0..).map(|n| format!("kws-{n}"));
        names.find(|name| reporter.selected(name) == selected).unwrap()
    };
    let (with, without) = (name(true), name(false));
    for (rollout, n, at) in [(&with, 5, 0), (&without, 9, 600), (&with, 7, 1200), (&with, 1, DAY)] {
        let context = Context { rollout: rollout.clone(), hourly: false, ..context() };
        infer(&observer, n);
        reporter.tick(&observer, &context, MIDNIGHT + at).unwrap();
    }
    let receiver = Receiver::default();
    reporter.send(&receiver).unwrap();
    assert_eq!((told(&receiver), nonces(&receiver)), (vec![(0, 0, 5), (0, 1, 7)], 1));
}

/// A day has 48 reports at most, under one nonce; what comes behind them is not told, and the next day begins anew.
#[test]
fn a_day_of_many_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (observer, folder) = (observer(dir.path()), dir.path().join("queue"));
    let open = || Reporter::open(&folder, config(), [1; 16]).unwrap();
    let mut reporter = open();
    for n in 0..62 {
        let at = if n < 60 { n } else { DAY * (n - 59) };
        infer(&observer, 1);
        reporter.tick(&observer, &Context { bundle: [n as u8; 32], ..context() }, MIDNIGHT + at).unwrap();
        if matches!(n, 47 | 48 | 55) {
            reporter = open();
        }
    }
    let receiver = Receiver::default();
    reporter.send(&receiver).unwrap();
    let expected: Vec<_> = (0..48).map(|part| (0, part, 1)).chain([(1, 0, 1)]).collect();
    assert_eq!((told(&receiver), nonces(&receiver)), (expected, 2));
}

/// A disk whose operation number `at` fails half way, and after it all, or only that one.
#[derive(Debug, Default)]
struct Failing {
    done: AtomicU64,
    at: u64,
    for_ever: bool,
}

impl Failing {
    fn fails(&self) -> bool {
        let n = self.done.fetch_add(1, Ordering::Relaxed);
        n == self.at || (self.for_ever && n > self.at)
    }

    fn or(&self, does: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if self.fails() { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { does() }
    }
}

impl Disk for Failing {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.fails() {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        // What the file system of the test runs on keeps is not what is tested.
        self.or(|| file.metadata().map(|_| ()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.or(|| std::fs::rename(from, to))
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.or(|| Ok(()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.or(|| std::fs::remove_file(path))
    }
}

/// Every operation on the disk fails once. A refusal loses nothing; a death loses at most what came after the last tick that went
/// well. Neither counts anything twice.
#[test]
fn a_report_is_counted_once_whatever_the_disk_does() {
    let dir = tempfile::tempdir().unwrap();
    let observer = observer(dir.path());
    let (mut ended, mut at) = ([false; 2], 0);
    while ended != [true; 2] {
        for (ended, dies) in ended.iter_mut().zip([false, true]) {
            let folder = dir.path().join(format!("queue-{at}-{dies}"));
            let disk = Arc::new(Failing { at, for_ever: dies, ..Failing::default() });
            let mut reporter =
                Reporter::open(&folder, ReportConfig { disk: Arc::clone(&disk) as _, ..config() }, [1; 16]).unwrap();
            let receiver = Receiver::default();
            let (mut told, mut safe, mut dead) = (0, 0, false);
            for hour in 0..9 {
                infer(&observer, 10);
                told += 10;
                let now = MIDNIGHT + hour * HOUR;
                let ticked = reporter.tick(&observer, &context(), now);
                let sent = if hour % 4 == 3 { reporter.send(&receiver).map(|_| ()) } else { Ok(()) };
                if ticked.is_ok() {
                    safe = told;
                }
                if dies && !dead && (ticked.is_err() || sent.is_err()) {
                    // The power is back, the disk is good again.
                    dead = true;
                    let good = Arc::new(Failing { at: u64::MAX, ..Failing::default() });
                    reporter = Reporter::open(&folder, ReportConfig { disk: good, ..config() }, [1; 16]).unwrap();
                    let lost = told - safe;
                    told = safe;
                    assert!(lost <= 10);
                }
            }
            if dies && !dead {
                let good = Arc::new(Failing { at: u64::MAX, ..Failing::default() });
                reporter = Reporter::open(&folder, ReportConfig { disk: good, ..config() }, [1; 16]).unwrap();
            }
            // Each closes what the one before booked; one of them may meet the operation that fails.
            let failed =
                (3..7).filter(|day| reporter.tick(&observer, &context(), MIDNIGHT + day * DAY).is_err()).count();
            assert!(failed + usize::from(reporter.send(&receiver).is_err()) <= 1);
            reporter.send(&receiver).unwrap();
            let counted = receiver.inferences();
            // A tick that died after its report was durable has told what it could not confirm.
            let more = if dead { 10 } else { 0 };
            assert!((told..=told + more).contains(&counted), "operation {at}, dies {dies}: {counted} of {told}");
            *ended = disk.done.load(Ordering::Relaxed) <= at;
        }
        at += 1;
    }
    assert!(at > 60, "{at} operations were made to fail");
}
