//! When an update may work: what the application knows of network, power and time of day, and the policy that is held against it.
//!
//! | work | needs, where the policy says so |
//! |---|---|
//! | fetching a bundle | an unmetered network, at most so many bytes, the quiet hours |
//! | validating it and letting it serve | power, the quiet hours, and for a fresh bundle its turn ([`Jitter::apply_s`]) |
//!
//! Nothing of it delays a refresh of metadata, a rollback or a fallback. What waits is [`Outcome::Deferred`](crate::agent::Outcome) with a
//! reason of 480 to 484, and costs no attempt; the first poll after its time takes it up.
//!
//! Devices must not all come at once: not when the clock of a window strikes, and not when a rollout opens. [`Jitter`] spreads them,
//! always the same for the same device, rollout and day, so that a test, and a person who asks why, can compute it.

use fleetfoot_format::record::{Reason, Version};
use fleetfoot_trust::Sha256;
use fleetfoot_update::directive::Network;

/// What the application knows. `None`: the question has no answer on this device (no battery, no notion of a metered network), and holds
/// nothing up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Situation {
    /// The network costs nothing by the byte.
    pub unmetered: Option<bool>,
    /// The device is being charged, or has mains.
    pub charging: Option<bool>,
    /// Minutes since midnight where the device is, 0 to 1439.
    pub local_minute: Option<u16>,
}

/// Asked before each piece of work.
pub trait Conditions: Send + Sync {
    /// How things are now. `now` is seconds since 1970, as the poll was given it.
    fn situation(&self, now: i64) -> Situation;
}

impl<F: Fn(i64) -> Situation + Send + Sync> Conditions for F {
    fn situation(&self, now: i64) -> Situation {
        self(now)
    }
}

/// Quiet hours in local time; one that ends before it begins goes over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: u16,
    to: u16,
}

impl Window {
    /// From `"01:00-05:00"`. `None` for anything else, and for hours that are none at all (`"01:00-01:00"`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let minute = |text: &str| {
            let [h1, h2, b':', m1, m2] = *text.as_bytes() else { return None };
            let digits = [h1, h2, m1, m2];
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let [h1, h2, m1, m2] = digits.map(|digit| u16::from(digit - b'0'));
            let (hour, minute) = (h1 * 10 + h2, m1 * 10 + m2);
            (hour < 24 && minute < 60).then_some(hour * 60 + minute)
        };
        let (from, to) = text.split_once('-')?;
        let (from, to) = (minute(from)?, minute(to)?);
        (from != to).then_some(Self { from, to })
    }

    /// From one minute of the local day to another; `None` where there is no such minute, and for hours that are none at all.
    #[must_use]
    pub const fn between(from: u16, to: u16) -> Option<Self> {
        if from < DAY_MIN && to < DAY_MIN && from != to { Some(Self { from, to }) } else { None }
    }

    /// Whether a minute of the local day is in it; its first minute is, the one it ends with is not.
    #[must_use]
    pub const fn contains(self, minute: u16) -> bool {
        if self.from < self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }

    /// Minutes from the first to the last.
    #[must_use]
    pub const fn minutes(self) -> u16 {
        (self.to + DAY_MIN - self.from) % DAY_MIN
    }

    /// Minutes from `minute` until it begins.
    const fn until(self, minute: u16) -> u16 {
        (self.from + DAY_MIN - minute % DAY_MIN) % DAY_MIN
    }
}

/// What an update needs. The default needs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdatePolicy {
    /// Fetch only where the network costs nothing by the byte.
    pub unmetered: bool,
    /// Validate and start only while charging.
    pub charging: bool,
    /// Work only in these hours.
    pub window: Option<Window>,
    /// The longest bundle that is fetched.
    pub max_bytes: Option<u64>,
    /// A fresh bundle waits for up to so many seconds, each device for as long as [`Jitter::apply_s`] says.
    pub apply_jitter_s: u32,
}

/// How often an application asks for news. See [`Agent::next_poll`](crate::Agent::next_poll).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollPolicy {
    /// Seconds between two polls. Default 4 hours.
    pub every_s: u32,
    /// Seconds between two polls while a rollout is active. Default 15 minutes.
    pub active_s: u32,
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self { every_s: 4 * 3600, active_s: 900 }
    }
}

impl PollPolicy {
    /// This policy with what a rollout says: between a minute and a day, and while it is active from 15 seconds on. So nobody who has
    /// the online key alone can keep a device from hearing that a version is taken back, or make a fleet ask without end.
    #[must_use]
    pub fn with(self, network: &Network) -> Self {
        let within = |said: Option<u32>, own, least| said.map_or(own, |s| s.clamp(least, MOST_POLL_S));
        Self {
            every_s: within(network.poll_s, self.every_s, LEAST_POLL_S),
            active_s: within(network.poll_active_s, self.active_s, LEAST_POLL_ACTIVE_S),
        }
    }
}

/// A piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Fetching a bundle.
    Fetch,
    /// Validating a bundle and letting it serve.
    Apply {
        /// It was fetched in this poll.
        fresh: bool,
    },
}

impl UpdatePolicy {
    /// This policy with what a rollout says. It chooses hours, and a spread of up to a day. It may keep devices off metered
    /// networks; it cannot send one there that keeps away: what a network costs is the user's affair.
    #[must_use]
    pub fn with(self, network: &Network) -> Self {
        let window = network.window.and_then(|(from, to)| Window::between(from, to));
        Self {
            unmetered: self.unmetered || network.metered == Some(false),
            window: window.or(self.window),
            apply_jitter_s: network.apply_jitter_s.map_or(self.apply_jitter_s, |s| s.min(MOST_APPLY_JITTER_S)),
            ..self
        }
    }

    /// Whether `work` on `version` may be done now: `None`, or why not, and when to look again.
    #[must_use]
    pub fn hold(
        &self,
        work: Work,
        version: &Version,
        situation: Situation,
        jitter: &Jitter,
        now: i64,
    ) -> Option<(Reason, i64)> {
        let fetches = work == Work::Fetch;
        // Spread over as long again, so that devices that were held up by one thing do not come back as one.
        let soon = || now.saturating_add(RECHECK_S + i64::from(jitter.spread(b"recheck", now, RECHECK_S as u32)));
        if fetches && self.max_bytes.is_some_and(|most| version.len > most) {
            return Some((Reason::TOO_LARGE, now.saturating_add(DAY_S)));
        }
        if fetches && self.unmetered && situation.unmetered == Some(false) {
            return Some((Reason::METERED, soon()));
        }
        if !fetches && self.charging && situation.charging == Some(false) {
            return Some((Reason::NOT_CHARGING, soon()));
        }
        if let (Some(window), Some(minute)) = (self.window, situation.local_minute)
            && !window.contains(minute)
        {
            let begins = now.saturating_add(i64::from(window.until(minute)) * 60);
            // The first half of it is for beginning, so that work which was begun has the second to end in.
            let within = jitter.spread(b"window", begins, u32::from(window.minutes()) * 30);
            return Some((Reason::OUTSIDE_WINDOW, begins.saturating_add(i64::from(within))));
        }
        if work == (Work::Apply { fresh: true }) && self.apply_jitter_s > 0 {
            let wait = jitter.apply_s(&version.sha256, self.apply_jitter_s);
            return (wait > 0).then(|| (Reason::NOT_ITS_TURN, now.saturating_add(i64::from(wait))));
        }
        None
    }
}

/// Spreads devices in time: pseudo-random, and the same whenever it is asked for.
#[derive(Clone)]
pub struct Jitter {
    device_key: [u8; 16],
}

impl Jitter {
    /// From the key of the device, which stays on it.
    #[must_use]
    pub const fn new(device_key: [u8; 16]) -> Self {
        Self { device_key }
    }

    /// The first poll after `now`, of one for each period of `poll_s` seconds: the device's own moment of each period, a new one each time. Over
    /// many devices the load is the same in every second.
    #[must_use]
    pub fn next_poll(&self, now: i64, poll_s: u32) -> i64 {
        let period = i64::from(poll_s.max(1));
        let at =
            |n: i64| n.saturating_mul(period).saturating_add(i64::from(self.draw(b"poll", &n.to_be_bytes(), poll_s)));
        let n = now.div_euclid(period);
        if at(n) > now { at(n) } else { at(n.saturating_add(1)) }
    }

    /// Seconds, below `most_s`, that this device waits with the version `sha256` after it has fetched it.
    #[must_use]
    pub fn apply_s(&self, sha256: &[u8; 32], most_s: u32) -> u32 {
        self.draw(b"apply", sha256, most_s)
    }

    /// Seconds, below `most_s`, that this device waits with a report when its part is over.
    #[must_use]
    pub fn report_s(&self, day: u32, part: u8, most_s: u32) -> u32 {
        let [a, b, c, d] = day.to_be_bytes();
        self.draw(b"report", &[a, b, c, d, part], most_s)
    }

    /// A number below `below` for this device and the day of `now`.
    fn spread(&self, what: &[u8], now: i64, below: u32) -> u32 {
        self.draw(what, &now.div_euclid(DAY_S).to_be_bytes(), below)
    }

    fn draw(&self, what: &[u8], about: &[u8], below: u32) -> u32 {
        let mut hash = Sha256::new();
        hash.update(b"ff-jitter-v1\0");
        hash.update(what);
        hash.update(b"\0");
        hash.update(about);
        hash.update(&self.device_key);
        let [a, b, c, d, e, f, g, h, ..] = hash.finish();
        (u64::from_be_bytes([a, b, c, d, e, f, g, h]) % u64::from(below.max(1))) as u32
    }
}

/// Not the key.
impl std::fmt::Debug for Jitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Jitter")
    }
}

const DAY_MIN: u16 = 24 * 60;
const DAY_S: i64 = 86_400;
/// What a rollout may say, seconds.
const MOST_POLL_S: u32 = 86_400;
const LEAST_POLL_S: u32 = 60;
const LEAST_POLL_ACTIVE_S: u32 = 15;
const MOST_APPLY_JITTER_S: u32 = 86_400;
/// Until power and network are asked for again.
const RECHECK_S: i64 = 900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        for (text, minutes) in [("01:00-05:00", 240), ("23:30-00:30", 60), ("00:00-23:59", 1439), ("12:01-12:00", 1439)]
        {
            let window = Window::parse(text).unwrap();
            assert_eq!(window.minutes(), minutes, "{text}");
            let inside = (0..DAY_MIN).filter(|&minute| window.contains(minute)).count();
            assert_eq!(inside, usize::from(minutes), "{text}");
            for minute in 0..DAY_MIN {
                let begins = (minute + window.until(minute)) % DAY_MIN;
                assert!(window.contains(begins) && !window.contains((begins + DAY_MIN - 1) % DAY_MIN));
            }
        }
        for bad in [
            "",
            "-",
            "1:00-5:00",
            "24:00-05:00",
            "01:60-05:00",
            "01:00",
            "01:00-01:00",
            "01:00-05:00 ",
            "+1:00-05:00",
            "ü1:0-05:00",
        ] {
            assert_eq!(Window::parse(bad), None, "{bad:?}");
        }
    }

    fn device(i: u32) -> Jitter {
        let mut key = [9; 16];
        key[..4].copy_from_slice(&i.to_be_bytes());
        Jitter::new(key)
    }

    /// Chi-square over 20 bins: 43.8 is exceeded once in a thousand; the draws are fixed, so this holds or it does not.
    #[track_caller]
    fn uniform(values: impl Iterator<Item = u32>, below: u32) {
        let mut bins = [0u32; 20];
        let mut n = 0;
        for value in values {
            assert!(value < below);
            bins[(u64::from(value) * 20 / u64::from(below)) as usize] += 1;
            n += 1;
        }
        let expected = f64::from(n) / 20.0;
        let chi: f64 = bins.iter().map(|&b| (f64::from(b) - expected).powi(2) / expected).sum();
        assert!(chi < 43.8, "chi-square {chi}: {bins:?}");
    }

    #[test]
    fn the_spread_is_uniform_and_always_the_same() {
        uniform((0..20_000).map(|i| device(i).apply_s(&[3; 32], 7200)), 7200);
        uniform((0..20_000).map(|i| device(i).next_poll(70 * 14_400 - 1, 14_400).rem_euclid(14_400) as u32), 14_400);
        uniform((0..20_000u32).map(|i| device(1).draw(b"poll", &i.to_be_bytes(), 900)), 900);
        assert_eq!(device(5).apply_s(&[3; 32], 7200), device(5).apply_s(&[3; 32], 7200));
        assert_ne!(device(5).apply_s(&[3; 32], 7200), device(5).apply_s(&[4; 32], 7200));
        assert_eq!(device(5).apply_s(&[3; 32], 0), 0);
    }

    #[test]
    fn polls_come_once_in_each_period() {
        for i in 0..50 {
            let (mut now, mut last) = (i64::from(i) * 1000, i64::MIN);
            for _ in 0..200 {
                let next = device(i).next_poll(now, 900);
                assert!(next > now && next - now < 1800);
                assert!(next.div_euclid(900) > last || last == i64::MIN);
                (last, now) = (next.div_euclid(900), next);
            }
        }
    }

    /// A thousand days of devices that poll as they are told to: whatever is begun is begun when it may be, and nothing waits for ever.
    #[test]
    fn a_thousand_device_days_without_a_violation() {
        let policy = UpdatePolicy {
            unmetered: true,
            charging: true,
            window: Window::parse("01:00-05:00"),
            max_bytes: Some(1 << 20),
            apply_jitter_s: 3600,
        };
        let (mut applied, mut violations, mut minutes) = (0, 0, Vec::new());
        for i in 0..200u32 {
            let jitter = device(i);
            let zone = i64::from(i % 24) * 3600;
            let situation = |now: i64| {
                let local = (now + zone).rem_euclid(DAY_S) / 60;
                // At home from 20 to 8, on the charger from 23 to 7, but on some nights.
                let away = device(i).spread(b"away", now + zone, 5) == 0;
                Situation {
                    unmetered: Some(!(480..1200).contains(&local) && !away),
                    charging: Some(!(420..1380).contains(&local) && !away),
                    local_minute: Some(local as u16),
                }
            };
            for week in 0..1 {
                let version = Version { sha256: [week; 32], number: 1, len: 1000, attempt: 1, epoch: 0 };
                let (mut now, mut fetched, mut done, mut waits) = (0, false, false, 0);
                while now < 5 * DAY_S && !done {
                    let here = situation(now);
                    let in_window = policy.window.unwrap().contains(here.local_minute.unwrap());
                    let held = if !fetched {
                        let held = policy.hold(Work::Fetch, &version, here, &jitter, now);
                        if held.is_none() {
                            violations += u32::from(here.unmetered == Some(false) || !in_window);
                            fetched = true;
                            policy.hold(Work::Apply { fresh: true }, &version, here, &jitter, now)
                        } else {
                            held
                        }
                    } else {
                        policy.hold(Work::Apply { fresh: false }, &version, here, &jitter, now)
                    };
                    match held {
                        None => {
                            violations += u32::from(here.charging == Some(false) || !in_window);
                            done = true;
                            minutes.push(u32::from(here.local_minute.unwrap()));
                        }
                        Some((_, retry_at)) => {
                            assert!(retry_at > now && retry_at <= now + DAY_S + 7200, "{now}: {retry_at}");
                            waits += 1;
                            now = retry_at;
                        }
                    }
                }
                assert!(done && waits > 0, "device {i} got its update within five days");
                applied += 1;
            }
            let large = Version { sha256: [1; 32], number: 1, len: (1 << 20) + 1, attempt: 1, epoch: 0 };
            let held = policy.hold(Work::Fetch, &large, situation(0), &jitter, 0);
            assert_eq!(held.map(|(reason, _)| reason), Some(Reason::TOO_LARGE));
        }
        assert_eq!((applied, violations), (200, 0), "200 devices, five days each");
        let busiest =
            (60..300).step_by(10).map(|from| minutes.iter().filter(|m| (from..from + 10).contains(*m)).count());
        assert!(busiest.max() < Some(40), "they do not come at once");
    }

    #[test]
    fn a_rollout_says_so_much_and_no_more() {
        let own = UpdatePolicy { window: Window::parse("01:00-05:00"), apply_jitter_s: 60, ..Default::default() };
        assert_eq!(own.with(&Network::default()), own);
        let said = Network {
            metered: Some(false),
            window: Some((120, 180)),
            apply_jitter_s: Some(u32::MAX),
            ..Network::default()
        };
        let both = own.with(&said);
        assert_eq!((both.unmetered, both.window), (true, Window::parse("02:00-03:00")));
        assert_eq!(both.apply_jitter_s, 86_400);
        let careful = UpdatePolicy { unmetered: true, ..own };
        assert!(careful.with(&Network { metered: Some(true), ..Network::default() }).unmetered);
        for none in [(60, 60), (0, 1440), (1440, 60)] {
            assert_eq!(own.with(&Network { window: Some(none), ..Network::default() }).window, own.window);
        }
        let polls = |poll_s, poll_active_s| {
            let said = Network { poll_s, poll_active_s, ..Network::default() };
            let PollPolicy { every_s, active_s } = PollPolicy::default().with(&said);
            (every_s, active_s)
        };
        assert_eq!(polls(None, None), (14_400, 900));
        assert_eq!(polls(Some(3600), Some(300)), (3600, 300));
        assert_eq!(polls(Some(0), Some(0)), (60, 15));
        assert_eq!(polls(Some(u32::MAX), Some(u32::MAX)), (86_400, 86_400));
    }

    #[test]
    fn what_has_no_answer_holds_nothing_up() {
        let policy = UpdatePolicy {
            unmetered: true,
            charging: true,
            window: Window::parse("01:00-05:00"),
            ..Default::default()
        };
        let version = Version { sha256: [1; 32], number: 1, len: 1000, attempt: 1, epoch: 0 };
        for work in [Work::Fetch, Work::Apply { fresh: true }, Work::Apply { fresh: false }] {
            assert_eq!(policy.hold(work, &version, Situation::default(), &device(1), 0), None);
        }
    }
}
