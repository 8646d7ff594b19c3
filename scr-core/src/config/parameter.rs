// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a parameter is: its type, what is allowed, what becomes of it. The parameters themselves are in [`super::table`].

use std::fmt;
use std::path::PathBuf;

/// One parameter.
#[derive(Clone, Copy, Debug)]
pub struct Parameter {
    /// Its name: `SCR_...`.
    pub name: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// The value without any setting, as a user would write it; `None` where there is none.
    pub default: Option<&'static str>,
    /// What setting it does.
    pub status: Status,
    /// Who invented it.
    pub origin: Origin,
    pub(super) doc: &'static str,
}

impl Parameter {
    /// One paragraph for users.
    pub fn documentation(&self) -> &'static str {
        self.doc.trim()
    }
}

/// A key of a line that has several: `COUNT` in `STORE=/ssd COUNT=2`.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// The value where the line does not say, in words or as a user would write it.
    pub default: &'static str,
    pub(super) doc: &'static str,
}

impl Field {
    /// A few words for users.
    pub fn documentation(&self) -> &'static str {
        self.doc.trim()
    }
}

/// Parameters that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// What they are about.
    pub title: &'static str,
    /// The parameters.
    pub parameters: &'static [Parameter],
}

/// What setting a parameter does in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The library acts on it.
    Active,
    /// Commands act on it; the library takes it and does nothing.
    Commands,
    /// Nothing will ever act on it: why. Another value than the default gives one warning.
    Obsolete(&'static str),
}

/// Who invented a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// SCR has it.
    Scr,
    /// It is new here.
    Here,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// 0 or 1.
    Flag,
    /// Names of signals, with commas or blanks between them.
    Signals,
    /// A whole number in a range.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A whole number from 1, or -1 for no limit.
    Limit,
    /// A number with a fraction in a range.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// A number of bytes in a range; `kb`, `mb`, `gb` ... are powers of 1024.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A path; a relative one starts at the working directory.
    Path,
    /// Text that becomes the name of a file or directory.
    Name,
    /// Any text.
    Text,
    /// One of some words; upper and lower case are the same.
    Choice(&'static [&'static str]),
}

/// A whole number, 0 or more.
pub(super) const COUNT: Kind = Kind::Integer { min: 0, max: u32::MAX as i64 };
/// Signals that a program may be asked to stop with; others are for the kernel, or for the program itself.
const SIGNALS: [&str; 6] = ["HUP", "INT", "TERM", "USR1", "USR2", "XCPU"];

/// The name of a signal, without SIG.
fn signal(word: &str) -> Option<&'static str> {
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS.into_iter().find(|signal| *signal == name)
}

/// A whole number, 1 or more.
pub(super) const POSITIVE: Kind = Kind::Integer { min: 1, max: u32::MAX as i64 };
/// Seconds with a fraction.
pub(super) const SECONDS: Kind = Kind::Number { min: 0.0, max: 1e9 };

/// A checked value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Flag(bool),
    Integer(i64),
    Number(f64),
    Bytes(u64),
    Path(PathBuf),
    Text(String),
}

impl Kind {
    /// Reads a value; `None` when it is not allowed.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Self::Flag => match text {
                "0" => Some(Value::Flag(false)),
                "1" => Some(Value::Flag(true)),
                _ => None,
            },
            Self::Integer { min, max } => {
                let number = text.parse().ok().filter(|n| (min..=max).contains(n))?;
                Some(Value::Integer(number))
            }
            Self::Limit => {
                let number = text.parse().ok().filter(|n| *n == -1 || *n >= 1)?;
                Some(Value::Integer(number))
            }
            Self::Number { min, max } => {
                let number = text.parse().ok().filter(|n| (min..=max).contains(n))?;
                Some(Value::Number(number))
            }
            Self::Bytes { min, max } => {
                let bytes = bytes(text).filter(|n| (min..=max).contains(n))?;
                Some(Value::Bytes(bytes))
            }
            Self::Path => (!text.is_empty()).then(|| Value::Path(PathBuf::from(text))),
            Self::Name => {
                let good = !text.contains('/') && !matches!(text, "" | "." | "..");
                good.then(|| Value::Text(text.to_string()))
            }
            Self::Text => (!text.is_empty()).then(|| Value::Text(text.to_string())),
            Self::Signals => {
                let words = text.split([',', ' ']).filter(|word| !word.is_empty());
                let names: Option<Vec<_>> = words.map(signal).collect();
                names.filter(|names| !names.is_empty()).map(|names| Value::Text(names.join(",")))
            }
            Self::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| Value::Text((*word).to_string())),
        }
    }
}

/// What is allowed, in words.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ANY: i64 = u32::MAX as i64;
        match *self {
            Self::Flag => f.write_str("0 or 1"),
            Self::Signals => write!(f, "a list of {}", SIGNALS.join(", ")),
            Self::Limit => f.write_str("a whole number, 1 or more, or -1 for no limit"),
            Self::Integer { min, max: ANY | i64::MAX } => {
                write!(f, "a whole number, {min} or more")
            }
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Number { min, max: 1e9 } => write!(f, "a number, {min} or more"),
            Self::Number { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Bytes { min: 0, .. } => {
                f.write_str("a number of bytes such as 1048576, 512kb or 1.5gb")
            }
            Self::Bytes { max, .. } => {
                write!(f, "a number of bytes from 1 to {max} such as 1048576, 512kb or 1mb")
            }
            Self::Path => f.write_str("a path"),
            Self::Name => f.write_str("a name without '/'"),
            Self::Text => f.write_str("text"),
            Self::Choice(words) => write!(f, "one of {}", words.join(", ")),
        }
    }
}

/// Reads a number of bytes as SCR does: a number, perhaps with a fraction, then k, m, g, t, p or e, then perhaps b.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        "t" | "tb" => 40,
        "p" | "pb" => 50,
        "e" | "eb" => 60,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift);
    }
    let bytes = number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
    (0.0..u64::MAX as f64).contains(&bytes).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_suffixes_of_scr() {
        for (text, expected) in [
            ("0", Some(0)),
            ("131072", Some(131_072)),
            ("2kb", Some(2048)),
            ("1.5m", Some(1_572_864)),
            ("200GB", Some(200 << 30)),
            ("1T", Some(1 << 40)),
            ("17", Some(17)),
            ("18446744073709551615", Some(u64::MAX)),
            ("16eb", None),
            ("1e3", None),
            ("-1", None),
            ("-1.5k", None),
            ("10 kb", None),
            ("kb", None),
            ("1kbb", None),
            ("1kib", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn ranges_hold() {
        let percent = Kind::Number { min: 0.0, max: 100.0 };
        assert_eq!(percent.parse("2.5"), Some(Value::Number(2.5)));
        for bad in ["-1", "100.1", "nan", "inf", "5%", ""] {
            assert_eq!(percent.parse(bad), None, "{bad}");
        }
        for bad in ["-1", "1.0", "4294967296", "1x", "0x1", ""] {
            assert_eq!(COUNT.parse(bad), None, "{bad}");
        }
        assert_eq!(POSITIVE.parse("0"), None);
        assert_eq!(COUNT.parse(" 7 "), Some(Value::Integer(7)));
        for bad in ["yes", "true", "2", "-0", "01"] {
            assert_eq!(Kind::Flag.parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_stay_in_their_directory() {
        for bad in ["", ".", "..", "a/b", "/a"] {
            assert_eq!(Kind::Name.parse(bad), None, "{bad}");
        }
        assert_eq!(Kind::Name.parse("1234.batch"), Some(Value::Text("1234.batch".into())));
    }
}
