//! Key files that somebody hands over: private ones, plain and sealed, and public ones.

use std::{fs, path::PathBuf, sync::LazyLock};

use fleetfoot_repository::keyfile;

/// A file of this process; the interface takes paths.
static PATH: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("fleetfoot-fuzz-{}.key", std::process::id())));

/// Reads the bytes as each kind of key.
///
/// # Panics
/// On a finding, and where no file can be written.
pub fn target(bytes: &[u8]) {
    fs::write(&*PATH, bytes).expect("a file of our own");
    let path = &*PATH;
    if let Err(error) = keyfile::load_public(path) {
        assert!((720..740).contains(&error.code()) && !error.to_string().is_empty());
    }
    let sealed = keyfile::is_encrypted(path);
    // The derivation is bounded, but to more than a fuzzer has time for.
    let document: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let cost = |name: &str| document["sealed"][name].as_u64().unwrap_or(0);
    let passphrase = (cost("memory_kib") <= 64 && cost("passes") <= 2).then_some("passphrase");
    for passphrase in [None, passphrase] {
        match keyfile::load_private(path, passphrase) {
            Ok(key) => {
                assert!(sealed.is_ok());
                assert_eq!(keyfile::load_public(path).expect("has a public half"), key.public());
            }
            Err(error) => assert!((720..740).contains(&error.code()) && !error.to_string().is_empty()),
        }
    }
}
