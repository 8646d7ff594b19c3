// SPDX-License-Identifier: MIT OR Apache-2.0
//! Times for people: SCR's `2026-01-31T12:00:00` in local time, read and written.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned, civil};
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

/// Reads a time: `2026-01-31T12:00:00` (local), with an offset (`...+01:00`, `...Z`), or seconds since 1970.
///
/// # Errors
/// [`ErrorKind::Misuse`] when it is none of these.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Result<u64> {
    let seconds = if let Ok(seconds) = text.parse::<i64>() {
        Some(seconds)
    } else if let Ok(timestamp) = text.parse::<Timestamp>() {
        Some(timestamp.as_second())
    } else {
        let local = text.parse::<civil::DateTime>().ok();
        local.and_then(|time| time.to_zoned(zone.clone()).ok()).map(|t| t.timestamp().as_second())
    };
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(|| {
        Error::new(
            ErrorKind::Misuse,
            format!("{text:?} is not a time; write it as 2026-01-31T12:00:00, in local time"),
        )
    })
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
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, &zone).ok(), expected, "{text}");
        }
        assert_eq!(show(1_769_853_600, &zone), "2026-01-31T12:00:00");
        assert_eq!(time_of_day(1_769_853_600, &zone), "12:00:00");
    }
}
