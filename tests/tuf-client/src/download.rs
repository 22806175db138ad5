//! One target: fetched beside its place, checked against signed length and hash (5.7), and only then put there.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use fleetfoot::transport::{Fetched, HttpTransport, Request, Transport as _};
use fleetfoot_trust::{Sha256, sha256};
use fleetfoot_tuf::{Target, hex, name};

use crate::{Result, explain};

/// Longer names are no names of files everywhere.
const MAX_NAME_LEN: usize = 200;

/// Brings `target`, which lies at `url_path`, into `folder`, unless it is there already.
pub(crate) fn run(transport: &HttpTransport, url_path: &str, target: &Target, folder: &Path) -> Result {
    fs::create_dir_all(folder).map_err(explain("the folder of targets"))?;
    let quoted = name::quote(&target.path);
    let short = if quoted.len() <= MAX_NAME_LEN { quoted } else { hex::encode(&sha256(target.path.as_bytes())) };
    let place = folder.join(&short);
    if holds(&place, target).unwrap_or(false) {
        return Ok(());
    }
    let temporary = folder.join(format!(".{short}.tmp"));
    let fetched = fetch(transport, url_path, target, &temporary);
    let placed = fetched.and_then(|()| fs::rename(&temporary, &place).map_err(explain(&target.path)));
    if placed.is_err() {
        // What did not hold is in nobody's way, and nobody may take it for the target.
        let _ = fs::remove_file(&temporary);
    }
    placed
}

fn fetch(transport: &HttpTransport, url_path: &str, target: &Target, temporary: &Path) -> Result {
    let mut file = File::create(temporary).map_err(explain(&target.path))?;
    let mut hash = Sha256::new();
    let request = Request { path: url_path, offset: 0, max_len: target.length, etag: None };
    let fetched = transport.fetch(&request, &mut |chunk| {
        hash.update(chunk);
        file.write_all(chunk)
    });
    match fetched.map_err(explain("not fetched"))? {
        Fetched::Body { len, .. } if len == target.length && hash.finish() == target.sha256 => {
            file.sync_all().map_err(explain(&target.path))
        }
        Fetched::Body { .. } => Err(format!("{}: not the bytes that were signed", target.path)),
        Fetched::Missing | Fetched::NotModified => Err(format!("{}: missing", target.path)),
    }
}

/// Whether the file has the signed length and hash.
fn holds(path: &Path, target: &Target) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != target.length {
        return Ok(false);
    }
    let (mut hash, mut chunk) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hash.finish() == target.sha256),
            n => hash.update(&chunk[..n]),
        }
    }
}
