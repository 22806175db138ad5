//! A web server for one [`Sim`]: HTTP/1.1, one answer per connection, on a port of its own. It notes what it is asked for.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use super::{Sim, wanted};

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Endless data, without a length, where a path has this in it.
    Endless(&'static str),
    /// Half of the announced bytes, then the connection breaks.
    Short(&'static str),
    /// Status 500.
    Broken(&'static str),
    /// Sent on to another host.
    Elsewhere(&'static str),
}

pub(crate) struct State {
    pub(crate) sim: Sim,
    pub(crate) fault: Option<Fault>,
    /// Roles and versions that were asked for.
    pub(crate) metadata: Vec<(String, Option<u64>)>,
    pub(crate) targets: Vec<String>,
    /// Bytes that the endless answer got rid of.
    pub(crate) n_endless: u64,
}

pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { sim: Sim::new(), fault: None, metadata: Vec::new(), targets: Vec::new(), n_endless: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // The client hangs up where it has seen enough: that is no fault of the server.
                thread::spawn(move || drop(answer(&stream, &shared)));
            }
        });
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Changes the repository.
    pub(crate) fn repo<T>(&self, change: impl FnOnce(&mut Sim) -> T) -> T {
        change(&mut self.state().sim)
    }
}

fn answer(mut stream: &TcpStream, shared: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let (file, fault) = {
        let mut state = shared.lock().unwrap();
        match wanted(&path) {
            Some(asked) => state.metadata.push(asked),
            None => state.targets.push(super::unquoted(&path)),
        }
        (state.sim.file(&super::unquoted_path(&path)), state.fault)
    };
    let is_for = |part: &str| path.contains(part);
    match (fault, file) {
        (Some(Fault::Endless(part)), _) if is_for(part) => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            // Bounded, so that a client that would read it all fails and does not hang.
            for _ in 0..4096 {
                stream.write_all(&[b' '; 16 * 1024])?;
                shared.lock().unwrap().n_endless += 16 * 1024;
            }
            Ok(())
        }
        (Some(Fault::Broken(part)), _) if is_for(part) => {
            write!(stream, "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        }
        (Some(Fault::Elsewhere(part)), _) if is_for(part) => write!(
            stream,
            "HTTP/1.1 302 Found\r\nlocation: http://localhost:1/{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ),
        (fault, Some(bytes)) => {
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len())?;
            let is_short = matches!(fault, Some(Fault::Short(part)) if is_for(part));
            stream.write_all(if is_short { &bytes[..bytes.len() / 2] } else { &bytes })
        }
        (_, None) => write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    }
}
