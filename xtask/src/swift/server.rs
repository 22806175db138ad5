//! The server of the project, while a check needs it.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::shell::Result;

/// Ends with this value.
pub(crate) struct Serving {
    child: Child,
    pub(crate) url: String,
}

impl Serving {
    /// Serves a repository on a free port of this machine.
    pub(crate) fn start(program: &Path, repository: &Path) -> Result<Self> {
        println!("$ {} serve --repo {}", program.display(), repository.display());
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", program.display());
        let mut child = Command::new(program)
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--repo"])
            .arg(repository)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| fault(&e))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|e| fault(&e))?;
        }
        let mut serving = Self { child, url: String::new() };
        let said: serde_json::Value = serde_json::from_str(&line).map_err(|e| fault(&e))?;
        serving.url = said["url"].as_str().ok_or_else(|| fault(&"it tells no address"))?.to_owned();
        Ok(serving)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already gone is gone, too.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}
