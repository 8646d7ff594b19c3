// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules of the design that a machine can check, so that nobody has to remember them.
//!
//! A rule is a row of [`RULES`]: what it says, which files it covers, which lines offend, and a sample of each kind, so
//! that a rule which catches nothing is itself caught. What needs the whole tree has a function of its own below.

use std::fmt::Write;
use std::path::Path;

/// One text file of the tree; `path` is relative to its root, with `/`.
struct File {
    path: String,
    text: String,
}

/// One rule about single files.
struct Rule {
    says: &'static str,
    covers: fn(&str) -> bool,
    /// The numbers, from 1, of the lines that offend.
    offences: fn(&File) -> Vec<usize>,
    /// A path and text that must be caught.
    bad: (&'static str, &'static str),
    /// A path and text that must not.
    good: (&'static str, &'static str),
}

/// Files that may say `unsafe`: kernels, MPI, system calls without a safe wrapper, and the C boundary.
///
/// A directory ends with `/`.
const MAY_BE_UNSAFE: [&str; 6] = [
    "scr-core/src/codec/",
    "scr-core/src/comm/mpi.rs",
    "scr-core/src/store/discard.rs",
    "scr-core/src/store/posix.rs",
    "scr-capi/src/",
    "scr-commands/src/process.rs",
];

/// Longest file that is still one idea, with room for its tests.
const MOST_LINES: usize = 900;

const SPDX: &str = "SPDX-License-Identifier: MIT OR Apache-2.0";

const RULES: &[Rule] = &[
    Rule {
        says: "codec imports nothing of the crate",
        covers: |path| path.starts_with("scr-core/src/codec/"),
        offences: |file| imports_other_than(file, &["codec"]),
        bad: ("scr-core/src/codec/xor.rs", "use crate::error::Result;"),
        good: ("scr-core/src/codec/xor.rs", "use crate::codec::gf256; // not crate::store"),
    },
    Rule {
        says: "format imports only id, error and sabotage",
        covers: |path| path.starts_with("scr-core/src/format/"),
        offences: |file| imports_other_than(file, &["format", "id", "error", "sabotage"]),
        bad: (
            "scr-core/src/format/node.rs",
            "use crate::{\n    id::NodeName,\n    store::Store,\n};",
        ),
        good: ("scr-core/src/format/node.rs", "use crate::{Error, id::{JobId, NodeName}};"),
    },
    Rule {
        says: "plan never sees a port, nor who carries it out",
        covers: |path| path.starts_with("scr-core/src/plan/"),
        offences: |file| imports_any_of(file, &["comm", "store", "clock", "exec", "session"]),
        bad: ("scr-core/src/plan/evict.rs", "fn f(comm: &dyn crate::comm::Comm) {}"),
        good: (
            "scr-core/src/plan/evict.rs",
            "use crate::config::Config;\nuse crate::format::Place;",
        ),
    },
    Rule {
        says: "a port knows nothing of what is built on it",
        covers: |path| {
            ["comm/", "store/", "event/", "clock.rs"]
                .iter()
                .any(|port| path.strip_prefix("scr-core/src/").is_some_and(|p| p.starts_with(port)))
        },
        offences: |file| imports_any_of(file, &["plan", "exec", "session"]),
        bad: ("scr-core/src/store/mem.rs", "use crate::plan::Room;"),
        good: ("scr-core/src/store/mem.rs", "use crate::clock::Clock;"),
    },
    Rule {
        says: "exec knows nothing of the session that drives it",
        covers: |path| path.starts_with("scr-core/src/exec/"),
        offences: |file| imports_any_of(file, &["session"]),
        bad: ("scr-core/src/exec/flush.rs", "use crate::session::Session;"),
        good: ("scr-core/src/exec/flush.rs", "use crate::plan::flush;"),
    },
    Rule {
        says: "scr-core touches files in store/posix.rs only",
        covers: |path| is_product(path) && path != "scr-core/src/store/posix.rs",
        offences: |file| {
            product_lines_where(file, |code| {
                ["std::fs", "rustix::fs", "libc::open"].iter().any(|name| code.contains(name))
            })
        },
        bad: ("scr-core/src/exec/flush.rs", "let names = std::fs::read_dir(path)?;"),
        good: ("scr-core/src/exec/flush.rs", "let names = store.list(path)?; // std::fs would do"),
    },
    Rule {
        says: "MPI is called in comm/mpi.rs only",
        covers: |path| {
            ["scr-core/src/", "scr-capi/src/", "scr-commands/src/"]
                .iter()
                .any(|dir| path.starts_with(dir))
                && is_rust(path)
                && path != "scr-core/src/comm/mpi.rs"
        },
        offences: |file| code_lines_where(file, calls_mpi),
        bad: ("scr-capi/src/lib.rs", "let n = unsafe { mpi::ffi::MPI_Comm_size(c, p) };"),
        good: ("scr-capi/src/lib.rs", "let world = scr_core::comm::mpi::World::duplicate()?;"),
    },
    Rule {
        says: "scr-core knows no resource manager and no launcher",
        covers: is_product,
        offences: |file| {
            product_lines_where(file, |code| {
                let code = code.to_lowercase();
                ["slurm", "srun", "mpirun", "mpiexec"].iter().any(|word| code.contains(word))
            })
        },
        bad: ("scr-core/src/session/mod.rs", "let job = variable(\"SLURM_JOB_ID\");"),
        good: (
            "scr-core/src/session/mod.rs",
            "let job = host.job; // under Slurm\n#[cfg(test)]\nmod tests {\n    f(\"slurm\");\n}",
        ),
    },
    Rule {
        says: "unsafe code stays in the files listed in tests/tidy.rs",
        covers: |path| {
            is_rust(path)
                && path != "tests/tidy.rs"
                && !MAY_BE_UNSAFE.iter().any(|place| {
                    path == *place || (place.ends_with('/') && path.starts_with(place))
                })
        },
        offences: |file| code_lines_where(file, |code| has_word(code, "unsafe")),
        bad: ("scr-core/src/exec/flush.rs", "let value = unsafe { *pointer };"),
        good: ("scr-core/src/exec/flush.rs", "#![deny(unsafe_code)] // nothing unsafe"),
    },
    Rule {
        says: "a source file begins with its licence, after the line that names its interpreter",
        covers: is_source,
        offences: |file| {
            let first = file.text.lines().find(|line| !line.starts_with("#!"));
            first.filter(|line| !line.contains(SPDX)).map(|_| 1).into_iter().collect()
        },
        bad: ("scripts/demo.sh", "#!/bin/sh\nset -e\n"),
        good: (
            "scripts/demo.sh",
            concat!("#!/bin/sh\n# SPDX-License-", "Identifier: MIT OR Apache-2.0\n"),
        ),
    },
    Rule {
        says: "a source file has at most 900 lines",
        covers: is_source,
        offences: |file| {
            let lines = file.text.lines().count();
            (lines > MOST_LINES).then_some(lines).into_iter().collect()
        },
        // Grown to too many lines where it is used: see `sample`.
        bad: ("scr-core/src/session/mod.rs", "line\n@repeat"),
        good: ("scr-core/src/session/mod.rs", "line\n"),
    },
    Rule {
        says: "nothing is left open in the tree",
        covers: is_source,
        offences: |file| {
            lines_where(file, |line| {
                let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
                let code = [
                    concat!("to", "do!("),
                    concat!("unimplem", "ented!("),
                    concat!("#[ign", "ore"),
                ];
                words.iter().any(|word| has_word(line, word))
                    || code.iter().any(|c| line.contains(c))
            })
        },
        bad: ("scr-core/src/clock.rs", concat!("// TO", "DO: jump")),
        good: ("scr-core/src/clock.rs", "let name = \"scr.XXXXXX\"; // to do so"),
    },
    Rule {
        says: "the tree names no place outside of itself",
        covers: |path| path != "Cargo.lock",
        offences: |file| {
            lines_where(file, |line| {
                [concat!("../sha", "red"), concat!("/wo", "rk/")].iter().any(|s| line.contains(s))
            })
        },
        bad: ("docs/design.md", concat!("see ../sha", "red/notes.md")),
        good: ("docs/design.md", "see formats.md; a network/disk"),
    },
];

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == "rs")
}

/// Whether a file is of the library itself, not of its tests.
fn is_product(path: &str) -> bool {
    path.starts_with("scr-core/src/") && !path.ends_with("/tests.rs") && !path.contains("/tests/")
}

/// Whether a file is program text: by its extension, or because it is a script without one.
fn is_source(path: &str) -> bool {
    const EXTENSIONS: [&str; 11] =
        ["rs", "c", "h", "cpp", "hpp", "f", "f90", "F90", "py", "sh", "cmake"];
    const SCRIPTS: [&str; 2] = ["scripts/", ".ci/"];
    Path::new(path).extension().is_some_and(|found| EXTENSIONS.iter().any(|known| found == *known))
        || (Path::new(path).extension().is_none()
            && SCRIPTS.iter().any(|dir| path.starts_with(dir)))
}

/// The numbers of the lines for which `offends` holds.
fn lines_where(file: &File, offends: impl Fn(&str) -> bool) -> Vec<usize> {
    file.text.lines().zip(1..).filter(|(line, _)| offends(line)).map(|(_, number)| number).collect()
}

/// The same, without what stands in comments.
fn code_lines_where(file: &File, offends: impl Fn(&str) -> bool) -> Vec<usize> {
    lines_where(file, |line| offends(code_of(line)))
}

/// The same, without the tests at the end of the file.
fn product_lines_where(file: &File, offends: impl Fn(&str) -> bool) -> Vec<usize> {
    let end = file.text.find("#[cfg(test)]\nmod ").unwrap_or(file.text.len());
    let before = &file.text[..end];
    code_lines_where(&File { path: file.path.clone(), text: before.to_string() }, offends)
}

/// A line of Rust without its comment; `//` after a colon belongs to an address.
fn code_of(line: &str) -> &str {
    let comment =
        line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')).map(|(at, _)| at);
    &line[..comment.unwrap_or(line.len())]
}

fn is_word_byte(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let bytes = line.as_bytes();
        !is_word_byte(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && !is_word_byte(bytes.get(at + word.len()))
    })
}

/// Whether the crate `mpi` is named, not a module of ours that has its name.
fn calls_mpi(code: &str) -> bool {
    code.match_indices("mpi::").any(|(at, _)| {
        let before = &code[..at];
        !is_word_byte(before.as_bytes().last())
            && !["comm::", "self::", "super::"].iter().any(|ours| before.ends_with(ours))
    })
}

/// The modules of the crate that a file names, each with its line.
///
/// What `lib.rs` passes on from `error` (`crate::Result`) counts as `error`.
fn crate_modules(text: &str) -> Vec<(usize, String)> {
    let code: String = text.lines().flat_map(|line| [code_of(line), "\n"]).collect();
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let rest = &code[at + prefix.len()..];
        let line = 1 + code[..at].matches('\n').count();
        let items = rest.strip_prefix('{').map_or_else(|| vec![rest], top_level_items);
        for item in items {
            let item = item.trim_start();
            let end = item.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(item.len());
            let name = &item[..end];
            match name.chars().next() {
                Some(first) if first.is_uppercase() => found.push((line, "error".to_string())),
                Some(_) => found.push((line, name.to_string())),
                None => {}
            }
        }
    }
    found
}

/// The items of `a::b, c::{d, e}, f}...` up to the brace that closes them.
fn top_level_items(rest: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in rest.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&rest[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&rest[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn imports_other_than(file: &File, allowed: &[&str]) -> Vec<usize> {
    let found = crate_modules(&file.text).into_iter();
    found.filter(|(_, name)| !allowed.contains(&name.as_str())).map(|(line, _)| line).collect()
}

fn imports_any_of(file: &File, refused: &[&str]) -> Vec<usize> {
    let found = crate_modules(&file.text).into_iter();
    found.filter(|(_, name)| refused.contains(&name.as_str())).map(|(line, _)| line).collect()
}

/// What is wrong between the table of contents of the book and the pages there are.
fn book_offences(summary: &str, pages: &[&str]) -> Vec<String> {
    let listed: Vec<&str> = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.is_empty())
        .collect();
    let missing = listed.iter().filter(|page| !pages.contains(page));
    let unlisted = pages.iter().filter(|page| !listed.contains(page));
    missing
        .map(|page| format!("docs/SUMMARY.md lists {page}, which is not there"))
        .chain(unlisted.map(|page| format!("docs/SUMMARY.md does not list {page}")))
        .collect()
}

/// What is wrong with the list of changes.
fn changelog_offences(text: Option<&str>) -> Vec<String> {
    match text {
        None => vec!["CHANGELOG.md is missing".to_string()],
        Some(text) if !text.lines().any(|line| line == "## Unreleased") => {
            vec!["CHANGELOG.md has no section `## Unreleased`".to_string()]
        }
        Some(_) => Vec::new(),
    }
}

/// All text files below the root of the tree, without what is built.
fn tree() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the tree");
    let mut files = Vec::new();
    let mut directories = vec![root.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("list a directory of the tree") {
            let path = entry.expect("read an entry of the tree").path();
            let relative = path.strip_prefix(root).expect("it lies below the root");
            let relative = relative.to_str().expect("paths of the tree are UTF-8").to_string();
            let is_built = relative.starts_with("target")
                || ["demo", ".git"].contains(&relative.as_str())
                || relative.ends_with("__pycache__");
            if is_built || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                files.push(File { path: relative, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 40, "the tree was not found at {}", root.display());
    files
}

fn sample((path, text): (&str, &str)) -> File {
    let text = match text.strip_suffix("@repeat") {
        Some(line) => line.repeat(MOST_LINES + 1),
        None => text.to_string(),
    };
    File { path: path.to_string(), text }
}

#[test]
fn every_rule_catches_its_bad_sample_and_spares_its_good_one() {
    for rule in RULES {
        let (bad, good) = (sample(rule.bad), sample(rule.good));
        assert!((rule.covers)(&bad.path) && (rule.covers)(&good.path), "{}", rule.says);
        assert_ne!((rule.offences)(&bad), Vec::<usize>::new(), "{}", rule.says);
        assert_eq!((rule.offences)(&good), Vec::<usize>::new(), "{}", rule.says);
    }
}

#[test]
fn the_tree_keeps_every_rule() {
    let mut report = String::new();
    let files = tree();
    for rule in RULES {
        for file in files.iter().filter(|file| (rule.covers)(&file.path)) {
            for line in (rule.offences)(file) {
                writeln!(report, "{}:{line}: {}", file.path, rule.says).expect("write to memory");
            }
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn modules_are_found_in_every_form_of_import() {
    let text = "use crate::{Error, id::{JobId, X}, store};\nfn f() -> crate::comm::Comm {}\n// crate::no\n";
    let found: Vec<_> = crate_modules(text);
    let expected = [(1, "error"), (1, "id"), (1, "store"), (2, "comm")];
    assert_eq!(found, expected.map(|(line, name)| (line, name.to_string())));
}

#[test]
fn the_book_lists_exactly_its_pages() {
    let summary = "# Summary\n- [A](a.md)\n- [Draft]()\n";
    assert!(book_offences(summary, &["a.md"]).is_empty());
    assert_eq!(book_offences(summary, &[]).len(), 1);
    assert_eq!(book_offences(summary, &["a.md", "b.md"]).len(), 1);

    let files = tree();
    let pages: Vec<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("docs/"))
        .filter(|page| page.strip_suffix(".md").is_some_and(|name| name != "SUMMARY"))
        .collect();
    let summary = files.iter().find(|file| file.path == "docs/SUMMARY.md").expect("the book");
    assert_eq!(book_offences(&summary.text, &pages), Vec::<String>::new());
}

#[test]
fn changes_are_written_down() {
    assert_eq!(changelog_offences(None).len(), 1);
    assert_eq!(changelog_offences(Some("# Changes\n")).len(), 1);

    let files = tree();
    let changes = files.iter().find(|file| file.path == "CHANGELOG.md");
    assert_eq!(changelog_offences(changes.map(|file| file.text.as_str())), Vec::<String>::new());
}
