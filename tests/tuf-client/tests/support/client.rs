//! The program, run as the suite runs it: a process per command, a folder that lasts.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use super::{NOW, server::Server};

pub(crate) struct Client {
    folder: tempfile::TempDir,
    url: String,
    pub(crate) now: i64,
}

impl Client {
    /// With version 1 of the root of `server`.
    pub(crate) fn new(server: &Server) -> Self {
        let root = server.repo(|repo| repo.published["root"][0].clone());
        Self::with_root(server, &root)
    }

    pub(crate) fn with_root(server: &Server, root: &[u8]) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap(), url: server.url.clone(), now: NOW };
        let first = this.folder.path().join("first.json");
        fs::write(&first, root).unwrap();
        assert_eq!(this.run(&["init", first.to_str().unwrap()]), 0);
        this
    }

    fn run(&self, args: &[&str]) -> i32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetfoot-tuf-client"));
        command.arg("--metadata-dir").arg(self.metadata()).args(["--now", &self.now.to_string()]).args(args);
        let output = command.output().unwrap();
        print!("{}", String::from_utf8_lossy(&output.stderr));
        output.status.code().unwrap()
    }

    pub(crate) fn refresh(&self) -> i32 {
        self.run(&["--metadata-url", &format!("{}/metadata/", self.url), "refresh"])
    }

    pub(crate) fn download(&self, path: &str) -> i32 {
        let targets = self.folder.path().join("targets");
        self.run(&[
            "--metadata-url",
            &format!("{}/metadata/", self.url),
            "--target-name",
            path,
            "--target-dir",
            targets.to_str().unwrap(),
            "--target-base-url",
            &format!("{}/targets/", self.url),
            "download",
        ])
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.folder.path().join("metadata")
    }

    /// The stored file of a role, byte for byte.
    pub(crate) fn stored(&self, role: &str) -> Option<Vec<u8>> {
        fs::read(self.metadata().join(format!("{role}.json"))).ok()
    }

    /// Stored roles with their versions, in order.
    pub(crate) fn trusted(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.metadata()).unwrap() {
            let path = entry.unwrap().path();
            let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let role = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push((role, document["signed"]["version"].as_u64().unwrap()));
        }
        found.sort();
        found
    }

    pub(crate) fn version(&self, role: &str) -> Option<u64> {
        self.trusted().into_iter().find(|(name, _)| name == role).map(|(_, version)| version)
    }

    /// What was downloaded: every file in the folder, by its bytes, sorted.
    pub(crate) fn downloaded(&self) -> Vec<Vec<u8>> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("targets")) else { return Vec::new() };
        let mut files: Vec<_> = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
        files.sort();
        files
    }
}
