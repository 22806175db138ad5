//! Lite files: bytes as they are in the place of each of the three, and as a body that the right keys have signed.

use std::sync::LazyLock;

use fleetfoot_format::lite::{self, Directive, Header, Kind, Limits, Role, Stage, State};
use fleetfoot_trust::{
    SigningKey,
    lite::{Device, LiteError, Root, last_link},
    sha256, sign_lite,
};

const DEVICE: Device<'_> = Device { model: "kws", hardware: "cortex-m4f" };

/// Puts `bytes` in the place of each file.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    let Good { first, chain, header, directive } = &*GOOD;
    for (at, kind) in KINDS.iter().enumerate() {
        let as_body = seal(*kind, bytes);
        for file in [bytes, &as_body] {
            let mut files = [&chain[..], header, directive];
            files[at] = file;
            take(first, &files, at);
        }
    }
    // A link that is compiled in, or stored.
    let (raw, link) = (bytes, seal(Kind::Root, bytes));
    for link in [raw, &link] {
        check(Root::first(link, &DEVICE).map(drop));
        let state = State { trust: 1, root: sha256(link), ..State::default() };
        check(Root::stored(link, &state, &DEVICE).map(drop));
    }
}

fn take(first: &[u8], files: &[&[u8]; 3], changed: usize) {
    let [chain, header, directive] = files;
    let start = State { epoch_floor: 1, ..State::default() };
    let decided = (|| {
        let root = Root::first(first, &DEVICE)?;
        let (root, state) = root.follow(chain, &start, &DEVICE)?;
        assert!(state.trust >= 1 && state.epoch_floor == 1);
        assert!(chain.is_empty() || last_link(chain).is_some());
        let decision = root.decide(header, directive, None, &state, &DEVICE)?;
        let (limits, said) = (decision.header().limits, decision.directive());
        assert!(said.basis_points <= limits.max_basis_points && (limits.first..=limits.last).contains(&said.counter));
        assert!(said.stage <= Stage::REVERT || said.stage.0 <= limits.max_stage);
        assert!(decision.header().epoch >= 1 && decision.header().model == DEVICE.model);
        let order = decision.order(5_000);
        // The same files again change nothing more.
        let again = root.decide(header, directive, None, &decision.state(), &DEVICE)?;
        assert_eq!((again.state(), again.order(5_000)), (decision.state(), order), "file {changed}");
        Ok(())
    })();
    check(decided);
}

fn check(result: Result<(), LiteError>) {
    if let Err(error) = result {
        assert!((100..240).contains(&error.code()) && !error.to_string().is_empty());
    }
}

const KINDS: [Kind; 3] = [Kind::Root, Kind::Header, Kind::Directive];

/// A frame with this body and the signature of the key that all roles have.
fn seal(kind: Kind, body: &[u8]) -> Vec<u8> {
    let body = &body[..body.len().min(0xffff)];
    let [low, high] = (body.len() as u16).to_le_bytes();
    let front = [&[kind.number(), lite::LITE_VERSION, low, high][..], body].concat();
    let signature = sign_lite(kind, &front, &SigningKey::from_seed(&[1; 32]));
    [&front[..], &[1], &signature].concat()
}

/// Files that are good.
struct Good {
    first: Vec<u8>,
    chain: Vec<u8>,
    header: Vec<u8>,
    directive: Vec<u8>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let key = SigningKey::from_seed(&[1; 32]).public();
    let role = Role { threshold: 1, keys: &key };
    let body = |kind, value: &dyn Fn(Kind) -> Result<Vec<u8>, fleetfoot_format::FormatError>| {
        let front = value(kind).unwrap_or_default();
        seal(kind, &front[lite::HEAD_LEN..])
    };
    let root = lite::Root { model: "kws", version: 1, previous: [0; 32], root: role, header: role, directive: role };
    let first = body(Kind::Root, &|kind| lite::write(kind, &root));
    let next = lite::Root { version: 2, previous: sha256(&first), ..root };
    let chain = body(Kind::Root, &|kind| lite::write(kind, &next));
    let header = Header {
        model: "kws",
        trust: 2,
        counter: 4,
        sha256: [0xab; 32],
        len: 52_000,
        number: 12,
        epoch: 1,
        attempt: 1,
        hardware: ["cortex-m4f"].into_iter().collect(),
        salt: "kws/12",
        limits: Limits { max_stage: 5, max_basis_points: 10_000, first: 10, last: 1000 },
    };
    let header = body(Kind::Header, &|kind| lite::write(kind, &header));
    let said = Directive {
        model: "kws",
        trust: 2,
        counter: 11,
        header: sha256(&header),
        stage: Stage::CANARY,
        basis_points: 100,
        nonce: Some([9; 16]),
    };
    let directive = body(Kind::Directive, &|kind| lite::write(kind, &said));
    Good { first, chain, header, directive }
});

/// Whole files and bodies to begin with.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let Good { first, chain, header, directive } = &*GOOD;
    let body = |frame: &[u8]| frame[lite::HEAD_LEN..frame.len() - 1 - lite::SIGNED_BY_LEN].to_vec();
    vec![
        ("first", first.clone()),
        ("chain", chain.clone()),
        ("chain_from_first", [&first[..], chain].concat()),
        ("header", header.clone()),
        ("directive", directive.clone()),
        ("root_body", body(first)),
        ("link_body", body(chain)),
        ("header_body", body(header)),
        ("directive_body", body(directive)),
    ]
}
