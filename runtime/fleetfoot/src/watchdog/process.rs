//! A bundle proves itself in a process of its own.
//!
//! The application names a program (itself, as a rule) that calls [`answer`] with the last arguments it was given, and prints what
//! that returns. Nothing else is needed: no shared memory, no socket.
//!
//! ```text
//! parent                                                   child
//!   program ARGS.. all|goldens PATH SHA256 KERNELS MEMORY DEADLINE_MS
//!                                                            limits its own memory and time
//!                                                            opens the bundle by its hash, admits it
//!            <-- "fleetfoot-admission ok GOLDENS P99 ARENA MEMORY RESIDENT"
//!             or "fleetfoot-admission refused REASON TEXT"
//!             or "fleetfoot-admission unusable TEXT"
//!   deadline: kill                                          deadline: ends itself, for parents that died
//! ```
//! Other lines are ignored, so that a program may print what it likes. The parent believes the numbers, not the child: what it did not
//! say, it did not pass.

use std::{
    ffi::OsString,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use fleetfoot_format::record::Reason;
use fleetfoot_kernels::Kernels;

use super::Lost;
use crate::{
    error::{Error, hex},
    pool::lock,
    store::unhex,
    validate::{Admission, Refusal, prove, validate_within, within_peak},
    verified::VerifiedFile,
};

/// The program in which bundles prove themselves. It must end up in [`answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isolated {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments; those of the job follow.
    pub args: Vec<OsString>,
}

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Everything that admission asks for.
    All,
    /// The golden cases only.
    Goldens,
}

/// Lets a child prove the bundle at `path`.
///
/// # Errors
/// [`Error::Refused`], [`Error::Lost`]; [`Error::HashMismatch`] and others of the file; [`Error::Thread`] where no process can be started.
pub(crate) fn ask(
    isolated: &Isolated,
    job: Job,
    path: &Path,
    sha256: &[u8; 32],
    kernels: Kernels,
    (deadline, max_memory_bytes): (Duration, Option<u64>),
) -> Result<Admission, Error> {
    let mut command = Command::new(&isolated.program);
    command.args(&isolated.args).arg(if job == Job::All { "all" } else { "goldens" }).arg(path).arg(hex(sha256));
    command.arg(kernels.name()).arg(max_memory_bytes.map_or_else(|| "-".into(), |bytes| bytes.to_string()));
    command.arg(deadline.as_millis().to_string());
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|source| Error::Thread { source })?;
    let said = Arc::new((Mutex::new(None), Condvar::new()));
    let theirs = Arc::clone(&said);
    let stdout = child.stdout.take();
    let reader = thread::Builder::new().name("fleetfoot-reader".into()).spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            // An error is the end of what it says.
            let _ = stdout.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes);
        }
        *lock(&theirs.0) = Some(bytes);
        theirs.1.notify_one();
    });
    let ended = reader.map_err(|source| Error::Thread { source }).and_then(|_| wait(&mut child, deadline));
    let Some(status) = ended.inspect_err(|_| end(&mut child))? else {
        end(&mut child);
        return Err(Lost::Hung { after: deadline, left: false }.into());
    };
    // A grandchild may hold the pipe open: its words are not waited for.
    let waited = said.1.wait_timeout_while(lock(&said.0), LAST_WORDS, |said| said.is_none());
    let text = waited.unwrap_or_else(PoisonError::into_inner).0.take().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match text.lines().find_map(|line| line.strip_prefix(PREFIX)) {
        Some(line) => understand(line, path, sha256),
        None => Err(Lost::Died { how: status.to_string() }.into()),
    }
}

/// Waits for the end of `child`; `None`: it is still there at the deadline.
fn wait(child: &mut Child, deadline: Duration) -> Result<Option<ExitStatus>, Error> {
    let end = Instant::now() + deadline;
    loop {
        // Where the host does not keep the ends of its children this is an error: the child is gone all the same, and is not run again in here.
        match child.try_wait().map_err(|source| Error::from(Lost::Died { how: source.to_string() }))? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() >= end => return Ok(None),
            None => thread::sleep(LOOK_AGAIN),
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself meanwhile.
    let _ = child.kill();
    let _ = child.wait();
}

fn understand(line: &str, path: &Path, sha256: &[u8; 32]) -> Result<Admission, Error> {
    let unclear = || Error::from(Lost::Died { how: format!("it said {line:?}") });
    let (word, rest) = line.split_once(' ').ok_or_else(unclear)?;
    match word {
        "ok" => {
            let mut numbers = rest.split(' ').map(|word| word.parse::<u64>().ok());
            let mut number = || numbers.next().flatten().ok_or_else(unclear);
            let len = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let (goldens, p99_us, arena_bytes) = (len(number()?), number()?, len(number()?));
            let (memory_bytes, resident_bytes) = (number()?, number()?);
            let resident_bytes = (resident_bytes > 0).then_some(resident_bytes);
            Ok(Admission { goldens, p99_us, arena_bytes, memory_bytes, resident_bytes })
        }
        "refused" => {
            let (reason, text) = rest.split_once(' ').ok_or_else(unclear)?;
            let reason = Reason(reason.parse().map_err(|_| unclear())?);
            Err(Refusal::Told { reason, text: text.into() }.into())
        }
        _ => {
            // What is wrong with the file is found here, too, or the child is not to be believed.
            VerifiedFile::open_known(path, sha256)?;
            Err(unclear())
        }
    }
}

/// What the program of [`Isolated`] does with its last arguments: proves the bundle, and returns the line to print. `at` is called
/// at `goldens`, before code of the bundle runs.
#[must_use]
pub fn answer(args: &[OsString], at: fn(&str)) -> String {
    let line = match parse(args) {
        None => "unusable the arguments are not those of a job".into(),
        Some(request) => match request.run(at) {
            Ok(Admission { goldens, p99_us, arena_bytes, memory_bytes, resident_bytes }) => {
                let resident_bytes = resident_bytes.unwrap_or(0);
                format!("ok {goldens} {p99_us} {arena_bytes} {memory_bytes} {resident_bytes}")
            }
            Err(Error::Refused(refusal)) => {
                format!("refused {} {}", refusal.reason().0, one_line(&refusal.to_string()))
            }
            Err(error) => format!("unusable {}", one_line(&error.to_string())),
        },
    };
    format!("{PREFIX}{line}")
}

struct Request {
    job: Job,
    path: PathBuf,
    sha256: [u8; 32],
    kernels: Kernels,
    max_memory_bytes: Option<u64>,
    deadline: Duration,
}

fn parse(args: &[OsString]) -> Option<Request> {
    let [job, path, sha256, kernels, memory, deadline] = args else { return None };
    Some(Request {
        job: if job == "all" { Job::All } else { Job::Goldens },
        path: path.into(),
        sha256: unhex(sha256.to_str()?)?,
        kernels: Kernels::by_name(kernels.to_str()?)?,
        max_memory_bytes: if memory == "-" { None } else { Some(memory.to_str()?.parse().ok()?) },
        deadline: Duration::from_millis(deadline.to_str()?.parse().ok()?),
    })
}

impl Request {
    fn run(self, at: fn(&str)) -> Result<Admission, Error> {
        let Self { job, path, sha256, kernels, max_memory_bytes, deadline } = self;
        // A parent that was killed does not end its child.
        let timer = thread::Builder::new().spawn(move || {
            thread::sleep(deadline + LAST_WORDS);
            std::process::abort();
        });
        timer.map_err(|source| Error::Thread { source })?;
        let before = status_bytes("VmHWM:");
        limit_memory(max_memory_bytes);
        let file = VerifiedFile::open_known(&path, &sha256)?;
        at("goldens");
        let admission = match job {
            Job::All => validate_within(&file, kernels, max_memory_bytes)?,
            Job::Goldens => prove(&file, kernels)?,
        };
        let resident_bytes = status_bytes("VmHWM:").zip(before).map(|(after, before)| after.saturating_sub(before));
        if let (Some(resident_bytes), Job::All) = (resident_bytes, job) {
            within_peak(&file, &admission, resident_bytes, max_memory_bytes)?;
        }
        Ok(Admission { resident_bytes, ..admission })
    }
}

/// From now on this process dies when it allocates more than the model may have, and leaves no core file.
fn limit_memory(max_memory_bytes: Option<u64>) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let exactly = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
        // Where the system refuses there is no limit; the deadline stays.
        let _ = setrlimit(Resource::Core, exactly(0));
        if let (Some(max), Some(now)) = (max_memory_bytes, status_bytes("VmData:")) {
            let _ = setrlimit(Resource::Data, exactly(now.saturating_add(max).saturating_add(HEADROOM_BYTES)));
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = max_memory_bytes;
}

/// A line of `/proc/self/status` that is in kB; `None` where there is none.
fn status_bytes(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

const PREFIX: &str = "fleetfoot-admission ";
/// Bytes of standard output that are read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(2);
const LAST_WORDS: Duration = Duration::from_secs(5);
/// What the allocator and the reading of a bundle take beside the model.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HEADROOM_BYTES: u64 = 8 << 20;
