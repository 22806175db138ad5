//! What all handles share: which version serves, which one takes over, and what the gates say.

use std::{
    sync::{
        Arc, Condvar, Mutex, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fleetfoot_format::{agreement::Agreement, record::Reason};
use fleetfoot_kernels::Kernels;

use super::{
    Conditions, Part,
    cache::Cache,
    config::LiveConfig,
    gates::{Expected, Seen, Suspicion, exceeds, nanos},
    lock,
    outcomes::Outcomes,
    output, read,
    shadow::Shadow,
    slot::{Mode, Slot},
    write,
};
use crate::{agent::VersionInfo, error::Error, health::Observer, model::Model};

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) model: String,
    pub(super) config: LiveConfig,
    pub(super) kernels: Kernels,
    pub(super) at: Option<fn(&str)>,
    pub(super) cache: Option<Mutex<Cache>>,
    pub(super) outcomes: Mutex<Option<Outcomes>>,
    pub(super) fallbacks: AtomicU64,
    state: RwLock<State>,
    /// Whether there is a shadow that does not rest: saves a look at the state.
    shadowing: AtomicBool,
    /// Ten thousandths of inferences to compare: whenever it passes a whole, one is due.
    sampled: AtomicU64,
    /// By how much each inference moves that.
    share: AtomicU64,
    news: Mutex<News>,
    woken: Condvar,
    this: Weak<Self>,
}

/// What serves, and around it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) serving: Option<Arc<Slot>>,
    pub(super) fallback: Option<Arc<Slot>>,
    pub(super) shadow: Option<Arc<Shadow>>,
    pub(super) part: Option<Arc<Part>>,
    conditions: Conditions,
}

/// What the agent does not know yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct News {
    /// Versions that a gate closed for, and which: the one that served and the one in the shadow at most.
    pub(crate) condemned: Vec<([u8; 32], Reason)>,
    /// Compared inferences, and how many agreed.
    pub(crate) runs: u32,
    pub(crate) agree: u32,
    /// Of the candidate that was compared last.
    pub(crate) agreement: Option<([u8; 32], Agreement)>,
}

/// What is to serve from now on.
pub(crate) struct Roles {
    pub(crate) serving: Option<Arc<Slot>>,
    pub(crate) fallback: Option<Arc<Slot>>,
    pub(crate) shadow: Option<Arc<Slot>>,
    pub(crate) trial: bool,
    pub(crate) watched: bool,
}

impl Core {
    pub(crate) fn new(
        model: &str,
        config: LiveConfig,
        kernels: Kernels,
        at: Option<fn(&str)>,
        outcomes: Option<Outcomes>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            model: model.into(),
            cache: config.cache.map(|config| Mutex::new(Cache::new(config))),
            share: AtomicU64::new(config.shadow.share_bp.min(10_000).into()),
            config,
            kernels,
            at,
            outcomes: Mutex::new(outcomes),
            fallbacks: AtomicU64::new(0),
            state: RwLock::default(),
            shadowing: AtomicBool::new(false),
            sampled: AtomicU64::new(0),
            news: Mutex::default(),
            woken: Condvar::new(),
            this: Weak::clone(this),
        })
    }

    pub(super) fn state(&self) -> std::sync::RwLockReadGuard<'_, State> {
        read(&self.state)
    }

    /// The version with this hash as it is in memory, or a new one.
    pub(crate) fn slot(
        &self,
        sha256: &[u8; 32],
        load: impl FnOnce() -> Option<(VersionInfo, Arc<Model>, Option<u32>, Option<Observer>)>,
    ) -> Option<Arc<Slot>> {
        let known = {
            let state = self.state();
            let shadow = state.shadow.as_ref().map(|shadow| &shadow.candidate);
            let mut all = [state.serving.as_ref(), state.fallback.as_ref(), shadow].into_iter().flatten();
            all.find(|slot| slot.version.sha256 == *sha256).cloned()
        };
        known.or_else(|| {
            let (version, model, budget_us, observer) = load()?;
            Some(Arc::new(Slot::new(version, model, budget_us, observer, self.kernels, &self.config)))
        })
    }

    /// Puts every version into its place. A version that was condemned here does not come back before the agent knows of it.
    pub(crate) fn publish(&self, roles: Roles) {
        let condemned = |slot: &Arc<Slot>| lock(&self.news).condemned.iter().any(|(c, _)| *c == slot.version.sha256);
        if roles.serving.as_ref().is_some_and(condemned) {
            return;
        }
        if let Some(serving) = &roles.serving {
            let mode = match (roles.trial, roles.watched && roles.fallback.is_some()) {
                (true, _) => Mode::Trial,
                (false, true) => Mode::Watched,
                (false, false) => Mode::Settled,
            };
            serving.set_mode(mode);
            serving.open();
        }
        let shadow = roles.shadow.and_then(|candidate| {
            let running = self.state().shadow.as_ref().filter(|s| Arc::ptr_eq(&s.candidate, &candidate)).cloned();
            running.or_else(|| Shadow::start(&self.this.upgrade()?, candidate).map(Arc::new))
        });
        let mut state = write(&self.state);
        let swapped = match (&state.serving, &roles.serving) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            (None, None) => false,
            _ => true,
        };
        let olds = [state.serving.take(), state.fallback.take()];
        let gone = state.shadow.take();
        (state.serving, state.fallback, state.shadow) = (roles.serving, roles.fallback, shadow);
        self.shadowing.store(state.shadow.is_some() && !state.conditions.rest(), Ordering::Relaxed);
        let stays =
            |old: &Arc<Slot>| [&state.serving, &state.fallback].into_iter().flatten().any(|s| Arc::ptr_eq(s, old));
        olds.iter().flatten().filter(|old| !stays(old)).for_each(|old| old.close());
        drop(state);
        drop(gone);
        if swapped {
            self.purge();
        }
    }

    /// The share of the inferences that a rollout asks for.
    pub(crate) fn set_share(&self, share_bp: u16) {
        self.share.store(share_bp.min(10_000).into(), Ordering::Relaxed);
    }

    pub(super) fn set_conditions(&self, conditions: Conditions) {
        let mut state = write(&self.state);
        state.conditions = conditions;
        self.shadowing.store(state.shadow.is_some() && !conditions.rest(), Ordering::Relaxed);
    }

    pub(super) fn set_part(&self, part: Option<Part>) {
        write(&self.state).part = part.map(Arc::new);
    }

    /// The version to ask when `slot` answers badly.
    pub(super) fn other(&self, slot: &Arc<Slot>) -> Option<Arc<Slot>> {
        let state = self.state();
        let serves = state.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, slot));
        if serves { state.fallback.clone() } else { state.serving.clone() }
    }

    /// The shadow, where the next inference of `slot` is to be compared.
    pub(super) fn shadow_for(&self, slot: &Arc<Slot>) -> Option<Arc<Shadow>> {
        if !self.shadowing.load(Ordering::Relaxed) {
            return None;
        }
        let share = self.share.load(Ordering::Relaxed);
        let before = self.sampled.fetch_add(share, Ordering::Relaxed);
        if before / 10_000 == before.wrapping_add(share) / 10_000 {
            return None;
        }
        let shadow = {
            let state = self.state();
            let serves = state.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, slot));
            state.shadow.clone().filter(|_| serves)?
        };
        if shadow.hangs(self.config.shadow.deadline) {
            self.shadow_failed(&shadow.candidate, Reason::SHADOW_HUNG);
            return None;
        }
        (!shadow.rests() && shadow.admits()).then_some(shadow)
    }

    /// Looks whether the shadow hangs, for a time in which nobody calls.
    pub(crate) fn look_after_shadow(&self) {
        let shadow = self.state().shadow.clone();
        if let Some(shadow) = shadow.filter(|shadow| shadow.hangs(self.config.shadow.deadline)) {
            self.shadow_failed(&shadow.candidate, Reason::SHADOW_HUNG);
        }
    }

    pub(super) fn compared(&self, candidate: &Slot, (x, y, agree): (i16, i16, bool)) {
        let mut news = lock(&self.news);
        let sha256 = candidate.version.sha256;
        if news.agreement.is_none_or(|(of, _)| of != sha256) {
            (news.runs, news.agree, news.agreement) = (0, 0, Some((sha256, Agreement::default())));
        }
        if let Some((_, agreement)) = &mut news.agreement {
            agreement.add(x, y, agree);
        }
        news.runs += 1;
        news.agree += u32::from(agree);
        self.woken.notify_all();
    }

    pub(super) fn shadow_failed(&self, candidate: &Slot, reason: Reason) {
        let gone = {
            let mut state = write(&self.state);
            let mine = |shadow: &mut Arc<Shadow>| std::ptr::eq(Arc::as_ptr(&shadow.candidate), candidate);
            self.shadowing.store(false, Ordering::Relaxed);
            state.shadow.take_if(mine)
        };
        if gone.is_some() {
            self.tell(candidate.version.sha256, reason);
        }
    }

    fn tell(&self, sha256: [u8; 32], reason: Reason) {
        let mut news = lock(&self.news);
        news.condemned.retain(|(other, _)| *other != sha256);
        news.condemned.push((sha256, reason));
        drop(news);
        self.woken.notify_all();
    }

    /// An inference of `slot` is over: `fault` is what was wrong with it. `inputs` gives all its inputs, where they are still known.
    pub(super) fn judge(
        &self,
        slot: &Arc<Slot>,
        seen: &Seen,
        fault: Option<Reason>,
        inputs: impl FnOnce() -> Option<Vec<u8>>,
    ) {
        let (mode, gates) = (slot.mode(), &self.config.gates);
        if let Some(reason) = fault {
            let other = self.other(slot).filter(|_| mode != Mode::Settled);
            let blameless = other
                .is_some_and(|other| inputs().is_some_and(|inputs| other.answer(&inputs, &gates.ranges).is_none()));
            if blameless {
                return;
            }
            let too_many = lock(&slot.counts).add_bad(seen.took, gates);
            if mode == Mode::Trial || too_many && mode == Mode::Watched {
                self.condemn(slot, reason);
            }
            return;
        }
        if mode == Mode::Settled {
            lock(&slot.counts).all.record(nanos(seen.took));
            return;
        }
        if mode == Mode::Trial {
            slot.good.fetch_add(1, Ordering::Relaxed);
        }
        let before = self.other(slot);
        let wanted = lock(&slot.counts).wants_input(gates);
        let input = if wanted { inputs() } else { None };
        // Percentiles take a while; they are needed at the end of a window, when the input is, too.
        let history = before.as_ref().filter(|_| wanted).and_then(|before| before.latency());
        let expected = Expected { before: history, budget: slot.budget };
        let suspicion = lock(&slot.counts).add(seen, input, gates, expected);
        let (Some(suspicion), Some(before)) = (suspicion, before) else { return };
        match suspicion {
            Suspicion::Constant(inputs) => {
                if self.tells_apart(&before, &inputs) {
                    self.condemn(slot, Reason::CONSTANT);
                }
            }
            Suspicion::Slower(input) => {
                if self.is_slower(slot, &before, &input) {
                    self.condemn(slot, Reason::SLOWER);
                } else {
                    lock(&slot.counts).was_wrong_about_latency();
                }
            }
        }
    }

    /// Whether `before` gives different answers to these inputs.
    fn tells_apart(&self, before: &Slot, inputs: &[Vec<u8>]) -> bool {
        let Some(tensor) = before.model.engine().outputs().first() else { return false };
        let ranges = &self.config.gates.ranges;
        let mut answers = inputs.iter().filter_map(|input| before.answer(input, ranges));
        let Some(first) = answers.next() else { return false };
        let range = ranges.first().copied().flatten();
        answers.any(|answer| !output::compare((tensor, &first), (tensor, &answer), range).2)
    }

    fn is_slower(&self, slot: &Slot, before: &Slot, input: &[u8]) -> bool {
        let gates = &self.config.gates;
        let Some((new, old)) = slot.race(before, input) else { return false };
        let over_budget = slot.budget.is_some_and(|budget| new > budget && old <= budget);
        let noticeable = new >= Duration::from_micros(gates.slow_from_us.into());
        noticeable && (over_budget || exceeds(new, old, gates.max_slower_percent))
    }

    /// `slot` does not serve any more, and the version before does. The agent makes that durable when it gets to it.
    pub(super) fn condemn(&self, slot: &Arc<Slot>, reason: Reason) {
        {
            let mut state = write(&self.state);
            if !state.serving.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, slot)) {
                return;
            }
            if let Some(fallback) = state.fallback.take() {
                fallback.set_mode(Mode::Settled);
                fallback.open();
                state.serving = Some(fallback);
                slot.close();
            }
            slot.set_mode(Mode::Settled);
        }
        self.tell(slot.version.sha256, reason);
        self.purge();
    }

    /// What happened since the last time, without what was condemned: that stays until it is durable.
    pub(crate) fn take_news(&self) -> News {
        let mut news = lock(&self.news);
        let taken = news.clone();
        (news.runs, news.agree) = (0, 0);
        taken
    }

    /// The verdict is durable.
    pub(crate) fn settled(&self, sha256: &[u8; 32]) {
        lock(&self.news).condemned.retain(|(condemned, _)| condemned != sha256);
    }

    /// Answers that another version gave, in all.
    pub(crate) fn count_fallbacks(&self) -> u64 {
        self.fallbacks.load(Ordering::Relaxed)
    }

    /// Good inferences of the version on trial since the last time.
    pub(crate) fn take_good(&self) -> u32 {
        self.state().serving.as_ref().map_or(0, |slot| slot.good.swap(0, Ordering::Relaxed))
    }

    /// Whether a candidate is in the shadow of this handle.
    pub(crate) fn has_shadow(&self) -> bool {
        self.state().shadow.is_some()
    }

    pub(super) fn agreement(&self) -> Option<([u8; 32], Agreement)> {
        lock(&self.news).agreement
    }

    /// Waits until there is something for the agent to do.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let until = Instant::now().checked_add(timeout);
        let mut news = lock(&self.news);
        loop {
            let left = until.map_or(A_DAY, |until| until.saturating_duration_since(Instant::now()));
            let some = !news.condemned.is_empty() || news.runs > 0;
            if some || left.is_zero() {
                return some;
            }
            news = self.woken.wait_timeout(news, left).map_or_else(|broken| broken.into_inner().0, |(news, _)| news);
        }
    }

    /// Makes predictions and outcomes durable.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        lock(&self.outcomes).as_ref().map_or(Ok(()), Outcomes::flush)
    }

    fn purge(&self) {
        if let Some(cache) = &self.cache {
            lock(cache).purge();
        }
    }
}

/// A wait without an end looks around so often.
const A_DAY: Duration = Duration::from_secs(86_400);
