// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every command explains itself, on the command line and in the book.

use scr_tests::program::{root, scr, succeed};
use std::process::Command;

/// The names of the commands that are not hidden: each has a manual page.
fn commands() -> Vec<String> {
    let place = tempfile::tempdir().expect("a directory");
    succeed(Command::new(scr()).arg("man").arg(place.path()));
    let pages = std::fs::read_dir(place.path()).expect("manual pages").flatten();
    let mut names: Vec<String> = pages
        .filter_map(|page| {
            let name = page.file_name().into_string().expect("UTF-8");
            name.strip_prefix("scr-")?.strip_suffix(".1").map(str::to_string)
        })
        .collect();
    names.sort_unstable();
    assert!(names.len() > 10 && names.contains(&"run".to_string()), "{names:?}");
    names
}

/// The text of all pages in a directory of the book.
fn pages(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(directory)).expect("pages").flatten();
    let pages = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    pages.map(|path| std::fs::read_to_string(path).expect("a page")).collect()
}

/// Whether the title of a page names this command.
fn is_page_of(page: &str, name: &str) -> bool {
    let title = page.lines().next().unwrap_or_default();
    title.starts_with("# scr ")
        && title.match_indices(&format!("scr {name}")).any(|(at, found)| {
            title[at + found.len()..].chars().next().is_none_or(|c| c == ' ' || c == ',')
        })
}

#[test]
fn every_command_teaches_by_examples_and_has_a_page() {
    let pages = [pages("docs"), pages("docs/commands")].concat();
    let overview = std::fs::read_to_string(root().join("docs/commands.md")).expect("the overview");
    let mut wrong = Vec::new();
    for name in commands() {
        let help = Command::new(scr()).args([&name, "--help"]).output().expect("scr --help");
        let text = String::from_utf8_lossy(&help.stdout);
        let examples = text.split_once("\nExamples:\n").map_or("", |(_, examples)| examples);
        let teaches = examples.contains(&format!("scr {name}")) || name == "restore-node";
        if !help.status.success() || !teaches || !examples.contains("\nExit status: ") {
            wrong.push(format!("scr {name} --help has no examples or exit statuses"));
        }
        match pages.iter().find(|page| is_page_of(page, &name)) {
            None => wrong.push(format!("no page of docs/ is about scr {name}")),
            Some(page)
                if !page.contains("\n```\n")
                    || !page.contains(&format!("scr {name}"))
                    || !page.contains("Exit status") =>
            {
                wrong.push(format!("the page about scr {name} has no examples or exit statuses"));
            }
            Some(_) => {}
        }
        if !overview.contains(&format!("scr {name}]"))
            && !overview.contains(&format!("scr {name},"))
        {
            wrong.push(format!("docs/commands.md does not list scr {name}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn titles_are_compared_whole() {
    let title = "# scr log-event and scr log-transfer\n";
    for (name, expected) in [("log-event", true), ("log-transfer", true), ("log", false)] {
        assert_eq!(is_page_of(title, name), expected, "{name}");
    }
    assert!(!is_page_of("# Running jobs\n\nscr run\n", "run"));
}
