//! A chain of three links, headers and directives made by hand; every bit of them, every fault, every thief.
#![allow(clippy::unwrap_used, reason = "this is a test")]

extern crate std;

use std::{vec, vec::Vec};

use fleetfoot_format::lite::{ALL_BASIS_POINTS, Limits, MAX_FRAME_LEN, SIGNED_BY_LEN, write};

use super::*;
use crate::sign::{SigningKey, sign_lite};

const DEVICE: Device<'_> = Device { model: "kws", hardware: "cortex-m4f" };
const NONCE: [u8; 16] = [9; 16];
const NOBODY: [u8; 32] = [0; 32];

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn publics(ns: &[u8]) -> Vec<u8> {
    let mut keys: Vec<_> = ns.iter().map(|&n| key(n).public()).collect();
    keys.sort_unstable();
    keys.concat()
}

/// A frame with the signatures of `by`, in whatever order is right.
fn sealed(kind: Kind, body: &impl serde::Serialize, by: &[u8]) -> Vec<u8> {
    let front = write(kind, body).unwrap();
    let mut pairs: Vec<_> = by.iter().map(|&n| sign_lite(kind, &front, &key(n))).collect();
    pairs.sort_unstable();
    [&front[..], &[by.len() as u8], &pairs.concat()].concat()
}

/// What a link says: keys are numbers.
#[derive(Clone)]
struct Link {
    model: &'static str,
    version: u32,
    previous: [u8; 32],
    root: Vec<u8>,
    header: Vec<u8>,
    directive: Vec<u8>,
    threshold: u8,
    by: Vec<u8>,
}

/// Root keys 1 and 2, both needed; header keys 7, 8, 9, two of them; directive key 5.
fn link(version: u32, previous: &[u8]) -> Link {
    Link {
        model: "kws",
        version,
        previous: if previous.is_empty() { NOBODY } else { sha256(previous) },
        root: vec![1, 2],
        header: vec![7, 8, 9],
        directive: vec![5],
        threshold: 2,
        by: vec![1, 2],
    }
}

impl Link {
    fn bytes(&self) -> Vec<u8> {
        let (root, header, directive) = (publics(&self.root), publics(&self.header), publics(&self.directive));
        let body = lite::Root {
            model: self.model,
            version: self.version,
            previous: self.previous,
            root: Role { threshold: self.threshold, keys: &root },
            header: Role { threshold: self.threshold, keys: &header },
            directive: Role { threshold: 1, keys: &directive },
        };
        sealed(Kind::Root, &body, &self.by)
    }
}

/// Versions 1 to 3; the second brings other root keys, the third other keys of everything else.
fn chain() -> [Vec<u8>; 3] {
    let first = link(1, &[]).bytes();
    let second = Link { root: vec![2, 3], by: vec![1, 2, 3], ..link(2, &first) }.bytes();
    let third =
        Link { root: vec![2, 3], header: vec![17, 18], directive: vec![15], by: vec![2, 3], ..link(3, &second) };
    let third = third.bytes();
    [first, second, third]
}

const LIMITS: Limits = Limits { max_stage: 3, max_basis_points: 500, first: 10, last: 1000 };

fn header_body() -> Header<'static> {
    Header {
        model: "kws",
        trust: 1,
        counter: 4,
        sha256: [0xab; 32],
        len: 52_000,
        number: 12,
        epoch: 1,
        attempt: 1,
        hardware: ["cortex-m4f", "cortex-m33"].into_iter().collect(),
        salt: "kws-2026-11/1",
        limits: LIMITS,
    }
}

fn header() -> Vec<u8> {
    sealed(Kind::Header, &header_body(), &[7, 9])
}

fn directive_body(header: &[u8]) -> Directive<'static> {
    Directive {
        model: "kws",
        trust: 1,
        counter: 11,
        header: sha256(header),
        stage: Stage::CANARY,
        basis_points: 100,
        nonce: None,
    }
}

fn directive(header: &[u8]) -> Vec<u8> {
    sealed(Kind::Directive, &directive_body(header), &[5])
}

fn code<T>(result: Result<T, LiteError>) -> u16 {
    result.map_or_else(LiteError::code, |_| 0)
}

/// What a new device makes of the three files; it asks for an answer where `nonce` is one.
fn decide(first: &[u8], header: &[u8], directive: &[u8], nonce: Option<&[u8; 16]>) -> Result<State, LiteError> {
    let (root, state) = Root::first(first, &DEVICE)?.follow(&[], &State::default(), &DEVICE)?;
    Ok(root.decide(header, directive, nonce, &state, &DEVICE)?.state())
}

#[test]
fn a_device_follows_and_decides() {
    let [first, second, third] = chain();
    let header = header();
    let directive = directive(&header);
    let longest = [&first, &second, &third, &header, &directive].map(|file| file.len());
    std::println!("bytes of links, header, directive: {longest:?}");
    assert!(longest.iter().all(|&len| len <= MAX_FRAME_LEN));

    let root = Root::first(&first, &DEVICE).unwrap();
    let (root, state) = root.follow(&[], &State::default(), &DEVICE).unwrap();
    assert_eq!(state, State { trust: 1, root: sha256(&first), ..State::default() });
    let decision = root.decide(&header, &directive, None, &state, &DEVICE).unwrap();
    assert_eq!((decision.header().number, decision.directive().stage), (12, Stage::CANARY));
    assert_eq!(decision.order(99), Order::Install { stage: Stage::CANARY });
    assert_eq!(decision.order(100), Order::Stay);
    let state = decision.state();
    assert_eq!(state, State { header: 4, directive: 11, ..state });
    // The same files again, after a restart say, are good.
    assert_eq!(root.decide(&header, &directive, None, &state, &DEVICE).unwrap().state(), state);

    // On to version 3, and its state survives a restart with the stored link and with the whole chain.
    let committed = State { epoch_floor: 1, ..state };
    let chain = [&first[..], &second, &third].concat();
    for from in [&chain[..], &chain[first.len()..]] {
        let (root, state) = root.follow(from, &committed, &DEVICE).unwrap();
        let expected = State { trust: 3, root: sha256(&third), header: 0, directive: 0, epoch_floor: 1 };
        assert_eq!((root.version(), state), (3, expected), "counters begin anew, the floor stays");
        assert_eq!(last_link(from), Some(&third[..]));
        assert_eq!(Root::stored(&third, &state, &DEVICE).unwrap().digest(), root.digest());
        assert_eq!(code(Root::stored(&second, &state, &DEVICE)), 227);
        // The keys of before are nothing any more; neither is what they signed.
        assert_eq!(code(root.decide(&header, &directive, None, &state, &DEVICE)), 222);
    }
    // A newer link that comes with a firmware goes on from there.
    let newer = Root::first(&second, &DEVICE).unwrap().follow(&[], &committed, &DEVICE).unwrap();
    assert_eq!((newer.0.version(), newer.1.header, newer.1.epoch_floor), (2, 0, 1));
}

#[test]
fn no_bit_of_any_file_changes_unseen() {
    let [first, second, third] = chain();
    let header = header();
    let directive = directive(&header);
    let chain = [&first[..], &second, &third].concat();
    let mut flips = 0;
    // Every bit, every beginning, and a byte more.
    let mut check = |bytes: &[u8], name: &str, judge: &dyn Fn(&[u8]) -> Result<(), LiteError>| {
        assert_eq!(judge(bytes), Ok(()), "{name}");
        let mut copy = bytes.to_vec();
        for bit in 0..8 * bytes.len() {
            copy[bit / 8] ^= 1 << (bit % 8);
            assert!(judge(&copy).is_err(), "{name}: bit {bit}");
            copy[bit / 8] ^= 1 << (bit % 8);
            flips += 1;
        }
        for len in 0..bytes.len() {
            assert!(judge(&bytes[..len]).is_err(), "{name}: cut to {len}");
        }
        copy.push(0);
        assert!(judge(&copy).is_err(), "{name}: a byte more");
    };
    check(&header, "header.bin", &|bytes| decide(&first, bytes, &directive, None).map(|_| ()));
    check(&directive, "directive.bin", &|bytes| decide(&first, &header, bytes, None).map(|_| ()));
    check(&first, "the compiled-in link", &|bytes| {
        let (_, state) = Root::first(bytes, &DEVICE)?.follow(&[], &State::default(), &DEVICE)?;
        assert_eq!(state.trust, 1);
        Ok(())
    });
    // From each version on; a chain that ends early but whole is one that lacks nothing but its end.
    for (at, own) in [&first, &second, &third].into_iter().enumerate() {
        let state = State { trust: at as u32 + 1, root: sha256(own), ..State::default() };
        check(&chain, "trust.bin", &|bytes| {
            let root = Root::stored(own, &state, &DEVICE)?;
            let (last, _) = root.follow(bytes, &state, &DEVICE)?;
            if last.version() == 3 && !bytes.is_empty() { Ok(()) } else { Err(LiteError::OtherHardware) }
        });
    }
    std::println!("{flips} bits flipped");
    assert!(flips > 20_000);
}

#[test]
fn chains() {
    let [first, second, third] = chain();
    let join = |links: &[&[u8]]| links.concat();
    // From which link, what is handed over, code.
    let check = |name: &str, own: &[u8], offered: &[u8], expected: u16| {
        let version = lite::Root::parse(&Frame::whole(own, Kind::Root).unwrap()).unwrap().version;
        let state = State { trust: version, root: sha256(own), ..State::default() };
        let root = Root::stored(own, &state, &DEVICE).unwrap();
        assert_eq!(code(root.follow(offered, &state, &DEVICE)), expected, "{name}");
    };
    check("all of it", &first, &join(&[&first, &second, &third]), 0);
    check("the rest", &first, &join(&[&second, &third]), 0);
    check("nothing", &first, &[], 0);
    check("what is there", &third, &join(&[&first, &second, &third]), 0);
    check("missing-link", &first, &third, 224);
    check("missing-link-inside", &first, &join(&[&first, &third]), 224);
    check("reordered", &first, &join(&[&third, &second]), 224);
    check("twice", &first, &join(&[&second, &second]), 224);
    check("rolled-back", &third, &join(&[&first, &second]), 226);
    check("truncated", &first, &second[..second.len() - 1], 102);
    check("a header for a link", &first, &header(), 105);

    // Whoever holds which keys can put a link behind the first.
    let forged = |change: &dyn Fn(&mut Link)| {
        let mut new = Link { root: vec![2, 3], by: vec![1, 2, 3], ..link(2, &first) };
        change(&mut new);
        new.bytes()
    };
    check("good", &first, &forged(&|_| {}), 0);
    check("signed-by-old-only", &first, &forged(&|new| new.by = vec![1, 2]), 205);
    check("signed-by-new-only", &first, &forged(&|new| new.by = vec![2, 3]), 205);
    check("unsigned", &first, &forged(&|new| new.by = vec![]), 205);
    check("a-stranger-signs-too", &first, &forged(&|new| new.by = vec![1, 2, 3, 4]), 222);
    check("signed-twice", &first, &forged(&|new| new.by = vec![1, 1, 2, 3]), 223);
    check("other-model", &first, &forged(&|new| new.model = "vww"), 220);
    check("other-chain", &first, &forged(&|new| new.previous = NOBODY), 225);
    check("version-again", &first, &forged(&|new| new.version = 1), 227);
    check("version-zero", &first, &forged(&|new| new.version = 0), 111);
    check("version-skipped", &first, &forged(&|new| new.version = 3), 224);
    check("version-last", &first, &forged(&|new| new.version = u32::MAX), 224);
    check("threshold-zero", &first, &forged(&|new| new.threshold = 0), 111);
    check("threshold-unreachable", &first, &forged(&|new| new.threshold = 3), 111);
    check("key-twice", &first, &forged(&|new| new.header = vec![7, 7]), 111);
    check("nine-keys", &first, &forged(&|new| new.header = (10..19).collect()), 111);
    check("no-directive-key", &first, &forged(&|new| new.directive = vec![]), 111);
    // A rotation of the rotated.
    check("another-third", &third, &join(&[&forged(&|new| new.header = vec![8, 9]), &third]), 225);

    // What is compiled in, beside what is stored.
    let start = |bytes: &[u8], state: &State| {
        code(Root::first(bytes, &DEVICE).and_then(|root| root.follow(&[], state, &DEVICE)))
    };
    let at = |version, link: &[u8]| State { trust: version, root: sha256(link), ..State::default() };
    assert_eq!(start(&first, &State::default()), 0);
    assert_eq!(start(&first, &at(1, &first)), 0);
    assert_eq!(start(&first, &at(2, &second)), 226, "an old firmware with a new state");
    assert_eq!(start(&first, &at(1, &second)), 227, "another first link");
    assert_eq!(start(&Link { by: vec![1], ..link(1, &[]) }.bytes(), &State::default()), 205);
    assert_eq!(start(&Link { model: "vww", ..link(1, &[]) }.bytes(), &State::default()), 220);

    // As many links as may be, and one more.
    let mut links = vec![first.clone()];
    for version in 2..=MAX_LITE_LINKS as u32 + 1 {
        links.push(link(version, &links[version as usize - 2]).bytes());
    }
    check("64 links", &first, &links[..MAX_LITE_LINKS].concat(), 0);
    check("65 links", &first, &links.concat(), 104);
}

#[test]
fn headers_and_directives() {
    let first = link(1, &[]).bytes();
    /// A change of what is signed, and who signs it.
    struct Row {
        header: Header<'static>,
        header_by: Vec<u8>,
        directive: Directive<'static>,
        directive_by: Vec<u8>,
        state: State,
        nonce: Option<[u8; 16]>,
        device: Device<'static>,
        header_file: Option<Vec<u8>>,
    }
    let check = |name: &str, expected: u16, change: &dyn Fn(&mut Row)| {
        let state = State { trust: 1, root: sha256(&first), header: 4, directive: 11, epoch_floor: 1 };
        let mut row = Row {
            header: header_body(),
            header_by: vec![7, 9],
            directive: directive_body(&[]),
            directive_by: vec![5],
            state,
            nonce: None,
            device: DEVICE,
            header_file: None,
        };
        change(&mut row);
        let header = sealed(Kind::Header, &row.header, &row.header_by);
        if row.directive.header == sha256(&[]) {
            row.directive.header = sha256(&header);
        }
        let directive = sealed(Kind::Directive, &row.directive, &row.directive_by);
        let root = Root { digest: sha256(&first), ..Root::first(&first, &DEVICE).unwrap() };
        let header = row.header_file.unwrap_or(header);
        let found = root.decide(&header, &directive, row.nonce.as_ref(), &row.state, &row.device);
        assert_eq!(found.as_ref().map_or_else(|e| e.code(), |_| 0), expected, "{name}");
        if let Ok(decision) = found {
            let (new, old) = (decision.state(), row.state);
            assert!(new.header >= old.header && new.directive >= old.directive && new.epoch_floor == old.epoch_floor);
        }
    };
    check("good", 0, &|_| {});
    check("all three sign", 0, &|row| row.header_by = vec![7, 8, 9]);
    check("any hardware", 0, &|row| row.header.hardware.clear());
    check("newer", 0, &|row| (row.header.counter, row.directive.counter) = (5, 1000));
    check("an answer nobody waits for", 0, &|row| row.directive.nonce = Some(NONCE));
    check("the answer", 0, &|row| (row.directive.nonce, row.nonce) = (Some(NONCE), Some(NONCE)));
    check("halt", 0, &|row| (row.directive.stage, row.directive.basis_points) = (Stage::HALT, 0));
    check("revert", 0, &|row| (row.directive.stage, row.header.limits.max_stage) = (Stage::REVERT, 0));

    check("header-unsigned", 205, &|row| row.header_by = vec![]);
    check("header-signed-by-one", 205, &|row| row.header_by = vec![8]);
    check("header-signed-twice-by-one", 223, &|row| row.header_by = vec![8, 8]);
    check("header-signed-by-root", 222, &|row| row.header_by = vec![1, 2]);
    check("header-signed-by-online", 222, &|row| row.header_by = vec![5]);
    check("header-other-model", 220, &|row| row.header.model = "vww");
    check("header-other-hardware", 221, &|row| row.device.hardware = "cortex-m0");
    check("header-other-trust", 228, &|row| row.header.trust = 2);
    check("header-stale", 229, &|row| row.header.counter = 3);
    check("header-epoch", 235, &|row| row.state.epoch_floor = 2);
    check("header-too-long-a-bundle", 104, &|row| row.header.len = 1 << 31);
    check("header-salt", 104, &|row| row.header.salt = LONG);
    check("header-limits-crossed", 111, &|row| row.header.limits.last = 9);
    check("header-share", 111, &|row| row.header.limits.max_basis_points = ALL_BASIS_POINTS + 1);
    check("header-hardware-name", 111, &|row| row.header.hardware = ["a b"].into_iter().collect());
    check("header-is-a-directive", 105, &|row| {
        row.header_file = Some(sealed(Kind::Directive, &row.directive, &[7, 9]));
    });
    check("header-oversized", 104, &|row| {
        row.header_file = Some([&[2, 1, 1, 4][..], &[0; 3000]].concat());
    });
    check("header-of-17-signatures", 104, &|row| {
        let front = write(Kind::Header, &row.header).unwrap();
        row.header_file = Some([&front[..], &[17], &vec![0; 17 * SIGNED_BY_LEN]].concat());
    });
    check("header-of-the-future", 101, &|row| row.header_file = Some(vec![2, 2, 0, 0, 0]));

    check("directive-unsigned", 205, &|row| row.directive_by = vec![]);
    check("directive-signed-by-release", 222, &|row| row.directive_by = vec![7]);
    check("directive-other-model", 220, &|row| row.directive.model = "vww");
    check("directive-other-trust", 228, &|row| row.directive.trust = 0);
    check("directive-stale", 229, &|row| row.directive.counter = 10);
    check("directive-other-header", 230, &|row| row.directive.header = [1; 32]);
    check("directive-driven-up", 231, &|row| row.directive.counter = 1001);
    check("directive-below", 231, &|row| (row.directive.counter, row.state.directive) = (9, 0));
    check("directive-stage", 232, &|row| row.directive.stage = Stage::AB);
    check("directive-stage-unknown", 232, &|row| row.directive.stage = Stage(77));
    check("directive-share", 233, &|row| row.directive.basis_points = 501);
    check("directive-share-of-more-than-all", 111, &|row| row.directive.basis_points = 10_001);
    check("directive-no-answer", 234, &|row| row.nonce = Some(NONCE));
    check("directive-wrong-answer", 234, &|row| (row.directive.nonce, row.nonce) = (Some([8; 16]), Some(NONCE)));
    check("state-of-another-link", 227, &|row| row.state.root = [1; 32]);
}

const LONG: &str = "a salt that is longer than sixty-four bytes is not one that this takes";

#[test]
fn orders() {
    let first = link(1, &[]).bytes();
    let check = |stage: u8, basis_points: u16, bucket: u16, expected: Order| {
        let mut body = header_body();
        body.limits = Limits { max_stage: 9, max_basis_points: ALL_BASIS_POINTS, ..LIMITS };
        let header = sealed(Kind::Header, &body, &[7, 8]);
        let body = Directive { stage: Stage(stage), basis_points, ..directive_body(&header) };
        let directive = sealed(Kind::Directive, &body, &[5]);
        let (root, state) = Root::first(&first, &DEVICE).unwrap().follow(&[], &State::default(), &DEVICE).unwrap();
        let decision = root.decide(&header, &directive, None, &state, &DEVICE).unwrap();
        assert_eq!(decision.order(bucket), expected, "stage {stage} {basis_points} bucket {bucket}");
    };
    check(0, 10_000, 0, Order::Stay);
    check(1, 0, 9_999, Order::Revert);
    check(2, 1, 0, Order::Install { stage: Stage::SHADOW });
    check(3, 1, 1, Order::Stay);
    check(5, 10_000, 9_999, Order::Install { stage: Stage::FULL });
    check(5, 0, 0, Order::Stay);
    check(6, 10_000, 0, Order::Stay);
}

/// What a thief tries against a device that has seen the good files. Everything is signed with what was stolen and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Another share of the devices, within the limits.
    MoveWithin,
    /// All devices at once.
    Widen,
    /// A counter that the owner never reaches.
    DriveUp,
    /// A bundle of his own.
    OwnBundle,
    /// The header before.
    TakeBack,
    /// A link with keys of his own.
    OwnRoot,
}
use Attack::{DriveUp, MoveWithin, OwnBundle, OwnRoot, TakeBack, Widen};

#[test]
fn thieves() {
    let first = link(1, &[]).bytes();
    let good = header();
    let old = sealed(Kind::Header, &Header { counter: 3, number: 11, ..header_body() }, &[7, 8]);
    let succeeds = |attack: Attack, stolen: &[u8]| {
        let (root, state) = Root::first(&first, &DEVICE).unwrap().follow(&[], &State::default(), &DEVICE).unwrap();
        let state = root.decide(&good, &directive(&good), None, &state, &DEVICE).unwrap().state();
        let by = |role: &[u8]| role.iter().copied().filter(|key| stolen.contains(key)).collect::<Vec<_>>();
        let order = |header: &[u8], change: &dyn Fn(&mut Directive<'_>)| {
            let mut body = Directive { counter: 12, ..directive_body(header) };
            change(&mut body);
            let directive = sealed(Kind::Directive, &body, &by(&[5]));
            root.decide(header, &directive, None, &state, &DEVICE).is_ok()
        };
        match attack {
            MoveWithin => order(&good, &|body| body.basis_points = 500),
            Widen => order(&good, &|body| (body.stage, body.basis_points) = (Stage::FULL, ALL_BASIS_POINTS)),
            DriveUp => order(&good, &|body| body.counter = u64::MAX),
            TakeBack => order(&old, &|_| {}),
            OwnBundle => {
                let own = Header { sha256: [0x66; 32], counter: 5, number: 99, ..header_body() };
                order(&sealed(Kind::Header, &own, &by(&[7, 8, 9])), &|_| {})
            }
            OwnRoot => {
                let own = Link { root: vec![91, 92], header: vec![93, 94], directive: vec![95], ..link(2, &first) };
                let own = Link { by: [&by(&[1, 2])[..], &[91, 92]].concat(), ..own };
                root.follow(&own.bytes(), &state, &DEVICE).is_ok()
            }
        }
    };
    let check = |stolen: &[u8], can: &[Attack]| {
        for attack in [MoveWithin, Widen, DriveUp, OwnBundle, TakeBack, OwnRoot] {
            assert_eq!(succeeds(attack, stolen), can.contains(&attack), "{stolen:?} {attack:?}");
        }
    };
    check(&[], &[]);
    check(&[5], &[MoveWithin]);
    check(&[7], &[]);
    check(&[5, 7], &[MoveWithin]);
    check(&[7, 9], &[]);
    check(&[5, 7, 9], &[MoveWithin, OwnBundle]);
    check(&[1], &[]);
    check(&[1, 5, 8], &[MoveWithin]);
    check(&[1, 2], &[OwnRoot]);
}

/// The owner rotates: what the thief has is nothing any more, and the counters that he drove up are forgotten.
#[test]
fn a_rotation_takes_it_back() {
    let first = link(1, &[]).bytes();
    let good = header();
    let (root, state) = Root::first(&first, &DEVICE).unwrap().follow(&[], &State::default(), &DEVICE).unwrap();
    let driven = sealed(Kind::Directive, &Directive { counter: 1000, ..directive_body(&good) }, &[5]);
    let state = root.decide(&good, &driven, None, &state, &DEVICE).unwrap().state();
    assert_eq!(code(root.decide(&good, &directive(&good), None, &state, &DEVICE)), 229);
    // Within one trust version the next header goes on above what the thief could reach at most.
    let next = Header { counter: 5, limits: Limits { first: 1001, last: 2000, ..LIMITS }, ..header_body() };
    let next = sealed(Kind::Header, &next, &[7, 9]);
    let order = sealed(Kind::Directive, &Directive { counter: 1001, ..directive_body(&next) }, &[5]);
    assert_eq!(code(root.decide(&next, &order, None, &state, &DEVICE)), 0);

    let second = Link { directive: vec![15], ..link(2, &first) }.bytes();
    let (root, state) = root.follow(&second, &state, &DEVICE).unwrap();
    let new = sealed(Kind::Header, &Header { trust: 2, counter: 1, ..header_body() }, &[7, 9]);
    let body = Directive { trust: 2, counter: 10, ..directive_body(&new) };
    assert_eq!(code(root.decide(&new, &sealed(Kind::Directive, &body, &[15]), None, &state, &DEVICE)), 0);
    assert_eq!(code(root.decide(&new, &sealed(Kind::Directive, &body, &[5]), None, &state, &DEVICE)), 222);
    assert_eq!(code(root.decide(&good, &driven, None, &state, &DEVICE)), 228);
}
