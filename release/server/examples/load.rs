//! How much one processor does: reports folded, and conditional requests for the timestamp, by second of processor time of the server.
//!
//! ```sh
//! cargo run --release -p fleetfoot-server --example load
//! ```
//! The server runs in a process of its own with a database on the disk of the temporary folder; clients are threads with kept connections. Machines
//! that do other things meanwhile make wall time worthless, so the processor time of the server (user and system, all its threads) is what counts:
//! `per core` is what it would do with one processor of its own. Linux only.
#![allow(clippy::unwrap_used, reason = "a failure is the end of a measurement")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use fleetfoot_format::report::{Arm, Counts, MAX_REPORT_LEN, Report, SparseHistogram};
use fleetfoot_health::bucket_of;
use fleetfoot_server::{Config, Server, Store, reports::ReportPolicy};
use fleetfoot_trust::ReportKey;

const CLIENTS: usize = 32;
const KEY: [u8; 32] = [7; 32];

fn main() {
    match env::args().nth(1).as_deref() {
        Some("serve") => serve(Path::new(&env::args().nth(2).unwrap())),
        _ => measure(),
    }
}

fn serve(folder: &Path) {
    let config = Config {
        store: Arc::new(Store::open(&folder.join("db.sqlite")).unwrap()),
        reports: ReportPolicy { keys: vec![ReportKey::new(KEY)], show_small_groups: false },
        ..Config::new(folder).unwrap()
    };
    let server = Server::bind(config, ([127, 0, 0, 1], 0).into()).unwrap();
    println!("{}", server.address());
    server.run().unwrap();
}

fn measure() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("metadata")).unwrap();
    let timestamp = format!(
        "{{\"signed\":{{\"version\":1,\"expires\":\"2999-01-01T00:00:00Z\"}},\"fill\":\"{}\"}}",
        "0".repeat(600)
    );
    fs::write(folder.path().join("metadata/timestamp.json"), timestamp).unwrap();
    let mut server = Command::new(env::current_exe().unwrap())
        .args(["serve".as_ref(), folder.path().as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (address, pid): (SocketAddr, u32) = (line.trim().parse().unwrap(), server.id());
    let tag = {
        let answer =
            ask(&mut TcpStream::connect(address).unwrap(), b"GET /metadata/timestamp.json HTTP/1.1\r\nhost: s\r\n\r\n");
        let at = answer.to_ascii_lowercase().find("etag: ").unwrap();
        answer[at + 6..].lines().next().unwrap().to_owned()
    };
    let get = format!("GET /metadata/timestamp.json HTTP/1.1\r\nhost: s\r\nif-none-match: {tag}\r\n\r\n").into_bytes();
    run("304 of the timestamp", pid, 1, |_| (0..4_000).map(|_| get.clone()).collect::<Vec<_>>(), address, "304");
    let today = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400) as u32;
    for (what, each) in [("reports, one in a request", 1u32), ("reports, 24 in a request", 24)] {
        let requests = 24_000 / each / CLIENTS as u32;
        run(
            what,
            pid,
            each,
            |client| (0..requests).map(|n| posts(client as u32, n * each, each, today)).collect(),
            address,
            "200",
        );
    }
    let memory = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    println!("{}", memory.lines().find(|line| line.starts_with("VmRSS")).unwrap());
    server.kill().unwrap();
    server.wait().unwrap();
}

fn run(what: &str, pid: u32, each: u32, requests: impl Fn(usize) -> Vec<Vec<u8>>, address: SocketAddr, status: &str) {
    let all: Vec<Vec<Vec<u8>>> = (0..CLIENTS).map(requests).collect();
    let n: usize = all.iter().map(Vec::len).sum::<usize>() * each as usize;
    let (begin, before) = (Instant::now(), cpu_s(pid));
    thread::scope(|scope| {
        for requests in &all {
            scope.spawn(move || {
                let mut connection = TcpStream::connect(address).unwrap();
                connection.set_nodelay(true).unwrap();
                for request in requests {
                    let answer = ask(&mut connection, request);
                    assert!(answer.contains(status), "{answer}");
                }
            });
        }
    });
    let (wall, cpu) = (begin.elapsed().as_secs_f64(), cpu_s(pid) - before);
    println!(
        "{what}: {n} in {wall:.2} s ({:.0}/s), {cpu:.2} s of processor time: {:.0}/s per core",
        n as f64 / wall,
        n as f64 / cpu
    );
}

/// One answer, read to the end of its body.
fn ask(connection: &mut TcpStream, request: &[u8]) -> String {
    connection.write_all(request).unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let n = connection.read(&mut chunk).unwrap();
        assert!(n > 0, "the server closed");
        bytes.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len =
                head.to_ascii_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= len.unwrap_or(0) {
                return text.into_owned();
            }
        }
    }
}

fn posts(client: u32, first: u32, each: u32, day: u32) -> Vec<u8> {
    let mut body = Vec::new();
    for n in first..first + each {
        // Each device sends two parts of its day.
        let mut nonce = [each as u8; 16];
        nonce[..4].copy_from_slice(&client.to_be_bytes());
        nonce[4..8].copy_from_slice(&(n / 2).wrapping_mul(0x9e37_79b9).to_be_bytes());
        let mut latency = SparseHistogram::default();
        (0..20).for_each(|i| latency.push(bucket_of(1_000_000 + i * 200_000), 5));
        let report = Report {
            day,
            part: (n % 2) as u8,
            rollout: "kws-2026-11".try_into().unwrap(),
            arm: if n % 4 < 2 { Arm::Control } else { Arm::Treatment },
            hardware: "linux-arm64".try_into().unwrap(),
            counts: Counts { inferences: 100, errors: [0, 1, 0, 0, 0, 0, 0, 0], ..Counts::default() },
            latency,
            nonce,
            ..Report::default()
        };
        let mut out = vec![0; MAX_REPORT_LEN];
        let end = report.encode(true, &mut out).unwrap();
        out.truncate(end);
        let tag = ReportKey::new(KEY).tag(&out);
        body.extend_from_slice(&out);
        body.extend_from_slice(&tag);
    }
    [format!("POST /v1/reports HTTP/1.1\r\nhost: s\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), &body]
        .concat()
}

/// Processor time of all threads of a process, seconds.
fn cpu_s(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
