// SPDX-License-Identifier: MIT OR Apache-2.0
//! A configuration file that changes nothing, made from the table: every parameter, commented out, with its default.

use super::parameter::{Field, Origin, Parameter, Status};
use super::table::{CHECKPOINT_FIELDS, SECTIONS, STORE_FIELDS};
use std::fmt::Write;

/// Longest line, with the sign of the comment.
const WIDTH: usize = 100;

const INTRODUCTION: &str = "\
Configuration of scr, for all jobs (/etc/scr.conf) or for those of one prefix (.scrconf in it). All of it is commented out: \
take the sign away from a line that begins with SCR_, STORE, CKPT or GROUPS, and change the value. What the environment \
says is stronger than this file. The manual has more: docs/parameters.md.";

/// A commented configuration file with every parameter.
pub fn template() -> String {
    let mut file = String::new();
    prose(&mut file, INTRODUCTION);
    for section in SECTIONS {
        let _ = write!(file, "\n# ==== {} ====\n", section.title);
        for parameter in section.parameters {
            push(&mut file, parameter);
        }
    }
    for (line, example, keys) in [
        ("STORE", "#STORE=/dev/shm COUNT=1", STORE_FIELDS),
        ("CKPT", "#CKPT=0 INTERVAL=1 STORE=/dev/shm TYPE=XOR SET_SIZE=8", CHECKPOINT_FIELDS),
    ] {
        let _ = write!(file, "\n# ==== {line} lines ====\n\n");
        for Field { name, kind, default, .. } in keys {
            prose(&mut file, &format!("{name}: {kind}; default: {default}."));
        }
        let _ = writeln!(file, "{example}");
    }
    file.push_str("\n# ==== GROUPS lines ====\n\n#GROUPS=node1 RACK=a\n");
    file
}

fn push(file: &mut String, parameter: &Parameter) {
    file.push('\n');
    let mut text = parameter.documentation().split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = write!(text, " Allowed: {}.", parameter.kind);
    if parameter.origin == Origin::Here {
        text.push_str(" Not in SCR.");
    }
    match parameter.status {
        Status::Active => {}
        Status::Commands => text.push_str(" The commands act on it, the library does not."),
        Status::Obsolete(why) => {
            let _ = write!(text, " No effect: {why}.");
        }
    }
    prose(file, &text);
    let _ = writeln!(file, "#{}={}", parameter.name, parameter.default.unwrap_or_default());
}

/// Text as comments, broken where lines would be too long.
fn prose(file: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() > 1 && line.len() + 1 + word.len() > WIDTH {
            file.push_str(&line);
            file.push('\n');
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    file.push_str(&line);
    file.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Layers, Notice};
    use std::path::Path;

    fn resolved(file: &str) -> (Config, Vec<Notice>) {
        let mut layers = Layers::new(Path::new("/job"), std::collections::BTreeMap::default());
        layers.set_system_file(Path::new("/etc/scr.conf"), file);
        layers.resolve().expect("a good file")
    }

    #[test]
    fn as_it_is_it_changes_nothing() {
        let file = template();
        assert!(file.lines().all(|line| line.is_empty() || line.starts_with('#')), "{file}");
        assert!(file.lines().all(|line| line.len() <= WIDTH), "{file}");
        assert_eq!(resolved(&file), resolved(""));
    }

    #[test]
    fn every_parameter_is_there_with_its_default() {
        let file = template();
        let signs = |line: &&str| line.starts_with("#SCR_") && !line.ends_with('=');
        let taken: String =
            file.lines().filter(signs).flat_map(|line| [&line[1..], "\n"]).collect();
        let mut taken = resolved(&taken);
        // All that a default says by itself is that somebody wrote it.
        assert!(std::mem::take(&mut taken.0.is_bypass_set));
        assert_eq!(taken, resolved(""), "what it calls defaults are the defaults");

        let parameters = SECTIONS.iter().flat_map(|section| section.parameters);
        for Parameter { name, .. } in parameters {
            assert_eq!(file.matches(&format!("\n#{name}=")).count(), 1, "{name}");
        }
    }
}
