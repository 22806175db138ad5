//! The store under a disk that fills up and a power supply that fails.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use fleetfoot::{
    format::record::{Candidate, MAX_RECORD_LEN, Phase, Reason, Record, Rejected, Version},
    store::{Disk, Loaded, ModelStore, OsDisk, Store},
};
use sha2::{Digest as _, Sha256};

/// A disk that does not wait: what is tested here is what is written, not that it lasts.
#[derive(Debug)]
struct Fast;

impl Disk for Fast {
    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with so many bytes left. Like a real one it lets files be overwritten in place when it is full, and writes what still
/// fits before it fails.
#[derive(Debug)]
struct SmallDisk {
    left: AtomicU64,
}

impl SmallDisk {
    fn new(left: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(left) })
    }
}

impl Disk for SmallDisk {
    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        let end = file.stream_position()? + bytes.len() as u64;
        let growth = end.saturating_sub(file.metadata()?.len());
        let left = self.left.load(Ordering::Relaxed);
        if growth <= left {
            self.left.store(left - growth, Ordering::Relaxed);
            return file.write_all(bytes);
        }
        self.left.store(0, Ordering::Relaxed);
        file.write_all(&bytes[..bytes.len() - (growth - left) as usize])?;
        Err(io::ErrorKind::StorageFull.into())
    }
}

/// A disk that loses power after so many bytes of one write: the first ones are new, the others as they were; or, as some disks
/// do, the last ones are new.
#[derive(Debug)]
struct Torn {
    bytes: usize,
    backwards: bool,
}

impl Disk for Torn {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.backwards {
            let start = bytes.len() - self.bytes.min(bytes.len());
            file.seek(io::SeekFrom::Start(start as u64))?;
            file.write_all(&bytes[start..])?;
        } else {
            file.write_all(&bytes[..self.bytes.min(bytes.len())])?;
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

fn model(root: &Path, disk: Arc<dyn Disk>) -> (Store, ModelStore) {
    let store = Store::open(root, disk).unwrap();
    let model = store.model("kws").unwrap();
    (store, model)
}

fn version(bytes: &[u8], number: u64) -> Version {
    Version { sha256: Sha256::digest(bytes).into(), number, len: bytes.len() as u64, attempt: 1, epoch: 0 }
}

fn record(seq: u64, kept: usize) -> Record {
    let versions = (0..kept as u64).map(|n| version(&n.to_le_bytes(), n)).collect();
    Record { seq, kept: versions, ..Record::default() }
}

#[test]
fn a_torn_record_leaves_the_old_or_the_new_one() {
    let mut seen = [0, 0];
    for (old_kept, new_kept) in [(0, 5), (5, 0), (2, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let slots = [0, 1].map(|n| dir.path().join(format!("kws/record.{n}")));
        let (older, old, new) = (record(6, 1), record(7, old_kept), record(8, new_kept));
        let (store, mut models) = model(dir.path(), Arc::new(Fast));
        assert_eq!(models.load().unwrap(), Loaded::Fresh);
        models.save(&older).unwrap();
        models.save(&old).unwrap();
        drop((store, models));
        let before = slots.clone().map(|slot| fs::read(slot).unwrap());

        let used = new.encode(&mut [0; MAX_RECORD_LEN]).unwrap();
        let forwards = (0..=used + 2).map(|bytes| Torn { bytes, backwards: false });
        let backwards = (MAX_RECORD_LEN - used..=MAX_RECORD_LEN).map(|bytes| Torn { bytes, backwards: true });
        for torn in forwards.chain(backwards) {
            let what = format!("{torn:?}");
            for (slot, bytes) in slots.iter().zip(&before) {
                fs::write(slot, bytes).unwrap();
            }
            let (store, mut models) = model(dir.path(), Arc::new(torn));
            assert_eq!(models.load().unwrap(), Loaded::Record(Box::new(old.clone())));
            models.save(&new).unwrap_err();
            drop((store, models));

            let (_store, mut models) = model(dir.path(), Arc::new(Fast));
            let Loaded::Record(found) = models.load().unwrap() else { panic!("{what}") };
            assert!(*found == old || *found == new, "{what}: {found:?}");
            seen[usize::from(*found == new)] += 1;
            let next = record(9, 4);
            models.save(&next).unwrap();
            assert_eq!(models.load().unwrap(), Loaded::Record(Box::new(next)), "{what}");
        }
    }
    assert!(seen[0] > 100 && seen[1] > 3, "{seen:?}");
}

#[test]
fn damage_and_newer_runtimes() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, mut models) = model(dir.path(), Arc::new(OsDisk));
    models.save(&record(1, 0)).expect_err("nothing is written before the state was loaded");
    models.load().unwrap();
    for seq in 1..=5 {
        models.save(&record(seq, 0)).unwrap();
    }
    let slot = |n: usize| dir.path().join(format!("kws/record.{n}"));
    let newest = usize::from(Record::decode(&fs::read(slot(1)).unwrap()).unwrap().seq == 5);
    for (name, damage) in [("empty", &b""[..]), ("noise", &[0xA5; 100])] {
        fs::write(slot(newest), damage).unwrap();
        assert_eq!(models.load().unwrap(), Loaded::Record(Box::new(record(4, 0))), "{name}");
    }
    fs::write(slot(1 - newest), b"FFSR").unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Restored(Box::new(record(0, 0))));
    fs::write(slot(2), b"FFSR").unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Lost);
    models.save(&record(1, 0)).unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Record(Box::new(record(1, 0))));

    // A record of version 2 with an intact checksum: leave everything as it is.
    let mut newer = b"FFSR\x02\x00\x03\x00new".to_vec();
    newer.extend(crc32fast::hash(&newer).to_le_bytes());
    fs::write(slot(newest), &newer).unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Newer { version: 2 });
    models.save(&record(9, 0)).unwrap_err();
    assert_eq!(fs::read(slot(newest)).unwrap(), newer);
}

#[test]
fn one_agent_for_each_model_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Arc::new(OsDisk)).unwrap();
    let other = Store::open(dir.path(), Arc::new(OsDisk)).unwrap();
    let first = store.model("kws").unwrap();
    assert_eq!(other.model("kws").unwrap_err().code(), 423);
    let second = other.model("digits").unwrap();
    assert_eq!(store.model("digits").unwrap_err().code(), 423);
    drop((first, second));
    other.model("kws").unwrap();
    for bad in ["tuf", "", "..", "a/b", ".lock", "KWS"] {
        assert_eq!(store.model(bad).unwrap_err().code(), 425, "{bad:?}");
    }
    let patience = std::time::Duration::from_millis(20);
    let turn = store.lock_metadata(patience).unwrap();
    assert_eq!(other.lock_metadata(patience).unwrap_err().code(), 437);
    assert!(!store.metadata().unwrap().contains_key(".lock"), "the lock is no metadata");
    drop(turn);
    other.lock_metadata(patience).unwrap();
}

/// Both slots are lost: what was rejected, the floors and what served come from the third copy.
#[test]
fn the_third_copy() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::new(u64::MAX);
    let (_store, mut models) = model(dir.path(), disk.clone());
    models.load().unwrap();
    let candidate =
        |offset| Some(Candidate { version: version(b"new", 9), attempts_left: 2, phase: Phase::Writing { offset } });
    let rejected = [Rejected { sha256: [7; 32], attempt: 3, reason: Reason::CRASH_LOOP }].into_iter().collect();
    let lasting = Record { epoch_floor: 5, rejected, ..record(0, 3) };
    let slot = |n: usize| dir.path().join(format!("kws/record.{n}"));
    for seq in 1..=4 {
        models.save(&Record { seq, candidate: candidate(seq), ..lasting.clone() }).unwrap();
    }
    let third = fs::read(slot(2)).unwrap();
    assert_eq!(Record::decode(&third), Ok(lasting.clone()), "without the candidate");
    // Counters and candidates leave it alone.
    let written = fs::metadata(slot(2)).unwrap().modified().unwrap();
    models.save(&Record { seq: 5, candidate: candidate(100), ..lasting.clone() }).unwrap();
    assert_eq!(fs::metadata(slot(2)).unwrap().modified().unwrap(), written);
    let lose = || [0, 1].map(|n| fs::write(slot(n), b"noise").unwrap());
    lose();
    assert_eq!(models.load().unwrap(), Loaded::Restored(Box::new(lasting.clone())));
    let next = Record { epoch_floor: 6, seq: 1, ..lasting.clone() };
    models.save(&next).unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Record(Box::new(next.clone())));
    // Removed instead of damaged; and the third copy follows every change that lasts.
    for n in 0..2 {
        let _ = fs::remove_file(slot(n));
    }
    assert_eq!(models.load().unwrap(), Loaded::Restored(Box::new(Record { seq: 0, ..next })));
    lose();
    fs::write(slot(2), b"noise").unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Lost);
    // A newer runtime's third copy is left alone, and everything else with it.
    let mut newer = b"FFSR\x02\x00\x03\x00new".to_vec();
    newer.extend(crc32fast::hash(&newer).to_le_bytes());
    fs::write(slot(2), &newer).unwrap();
    assert_eq!(models.load().unwrap(), Loaded::Newer { version: 2 });
    models.save(&record(9, 0)).unwrap_err();
}

#[test]
fn a_full_disk_loses_nothing() {
    let bundle: Vec<u8> = (0..5000u32).map(|i| (i * 7) as u8).collect();
    let wanted = version(&bundle, 3);
    let now = |models: &mut ModelStore| match models.load().unwrap() {
        Loaded::Record(record) => Some(*record),
        _ => None,
    };
    // The disk fills up at every point of: two records, metadata, a bundle.
    for room in (0..12_000).step_by(97) {
        let dir = tempfile::tempdir().unwrap();
        let disk = SmallDisk::new(room);
        let (store, mut models) = model(dir.path(), disk.clone());
        models.load().unwrap();
        let (mut stored, mut metadata) = (None, None);
        for (seq, text) in [(1, "first"), (2, "second")] {
            let saved = models.save(&record(seq, 3));
            let found = now(&mut models);
            match saved {
                Ok(()) => assert_eq!(found, Some(record(seq, 3)), "room {room}"),
                Err(error) => assert!(error.is_disk_full() && (found == stored || found == Some(record(seq, 3)))),
            }
            stored = found;
            match store.put_metadata("timestamp.json", text.as_bytes()) {
                Ok(()) => metadata = Some(text.as_bytes().to_vec()),
                Err(error) => assert!(error.is_disk_full(), "{error}"),
            }
        }
        let mut partial = models.partial(&wanted).unwrap();
        let full = bundle.chunks(512).find_map(|chunk| partial.append(chunk).err());
        assert!(full.is_none_or(|error| error.kind() == io::ErrorKind::StorageFull));
        let offset = partial.offset();
        drop(partial);
        assert_eq!(now(&mut models), stored, "room {room}");
        assert_eq!(store.metadata().unwrap().remove("timestamp.json"), metadata, "room {room}");
        let lengths = [0, 1].map(|n| fs::metadata(dir.path().join(format!("kws/record.{n}"))).map_or(0, |m| m.len()));
        if lengths == [MAX_RECORD_LEN as u64; 2] {
            // Both slots have their length: the state can be written on a disk that is full to the last byte.
            disk.left.store(0, Ordering::Relaxed);
            for seq in 3..6 {
                models.save(&record(seq, 5)).unwrap();
            }
            assert_eq!(now(&mut models), Some(record(5, 5)), "room {room}");
        }
        // Room again: the download goes on where it stopped.
        disk.left.store(1 << 20, Ordering::Relaxed);
        let mut partial = models.partial(&wanted).unwrap();
        assert_eq!(partial.offset(), offset, "room {room}");
        partial.append(&bundle[offset as usize..]).unwrap();
        let path = models.install(&partial.finish().unwrap(), &wanted.sha256).unwrap();
        assert_eq!(fs::read(path).unwrap(), bundle);
    }
}

#[test]
fn bundles_are_checked_private_and_collected() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, models) = model(dir.path(), Arc::new(OsDisk));
    let bundle = b"a bundle".as_slice();
    let wanted = version(bundle, 1);

    let mut partial = models.partial(&wanted).unwrap();
    partial.append(b"a ").unwrap();
    assert_eq!(partial.append(b"bundle and more").unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    let path = partial.path().to_owned();
    assert_eq!(partial.finish().unwrap_err().code(), 422, "too short");
    assert!(path.exists(), "what is there can go on");

    fs::write(&path, b"a bundlf").unwrap();
    assert_eq!(models.partial(&wanted).unwrap().finish().unwrap_err().code(), 421, "wrong bytes");
    assert!(!path.exists(), "what is wrong does not stay");

    fs::write(&path, b"longer than the bundle").unwrap();
    let mut partial = models.partial(&wanted).unwrap();
    assert_eq!(partial.offset(), 0, "what is too long begins again");
    partial.append(bundle).unwrap();
    let installed = models.install(&partial.finish().unwrap(), &wanted.sha256).unwrap();
    assert_eq!(installed, models.version_path(&wanted.sha256));
    assert!(!path.exists());
    let permissions = fs::metadata(&installed).unwrap().permissions();
    assert!(permissions.readonly());
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o400);

    models.partial(&version(b"another", 2)).unwrap();
    fs::write(installed.with_file_name("leftover"), b"").unwrap();
    assert_eq!(models.collect(|sha256| *sha256 != wanted.sha256).unwrap(), 2);
    assert!(installed.exists());
    assert_eq!(models.collect(|_| true).unwrap(), 1);
}
