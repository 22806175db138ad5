//! The journal of predictions over restarts, torn writes, full disks and a great many entries.

use std::{
    fs,
    io::Write as _,
    sync::atomic::{AtomicBool, Ordering},
};

use super::*;
use crate::store::OsDisk;

const ROLLOUT: [u8; 8] = *b"rollout1";
const NOW: i64 = 1_795_500_000;

fn config(max_pending: usize) -> PredictionConfig {
    PredictionConfig { max_pending, ..PredictionConfig::default() }
}

fn open(path: &Path, max_pending: usize) -> Outcomes {
    Outcomes::open(path, config(max_pending), Arc::new(OsDisk)).unwrap()
}

fn predict(outcomes: &mut Outcomes) -> PredictionId {
    outcomes.predicted(ROLLOUT, Arm::Treatment, NOW).unwrap()
}

/// n, sum and sum of squares of all that is kept.
fn total(outcomes: &Outcomes) -> (u64, f64, f64) {
    outcomes.sums().iter().fold((0, 0.0, 0.0), |t, s| (t.0 + s.n, t.1 + s.sum, t.2 + s.sum_squares))
}

#[test]
fn whatever_is_cut_off_the_rest_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("predictions");
    let mut outcomes = open(&path, 100);
    let ids: Vec<_> = (0..10).map(|_| predict(&mut outcomes)).collect();
    for (i, id) in ids.iter().enumerate().take(5) {
        outcomes.outcome(*id, i as f64, NOW).unwrap();
    }
    drop(outcomes);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), HEADER.len() + 15 * ENTRY);
    for len in 0..=bytes.len() {
        let torn = dir.path().join("torn");
        fs::write(&torn, &bytes[..len]).unwrap();
        let mut outcomes = open(&torn, 100);
        let whole = len.saturating_sub(HEADER.len()) / ENTRY;
        let (predicted, known) = (whole.min(10), whole.saturating_sub(10));
        assert_eq!(total(&outcomes).0, known as u64, "{len}");
        assert_eq!(outcomes.pending.len(), predicted - known, "{len}");
        // It goes on from there, and what is added is there after the next start.
        let id = predict(&mut outcomes);
        for (i, id) in ids.iter().enumerate() {
            let code = outcomes.outcome(*id, 1.0, NOW).map_err(|error| error.code());
            let expected = if i < known {
                Err(472)
            } else if i < predicted {
                Ok(())
            } else {
                Err(471)
            };
            assert_eq!(code, expected, "{len}, prediction {i}");
        }
        drop(outcomes);
        let mut outcomes = open(&torn, 100);
        outcomes.outcome(id, 1.0, NOW).unwrap();
        assert_eq!(total(&outcomes).0, predicted as u64 + 1, "{len}");
    }
}

#[test]
fn damage_ends_the_file_and_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("predictions");
    let mut outcomes = open(&path, 100);
    for _ in 0..3 {
        predict(&mut outcomes);
    }
    let bytes = fs::read(&path).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bad).unwrap();
        match Outcomes::open(&path, config(100), Arc::new(OsDisk)) {
            Ok(outcomes) => assert!(outcomes.pending.len() < 3, "bit {bit}"),
            Err(error) => {
                assert!((32..40).contains(&bit) && error.code() == 420, "bit {bit}: {error}");
                assert_eq!(fs::read(&path).unwrap(), bad);
            }
        }
    }
}

#[test]
fn a_long_life_is_bounded_and_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("predictions");
    let mut outcomes = open(&path, 50);
    let (mut n, mut sum, mut squares, mut waiting) = (0u64, 0.0, 0.0, VecDeque::new());
    for round in 0..20_000u64 {
        waiting.push_back(predict(&mut outcomes));
        if round % 3 == 0 {
            let value = (round % 17) as f64;
            // Up to 30 predictions late, of the 50 that may wait.
            let late = waiting.len().saturating_sub(30);
            outcomes.outcome(waiting[late], value, NOW).unwrap();
            waiting.remove(late);
            (n, sum, squares) = (n + 1, sum + value, squares + value * value);
        }
        while waiting.len() > 50 {
            waiting.pop_front();
        }
        let len = fs::metadata(&path).unwrap().len();
        assert!(len <= HEADER.len() as u64 + most_entries(&config(50)) * ENTRY as u64, "{len}");
        assert!(outcomes.pending.len() <= 50);
        if round % 997 == 0 {
            assert_eq!(total(&outcomes), (n, sum, squares));
            drop(outcomes);
            outcomes = open(&path, 50);
            assert_eq!(total(&outcomes), (n, sum, squares), "after a restart");
        }
    }
    // Sums of days that are long over leave with the next new file.
    outcomes.compact(NOW + DAYS * DAY_S).unwrap();
    assert_eq!((total(&outcomes).0, outcomes.pending.len()), (0, 0));
}

/// A disk that writes half and fails, while it is broken.
#[derive(Debug, Default)]
struct Broken(AtomicBool);

impl Disk for Broken {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all(bytes)
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("predictions");
    let disk = Arc::new(Broken::default());
    let mut outcomes = Outcomes::open(&path, config(10), disk.clone()).unwrap();
    let id = predict(&mut outcomes);
    disk.0.store(true, Ordering::Relaxed);
    assert!(outcomes.predicted(ROLLOUT, Arm::Control, NOW).unwrap_err().is_disk_full());
    assert!(outcomes.outcome(id, 1.0, NOW).unwrap_err().is_disk_full());
    assert!(outcomes.compact(NOW).unwrap_err().is_disk_full());
    disk.0.store(false, Ordering::Relaxed);
    outcomes.outcome(id, 1.0, NOW).unwrap();
    drop(outcomes);
    assert_eq!(total(&open(&path, 10)), (1, 1.0, 1.0));
}
