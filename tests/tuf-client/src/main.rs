//! `fleetfoot-tuf-client`: the metadata client that devices run, behind the command line that the public TUF conformance suite speaks.
//!
//! ```text
//! fleetfoot-tuf-client --metadata-dir DIR init ROOT.json
//! fleetfoot-tuf-client --metadata-dir DIR --metadata-url URL refresh
//! fleetfoot-tuf-client --metadata-dir DIR --metadata-url URL --target-name PATH --target-dir DIR --target-base-url URL download
//! ```
//! Options and command come in any order; `--target-name` may be given several times; `--now SECONDS` is the time since 1970 in the place of the
//! clock. Exit code 0: done. 1: refused or not found, and standard error says why. 2: wrong use.
//!
//! The folder of metadata holds `root.json`, the newest root that is trusted, and every other verified file under its name
//! without a version, byte for byte.
#![forbid(unsafe_code)]

mod download;
mod folder;

use std::{
    collections::BTreeMap,
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use fleetfoot::transport::{Fetched, HttpTransport, Request, Transport as _};
use fleetfoot_tuf::{Action, Client};

fn main() -> ExitCode {
    let Some(call) = Call::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match call.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("fleetfoot-tuf-client: {fault}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "usage: fleetfoot-tuf-client --metadata-dir DIR [--metadata-url URL] [--now SECONDS] \
    [--target-name PATH --target-dir DIR --target-base-url URL] init ROOT | refresh | download";

/// What is wrong, for a person.
type Result<T = ()> = std::result::Result<T, String>;

/// A command line.
struct Call {
    command: Vec<String>,
    options: BTreeMap<String, Vec<String>>,
}

impl Call {
    fn parse(mut args: impl Iterator<Item = String>) -> Option<Self> {
        let mut call = Self { command: Vec::new(), options: BTreeMap::new() };
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                Some(name) if OPTIONS.contains(&name) => {
                    call.options.entry(name.into()).or_default().push(args.next()?);
                }
                Some(_) => return None,
                None => call.command.push(arg),
            }
        }
        let words: Vec<&str> = call.command.iter().map(String::as_str).collect();
        let needed = match words[..] {
            ["init", _] => &OPTIONS[..1],
            ["refresh"] => &OPTIONS[..2],
            ["download"] => &OPTIONS[..5],
            _ => return None,
        };
        needed.iter().all(|name| call.options.contains_key(*name)).then_some(call)
    }

    /// The last value of an option that is there.
    fn option(&self, name: &str) -> &str {
        self.options.get(name).and_then(|values| values.last()).map_or("", String::as_str)
    }

    fn now(&self) -> Result<i64> {
        if self.options.contains_key("now") {
            return self.option("now").parse().map_err(explain("--now"));
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(explain("the clock"))?;
        i64::try_from(since.as_secs()).map_err(explain("the clock"))
    }

    fn run(&self) -> Result {
        let metadata = PathBuf::from(self.option("metadata-dir"));
        if let [_, root] = &self.command[..] {
            return folder::init(&metadata, Path::new(root));
        }
        let transport = HttpTransport::new(self.option("metadata-url"));
        let stored = folder::read(&metadata)?;
        let root = stored.get("root.json").cloned().ok_or("not initialized: there is no root.json")?;
        let mut client = Client::new(&root, stored, self.now()?).map_err(explain("the trusted root"))?;
        client.refresh("targets");
        drive(&mut client, &transport, &metadata)?;
        let names = self.options.get("target-name").filter(|_| self.command[0] == "download");
        for name in names.into_iter().flatten() {
            client.find(name);
            drive(&mut client, &transport, &metadata)?;
            let target = client.found().ok_or_else(|| format!("{name}: nobody vouches for it"))?;
            let base = HttpTransport::new(self.option("target-base-url"));
            download::run(&base, &client.url_path(target), target, Path::new(self.option("target-dir")))?;
        }
        Ok(())
    }
}

const OPTIONS: [&str; 6] = ["metadata-dir", "metadata-url", "target-name", "target-dir", "target-base-url", "now"];

/// Does what the client asks for until it is done.
fn drive(client: &mut Client, transport: &HttpTransport, metadata: &Path) -> Result {
    loop {
        match client.poll().map_err(explain("refused"))? {
            Action::Fetch { path, max_len, .. } => {
                let mut bytes = Vec::new();
                let request = Request { path: &path, offset: 0, max_len, etag: None };
                let fetched = transport.fetch(&request, &mut |chunk| {
                    bytes.extend_from_slice(chunk);
                    Ok(())
                });
                let found = !matches!(fetched.map_err(explain("not fetched"))?, Fetched::Missing);
                client.feed(found.then_some(bytes)).map_err(explain("refused"))?;
            }
            Action::Persist { name, bytes } => {
                folder::put(metadata, &name, &bytes)?;
                client.persisted();
            }
            Action::Done => return Ok(()),
        }
    }
}

fn explain<E: Display>(what: &str) -> impl Fn(E) -> String {
    move |error| format!("{what}: {error}")
}
