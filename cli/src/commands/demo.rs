//! `demo`: a fleet on this machine, from a model to a fallback. Every step is a process of this very program, so
//! that what is shown is what a user would type.

use std::{
    io::{BufRead as _, BufReader, IsTerminal as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    arrays::write_file,
    failure::{Exit, Failure},
    output::{Output, table},
};

/// Show the main job on this machine: pack, sign, publish, pull, run, refuse, fall back.
///
/// Example: fleetfoot demo --dir demo
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder for everything that is made; by default a new one under the temporary folder. It is kept.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Keep the server running at the end until Ctrl-C, so that its dashboard can be looked at. On a terminal this is the default.
    #[arg(long)]
    stay: bool,
    /// Print the table only, and end.
    #[arg(long, conflicts_with = "stay")]
    quiet: bool,
}

const MODEL: &str = "digits";
const DEVICES: [&str; 3] = ["device-1", "device-2", "device-3"];

/// The files that the demo is made of, in the program itself.
const FILES: [(&str, &[u8]); 5] = [
    ("digits_v1.tflite", include_bytes!("../../../examples/digits/digits_v1.tflite")),
    ("digits_v2.tflite", include_bytes!("../../../examples/digits/digits_v2.tflite")),
    ("digits_v1.golden.npz", include_bytes!("../../../examples/digits/digits_v1.golden.npz")),
    ("digits_v2.golden.npz", include_bytes!("../../../examples/digits/digits_v2.golden.npz")),
    ("digits_test.npz", include_bytes!("../../../examples/digits/digits_test.npz")),
];

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let dir = match &args.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir().join(format!("fleetfoot-demo-{}", std::process::id())),
    };
    if dir.exists() && std::fs::read_dir(&dir).is_ok_and(|mut d| d.next().is_some()) {
        return Err(Failure::usage(format!("{} is not empty", dir.display())).help("give --dir a new folder"));
    }
    let mut demo =
        Demo { dir: dir.clone(), talks: !output.json && !args.quiet, rows: Vec::new(), start: Instant::now() };
    let server = demo.play()?;
    let seconds = demo.start.elapsed().as_secs_f64();
    let link = format!("{}/", server.url);
    let rows = || demo.rows.iter().map(|r| vec![r.what.clone(), r.saw.clone(), r.ok.to_owned()]);
    let people = || {
        format!(
            "\n{}\n\n{:.1} s. Dashboard {link}  ·  repository {}  ·  stores of the devices {}",
            table(&["step", "what happened", "as it should"], rows()),
            seconds,
            dir.join("repo").display(),
            dir.join("devices").display()
        )
    };
    output.result(people, || {
        let steps: Vec<Value> =
            demo.rows.iter().map(|r| json!({ "step": r.what, "saw": r.saw, "ok": r.ok == "yes" })).collect();
        json!({ "seconds": seconds, "dashboard": link, "dir": dir, "steps": steps })
    })?;
    if demo.rows.iter().any(|r| r.ok != "yes") {
        return Err(Failure {
            quiet: true,
            ..Failure::new(Exit::Unexpected, "a step of the demo did not go as it should")
        });
    }
    if args.stay || std::io::stdout().is_terminal() && !args.quiet && !output.json {
        eprintln!("the server keeps running: open the dashboard, stop with Ctrl-C");
        return server.wait();
    }
    Ok(())
}

struct Row {
    what: String,
    saw: String,
    ok: &'static str,
}

struct Demo {
    dir: PathBuf,
    talks: bool,
    rows: Vec<Row>,
    start: Instant,
}

impl Demo {
    fn play(&mut self) -> Result<Serving, Failure> {
        self.prepare()?;
        self.pack(1, "digits_v1", None)?;
        self.publish(1, &[])?;
        let server = self.serve()?;
        self.title("Version 1 reaches three devices");
        for device in DEVICES {
            let seen = self.device(&server, device)?;
            self.expect(&format!("{device} takes version 1"), &seen, "1.0.0", None);
        }
        self.title("Version 2 is better");
        self.pack(2, "digits_v2", None)?;
        self.publish(2, &[])?;
        for device in DEVICES {
            let seen = self.device(&server, device)?;
            self.expect(&format!("{device} takes version 2"), &seen, "2.0.0", None);
        }
        self.title("Version 3 was damaged after its golden vectors were made, then signed");
        self.damage()?;
        self.refused_publish(3)?;
        self.publish(3, &["--unchecked"])?;
        for device in DEVICES {
            let seen = self.device(&server, device)?;
            self.expect(&format!("{device} refuses version 3"), &seen, "2.0.0", Some("golden"));
        }
        self.title("Version 4 may take one microsecond");
        self.pack(4, "digits_v2", Some("1"))?;
        self.publish(4, &[])?;
        for device in DEVICES {
            let seen = self.device(&server, device)?;
            self.expect(&format!("{device} refuses version 4"), &seen, "2.0.0", Some("budget"));
        }
        self.title("Version 5 is fine, but a device is killed while it activates it");
        self.pack(5, "digits_v2", None)?;
        self.publish(5, &[])?;
        for (device, point) in DEVICES.into_iter().zip(["fetched", "validating", "trial"]) {
            self.kill(&server, device, point)?;
        }
        Ok(server)
    }

    /// Folders, model files, keys, repository.
    fn prepare(&mut self) -> Result<(), Failure> {
        self.title("Keys, models, repository");
        for folder in ["models", "keys", "bundles", "devices"] {
            let path = self.dir.join(folder);
            std::fs::create_dir_all(&path).map_err(|e| Failure::io("make", &path, &e))?;
        }
        for (name, bytes) in FILES {
            write_file(&self.dir.join("models").join(name), bytes)?;
        }
        for (role, name) in [
            ("root", None),
            ("targets", None),
            ("releases", Some("1")),
            ("releases", Some("2")),
            ("snapshot", None),
            ("timestamp", None),
        ] {
            let mut args = vec!["keys", "new", "--plain", "--out", "keys", "--role", role];
            args.extend(name.into_iter().flat_map(|n| ["--name", n]));
            self.fleetfoot(&args)?;
        }
        let init = [
            "repo",
            "init",
            "--repo",
            "repo",
            "--model",
            MODEL,
            "--root-key",
            "keys/root.key",
            "--targets-key",
            "keys/targets.key",
            "--releases-key",
            "keys/releases-1.pub",
            "--releases-key",
            "keys/releases-2.pub",
            "--releases-threshold",
            "2",
            "--snapshot-key",
            "keys/snapshot.key",
            "--timestamp-key",
            "keys/timestamp.key",
        ];
        self.fleetfoot(&init)?;
        self.row("repository made, two release keys must sign", "repo/metadata", true);
        Ok(())
    }

    fn pack(&mut self, number: u32, model: &str, budget_us: Option<&str>) -> Result<(), Failure> {
        let (source, golden) = (format!("models/{model}.tflite"), format!("models/{model}.golden.npz"));
        let (version, number, bundle) = (version(number), number.to_string(), bundle(number));
        let mut args = vec![
            "pack",
            &source,
            "--name",
            MODEL,
            "--version",
            &version,
            "--number",
            &number,
            "--golden",
            &golden,
            "--key",
            "keys/releases-1.key",
            "--key",
            "keys/releases-2.key",
            "-o",
            &bundle,
        ];
        args.extend(budget_us.into_iter().flat_map(|us| ["--budget-p99-us", us]));
        let packed = self.fleetfoot(&args)?;
        let saw = format!("{} bytes, {} golden cases, 2 signatures", packed["bytes"], packed["golden_cases"]);
        self.row(&format!("version {version} packed and signed"), &saw, true);
        Ok(())
    }

    fn publish(&mut self, number: u32, more: &[&str]) -> Result<(), Failure> {
        let bundle = bundle(number);
        let args = [&publish_args(&bundle)[..], more].concat();
        self.fleetfoot(&args)?;
        self.row(&format!("version {} published", version(number)), &more.join(" "), true);
        Ok(())
    }

    /// Publishing a bundle that devices would refuse fails with exit code 5.
    fn refused_publish(&mut self, number: u32) -> Result<(), Failure> {
        let bundle = bundle(number);
        let (code, text) = self.run(&publish_args(&bundle))?;
        self.row(&format!("publish refuses version {}", version(number)), &message(&text), code == Some(5));
        Ok(())
    }

    /// Version 3: version 2 with one bit of its weights flipped, hashed and signed again by the rightful keys.
    fn damage(&mut self) -> Result<(), Failure> {
        let source = self.dir.join(bundle(2));
        let bytes = crate::models::read_whole(&source)?;
        let keys: Vec<PathBuf> = ["keys/releases-1.key", "keys/releases-2.key"].map(|k| self.dir.join(k)).to_vec();
        let damaged = crate::demo::damage::flip_weight_bit(
            &bytes,
            MODEL,
            &version(3),
            3,
            &super::keys::load_private(&keys, None)?,
        )?;
        write_file(&self.dir.join(bundle(3)), &damaged)?;
        self.row("one bit of a weight flipped, signed again", &bundle(3), true);
        Ok(())
    }

    fn serve(&mut self) -> Result<Serving, Failure> {
        let mut child = self
            .command(&["serve", "--repo", "repo", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| start(&e))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|e| start(&e))?;
        }
        let said: Value =
            serde_json::from_str(&line).map_err(|_| Failure::new(Exit::Network, "the server did not start"))?;
        let url = said["url"].as_str().unwrap_or_default().to_owned();
        self.row("server running", &url, true);
        Ok(Serving { child, url })
    }

    /// One poll of a device, then all test digits through the model that serves.
    fn device(&mut self, server: &Serving, name: &str) -> Result<Value, Failure> {
        let store = format!("devices/{name}");
        self.fleetfoot(&device_args(&server.url, &store))
    }

    /// Starts a device that stops at `point` of the update, kills it there, and starts it again.
    fn kill(&mut self, server: &Serving, name: &str, point: &str) -> Result<(), Failure> {
        let store = format!("devices/{name}");
        let marker = self.dir.join(format!("{name}.reached"));
        let mut child = self
            .command(&device_args(&server.url, &store))
            .env("FLEETFOOT_PAUSE_AT", point)
            .env("FLEETFOOT_PAUSE_MARKER", &marker)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| start(&e))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut reached = false;
        while Instant::now() < deadline && !reached {
            reached = marker.exists();
            if child.try_wait().is_ok_and(|done| done.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // SIGKILL: nothing of the process runs afterwards.
        let killed = child.kill().is_ok() && child.wait().is_ok();
        let offline = self.fleetfoot(&[
            "device",
            "--store",
            &store,
            "--model",
            MODEL,
            "--offline",
            "--input",
            "models/digits_test.npz",
        ])?;
        let serving = offline["serving"]["version"].as_str().unwrap_or("nothing").to_owned();
        let valid = ["2.0.0", "5.0.0"].contains(&serving.as_str()) && offline["ran"]["samples"].as_u64() > Some(0);
        self.row(
            &format!("{name} killed at '{point}', started without network"),
            &format!("serves {serving}, {}", ran(&offline)),
            reached && killed && valid,
        );
        let seen = self.device(server, name)?;
        self.expect(&format!("{name} polls again"), &seen, "5.0.0", None);
        Ok(())
    }

    /// Whether a device serves `version`, and refused what it was offered for `reason`.
    fn expect(&mut self, what: &str, seen: &Value, version: &str, reason: Option<&str>) {
        let serving = seen["serving"]["version"].as_str().unwrap_or("nothing");
        let refused = seen["refused"]["reason"].as_str().unwrap_or_default();
        let saw = match reason {
            None => format!("serves {serving}, {}", ran(seen)),
            Some(_) => format!("{refused}; serves {serving}, {}", ran(seen)),
        };
        let ok = serving == version
            && reason.is_none_or(|r| refused.contains(r))
            && seen["ran"]["samples"].as_u64() > Some(0);
        self.row(what, &saw, ok);
    }

    fn title(&self, text: &str) {
        if self.talks {
            println!("\n{text}");
        }
    }

    fn row(&mut self, what: &str, saw: &str, ok: bool) {
        if self.talks {
            println!("  {} {what}{}{saw}", if ok { "ok  " } else { "FAIL" }, if saw.is_empty() { "" } else { ": " });
        }
        self.rows.push(Row { what: what.into(), saw: saw.into(), ok: if ok { "yes" } else { "NO" } });
    }

    /// Runs this program; its JSON document, or its failure.
    fn fleetfoot(&self, args: &[&str]) -> Result<Value, Failure> {
        match self.run(args)? {
            (Some(0), document) => Ok(document),
            (code, document) => {
                let what = format!(
                    "'fleetfoot {}' ended with {}: {}",
                    args.join(" "),
                    code.map_or("a signal".into(), |c| c.to_string()),
                    message(&document)
                );
                Err(Failure::new(Exit::Unexpected, what))
            }
        }
    }

    fn run(&self, args: &[&str]) -> Result<(Option<i32>, Value), Failure> {
        let done = self.command(args).output().map_err(|e| start(&e))?;
        let text = String::from_utf8_lossy(&done.stdout);
        Ok((done.status.code(), serde_json::from_str(text.trim()).unwrap_or(Value::Null)))
    }

    fn command(&self, args: &[&str]) -> Command {
        let program = std::env::current_exe().unwrap_or_else(|_| Path::new("fleetfoot").into());
        let mut command = Command::new(program);
        command.current_dir(&self.dir).arg("--json").args(args).stdin(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// The server, a process that ends with the demo.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn wait(mut self) -> Result<(), Failure> {
        self.child.wait().map(|_| ()).map_err(|e| start(&e))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // The server may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn version(number: u32) -> String {
    format!("{number}.0.0")
}

fn bundle(number: u32) -> String {
    format!("bundles/{MODEL}-{}.ff", version(number))
}

fn publish_args(bundle: &str) -> [&str; 12] {
    [
        "publish",
        bundle,
        "--repo",
        "repo",
        "--key",
        "keys/releases-1.key",
        "--key",
        "keys/releases-2.key",
        "--snapshot-key",
        "keys/snapshot.key",
        "--timestamp-key",
        "keys/timestamp.key",
    ]
}

fn device_args<'a>(url: &'a str, store: &'a str) -> [&'a str; 12] {
    [
        "device",
        "--repo",
        url,
        "--root",
        "repo/metadata/1.root.json",
        "--store",
        store,
        "--model",
        MODEL,
        "--once",
        "--input",
        "models/digits_test.npz",
    ]
}

fn ran(seen: &Value) -> String {
    format!("{} of {} digits right", seen["ran"]["correct"], seen["ran"]["samples"])
}

fn message(document: &Value) -> String {
    document["error"]["message"].as_str().unwrap_or("no message").to_owned()
}

fn start(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unexpected, format!("cannot run a process of this program: {error}"))
}
