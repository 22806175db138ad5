//! What a web server may answer: the bytes are the whole answer, on a real socket, to a request for a whole file and to one for its rest.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use fleetfoot::transport::{Fetched, HttpTransport, Request, Transport as _};

/// Bytes that the file may have.
const MAX_LEN: u64 = 1000;
/// Answers of one listener: a port that has closed too many connections lately has none left for new ones.
const MAX_ANSWERS: usize = 6_000;

/// Fetches twice from a server that answers so.
///
/// # Panics
/// On a finding, and where no socket can be had.
pub fn target(bytes: &[u8]) {
    let (address, answer) = server();
    *answer.lock().expect("nobody panics with it") = bytes.to_vec();
    for (offset, etag) in [(0, Some("\"tag\"")), (100, None)] {
        let transport = HttpTransport::new(&format!("http://{address}"));
        let request = Request { path: "metadata/timestamp.json", offset, max_len: MAX_LEN, etag };
        let mut got = 0;
        let fetched = transport.fetch(&request, &mut |chunk| {
            got += chunk.len() as u64;
            Ok(())
        });
        assert!(got + offset <= MAX_LEN, "{got} bytes from {offset} on");
        match fetched {
            Ok(Fetched::Body { len, .. }) => assert_eq!(len, got),
            Ok(Fetched::NotModified) => assert!(offset == 0 && got == 0),
            Ok(Fetched::Missing) => assert_eq!(got, 0),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

type Server = (SocketAddr, Arc<Mutex<Vec<u8>>>);

/// The present listener.
fn server() -> Server {
    static PRESENT: Mutex<Option<(Server, usize)>> = Mutex::new(None);
    let mut present = PRESENT.lock().expect("nobody panics with it");
    match &mut *present {
        Some((server, answers)) if *answers < MAX_ANSWERS => {
            *answers += 1;
            server.clone()
        }
        _ => {
            let server = listen();
            *present = Some((server.clone(), 0));
            server
        }
    }
}

/// Answers every connection with the same bytes, and closes it.
fn listen() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it has one");
    let answer = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&answer);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { continue };
            let (mut asked, mut chunk) = (Vec::new(), [0; 2048]);
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                match connection.read(&mut chunk) {
                    Ok(n) if n > 0 => asked.extend_from_slice(&chunk[..n]),
                    _ => break,
                }
            }
            let bytes = shared.lock().map(|bytes| bytes.clone()).unwrap_or_default();
            // The other side may have hung up.
            let _ = connection.write_all(&bytes);
            let _ = connection.shutdown(Shutdown::Write);
            // What it still says is read, so that closing does not take back what it has not read yet.
            while connection.read(&mut chunk).is_ok_and(|n| n > 0) {}
        }
    });
    (address, answer)
}

/// Answers to begin with.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let with = |head: &str, body: usize| [head.as_bytes(), b"\r\n\r\n", &vec![b'x'; body]].concat();
    vec![
        ("whole", with("HTTP/1.1 200 OK\r\nContent-Length: 300\r\nETag: \"a\"", 300)),
        ("rest", with("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 100-299/300\r\nContent-Length: 200", 200)),
        (
            "other_rest",
            with("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 50-299/300\r\nContent-Length: 250", 250),
        ),
        (
            "range_of_stars",
            with("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes */300\r\nContent-Length: 10", 10),
        ),
        (
            "range_not_there",
            with("HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */90\r\nContent-Length: 0", 0),
        ),
        ("not_modified", with("HTTP/1.1 304 Not Modified\r\nETag: \"tag\"", 0)),
        ("missing", with("HTTP/1.1 404 Not Found\r\nContent-Length: 3", 3)),
        ("no_length", with("HTTP/1.0 200 OK", 500)),
        ("too_long", with("HTTP/1.1 200 OK", 1500)),
        ("announced_too_long", with("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999", 5)),
        ("short", with("HTTP/1.1 200 OK\r\nContent-Length: 900", 20)),
        ("chunked", with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0", 0)),
        ("redirect", with("HTTP/1.1 302 Found\r\nLocation: /metadata/other.json\r\nContent-Length: 0", 0)),
        ("redirect_away", with("HTTP/1.1 307 Temporary Redirect\r\nLocation: //example.org/x\r\nContent-Length: 0", 0)),
        ("continue", with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2", 2)),
        ("weak_tag", with("HTTP/1.1 200 OK\r\nETag: W/\"a\"\r\nContent-Length: 1", 1)),
        ("nothing", Vec::new()),
    ]
}
