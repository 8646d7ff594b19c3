// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times for people: SCR's `2026-01-31T12:00:00` in local time, read and written.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil};
use scr_core::clock::{Clock, SystemClock};
use scr_core::{Error, ErrorKind, Result};

/// The time zone of the machine.
pub(crate) fn local() -> TimeZone {
    TimeZone::system()
}

fn zoned(unix_seconds: u64, zone: &TimeZone) -> Zoned {
    let seconds = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned(zone.clone())
}

/// Writes date and time as SCR does.
pub(crate) fn show(unix_seconds: u64, zone: &TimeZone) -> String {
    zoned(unix_seconds, zone).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Writes the time of day, for log lines.
pub(crate) fn time_of_day(unix_seconds: u64, zone: &TimeZone) -> String {
    zoned(unix_seconds, zone).strftime("%H:%M:%S").to_string()
}

/// Reads a time: `2026-01-31T12:00:00` (local), with an offset (`...+01:00`, `...Z`), seconds since 1970, or what SCR's manual
/// has in its older editions: `12:00pm today`, `8:30am tomorrow`, `12:00pm 2026-01-31`.
///
/// # Errors
/// [`ErrorKind::Misuse`] when it is none of these.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<u64> {
    parse_at(text, &zoned(SystemClock::default().unix().as_secs(), zone))
}

fn parse_at(text: &str, now: &Zoned) -> Result<u64> {
    let seconds = if let Ok(seconds) = text.parse::<i64>() {
        Some(seconds)
    } else if let Ok(timestamp) = text.parse::<Timestamp>() {
        Some(timestamp.as_second())
    } else {
        let local = text.parse::<civil::DateTime>().ok().or_else(|| in_words(text, now.date()));
        let zone = now.time_zone().clone();
        local.and_then(|time| time.to_zoned(zone).ok()).map(|time| time.timestamp().as_second())
    };
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Misuse,
            format!("{text:?} is not a time; write it as 2026-01-31T12:00:00, in local time"),
        )
    })
}

/// A time of day and a day, in any order; without a day it is `today`.
fn in_words(text: &str, today: civil::Date) -> Option<civil::DateTime> {
    let (mut time, mut date) = (None, None);
    for word in text.split_whitespace() {
        let day = match word {
            "today" => Some(today),
            "tomorrow" => today.tomorrow().ok(),
            word => word.parse().ok(),
        };
        let place_is_free = match day {
            Some(day) => date.replace(day).is_none(),
            None => time.replace(time_in_words(word)?).is_none(),
        };
        if !place_is_free {
            return None;
        }
    }
    Some(date.unwrap_or(today).to_datetime(time?))
}

/// `8am`, `8:30am`, `12:00pm`, `17:30`, `17:30:05`.
fn time_in_words(word: &str) -> Option<civil::Time> {
    let halves = [("am", 0), ("pm", 12)];
    let half = halves.iter().find_map(|(name, hours)| Some((word.strip_suffix(name)?, *hours)));
    let (digits, is_half) = half.map_or((word, false), |(digits, _)| (digits, true));
    let numbers: Vec<i8> =
        digits.split(':').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    let (hour, minute, second) = match numbers[..] {
        [hour] if is_half => (hour, 0, 0),
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let hour = match half {
        Some((_, hours)) if (1..=12).contains(&hour) => hour % 12 + hours,
        Some(_) => return None,
        None => hour,
    };
    civil::Time::new(hour, minute, second, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_in_local_time() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let cases = [
            ("2026-01-31T12:00:00", Some(1_769_853_600)),
            ("2026-01-31 12:00", Some(1_769_853_600)),
            ("2026-01-31T10:00:00Z", Some(1_769_853_600)),
            ("2026-01-31T12:00:00+02:00", Some(1_769_853_600)),
            ("1769853600", Some(1_769_853_600)),
            ("-5", None),
            ("tomorrow", None),
            ("", None),
            ("12:00pm today", Some(1_769_853_600)),
            ("12:00pm 2026-01-31", Some(1_769_853_600)),
            ("2026-01-31 12pm", Some(1_769_853_600)),
            ("12:00:05", Some(1_769_853_605)),
            ("12:30am tomorrow", Some(1_769_853_600 + 12 * 3600 + 30 * 60)),
            ("8:30am tomorrow", Some(1_769_853_600 + 20 * 3600 + 30 * 60)),
            ("13:00pm", None),
            ("0:10am", None),
            ("12", Some(12)),
            ("12:00 13:00", None),
            ("today tomorrow 12:00", None),
            ("25:00 today", None),
            ("12:00 someday", None),
        ];
        // Ten in the morning.
        let now = zoned(1_769_846_400, &zone);
        for (text, expected) in cases {
            assert_eq!(parse_at(text, &now).ok(), expected, "{text}");
        }
        assert_eq!(show(1_769_853_600, &zone), "2026-01-31T12:00:00");
        assert_eq!(time_of_day(1_769_853_600, &zone), "12:00:00");
    }
}
