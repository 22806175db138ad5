//! Devices: they read the signed directive from the server, draw their side with the code of real devices, live, and report over HTTP.
//!
//! The metadata is followed by the TUF client of devices, once a step; buckets, sides and reports are those of `fleetfoot-update` and
//! `fleetfoot-format`. What an inference does is drawn.

use std::net::SocketAddr;

use fleetfoot_format::report::{Arm as Reported, Counts, MAX_REPORT_LEN, Metric, Report, SparseHistogram};
use fleetfoot_health::bucket_of;
use fleetfoot_trust::{ReportKey, sha256};
use fleetfoot_tuf::{Action, Client, Stored, rollout};
use fleetfoot_update::{
    Arm, Stage,
    cohort::{Exposure, bucket},
};

use serde_json::Value;

use super::{REPORT_KEY, SALT, http::Http};

/// How the candidate behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// Errors in a thousand inferences; the baseline has 5.
    pub(crate) errors: u32,
    /// Times as slow.
    pub(crate) slower: f64,
    /// Clicks in a hundred; the baseline has 20.
    pub(crate) clicks: u32,
    /// Devices in a hundred on which it does not report any more.
    pub(crate) mute: u16,
}

impl Default for Candidate {
    fn default() -> Self {
        Self { errors: 5, slower: 1.0, clicks: 20, mute: 0 }
    }
}

struct Device {
    bucket: u16,
    arm: Option<Arm>,
    has_candidate: bool,
}

pub(crate) struct Fleet {
    root: Vec<u8>,
    stored: Stored,
    devices: Vec<Device>,
    http: Http,
    random: u64,
}

/// What the server has signed.
pub(crate) struct Told {
    pub(crate) rollout: String,
    pub(crate) exposure: Exposure,
    candidate: [u8; 32],
    baseline: [u8; 32],
}

impl Fleet {
    pub(crate) fn new(address: SocketAddr, n: usize) -> Self {
        let device = |id: usize| {
            let bucket = bucket(SALT.as_bytes(), &sha256(&id.to_le_bytes())[..16]);
            Device { bucket, arm: None, has_candidate: false }
        };
        let mut http = Http::to(address);
        let root = http.ask("GET", "/metadata/1.root.json", &[], b"").unwrap().body;
        let devices = (0..n).map(device).collect();
        Self { root, stored: Stored::new(), devices, http, random: 1 }
    }

    /// Follows the metadata as a device does, and reads the directive that it names.
    pub(crate) fn told(&mut self, now: i64) -> Told {
        let mut client = Client::new(&self.root, self.stored.clone(), now).unwrap();
        client.refresh("rollout-kws");
        loop {
            match client.poll().unwrap() {
                Action::Fetch { path, .. } => {
                    let answer = self.http.ask("GET", &format!("/metadata/{path}"), &[], b"").unwrap();
                    client.feed((answer.status == 200).then_some(answer.body)).unwrap();
                }
                Action::Persist { name, bytes } => {
                    self.stored.insert(name, bytes);
                    client.persisted();
                }
                Action::Done => break,
            }
        }
        let target = client.targets_of("rollout-kws").next().expect("something is rolled out");
        let answer = self.http.ask("GET", &format!("/targets/{}", target.url_path()), &[], b"").unwrap();
        assert_eq!((answer.status, sha256(&answer.body)), (200, target.sha256));
        let document = serde_json::from_slice(&answer.body).unwrap();
        let directive = rollout::directive(&document, "kws").unwrap();
        Told {
            rollout: directive.rollout.into(),
            exposure: directive.exposure,
            candidate: directive.candidate.sha256,
            baseline: directive.baseline.unwrap().sha256,
        }
    }

    /// Every device polls: it takes its side, and the candidate or the baseline.
    pub(crate) fn follow(&mut self, told: &Told) {
        for device in &mut self.devices {
            match told.exposure.stage {
                Stage::Abort | Stage::Revert => device.has_candidate = false,
                Stage::Hold | Stage::Shadow | Stage::Unknown => {}
                _ => {
                    let arm = told.exposure.arm_after(device.arm, device.bucket);
                    device.arm = matches!(arm, Arm::Treatment | Arm::Control).then_some(arm).or(device.arm);
                    device.has_candidate = device.arm == Some(Arm::Treatment);
                }
            }
        }
    }

    /// Another server.
    pub(crate) fn reconnect(&mut self, address: SocketAddr) {
        self.http = Http::to(address);
    }

    /// Devices that answer with the candidate.
    pub(crate) fn with_candidate(&self) -> usize {
        self.devices.iter().filter(|device| device.has_candidate).count()
    }

    /// Every device reports of part `part` of `day`, 32 of them in a request.
    pub(crate) fn report(&mut self, told: &Told, day: u32, part: u8, candidate: Candidate) -> usize {
        let key = ReportKey::new(REPORT_KEY);
        let (mut bodies, mut n) = (vec![Vec::new()], 0);
        for id in 0..self.devices.len() {
            let Device { bucket, arm, has_candidate, .. } = self.devices[id];
            if has_candidate && bucket % 100 < candidate.mute {
                continue;
            }
            let own = if has_candidate { candidate } else { Candidate::default() };
            let errors = (0..100).filter(|_| self.below(1000) < own.errors).count() as u32;
            let clicks = (0..100).filter(|_| self.below(100) < own.clicks).count() as u32;
            let mut latency = SparseHistogram::default();
            latency.push(bucket_of(((8 + self.below(4)) as f64 * 1e6 * own.slower) as u64), 100 - errors);
            let mut nonce = [0; 16];
            nonce.copy_from_slice(&sha256(&[&id.to_le_bytes()[..], &day.to_le_bytes()].concat())[..16]);
            let mut short = [0; 16];
            short.copy_from_slice(&if has_candidate { told.candidate } else { told.baseline }[..16]);
            let shadow = told.exposure.stage == Stage::Shadow && told.exposure.arm(bucket) == Arm::Treatment;
            let arm = match arm {
                _ if shadow => Reported::Shadow,
                Some(Arm::Treatment) => Reported::Treatment,
                Some(Arm::Control) => Reported::Control,
                _ => Reported::None,
            };
            let compared = if shadow { 20 } else { 0 };
            let report = Report {
                day,
                part,
                rollout: told.rollout.as_str().try_into().unwrap(),
                arm,
                bundle: short,
                hardware: "linux-arm64".try_into().unwrap(),
                counts: Counts {
                    inferences: 100 - errors,
                    errors: [0, errors, 0, 0, 0, 0, 0, 0],
                    shadow: compared,
                    agree: compared,
                    ..Counts::default()
                },
                latency,
                metrics: [Metric { id: 0, n: 100, sum: clicks.into(), sum_squares: clicks.into() }]
                    .into_iter()
                    .collect(),
                nonce,
                ..Report::default()
            };
            if n % 32 == 31 {
                bodies.push(Vec::new());
            }
            bodies.last_mut().unwrap().extend(message(&report, Some(&key)));
            n += 1;
        }
        for body in bodies {
            let answer = self.http.ask("POST", "/v1/reports", &[], &body).unwrap();
            assert_eq!((answer.status, &answer.json()["refused"]), (200, &0.into()), "{}", answer.json());
        }
        n
    }

    /// Somebody who has the key says that `n` devices more are well.
    pub(crate) fn forge(
        &mut self,
        told: &Told,
        day: u32,
        arm: Reported,
        n: u32,
        key: Option<[u8; 32]>,
    ) -> (u16, Value) {
        let key = key.map(ReportKey::new);
        let mut last = (200, Value::Null);
        for first in (0..n).step_by(32) {
            let mut body = Vec::new();
            for id in first..n.min(first + 32) {
                let mut nonce = [arm as u8; 16];
                nonce[..4].copy_from_slice(&id.to_be_bytes());
                let mut short = [0; 16];
                short.copy_from_slice(&told.candidate[..16]);
                let mut latency = SparseHistogram::default();
                latency.push(bucket_of(9_000_000), 100_000);
                let report = Report {
                    day,
                    rollout: told.rollout.as_str().try_into().unwrap(),
                    arm,
                    bundle: short,
                    hardware: "linux-arm64".try_into().unwrap(),
                    counts: Counts { inferences: 100_000, ..Counts::default() },
                    latency,
                    metrics: [Metric { id: 0, n: 1, sum: 1e12, sum_squares: 1e24 }].into_iter().collect(),
                    nonce,
                    ..Report::default()
                };
                body.extend(message(&report, key.as_ref()));
            }
            let answer = self.http.ask("POST", "/v1/reports", &[], &body).unwrap();
            last = (answer.status, answer.json());
        }
        last
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) as u32 % limit
    }
}

/// A report as it is sent.
pub(crate) fn message(report: &Report, key: Option<&ReportKey>) -> Vec<u8> {
    let mut out = vec![0; MAX_REPORT_LEN];
    let end = report.encode(key.is_some(), &mut out).unwrap();
    out.truncate(end);
    if let Some(key) = key {
        let tag = key.tag(&out);
        out.extend_from_slice(&tag);
    }
    out
}
