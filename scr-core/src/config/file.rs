// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configuration files: SCR's lines, or TOML where the name ends in `.toml`.
//!
//! SCR's: `KEY=VALUE` or `KEY=VALUE CHILD=X OTHER=Y`, one per line, `#` begins a comment, white space around `=` counts
//! for nothing, values know C escapes and variables. TOML: `KEY = value`, and each line of several keys is a table in an
//! array of tables, with the first key among its keys: `[[STORE]]`, `STORE = "/ssd"`, `COUNT = 2`. Keys may be in lower
//! case in both.

use super::expand::{Environment, Escapes, Word, expand};
use super::layer::{Entry, Layer};
use super::report::Report;
use super::{Source, layer};
use std::collections::BTreeMap;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// Reads a file; what cannot be understood goes to `report`, and the rest counts.
pub(super) fn parse(
    path: &Path,
    text: &str,
    environment: &Environment,
    report: &mut Report,
) -> Layer {
    let mut reader = Reader { path, text, environment, report, layer: Layer::default() };
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        reader.toml();
    } else {
        reader.lines();
    }
    reader.layer
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    environment: &'a Environment,
    report: &'a mut Report,
    layer: Layer,
}

impl Reader<'_> {
    fn source(&self, line: usize) -> Source {
        Source::File {
            path: self.path.to_path_buf(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        }
    }

    fn lines(&mut self) {
        for (index, line) in self.text.lines().enumerate() {
            let source = self.source(index + 1);
            match pairs(line) {
                Ok(pairs) => self.line(pairs, source),
                Err(why) => {
                    self.report.problem(&source, format_args!("{why}; allowed: KEY=VALUE ..."));
                }
            }
        }
    }

    fn line(&mut self, pairs: Vec<(String, &str)>, source: Source) {
        let word = |raw: &str| expand(raw, self.environment, Escapes::C);
        let mut pairs = pairs.into_iter();
        if let Some((key, value)) = pairs.next() {
            let children = pairs.map(|(key, value)| (key, word(value))).collect();
            self.layer.add(key, Entry { value: word(value), children, source });
        }
    }

    fn toml(&mut self) {
        let table = match DeTable::parse(self.text) {
            Ok(table) => table,
            Err(error) => {
                let source = self.source(self.line_of(error.span().map_or(0, |span| span.start)));
                self.report.problem(&source, error.message());
                return;
            }
        };
        for (key, value) in table.get_ref() {
            let name = key.get_ref().to_ascii_uppercase();
            let source = self.source(self.line_of(key.span().start));
            match value.get_ref() {
                DeValue::Table(table) => self.toml_line(&name, table, source),
                DeValue::Array(lines) if layer::is_descriptor(&name) => {
                    self.toml_lines(&name, lines);
                }
                _ => {
                    if let Some(value) = self.toml_word(&name, value, &source) {
                        self.layer.add(name, Entry { value, children: BTreeMap::new(), source });
                    }
                }
            }
        }
    }

    /// Takes an array of tables as lines of several keys.
    fn toml_lines(&mut self, name: &str, lines: &DeArray<'_>) {
        for line in lines {
            let source = self.source(self.line_of(line.span().start));
            if let DeValue::Table(table) = line.get_ref() {
                self.toml_line(name, table, source);
            } else {
                self.report
                    .problem(&source, format_args!("{name} is not a table; write [[{name}]]"));
            }
        }
    }

    /// Takes a table as a line of several keys.
    fn toml_line(&mut self, name: &str, table: &DeTable<'_>, source: Source) {
        let mut children = BTreeMap::new();
        for (key, value) in table {
            let key = key.get_ref().to_ascii_uppercase();
            if let Some(word) = self.toml_word(&key, value, &source) {
                children.insert(key, word);
            }
        }
        match children.remove(name) {
            Some(value) => self.layer.add(name.to_string(), Entry { value, children, source }),
            None => self.report.problem(&source, format_args!("[[{name}]] has no key {name}")),
        }
    }

    fn toml_word(
        &mut self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        source: &Source,
    ) -> Option<Word> {
        match value.get_ref() {
            DeValue::String(text) => Some(expand(text, self.environment, Escapes::None)),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Some(Word::plain(number.to_string())),
                    Err(why) => {
                        self.report.problem(source, format_args!("{key}={number}: {why}"));
                        None
                    }
                }
            }
            DeValue::Float(number) => Some(Word::plain(number.as_str())),
            DeValue::Boolean(flag) => Some(Word::plain(if *flag { "1" } else { "0" })),
            other => {
                let found = other.type_str();
                self.report.problem(
                    source,
                    format_args!("{key} is of type {found}; allowed: text, number or boolean"),
                );
                None
            }
        }
    }

    /// The line, from 1, of a byte of the text.
    fn line_of(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}

/// Cuts a line into keys and values.
fn pairs(line: &str) -> Result<Vec<(String, &str)>, String> {
    let mut pairs = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (key, after) = token(rest);
        if key.is_empty() {
            return Err("no key before '='".into());
        }
        let Some(after) = after.trim_start().strip_prefix('=') else {
            return Err(format!("no '=' after {key}"));
        };
        let after = after.trim_start();
        let (value, after) = token(after);
        if value.is_empty() || value.starts_with('#') {
            return Err(format!("no value after {key}="));
        }
        if after.starts_with('=') {
            return Err(format!("a second '=' after {key}={value}"));
        }
        pairs.push((key.to_ascii_uppercase(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// Splits off what comes before white space or `=`.
fn token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write;

    /// What a file says, in one line per value.
    fn read(path: &str, text: &str) -> (String, Vec<String>) {
        let environment = [("BB1".to_string(), "/bb".to_string())].into();
        let mut report = Report::default();
        let layer = parse(Path::new(path), text, &environment, &mut report);
        let mut lines = String::new();
        for (key, entries) in layer.iter() {
            for entry in entries {
                write!(lines, "{}: {key}={:?}", entry.source, entry.value.text).unwrap();
                for (child, word) in &entry.children {
                    write!(lines, " {child}={:?}", word.text).unwrap();
                }
                lines.push('\n');
            }
        }
        (lines, report.problems)
    }

    const LINES: &str = "\
# comment
   scr_flush = 3   # trailing

SCR_PREFIX=$BB1/${BB1}2\\t#x\tSCR_X=1
STORE=/ssd COUNT = 2
STORE=/ssd\tGROUP=NODE\r
STORE=/dev/shm
CKPT=0";

    #[test]
    fn scr_lines_are_read() {
        let (lines, problems) = read("/etc/scr.conf", LINES);
        assert_eq!(problems, Vec::<String>::new());
        insta::assert_snapshot!(lines, @r#"
        /etc/scr.conf:8: CKPT="0"
        /etc/scr.conf:2: SCR_FLUSH="3"
        /etc/scr.conf:4: SCR_PREFIX="/bb//bb2\t#x" SCR_X="1"
        /etc/scr.conf:6: STORE="/ssd" COUNT="2" GROUP="NODE"
        /etc/scr.conf:7: STORE="/dev/shm"
        "#);
    }

    #[test]
    fn toml_says_the_same() {
        let text = r#"
scr_flush = 0x3
SCR_CACHE_SIZE = 1_000
SCR_PREFIX = "$BB1/${BB1}2"
SCR_FETCH = true
SCR_CHECKPOINT_OVERHEAD = 2.5
[[STORE]]
STORE = "/ssd"
COUNT = 2
[[STORE]]
STORE = "/dev/shm"
[CKPT]
CKPT = 0
"#;
        let (lines, problems) = read("scr.toml", text);
        assert_eq!(problems, Vec::<String>::new());
        insta::assert_snapshot!(lines, @r#"
        scr.toml:12: CKPT="0"
        scr.toml:3: SCR_CACHE_SIZE="1000"
        scr.toml:6: SCR_CHECKPOINT_OVERHEAD="2.5"
        scr.toml:5: SCR_FETCH="1"
        scr.toml:2: SCR_FLUSH="3"
        scr.toml:4: SCR_PREFIX="/bb//bb2"
        scr.toml:7: STORE="/ssd" COUNT="2"
        scr.toml:10: STORE="/dev/shm"
        "#);
    }

    #[test]
    fn malformed_lines_are_named() {
        let text = "A\nB=\n=C\nD=1=2\nE=1 F\nG= # no\nH=1";
        let (lines, problems) = read("f", text);
        insta::assert_snapshot!(problems.join("\n"), @"
        f:1: no '=' after A; allowed: KEY=VALUE ...
        f:2: no value after B=; allowed: KEY=VALUE ...
        f:3: no key before '='; allowed: KEY=VALUE ...
        f:4: a second '=' after D=1; allowed: KEY=VALUE ...
        f:5: no '=' after F; allowed: KEY=VALUE ...
        f:6: no value after G=; allowed: KEY=VALUE ...
        ");
        assert_eq!(lines, "f:7: H=\"1\"\n");
    }

    #[test]
    fn malformed_toml_is_named() {
        insta::assert_snapshot!(read("f.toml", "A = 1\nB = ").1.join("\n"), @"f.toml:2: string values must be quoted, expected literal string");
        let wrong = "A = [1]\nSTORE = [1]\nB = 99999999999999999999\nC = 2020-01-01\n[[CKPT]]\nINTERVAL = 1\n";
        insta::assert_snapshot!(read("f.toml", wrong).1.join("\n"), @"
        f.toml:1: A is of type array; allowed: text, number or boolean
        f.toml:3: B=99999999999999999999: number too large to fit in target type
        f.toml:4: C is of type datetime; allowed: text, number or boolean
        f.toml:5: [[CKPT]] has no key CKPT
        f.toml:2: STORE is not a table; write [[STORE]]
        ");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([A-C#=\\\\${} \\t\\n\"\\[\\]]|\\PC){0,60}") {
            read("f", &text);
            read("f.toml", &text);
        }
    }
}
