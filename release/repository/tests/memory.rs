//! An old folder with good signatures: the signers remember, and do not sign upon it.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use fleetfoot_repository::{Expiry, Online, Repository, RepositoryError, Signers, TopRole, memory_beside};
use support::{Device, Fixture, NOW, keys, kws};

/// A repository with a memory in another folder, beside the key of the timestamp.
struct Remembered {
    fixture: Fixture,
    keys: tempfile::TempDir,
}

impl Remembered {
    fn new() -> Self {
        let this = Self { fixture: Fixture::new(), keys: tempfile::tempdir().unwrap() };
        this.repository().adopt().unwrap();
        this
    }

    fn memory(&self) -> PathBuf {
        memory_beside(&self.keys.path().join("timestamp.key"), self.fixture.folder.path()).unwrap()
    }

    fn repository(&self) -> Repository {
        self.fixture.repository().with_memory(self.memory())
    }

    fn publish(&self, number: u64) -> u16 {
        let (bytes, releases) = (kws(number), keys(&[7, 8]));
        code(self.repository().publish(&bytes, &releases, self.fixture.online(), Expiry::default(), NOW))
    }

    fn resign(&self) -> u16 {
        code(self.repository().resign(self.fixture.online(), Expiry::default(), NOW))
    }

    /// Every operation that signs.
    fn all(&self) -> [u16; 6] {
        let online = self.fixture.online();
        let (expiry, root, targets) = (Expiry::default(), keys(&[1, 2]), keys(&[3]));
        let new = Signers { signing: &targets, others: &[], threshold: 1 };
        let roots = Signers { signing: &root, others: &[], threshold: 2 };
        let repository = self.repository();
        let releases = keys(&[7, 8]);
        let release = Signers { signing: &releases, others: &[], threshold: 2 };
        [
            self.publish(50),
            self.resign(),
            code(repository.renew_targets(&targets, online, expiry, NOW)),
            code(repository.renew_root(&roots, &root, expiry, NOW)),
            code(repository.rotate(TopRole::Targets, &new, &root, online, expiry, NOW)),
            code(repository.rotate_releases("kws", &release, &targets, online, expiry, NOW)),
        ]
    }
}

fn code<T>(result: Result<T, RepositoryError>) -> u16 {
    result.map_or_else(|error| error.code(), |_| 0)
}

fn restore(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>, now: &BTreeMap<PathBuf, Vec<u8>>) {
    for path in now.keys().filter(|path| path.starts_with(folder)) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn yesterday_is_not_signed_upon() {
    let world = Remembered::new();
    let fixture = &world.fixture;
    assert_eq!(world.publish(3), 0);
    let yesterday = fixture.files();
    assert_eq!(world.publish(4), 0);
    let mut device = Device::new(fixture);
    assert_eq!(device.numbers(fixture, NOW), Ok(vec![3, 4]));
    let today = fixture.files();

    // The timestamp alone, and the whole folder.
    fs::write(fixture.metadata("timestamp.json"), &yesterday[&fixture.metadata("timestamp.json")]).unwrap();
    assert_eq!(world.all(), [710; 6]);
    restore(fixture.folder.path(), &yesterday, &fixture.files());
    assert_eq!(world.all(), [710; 6]);
    assert_eq!(fixture.files(), yesterday, "nothing was signed");
    // Without a memory the old state would have been signed upon: release 4 would be taken back.
    assert_eq!(code(fixture.repository().resign(fixture.online(), Expiry::default(), NOW)), 0);

    // The newest copy is there again: all is well.
    restore(fixture.folder.path(), &today, &fixture.files());
    assert_eq!(world.resign(), 0);
    assert_eq!(world.publish(5), 0);
    assert_eq!(device.numbers(fixture, NOW), Ok(vec![3, 4, 5]));
}

#[test]
fn the_way_out_where_the_newest_state_is_lost() {
    let world = Remembered::new();
    let fixture = &world.fixture;
    assert_eq!(world.publish(3), 0);
    let backup = fixture.files();
    for number in [4, 5] {
        assert_eq!(world.publish(number), 0);
    }
    let mut device = Device::new(fixture);
    assert_eq!(device.numbers(fixture, NOW), Ok(vec![3, 4, 5]));
    restore(fixture.folder.path(), &backup, &fixture.files());
    assert_eq!(world.publish(6), 710);
    world.repository().adopt().unwrap();
    // Numbers go on above what devices have seen, so they follow.
    assert_eq!(world.publish(6), 0);
    assert_eq!(device.numbers(fixture, NOW), Ok(vec![3, 6]));
    assert_eq!(Device::new(fixture).numbers(fixture, NOW), Ok(vec![3, 6]));
}

#[test]
fn another_folder_is_not_signed_at_all() {
    // A root of somebody else that names our online keys: its lists are not ours.
    let (world, other) = (Remembered::new(), Fixture::new());
    let stranger = other.folder.path().to_owned();
    let signers = keys(&[61]);
    fs::remove_dir_all(&stranger).unwrap();
    let root = Signers { signing: &signers, others: &[], threshold: 1 };
    let init = fleetfoot_repository::Init {
        targets: Signers { signing: &signers, others: &[], threshold: 1 },
        root,
        online: world.fixture.online(),
        models: &[],
    };
    Repository::init(&stranger, &init, Expiry::default(), NOW).unwrap();
    let resign = |repository: Repository| code(repository.resign(world.fixture.online(), Expiry::default(), NOW));
    // With the memory of ours, and with none.
    assert_eq!(resign(Repository::open(&stranger).unwrap().with_memory(world.memory())), 712);
    let beside = memory_beside(&world.keys.path().join("timestamp.key"), &stranger).unwrap();
    assert_ne!(beside, world.memory());
    assert_eq!(resign(Repository::open(&stranger).unwrap().with_memory(beside)), 712);
    // The same first root, and a memory that cannot be read.
    fs::write(world.memory(), "{}").unwrap();
    assert_eq!(world.resign(), 704);
}

#[test]
fn another_timestamp_of_the_same_version() {
    let world = Remembered::new();
    assert_eq!(world.publish(3), 0);
    let good = fs::read(world.fixture.metadata("timestamp.json")).unwrap();
    // The key signs one version twice: somebody else has it too.
    let twin = Fixture::new();
    twin.publish(&kws(9), NOW + 1).unwrap();
    for file in ["timestamp.json", "2.snapshot.json", "1.releases-kws.json"] {
        fs::copy(twin.metadata(file), world.fixture.metadata(file)).unwrap();
    }
    assert_eq!(world.publish(4), 711);
    fs::write(world.fixture.metadata("timestamp.json"), good).unwrap();
    assert_ne!(world.publish(4), 0, "the files below are not those that were signed");
}

#[test]
fn a_machine_that_lags_behind_learns() {
    let world = Remembered::new();
    let other = tempfile::tempdir().unwrap();
    let second = world.fixture.repository().with_memory(other.path().join("memory"));
    second.adopt().unwrap();
    assert_eq!(world.publish(3), 0);
    let before = world.fixture.files();
    assert_eq!(code(second.resign(world.fixture.online(), Expiry::default(), NOW)), 0);
    // What the second one has signed the first one has now seen, and does not go back.
    assert_eq!(world.publish(4), 0);
    restore(world.fixture.folder.path(), &before, &world.fixture.files());
    assert_eq!(world.resign(), 710);
    assert_eq!(code(second.resign(world.fixture.online(), Expiry::default(), NOW)), 710);
}

/// A rotation that breaks off between its last two writes: the root is new and the timestamp old. The next signature of the new key finishes
/// it; what the old key signs is not believed.
#[test]
fn a_rotation_that_broke_off() {
    let world = Remembered::new();
    let fixture = &world.fixture;
    assert_eq!(world.publish(3), 0);
    let memory = fs::read(world.memory()).unwrap();
    let before = fixture.files();
    let (root, timestamp) = (keys(&[1, 2]), keys(&[55]));
    let online = Online { snapshot: &fixture.snapshot, timestamp: &timestamp };
    let new = Signers { signing: &timestamp, others: &[], threshold: 1 };
    let rotate = || world.repository().rotate(TopRole::Timestamp, &new, &root, online, Expiry::default(), NOW);
    rotate().unwrap();
    // Everything but the last two writes: timestamp and memory.
    let remembered = fs::read_to_string(world.memory()).unwrap();
    assert_ne!(remembered.as_bytes(), memory);
    fs::write(fixture.metadata("timestamp.json"), &before[&fixture.metadata("timestamp.json")]).unwrap();
    fs::write(world.memory(), &memory).unwrap();
    // The old key does not finish it, the new one does.
    assert_eq!(world.resign(), 705);
    assert_eq!(code(world.repository().resign(online, Expiry::default(), NOW)), 0);
    let mut device = Device::new(fixture);
    assert_eq!(device.numbers(fixture, NOW), Ok(vec![3]));
    // From now on a timestamp of the old key is nothing, and the old root neither.
    let after = fixture.files();
    fs::write(fixture.metadata("timestamp.json"), &before[&fixture.metadata("timestamp.json")]).unwrap();
    assert_eq!(code(world.repository().resign(online, Expiry::default(), NOW)), 705);
    restore(fixture.folder.path(), &before, &fixture.files());
    assert_eq!(world.resign(), 710);
    restore(fixture.folder.path(), &after, &fixture.files());
    assert_eq!(code(world.repository().resign(online, Expiry::default(), NOW)), 0);
    assert_eq!(device.numbers(fixture, NOW), Ok(vec![3]));
}
