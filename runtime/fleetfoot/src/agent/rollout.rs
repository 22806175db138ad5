//! The rollout half of a poll: what the directive says, held against the envelopes of the releases, for this device.
//!
//! ```text
//! targets delegate no rollout role     the releases alone decide, within their envelopes
//! a directive                          its candidate and its baseline, if their envelopes allow them to this device now
//! a role without a usable directive    nothing new
//! ```
//! Facts, key and bucket stay in here; only the [`Assignment`] comes out.

use fleetfoot_format::record::{Arm, Enrolment, Phase, Reason, Version};
use fleetfoot_tuf::{
    Client, Stored, TufError,
    json::{self, Value},
    limits::MAX_DIRECTIVE_LEN,
    rollout,
};
use fleetfoot_update::{
    Config, Decision, Directive, Envelope, Event as Input, NotTaken, ShadowGate, Stage, Why,
    cohort::{enrolled, rollout_key},
    decide,
    directive::{Device, Named, Shadow},
    envelope::side,
};

use super::{
    Agent, Assignment, Event, LOOKED_AT, Outcome,
    fetch::{Announced, Announcements, Source},
};
use crate::{error::Error, live::Part, transport::Request, validate::RUNTIME};

/// What the role `rollout-<model>` says.
#[derive(Clone, Debug)]
pub(super) enum Said {
    /// Nobody delegates to such a role: the releases alone decide.
    NoRole,
    /// The role is there, and says nothing that this device can use.
    Nothing,
    /// A directive, as it was read.
    Directive(Value),
}

/// What a poll may offer to the machine.
pub(super) struct Choice {
    /// In the order in which they are offered.
    pub(super) offers: Vec<Announced>,
    /// The newest release that may not be taken.
    pub(super) refused: Option<(u64, NotTaken)>,
    /// The candidate that runs beside the version that serves and is not to be tried.
    pub(super) shadow: Option<Version>,
}

impl Agent {
    /// Reads what the rollout role says, after the releases are verified.
    pub(super) fn said(&mut self, client: &mut Client, stored: &Stored, source: Source) -> Result<Said, Error> {
        let model = self.config.model.clone();
        let role = rollout::role(&model);
        let targets = client.version_of("targets").unwrap_or(0);
        if !client.delegates(&role) {
            // Only targets that were signed later, by keys that are offline, take the role away again.
            let taken_away = targets > self.machine.record().rollout_role;
            return Ok(if taken_away { Said::NoRole } else { Said::Nothing });
        }
        if source == Source::Repository {
            self.step(Input::RolloutRole { targets })?;
        }
        let path = rollout::path(&model);
        client.find(&path);
        match self.drive(client, stored, source) {
            // Nothing was signed by it yet.
            Err(Error::Tuf(TufError::NoSuchRole { .. })) => return Ok(Said::Nothing),
            done => done?,
        }
        let Some(target) = client.found().cloned() else { return Ok(Said::Nothing) };
        if target.length > MAX_DIRECTIVE_LEN {
            self.emit(&Event::Skipped { path, what: "length" });
            return Ok(Said::Nothing);
        }
        let name = format!("{role}{DIRECTIVE}");
        let is_it = |bytes: &[u8]| fleetfoot_trust::sha256(bytes) == target.sha256;
        let bytes = match stored.get(&name).filter(|bytes| is_it(bytes)) {
            Some(bytes) => bytes.clone(),
            None if source == Source::Store => return Ok(Said::Nothing),
            None => {
                let url = format!("targets/{}", client.url_path(&target));
                let request = Request { path: &url, offset: 0, max_len: target.length, etag: None };
                let mut bytes = Vec::new();
                let fetched = self.config.transport.fetch(&request, &mut |chunk| {
                    bytes.extend_from_slice(chunk);
                    Ok(())
                })?;
                if !matches!(fetched, crate::transport::Fetched::Body { .. }) {
                    return Err(Error::Missing { path: url });
                }
                if !is_it(&bytes) {
                    return Err(TufError::WrongHash { role: path }.into());
                }
                self.store.put_metadata(&name, &bytes)?;
                bytes
            }
        };
        let document = json::parse(&bytes).unwrap_or_default();
        let fault = rollout::directive(&document, &model).err();
        Ok(match fault {
            None => Said::Directive(document),
            Some(what) => {
                self.emit(&Event::Skipped { path, what });
                Said::Nothing
            }
        })
    }

    /// What of the releases may be offered to the machine, in which order; and the part of this device in the rollout.
    pub(super) fn judge(&mut self, announcements: &Announcements, source: Source) -> Choice {
        let offers = &announcements.offers;
        let mut choice = Choice { offers: Vec::new(), refused: None, shadow: None };
        let Said::Directive(document) = &announcements.said else {
            self.configure(self.config.limits, None, matches!(announcements.said, Said::NoRole));
            self.assign(None);
            let candidate = self.machine.record().candidate.map(|candidate| candidate.version);
            // Of more than these the record may have forgotten that they failed.
            let looked_at = |at: usize, offer: &Announced| at < LOOKED_AT || candidate == Some(offer.version);
            for (_, offer) in offers.iter().enumerate().filter(|(at, offer)| looked_at(*at, offer)) {
                let why = match announcements.said {
                    Said::NoRole => self.why_not(offer, None),
                    _ if self.is_on_trial(&offer.version) => None,
                    _ => Some(Why::NoDirective),
                };
                choice.take(offer.clone(), why);
            }
            return choice;
        };
        // It was read before; one that cannot be read again says nothing.
        let Ok(directive) = rollout::directive(document, &self.config.model) else { return choice };
        let limits = directive.device.over(self.config.limits);
        let named = |named: Named| {
            let offer = offers.iter().find(|offer| is_named(&offer.version, named))?;
            let mut offer = offer.clone();
            offer.version.attempt = named.attempt;
            Some(offer)
        };
        let (candidate, baseline) = (named(directive.candidate), directive.baseline.and_then(named));
        let decision = candidate.as_ref().map(|candidate| self.decision(candidate, Some(&directive)));
        let shadow = (directive.exposure.stage == Stage::Shadow).then_some(directive.shadow);
        self.configure(limits, shadow, decision == Some(Decision::Install));
        self.take_part(&directive, candidate.as_ref(), decision, source);
        if let (Some(Decision::Shadow), Some(candidate)) = (decision, &candidate) {
            choice.shadow = Some(candidate.version);
        }
        // In a comparison the candidate comes after the baseline, which is what a device goes back to.
        let candidate_first = directive.exposure.stage == Stage::Full;
        let mut both: Vec<(Announced, Option<Why>)> = Vec::new();
        both.extend(candidate.map(|candidate| (candidate, why(decision))));
        both.extend(baseline.map(|baseline| {
            let why = why(Some(self.decision(&baseline, Some(&directive))));
            (baseline, why)
        }));
        if !candidate_first {
            both.reverse();
        }
        for (offer, why) in both {
            choice.take(offer, why);
        }
        choice
    }

    /// Goes back where the directive says so; what came of it.
    pub(super) fn take_back(&mut self, said: &Said) -> Result<Option<Outcome>, Error> {
        let Said::Directive(document) = said else { return Ok(None) };
        let Ok(directive) = rollout::directive(document, &self.config.model) else { return Ok(None) };
        let record = self.machine.record();
        if directive.takes_back(record) {
            let Some(target) = directive.goes_back_to(record).copied() else {
                let active = record.active().map(|version| version.number).unwrap_or_default();
                self.emit(&Event::Failed(format!(
                    "version {active} is taken back, and nothing older is here to serve"
                )));
                return Ok(None);
            };
            let to = record.kept(&target.sha256).map(|version| version.sha256);
            self.step(Input::Rollback { to, remote: true })?;
            self.settle()?;
            let version = self.describe(&target);
            self.emit(&Event::RolledBack(version.clone()));
            self.tidy();
            return Ok(Some(Outcome::RolledBack(version)));
        }
        let aborted = directive.exposure.stage == Stage::Abort;
        if aborted && record.candidate.is_some_and(|c| c.version.sha256 == directive.candidate.sha256) {
            let action = self.step(Input::Refuse(Reason::ROLLED_BACK))?;
            return self.carry(action, None);
        }
        Ok(None)
    }

    /// The side of this device, remembered where it is to last.
    fn take_part(
        &mut self,
        directive: &Directive<'_>,
        candidate: Option<&Announced>,
        decision: Option<Decision>,
        source: Source,
    ) {
        let custom = candidate.map_or(&Value::Null, |candidate| &candidate.custom);
        let envelope = rollout::envelope(custom).unwrap_or_else(|_| Envelope::everybody());
        let before = enrolled(self.machine.record(), directive.rollout);
        let may_have = matches!(decision, Some(Decision::Install | Decision::Shadow));
        let arm = match side(directive, &envelope, &self.device(&self.facts()), self.machine.record()) {
            // The online key alone makes nobody a part of it: the envelope has to allow it too.
            Arm::Treatment if !may_have && before != Some(Arm::Treatment) => before.unwrap_or(Arm::Outside),
            _ if candidate.is_none() => before.unwrap_or(Arm::Outside),
            arm => arm,
        };
        let lasts = matches!(directive.exposure.stage, Stage::Canary | Stage::Ab | Stage::Full);
        if lasts && source == Source::Repository {
            let enrolment = Enrolment { rollout: rollout_key(directive.rollout), arm };
            if let Err(error) = self.step(Input::Enrol(enrolment)) {
                self.emit(&Event::Failed(error.to_string()));
            }
        }
        self.assign(Some(Assignment {
            rollout: directive.rollout.into(),
            exposure: directive.exposure,
            arm,
            candidate: directive.candidate,
            baseline: directive.baseline,
            shadow: directive.shadow,
            network: directive.network,
            salt: envelope.salt.into(),
        }));
    }

    /// Limits from now on. In the stage shadow a candidate is compared as the directive says and stays there; it leaves the shadow only where it
    /// `may_leave`, and whoever says nothing does not let it out.
    fn configure(&mut self, limits: Config, shadow: Option<Shadow>, may_leave: bool) {
        let before = self.machine.shadow_asked();
        let in_shadow = self.machine.record().candidate.is_some_and(|c| matches!(c.phase, Phase::Shadow { .. }));
        self.machine.configure(limits);
        if let Some(Shadow { share_bp, agreement_bp, min_compared }) = shadow {
            self.live.set_share(share_bp);
            let gate = ShadowGate { min_runs: min_compared, bake_s: 0, agreement_bp, stays: true };
            self.machine.set_shadow(Some(gate));
        } else if in_shadow && !may_leave {
            self.machine.set_shadow(before);
        }
    }

    fn assign(&mut self, assignment: Option<Assignment>) {
        if self.assignment == assignment {
            return;
        }
        self.assignment.clone_from(&assignment);
        // In the shadow it is the baseline that answers: such an answer is one of neither side.
        let arm = |a: &Assignment| match a.arm {
            Arm::Treatment if a.stage() == Stage::Shadow => Arm::Outside,
            arm => arm,
        };
        let part = assignment.as_ref().map(|a| Part { rollout: a.rollout.clone(), arm: arm(a) });
        self.live().set_part(part);
        // What was counted until now is about the part before.
        self.tend_reports(true);
        if let Some(assignment) = assignment {
            self.emit(&Event::Assigned(assignment));
        }
    }

    fn why_not(&self, offer: &Announced, directive: Option<&Directive<'_>>) -> Option<Why> {
        why(Some(self.decision(offer, directive)))
    }

    fn decision(&self, offer: &Announced, directive: Option<&Directive<'_>>) -> Decision {
        let facts = self.facts();
        // An announcement whose envelope cannot be read was passed over.
        let Ok(envelope) = rollout::envelope(&offer.custom) else { return Decision::Stay(Why::NotNamed) };
        let (device, record) = (self.device(&facts), self.machine.record());
        decide(&offer.version, &envelope, directive, &device, self.now, record)
    }

    fn facts(&self) -> Vec<(&str, &str)> {
        self.config.facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn device<'a>(&'a self, facts: &'a [(&'a str, &'a str)]) -> Device<'a> {
        Device { key: self.device_key.as_ref(), runtime: RUNTIME, facts }
    }

    fn is_on_trial(&self, version: &Version) -> bool {
        let candidate = self.machine.record().candidate;
        candidate.is_some_and(|c| c.version == *version && matches!(c.phase, Phase::Trial { .. }))
    }

    /// Finds out again, from the store alone, which part this device has in a rollout. Nothing is decided upon it.
    pub(super) fn recall(&mut self) {
        if let Ok(announcements) = self.read(Source::Store) {
            self.judge(&announcements, Source::Store);
        }
    }

    /// Whether the candidate is ready and nobody knows yet what the rollout says of it: its trial begins when that is known.
    pub(super) fn waits_for_word(&self) -> bool {
        let waits = |phase| matches!(phase, Phase::Validated | Phase::Shadow { .. });
        let ready =
            self.machine.in_shadow().is_none() && self.machine.record().candidate.is_some_and(|c| waits(c.phase));
        self.only_shadows() || ready && self.assignment.is_none() && self.machine.record().rollout_role > 0
    }

    /// Whether the candidate is ready for nothing but the shadow, and nothing serves that it could be the shadow of.
    pub(super) fn only_shadows(&self) -> bool {
        let candidate = self.machine.record().candidate.filter(|c| c.phase == Phase::Validated);
        let assignment = self.assignment.as_ref().filter(|assignment| assignment.stage() == Stage::Shadow);
        let alone = self.machine.record().active().is_none();
        alone && candidate.zip(assignment).is_some_and(|(c, assignment)| is_named(&c.version, assignment.candidate))
    }
}

impl Choice {
    fn take(&mut self, offer: Announced, why: Option<Why>) {
        match why {
            None => self.offers.push(offer),
            Some(why) => {
                // What the machine knows too it says in its own words.
                let why = match why {
                    Why::Quarantined { reason } => NotTaken::Rejected(Reason(reason)),
                    Why::BelowEpochFloor { floor, .. } => NotTaken::BelowEpochFloor { floor },
                    why => NotTaken::Rollout(why),
                };
                let refused = (offer.version.number, why);
                self.refused = self.refused.filter(|(number, _)| *number >= refused.0).or(Some(refused));
            }
        }
    }
}

/// `None` where a decision lets the release in.
fn why(decision: Option<Decision>) -> Option<Why> {
    match decision {
        Some(Decision::Stay(why)) => Some(why),
        _ => None,
    }
}

fn is_named(version: &Version, named: Named) -> bool {
    version.sha256 == named.sha256 && version.number == named.number
}

/// End of the name under which a directive is stored beside the metadata; no role is stored like this.
const DIRECTIVE: &str = ".directive";
