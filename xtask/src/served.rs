//! A sample program beside a real server: `fleetfoot serve` over the repository of `tests/scenario.txt` as it is after each of its releases.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::{
    capi,
    shell::{Cmd, Result, Tree},
};

/// What the program has to say after each release: the third is broken, and the second serves on.
const TOLD: [&[&str]; 3] =
    [&["answer: class ", "from version 1.0.0"], &["from version 2.0.0"], &["survived: ", "from version 2.0.0"]];

/// Runs `program` with STORE REPOSITORY ROOT MODEL PHOTO after each release.
pub(crate) fn watch(tree: &Tree, world: &Path, photo: &str, program: impl Fn([OsString; 5]) -> Cmd) -> Result {
    let store = world.join(format!("watch-store-{photo}"));
    capi::fresh(&store)?;
    for (number, told) in (1..).zip(TOLD) {
        let server = Server::start(tree, &world.join(number.to_string()))?;
        let (root, photo) = (world.join("root.json"), world.join(photo));
        let arguments = [store.clone().into(), server.url.clone().into(), root.into(), "digits".into(), photo.into()];
        let said = program(arguments).read()?;
        print!("{said}");
        if let Some(missing) = told.iter().chain(&["event: "]).find(|text| !said.contains(**text)) {
            return Err(format!("after release {number} the sample does not say {missing:?}"));
        }
    }
    Ok(())
}

/// `fleetfoot serve` on a port of its own; it ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(tree: &Tree, repository: &Path) -> Result<Self> {
        let program = tree.program()?;
        println!("$ {} serve --repo {}", program.display(), repository.display());
        let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", program.display());
        let mut child = Command::new(&program)
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--repo"])
            .arg(repository)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| fault(&e))?;
        let stdout = child.stdout.take();
        let mut server = Self { child, url: String::new() };
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line).map_err(|e| fault(&e))?;
        }
        let said: serde_json::Value = serde_json::from_str(&line).map_err(|e| fault(&e))?;
        server.url = said["url"].as_str().ok_or_else(|| fault(&"it tells no address"))?.to_owned();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
