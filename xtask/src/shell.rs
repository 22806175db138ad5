//! Where things lie, and running programs: every command is printed before it runs and its output is streamed.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What went wrong, for a person.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// The folders of this checkout.
pub(crate) struct Tree {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, which also holds our tools, environments and cross builds.
    pub(crate) target: PathBuf,
}

impl Tree {
    pub(crate) fn find() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Self { root, target }
    }

    /// The folder of test models beside the checkout, where it is present.
    pub(crate) fn shared(&self) -> Option<PathBuf> {
        let shared = self.root.parent()?.join("shared");
        shared.join("models").is_dir().then_some(shared)
    }

    /// Builds the program `fleetfoot` (release) and tells where it is.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        Cmd::cargo(self, ["build", "--release", "--quiet", "-p", "fleetfoot-cli"]).run()?;
        Ok(self.target.join("release").join(format!("fleetfoot{}", env::consts::EXE_SUFFIX)))
    }

    /// Whether a skipped check is a failed one.
    pub(crate) fn is_ci() -> bool {
        env::var("CI").is_ok_and(|value| value == "true" || value == "1")
    }
}

/// A command line.
pub(crate) struct Cmd {
    inner: Command,
    shown: String,
}

impl Cmd {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        Self { inner: Command::new(program), shown: program.to_string_lossy().into_owned() }
    }

    /// Cargo, in the root of the checkout.
    pub(crate) fn cargo<const N: usize>(tree: &Tree, args: [&str; N]) -> Self {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut this = Self { inner: Command::new(cargo), shown: "cargo".into() };
        this.inner.current_dir(&tree.root);
        this.args(args)
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&arg.as_ref().to_string_lossy());
        self.inner.arg(arg);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        let value = value.into();
        self.shown = format!("{name}={} {}", value.to_string_lossy(), self.shown);
        self.inner.env(name, value);
        self
    }

    /// Appends a folder to PATH.
    pub(crate) fn path(mut self, dir: &Path) -> Self {
        let old = env::var_os("PATH").unwrap_or_default();
        let dirs = env::split_paths(&old).chain([dir.to_path_buf()]);
        // A folder with a separator in its name cannot be on PATH; the linker is then not found, and says so.
        if let Ok(joined) = env::join_paths(dirs) {
            self.inner.env("PATH", joined);
        }
        self
    }

    pub(crate) fn env_remove(mut self, name: &str) -> Self {
        self.inner.env_remove(name);
        self
    }

    pub(crate) fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Runs it; an exit code other than 0 is an error.
    pub(crate) fn run(self) -> Result {
        self.expect(0)
    }

    /// Runs it; an exit code other than `code` is an error.
    pub(crate) fn expect(mut self, code: i32) -> Result {
        println!("$ {}", self.shown);
        let status = self.inner.stdin(Stdio::null()).status().map_err(|e| format!("{}: {e}", self.shown))?;
        if status.code() == Some(code) { Ok(()) } else { Err(format!("{status}: {}", self.shown)) }
    }

    /// Runs it with its standard output in a file.
    pub(crate) fn output_to(mut self, file: &Path) -> Result {
        let output = std::fs::File::create(file).map_err(|e| format!("{}: {e}", file.display()))?;
        self.inner.stdout(output);
        self.run()
    }

    /// Runs it and returns what it wrote to standard output; its standard error is streamed.
    pub(crate) fn read(mut self) -> Result<String> {
        let output = self.inner.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.map_err(|e| format!("{}: {e}", self.shown))?;
        if !output.status.success() {
            print!("{}", String::from_utf8_lossy(&output.stdout));
            return Err(format!("{}: {}", output.status, self.shown));
        }
        String::from_utf8(output.stdout).map_err(|e| format!("{}: {e}", self.shown))
    }
}

/// Finds a program on PATH.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(&name)).find(|file| file.is_file())
}
