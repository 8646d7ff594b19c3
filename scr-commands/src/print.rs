// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr print`: shows any record, for people and scripts; also the files of SCR 3.

use crate::exit;
use crate::files::store;
use crate::output::{print, print_json};
use scr_core::format::{frame, kvtree};
use scr_core::{Context, Error, ErrorKind, Result};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// Options of `scr print`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr print .scr/index            the datasets in this prefix
  scr print .scr/lease --json     who may write here, for a script
  scr print .scr/index.scr        what SCR 3 left

Exit status: 0 printed, 65 there is no such file, or it is damaged or no record.")]
pub(crate) struct Arguments {
    /// Print as JSON
    #[arg(long, conflicts_with = "toml")]
    json: bool,
    /// Print as TOML (the default)
    #[arg(long)]
    toml: bool,
    /// SCR's option: `tree` is TOML; `keyval` is JSON
    #[arg(short = 'm', hide = true, value_parser = ["tree", "keyval"])]
    mode: Option<String>,
    /// The record
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

/// Prints all frames of a record.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let bytes = store().read(&arguments.path)?;
    let frames = frames(&bytes).context(|| arguments.path.display().to_string())?;
    if arguments.json || arguments.mode.as_deref() == Some("keyval") {
        print_json(&json!({ "frames": frames }))?;
    } else {
        print(&to_toml(&frames)?)?;
    }
    Ok(exit::SUCCESS)
}

/// Decodes every frame into `{"kind": ..., "value": ...}`.
fn frames(mut bytes: &[u8]) -> Result<Vec<Value>> {
    if kvtree::is_kvtree(bytes) {
        let value = kvtree::decode(bytes)?.to_json();
        return Ok(vec![json!({ "kind": "tree of SCR 3", "value": value })]);
    }
    if bytes.is_empty() {
        return Err(Error::new(ErrorKind::Corrupt, "empty file, not a record of scr"));
    }
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (kind, value, length) =
            frame::to_json(bytes).context(|| format!("frame {}", frames.len() + 1))?;
        frames.push(json!({ "kind": kind.describe(), "value": readable(value) }));
        bytes = &bytes[length..];
    }
    Ok(frames)
}

/// TOML text: one table per frame, with a comment that says what it is.
fn to_toml(frames: &[Value]) -> Result<String> {
    let mut text = String::new();
    for frame in frames {
        let value = without_null(frame["value"].clone());
        let table = if value.is_object() { value } else { json!({ "value": value }) };
        let toml = toml::to_string_pretty(&table)
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("not printable: {error}")))?;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {}\n{toml}", frame["kind"].as_str().unwrap_or_default());
    }
    Ok(text)
}

/// TOML has no null: what is not there is left out.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_null(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_null).collect()),
        other => other,
    }
}

/// Shows identities as hexadecimal digits and paths as text, rather than as lists of bytes.
pub(crate) fn readable(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.into_iter().map(|(key, value)| {
                let value = match (key.as_str(), as_bytes(&value)) {
                    ("name", Some(path)) => Value::String(path_text(&path)),
                    ("identity" | "parent" | "step" | "by", Some(bytes)) if bytes.len() == 16 => {
                        Value::String(hex(&bytes))
                    }
                    ("supersedes", _) => hex_items(value),
                    _ => readable(value),
                };
                (key, value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(readable).collect()),
        other => other,
    }
}

fn hex_items(value: Value) -> Value {
    let show = |item: Value| as_bytes(&item).map_or(item, |bytes| Value::String(hex(&bytes)));
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(show).collect()),
        other => other,
    }
}

fn as_bytes(value: &Value) -> Option<Vec<u8>> {
    let byte = |item: &Value| item.as_u64().and_then(|number| u8::try_from(number).ok());
    value.as_array()?.iter().map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text where the bytes are text; otherwise with what is not written as `\xNN`.
fn path_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use scr_core::format::halt::HaltUsed;
    use scr_core::format::summary::PrefixState;
    use scr_core::id::DatasetIdentity;

    #[test]
    fn every_frame_of_a_file_is_shown() {
        let used = frame::encode(&HaltUsed { generation: 7, checkpoints: 2 });
        let state = PrefixState::Superseded { by: DatasetIdentity([0xab; 16]) };
        let summary = frame::encode(&samples::summary(3, state));
        let frames = frames(&[used, summary].concat()).unwrap();
        assert_eq!(frames.len(), 2);
        assert_eq!(
            frames[0],
            json!({"kind": "halt use", "value": {"generation": 7, "checkpoints": 2}})
        );
        assert_eq!(frames[1]["value"]["dataset"]["identity"], "03".repeat(16));
        assert_eq!(frames[1]["value"]["state"]["Superseded"]["by"], "ab".repeat(16));
        let toml = to_toml(&frames).unwrap();
        assert!(toml.contains("# halt use\n") && toml.contains("name = \"ckpt.3\""), "{toml}");
        assert!(toml.parse::<toml::Table>().is_ok(), "{toml}");
    }

    #[test]
    fn damage_is_named_and_nothing_is_shown() {
        let good = frame::encode(&HaltUsed { generation: 7, checkpoints: 2 });
        assert_eq!(frames(b"").unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(frames(b"hello, this is some text").unwrap_err().kind(), ErrorKind::Corrupt);
        for end in 1..good.len() {
            assert_eq!(frames(&good[..end]).unwrap_err().kind(), ErrorKind::Corrupt, "{end}");
        }
        let torn = [good.as_slice(), &good[..9]].concat();
        assert!(format!("{:#}", frames(&torn).unwrap_err()).starts_with("frame 2: "));
    }

    #[test]
    fn a_tree_of_scr_3_is_shown_as_one() {
        let bytes = include_bytes!("../../tests/data/scr3/prefix/.scr/index.scr");
        let frames = frames(bytes).unwrap();
        assert_eq!(frames[0]["value"]["CURRENT"], "ckpt.6");
        assert_eq!(frames[0]["value"]["DSET"]["4"]["DSET"]["FILES"], "2");
        let toml = to_toml(&frames).unwrap();
        assert!(toml.starts_with("# tree of SCR 3\nCURRENT = \"ckpt.6\""), "{toml}");
        for end in 4..bytes.len() {
            assert_eq!(super::frames(&bytes[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn paths_are_text() {
        let shown = readable(json!({"name": [97, 47, 98], "files": [{"name": [255, 97]}]}));
        assert_eq!(shown, json!({"name": "a/b", "files": [{"name": "\\xffa"}]}));
    }
}
