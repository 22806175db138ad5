//! The world of `tests/scenario.txt`: what the steps of that file need, made of the digits models that lie in the tree.
//!
//! ```text
//! key.bin            the public key that vouches for bundles, 32 bytes
//! root.json          the first root metadata
//! 1.ff 2.ff 3.ff     releases 1.0.0 and 2.0.0, and 3.0.0 whose golden digest is another output's
//! 1/ 2/ 3/           the repository as it is after each of them was published
//! input.bin          an input
//! photo.ppm .bmp     the same as a picture
//! output-1.bin ...   what 1.ff and 2.ff answer
//! calls.ff           a model that does nearly nothing, for what measures calls
//! calls-150000.ff    the same with as many inputs
//! ```

use std::{fs, io, path::Path, time::SystemTime};

use fleetfoot_format::bundle::{Budget, Provenance};
use fleetfoot_plan::Plan;
use fleetfoot_quantize::{Case, Pack};
use fleetfoot_repository::{Expiry, Init, Online, Repository, Signers};
use fleetfoot_trust::{SigningKey, sign_bundle};

/// Columns and rows of the pictures.
const SIDE: u32 = 8;
/// Name of the model.
pub const MODEL: &str = "digits";

/// Makes everything in `dir`, which is made first.
///
/// # Panics
/// Where something cannot be made: this is for tests.
pub fn make(dir: &Path) {
    fs::create_dir_all(dir).expect("a folder");
    let key = |n: u8| SigningKey::from_seed(&[n; 32]);
    let (root, targets, snapshot, timestamp, releases) = (key(1), key(2), key(3), key(4), key(5));
    put(dir, "key.bin", &releases.public());
    put(dir, "calls.ff", &crate::calls::bundle(16, &releases));
    put(dir, "calls-150000.ff", &crate::calls::bundle(150_000, &releases));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_secs().cast_signed();
    let expiry = Expiry::default();
    let one = std::slice::from_ref;
    let online = || Online { snapshot: one(&snapshot), timestamp: one(&timestamp) };
    let only = |key| Signers { signing: one(key), others: &[], threshold: 1 };
    let repo = dir.join("repository");
    let models: &[(&str, &[[u8; 32]], usize)] = &[(MODEL, &[releases.public()], 1)];
    let init = Init { root: only(&root), targets: only(&targets), online: online(), models };
    let repository = Repository::init(&repo, &init, expiry, now).expect("a repository");
    put(dir, "root.json", &fs::read(repo.join("metadata/1.root.json")).expect("its root"));
    let input = input();
    put(dir, "input.bin", &input);
    put(dir, "photo.ppm", &ppm(&input));
    put(dir, "photo.bmp", &bmp(&input));
    for number in 1..=3 {
        let plan = plan(if number == 1 { "digits_v1" } else { "digits_v2" });
        let mut cases = fleetfoot_quantize::run_goldens(&plan, std::slice::from_ref(&input), None).expect("it runs");
        put(dir, &format!("output-{number}.bin"), &cases[0].output);
        if number == 3 {
            cases[0].output[0] ^= 1;
        }
        let mut bundle = pack(number, &plan, &cases, releases.public());
        sign_bundle(&mut bundle, &releases).expect("a signature");
        put(dir, &format!("{number}.ff"), &bundle);
        repository.publish(&bundle, one(&releases), online(), expiry, now).expect("published");
        copy(&repo, &dir.join(number.to_string())).expect("a copy of the repository");
    }
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    fs::write(dir.join(name), bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
}

fn plan(name: &str) -> Plan {
    let source = fs::read(crate::root().join(format!("examples/digits/{name}.tflite"))).expect("the model");
    let graph = fleetfoot_import::tflite(&source).expect("it can be imported");
    fleetfoot_plan::plan(&graph).expect("it can be planned")
}

/// The first picture of the test data.
fn input() -> Vec<u8> {
    let (shape, bytes) = crate::npz(&crate::root().join("examples/digits/digits_v1.golden.npz"), "input");
    bytes[..bytes.len() / shape[0] as usize].to_vec()
}

/// The grey values of an input, as a portable pixmap.
fn ppm(input: &[u8]) -> Vec<u8> {
    let pixels = input.iter().flat_map(|value| [value ^ 0x80; 3]);
    format!("P6\n{SIDE} {SIDE}\n255\n").into_bytes().into_iter().chain(pixels).collect()
}

/// The same as a bitmap of 24 bits a pixel, the lowest row first; a row is a multiple of 4 bytes.
fn bmp(input: &[u8]) -> Vec<u8> {
    const HEAD_LEN: u32 = 14 + 40;
    let body_len = 3 * SIDE * SIDE;
    let mut file = b"BM".to_vec();
    for number in [HEAD_LEN + body_len, 0, HEAD_LEN, 40, SIDE, SIDE, 1 | 24 << 16, 0, body_len, 0, 0, 0, 0] {
        file.extend(number.to_le_bytes());
    }
    for row in input.chunks_exact(SIDE as usize).rev() {
        file.extend(row.iter().flat_map(|value| [value ^ 0x80; 3]));
    }
    file
}

fn pack(number: u64, plan: &Plan, golden: &[Case], signer: [u8; 32]) -> Vec<u8> {
    let version = format!("{number}.0.0");
    let provenance = Provenance { source_sha256: [0; 32], source_format: "tflite", tool: "tests" };
    let (labels, budget) = (Some("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"), Budget::default());
    let signers = &[signer];
    let pack = Pack {
        model: MODEL,
        version: &version,
        number,
        plan,
        budget,
        golden,
        baseline: None,
        labels,
        further: &[],
        provenance,
        quantization: None,
        signers,
    };
    fleetfoot_quantize::pack(&pack).expect("it can be packed")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy(&path, &to)? } else { fs::copy(&path, &to).map(drop)? }
    }
    Ok(())
}
