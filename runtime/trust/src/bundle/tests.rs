//! Bundles made by hand, and everything that may be wrong with their signatures.

extern crate std;

use core::cell::Cell;
use std::vec;
use std::vec::Vec;

use fleetfoot_format::bundle::{
    Budget, CONTAINER_VERSION, Header, MAGIC, PREAMBLE_LEN, SECTION_ALIGN, Section, SectionKind,
};

use super::*;
use crate::sign::{SigningKey, sign_bundle};

const GRAPH: &[u8] = b"a graph, for all that this crate knows";
const WEIGHTS: &[u8] = &[7; 150];

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn publics(ns: &[u8]) -> Vec<[u8; 32]> {
    ns.iter().map(|&n| key(n).public()).collect()
}

fn keys(ns: &[u8], threshold: usize) -> Keys {
    Keys::new(&publics(ns), threshold).unwrap()
}

/// A bundle with two sections that declares `signers`, not signed.
fn unsigned(signers: &[u8]) -> Vec<u8> {
    let header = |graph: u32, weights: u32, total_len: u64| {
        let section =
            |kind, offset, bytes: &[u8]| Section { kind, offset, len: bytes.len() as u32, sha256: sha256(bytes) };
        postcard::to_allocvec(&Header {
            model: "kws",
            version: "1.2.0",
            number: 12,
            total_len,
            min_runtime: (0, 1),
            target: "portable",
            budget: Budget::default(),
            sections: [section(SectionKind::GRAPH, graph, GRAPH), section(SectionKind::WEIGHTS, weights, WEIGHTS)]
                .into_iter()
                .collect(),
        })
        .unwrap()
    };
    // Offsets are varints: repeat until the length of the header is that of the header with its own offsets.
    let mut guess = header(0, 0, 0);
    let (start, weights) = loop {
        let preamble = Preamble { n_signers: signers.len(), header_len: guess.len() };
        let start = preamble.sections_start();
        let weights = (start + GRAPH.len()).next_multiple_of(SECTION_ALIGN);
        let next = header(start as u32, weights as u32, (weights + WEIGHTS.len()) as u64);
        if next.len() == guess.len() {
            guess = next;
            break (start, weights);
        }
        guess = next;
    };
    let mut bytes = vec![0; weights + WEIGHTS.len()];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8] = CONTAINER_VERSION;
    bytes[9] = signers.len() as u8;
    bytes[12..16].copy_from_slice(&(guess.len() as u32).to_le_bytes());
    let declared = publics(signers).concat();
    bytes[PREAMBLE_LEN..][..declared.len()].copy_from_slice(&declared);
    bytes[PREAMBLE_LEN + declared.len()..][..guess.len()].copy_from_slice(&guess);
    bytes[start..][..GRAPH.len()].copy_from_slice(GRAPH);
    bytes[weights..].copy_from_slice(WEIGHTS);
    bytes
}

fn signed(signers: &[u8], by: &[u8]) -> Vec<u8> {
    let mut bytes = unsigned(signers);
    for &n in by {
        sign_bundle(&mut bytes, &key(n)).unwrap();
    }
    bytes
}

#[test]
fn no_bit_can_be_flipped_and_nothing_unsigned_is_parsed() {
    let bytes = signed(&[1, 2], &[1, 2]);
    let keys = keys(&[1, 2], 2);
    let end_of_signatures = Preamble::read(&bytes).unwrap().signatures_end();
    let parsed = Cell::new(0usize);
    let verify = |bytes: &[u8]| {
        let parse = |bytes| {
            parsed.set(parsed.get() + 1);
            Bundle::parse(bytes)
        };
        // The proof borrows the bytes; only what went wrong leaves.
        verify_with(bytes, &keys, parse).map(|bundle| bundle.header().number)
    };
    assert_eq!((verify(&bytes), parsed.take()), (Ok(12), 1));

    let mut copy = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            copy[at] ^= 1 << bit;
            let error = verify(&copy).expect_err("accepted");
            copy[at] ^= 1 << bit;
            let (code, calls) = (error.code(), parsed.take());
            if at < PREAMBLE_LEN {
                // Refused by its own checks, or another number of signers or header length: nothing verifies.
                assert!((100..=109).contains(&code) || (203..=205).contains(&code), "byte {at} bit {bit}: {error}");
                assert_eq!(calls, 0, "byte {at} bit {bit}");
            } else if at < end_of_signatures {
                assert!((203..=205).contains(&code), "byte {at} bit {bit}: {error}");
                assert_eq!(calls, 0, "byte {at} bit {bit}");
            } else {
                // The signatures hold; padding (107) and hashes (206) do not.
                assert!(code == 107 || code == 206, "byte {at} bit {bit}: {error}");
                assert_eq!(calls, 1, "byte {at} bit {bit}");
            }
        }
    }
    for len in 0..bytes.len() {
        assert!(verify(&bytes[..len]).is_err(), "cut to {len}");
        assert_eq!(
            parsed.take(),
            usize::from(len >= end_of_signatures.next_multiple_of(SECTION_ALIGN)),
            "cut to {len}"
        );
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert_eq!(verify(&longer).unwrap_err().code(), 103);
}

#[test]
fn k_of_n() {
    // declared, signed by, known keys, threshold, code of the error or 0.
    let check = |declared: &[u8], by: &[u8], known: &[u8], threshold, code| {
        let bytes = signed(declared, by);
        let found = verify_bundle(&bytes, &keys(known, threshold)).map_or_else(TrustError::code, |_| 0);
        assert_eq!(found, code, "declared {declared:?} signed {by:?} known {known:?} threshold {threshold}");
    };
    check(&[1], &[1], &[1], 1, 0);
    check(&[1], &[], &[1], 1, 205);
    check(&[1], &[1], &[2], 1, 205);
    check(&[1, 2], &[1], &[1, 2], 1, 0);
    check(&[1, 2], &[1], &[1, 2], 2, 205);
    check(&[1, 2], &[2, 1], &[1, 2], 2, 0);
    check(&[1, 2, 3], &[3, 1], &[1, 2, 3], 2, 0);
    check(&[1, 2, 3], &[3, 1], &[1, 2, 4], 2, 205);
    check(&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 2, 3, 4, 5, 6, 7, 8], &[8, 7, 6, 5, 4, 3, 2, 1], 8, 0);
    check(&[1, 1], &[1], &[1], 1, 203);
    check(&[1, 2, 1], &[1, 2], &[1, 2], 1, 203);
}

#[test]
fn one_bad_signature_spoils_enough_good_ones() {
    let mut bytes = signed(&[1, 2, 3], &[1, 2, 3]);
    let last = Preamble::read(&bytes).unwrap().signatures_end() - 1;
    bytes[last] ^= 1;
    let of = |n: u8| KeyPrefix::of(&key(n).public());
    let error = verify_bundle(&bytes, &keys(&[1, 2, 3], 2)).unwrap_err();
    assert_eq!(error, TrustError::BadSignature { index: 2, key: of(3) });
    // A signature of a key that nobody here knows does not count, yet it must hold: its key stands in the signed part.
    let error = verify_bundle(&bytes, &keys(&[1, 2], 2)).unwrap_err();
    assert_eq!(error, TrustError::BadSignature { index: 2, key: of(3) });
    bytes[last] ^= 1;
    assert!(verify_bundle(&bytes, &keys(&[1, 2], 2)).is_ok());
    bytes[last] ^= 1;
    let states: Vec<_> = signatures(&bytes, &keys(&[1, 3], 1)).unwrap().iter().map(|s| s.state.as_str()).collect();
    assert_eq!(states, ["good", "unknown", "bad"]);
    let states: Vec<_> =
        signatures(&unsigned(&[1]), &keys(&[1], 1)).unwrap().iter().map(|s| s.state.as_str()).collect();
    assert_eq!(states, ["missing"]);
}

#[test]
fn signatures_are_bound_to_their_purpose_and_their_key() {
    let keys = keys(&[1], 1);
    let bytes = signed(&[1], &[1]);
    let preamble = Preamble::read(&bytes).unwrap();
    let put = |signature: [u8; 64]| {
        let mut copy = bytes.clone();
        copy[preamble.signed_len()..][..64].copy_from_slice(&signature);
        verify_bundle(&copy, &keys).map_or_else(TrustError::code, |_| 0)
    };
    let hash = sha256(preamble.signed(&bytes));
    let other = [&b"ff-header-v1\0"[..], &hash].concat();
    assert_eq!(put(key(1).sign(&message(preamble.signed(&bytes)))), 0);
    assert_eq!(put(key(1).sign(&hash)), 204);
    assert_eq!(put(key(1).sign(&other)), 204);
    assert_eq!(put(key(2).sign(&message(preamble.signed(&bytes)))), 204);
    assert_eq!(put([0; 64]), 205);
    // The point of order one and s = 0: with the key of small order below this "signs" every message.
    let small = {
        let mut s = [0; 64];
        s[0] = 1;
        s
    };
    assert_eq!(put(small), 204);
    let mut identity = [0; 32];
    identity[0] = 1;
    assert!(!verify_signature(&identity, b"anything", &small));
    // s + l is the same scalar: strict verification refuses the second form.
    let signature = key(1).sign(b"m");
    assert!(verify_signature(&key(1).public(), b"m", &signature));
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut again = signature;
    let mut carry = 0;
    for (byte, add) in again[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert!(!verify_signature(&key(1).public(), b"m", &again));
}

#[test]
fn nobody_signs_what_no_device_would_take() {
    let mut bytes = unsigned(&[1]);
    assert_eq!(sign_bundle(&mut bytes, &key(2)).unwrap_err().code(), 207);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert_eq!(sign_bundle(&mut bytes, &key(1)).unwrap_err().code(), 206);
    bytes.pop();
    assert_eq!(sign_bundle(&mut bytes, &key(1)).unwrap_err().code(), 103);
}

#[test]
fn sets_of_keys() {
    let check = |ns: &[u8], threshold, code| {
        let found = Keys::new(&publics(ns), threshold).map_or_else(TrustError::code, |_| 0);
        assert_eq!(found, code, "{ns:?} {threshold}");
    };
    check(&[], 0, 200);
    check(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 1, 200);
    check(&[1, 2, 1], 1, 201);
    check(&[1, 2], 0, 202);
    check(&[1, 2], 3, 202);
    check(&[1, 2], 2, 0);
    check(&[1, 2, 3, 4, 5, 6, 7, 8], 1, 0);
}
