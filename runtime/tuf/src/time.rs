//! Times in metadata: `2027-01-31T23:59:59Z` and nothing else, to and from seconds since 1970.

use alloc::{format, string::String};

/// Seconds since 1970 of a time that is written with all its digits, in UTC; days are of the Gregorian calendar.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let bytes: &[u8; 20] = text.as_bytes().try_into().ok()?;
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    if marks.iter().any(|&(at, mark)| bytes[at] != mark) {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = &bytes[from..to];
        let sum = |sum: i64, digit: &u8| sum * 10 + i64::from(digit - b'0');
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, sum))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let days = days_from_civil(year, month, day);
    // A day that does not exist, such as 30 February, is another day when it is converted back.
    let exists = (1..=12).contains(&month) && civil_from_days(days) == (year, month, day);
    (exists && hour < 24 && minute < 60 && second < 60).then_some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// The text of `seconds` since 1970, from year 0 to 9999; what is outside is put to the nearest end.
#[must_use]
pub fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(FIRST, LAST);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// `0000-01-01T00:00:00Z`.
const FIRST: i64 = -62_167_219_200;
/// `9999-12-31T23:59:59Z`.
const LAST: i64 = 253_402_300_799;

/// Days since 1970-01-01. Years are counted from March, so that the leap day is the last of its year.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day; the inverse.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let check = |text, seconds| {
            assert_eq!(parse(text), Some(seconds), "{text}");
            assert_eq!(format(seconds), text);
        };
        check("1970-01-01T00:00:00Z", 0);
        check("1969-12-31T23:59:59Z", -1);
        check("2000-02-29T12:00:00Z", 951_825_600);
        check("2026-11-24T12:08:45Z", 1_795_522_125);
        check("2100-03-01T00:00:00Z", 4_107_542_400);
        check("0000-01-01T00:00:00Z", FIRST);
        check("9999-12-31T23:59:59Z", LAST);
        for days in -3_000i64..60_000 {
            let seconds = days * 86_400 + days.rem_euclid(86_400);
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
        assert_eq!(format(i64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(format(i64::MIN), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn only_one_spelling() {
        for bad in [
            "",
            "2026-11-24",
            "2026-11-24T12:08:45",
            "2026-11-24T12:08:45z",
            "2026-11-24 12:08:45Z",
            "2026-11-24T12:08:45.0Z",
            "2026-11-24T12:08:45+00:00",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-04-00T00:00:00Z",
            "2026-04-01T24:00:00Z",
            "2026-04-01T00:60:00Z",
            "2026-04-01T00:00:60Z",
            "+026-04-01T00:00:00Z",
            "2026-04-01T00:00:0éZ",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
