//! The emulated machine: the plugin, our program for it, a Python with the peers' wheels, and one counted run.
//!
//! ```text
//! target/arm/  icount.so         the plugin, from benches/arm/icount.c
//!              root/             Debian's AArch64 C library and Python, unpacked, not installed; proc/cpuinfo of the emulated CPU
//!              root/site/        the wheels of benches/arm/requirements.txt
//!              debs/ venv/       the packages as they came; the pip that fetched the wheels
//! ```
//! The emulator looks into `root` first for every file that a program opens. LiteRT and ONNX Runtime read `/proc/cpuinfo` and
//! die of an x86 one, so there is one of the emulated CPU.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::{count, networks::Network, record::Row};
use crate::{
    cross,
    setup::{self, Area},
    shell::{Cmd, Result, Tree},
};

/// Seconds for one run; an emulator that hangs must not hang the rest.
const TIMEOUT_S: u32 = 1200;
/// Debian's packages for the peers: a Python and what it and the wheels are linked with.
const PACKAGES: [&str; 14] = [
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libffi8",
    "libssl3",
    "libbz2-1.0",
    "liblzma5",
    "libsqlite3-0",
    "libuuid1",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
];
/// Part numbers and features that `/proc/cpuinfo` shows, by the beginning of the CPU's name; the first is for the unknown. `max`
/// shows itself as a Neoverse N2: it has matrix products, and of the parts that have them the peers die of some (0xd41, 0xd47),
/// for want of the caches that they expect.
const PARTS: [(&str, &str, &str); 5] = [
    ("cortex-a53", "0xd03", ""),
    ("cortex-a55", "0xd05", " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
    ("cortex-a76", "0xd0b", " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
    ("neoverse-n1", "0xd0c", " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"),
    ("max", "0xd49", " atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp asimdfhm i8mm bf16"),
];

/// Whose instructions are counted.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    /// Ours with an instruction set, or with the one that it picks.
    Ours(Option<&'a str>),
    Peer(&'a str),
}

/// Everything that a run needs.
pub(super) struct Machine {
    folder: PathBuf,
    script: PathBuf,
    ours: PathBuf,
    /// Why the peers cannot run.
    peers_absent: Option<String>,
}

impl Machine {
    /// Builds and fetches what is not here yet. Without an emulator or compiler there is nothing to count; peers may be absent.
    pub(super) fn prepare(tree: &Tree, peers: &[&str]) -> Result<Self> {
        if let Some(missing) = setup::ensure(tree, &[Area::Aarch64]).missing(Area::Aarch64) {
            return Err(missing);
        }
        let folder = tree.target.join("arm");
        let sources = tree.root.join("benches/arm");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Cmd::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o"])
            .arg(folder.join("icount.so"))
            .arg(sources.join("icount.c"))
            .run()?;
        cross::cargo(tree, "build", &["--release", "--quiet", "-p", "fleetfoot-benches", "--bin", "count"]).run()?;
        let machine = Self {
            ours: cross::target_folder(tree).join(cross::TARGET).join("release/count"),
            script: sources.join("peer.py"),
            peers_absent: if peers.is_empty() { None } else { fetch(&folder, &sources).err() },
            folder,
        };
        if let Some(why) = &machine.peers_absent {
            println!("the peers are absent: {why}");
        }
        Ok(machine)
    }

    /// One subject on one network and CPU; what goes wrong is in the row.
    pub(super) fn row(&self, network: &Network, cpu: &str, subject: Subject<'_>) -> Row {
        let mut row = Row::new(network, cpu, subject);
        if let Err(why) = self.fill(&mut row, network, cpu, subject) {
            println!("{}: {why}", row.title());
            (row.absent, row.counts) = (why, None);
        }
        row
    }

    fn fill(&self, row: &mut Row, network: &Network, cpu: &str, subject: Subject<'_>) -> Result {
        let marks = self.folder.join("marks.txt");
        // What a run before left must not be taken for this one's.
        let _ = fs::remove_file(&marks);
        let mut run = Command::new("timeout");
        run.args(["-k", "5", &TIMEOUT_S.to_string(), "qemu-aarch64", "-cpu", cpu, "-plugin"]);
        run.arg(format!("{},out={}", self.folder.join("icount.so").display(), marks.display()));
        let mut softmax = false;
        match subject {
            Subject::Ours(isa) => {
                run.args(["-L", "/"]).arg(&self.ours).arg(&network.tflite).args([&network.golden]);
                run.arg(network.array).args(isa);
            }
            Subject::Peer(peer) => {
                let model = match (peer, &network.qdq) {
                    ("litert", _) => &network.tflite,
                    (_, Some(qdq)) => qdq,
                    (_, None) => return Err("no ONNX form of this network".into()),
                };
                softmax = ends_with_softmax(model) && !ends_with_softmax(&network.tflite);
                if let Some(why) = &self.peers_absent {
                    return Err(why.clone());
                }
                self.python(&mut run, cpu)?;
                run.arg(&self.script).arg(peer).arg(model).arg(&network.golden).arg(network.array);
            }
        }
        let output = run.stdin(Stdio::null()).output().map_err(|e| format!("timeout: {e}"))?;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line.split_once(' ') {
                Some(("isa" | "version", name)) => row.version = name.into(),
                Some(("layer", layer)) => row.layers.push((layer.into(), 0)),
                Some(("have", names)) => row.have = names.split(' ').map(String::from).collect(),
                Some(("equal" | "differ", _)) if softmax => {
                    row.outputs = "not comparable: with a softmax at the end".into();
                }
                Some(("equal" | "differ", _)) => row.outputs = line.into(),
                _ => {}
            }
        }
        if !output.status.success() {
            return Err(reason(&output));
        }
        let (counts, spread) = count::read(&marks)?;
        (row.counts, row.spread) = (Some(counts), spread);
        let each = count::layers(&marks, row.layers.len())?;
        row.layers.iter_mut().zip(each).for_each(|(layer, count)| layer.1 = count);
        Ok(())
    }

    /// The emulated Python, seeing the root and the CPU's `/proc/cpuinfo`.
    fn python(&self, run: &mut Command, cpu: &str) -> Result {
        let root = self.folder.join("root");
        write(&root.join("proc/cpuinfo"), &cpuinfo(cpu))?;
        let libraries = "LD_LIBRARY_PATH=/lib/aarch64-linux-gnu:/usr/lib/aarch64-linux-gnu";
        run.arg("-L").arg(&root).args(["-E", libraries, "-E", "PYTHONHOME=/usr", "-E", "PYTHONDONTWRITEBYTECODE=1"]);
        run.arg("-E").arg(format!("PYTHONPATH={}", root.join("site").display())).arg(root.join("usr/bin/python3.11"));
        Ok(())
    }
}

/// Whether the network ends with probabilities: the reference networks say so in their names.
fn ends_with_softmax(model: &Path) -> bool {
    !model.file_name().is_some_and(|name| name.to_string_lossy().contains("logits"))
}

/// The last thing that a program said before it failed.
fn reason(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    match output.status.code() {
        Some(124 | 137) => format!("not done after {TIMEOUT_S} s"),
        _ if last.is_empty() => output.status.to_string(),
        _ => last.chars().take(200).collect(),
    }
}

fn cpuinfo(cpu: &str) -> String {
    let known = PARTS.iter().find(|part| cpu.starts_with(part.0)).unwrap_or(&PARTS[0]);
    format!(
        "processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid{}\n\
         CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {}\nCPU revision\t: 0\n\n",
        known.2, known.1
    )
}

/// The root and the wheels, made anew when the lists of packages change.
fn fetch(folder: &Path, sources: &Path) -> Result {
    let list = sources.join("requirements.txt");
    let wheels = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let wanted = format!("{}\n{wheels}", PACKAGES.join(" "));
    let stamp = folder.join("root/stamp");
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    let (root, debs, venv) = (folder.join("root"), folder.join("debs"), folder.join("venv"));
    println!("making an AArch64 Python with the peers in {}", root.display());
    for old in [&root, &debs] {
        let _ = fs::remove_dir_all(old);
        fs::create_dir_all(old).map_err(|e| format!("{}: {e}", old.display()))?;
    }
    let packages = PACKAGES.map(|name| format!("{name}:arm64"));
    Cmd::new("apt-get")
        .dir(&debs)
        .args(["-qq", "download"])
        .args(&packages)
        .run()
        .map_err(|fault| format!("{fault} (on Debian 12, as root: dpkg --add-architecture arm64 && apt-get update)"))?;
    let unpacked = fs::read_dir(&debs).map_err(|e| format!("{}: {e}", debs.display()))?;
    for deb in unpacked.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        Cmd::new("dpkg").arg("-x").arg(deb).arg(&root).run()?;
    }
    Cmd::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).run()?;
    // Python 3.11 and these tags are what Debian 12 runs, whatever runs here.
    let tags =
        ["manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "any"];
    Cmd::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args([
            "--implementation",
            "cp",
            "--python-version",
            "3.11",
            "--abi",
            "cp311",
            "--abi",
            "abi3",
            "--abi",
            "none",
        ])
        .args(tags.iter().flat_map(|tag| ["--platform", tag]))
        .arg("--target")
        .arg(root.join("site"))
        .arg("-r")
        .arg(&list)
        .run()?;
    fs::create_dir_all(root.join("proc")).map_err(|e| format!("{}: {e}", root.display()))?;
    write(&stamp, &wanted)
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::{fs::File, path::Path, process::Command};

    use super::cpuinfo;

    /// `classes.txt` was encoded by an assembler; the plugin's decoder, built as a program, must agree with it.
    #[test]
    fn the_plugin_knows_the_instructions() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/arm");
        let program = std::env::temp_dir().join(format!("fleetfoot-classes-{}", std::process::id()));
        let built = Command::new("cc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-DCHECK_CLASSES", "-o"])
            .args([&program, &sources.join("icount.c")])
            .status()
            .expect("a C compiler");
        assert!(built.success());
        let classes = File::open(sources.join("classes.txt")).expect("classes.txt");
        let output = Command::new(&program).stdin(classes).output().expect("it runs");
        std::fs::remove_file(&program).expect("it was built");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.ends_with("222 instructions, 0 wrong\n"), "{said}");
    }

    #[test]
    fn cpuinfo_is_of_the_emulated_cpu() {
        for (cpu, part, dot) in [
            ("cortex-a53", "0xd03", false),
            ("cortex-a76", "0xd0b", true),
            ("max,sve=off", "0xd49", true),
            ("x", "0xd03", false),
        ] {
            let text = cpuinfo(cpu);
            assert!(text.contains(&format!("CPU part\t: {part}\n")), "{cpu}: {text}");
            assert_eq!(text.contains("asimddp"), dot, "{cpu}: {text}");
        }
    }
}
