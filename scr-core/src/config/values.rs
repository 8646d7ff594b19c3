// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checked values by name: of all parameters, or of the keys of one line.

use super::expand::Word;
use super::layer::Entry;
use super::layers::Layers;
use super::parameter::{Field, Kind, Parameter, Status, Value};
use super::report::{Report, did_you_mean};
use super::{Source, table};
use std::collections::BTreeMap;
use std::path::Path;

/// Checked values, each with its source. What is not set and has no default is not there.
#[derive(Debug, Default)]
pub(super) struct Values {
    values: BTreeMap<&'static str, (Value, Source)>,
}

impl Values {
    /// Reads every parameter. A value that is not allowed is a problem, and its default stands in for it.
    pub(super) fn of_parameters(layers: &Layers, report: &mut Report) -> Self {
        let mut values = Self::default();
        for parameter in table::parameters() {
            let default = parameter.default.and_then(|text| parameter.kind.parse(text));
            let found = layers.find(parameter.name).and_then(|(word, source)| {
                let value = copy_type(layers, parameter, &word, &source, report)
                    .or_else(|| checked(parameter.name, parameter.kind, &word, &source, report))?;
                Some((value, source))
            });
            if let Some((value, source)) = &found
                && default.as_ref() != Some(value)
            {
                tell_status(parameter, source, report);
            }
            if let Some(value) = found.or_else(|| Some((default?, Source::Default))) {
                values.values.insert(parameter.name, value);
            }
        }
        values
    }

    /// Reads the keys of a line; `line` is what to call it.
    pub(super) fn of_line(
        fields: &'static [Field],
        line: &str,
        entry: &Entry,
        report: &mut Report,
    ) -> Self {
        let mut values = Self::default();
        for (key, word) in &entry.children {
            let Some(field) = fields.iter().find(|field| field.name == key) else {
                let hint = did_you_mean(key, fields.iter().map(|field| field.name));
                report.warn(
                    &entry.source,
                    format_args!("{line} has no key {key}; it has no effect{hint}"),
                );
                continue;
            };
            let name = format!("{line} {key}");
            if let Some(value) = checked(&name, field.kind, word, &entry.source, report) {
                values.values.insert(field.name, (value, entry.source.clone()));
            }
        }
        values
    }

    pub(super) fn source(&self, name: &str) -> &Source {
        self.values.get(name).map_or(&Source::Default, |(_, source)| source)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        if let Value::Flag(flag) = self.get(name)? { Some(*flag) } else { None }
    }

    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        if let Value::Integer(number) = self.get(name)? { Some(*number) } else { None }
    }

    /// A whole number of a range that fits.
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        u32::try_from(self.integer(name)?).ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        if let Value::Number(number) = self.get(name)? { Some(*number) } else { None }
    }

    pub(super) fn bytes(&self, name: &str) -> Option<u64> {
        if let Value::Bytes(bytes) = self.get(name)? { Some(*bytes) } else { None }
    }

    pub(super) fn path(&self, name: &str) -> Option<&Path> {
        if let Value::Path(path) = self.get(name)? { Some(path) } else { None }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(text) = self.get(name)? { Some(text) } else { None }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).map(|(value, _)| value)
    }
}

/// Checks one value; trouble goes to `report`.
pub(super) fn checked(
    name: &str,
    kind: Kind,
    word: &Word,
    source: &Source,
    report: &mut Report,
) -> Option<Value> {
    if let Some(variable) = &word.unset {
        report.problem(
            source,
            format_args!("{name} needs ${variable}, which is not set in the environment"),
        );
        return None;
    }
    let value = kind.parse(&word.text);
    if value.is_none() {
        let hint = if let Kind::Choice(words) = kind {
            did_you_mean(&word.text, words.iter().copied())
        } else {
            String::new()
        };
        report.problem(source, format_args!("{name}={}; allowed: {kind}{hint}", word.text));
    }
    value
}

/// SCR takes any unknown `SCR_COPY_TYPE` for "as the CKPT lines say", which is fair when there are such lines.
fn copy_type(
    layers: &Layers,
    parameter: &Parameter,
    word: &Word,
    source: &Source,
    report: &mut Report,
) -> Option<Value> {
    let unknown = parameter.name == "SCR_COPY_TYPE" && parameter.kind.parse(&word.text).is_none();
    if !unknown || layers.lines("CKPT").is_empty() {
        return None;
    }
    let text = format!("SCR_COPY_TYPE={} is taken for FILE: the CKPT lines count", word.text);
    report.warn(source, text);
    Some(Value::Text("FILE".to_string()))
}

/// Says so where a setting does nothing. Never shows the value, which may be a password.
fn tell_status(parameter: &Parameter, source: &Source, report: &mut Report) {
    let name = parameter.name;
    match parameter.status {
        Status::Active | Status::Commands => {}
        Status::Obsolete(why) => report.warn(source, format_args!("{name} has no effect: {why}")),
    }
}
