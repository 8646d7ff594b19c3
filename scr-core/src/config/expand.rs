// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values with `$NAME` and `${NAME}` in them.
//!
//! A `$` that starts neither form stays as it is, as does an unclosed `${`. Files know C escapes besides, so `\$` is a
//! plain dollar there. The environment is a value: nothing here asks the system.

use std::collections::BTreeMap;

/// Environment variables, as the caller found them.
pub(super) type Environment = BTreeMap<String, String>;

/// Whether a backslash means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// As in SCR's files: `\n`, `\t` ..., and `\x` for any other x.
    C,
    /// A backslash is a backslash.
    None,
}

/// A value after expansion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// The text; variables that are not set became nothing.
    pub(super) text: String,
    /// A variable that was needed and is not set.
    pub(super) unset: Option<String>,
}

impl Word {
    /// A word without anything to expand.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), unset: None }
    }
}

/// Replaces variables, and escapes where asked, in `raw`.
pub(super) fn expand(raw: &str, environment: &Environment, escapes: Escapes) -> Word {
    let mut word = Word::default();
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' if escapes == Escapes::C => unescape(after, &mut word.text),
            '$' => reference(after, environment, &mut word),
            _ => {
                word.text.push(c);
                after
            }
        };
    }
    word
}

/// Appends the value of the variable whose name follows a `$`, or the `$` itself; returns what follows.
fn reference<'a>(after: &'a str, environment: &Environment, word: &mut Word) -> &'a str {
    let Some((name, rest)) = variable(after) else {
        word.text.push('$');
        return after;
    };
    match environment.get(name) {
        Some(value) => word.text.push_str(value),
        None => word.unset = Some(name.to_string()),
    }
    rest
}

/// Appends what the escape after a backslash stands for; returns what follows it.
fn unescape<'a>(after: &'a str, text: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        text.push('\\');
        return after;
    };
    text.push(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    });
    &after[c.len_utf8()..]
}

/// Splits what follows a `$` into the name of a variable and the rest.
fn variable(after: &str) -> Option<(&str, &str)> {
    if let Some(inner) = after.strip_prefix('{') {
        let (name, rest) = name(inner)?;
        return Some((name, rest.strip_prefix('}')?));
    }
    name(after)
}

/// Splits off a name: letters, digits, underscores, no digit first.
fn name(text: &str) -> Option<(&str, &str)> {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        [("VAR_A", "value a"), ("VAR_B", "value b"), ("BB1", "/bb")]
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .into()
    }

    #[test]
    fn variables_expand_as_in_scr() {
        for (raw, expected) in [
            ("$VAR_A", "value a"),
            ("${VAR_A}", "value a"),
            ("${VAR_A", "${VAR_A"),
            ("${VAR_A}>", "value a>"),
            ("$VAR_A>", "value a>"),
            (":$VAR_A ${VAR_B}:", ":value a value b:"),
            ("$VAR_A ${VAR_B>}", "value a ${VAR_B>}"),
            ("$VAR_C", ""),
            ("$BB1/x ${BB1}2", "/bb/x /bb2"),
            ("$ $1 $$VAR_A ${}", "$ $1 $value a ${}"),
            (r"a\tb", r"a\tb"),
        ] {
            assert_eq!(expand(raw, &environment(), Escapes::None).text, expected, "{raw}");
        }
    }

    #[test]
    fn files_know_escapes() {
        for (raw, expected) in
            [(r"a\tb\n", "a\tb\n"), (r"\$VAR_A", "$VAR_A"), (r"\x\\", r"x\"), (r"a\", r"a\")]
        {
            assert_eq!(expand(raw, &environment(), Escapes::C).text, expected, "{raw}");
        }
    }

    #[test]
    fn an_unset_variable_is_named() {
        let word = expand("$VAR_A/$VAR_C", &environment(), Escapes::C);
        assert_eq!(word, Word { text: "value a/".into(), unset: Some("VAR_C".into()) });
    }
}
