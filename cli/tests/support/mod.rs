//! A folder with keys, a repository and bundles of the digits models, made by the program itself.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// What a command gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim()).unwrap_or_else(|e| panic!("{e}: {}{}", self.stdout, self.stderr))
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self
    }
}

/// A temporary folder that commands run in.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// With keys, bundle `bundles/1.ff` and a repository that publishes it.
    pub(crate) fn published() -> Self {
        let world = Self::new();
        world.keys();
        world.repository();
        world.pack(1, "digits_v1").ok();
        // Installable at any time that a test may say it is.
        world.publish(1, &["--limit", "2020-01-01:100:full"]).ok();
        world
    }

    /// A repository for the model `digits`, with nothing in it yet.
    pub(crate) fn repository(&self) {
        self.run(&[
            "repo",
            "init",
            "--repo",
            "repo",
            "--model",
            "digits",
            "--root-key",
            "keys/root.key",
            "--targets-key",
            "keys/targets.key",
            "--releases-key",
            "keys/releases.pub",
            "--snapshot-key",
            "keys/snapshot.key",
            "--timestamp-key",
            "keys/timestamp.key",
        ])
        .ok();
    }

    pub(crate) fn keys(&self) {
        for role in ["root", "targets", "releases", "snapshot", "timestamp"] {
            self.run(&["keys", "new", "--plain", "--role", role, "--out", "keys"]).ok();
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn pack(&self, number: u32, model: &str) -> Ran {
        let (source, golden) = (example(&format!("{model}.tflite")), example(&format!("{model}.golden.npz")));
        let (version, label, bundle) = (format!("{number}.0.0"), number.to_string(), format!("{number}.ff"));
        self.run(&[
            "pack",
            &source,
            "--name",
            "digits",
            "--version",
            &version,
            "--number",
            &label,
            "--golden",
            &golden,
            "--key",
            "keys/releases.key",
            "-o",
            &bundle,
        ])
    }

    pub(crate) fn publish(&self, number: u32, more: &[&str]) -> Ran {
        let bundle = format!("{number}.ff");
        let args = [
            "publish",
            &bundle,
            "--repo",
            "repo",
            "--key",
            "keys/releases.key",
            "--snapshot-key",
            "keys/snapshot.key",
            "--timestamp-key",
            "keys/timestamp.key",
        ];
        self.run(&[&args[..], more].concat())
    }

    /// The arguments of a device that polls `repo` once and runs the test digits.
    pub(crate) fn device_args<'a>(&self, repo: &'a str, store: &'a str) -> Vec<String> {
        let root = "repo/metadata/1.root.json";
        [
            "--json",
            "device",
            "--repo",
            repo,
            "--root",
            root,
            "--store",
            store,
            "--model",
            "digits",
            "--once",
            "--input",
            &example("digits_test.npz"),
        ]
        .map(String::from)
        .to_vec()
    }

    pub(crate) fn device(&self, repo: &str, store: &str) -> Ran {
        let args = self.device_args(repo, store);
        self.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let done = self.command().args(args).output().expect("the program runs");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran { code: done.status.code().unwrap_or(-1), stdout: text(done.stdout), stderr: text(done.stderr) }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetfoot"));
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .env_remove("FLEETFOOT_PASSPHRASE")
            .env_remove("FLEETFOOT_REPO");
        command
    }

    /// Serves `repo` until the returned value is dropped.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// As [`serve`](Self::serve), with more arguments.
    pub(crate) fn serve_with(&self, more: &[&str]) -> Server {
        let mut child = self
            .command()
            .args(["--json", "serve", "--repo", "repo", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).expect("JSON");
        Server { child: Some(child), url: said["url"].as_str().expect("a URL").to_owned() }
    }
}

pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) url: String,
}

impl Server {
    /// An address where nobody listens.
    pub(crate) fn nobody(url: &str) -> Self {
        Self { child: None, url: url.into() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A file of `examples/digits`.
pub(crate) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits").join(name);
    path.to_str().expect("a path of UTF-8").to_owned()
}

/// A folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}
