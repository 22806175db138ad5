//! The folder of metadata: verified files, each replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use fleetfoot_tuf::Stored;

use crate::{Result, explain};

/// No file of metadata that the client takes is longer.
const MAX_LEN: u64 = 8 << 20;

/// Takes the first root over. It is judged when it is used.
pub(crate) fn init(folder: &Path, root: &Path) -> Result {
    fs::create_dir_all(folder).map_err(explain("the folder of metadata"))?;
    write(folder, "root.json", &bounded(root).map_err(explain("the first root"))?).map_err(explain("root.json"))
}

/// Everything that is there. What does not hold is ignored by the client.
pub(crate) fn read(folder: &Path) -> Result<Stored> {
    let mut stored = Stored::new();
    for entry in fs::read_dir(folder).map_err(explain("the folder of metadata"))? {
        let path = entry.map_err(explain("the folder of metadata"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".json") {
            stored.insert(name.clone(), bounded(&path).map_err(explain(&name))?);
        }
    }
    Ok(stored)
}

/// Stores a verified file, or removes one that is to be forgotten. Of roots only the newest is kept, `root.json`.
pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result {
    if name.ends_with(".root.json") && name.as_bytes()[0].is_ascii_digit() {
        return Ok(());
    }
    let done = if bytes.is_empty() { remove(&folder.join(name)) } else { write(folder, name, bytes) };
    done.map_err(explain(name))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.tmp"));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_LEN} bytes")));
    }
    Ok(bytes)
}
