//! What changes in the record, and which offers it lets in. Plain functions: no clock, no phase.

use fleetfoot_format::record::{Held, MAX_KEPT, Reason, Record, Rejected, Version};

use crate::event::NotTaken;

/// Whether `offer` may become the candidate.
pub(crate) fn may_take(record: &Record, offer: &Version) -> Result<(), NotTaken> {
    if let Some(reason) = record.rejection(&offer.sha256, offer.attempt) {
        return Err(NotTaken::Rejected(reason));
    }
    if offer.epoch < record.epoch_floor {
        return Err(NotTaken::BelowEpochFloor { floor: record.epoch_floor });
    }
    if let Some(active) = record.active()
        && offer.number <= active.number
    {
        return Err(NotTaken::NotNewer { active: active.number });
    }
    match record.held {
        Some(Held { number, attempt }) if offer.number <= number && offer.attempt <= attempt => {
            Err(NotTaken::Held { number })
        }
        _ => Ok(()),
    }
}

/// `version` becomes active; at most `rest` versions stay.
pub(crate) fn commit(record: &mut Record, version: Version, rest: usize) {
    let before = record.active.filter(|sha256| *sha256 != version.sha256);
    record.kept.retain(|v| v.sha256 != version.sha256);
    record.active = before;
    make_room(record, rest.clamp(1, MAX_KEPT) - 1);
    record.last_good = before.filter(|sha256| record.kept(sha256).is_some());
    // There is room: `make_room` left at most MAX_KEPT - 1.
    let _ = record.kept.insert(0, version);
    record.active = Some(version.sha256);
    record.epoch_floor = record.epoch_floor.max(version.epoch);
    release_hold(record, &version);
}

/// Forgets the oldest kept versions until at most `room` are left; the active one never, the last good one last.
pub(crate) fn make_room(record: &mut Record, room: usize) {
    while record.kept.len() > room {
        let (active, last_good) = (record.active, record.last_good);
        let oldest = |spared: &[Option<[u8; 32]>]| record.kept.iter().rposition(|v| !spared.contains(&Some(v.sha256)));
        let Some(index) = oldest(&[active, last_good]).or_else(|| oldest(&[active])) else { return };
        let gone = record.kept.remove(index);
        record.last_good = last_good.filter(|sha256| *sha256 != gone.sha256);
    }
}

/// Remembers that `version` is not tried again under its attempt: one entry for each bundle, and where the list is full the oldest
/// leaves. A driver that looks at fewer than [`MAX_REJECTED`](fleetfoot_format::record::MAX_REJECTED) releases never meets a forgotten one.
pub(crate) fn reject(record: &mut Record, version: &Version, reason: Reason) {
    let Version { sha256, attempt, .. } = *version;
    record.rejected.retain(|r| r.sha256 != sha256);
    if record.rejected.is_full() {
        record.rejected.remove(0);
    }
    let _ = record.rejected.push(Rejected { sha256, attempt, reason });
}

/// `target` becomes active, whatever was held against it. What is left is rejected. Where a person did it (`hold`), everything above the
/// target, tried or not, is held back until a higher attempt is offered; a rollout says itself what comes next.
pub(crate) fn rollback(
    record: &mut Record,
    to: Option<[u8; 32]>,
    target: &Version,
    candidate: Option<Version>,
    hold: bool,
) {
    let active = record.active().copied();
    for left in [active, candidate].into_iter().flatten().filter(|v| v.sha256 != target.sha256) {
        if left.number <= target.number {
            continue;
        }
        reject(record, &left, Reason::ROLLED_BACK);
        if !hold {
            continue;
        }
        let held = record.held.get_or_insert(Held { number: 0, attempt: 0 });
        held.attempt = held.attempt.max(left.attempt);
        held.number = held.number.max(left.number);
    }
    record.rejected.retain(|r| r.sha256 != target.sha256);
    record.active = to;
    record.last_good = record.last_good.filter(|sha256| Some(*sha256) != to);
    release_hold(record, target);
}

/// What takes over when the active version is condemned: the last good one, else the latest kept one that was not rejected, else
/// the factory version.
pub(crate) fn next_best(record: &Record) -> Option<Version> {
    let active = record.active?;
    let other = |v: &&Version| v.sha256 != active && record.rejection(&v.sha256, v.attempt).is_none();
    let last_good = record.last_good.and_then(|sha256| record.kept(&sha256)).filter(|v| v.sha256 != active);
    let factory = record.factory.as_ref().filter(|v| v.sha256 != active);
    last_good.or_else(|| record.kept.iter().find(other)).or(factory).copied()
}

/// The active version goes and the next best one takes over; where there is none nothing changes. Returns what went.
pub(crate) fn condemn(record: &mut Record, reason: Reason) -> Option<Version> {
    let next = next_best(record)?;
    let gone = *record.kept(&record.active?)?;
    reject(record, &gone, reason);
    record.active = record.kept(&next.sha256).map(|v| v.sha256);
    record.last_good = None;
    Some(gone)
}

/// A stored bundle is gone. If it was active, the last good one takes over, else the latest kept one that was not rejected, else the
/// factory version, else whatever is left.
pub(crate) fn forget(record: &mut Record, sha256: &[u8; 32]) {
    record.kept.retain(|v| v.sha256 != *sha256);
    record.factory = record.factory.filter(|v| v.sha256 != *sha256);
    record.last_good = record.last_good.filter(|last| last != sha256);
    if record.active == Some(*sha256) {
        let unblamed = record.kept.iter().find(|v| record.rejection(&v.sha256, v.attempt).is_none()).map(|v| v.sha256);
        let left = record.kept.first().map(|v| v.sha256).filter(|_| record.factory.is_none());
        record.active = record.last_good.take().or(unblamed).or(left);
    }
}

fn release_hold(record: &mut Record, version: &Version) {
    record.held = record.held.filter(|held| version.number < held.number);
}
