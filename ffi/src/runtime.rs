//! A runtime: a store, and an agent for each of its models.
//!
//! ```text
//! <store_dir>/<model>/      the store of one agent
//! entry   agent     held by whoever polls, for as long as the poll takes
//!         serving   what serves, as of the last call that is over: never waits for a poll
//!         waiting   outcomes of inferences that came in during a poll; told to the agent behind it
//! ```

use std::{
    collections::BTreeMap,
    ffi::c_char,
    path::Path,
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fleetfoot::{
    Agent, AgentConfig, VerifiedFile,
    agent::{Factory, Serving},
    transport,
};

use crate::{
    door::{bytes, door, give, null, quietly, read, text},
    events::Queues,
    handle::{Shared, Table, lock},
    json,
    layout::{FF_NONE, ff_error, ff_model, ff_model_options, ff_runtime, ff_runtime_options, pointer},
    model::{Named, give_model, model, read_keys},
    status::{Fault, Status},
    update::{Switch, Switched},
};

static RUNTIMES: Table<Runtime> = Table::new(4);

/// What a runtime handle means.
#[derive(Debug)]
pub(crate) struct Runtime {
    models: BTreeMap<Arc<str>, Arc<Entry>>,
    pub(crate) queues: Arc<Queues>,
}

/// One model of a runtime.
#[derive(Debug)]
pub(crate) struct Entry {
    name: Arc<str>,
    agent: Mutex<Option<Agent>>,
    polling: AtomicBool,
    serving: Mutex<Option<Serving>>,
    waiting: Mutex<Waiting>,
    /// The status as it was when the agent was last at hand.
    status: Mutex<String>,
    /// How files arrive in the poll that is under way.
    pub(crate) switch: Arc<Switch>,
}

/// Outcomes that wait, and of which version.
#[derive(Debug, Default)]
struct Waiting {
    sha256: [u8; 32],
    good: u32,
    bad: bool,
}

/// The runtime of a handle.
pub(crate) fn runtime(handle: *const ff_runtime) -> Result<Shared<Runtime>, Fault> {
    RUNTIMES.shared(handle.addr())
}

impl Runtime {
    /// A model by its name.
    pub(crate) fn entry(&self, name: &str) -> Result<Arc<Entry>, Fault> {
        let none = || Fault::new(Status::NoModel, format!("the runtime has no model {name}"));
        self.models.get(name).cloned().ok_or_else(none)
    }

    /// # Safety
    /// All pointers of the options are what the header says.
    unsafe fn open(options: &ff_runtime_options) -> Result<Self, Fault> {
        // SAFETY: by the contract of this function.
        let store = unsafe { text(options.store_dir, "store_dir")? };
        if options.n_models == 0 || options.n_models > MAX_MODELS {
            return Err(Fault::new(Status::Argument, format!("{} models: 1 to {MAX_MODELS} can be", options.n_models)));
        }
        if options.models.is_null() {
            return Err(null("models"));
        }
        let mut this = Self { models: BTreeMap::new(), queues: Arc::default() };
        let mut at = options.models.cast::<u8>();
        for _ in 0..options.n_models {
            // SAFETY: by the contract of this function there is one more; callers of other versions have structs of another length, which each of them tells.
            let (model, size) = unsafe { (read(at.cast::<ff_model_options>())?, at.cast::<u32>().read_unaligned()) };
            // SAFETY: behind it is the next, or the end.
            at = unsafe { at.add(size as usize) };
            // SAFETY: by the contract of this function.
            let entry = unsafe { Entry::open(store, &model, &this.queues)? };
            if this.models.insert(Arc::clone(&entry.name), Arc::new(entry)).is_some() {
                return Err(Fault::new(Status::Argument, "two models have one name"));
            }
        }
        Ok(this)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for entry in self.models.values() {
            entry.switch.stop();
        }
        for entry in self.models.values() {
            // A poll that is under way ends now; this waits for it, so that the store is free when the runtime is closed.
            drop(lock(&entry.agent).take());
        }
        self.queues.close();
    }
}

impl Entry {
    /// # Safety
    /// All pointers of the options are what the header says.
    unsafe fn open(store: &str, options: &ff_model_options, queues: &Arc<Queues>) -> Result<Self, Fault> {
        // SAFETY: by the contract of this function.
        let (name, root_json) = unsafe {
            (text(options.name, "the name of a model")?, bytes(options.root_json, options.root_json_len, "root_json")?)
        };
        let repository = match options.repository.is_null() {
            true => None,
            // SAFETY: by the contract of this function.
            false => Some(unsafe { text(options.repository, "repository")? }),
        };
        let repository = repository.map(transport::open).transpose().map_err(fleetfoot::Error::from)?;
        let switch = Arc::new(Switch::new(repository));
        if !fleetfoot::format::bundle::valid_name(name) {
            return Err(fleetfoot::Error::BadName { name: name.into() }.into());
        }
        let folder = Path::new(store).join(name);
        let mut config = AgentConfig::new(folder, name, root_json, Box::new(Switched(Arc::clone(&switch))));
        if !options.factory_path.is_null() {
            // SAFETY: by the contract of this function.
            let (path, keys) = unsafe {
                let keys = read_keys(options.factory_keys, options.n_factory_keys, options.factory_threshold)?;
                (text(options.factory_path, "factory_path")?, keys)
            };
            config.factory = Some(Factory { path: path.into(), keys });
        }
        let small = |value: u32, what: &str| {
            u8::try_from(value).map_err(|_| Fault::new(Status::Argument, format!("{what} is {value}, over 255")))
        };
        let limits = &mut config.limits;
        match options.attempts {
            0 => {}
            attempts => limits.attempts = small(attempts, "attempts")?,
        }
        match options.slots {
            0 => {}
            slots => limits.slots = small(slots, "slots")?,
        }
        match options.min_inferences {
            0 => {}
            inferences => limits.min_inferences = inferences,
        }
        match options.health_window_s {
            0 => {}
            FF_NONE => limits.health_window_s = 0,
            seconds => limits.health_window_s = seconds,
        }
        limits.checkpoint = options.checkpoint;
        let name: Arc<str> = name.into();
        let (queues, of) = (Arc::clone(queues), Arc::clone(&name));
        config.on_event = Some(Box::new(move |event| queues.tell(&of, event)));
        let mut agent = Agent::open(config, now(0))?;
        let serving = Mutex::new(agent.serving().cloned());
        let status = Mutex::new(status(&name, &mut agent));
        let (polling, waiting) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { name, agent: Mutex::new(Some(agent)), polling, serving, waiting, status, switch })
    }

    /// The right to poll, which one has at a time.
    pub(crate) fn claim(self: &Arc<Self>) -> Result<Claim, Fault> {
        if self.polling.swap(true, Ordering::Acquire) { Err(busy()) } else { Ok(Claim(Arc::clone(self))) }
    }

    /// Something short with the agent.
    pub(crate) fn briefly<T>(&self, with: impl FnOnce(&mut Agent) -> T) -> Result<T, Fault> {
        loop {
            match self.agent.try_lock() {
                Ok(agent) => return self.finish(agent, with),
                Err(TryLockError::Poisoned(agent)) => return self.finish(agent.into_inner(), with),
                Err(TryLockError::WouldBlock) if self.polling.load(Ordering::Acquire) => return Err(busy()),
                // Somebody else does something short.
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(100)),
            }
        }
    }

    fn finish<T>(
        &self,
        mut agent: MutexGuard<'_, Option<Agent>>,
        with: impl FnOnce(&mut Agent) -> T,
    ) -> Result<T, Fault> {
        let agent = agent.as_mut().ok_or(Status::Closed)?;
        let waited = self.count(agent);
        let done = with(agent);
        *lock(&self.serving) = agent.serving().cloned();
        *lock(&self.status) = status(&self.name, agent);
        // Those that came in during a poll.
        waited?;
        self.count(agent)?;
        *lock(&self.serving) = agent.serving().cloned();
        Ok(done)
    }

    /// Tells the agent the outcomes that waited, if they are of the version that serves.
    fn count(&self, agent: &mut Agent) -> Result<(), Fault> {
        let Waiting { sha256, good, bad } = std::mem::take(&mut *lock(&self.waiting));
        let is_it = |agent: &Agent| agent.serving().is_some_and(|s| s.trial && s.version.sha256 == sha256);
        // The bad one first: enough good ones make the version active, and nobody would hear of it.
        if bad && is_it(agent) {
            agent.record_inference(false, now(0))?;
        }
        for _ in 0..good.min(MAX_WAITING) {
            if !is_it(agent) {
                return Ok(());
            }
            agent.record_inference(true, now(0))?;
        }
        Ok(())
    }

    /// An inference of `file` went well or badly.
    fn outcome(&self, file: &VerifiedFile, good: bool) -> Result<(), Fault> {
        {
            // Outside of a trial, which is nearly always, this is all.
            let serving = lock(&self.serving);
            let Some(serving) = serving.as_ref().filter(|serving| serving.trial) else { return Ok(()) };
            let sha256 = serving.version.sha256;
            if file.sha256() != sha256 {
                return Ok(());
            }
            let mut waiting = lock(&self.waiting);
            if waiting.sha256 != sha256 {
                *waiting = Waiting { sha256, ..Waiting::default() };
            }
            waiting.good = waiting.good.saturating_add(good.into());
            waiting.bad |= !good;
        }
        match self.briefly(|_| ()) {
            // The end of the poll does it.
            Err(fault) if fault.status == i32::from(Status::Busy.code()) => Ok(()),
            done => done,
        }
    }
}

/// Who has this polls; others are told that the model is busy meanwhile.
#[derive(Debug)]
pub(crate) struct Claim(Arc<Entry>);

impl Claim {
    /// A poll with the agent.
    pub(crate) fn poll<T>(&self, with: impl FnOnce(&mut Agent) -> T) -> Result<T, Fault> {
        self.0.finish(lock(&self.0.agent), with)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.polling.store(false, Ordering::Release);
    }
}

/// Opens a store and its models.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_runtime_open(
    options: *const ff_runtime_options,
    out: *mut *mut ff_runtime,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out` and of the options.
        let opened = unsafe {
            give(out, "out", ptr::null_mut())?;
            Runtime::open(&read(options)?)?
        };
        let handle = RUNTIMES.insert(opened)?;
        // SAFETY: as above.
        unsafe { give(out, "out", pointer(handle)) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Closes a runtime. A poll that is under way is given up and waited for; models and sessions live on.
#[unsafe(no_mangle)]
pub extern "C" fn ff_runtime_release(handle: *mut ff_runtime) {
    let stop = |runtime: &Runtime| runtime.models.values().for_each(|entry| entry.switch.stop());
    quietly(|| RUNTIMES.close(handle.addr(), stop));
}

/// The version of a model that serves now. The handle keeps that version, whatever happens later.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_active(
    of: *mut ff_runtime,
    name: *const c_char,
    out: *mut *mut ff_model,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out` and `name`.
        let name = unsafe {
            give(out, "out", ptr::null_mut())?;
            text(name, "name")?
        };
        let entry = runtime(of)?.entry(name)?;
        let serving = lock(&entry.serving).clone();
        let serving = serving.ok_or_else(|| fleetfoot::Error::NotInstalled { model: name.into() })?;
        // SAFETY: as above.
        unsafe { give_model(out, Named::new(serving.file, serving.model)?) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// An inference of a model of this runtime went well, or did not.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_outcome(of: *mut ff_runtime, ran: *const ff_model, good: i32, error: *mut ff_error) -> i32 {
    let body = || {
        let named = model(ran)?;
        let entry = runtime(of)?.entry(&named.file.info().model)?;
        entry.outcome(&named.file, good != 0)
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// The application vouches for the version on trial: it becomes active now.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_confirm_healthy(of: *mut ff_runtime, name: *const c_char, error: *mut ff_error) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `name`.
        let entry = runtime(of)?.entry(unsafe { text(name, "name")? })?;
        entry.briefly(|agent| agent.confirm_healthy(now(0)))??;
        Ok(())
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Goes back, or forth, to a kept version.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_rollback(
    of: *mut ff_runtime,
    name: *const c_char,
    to: *const c_char,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `name` and `to`.
        let (name, to) = unsafe { (text(name, "name")?, text(to, "to")?) };
        runtime(of)?.entry(name)?.briefly(|agent| agent.rollback(to))??;
        Ok(())
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// The state of all models as JSON, with a zero byte behind it.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_status_json(
    of: *mut ff_runtime,
    buffer: *mut c_char,
    len: usize,
    need: *mut usize,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let runtime = runtime(of)?;
        let mut models = Vec::new();
        for entry in runtime.models.values() {
            match entry.briefly(|_| ()) {
                Err(fault) if fault.status != i32::from(Status::Busy.code()) => return Err(fault),
                _ => {}
            }
            models.push(lock(&entry.status).clone());
        }
        let json = format!("{{\"models\":[{}]}}", models.join(","));
        let whole = json.len() + 1;
        // SAFETY: the header's contract of `need`.
        unsafe { give(need, "need", whole)? };
        if buffer.is_null() && len == 0 {
            return Ok(());
        }
        if buffer.is_null() {
            return Err(null("buffer"));
        }
        if len < whole {
            return Err(Fault::new(Status::TooSmall, format!("the status has {whole} bytes, the buffer {len}")));
        }
        // SAFETY: the buffer has at least `whole` bytes, and is the caller's own.
        unsafe {
            ptr::copy_nonoverlapping(json.as_ptr(), buffer.cast::<u8>(), json.len());
            buffer.add(json.len()).write(0);
        }
        Ok(())
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// The time that a caller gave, or that of the system.
pub(crate) fn now(given: i64) -> i64 {
    let system = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs().cast_signed());
    if given == 0 { system() } else { given }
}

fn busy() -> Fault {
    Fault::new(Status::Busy, "a poll of this model is under way")
}

fn status(name: &str, agent: &mut Agent) -> String {
    let versions = agent.versions();
    let candidate = agent.record().candidate;
    json::model(name, agent.serving(), candidate.as_ref(), &versions)
}

const MAX_MODELS: u32 = 256;
/// Outcomes that one poll lets pile up; a trial does not need more.
const MAX_WAITING: u32 = 1 << 16;
