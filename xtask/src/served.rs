//! A sample program beside a real server: `fleetfoot serve` over the repository of `tests/scenario.txt` as it is after each of its releases.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
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
        let server = Server::start(tree, &world.join(number.to_string()), world)?;
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
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(tree: &Tree, repository: &Path, work: &Path) -> Result<Self> {
        let program = tree.program()?;
        let told = work.join("served.txt");
        let output = fs::File::create(&told).map_err(|e| format!("{}: {e}", told.display()))?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--repo").arg(repository).args(["--listen", "127.0.0.1:0"]);
        let child = command.stdin(Stdio::null()).stdout(output).spawn();
        let mut server = Self { child: child.map_err(|e| format!("{}: {e}", program.display()))?, url: String::new() };
        let start = Instant::now();
        while server.url.is_empty() {
            if start.elapsed() > Duration::from_secs(30) {
                return Err("fleetfoot serve does not say where it listens".into());
            }
            thread::sleep(Duration::from_millis(20));
            let said = fs::read_to_string(&told).unwrap_or_default();
            // A line that is not whole yet has a port that is not whole yet.
            let mut words = said.lines().filter(|_| said.ends_with('\n')).flat_map(str::split_whitespace);
            server.url = words.find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
        }
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
