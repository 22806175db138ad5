//! The agent against a server that cuts connections, stalls, sends too much, redirects, answers garbage and lies about ranges: on a real socket, for
//! metadata and for bundles. What serves is untouched, what is fetched is bounded, and when the server is well again the update comes.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::Outcome,
    transport::{HttpTransport, Timeouts},
};
use fleetfoot_update::Config;
use support::{INPUT, MODEL, NOW, Release, Repository, kernels};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 1, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };
/// A second without a byte is a stall here.
const PATIENCE: Duration = Duration::from_secs(1);

/// One request as the server sees it.
struct Asked<'a> {
    path: &'a str,
    file: &'a [u8],
    /// Where a range begins, if one is asked for.
    start: Option<usize>,
}

/// What a server does with a request.
type Deed = fn(&mut TcpStream, &Asked<'_>) -> std::io::Result<()>;

struct Server {
    url: String,
    /// What happens to which paths; others are answered honestly.
    deed: Arc<Mutex<(Deed, &'static str)>>,
    /// Requests that the deed was done to.
    done: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let deed: Arc<Mutex<(Deed, &'static str)>> = Arc::new(Mutex::new((honest, "")));
        let done: Arc<Mutex<Vec<String>>> = Arc::default();
        let this = Self { url, deed: Arc::clone(&deed), done: Arc::clone(&done) };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (deed, done, root) = (*deed.lock().unwrap(), Arc::clone(&done), root.clone());
                // A client that goes away is no fault of the server.
                std::thread::spawn(move || drop(answer(stream, &root, deed, &done)));
            }
        });
        this
    }

    fn set(&self, deed: Deed, paths: &'static str) {
        *self.deed.lock().unwrap() = (deed, paths);
        self.done.lock().unwrap().clear();
    }
}

fn answer(
    mut stream: TcpStream,
    root: &Path,
    (deed, paths): (Deed, &str),
    done: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|l| !l.is_empty()).map(|l| l.to_lowercase()).collect();
    let start = headers.iter().find_map(|h| h.strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok());
    let Ok(file) = fs::read(root.join(&path)) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    };
    let asked = Asked { path: &path, file: &file, start };
    if path.contains(paths) {
        done.lock().unwrap().push(path.clone());
        return deed(&mut stream, &asked);
    }
    honest(&mut stream, &asked)
}

fn head(stream: &mut TcpStream, status: u16, more: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\n{more}\r\n")
}

fn honest(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let Asked { file, start, .. } = *asked;
    match start {
        Some(start) if start < file.len() => {
            let range = format!("content-range: bytes {start}-{}/{}\r\n", file.len() - 1, file.len());
            head(stream, 206, &format!("{range}content-length: {}\r\netag: \"a\"\r\n", file.len() - start))?;
            stream.write_all(&file[start..])
        }
        Some(_) => head(stream, 416, "content-length: 0\r\n"),
        None => {
            head(stream, 200, &format!("content-length: {}\r\netag: \"a\"\r\n", file.len()))?;
            stream.write_all(file)
        }
    }
}

/// Half of it, and then nothing, until the client has had enough.
fn stalls(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 200, &format!("content-length: {}\r\n", asked.file.len()))?;
    stream.write_all(&asked.file[..asked.file.len() / 2])?;
    std::thread::sleep(PATIENCE * 20);
    Ok(())
}

fn never_answers(_: &mut TcpStream, _: &Asked<'_>) -> std::io::Result<()> {
    std::thread::sleep(PATIENCE * 20);
    Ok(())
}

/// Without a length, and without an end.
fn too_much(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 200, "")?;
    stream.write_all(asked.file)?;
    loop {
        stream.write_all(&[b' '; 65536])?;
    }
}

fn says_too_much(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 200, "content-length: 99999999999\r\n")?;
    stream.write_all(asked.file)
}

fn endless_headers(stream: &mut TcpStream, _: &Asked<'_>) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 X\r\n")?;
    loop {
        write!(stream, "x: {}\r\n", "y".repeat(1000))?;
    }
}

fn garbage(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let noise: Vec<u8> =
        asked.file.iter().enumerate().map(|(i, b)| b.wrapping_mul(37) ^ (i as u8).wrapping_mul(101)).collect();
    stream.write_all(&noise)
}

fn garbage_body(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 200, &format!("content-length: {}\r\n", asked.file.len()))?;
    stream.write_all(&vec![0xA5; asked.file.len()])
}

fn garbage_chunks(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 200, "transfer-encoding: chunked\r\n")?;
    stream.write_all(b"ffffffffffffffffffff\r\n")?;
    stream.write_all(asked.file)
}

fn closes(_: &mut TcpStream, _: &Asked<'_>) -> std::io::Result<()> {
    Ok(())
}

fn elsewhere(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 302, &format!("content-length: 0\r\nlocation: http://127.0.0.1:1/{}\r\n", asked.path))
}

fn in_circles(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 307, &format!("content-length: 0\r\nlocation: /{}\r\n", asked.path))
}

fn status_500(stream: &mut TcpStream, _: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 500, "content-length: 0\r\n")
}

fn status_204(stream: &mut TcpStream, _: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 204, "")
}

fn not_modified(stream: &mut TcpStream, _: &Asked<'_>) -> std::io::Result<()> {
    head(stream, 304, "")
}

/// A part where the whole was asked for.
fn unasked_range(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    part(stream, asked.file, 10, &format!("bytes 10-{}/{}", asked.file.len() - 1, asked.file.len()))
}

fn part(stream: &mut TcpStream, file: &[u8], start: usize, range: &str) -> std::io::Result<()> {
    head(stream, 206, &format!("content-range: {range}\r\ncontent-length: {}\r\n", file.len() - start))?;
    stream.write_all(&file[start..])
}

/// For ranges: one byte off, and says so.
fn another_range(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let Some(start) = asked.start else { return honest(stream, asked) };
    part(stream, asked.file, start - 1, &format!("bytes {}-{}/{}", start - 1, asked.file.len() - 1, asked.file.len()))
}

/// For ranges: one byte off, and says it were not.
fn lying_range(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let Some(start) = asked.start else { return honest(stream, asked) };
    part(stream, asked.file, start - 1, &format!("bytes {start}-{}/{}", asked.file.len() - 1, asked.file.len()))
}

fn unreadable_range(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let Some(start) = asked.start else { return honest(stream, asked) };
    part(stream, asked.file, start, "pages 1-*/many")
}

fn no_range(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let Some(start) = asked.start else { return honest(stream, asked) };
    head(stream, 206, &format!("content-length: {}\r\n", asked.file.len() - start))?;
    stream.write_all(&asked.file[start..])
}

/// For ranges: the rest of another file, as if the tag still held.
fn if_range_ignored(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    let Some(start) = asked.start else { return honest(stream, asked) };
    let other = vec![7; asked.file.len()];
    part(stream, &other, start, &format!("bytes {start}-{}/{}", other.len() - 1, other.len()))
}

/// For ranges: the whole file, which is allowed.
fn whole_for_a_range(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    honest(stream, &Asked { start: None, ..*asked })
}

/// For ranges: beyond the end, whatever was asked for.
fn not_satisfiable(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    if asked.start.is_none() { honest(stream, asked) } else { head(stream, 416, "content-length: 0\r\n") }
}

/// Connections that ended too early.
static CUTS: AtomicUsize = AtomicUsize::new(0);

/// Cuts the connection after a number of bytes that changes each time, headers among them.
fn cuts(stream: &mut TcpStream, asked: &Asked<'_>) -> std::io::Result<()> {
    static RANDOM: Mutex<u64> = Mutex::new(0x9E37_79B9_7F4A_7C15);
    let at = {
        let mut random = RANDOM.lock().unwrap();
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*random >> 33) as usize % 6000
    };
    let start = asked.start.unwrap_or(0).min(asked.file.len());
    let rest = &asked.file[start..];
    let (status, range) = match asked.start {
        Some(start) => (206, format!("content-range: bytes {start}-{}/{}\r\n", asked.file.len() - 1, asked.file.len())),
        None => (200, String::new()),
    };
    let mut all =
        format!("HTTP/1.1 {status} X\r\n{range}content-length: {}\r\netag: \"a\"\r\n\r\n", rest.len()).into_bytes();
    all.extend_from_slice(rest);
    CUTS.fetch_add(usize::from(at < all.len()), Ordering::Relaxed);
    stream.write_all(&all[..at.min(all.len())])
}

fn device(dir: &Path, url: &str) -> Agent {
    let timeouts = Timeouts { response: PATIENCE, stall: PATIENCE, ..Timeouts::default() };
    let root = fs::read(dir.join("repository/metadata/1.root.json")).unwrap();
    let transport = Box::new(HttpTransport::with_timeouts(url, timeouts));
    let config = AgentConfig::new(dir.join("store"), MODEL, &root, transport);
    Agent::open(AgentConfig { limits: LIMITS, kernels: kernels(), ..config }, NOW).unwrap()
}

#[track_caller]
fn serves(agent: &Agent, number: u64) {
    let serving = agent.serving().unwrap();
    assert_eq!(serving.version.number, number);
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(number).output());
}

/// Bytes of the one download that there is.
fn partial_len(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir.join("store").join(MODEL).join("partial")).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// What may come of a poll while the server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// Nothing: it failed, and the next poll tries again.
    Nothing,
    /// It waits, because the bytes were wrong.
    WrongBytes,
    /// The update, all the same.
    Update,
}

#[track_caller]
fn check(name: &str, deed: Deed, paths: &'static str, comes: Comes, ranged: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let server = Server::start(repository.dir.clone());
    repository.publish(&[Release::new(1)]);
    let mut agent = device(dir.path(), &server.url);
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    serves(&agent, 1);

    repository.publish(&[Release::new(1), Release::new(2)]);
    if ranged {
        // For lies about ranges there must be a beginning. The first cut may fall into the headers.
        while partial_len(dir.path()) == 0 {
            server.set(cuts, ".ff");
            assert!(matches!(agent.poll(NOW), Outcome::Failed(_)), "{name}");
        }
    }
    server.set(deed, paths);
    let start = Instant::now();
    // After a lie about a range the next poll may begin anew.
    for _ in 0..if ranged { 1 } else { 2 } {
        let outcome = agent.poll(NOW);
        let came = match &outcome {
            Outcome::Failed(error) => {
                assert!(!error.to_string().is_empty());
                Comes::Nothing
            }
            Outcome::Deferred { reason, .. } if reason.0 == 417 => Comes::WrongBytes,
            Outcome::Trial(_) => Comes::Update,
            // Who says that nothing is new is believed until the metadata expires.
            Outcome::UpToDate { .. } if name == "timestamp.json not modified" => Comes::Nothing,
            other => panic!("{name}: {other:?}"),
        };
        if name == "too much" && came == Comes::Update {
            // The right bytes came before the others, and were kept: nothing was missing any more.
            break;
        }
        assert_eq!(came, comes, "{name}: {outcome:?}");
        assert!(partial_len(dir.path()) <= Release::new(2).bundle().len() as u64, "{name}: not a byte too many");
        if comes == Comes::Update {
            break;
        }
        serves(&agent, 1);
    }
    // Far below what an endless server would take; ten times what the slowest deed needs.
    assert!(start.elapsed() < Duration::from_secs(60), "{name} held the agent for {:?}", start.elapsed());
    assert!(!server.done.lock().unwrap().is_empty(), "{name} was never done");
    server.set(honest, "");
    if !agent.serving().unwrap().trial {
        // An hour later at the latest; a download that was thrown away begins anew.
        let mut outcome = agent.poll(NOW + 3600);
        if matches!(outcome, Outcome::Failed(_)) {
            outcome = agent.poll(NOW + 3600);
        }
        assert!(matches!(outcome, Outcome::Trial(_)), "{name}: {outcome:?}");
    }
    agent.confirm_healthy(NOW).unwrap();
    serves(&agent, 2);
}

/// Lies about ranges.
const RANGES: [(&str, Deed, Comes); 7] = [
    ("another range", another_range, Comes::Nothing),
    ("a range that lies", lying_range, Comes::Nothing),
    ("an unreadable range", unreadable_range, Comes::Nothing),
    ("no range", no_range, Comes::Nothing),
    ("the rest of another file", if_range_ignored, Comes::WrongBytes),
    ("the whole for a range", whole_for_a_range, Comes::Update),
    ("not satisfiable", not_satisfiable, Comes::Nothing),
];

#[test]
fn lies_about_ranges() {
    for (name, deed, comes) in RANGES {
        check(name, deed, ".ff", comes, true);
    }
}

const DEEDS: [(&str, Deed); 14] = [
    ("stalls", stalls),
    ("never answers", never_answers),
    ("too much", too_much),
    ("says too much", says_too_much),
    ("endless headers", endless_headers),
    ("garbage", garbage),
    ("garbage chunks", garbage_chunks),
    ("closes", closes),
    ("elsewhere", elsewhere),
    ("in circles", in_circles),
    ("status 500", status_500),
    ("status 204", status_204),
    ("not modified", not_modified),
    ("a range that nobody asked for", unasked_range),
];

#[test]
fn bundles() {
    for (name, deed) in DEEDS {
        check(name, deed, ".ff", Comes::Nothing, false);
    }
    check("garbage as a body", garbage_body, ".ff", Comes::WrongBytes, false);
}

#[test]
fn metadata() {
    for paths in ["timestamp.json", ".snapshot.json", ".releases-kws.json"] {
        for (name, deed) in DEEDS {
            check(&format!("{paths} {name}"), deed, paths, Comes::Nothing, false);
        }
        check(&format!("{paths} garbage as a body"), garbage_body, paths, Comes::Nothing, false);
    }
}

/// A hundred cuts at random bytes, of everything: what is there stays there, and updates come all the same.
#[test]
fn a_hundred_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let server = Server::start(repository.dir.clone());
    repository.publish(&[Release::new(1)]);
    let mut agent = device(dir.path(), &server.url);
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    let (mut number, mut whole) = (1, 0);
    CUTS.store(0, Ordering::Relaxed);
    while CUTS.load(Ordering::Relaxed) < 100 {
        number += 1;
        repository.publish(&[Release { filler_len: 40_000, ..Release::new(number) }]);
        server.set(cuts, "");
        for round in 0..100 {
            // All of it is cut, or bundles alone.
            server.deed.lock().unwrap().1 = if round % 2 == 0 { "" } else { ".ff" };
            let before = partial_len(dir.path());
            let outcome = agent.poll(NOW);
            if matches!(outcome, Outcome::Trial(_)) {
                whole += 1;
                break;
            }
            assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
            assert!(partial_len(dir.path()) >= before, "what is there stays there");
            serves(&agent, number - 1);
        }
        server.set(honest, "");
        agent.poll(NOW);
        agent.confirm_healthy(NOW).unwrap();
        serves(&agent, number);
    }
    println!("{CUTS:?} cuts, {} updates, {whole} of them came in spite of all", number - 1);
    assert!(whole > 0);
}
