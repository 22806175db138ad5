//! Health reports at the receiver: duplicates, loss, disorder, forgery, garbage, over a real socket and without one.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{net::SocketAddr, path::Path, sync::Arc};

use fleetfoot::health::{Answer, HttpReports, ReportTransport};
use fleetfoot_format::report::{Arm, Counts, MAX_REPORT_LEN, Metric, Report, SparseHistogram, TensorDrift};
use fleetfoot_health::bucket_of;
use fleetfoot_server::{
    Config, Server, Store,
    reports::{KEPT_DAYS, MAX_BODY_LEN, MAX_MESSAGES, MIN_DEVICES, ReportPolicy, Reports, Taken},
};
use fleetfoot_trust::ReportKey;
use serde_json::Value;

const TODAY: u32 = 20_781;

/// What device `device` says in part `part` of `day`.
fn report(device: u16, day: u32, part: u8) -> Report {
    let mut latency = SparseHistogram::default();
    latency.push(bucket_of(1_000_000), 90);
    latency.push(bucket_of(4_000_000), 10);
    let mut nonce = [day as u8; 16];
    nonce[..2].copy_from_slice(&device.to_be_bytes());
    Report {
        day,
        part,
        rollout: "kws-2026-11".try_into().unwrap(),
        arm: if device.is_multiple_of(2) { Arm::Control } else { Arm::Treatment },
        hardware: "linux-arm64".try_into().unwrap(),
        counts: Counts { inferences: 100, errors: [0, 2, 0, 0, 0, 0, 0, 1], fallbacks: 1, ..Counts::default() },
        latency,
        metrics: [Metric { id: 1, n: 4, sum: 2.0, sum_squares: 2.0 }].into_iter().collect(),
        drift: [TensorDrift { output: false, index: 0, milli: 400 }].into_iter().collect(),
        nonce,
        ..Report::default()
    }
}

fn message(report: &Report, key: Option<&ReportKey>) -> Vec<u8> {
    let mut out = vec![0; MAX_REPORT_LEN];
    let end = report.encode(key.is_some(), &mut out).unwrap();
    out.truncate(end);
    if let Some(key) = key {
        let tag = key.tag(&out);
        out.extend_from_slice(&tag);
    }
    out
}

fn collector(policy: ReportPolicy) -> Reports {
    Reports::new(policy, Arc::new(Store::in_memory().unwrap()))
}

#[track_caller]
fn takes(reports: &Reports, body: &[u8], expected: Result<(usize, usize, usize), u16>) {
    let found = reports.take(body, TODAY).map_err(|e| e.code());
    assert_eq!(found.map(|Taken { added, duplicates, refused, .. }| (added, duplicates, refused)), expected);
}

/// Whatever the network does with them: the sums are those of the reports, each once.
#[test]
fn loss_duplicates_and_disorder_change_nothing() {
    let mut all = Vec::new();
    for device in 0..60 {
        for part in 0..3 {
            all.push(message(&report(device, TODAY - u32::from(part % 2), part), None));
        }
    }
    let orderly = collector(ReportPolicy::default());
    all.iter().for_each(|one| takes(&orderly, one, Ok((1, 0, 0))));
    for seed in 1..20u64 {
        let mut random = seed;
        let mut below = |limit: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % limit
        };
        let wild = collector(ReportPolicy::default());
        // Some are delivered many times, in batches of any size and order; in the end each once at least.
        for _ in 0..100 {
            let body: Vec<u8> = (0..1 + below(12)).flat_map(|_| all[below(all.len())].clone()).collect();
            assert_eq!(wild.take(&body, TODAY).unwrap().refused, 0);
        }
        for i in (0..all.len()).rev() {
            wild.take(&all[(i * 7 + below(2) * 180) % all.len()], TODAY).unwrap();
        }
        let (a, b) = (orderly.groups(), wild.groups());
        assert_eq!(a.len(), 4, "two days, two arms");
        for ((key, one), (other, two)) in a.iter().zip(&b) {
            assert_eq!((key, one.devices, one.reports), (other, two.devices, two.reports), "seed {seed}");
            assert_eq!((one.inferences, one.errors, one.fallbacks), (two.inferences, two.errors, two.fallbacks));
            assert_eq!((&one.latency, one.drift, &one.golden), (&two.latency, two.drift, &two.golden));
            for (x, y) in one.units.iter().zip(&two.units) {
                assert!(x.n == y.n && (x.sum - y.sum).abs() < 1e-9 && (x.sum_squares - y.sum_squares).abs() < 1e-9);
            }
        }
    }
    let (_, group) = &orderly.groups()[0];
    assert_eq!((group.devices, group.reports, group.inferences, group.errors[1]), (30, 60, 6000, 120));
    assert_eq!(group.units[0].n, 30, "the unit is the device, not the report");
    assert!((group.units[0].sum / 30.0 - 3.0 / 103.0).abs() < 1e-12, "its error rate");
    assert_eq!((group.units[3].n, group.units[2].n), (30, 0), "metric 1 has values, metric 0 has none");
    assert!((group.units[3].sum / 30.0 - 0.5).abs() < 1e-12);
    assert_eq!(group.drift, (60, 60));
}

#[test]
fn late_reports_are_booked_on_their_day() {
    let reports = collector(ReportPolicy { show_small_groups: true, ..ReportPolicy::default() });
    for (day, taken) in [
        (TODAY + 2, false),
        (TODAY + 1, true),
        (TODAY, true),
        (TODAY - 30, true),
        (TODAY - KEPT_DAYS, true),
        (TODAY - KEPT_DAYS - 1, false),
        (0, false),
    ] {
        let found = reports.take(&message(&report(1, day, 0), None), TODAY).unwrap();
        assert_eq!(found.added, usize::from(taken), "day {day}");
        assert_eq!(found.why.map(|e| e.code()), (!taken).then_some(763));
    }
    let days: Vec<u32> = reports.groups().iter().map(|(key, _)| key.day).collect();
    assert_eq!(days, [TODAY + 1, TODAY, TODAY - 30, TODAY - KEPT_DAYS]);
    // The clock may be wrong: one day goes at a time.
    for (today, left) in [(TODAY + 20, 3), (TODAY + 20, 3), (TODAY + 21, 2), (TODAY + 22, 2)] {
        reports.take(&message(&report(2, today, 0), None), today).unwrap();
        let days = reports.groups();
        assert_eq!(
            days.iter().filter(|(key, _)| key.day <= TODAY + 1).count(),
            left,
            "what nobody asks for any more is forgotten"
        );
    }
}

/// One report that says four thousand million counts as one device.
#[test]
fn a_device_day_is_believed_so_much_and_no_more() {
    let reports = collector(ReportPolicy { show_small_groups: true, ..ReportPolicy::default() });
    let send = |part: u8, shadow: u32, agree: u32, crashes: u32| {
        let mut one = Report { arm: Arm::Shadow, ..report(1, TODAY, part) };
        (one.counts.shadow, one.counts.agree) = (shadow, agree);
        one.counts.errors[fleetfoot_health::ErrorKind::Crash as usize] = crashes;
        reports.take(&message(&one, None), TODAY).unwrap();
        let (_, group) = reports.groups().remove(0);
        (group.shadow, group.crashes)
    };
    assert_eq!(send(0, 100, 90, 1), ((100, 90), 1));
    assert_eq!(send(1, 100, 100, 2), ((200, 190), 3));
    assert_eq!(send(2, 200, 10, 0), ((200, 100), 3), "in their proportion");
    assert_eq!(send(3, u32::MAX, u32::MAX, u32::MAX), ((200, 199), 8));
}

/// Whoever makes names up does not fill the memory.
#[test]
fn hardware_of_one_day_is_bounded() {
    let reports = collector(ReportPolicy { show_small_groups: true, ..ReportPolicy::default() });
    for device in 0..200u16 {
        let hardware = format!("made-up-{device}");
        let one = Report { hardware: hardware.as_str().try_into().unwrap(), ..report(device, TODAY, 0) };
        takes(&reports, &message(&one, None), Ok((1, 0, 0)));
    }
    let groups = reports.groups();
    assert_eq!(groups.len(), 42);
    assert_eq!(groups.iter().map(|(_, group)| group.devices).sum::<u64>(), 200);
}

#[test]
fn small_groups_are_not_shown() {
    let reports = collector(ReportPolicy::default());
    for device in 0..2 * MIN_DEVICES as u16 - 1 {
        for part in 0..3 {
            takes(&reports, &message(&report(device, TODAY, part), None), Ok((1, 0, 0)));
        }
    }
    let shown = reports.to_json();
    assert_eq!((shown["groups"].as_array().unwrap().len(), &shown["hidden"]), (1, &Value::from(1)));
    assert_eq!((&shown["groups"][0]["arm"], &shown["groups"][0]["devices"]), (&"control".into(), &MIN_DEVICES.into()));
}

#[test]
fn forged_oversized_and_garbage() {
    let (key, old, stranger) = (ReportKey::new([1; 32]), ReportKey::new([2; 32]), ReportKey::new([3; 32]));
    let reports = collector(ReportPolicy { keys: vec![key.clone(), old.clone()], show_small_groups: true });
    let good = message(&report(1, TODAY, 0), Some(&key));
    let bare = message(&report(2, TODAY, 0), None);
    let forged = message(&report(3, TODAY, 0), Some(&stranger));
    let rotated = message(&report(4, TODAY, 0), Some(&old));
    let mut touched = message(&report(5, TODAY, 0), Some(&key));
    touched[9] ^= 1;
    takes(&reports, &[&bare[..], &forged, &good, &touched, &rotated].concat(), Ok((2, 0, 3)));
    takes(&reports, &good, Ok((0, 1, 0)));
    assert_eq!(reports.take(&forged, TODAY).unwrap().why.map(|e| e.code()), Some(762));

    let open = collector(ReportPolicy::default());
    takes(&open, &good, Ok((1, 0, 0)));
    takes(&open, b"", Err(761));
    takes(&open, b"GET / HTTP/1.1", Err(105));
    takes(&open, &good[..good.len() - 1], Err(102));
    takes(&open, &[&good[..], b"FFHR"].concat(), Err(102));
    takes(&open, &vec![0; MAX_BODY_LEN + 1], Err(760));
    takes(&open, &message(&Report { day: TODAY, ..Report::default() }, None).repeat(MAX_MESSAGES + 1), Err(760));
    takes(&open, &message(&Report { day: TODAY, ..Report::default() }, None).repeat(MAX_MESSAGES), Ok((1, 63, 0)));
    for seed in 0..2000u32 {
        let bytes: Vec<u8> =
            (0..seed % 97).map(|i| (seed.wrapping_mul(2_654_435_761).wrapping_add(i * 40_503) >> 13) as u8).collect();
        let body = [b"FFHR\x01\x00\x40\x00", &bytes[..]].concat();
        let found = open.take(&body, TODAY);
        assert!(found.is_err() || found.is_ok_and(|taken| taken.added <= 1), "seed {seed}");
    }
}

/// Over HTTP, as a device sends them.
#[test]
fn over_a_socket() {
    let key = ReportKey::new([7; 32]);
    let address: SocketAddr = ([127, 0, 0, 1], 0).into();
    let policy = ReportPolicy { keys: vec![key.clone()], show_small_groups: true };
    let config = Config { reports: policy, ..Config::new(Path::new("no-repository")).unwrap() };
    let server = Server::bind(config, address).unwrap();
    let base = format!("http://{}", server.address());
    std::thread::spawn(move || server.run());

    let today = (std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400) as u32;
    let transport = Arc::new(HttpReports::new(&base));
    let good = message(&report(1, today, 0), Some(&key));
    for (body, answer) in [
        (good.clone(), Answer::Taken),
        (good.clone(), Answer::Taken),
        (message(&report(2, today, 0), None), Answer::Taken),
        (b"garbage".to_vec(), Answer::Refused),
        (vec![0; MAX_BODY_LEN + 1], Answer::Refused),
        (vec![0; 4 << 20], Answer::Refused),
    ] {
        // A server that refuses a long body may close before it was read; the device keeps what it has then.
        match transport.post(&body) {
            Ok(found) => assert_eq!(found, answer, "{} bytes", body.len()),
            Err(error) => assert!(body.len() > MAX_BODY_LEN, "{error}"),
        }
    }
    let elsewhere = HttpReports::new(&format!("{base}/elsewhere"));
    assert_eq!(elsewhere.post(&good).unwrap(), Answer::Later, "no receiver there: the report waits");
    let nobody = HttpReports::new("http://127.0.0.1:9");
    assert!(nobody.post(&good).is_err());

    let shown: Value = serde_json::from_slice(&get(&format!("{base}/v1/reports"))).unwrap();
    assert_eq!(shown["groups"].as_array().unwrap().len(), 1, "{shown}");
    let group = &shown["groups"][0];
    assert_eq!((&group["devices"], &group["inferences"]), (&1.into(), &100.into()));
    assert_eq!((&shown["duplicates"], &shown["refused"]), (&1.into(), &1.into()));
    let p99 = group["p99_us"].as_f64().unwrap();
    assert!((p99 - 4000.0).abs() < 0.032 * 4000.0, "{p99}");
}

fn get(url: &str) -> Vec<u8> {
    use fleetfoot::transport::{Fetched, HttpTransport, Request, Transport as _};
    let (base, path) = url.rsplit_once("/v1/").unwrap();
    let mut bytes = Vec::new();
    let request = Request { path: &format!("v1/{path}"), offset: 0, max_len: 1 << 20, etag: None };
    let fetched = HttpTransport::new(base).fetch(&request, &mut |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    });
    assert!(matches!(fetched, Ok(Fetched::Body { .. })), "{fetched:?}");
    bytes
}
