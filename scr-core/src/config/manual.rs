// SPDX-License-Identifier: MIT OR Apache-2.0
//! The manual page of all parameters, made from the table: `docs/parameters.md` is its output, and a test compares them.

use super::parameter::{Field, Origin, Parameter, Status};
use super::table::{CHECKPOINT_FIELDS, SECTIONS, STORE_FIELDS};
use std::fmt::Write;

const INTRODUCTION: &str = include_str!("manual.md");

/// The manual page, in Markdown.
pub fn manual() -> String {
    let mut page = INTRODUCTION.to_string();
    for section in SECTIONS {
        push(&mut page, &format!("\n## {}\n", section.title));
        for parameter in section.parameters {
            push(&mut page, &entry(parameter));
        }
    }
    push(
        &mut page,
        "\n## STORE lines\n\n`STORE=<path> ...` describes a class of node-local storage.\n",
    );
    push(&mut page, &fields(STORE_FIELDS));
    push(
        &mut page,
        "\n## CKPT lines\n\n`CKPT=<n> ...` says how some checkpoints are kept. They count with `SCR_COPY_TYPE=FILE`.\n",
    );
    push(&mut page, &fields(CHECKPOINT_FIELDS));
    push(&mut page, GROUPS);
    page
}

const GROUPS: &str = "
## GROUPS lines

`GROUPS=<node> NAME=value ...` puts a node into failure groups: nodes with equal values of NAME fail together. NODE (each
node alone) and WORLD (all of them) need no line.
";

fn push(page: &mut String, text: &str) {
    page.push_str(text);
}

fn entry(parameter: &Parameter) -> String {
    let default =
        parameter.default.map_or_else(String::new, |default| format!(" Default: `{default}`."));
    let mut text = format!("\n### `{}`\n\nAllowed: {}.{default}", parameter.name, parameter.kind);
    if parameter.origin == Origin::Here {
        text.push_str(" Not in SCR.");
    }
    let _ = write!(text, "\n\n{}\n", paragraph(parameter.documentation()));
    match parameter.status {
        Status::Active => {}
        Status::Commands => text.push_str("\nThe commands act on it, the library does not.\n"),
        Status::Obsolete(why) => {
            let _ = writeln!(text, "\n**No effect**: {why}.");
        }
    }
    text
}

fn fields(fields: &[Field]) -> String {
    let mut text = String::from("\n| key | allowed | default | meaning |\n|---|---|---|---|\n");
    for field in fields {
        let Field { name, kind, default, .. } = field;
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | `{default}` | {} |",
            paragraph(field.documentation())
        );
    }
    text
}

/// One line: the table's documentation is broken where its source is.
fn paragraph(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_in_docs_is_up_to_date() {
        let page = include_str!("../../../docs/parameters.md");
        let how = "run: cargo run --no-default-features -p scr-core --example parameters_manual > docs/parameters.md";
        assert!(page == super::manual(), "docs/parameters.md is old; {how}");
    }
}
