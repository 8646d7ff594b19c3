// SPDX-License-Identifier: MIT OR Apache-2.0
//! The strings that `SCR_Config` takes.
//!
//! | string | meaning |
//! |---|---|
//! | `KEY` | query |
//! | `KEY=VALUE` | set |
//! | `KEY=` | unset |
//! | `KEY=VALUE CHILD` | query one key of a line |
//! | `KEY=VALUE CHILD=X OTHER=Y` | set keys of a line; what is there already stays |
//! | `KEY=VALUE CHILD=` | unset one key of a line |
//!
//! White space around `=` counts for nothing; a value ends at white space and may hold `=`. Where SCR aborts on anything
//! else, this is an error.

use crate::error::{Error, ErrorKind, Result};

/// What a string asks for. Keys are in upper case, values as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The empty string: nothing.
    Nothing,
    /// The value of a key.
    Query {
        /// The key.
        key: String,
    },
    /// The value of a key on the line `key=value`.
    QueryChild {
        /// The key of the line.
        key: String,
        /// Its value.
        value: String,
        /// The key asked for.
        child: String,
    },
    /// Sets a key.
    Set {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// Keys and values of its line.
        children: Vec<(String, String)>,
    },
    /// Forgets a key.
    Unset {
        /// The key.
        key: String,
    },
    /// Forgets a key on the line `key=value`.
    UnsetChild {
        /// The key of the line.
        key: String,
        /// Its value.
        value: String,
        /// The key to forget.
        child: String,
    },
}

impl Request {
    /// Reads a string.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when it is none of the forms above.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::Nothing);
        }
        let bad = |why: &str| {
            let forms = "use KEY, KEY=, KEY=VALUE or KEY=VALUE CHILD=X ...";
            Error::new(ErrorKind::Misuse, format!("SCR_Config({text:?}): {why}; {forms}"))
        };
        let mut pairs = pairs(text).map_err(bad)?.into_iter();
        let (key, value) = pairs.next().ok_or_else(|| bad("no key"))?;
        let rest: Vec<_> = pairs.collect();
        match (value, rest.as_slice()) {
            (None, []) => Ok(Self::Query { key }),
            (None, _) => Err(bad("a key without '='")),
            (Some(value), []) if value.is_empty() => Ok(Self::Unset { key }),
            (Some(value), _) if value.is_empty() => Err(bad("a key without a value")),
            (Some(value), [(child, None)]) => {
                Ok(Self::QueryChild { key, value, child: child.clone() })
            }
            (Some(value), [(child, Some(text))]) if text.is_empty() => {
                Ok(Self::UnsetChild { key, value, child: child.clone() })
            }
            (Some(value), _) => {
                let children = rest
                    .into_iter()
                    .map(|(child, value)| Some((child, value.filter(|value| !value.is_empty())?)))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| bad("a key without a value"))?;
                Ok(Self::Set { key, value, children })
            }
        }
    }

    /// Whether it changes anything: allowed before SCR_Init only.
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Set { .. } | Self::Unset { .. } | Self::UnsetChild { .. })
    }
}

/// Cuts a string into keys, each with the value after its `=` (perhaps empty), or none where there is no `=`.
fn pairs(text: &str) -> std::result::Result<Vec<(String, Option<String>)>, &'static str> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        if key.is_empty() {
            return Err("no key before '='");
        }
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('=') {
            Some(after) => {
                let after = after.trim_start();
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (Some(after[..end].to_string()), &after[end..])
            }
            None => (None, after),
        };
        pairs.push((key.to_ascii_uppercase(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(key: &str, value: &str, children: &[(&str, &str)]) -> Request {
        let own = |text: &str| text.to_string();
        let children = children.iter().map(|(k, v)| (own(k), own(v))).collect();
        Request::Set { key: own(key), value: own(value), children }
    }

    #[test]
    fn every_form_is_read() {
        let store = ("STORE".to_string(), "/dev/shm/foo".to_string());
        for (text, expected) in [
            ("", Request::Nothing),
            ("DEBUG=1", set("DEBUG", "1", &[])),
            ("DEBUG =1", set("DEBUG", "1", &[])),
            ("DEBUG= 1", set("DEBUG", "1", &[])),
            ("debug  = 1 ", set("DEBUG", "1", &[])),
            ("SCR_CACHE_BASE==/x", set("SCR_CACHE_BASE", "=/x", &[])),
            ("A=b=c", set("A", "b=c", &[])),
            ("DEBUG", Request::Query { key: "DEBUG".into() }),
            ("DEBUG=", Request::Unset { key: "DEBUG".into() }),
            ("DEBUG = ", Request::Unset { key: "DEBUG".into() }),
            (
                "STORE= /dev/shm/foo GROUP = NODE COUNT  =1",
                set("STORE", "/dev/shm/foo", &[("GROUP", "NODE"), ("COUNT", "1")]),
            ),
            (
                "STORE= /dev/shm/foo COUNT",
                Request::QueryChild {
                    key: store.0.clone(),
                    value: store.1.clone(),
                    child: "COUNT".into(),
                },
            ),
            (
                "STORE=/dev/shm/foo COUNT=",
                Request::UnsetChild { key: store.0, value: store.1, child: "COUNT".into() },
            ),
        ] {
            assert_eq!(Request::parse(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in
            [" ", "\t", "KEY VALUE", "=1", " = ", "A=1 B C=2", "A=1 B=2 C", "A=1 B=2 C=", "A=1 =2"]
        {
            let error = Request::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Misuse, "{text:?}");
        }
        insta::assert_snapshot!(Request::parse("KEY VALUE").unwrap_err(), @r#"SCR_Config("KEY VALUE"): a key without '='; use KEY, KEY=, KEY=VALUE or KEY=VALUE CHILD=X ..."#);
    }

    proptest! {
        #[test]
        fn no_string_panics(text in "[A-Z= \\t\\PC]{0,40}") {
            let _ = Request::parse(&text);
        }
    }
}
