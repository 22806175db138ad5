//! What opening a bundle looks at: every byte, whether by its signatures or by the hash that is its name.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, reason = "this needs bundles, and no repository")]
mod support;

use std::fs;

use fleetfoot::{Error, TrustError, VerifiedFile};
use sha2::{Digest as _, Sha256};
use support::{Release, release_keys};

#[test]
fn by_signatures_or_by_name_it_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bundle) = (folder.path().join("1.ff"), Release::new(1).bundle());
    fs::write(&path, &bundle).unwrap();
    let name: [u8; 32] = Sha256::digest(&bundle).into();
    let signed = VerifiedFile::open(&path, &release_keys()).unwrap();
    let known = VerifiedFile::open_known(&path, &name).unwrap();
    for file in [&signed, &known, &signed.clone()] {
        assert_eq!((file.bytes(), file.sha256()), (&bundle[..], name));
        assert_eq!((file.info(), file.sections()), (signed.info(), known.sections()));
    }
}

/// One bit is another at the first, a middle and the last byte of every part, padding included: neither way opens the file.
#[test]
fn no_bit_changes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let (path, bundle) = (folder.path().join("1.ff"), Release::new(1).bundle());
    let name: [u8; 32] = Sha256::digest(&bundle).into();
    fs::write(&path, &bundle).unwrap();
    let sections = VerifiedFile::open(&path, &release_keys()).unwrap().sections().to_vec();
    let mut ends: Vec<usize> =
        sections.iter().flat_map(|s| [s.offset, s.offset + s.len]).map(|at| at as usize).collect();
    ends.insert(0, 0);
    assert!(sections.len() == 4 && ends.last() == Some(&bundle.len()), "{ends:?}");
    let parts = ends.windows(2).filter(|part| part[0] < part[1]);
    for at in parts.flat_map(|part| [part[0], usize::midpoint(part[0], part[1]), part[1] - 1]) {
        let mut changed = bundle.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let section = sections.iter().position(|s| (s.offset..s.offset + s.len).contains(&(at as u32)));
        match (VerifiedFile::open(&path, &release_keys()), section) {
            (Err(Error::Trust(TrustError::SectionHash { index, .. })), Some(expected)) => assert_eq!(index, expected),
            (Err(Error::Trust(_)), None) => {}
            (other, _) => panic!("byte {at}: {other:?}"),
        }
        let found = VerifiedFile::open_known(&path, &name);
        assert!(matches!(found, Err(Error::HashMismatch { expected, .. }) if expected == name), "byte {at}: {found:?}");
    }
}
