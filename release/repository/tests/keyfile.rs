//! Keys in files: there and back, and everything that keeps a file from opening.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{fs, path::Path};

use fleetfoot_repository::keyfile::{KeyFileError, create, is_encrypted, load_private, load_public};

fn code<T>(result: Result<T, KeyFileError>) -> u16 {
    result.map_or_else(|error| error.code(), |_| 0)
}

#[test]
fn there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("new/folder");
    for (name, passphrase) in [(Some("1"), Some("correct horse")), (None, None)] {
        let (private, public, key) = create(&dir, "releases", name, passphrase).unwrap();
        assert_eq!(private, dir.join(name.map_or("releases.key".into(), |name| format!("releases-{name}.key"))));
        assert_eq!(is_encrypted(&private).unwrap(), passphrase.is_some());
        assert_eq!(load_private(&private, passphrase).unwrap().public(), key);
        assert_eq!(load_public(&public).unwrap(), key);
        assert_eq!(load_public(&private).unwrap(), key);
        let text = fs::read_to_string(&public).unwrap();
        assert_eq!(text, format!("ed25519 {} releases\n", fleetfoot_tuf::hex::encode(&key)));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&private).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        // A key is never overwritten, and nothing is half made.
        assert_eq!(code(create(&dir, "releases", name, passphrase)), 720);
        assert_eq!(load_private(&private, passphrase).unwrap().public(), key);
        fs::remove_file(&private).unwrap();
        assert_eq!(code(create(&dir, "releases", name, passphrase)), 720);
        assert!(!private.exists());
    }
    assert_eq!(code(create(&dir, "../root", None, None)), 724);
    assert_eq!(code(create(&dir, "", None, None)), 724);
}

#[test]
fn what_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let (sealed, ..) = create(folder.path(), "root", Some("a"), Some("one")).unwrap();
    let (other, ..) = create(folder.path(), "root", Some("b"), Some("one")).unwrap();
    let (plain, ..) = create(folder.path(), "root", Some("c"), None).unwrap();
    assert_eq!(code(load_private(&sealed, None)), 722);
    assert_eq!(code(load_private(&sealed, Some("two"))), 723);
    assert_eq!(code(load_private(&sealed, Some(""))), 723);
    assert_eq!(code(load_private(Path::new("nowhere.key"), None)), 720);
    let text = fs::read_to_string(&sealed).unwrap();
    let field = |text: &str, name: &str| {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value.pointer(name).unwrap().as_str().unwrap().to_owned()
    };
    let check = |name: &str, expected: u16, text: String| {
        let path = folder.path().join("changed.key");
        fs::write(&path, text).unwrap();
        assert_eq!(code(load_private(&path, Some("one"))), expected, "{name}");
    };
    check("as it was", 0, text.clone());
    let (mine, yours) = (field(&text, "/public"), field(&fs::read_to_string(&other).unwrap(), "/public"));
    check("the public key of another", 723, text.replace(&mine, &yours));
    let seed = field(&text, "/sealed/seed");
    check(
        "one digit changed",
        723,
        text.replace(&seed[..8], if &seed[..8] == "00000000" { "00000001" } else { "00000000" }),
    );
    check("more memory than a file may ask for", 721, text.replace("19456", "4294967295"));
    check("another derivation", 721, text.replace("argon2id", "argon2i"));
    check("another format", 721, text.replace("fleetfoot-key-v1", "fleetfoot-key-v2"));
    check("an unknown field", 721, text.replacen('{', "{\"x\": 1,", 1));
    check("truncated", 721, text[..text.len() / 2].to_owned());
    check("empty", 721, String::new());
    let text = fs::read_to_string(&plain).unwrap();
    check("plain, of another", 721, text.replace(&field(&text, "/public"), &yours));
    assert_eq!(code(load_public(&plain.with_extension("none"))), 720);
    fs::write(folder.path().join("x.pub"), "ed25519 00ff\n").unwrap();
    assert_eq!(code(load_public(&folder.path().join("x.pub"))), 721);
}
