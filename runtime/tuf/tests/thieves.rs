//! For every key: what somebody can do who has stolen it, and holds the web server and the network too. `docs/security.md` has the table.
//!
//! A thief signs with what was stolen, and with keys of his own; files that he does not change keep their good signatures.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_tuf::{Stored, Target, TufError};
use serde_json::json;
use support::{DAY, NOW, PATH, ROLE, ROOT_1, Repo, RootSpec, id, keys, refresh, role, target};

const FOREIGN: &str = "models/vww/1.2.0/vww-1.2.0.ff";

/// What the thief tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// A root with keys of his own, and everything below it.
    OwnRoot,
    /// Targets that let his own keys release the model.
    OwnReleaser,
    /// A bundle of his own, released by the role of its model.
    OwnBundle,
    /// A bundle of another model, released by this role.
    ForeignBundle,
    /// The releases as they were before the last one.
    TakeBack,
    /// Nothing new for as long as a signature of his can make it.
    Freeze,
    /// A version that the owner never reaches.
    FastForward,
}
use Attack::{FastForward, ForeignBundle, Freeze, OwnBundle, OwnReleaser, OwnRoot, TakeBack};

const ALL: [Attack; 7] = [OwnRoot, OwnReleaser, OwnBundle, ForeignBundle, TakeBack, Freeze, FastForward];
const FAR: u64 = 1 << 60;

/// The repository that the thief hands out.
fn forged(attack: Attack, stolen: &[u8]) -> Repo {
    let mut repo = Repo::default();
    let mut changed = vec!["timestamp"];
    match attack {
        OwnRoot => {
            let signed_by = [stolen, &[91, 92]].concat();
            repo.roots.push(RootSpec { root: vec![91, 92], timestamp: 93, snapshot: 94, signed_by });
            changed.extend(["snapshot", "targets", ROLE]);
            repo.edits = vec![
                ("targets", own_releaser),
                ("root", |signed| {
                    if signed["version"] == 2 {
                        signed["roles"]["targets"] = role(&[95, 96], 2);
                        signed["keys"].as_object_mut().unwrap().extend(keys(&[95, 96]).as_object().unwrap().clone());
                    }
                }),
            ];
        }
        OwnReleaser => {
            changed.extend(["snapshot", "targets", ROLE]);
            repo.edits = vec![("targets", own_releaser)];
        }
        OwnBundle => {
            changed.extend(["snapshot", ROLE]);
            repo.edits = vec![(ROLE, |signed| signed["targets"][PATH] = target(b"by the thief"))];
        }
        ForeignBundle => {
            changed.extend(["snapshot", ROLE]);
            repo.edits = vec![(ROLE, |signed| signed["targets"][FOREIGN] = target(b"by the thief"))];
        }
        TakeBack => changed.push("snapshot"),
        Freeze | FastForward => {}
    }
    for changed in changed {
        // Whose signatures the role needs is the affair of the device; the thief gives what he has.
        let own: &[u8] = if attack == OwnReleaser && changed == ROLE { &[97, 98] } else { &[] };
        let of_role: &[u8] = match changed {
            "timestamp" => &[3],
            "snapshot" => &[4],
            "targets" => &[5, 6],
            _ => &[7, 8],
        };
        let needed: &[u8] = match changed {
            _ if attack != OwnRoot => of_role,
            "timestamp" => &[93],
            "snapshot" => &[94],
            "targets" => &[95, 96],
            _ => &[97, 98],
        };
        let held = |key: &u8| stolen.contains(key) || *key > 90;
        let mut signers: Vec<u8> = needed.iter().copied().filter(held).collect();
        signers.extend(own);
        repo.signers.insert(changed, signers);
        *match changed {
            "timestamp" => &mut repo.timestamp,
            "snapshot" => &mut repo.snapshot,
            "targets" => &mut repo.targets,
            _ => &mut repo.releases,
        } += 1;
    }
    match attack {
        TakeBack => repo.releases -= 1,
        FastForward => repo.timestamp = FAR,
        Freeze => drop(repo.days.insert("timestamp", 3_650)),
        _ => {}
    }
    repo
}

fn own_releaser(signed: &mut serde_json::Value) {
    let delegation = &mut signed["delegations"]["roles"][0];
    delegation["keyids"] = role(&[97, 98], 2)["keyids"].clone();
    signed["delegations"]["keys"] = keys(&[97, 98]);
}

fn poll(stored: &mut Stored, repo: &Repo, now: i64) -> Result<Vec<Target>, TufError> {
    refresh(&Repo::default().first_root(), stored, &repo.files(), ROLE, now)
}

/// The attacks that a device which has seen the good repository falls for; all others it refuses, and then takes the next good state.
fn check(stolen: &[u8], succeed: &[Attack]) {
    let good = Repo::default();
    for attack in ALL {
        let mut stored = Stored::new();
        let before = poll(&mut stored, &good, NOW).unwrap();
        let found = poll(&mut stored, &forged(attack, stolen), NOW);
        // A role that lists what it may not vouch for does not succeed by that.
        let changed = match (&found, attack) {
            (Err(_), _) => false,
            (Ok(targets), ForeignBundle) => targets.iter().any(|target| target.path == FOREIGN),
            (Ok(_), _) => true,
        };
        assert_eq!(changed, succeed.contains(&attack), "{stolen:?} {attack:?}: {found:?}");
        if attack == OwnBundle && changed {
            assert_ne!(found.unwrap(), before);
        } else if !changed {
            assert_eq!(poll(&mut stored, &good.next(10), NOW).unwrap(), before, "after {stolen:?} {attack:?}");
        }
    }
}

#[test]
fn nobody_without_keys() {
    check(&[], &[]);
}

#[test]
fn one_key_of_a_role_that_needs_two() {
    for stolen in [1, 2, 5, 6, 7, 8] {
        check(&[stolen], &[]);
        // Not with the online keys either.
        check(&[stolen, 3, 4], &[Freeze, FastForward]);
    }
}

#[test]
fn the_timestamp() {
    check(&[3], &[Freeze, FastForward]);
    // It lasts until the snapshot expires, whatever he writes.
    let frozen = forged(Freeze, &[3]);
    let mut stored = Stored::new();
    assert!(poll(&mut stored, &frozen, NOW + 29 * DAY).is_ok());
    assert_eq!(poll(&mut stored, &frozen, NOW + 30 * DAY).unwrap_err().code(), 251);
}

#[test]
fn the_snapshot() {
    check(&[4], &[]);
}

#[test]
fn both_online_keys() {
    // A device that has seen a release is not taken back; see below for one that has seen nothing.
    check(&[3, 4], &[Freeze, FastForward]);
    let mut older = forged(TakeBack, &[3, 4]);
    older.signers.insert(ROLE, vec![7, 8]);
    assert!(poll(&mut Stored::new(), &older, NOW).is_ok(), "a new device takes an older release, until it expires");
    // Everything is signed again and again: it lasts until the releases expire.
    let mut frozen = forged(Freeze, &[3, 4]);
    frozen.days.insert("snapshot", 3_650);
    assert!(poll(&mut Stored::new(), &frozen, NOW + 179 * DAY).is_ok());
    assert_eq!(poll(&mut Stored::new(), &frozen, NOW + 180 * DAY).unwrap_err().code(), 251);
}

#[test]
fn both_release_keys() {
    // The keys alone reach nobody; with the online keys they are a releaser of this model, and of no other.
    check(&[7, 8], &[]);
    check(&[7, 8, 3, 4], &[OwnBundle, Freeze, FastForward]);
}

#[test]
fn both_targets_keys() {
    check(&[5, 6], &[]);
    check(&[5, 6, 3, 4], &[OwnReleaser, Freeze, FastForward]);
    // Until the root has other targets keys.
    let stolen = forged(OwnReleaser, &[5, 6, 3, 4]);
    let mut stored = Stored::new();
    poll(&mut stored, &stolen, NOW).unwrap();
    let mut rotated = stolen.next(1);
    rotated.edits.push(("root", |signed| {
        if signed["version"] == 2 {
            signed["roles"]["targets"] = role(&[35, 36], 2);
            signed["keys"].as_object_mut().unwrap().extend(keys(&[35, 36]).as_object().unwrap().clone());
        }
    }));
    rotated.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], ..ROOT_1 });
    assert_eq!(poll(&mut stored, &rotated, NOW).unwrap_err().code(), 245);
    rotated.signers = [("targets", vec![35, 36])].into();
    rotated.edits.retain(|(edited, _)| *edited == "root");
    assert!(poll(&mut stored, &rotated.next(1), NOW).is_ok());
}

#[test]
fn both_root_keys() {
    check(&[1, 2], &[OwnRoot]);
}

/// What the thief of the online keys did is undone by a root with other ones, on devices that saw it.
#[test]
fn a_rotation_takes_it_back() {
    for attack in [Freeze, FastForward] {
        let mut stored = Stored::new();
        poll(&mut stored, &forged(attack, &[3]), NOW).unwrap();
        let mut rotated = Repo::default().next(1);
        rotated.roots.push(RootSpec { timestamp: 9, root: vec![1, 2], signed_by: vec![1, 2], ..ROOT_1 });
        assert!(poll(&mut stored, &rotated, NOW).is_ok(), "{attack:?}");
        // The stolen key is nothing any more.
        rotated.signers.insert("timestamp", vec![3]);
        assert_eq!(poll(&mut stored, &rotated.next(1), NOW).unwrap_err().code(), 245, "{attack:?}");
    }
}

/// An online role beside the releases, such as one that chooses among them, vouches for its own paths only.
#[test]
fn an_online_role_beside_the_releases() {
    let with_rollout = |signed: &mut serde_json::Value| {
        let delegation = json!({
            "name": "rollout-kws", "keyids": [id(40)], "threshold": 1, "terminating": true, "paths": ["rollouts/kws/*"],
        });
        signed["delegations"]["roles"].as_array_mut().unwrap().insert(0, delegation);
        signed["delegations"]["keys"][id(40)] = keys(&[40])[id(40)].clone();
    };
    let repo = Repo { edits: vec![("targets", with_rollout)], ..Repo::default() };
    // Its place before the releases gives it no say about them. What it lists outside of its own paths nobody asks it for: see
    // `the_first_that_may_vouch_for_a_path_does` in delegations.rs.
    let offered = poll(&mut Stored::new(), &repo, NOW).unwrap();
    assert_eq!(offered.len(), 1);
    assert_eq!(offered[0].sha256, fleetfoot_trust::sha256(b"bundle"));
}
