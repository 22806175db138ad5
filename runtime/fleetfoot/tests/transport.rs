//! Transports against a real server on a real socket that breaks off, ignores ranges, lies and redirects.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use fleetfoot::{
    format::record::Version,
    store::{OsDisk, Store},
    transport::{Fetched, Request, Transport, TransportError, open},
};
use sha2::{Digest as _, Sha256};

/// What the server does wrong.
#[derive(Clone, Debug, Default)]
struct Faults {
    /// Breaks off after so many bytes of a body.
    cut: Option<usize>,
    /// Answers ranges with the whole file.
    ignores_ranges: bool,
    /// Answers ranges with another part than was asked for.
    wrong_range: bool,
    /// Sends bodies without a length.
    no_length: bool,
    /// Answers everything with this status.
    status: Option<u16>,
    /// Redirects to this address.
    redirect: Option<String>,
}

struct Server {
    url: String,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    faults: Arc<Mutex<Faults>>,
    /// The request headers that came, in lower case.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { url, files: Arc::default(), faults: Arc::default(), seen: Arc::default() };
        let (files, faults, seen) = (this.files.clone(), this.faults.clone(), this.seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, faults) = (files.lock().unwrap().clone(), faults.lock().unwrap().clone());
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || answer(stream, &files, &faults, &seen));
            }
        });
        this
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.files.lock().unwrap().insert(path.into(), bytes.into());
    }

    fn faults(&self, faults: Faults) {
        *self.faults.lock().unwrap() = faults;
    }
}

/// One request, one answer, end of the connection.
fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, faults: &Faults, seen: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|l| !l.is_empty()).map(|l| l.to_lowercase()).collect();
    let header = |name: &str| headers.iter().find_map(|h| h.strip_prefix(name)?.strip_prefix(": ").map(String::from));
    seen.lock().unwrap().extend(headers.iter().cloned());
    let mut status = faults.status.unwrap_or(200);
    let mut more = String::new();
    if let Some(to) = &faults.redirect
        && !path.starts_with("moved/")
    {
        (status, more) = (302, format!("location: {to}\r\n"));
    }
    let path = path.trim_start_matches("moved/");
    let Some(file) = files.get(path) else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    };
    let tag = format!("\"{}\"", &fleetfoot::hex(&Sha256::digest(file))[..8]);
    let mut start = 0;
    if let Some(range) = header("range")
        && !faults.ignores_ranges
        && header("if-range").is_none_or(|wanted| wanted == tag)
    {
        start = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
        if start >= file.len() {
            status = 416;
        } else {
            start -= usize::from(faults.wrong_range);
            status = 206;
            more = format!("content-range: bytes {start}-{}/{}\r\n", file.len() - 1, file.len());
        }
    }
    if header("if-none-match").is_some_and(|wanted| wanted == tag) {
        status = 304;
    }
    let body = if matches!(status, 200 | 206) { &file[start..] } else { &[] };
    if !faults.no_length {
        more += &format!("content-length: {}\r\n", body.len());
    }
    let _ = write!(stream, "HTTP/1.1 {status} X\r\netag: {tag}\r\n{more}connection: close\r\n\r\n");
    let _ = stream.write_all(&body[..faults.cut.unwrap_or(usize::MAX).min(body.len())]);
}

fn request(path: &str) -> Request<'_> {
    Request { path, offset: 0, max_len: 1 << 20, etag: None }
}

fn fetch(transport: &dyn Transport, request: &Request<'_>) -> (Vec<u8>, Result<Fetched, TransportError>) {
    let mut bytes = Vec::new();
    let result = transport.fetch(request, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    });
    (bytes, result)
}

fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut step = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    (0..len).map(|_| step()).collect()
}

/// A download that is broken off again and again, at random offsets, over restarts of the program, ends with the right bytes.
#[test]
fn downloads_go_on_where_they_broke_off() {
    let server = Server::start();
    let bundle = noise(300_000, 7);
    server.put("targets/a.ff", &bundle);
    let version =
        Version { sha256: Sha256::digest(&bundle).into(), number: 1, len: bundle.len() as u64, attempt: 1, epoch: 0 };
    let mut random = 0x1234_5678_9ABC_DEFFu64;
    let mut breaks = 0;
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        for attempt in 0.. {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let cut = (random >> 33) as usize % 150_000;
            server.faults(Faults {
                cut: Some(cut),
                ignores_ranges: round % 3 == 1 && attempt % 4 != 3,
                no_length: round % 3 == 2,
                ..Faults::default()
            });
            if attempt > 6 {
                server.faults(Faults { ignores_ranges: round % 3 == 1, ..Faults::default() });
            }
            let transport = open(&server.url).unwrap();
            let store = Store::open(dir.path(), Arc::new(OsDisk)).unwrap();
            let models = store.model("kws").unwrap();
            let mut partial = models.partial(&version).unwrap();
            let before = partial.offset();
            let request = Request { path: "targets/a.ff", offset: before, max_len: version.len, etag: None };
            let result = transport.fetch(&request, &mut |chunk| partial.append(chunk));
            assert!(partial.offset() >= before);
            if partial.offset() == version.len {
                let path = models.install(&partial.finish().unwrap(), &version.sha256).unwrap();
                assert_eq!(std::fs::read(path).unwrap(), bundle);
                break;
            }
            // Without a length the end of the connection is the end of the file: the caller counts.
            assert!(result.is_err() || round % 3 == 2, "{result:?}");
            breaks += 1;
        }
    }
    println!("{breaks} broken downloads");
    assert!(breaks > 12);
}

#[test]
fn answers_of_servers() {
    let server = Server::start();
    let file = noise(10_000, 3);
    server.put("metadata/1.root.json", &file);
    let transport = open(&format!("{}/", server.url)).unwrap();
    let transport = transport.as_ref();
    let path = "metadata/1.root.json";
    let check = |name: &str, faults: Faults, request: Request<'_>, bytes: &[u8], code: Option<u16>| {
        server.faults(faults);
        let (got, result) = fetch(transport, &request);
        assert_eq!(got, bytes, "{name}");
        assert_eq!(result.as_ref().err().map(code_of), code, "{name}: {result:?}");
        result.ok()
    };
    let none = Faults::default;
    let at = |offset| Request { offset, ..request(path) };
    let Some(Fetched::Body { len: 10_000, etag: Some(tag) }) = check("whole", none(), request(path), &file, None)
    else {
        panic!("a body with a tag")
    };
    check("rest", none(), at(9000), &file[9000..], None);
    assert!(server.seen.lock().unwrap().contains(&format!("if-range: {}", tag)));
    check("rest, ranges ignored", Faults { ignores_ranges: true, ..none() }, at(9000), &file[9000..], None);
    check("another range", Faults { wrong_range: true, ..none() }, at(9000), &[], Some(206));
    check("beyond the end", none(), at(10_000), &[], Some(416));
    check("error of the server", Faults { status: Some(500), ..none() }, request(path), &[], Some(500));
    let tagged = Request { etag: Some(&tag), ..request(path) };
    assert_eq!(check("still good", none(), tagged, &[], None), Some(Fetched::NotModified));
    let other = Request { etag: Some("\"other\""), ..request(path) };
    check("not good any more", none(), other, &file, None);
    assert_eq!(check("missing", none(), request("metadata/2.root.json"), &[], None), Some(Fetched::Missing));
    for status in [403, 404, 410] {
        let answer = check("missing", Faults { status: Some(status), ..none() }, request(path), &[], None);
        assert_eq!(answer, Some(Fetched::Missing), "{status}");
    }
    let small = |max_len| Request { max_len, ..request(path) };
    check("as long as it may be", none(), small(10_000), &file, None);
    check("too long, and says so", none(), small(9_999), &[], Some(TOO_LONG));
    server.faults(Faults { no_length: true, ..none() });
    let (got, result) = fetch(transport, &small(9_999));
    assert!(
        got.len() < 10_000 && result.as_ref().err().map(code_of) == Some(TOO_LONG),
        "too long, and does not say so"
    );

    let redirect = |to: &str| Faults { redirect: Some(to.into()), ..none() };
    check("redirected here", redirect(&format!("/moved/{path}")), request(path), &file, None);
    check("redirected here", redirect(&format!("{}/moved/{path}", server.url)), request(path), &file, None);
    for elsewhere in
        ["http://127.0.0.1:1/x", "https://example.com/x", "//example.com/x", "", "ftp://x", &format!("/{path}")]
    {
        check(elsewhere, redirect(elsewhere), request(path), &[], Some(REDIRECTED));
    }
    for bad in ["../x", "/etc/passwd", "a//b", "a?b", "a/./b", "", "a\\b", "a b", "http://x/y"] {
        check(bad, none(), request(bad), &[], Some(BAD_PATH));
    }
    let nobody = open("http://127.0.0.1:1").unwrap();
    assert!(matches!(fetch(nobody.as_ref(), &request(path)).1, Err(TransportError::Unreachable { .. })));
}

#[test]
fn folders() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("metadata")).unwrap();
    std::fs::write(dir.path().join("metadata/a.json"), b"0123456789").unwrap();
    std::fs::write(dir.path().join("secret"), b"no").unwrap();
    let stick = dir.path().join("metadata");
    for url in [format!("file://{}", stick.display()), stick.display().to_string()] {
        let transport = open(&url).unwrap();
        let (bytes, result) = fetch(transport.as_ref(), &Request { offset: 4, max_len: 10, ..request("a.json") });
        assert_eq!((&bytes[..], result.unwrap()), (&b"456789"[..], Fetched::Body { len: 6, etag: None }));
        let (_, result) = fetch(transport.as_ref(), &Request { max_len: 9, ..request("a.json") });
        assert_eq!(code_of(&result.unwrap_err()), TOO_LONG);
        assert_eq!(fetch(transport.as_ref(), &request("b.json")).1.unwrap(), Fetched::Missing);
        let (bytes, result) = fetch(transport.as_ref(), &request("../secret"));
        assert_eq!((bytes.len(), code_of(&result.unwrap_err())), (0, BAD_PATH));
    }
    let gone = open("file:///nonexistent/stick").unwrap();
    assert!(matches!(fetch(gone.as_ref(), &request("a.json")).1, Err(TransportError::Unreachable { .. })));
    assert!(matches!(open("gopher://x"), Err(TransportError::Unsupported { .. })));
}

const TOO_LONG: u16 = 1;
const REDIRECTED: u16 = 2;
const BAD_PATH: u16 = 3;

/// A number for each kind of error; the status where there is one.
fn code_of(error: &TransportError) -> u16 {
    match error {
        TransportError::Status { status, .. } => *status,
        TransportError::TooLong { .. } => TOO_LONG,
        TransportError::Redirected { .. } => REDIRECTED,
        TransportError::BadPath { .. } => BAD_PATH,
        _ => 0,
    }
}
