//! HTTP by hand, so that a test can say anything: bytes out, bytes in.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

use super::Served;

/// A connection that is kept.
pub(crate) struct Http {
    stream: TcpStream,
    rest: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let own = |line: &'_ str| line.split_once(':').is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| own(line)).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

impl Http {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, rest: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nhost: server\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        let whole = [request.as_bytes(), b"\r\n", body].concat();
        // A server that refuses may close before it has read everything.
        let _ = self.send(&whole);
        self.answer()
    }

    /// The next answer; nothing where the server closed.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).into_owned();
        self.rest.drain(..end);
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let mut answer = Answer { status, head, body: Vec::new() };
        let len = answer.header("content-length").and_then(|len| len.parse::<usize>().ok()).unwrap_or(0);
        while self.rest.len() < len {
            self.more()?;
        }
        answer.body = self.rest.drain(..len).collect();
        Some(answer)
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 4096];
        let n = self.stream.read(&mut bytes).ok().filter(|n| *n > 0)?;
        self.rest.extend_from_slice(&bytes[..n]);
        Some(())
    }
}

impl Served {
    pub(crate) fn get(&self, path: &str, token: &str) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let answer = Http::to(self.address).ask("GET", path, &[("authorization", &bearer)], b"").unwrap();
        (answer.status, answer.json())
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let bearer = format!("Bearer {token}");
        let body = body.to_string().into_bytes();
        let answer = Http::to(self.address).ask("POST", path, &[("authorization", &bearer)], &body).unwrap();
        (answer.status, answer.json())
    }
}
