//! Keys in files.
//!
//! `ROLE.pub` is one line, `ed25519 <public key in hexadecimal> <role>`. `ROLE.key` is JSON; its seed is either plain or sealed with a
//! passphrase: Argon2id (RFC 9106) derives a key, XChaCha20-Poly1305 seals the seed with it, and the public key is bound in as associated
//! data, so that a file whose halves were mixed does not open.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use fleetfoot_trust::SigningKey;
use fleetfoot_tuf::hex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Memory of the derivation, KiB; passes over it. The second choice of RFC 9106 scaled to what a build machine gives without a thought.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
/// The most that a file may ask for: guards the memory of who opens it.
const MAX_MEMORY_KIB: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 16;

/// Why a key file was not read or written: codes 720 to 739.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Not a key file.
    #[error("{} is no {kind} key of Fleetfoot", path.display())]
    NotAKey {
        /// The file.
        path: PathBuf,
        /// `private` or `public`.
        kind: &'static str,
    },
    /// The key is encrypted and there is no passphrase.
    #[error("{} is encrypted: a passphrase is needed", path.display())]
    NeedsPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is wrong, or the file was changed.
    #[error("{} does not open with this passphrase", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// A role or a name that cannot be part of a file name.
    #[error("{name:?} cannot be the name of a key: use letters, digits, '-', '_' and '.'")]
    BadName {
        /// The name.
        name: String,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl KeyFileError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::File { .. } => 720,
            Self::NotAKey { .. } => 721,
            Self::NeedsPassphrase { .. } => 722,
            Self::WrongPassphrase { .. } => 723,
            Self::BadName { .. } => 724,
            Self::NoRandomness => 725,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    /// `fleetfoot-key-v1`.
    format: String,
    role: String,
    public: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<Sealed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    kdf: String,
    memory_kib: u32,
    passes: u32,
    salt: String,
    cipher: String,
    nonce: String,
    seed: String,
}

const FORMAT: &str = "fleetfoot-key-v1";
const KDF: &str = "argon2id";
const CIPHER: &str = "xchacha20poly1305";

/// Makes a key and writes `DIR/ROLE[-NAME].key` and `.pub`. Existing files are never overwritten. Returns the paths and the public key.
///
/// # Errors
/// [`KeyFileError::File`], [`KeyFileError::BadName`], [`KeyFileError::NoRandomness`].
pub fn create(
    dir: &Path,
    role: &str,
    name: Option<&str>,
    passphrase: Option<&str>,
) -> Result<(PathBuf, PathBuf, [u8; 32]), KeyFileError> {
    let stem = name.map_or_else(|| role.to_owned(), |name| format!("{role}-{name}"));
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if stem.is_empty() || stem.starts_with('.') || !stem.bytes().all(plain) {
        return Err(KeyFileError::BadName { name: stem });
    }
    let key = SigningKey::generate(|seed| getrandom::fill(seed).map_err(|_| KeyFileError::NoRandomness))?;
    let public = key.public();
    let mut file =
        KeyFile { format: FORMAT.into(), role: role.into(), public: hex::encode(&public), seed: None, sealed: None };
    match passphrase {
        None => file.seed = Some(hex::encode(&key.seed())),
        Some(passphrase) => file.sealed = Some(seal(&key, passphrase)?),
    }
    let (private_path, public_path) = (dir.join(format!("{stem}.key")), dir.join(format!("{stem}.pub")));
    fs::create_dir_all(dir).map_err(|source| KeyFileError::File { action: "make", path: dir.into(), source })?;
    if public_path.exists() {
        let source = io::ErrorKind::AlreadyExists.into();
        return Err(KeyFileError::File { action: "make", path: public_path, source });
    }
    let text = serde_json::to_string_pretty(&file)
        .map_err(|_| KeyFileError::NotAKey { path: private_path.clone(), kind: "private" })?;
    write_new(&private_path, &format!("{text}\n"))?;
    write_new(&public_path, &format!("ed25519 {} {role}\n", hex::encode(&public)))?;
    Ok((private_path, public_path, public))
}

/// Whether the private key at `path` is encrypted.
///
/// # Errors
/// [`KeyFileError::File`], [`KeyFileError::NotAKey`].
pub fn is_encrypted(path: &Path) -> Result<bool, KeyFileError> {
    Ok(read(path)?.sealed.is_some())
}

/// Reads a private key.
///
/// # Errors
/// [`KeyFileError::File`], [`KeyFileError::NotAKey`], [`KeyFileError::NeedsPassphrase`], [`KeyFileError::WrongPassphrase`].
pub fn load_private(path: &Path, passphrase: Option<&str>) -> Result<SigningKey, KeyFileError> {
    let not_a_key = || KeyFileError::NotAKey { path: path.into(), kind: "private" };
    let file = read(path)?;
    let seed = match (&file.seed, &file.sealed) {
        (Some(seed), None) => hex::decode(seed).ok_or_else(not_a_key)?,
        (None, Some(sealed)) => {
            let passphrase = passphrase.ok_or_else(|| KeyFileError::NeedsPassphrase { path: path.into() })?;
            let seed = open(sealed, &file.public, passphrase).ok_or_else(not_a_key)?;
            seed.ok_or_else(|| KeyFileError::WrongPassphrase { path: path.into() })?
        }
        _ => return Err(not_a_key()),
    };
    let key = SigningKey::from_seed(&seed);
    if hex::encode(&key.public()) == file.public { Ok(key) } else { Err(not_a_key()) }
}

/// Reads a public key, from a `.pub` file or from the public half of a private one.
///
/// # Errors
/// [`KeyFileError::File`], [`KeyFileError::NotAKey`].
pub fn load_public(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let not_a_key = || KeyFileError::NotAKey { path: path.into(), kind: "public" };
    let text = text(path)?;
    let mut words = text.split_ascii_whitespace();
    let key = match words.next() {
        Some("ed25519") => words.next().and_then(hex::decode),
        _ => serde_json::from_str::<KeyFile>(&text)
            .ok()
            .filter(|f| f.format == FORMAT)
            .and_then(|f| hex::decode(&f.public)),
    };
    key.ok_or_else(not_a_key)
}

fn read(path: &Path) -> Result<KeyFile, KeyFileError> {
    let file = serde_json::from_str::<KeyFile>(&text(path)?).ok().filter(|f| f.format == FORMAT);
    file.ok_or_else(|| KeyFileError::NotAKey { path: path.into(), kind: "private" })
}

fn text(path: &Path) -> Result<String, KeyFileError> {
    use io::Read as _;
    let broken = |source| KeyFileError::File { action: "read", path: path.into(), source };
    let mut text = Vec::new();
    fs::File::open(path).map_err(broken)?.take(16 * 1024).read_to_end(&mut text).map_err(broken)?;
    String::from_utf8(text).map_err(|_| KeyFileError::NotAKey { path: path.into(), kind: "private or public" })
}

fn seal(key: &SigningKey, passphrase: &str) -> Result<Sealed, KeyFileError> {
    let (mut salt, mut nonce) = ([0; 16], [0; 24]);
    getrandom::fill(&mut salt).map_err(|_| KeyFileError::NoRandomness)?;
    getrandom::fill(&mut nonce).map_err(|_| KeyFileError::NoRandomness)?;
    let cipher = derive(passphrase, &salt, MEMORY_KIB, PASSES).ok_or(KeyFileError::NoRandomness)?;
    let public = hex::encode(&key.public());
    let payload = Payload { msg: &key.seed(), aad: public.as_bytes() };
    let sealed = cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| KeyFileError::NoRandomness)?;
    Ok(Sealed {
        kdf: KDF.into(),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        salt: hex::encode(&salt),
        cipher: CIPHER.into(),
        nonce: hex::encode(&nonce),
        seed: hex::encode(&sealed),
    })
}

/// `None`: not such a file. `Some(None)`: the passphrase does not fit.
fn open(sealed: &Sealed, public: &str, passphrase: &str) -> Option<Option<[u8; 32]>> {
    let (salt, nonce) = (hex::decode::<16>(&sealed.salt)?, hex::decode::<24>(&sealed.nonce)?);
    let seed = hex::decode::<48>(&sealed.seed)?;
    let bounded = sealed.memory_kib <= MAX_MEMORY_KIB && sealed.passes <= MAX_PASSES;
    if sealed.kdf != KDF || sealed.cipher != CIPHER || !bounded {
        return None;
    }
    let cipher = derive(passphrase, &salt, sealed.memory_kib, sealed.passes)?;
    let opened = cipher.decrypt(&XNonce::from(nonce), Payload { msg: &seed, aad: public.as_bytes() });
    Some(opened.ok().and_then(|seed| seed.try_into().ok()))
}

fn derive(passphrase: &str, salt: &[u8], memory_kib: u32, passes: u32) -> Option<XChaCha20Poly1305> {
    let params = Params::new(memory_kib, passes, 1, Some(32)).ok()?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .ok()?;
    Some(XChaCha20Poly1305::new(&key.into()))
}

fn write_new(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let broken = |source| KeyFileError::File { action: "make", path: path.into(), source };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(
        &mut options,
        if path.extension().is_some_and(|e| e == "key") { 0o600 } else { 0o644 },
    );
    let mut file = options.open(path).map_err(broken)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| {
        // Half a key is no key, and would be in the way of the next one.
        let _ = fs::remove_file(path);
        broken(source)
    })
}
