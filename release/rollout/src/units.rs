//! Durations, shares and times of day as people write them.

/// Seconds of `30s`, `15m`, `24h`, `14d`.
pub(crate) fn duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].trim().parse::<u64>().ok()?.checked_mul(seconds)
}

/// The fraction of `0.1%`: 0.001.
pub(crate) fn percent(text: &str) -> Option<f64> {
    let value: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    value.is_finite().then_some(value / 100.0)
}

/// Minutes of the day of `01:00-05:00`; it may pass midnight.
pub(crate) fn window(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    let minutes = |time: &str| {
        let (hours, minutes) = time.trim().split_once(':')?;
        let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    let (from, to) = (minutes(from)?, minutes(to)?);
    (from != to).then_some((from, to))
}

/// Seconds as people write them, in the largest unit that is whole.
#[must_use]
pub fn duration_text(seconds: u64) -> String {
    let unit = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let (size, letter) = unit.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, 's'));
    format!("{}{letter}", seconds / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (text, expected) in [
            ("30s", Some(30)),
            ("15m", Some(900)),
            ("24h", Some(86_400)),
            ("14d", Some(1_209_600)),
            ("5", None),
            ("", None),
            ("é", None),
            ("h", None),
            ("-1h", None),
            ("99999999999999999d", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
        for (text, expected) in [("0.1%", Some(0.001)), ("50 %", Some(0.5)), ("5", None), ("x%", None), ("inf%", None)]
        {
            assert_eq!(percent(text), expected, "{text}");
        }
        for (text, expected) in [
            ("01:00-05:00", Some((60, 300))),
            ("22:30-04:00", Some((1350, 240))),
            ("24:00-01:00", None),
            ("1-2", None),
            ("05:00-05:00", None),
        ] {
            assert_eq!(window(text), expected, "{text}");
        }
        for (seconds, text) in [(86_400, "1d"), (90, "90s"), (5400, "90m"), (0, "0d")] {
            assert_eq!(duration_text(seconds), text);
        }
    }
}
