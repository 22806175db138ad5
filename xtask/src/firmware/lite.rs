//! The lite files of a release, written by the program `fleetfoot`, on the board: taken as they are, refused when changed.
//!
//! ```text
//! repo init, repo lite trust, publish  ->  the first link
//! repo lite trust once more            ->  trust.bin of two links, header.bin, directive.bin
//! ```
//! It prints what the verifier costs: instructions on the board, and flash beside a program without it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use object::{Object, ObjectSegment};

use super::{boards::Board, no_allocator};
use crate::shell::{Cmd, Result, Tree};

/// Bytes of flash that verifier and layouts may add to a program. Guards the budget of the trust path on a microcontroller.
const BUDGET: u64 = 40_000;

pub(super) fn check(tree: &Tree, work: &Path, board: &Board, bundle: &Path) -> Result {
    let [first, trust, header, directive] = files(tree, work, bundle)?;
    let program = |name: &str, features: &[&str]| -> Result<PathBuf> {
        let built = board.cargo(tree, work, "lite")?.args(features);
        built
            .env("FF_FIRST", &first)
            .env("FF_TRUST", &trust)
            .env("FF_HEADER", &header)
            .env("FF_DIRECTIVE", &directive)
            .run()?;
        let kept = work.join(name);
        fs::copy(board.elf(work, "lite"), &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        Ok(kept)
    };
    let without = program("lite-baseline", &["--features", "baseline"])?;
    let with = program("lite-verifier", &[])?;
    no_allocator(&with)?;
    board.count(&with).run()?;
    let mut files_len = 0;
    for file in [&first, &trust, &header, &directive] {
        files_len += fs::metadata(file).map_err(|e| format!("{}: {e}", file.display()))?.len();
    }
    let (with, without) = (flash(&with)?, flash(&without)?);
    let adds = with.saturating_sub(without + files_len);
    println!(
        "lite: {with} bytes of flash, {files_len} of them files; {without} without: the verifier adds {adds} of {BUDGET}"
    );
    if adds > BUDGET { Err(format!("the lite verifier adds {adds} bytes, over {BUDGET}")) } else { Ok(()) }
}

/// The first link alone, `trust.bin`, `header.bin`, `directive.bin` of a repository made for this run.
fn files(tree: &Tree, work: &Path, bundle: &Path) -> Result<[PathBuf; 4]> {
    let (repo, model, first) = repository(tree, work, bundle)?;
    let file = |kind| listed(&repo, &model, kind);
    Ok([first, file("trust.bin")?, file("header.bin")?, file("directive.bin")?])
}

/// A repository with the release `bundle`, the name of its model, and the first link of its chain, which has two. Keys lie in `work`, where that
/// of the releases is already.
pub(crate) fn repository(tree: &Tree, work: &Path, bundle: &Path) -> Result<(PathBuf, String, PathBuf)> {
    let program = tree.program()?;
    let (keys, repo) = (work.join("keys"), work.join("repo"));
    if repo.exists() {
        fs::remove_dir_all(&repo).map_err(|e| format!("{}: {e}", repo.display()))?;
    }
    for role in ["root", "targets", "snapshot", "timestamp"] {
        Cmd::new(&program).args(["keys", "new", "--plain", "--role", role, "--out"]).arg(&keys).run()?;
    }
    let key = |role: &str| keys.join(format!("{role}.key"));
    let (root, targets, releases, snapshot, timestamp) =
        (key("root"), key("targets"), key("releases"), key("snapshot"), key("timestamp"));
    let public = keys.join("releases.pub");
    let shown: serde_json::Value = json(&Cmd::new(&program).args(["--json", "inspect"]).arg(bundle).read()?)?;
    let model = shown["model"].as_str().ok_or("inspect --json tells no model")?;
    let run = |command: &[&str], named: &[(&str, &Path)]| {
        let online = [("--repo", &*repo), ("--snapshot-key", &*snapshot), ("--timestamp-key", &*timestamp)];
        let named = named.iter().chain(&online);
        named.fold(Cmd::new(&program).args(command), |cmd, (name, path)| cmd.arg(name).arg(path)).run()
    };
    let offline = [("--root-key", &*root), ("--targets-key", &*targets)];
    let trust = |more: &[(&str, &Path)]| run(&["repo", "lite", "trust", "--model", model], &[&offline, more].concat());
    run(&["repo", "init", "--model", model], &[&offline[..], &[("--releases-key", &*public)]].concat())?;
    trust(&[])?;
    let first = listed(&repo, model, "trust.bin")?;
    run(&["publish", &bundle.to_string_lossy()], &[("--key", &*releases)])?;
    trust(&[("--key", &*releases)])?;
    Ok((repo, model.to_owned(), first))
}

/// The file of `kind` that the newest list of lite files of `model` names.
fn listed(repo: &Path, model: &str, kind: &str) -> Result<PathBuf> {
    let (metadata, suffix) = (repo.join("metadata"), format!(".lite-{model}.json"));
    let entries = fs::read_dir(&metadata).map_err(|e| format!("{}: {e}", metadata.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let newest = names.filter_map(|name| name.strip_suffix(&suffix)?.parse::<u32>().ok()).max();
    let list = metadata.join(format!("{}{suffix}", newest.ok_or("no list of lite files")?));
    let text = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let list = json(&text)?;
    let hash = list["signed"]["targets"][format!("lite/{model}/{kind}")]["hashes"]["sha256"].as_str();
    let hash = hash.ok_or_else(|| format!("no {kind} is listed"))?;
    Ok(repo.join("targets/lite").join(model).join(format!("{hash}.{kind}")))
}

fn json(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))
}

/// Bytes that are loaded into flash.
fn flash(path: &Path) -> Result<u64> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(file.segments().map(|segment| segment.file_range().1).sum())
}
