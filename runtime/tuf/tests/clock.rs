//! The clock and the first root of a device: one row per moment, and per application that meets a store.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_tuf::{Action, Client, FIRST_ROOT, Stored, TufError, time};
use serde_json::json;
use support::{DAY, NOW, ROLE, ROOT_1, Repo, RootSpec};

/// An application with this root and build time polls once; what it stores it stores as it goes. The versions of the roots it fetched.
fn poll(
    (root, build_time): (&[u8], i64),
    stored: &mut Stored,
    files: &Stored,
    now: i64,
) -> (Result<u64, TufError>, Vec<String>) {
    let mut fetched = Vec::new();
    let result = (|| {
        let mut client = Client::pinned(root, stored.clone(), now)?;
        client.not_before(build_time);
        client.refresh(ROLE);
        loop {
            match client.poll()? {
                Action::Fetch { path, .. } => {
                    client.feed(files.get(&path).cloned())?;
                    fetched.push(path);
                }
                Action::Persist { name, bytes } => {
                    stored.insert(name, bytes);
                    client.persisted();
                }
                Action::Done => return Ok(client.version_of("timestamp").unwrap()),
            }
        }
    })();
    (result, fetched)
}

fn code(result: &(Result<u64, TufError>, Vec<String>)) -> u16 {
    result.0.as_ref().map_or_else(TufError::code, |_| 0)
}

/// A repository whose timestamp was issued at this day, and holds for seven.
fn issued(days: i64, by: u64) -> Repo {
    let mut repo = Repo::default().next(by);
    repo.days.insert("timestamp", days + 7);
    repo.edits = match days {
        0 => vec![("timestamp", |signed| signed["x-ff-issued"] = json!(time::format(NOW)))],
        10 => vec![("timestamp", |signed| signed["x-ff-issued"] = json!(time::format(NOW + 10 * DAY)))],
        _ => panic!("{days}"),
    };
    repo
}

#[test]
fn clocks() {
    let first = issued(0, 0);
    let (root, old, new) = (first.first_root(), first.files(), issued(10, 1).files());
    // What the clock says, when the application was built, what is served, what comes of it.
    let check = |name: &str, now: i64, build_time: i64, files: &Stored, expected: u16| {
        let mut stored = Stored::new();
        assert_eq!(code(&poll((&root, 0), &mut stored, &old, NOW)), 0, "{name}");
        let before = stored.clone();
        let found = poll((&root, build_time), &mut stored, files, now);
        assert_eq!(code(&found), expected, "{name}: {found:?}");
        if expected != 0 {
            assert_eq!(stored, before, "{name}: nothing of it is kept");
        }
        // Whatever it was: the next poll with a clock that is right takes the newest.
        assert_eq!(poll((&root, build_time), &mut stored, &new, NOW + 10 * DAY).0, Ok(11), "after {name}");
    };
    check("right", NOW + DAY, 0, &old, 0);
    check("right, later", NOW + 10 * DAY, 0, &new, 0);
    check("right, and nothing new for too long", NOW + 8 * DAY, 0, &old, 251);
    check("no clock", 0, 0, &old, 0);
    check("no clock, news", 0, 0, &new, 0);
    check("before all times", i64::MIN, 0, &new, 0);
    check("goes back", NOW - 300 * DAY, 0, &new, 0);
    check("far ahead", i64::MAX, 0, &new, 251);
    check("beyond the root", NOW + 366 * DAY, 0, &new, 251);
    // The build is a floor for devices that have seen no timestamp yet, or an old one.
    check("no clock, built lately", 0, NOW + 8 * DAY, &old, 251);
    check("no clock, built lately, news", 0, NOW + 8 * DAY, &new, 0);
    check("built when the last was issued", 0, NOW, &old, 0);

    let fresh = |now, build_time, files| code(&poll((&root, build_time), &mut Stored::new(), files, now));
    assert_eq!(fresh(0, NOW + 8 * DAY, &old), 251);
    assert_eq!(fresh(0, NOW + 8 * DAY, &new), 0);
    assert_eq!(fresh(i64::MIN, 0, &old), 0);
    // A build time beyond the end of the root does not expire the root.
    let found = poll((&root, i64::MAX), &mut Stored::new(), &old, 0);
    let end = NOW + 365 * DAY - 1;
    assert_eq!(found.0, Err(TufError::Expired { role: "timestamp".into(), expires: NOW + 7 * DAY, now: end }));
}

#[test]
fn a_clock_far_ahead_does_not_stop_new_roots() {
    let good = issued(0, 0);
    let (root, mut stored) = (good.first_root(), Stored::new());
    assert_eq!(code(&poll((&root, 0), &mut stored, &good.files(), NOW)), 0);
    let mut later = issued(10, 1);
    later.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], timestamp: 9, ..ROOT_1 });
    let (result, fetched) = poll((&root, 0), &mut stored, &later.files(), i64::MAX);
    assert_eq!((result.unwrap_err().code(), fetched), (251, vec!["2.root.json".into(), "3.root.json".into()]));
    assert!(stored.contains_key("2.root.json"));
    // The rotation forgot the counters and the floor, and then everything goes on.
    assert!(stored["timestamp.json"].is_empty());
    let mut behind = issued(0, 0);
    behind.roots.clone_from(&later.roots);
    assert_eq!(poll((&root, 0), &mut stored, &behind.files(), 0).0, Ok(10));
}

/// A thief with the timestamp key put the floor at the end of the root: everything seems expired, until a rotation of that key.
#[test]
fn a_rotation_resets_the_floor() {
    let good = issued(0, 0);
    let (root, mut stored) = (good.first_root(), Stored::new());
    let mut mad = good.next(5);
    mad.days.insert("timestamp", 3_000);
    mad.edits = vec![("timestamp", |signed| signed["x-ff-issued"] = json!("9999-01-01T00:00:00Z"))];
    assert_eq!(code(&poll((&root, 0), &mut stored, &mad.files(), NOW)), 0);
    assert_eq!(code(&poll((&root, 0), &mut stored, &issued(0, 6).files(), NOW)), 251);
    let mut rotated = issued(0, 1);
    rotated.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], timestamp: 9, ..ROOT_1 });
    assert_eq!(poll((&root, 0), &mut stored, &rotated.files(), NOW).0, Ok(11));
}

/// Four roots; the timestamp key is another from the third on.
fn chain() -> Vec<RootSpec> {
    let same = RootSpec { root: vec![1, 2], signed_by: vec![1, 2], ..ROOT_1 };
    let rotated = RootSpec { timestamp: 9, ..same.clone() };
    vec![same.clone(), same, rotated.clone(), rotated]
}

fn with_roots(n: usize, by: u64) -> Repo {
    let mut repo = Repo::default().next(by);
    repo.roots = chain()[..n].to_vec();
    repo
}

#[test]
fn first_roots() {
    let all = with_roots(4, 0).files();
    let root = |n: u64| all[&format!("{n}.root.json")].clone();
    let other = {
        let mut repo = with_roots(4, 0);
        for spec in &mut repo.roots {
            (spec.root, spec.signed_by) = (vec![21, 22], vec![21, 22]);
        }
        repo.files()
    };
    let edition = {
        let mut repo = with_roots(4, 0);
        repo.edits = vec![("root", |signed| signed["x-name"] = json!("another edition by the same keys"))];
        repo.files()["2.root.json"].clone()
    };
    let other_root = |n: u64| other[&format!("{n}.root.json")].clone();
    let pinned = |stored: &Stored| (1..=4).find(|&n| stored[FIRST_ROOT] == root(n));
    // A device began with root `began`, when the repository had `n_then` of them; then an application with `embedded` meets a repository
    // of `n_now`. What comes of it, and which root is remembered.
    let check = |name: &str, (began, n_then): (u64, usize), embedded: &[u8], n_now: usize, expected: (u16, u64)| {
        let mut stored = Stored::new();
        let first = poll((&root(began), 0), &mut stored, &with_roots(n_then, 5).files(), NOW);
        assert_eq!((first.0, pinned(&stored)), (Ok(15), Some(began)), "{name}");
        let before = stored.clone();
        let old = poll((embedded, 0), &mut stored.clone(), &with_roots(n_now, 4).files(), NOW);
        let found = poll((embedded, 0), &mut stored, &with_roots(n_now, 5).files(), NOW);
        assert_eq!((code(&found), pinned(&stored)), (expected.0, Some(expected.1)), "{name}: {found:?}");
        if expected.0 == 0 {
            // Twice: nothing is left to do.
            let again = poll((embedded, 0), &mut stored, &with_roots(n_now, 5).files(), NOW);
            assert_eq!(again.0, Ok(15), "{name}");
            // What takes versions back is still noticed, unless a key was rotated since.
            let rotated = n_then < 3 && n_now >= 3;
            assert_eq!(code(&old), if rotated { 0 } else { 247 }, "{name}: counters stay");
        } else {
            assert_eq!(stored, before, "{name}: nothing is stored");
            assert!(!found.1.iter().any(|path| path == "timestamp.json"), "{name}: {found:?}");
        }
    };
    check("the same", (1, 2), &root(1), 2, (0, 1));
    check("a newer one that was fetched before", (1, 4), &root(3), 4, (0, 3));
    check("the newest one", (1, 4), &root(4), 4, (0, 4));
    check("a newer one that was not fetched yet", (1, 1), &root(4), 4, (0, 4));
    check("a newer one, and others after it", (1, 1), &root(2), 4, (0, 2));
    check("a newer one that the repository does not have", (1, 1), &root(3), 2, (255, 1));
    check("an older one", (3, 4), &root(1), 4, (0, 3));
    check("an older one, and the newest was not fetched yet", (2, 2), &root(1), 4, (0, 2));
    check("another one", (1, 1), &other_root(1), 1, (255, 1));
    check("another edition of a newer one", (1, 4), &edition, 4, (255, 1));
    check("another edition of an older one, which leads here too", (3, 4), &edition, 4, (0, 3));
    check("another newer one", (1, 1), &other_root(2), 4, (255, 1));
    check("another older one", (3, 3), &other_root(1), 3, (255, 3));
    check("another older one, of which the store has more", (3, 3), &other_root(2), 4, (255, 3));

    // The other repository itself, whole and served: it does not take the store over.
    let mut stored = Stored::new();
    assert_eq!(code(&poll((&root(1), 0), &mut stored, &all, NOW)), 0);
    let before = stored.clone();
    for n in 1..=4 {
        let found = poll((&other_root(n), 0), &mut stored, &other, NOW);
        assert_eq!(found.0, Err(TufError::OtherFirstRoot { pinned: 1, embedded: n }), "{n}");
        assert_eq!(stored, before, "{n}");
    }
    // A damaged memory is none.
    for damaged in [Vec::new(), b"{}".to_vec(), root(1)[..100].to_vec(), vec![b' '; 300_000]] {
        stored.insert(FIRST_ROOT.into(), damaged);
        assert_eq!(code(&poll((&root(2), 0), &mut stored, &all, NOW)), 0);
        assert_eq!(pinned(&stored), Some(2));
    }
}
