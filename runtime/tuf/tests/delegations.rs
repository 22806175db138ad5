//! The search through delegations: in which order roles are asked, who has the last word, and that it ends.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_trust::sha256;
use fleetfoot_tuf::{Action, Client, Stored, TufError, hex, name};
use serde_json::{Value, json};
use support::{DAY, NOW, keys, meta, role, sign, target};

/// Who delegates to whom, and which paths.
struct Edge {
    from: &'static str,
    to: &'static str,
    terminating: bool,
    trusted_with: (&'static str, Vec<String>),
}

fn edge(from: &'static str, to: &'static str, paths: &[&str]) -> Edge {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    Edge { from, to, terminating: false, trusted_with: ("paths", paths) }
}

fn last(edge: Edge) -> Edge {
    Edge { terminating: true, ..edge }
}

fn all(from: &'static str, to: &'static str) -> Edge {
    edge(from, to, &["*"])
}

/// A repository with these delegations and files. All keys are the same one, but that of the role `forged`, which is signed by another.
fn repository(edges: &[Edge], files: &[(&str, &str)], consistent: bool) -> Stored {
    let common = |kind: &str, more: Value| {
        let expires = fleetfoot_tuf::time::format(NOW + 30 * DAY);
        let mut signed = json!({ "_type": kind, "spec_version": "1.0.31", "version": 1, "expires": expires });
        signed.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        signed
    };
    let named = |role: &str| if consistent { name::versioned(1, role) } else { name::stored(role) };
    let mut found = Stored::new();
    let mut roles = vec!["targets"];
    for edge in edges {
        if !roles.contains(&edge.to) {
            roles.push(edge.to);
        }
    }
    let mut listed = serde_json::Map::new();
    for &from in &roles {
        let delegation = |edge: &Edge| {
            let mut entry = role(&[1], 1);
            entry["name"] = json!(edge.to);
            entry["terminating"] = json!(edge.terminating);
            entry[edge.trusted_with.0] = json!(edge.trusted_with.1);
            entry
        };
        let delegations: Vec<Value> = edges.iter().filter(|edge| edge.from == from).map(delegation).collect();
        let own = files.iter().filter(|(role, _)| *role == from);
        let own: serde_json::Map<_, _> =
            own.map(|(role, path)| ((*path).to_owned(), target(role.as_bytes()))).collect();
        let signed =
            common("targets", json!({ "targets": own, "delegations": { "keys": keys(&[1]), "roles": delegations } }));
        let bytes = sign(&signed, if from == "forged" { &[2] } else { &[1] });
        listed.insert(format!("{from}.json"), meta(1, &bytes));
        found.insert(named(from), bytes);
    }
    let snapshot = sign(&common("snapshot", json!({ "meta": listed })), &[1]);
    let timestamp = sign(&common("timestamp", json!({ "meta": { "snapshot.json": meta(1, &snapshot) } })), &[1]);
    found.insert(named("snapshot"), snapshot);
    found.insert("timestamp.json".into(), timestamp);
    let one = || role(&[1], 1);
    let root = common(
        "root",
        json!({
            "consistent_snapshot": consistent, "keys": keys(&[1]),
            "roles": { "root": one(), "timestamp": one(), "snapshot": one(), "targets": one() },
        }),
    );
    found.insert("1.root.json".into(), sign(&root, &[1]));
    found
}

/// Looks for `path`: who vouches for it, by the bytes of the target, and what was fetched after the top-level targets.
fn search(files: &Stored, stored: &mut Stored, path: &str) -> (Result<Option<String>, TufError>, Vec<String>) {
    let mut client = Client::new(&files["1.root.json"], stored.clone(), NOW).unwrap();
    client.refresh("targets");
    drive(&mut client, files, stored).expect("the top level is good");
    client.find(path);
    let mut fetched = Vec::new();
    let result = drive_with(&mut client, files, stored, &mut fetched).map(|()| {
        client.found().map(|target| {
            assert_eq!(target.path, path);
            let roles = files.keys().filter_map(|file| file.split('.').rev().nth(1));
            roles.into_iter().find(|role| sha256(role.as_bytes()) == target.sha256).unwrap_or_default().to_owned()
        })
    });
    (result, fetched)
}

fn drive(client: &mut Client, files: &Stored, stored: &mut Stored) -> Result<(), TufError> {
    drive_with(client, files, stored, &mut Vec::new())
}

fn drive_with(
    client: &mut Client,
    files: &Stored,
    stored: &mut Stored,
    fetched: &mut Vec<String>,
) -> Result<(), TufError> {
    loop {
        match client.poll()? {
            Action::Fetch { path, .. } => {
                let file = files.get(&path).cloned();
                fetched.push(path);
                client.feed(file)?;
            }
            Action::Persist { name, bytes } => {
                stored.insert(name, bytes);
                client.persisted();
            }
            Action::Done => return Ok(()),
        }
    }
}

/// Roles that are asked for `x`, which nobody has, in order.
fn check(name: &str, edges: &[Edge], asked: &[&str]) {
    let files = repository(edges, &[], true);
    let mut stored = Stored::new();
    let (found, fetched) = search(&files, &mut stored, "x");
    assert_eq!(found, Ok(None), "{name}");
    let expected: Vec<String> = asked.iter().map(|role| name::versioned(1, role)).collect();
    assert_eq!(fetched, expected, "{name}");
    // Again, with what is stored now.
    assert_eq!(search(&files, &mut stored, "x"), (Ok(None), Vec::new()), "{name}");
}

#[test]
fn depth_first_in_the_order_of_appearance() {
    check("nobody", &[], &[]);
    check("one", &[all("targets", "A")], &["A"]);
    check("two", &[all("targets", "A"), all("targets", "B")], &["A", "B"]);
    check("order of the list", &[all("targets", "B"), all("targets", "A")], &["B", "A"]);
    let two_levels = || vec![all("targets", "A"), all("targets", "B"), all("A", "C"), all("A", "D")];
    check("two levels", &two_levels(), &["A", "C", "D", "B"]);
    check(
        "three levels",
        &[all("targets", "A"), all("targets", "B"), all("A", "C"), all("C", "D")],
        &["A", "C", "D", "B"],
    );
    check("terminating", &[all("targets", "A"), all("targets", "B"), last(all("A", "C")), all("A", "D")], &["A", "C"]);
    check(
        "below a terminating one",
        &[all("targets", "A"), all("targets", "B"), last(all("A", "C")), all("C", "D"), all("C", "E")],
        &["A", "C", "D", "E"],
    );
    check("terminating at the top", &[last(all("targets", "A")), all("targets", "B")], &["A"]);
    check(
        "terminating for other paths",
        &[last(edge("targets", "A", &["*.py"])), all("targets", "B"), all("A", "C")],
        &["B"],
    );
    check(
        "a branch that does not fit",
        &[all("targets", "A"), all("targets", "B"), edge("A", "C", &["*.py"]), all("C", "D")],
        &["A", "B"],
    );
    check(
        "two ways to one role",
        &[all("targets", "A"), all("targets", "B"), all("B", "C"), all("A", "C")],
        &["A", "C", "B"],
    );
    check(
        "two ways, one of which fits",
        &[all("targets", "A"), all("targets", "B"), all("B", "C"), edge("A", "C", &["*.py"])],
        &["A", "B", "C"],
    );
}

#[test]
fn circles_and_crowds_end() {
    check("itself", &[all("targets", "A"), all("A", "A")], &["A"]);
    check(
        "a circle",
        &[all("targets", "A"), all("targets", "B"), all("B", "C"), all("C", "D"), all("D", "B")],
        &["A", "B", "C", "D"],
    );
    const NAMES: [&str; 40] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19",
        "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "36", "37",
        "38", "39",
    ];
    let wide: Vec<Edge> = NAMES.iter().map(|name| all("targets", name)).collect();
    check("a crowd", &wide, &NAMES[..32]);
    let deep: Vec<Edge> =
        NAMES.iter().enumerate().map(|(i, name)| all(if i == 0 { "targets" } else { NAMES[i - 1] }, name)).collect();
    check("a chain", &deep, &NAMES[..32]);
}

#[test]
fn names_are_quoted_in_urls_and_files() {
    for odd in ["?", "#", "/role", "../role", "a b", "\u{e9}", "C:\\x", "100%", "a.root", "."] {
        let files = repository(&[all("targets", odd)], &[(odd, "x")], true);
        let mut stored = Stored::new();
        let (found, fetched) = search(&files, &mut stored, "x");
        assert!(found.unwrap().is_some(), "{odd}");
        assert_eq!(fetched, [name::versioned(1, odd)]);
        assert!(fetched[0].bytes().all(|b| b.is_ascii_alphanumeric() || b"._-~%".contains(&b)), "{fetched:?}");
        assert!(stored.contains_key(&name::stored(odd)) && stored.len() == 4, "{odd}");
    }
}

#[test]
fn the_first_that_may_vouch_for_a_path_does() {
    let edges = || {
        vec![
            edge("targets", "A", &["*.doc", "*.md"]),
            edge("targets", "B", &["releases/*/*"]),
            edge("B", "C", &["releases/x/*"]),
            edge("B", "D", &["releases/y/*.zip"]),
        ]
    };
    let listed = [
        ("targets", "top"),
        ("A", "README.md"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
        ("B", "README.md"),
        ("A", "top"),
    ];
    let files = repository(&edges(), &listed, true);
    let check = |path: &str, by: Option<&str>, asked: &[&str]| {
        let (found, fetched) = search(&files, &mut Stored::new(), path);
        assert_eq!(found, Ok(by.map(String::from)), "{path}");
        assert_eq!(fetched, asked.iter().map(|role| name::versioned(1, role)).collect::<Vec<_>>(), "{path}");
    };
    check("top", Some("targets"), &[]);
    check("README.md", Some("A"), &["A"]);
    check("releases/x/x_v1", Some("C"), &["B", "C"]);
    check("releases/y/y_v1.zip", Some("D"), &["B", "D"]);
    // D lists it, and nobody has trusted D with it.
    check("releases/z/z_v1.zip", None, &["B"]);
    check("docs/README.md", None, &[]);
    check("releases/x/../x_v1", None, &[]);
}

#[test]
fn bins_by_the_hash_of_the_path() {
    let digit = |path: &str| hex::encode(&sha256(path.as_bytes()))[..1].to_owned();
    let bin = |to, digits: &[&str]| Edge {
        from: "targets",
        to,
        terminating: true,
        trusted_with: ("path_hash_prefixes", digits.iter().map(|digit| (*digit).to_owned()).collect()),
    };
    let edges =
        [bin("low", &["0", "1", "2", "3", "4", "5", "6", "7"]), bin("high", &["8", "9", "a", "b", "c", "d", "e", "f"])];
    let (mut low, mut high) = (0, 0);
    for n in 0..32 {
        let path = format!("file-{n}");
        // Both list it: only the one that is trusted with it counts.
        let files = repository(&edges, &[("low", &path), ("high", &path)], true);
        let expected = if digit(&path).as_str() < "8" { "low" } else { "high" };
        *if expected == "low" { &mut low } else { &mut high } += 1;
        let (found, fetched) = search(&files, &mut Stored::new(), &path);
        assert_eq!(found, Ok(Some(expected.into())), "{path}");
        assert_eq!(fetched, [name::versioned(1, expected)]);
    }
    assert!(low > 8 && high > 8, "{low} {high}");
}

#[test]
fn a_role_that_does_not_hold_ends_the_search() {
    // `forged` comes first and could have the first word; silence about it would let an attacker choose who answers.
    let files = repository(&[all("targets", "forged"), all("targets", "B")], &[("B", "x")], true);
    let (found, _) = search(&files, &mut Stored::new(), "x");
    assert_eq!(found.unwrap_err().code(), 245);
    let mut without = repository(&[all("targets", "A"), all("targets", "B")], &[("B", "x")], true);
    without.remove("1.A.json");
    assert_eq!(search(&without, &mut Stored::new(), "x").0.unwrap_err().code(), 252);
    // What is stored under the name of a role is judged like what is fetched.
    let good = repository(&[all("targets", "A")], &[("A", "x")], true);
    let mut stored = Stored::new();
    stored.insert("A.json".into(), files["1.forged.json"].clone());
    assert_eq!(search(&good, &mut stored, "x").0, Ok(Some("A".into())));
    assert_eq!(stored["A.json"], good["1.A.json"]);
}

#[test]
fn without_consistent_snapshots_names_are_plain() {
    let edges = [all("targets", "A")];
    let files = repository(&edges, &[("A", "x"), ("A", "a b")], false);
    let mut stored = Stored::new();
    let (found, fetched) = search(&files, &mut stored, "x");
    assert_eq!((found, fetched), (Ok(Some("A".into())), vec!["A.json".to_owned()]));
    let mut client = Client::new(&files["1.root.json"], stored.clone(), NOW).unwrap();
    client.refresh("targets");
    drive(&mut client, &files, &mut stored).unwrap();
    client.find("x");
    assert_eq!(client.poll(), Ok(Action::Done));
    let target = client.found().unwrap();
    assert_eq!(client.url_path(target), "x");
    assert_eq!(target.url_path(), format!("{}.x", hex::encode(&sha256(b"A"))));
}
