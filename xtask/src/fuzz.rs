//! `cargo xtask fuzz [--minutes N] [TARGET...]`: libFuzzer over the targets of `fuzz/`, with AddressSanitizer, on the stable toolchain.
//!
//! Begins with the kept files of `fuzz/corpus/<target>` and what earlier runs found new in `target/fuzz/corpus/<target>`. A finding
//! ends the run and stays in `target/fuzz/findings`: it belongs into `fuzz/corpus/<target>` under the name of its fault, where every test run
//! replays it. Needs a C++ compiler, which builds libFuzzer itself.

use std::fs;

use crate::{
    memory,
    shell::{Cmd, Result, Tree},
};

pub(crate) const TARGETS: [&str; 9] =
    ["bundle", "tflite", "onnx", "tuf", "lite", "record", "report", "keyfile", "http"];

/// What `cargo fuzz` gives the compiler: the sanitizer, counters of edges, and compared values.
const FLAGS: &str = "-Zsanitizer=address -Cforce-frame-pointers=yes --cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

pub(crate) fn run(tree: &Tree, args: &[String]) -> Result {
    let (minutes, targets) = parse(args)?;
    let (host, target_dir) = (memory::host()?, tree.target.join("fuzz"));
    Cmd::cargo(tree, ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host, "--target-dir"])
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", FLAGS)
        .run()?;
    let findings = target_dir.join("findings");
    fs::create_dir_all(&findings).map_err(|e| format!("{}: {e}", findings.display()))?;
    for target in targets {
        let corpus = target_dir.join("corpus").join(target);
        fs::create_dir_all(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
        Cmd::new(target_dir.join(&host).join("release").join(target))
            .arg(format!("-max_total_time={}", 60 * minutes))
            .args(["-max_len=16384", "-timeout=20", "-rss_limit_mb=3000", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/{target}-", findings.display()))
            .arg(&corpus)
            .arg(tree.root.join("fuzz/corpus").join(target))
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .run()
            .map_err(|fault| format!("a finding lies in {}: {fault}", findings.display()))?;
    }
    Ok(())
}

/// Minutes for each target, and the targets: all, unless some are named.
fn parse(args: &[String]) -> Result<(u64, Vec<&'static str>)> {
    let (mut minutes, mut targets, mut rest) = (10, Vec::new(), args.iter());
    while let Some(arg) = rest.next() {
        if arg == "--minutes" {
            let number = rest.next().and_then(|n| n.parse().ok()).filter(|n| (1..=10_000).contains(n));
            minutes = number.ok_or("--minutes needs a number from 1 to 10000")?;
        } else {
            let target = TARGETS.iter().find(|target| *target == arg);
            targets.push(*target.ok_or_else(|| format!("no target {arg}; there are: {}", TARGETS.join(" ")))?);
        }
    }
    Ok((minutes, if targets.is_empty() { TARGETS.to_vec() } else { targets }))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn arguments() {
        let check = |args: &[&str], want: Result<(u64, Vec<&'static str>), ()>| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_string()).collect();
            assert_eq!(parse(&args).map_err(|_| ()), want, "{args:?}");
        };
        check(&[], Ok((10, super::TARGETS.to_vec())));
        check(&["--minutes", "3", "tflite"], Ok((3, vec!["tflite"])));
        check(&["--minutes"], Err(()));
        check(&["--minutes", "0"], Err(()));
        check(&["pickle"], Err(()));
    }
}
