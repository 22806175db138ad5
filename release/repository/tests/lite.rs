//! The files for devices without clock, JSON or TLS, as they come out of the repository: a device without a heap follows them through
//! releases, directives, rotations and thefts.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::fs;

use fleetfoot_format::lite::{Header, Stage, State};
use fleetfoot_repository::{Expiry, LiteOrder, Online, RepositoryError, Signers, TopRole};
use fleetfoot_trust::lite::{Device, Order, Root, last_link};
use fleetfoot_trust::{SigningKey, sha256};
use support::{DAY, Device as TufDevice, Fixture, NOW, keys, kws};

const BOARD: Device<'_> = Device { model: "kws", hardware: "cortex-m4f" };

fn code<T>(result: Result<T, RepositoryError>) -> u16 {
    result.map_or_else(|error| error.code(), |_| 0)
}

/// Begins or goes on with the chain of `kws`.
fn trust(fixture: &Fixture, root: &[u8], releases: &[u8]) -> Result<u32, RepositoryError> {
    let (root, targets, releases) = (keys(root), keys(&[3]), keys(releases));
    let with = (&root[..], &targets[..], &releases[..]);
    fixture.repository().lite_trust("kws", with, fixture.online(), Expiry::default(), NOW)
}

fn direct(fixture: &Fixture, stage: Stage, basis_points: u16, nonce: Option<[u8; 16]>) -> Result<(), RepositoryError> {
    let order = LiteOrder { stage, basis_points, nonce };
    fixture.repository().lite_direct("kws", order, fixture.online(), Expiry::default(), NOW)
}

/// What a gateway hands on: what the role `lite-kws` lists, each file with the length and the hash that it says.
fn gateway(fixture: &Fixture) -> [Option<Vec<u8>>; 3] {
    let targets = TufDevice::new(fixture).refresh(fixture, "lite-kws", NOW).unwrap();
    ["trust", "header", "directive"].map(|kind| {
        let target = targets.iter().find(|target| target.path == format!("lite/kws/{kind}.bin"))?;
        let path = target.url_path();
        assert!(path.starts_with("lite/kws/") && path.ends_with(&format!(".{kind}.bin")), "{path}");
        let bytes = fs::read(fixture.folder.path().join("targets").join(path)).unwrap();
        assert_eq!((bytes.len() as u64, sha256(&bytes)), (target.length, target.sha256));
        Some(bytes)
    })
}

/// A board: the link that is compiled in, the one that it has stored, and its state.
#[derive(Clone)]
struct Board {
    first: Vec<u8>,
    link: Option<Vec<u8>>,
    state: State,
}

impl Board {
    fn new(fixture: &Fixture) -> Self {
        let chain = gateway(fixture)[0].clone().unwrap();
        Self { first: last_link(&chain).unwrap().to_vec(), link: None, state: State::default() }
    }

    /// Takes what the gateway has; number, order for a bucket, or the code of the refusal.
    fn poll(&mut self, fixture: &Fixture, bucket: u16, nonce: Option<[u8; 16]>) -> Result<(u64, Order), u16> {
        let [chain, header, directive] = gateway(fixture);
        self.take(&[chain.unwrap(), header.unwrap(), directive.unwrap()], bucket, nonce)
    }

    fn take(&mut self, files: &[Vec<u8>; 3], bucket: u16, nonce: Option<[u8; 16]>) -> Result<(u64, Order), u16> {
        let [chain, header, directive] = files;
        let (link, first) = (self.link.clone(), self.first.clone());
        let root = match &link {
            Some(link) => Root::stored(link, &self.state, &BOARD),
            None => Root::first(&first, &BOARD),
        };
        let (root, state) = root.and_then(|root| root.follow(chain, &self.state, &BOARD)).map_err(|e| e.code())?;
        (self.state, self.link) = (state, last_link(chain).map(<[u8]>::to_vec));
        let decision = root.decide(header, directive, nonce.as_ref(), &state, &BOARD).map_err(|e| e.code())?;
        self.state = decision.state();
        Ok((decision.header().number, decision.order(bucket)))
    }
}

const FULL: Order = Order::Install { stage: Stage::FULL };

#[test]
fn releases_and_directives_reach_a_board() {
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    assert_eq!(code(direct(&fixture, Stage::FULL, 1, None)), 780, "no chain yet");
    assert_eq!(trust(&fixture, &[1, 2], &[7, 8]).unwrap(), 1);
    let mut board = Board::new(&fixture);
    assert_eq!(board.poll(&fixture, 9_999, None), Ok((3, FULL)));

    let bundle = kws(4);
    fixture.publish(&bundle, NOW).unwrap();
    let [_, header, _] = gateway(&fixture);
    let header = header.unwrap();
    let frame = fleetfoot_format::lite::Frame::whole(&header, fleetfoot_format::lite::Kind::Header).unwrap();
    let parsed = Header::parse(&frame).unwrap();
    assert_eq!((parsed.sha256, parsed.len, parsed.number), (sha256(&bundle), bundle.len() as u64, 4));
    assert_eq!(board.poll(&fixture, 9_999, None), Ok((4, FULL)));
    let before = board.state;

    // The online key halts, narrows, widens and goes back.
    for (stage, basis_points, bucket, expected) in [
        (Stage::HALT, 0, 0, Order::Stay),
        (Stage::CANARY, 100, 99, Order::Install { stage: Stage::CANARY }),
        (Stage::CANARY, 100, 100, Order::Stay),
        (Stage::REVERT, 0, 0, Order::Revert),
        (Stage::FULL, 10_000, 9_999, FULL),
    ] {
        direct(&fixture, stage, basis_points, None).unwrap();
        assert_eq!(board.poll(&fixture, bucket, None), Ok((4, expected)), "{stage:?} {basis_points} {bucket}");
    }
    assert_eq!(board.state.directive, before.directive + 5);
    assert_eq!(code(direct(&fixture, Stage(9), 0, None)), 232);
    assert_eq!(code(direct(&fixture, Stage::FULL, 10_001, None)), 111);

    // A challenge.
    assert_eq!(board.poll(&fixture, 0, Some([7; 16])), Err(234));
    direct(&fixture, Stage::FULL, 10_000, Some([7; 16])).unwrap();
    assert_eq!(board.poll(&fixture, 0, Some([7; 16])), Ok((4, FULL)));

    // Agents that read metadata see the releases and nothing else.
    assert_eq!(TufDevice::new(&fixture).numbers(&fixture, NOW), Ok(vec![3, 4]));
    // Models without a chain have no such files.
    let plain = Fixture::new();
    plain.publish(&kws(3), NOW).unwrap();
    assert!(!plain.folder.path().join("targets/lite").exists());
}

#[test]
fn old_files_are_refused() {
    let fixture = Fixture::new();
    trust(&fixture, &[1, 2], &[]).unwrap();
    assert!(gateway(&fixture)[1].is_none(), "nothing is released yet");
    let mut board = Board::new(&fixture);
    let files = |fixture: &Fixture| gateway(fixture).map(Option::unwrap);
    fixture.publish(&kws(3), NOW).unwrap();
    let third = files(&fixture);
    fixture.publish(&kws(4), NOW).unwrap();
    let fourth = files(&fixture);
    assert_eq!(board.take(&fourth, 0, None), Ok((4, FULL)));
    assert_eq!(board.take(&third, 0, None), Err(229));
    let mixed = |chain: usize, header: usize, directive: usize| {
        let of = |at: usize, kind: usize| [&third, &fourth][at][kind].clone();
        [of(chain, 0), of(header, 1), of(directive, 2)]
    };
    assert_eq!(board.take(&mixed(1, 0, 1), 0, None), Err(229));
    assert_eq!(board.take(&mixed(1, 1, 0), 0, None), Err(229));
    let mut fresh = Board { state: State::default(), link: None, ..board.clone() };
    assert_eq!(fresh.take(&mixed(1, 0, 1), 0, None), Err(230));
    assert_eq!(board.take(&fourth, 0, None), Ok((4, FULL)), "nothing of it has changed the board");
}

#[test]
fn rotations() {
    let fixture = Fixture::new();
    trust(&fixture, &[1, 2], &[]).unwrap();
    fixture.publish(&kws(3), NOW).unwrap();
    let (mut board, mut asleep) = (Board::new(&fixture), Board::new(&fixture));
    assert_eq!(board.poll(&fixture, 0, None), Ok((3, FULL)));
    let before = gateway(&fixture).map(Option::unwrap);

    // Other release keys: until the chain names them nothing is published.
    let (new, targets) = (keys(&[8, 9]), keys(&[3]));
    let signers = |signing| Signers { signing, others: &[], threshold: 2 };
    let repository = fixture.repository();
    let times = (Expiry::default(), NOW);
    repository.rotate_releases("kws", &signers(&new), &targets, fixture.online(), times.0, times.1).unwrap();
    let next = support::bundle("kws", 4, "4.0.0", &[8, 9], &[8, 9]);
    let publish = |bundle: &[u8], online: Online<'_>| repository.publish(bundle, &new, online, times.0, times.1);
    assert_eq!(code(publish(&next, fixture.online())), 781);
    assert_eq!(code(trust(&fixture, &[1], &[])), 205, "too few root keys");
    assert_eq!(trust(&fixture, &[1, 2], &[]).unwrap(), 2);
    publish(&next, fixture.online()).unwrap();
    assert_eq!(board.poll(&fixture, 0, None), Ok((4, FULL)));
    assert_eq!((board.state.trust, board.state.header), (2, 1), "counters begin anew");
    // The old header, with the old chain and the new one.
    assert_eq!(board.take(&before, 0, None), Err(226));
    let [_, header, directive] = before;
    let chain = gateway(&fixture)[0].clone().unwrap();
    assert_eq!(board.take(&[chain, header, directive], 0, None), Err(222));

    // Another online key, and with it the role that lists the files.
    let (root, timestamp) = (keys(&[1, 2]), keys(&[55]));
    let online = Online { snapshot: &fixture.snapshot, timestamp: &timestamp };
    let one = Signers { signing: &timestamp, others: &[], threshold: 1 };
    repository.rotate(TopRole::Timestamp, &one, &root, online, times.0, times.1).unwrap();
    let fifth = support::bundle("kws", 5, "5.0.0", &[8, 9], &[8, 9]);
    assert_eq!(code(publish(&fifth, online)), 781);
    let lite = |root: &[SigningKey]| repository.lite_trust("kws", (root, &targets, &new), online, times.0, times.1);
    assert_eq!(lite(&root).unwrap(), 3);
    assert_eq!(board.poll(&fixture, 0, None), Ok((4, FULL)), "signed again under the new link");
    publish(&fifth, online).unwrap();
    assert_eq!(board.poll(&fixture, 0, None), Ok((5, FULL)));

    // Another root: old and new keys sign the link.
    let new_root = keys(&[11, 12]);
    repository.renew_root(&signers(&new_root), &root, times.0, times.1).unwrap();
    assert_eq!(code(lite(&new_root)), 205);
    assert_eq!(code(lite(&root)), 205);
    assert_eq!(lite(&[&root[..], &new_root].concat()).unwrap(), 4);
    assert_eq!(board.poll(&fixture, 0, None), Ok((5, FULL)));
    // Who has slept through all of it, and who comes with the newest link.
    assert_eq!(asleep.poll(&fixture, 0, None), Ok((5, FULL)));
    assert_eq!(asleep.state, board.state);
    assert_eq!(Board::new(&fixture).poll(&fixture, 0, None), Ok((5, FULL)));
}

/// The list of lite files is renewed in its second half, with nothing but the online key, and it is the same files that it lists.
#[test]
fn resigning_renews_the_list() {
    let fixture = Fixture::new();
    trust(&fixture, &[1, 2], &[]).unwrap();
    fixture.publish(&kws(3), NOW).unwrap();
    let before = gateway(&fixture);
    let lists = || {
        let names =
            fs::read_dir(fixture.folder.path().join("metadata")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".lite-kws.json")).count()
    };
    let (n, long) = (lists(), Expiry::default().releases);
    let resign = |now| fixture.repository().resign(fixture.online(), Expiry::default(), now);
    resign(NOW + 5 * DAY).unwrap();
    assert_eq!(lists(), n, "it holds for long");
    // Every five days, until long after the first list would have run out.
    let mut now = NOW;
    while now < NOW + long + 60 * DAY {
        now += 5 * DAY;
        resign(now).unwrap();
        let listed = TufDevice::new(&fixture).refresh(&fixture, "lite-kws", now).unwrap();
        let hashes: Vec<_> = listed.iter().map(|target| target.sha256).collect();
        assert!(before.iter().flatten().all(|bytes| hashes.contains(&sha256(bytes))), "the same files");
    }
    assert_eq!(lists(), n + 2, "once in each half of its time");
    // With another online key it is left alone, and everything else is signed.
    let (root, timestamp) = (keys(&[1, 2]), keys(&[55]));
    let one = Signers { signing: &timestamp, others: &[], threshold: 1 };
    let online = Online { snapshot: &fixture.snapshot, timestamp: &timestamp };
    fixture.repository().rotate(TopRole::Timestamp, &one, &root, online, Expiry::default(), now).unwrap();
    fixture.repository().resign(online, Expiry::default(), now + long - DAY).unwrap();
    assert_eq!(lists(), n + 2);
}

#[test]
fn nothing_forged_is_signed_upon() {
    let fixture = Fixture::new();
    trust(&fixture, &[1, 2], &[]).unwrap();
    fixture.publish(&kws(3), NOW).unwrap();
    let targets = TufDevice::new(&fixture).refresh(&fixture, "lite-kws", NOW).unwrap();
    for target in targets {
        let path = fixture.folder.path().join("targets").join(target.url_path());
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[7] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_eq!(code(fixture.publish(&kws(4), NOW)), 704, "{}", target.path);
        assert_eq!(code(direct(&fixture, Stage::HALT, 0, None)), 704);
        fs::write(&path, &good).unwrap();
    }
    fixture.publish(&kws(4), NOW).unwrap();
    assert_eq!(Board::new(&fixture).poll(&fixture, 0, None), Ok((4, FULL)));
    // The list holds as long as a list of releases, and a directive signs it anew.
    let mut gateway = TufDevice::new(&fixture);
    assert!(gateway.refresh(&fixture, "lite-kws", NOW + 6 * DAY).is_ok());
}
