//! For those who watch the server: ready or not, and numbers for Prometheus.

use std::fmt::Write as _;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use fleetfoot_repository::seconds_until;

use super::Shares;
use crate::{problem::Problem, tokens::Role};

/// Whether requests can be answered: the database takes writes, the repository has a timestamp that has not expired.
pub(crate) async fn ready(State(shared): State<Shares>) -> Response {
    let check = move || {
        let Some(current) = shared.timestamp.current() else { return Some("the repository has no timestamp") };
        if seconds_until(&current.expires, shared.clock.now_s()).is_none_or(|left| left <= 0) {
            return Some("the timestamp has expired");
        }
        (!shared.store.is_writable()).then_some("the database cannot be written to")
    };
    match tokio::task::spawn_blocking(check).await {
        Ok(None) => "ready".into_response(),
        Ok(Some(why)) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, None, why).into_response(),
        Err(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, None, "the check was not finished").into_response(),
    }
}

/// The numbers in the text format of Prometheus.
pub(crate) async fn metrics(State(shared): State<Shares>, headers: HeaderMap) -> Result<Response, Problem> {
    let text = shared.run(headers, Role::Viewer, |shared, _| {
        let mut text = String::new();
        let [added, duplicates, refused] = shared.reports.totals();
        let (devices, groups) = shared.store.sizes();
        let expires = shared.timestamp.current().and_then(|now| seconds_until(&now.expires, shared.clock.now_s()));
        let fetched: u64 = shared.counts.list().iter().map(|(_, count)| count).sum();
        let (_, head) = shared.store.audit(u64::MAX, 1)?;
        let plain = |value: f64| vec![(String::new(), value)];
        let outcomes = [("added", added), ("duplicate", duplicates), ("refused", refused)];
        let outcomes = outcomes.map(|(name, n)| (format!("{{outcome=\"{name}\"}}"), n as f64)).to_vec();
        let rollouts = shared.control.list()?;
        let labels = |rollout: &crate::control::RolloutView| {
            // Both are names without quotes or backslashes: the reader of policies sees to it.
            format!(
                "{{rollout=\"{}\",model=\"{}\",state=\"{}\"}}",
                rollout.rollout,
                rollout.model,
                rollout.state.name()
            )
        };
        let under_way = || rollouts.iter().filter(|rollout| !rollout.state.is_over());
        let stages = under_way().map(|rollout| (labels(rollout), rollout.stage as f64)).collect();
        let unsigned = rollouts.iter().filter(|rollout| !rollout.signed).count() as f64;
        family(&mut text, "fleetfoot_reports_total", "counter", "Health reports, by what became of them.", outcomes);
        family(&mut text, "fleetfoot_files_served_total", "counter", "Files of the repository.", plain(fetched as f64));
        family(&mut text, "fleetfoot_device_days", "gauge", "Device-days that are remembered.", plain(devices as f64));
        family(&mut text, "fleetfoot_groups", "gauge", "Groups of reports.", plain(groups as f64));
        let left = plain(expires.map_or(f64::NAN, |left| left as f64));
        family(&mut text, "fleetfoot_timestamp_expires_seconds", "gauge", "Seconds until the timestamp expires.", left);
        family(&mut text, "fleetfoot_rollout_stage", "gauge", "Number of the stage of each rollout under way.", stages);
        family(&mut text, "fleetfoot_rollouts_unsigned", "gauge", "Rollouts that are not signed yet.", plain(unsigned));
        family(&mut text, "fleetfoot_audit_rows", "counter", "Rows of the audit log.", plain(head.row as f64));
        Ok(text)
    });
    let text = text.await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn family(text: &mut String, name: &str, kind: &str, help: &str, values: Vec<(String, f64)>) {
    // Writing into a string does not fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}
