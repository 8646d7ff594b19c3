// SPDX-License-Identifier: MIT OR Apache-2.0
//! A program in C, two ranks under MPI, and the commands, in a prefix that SCR 3 left.

use scr_tests::program::{Program, root, scr, succeed};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of the prefix as stored, by their paths.
fn stored(below: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let base = root().join("tests/data/scr3/prefix");
    for entry in fs::read_dir(base.join(below)).expect("the stored prefix").flatten() {
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            stored(&path, files);
        } else {
            files.insert(path, fs::read(entry.path()).expect("a stored file"));
        }
    }
}

fn index(prefix: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(scr());
    let output = succeed(command.arg("index").args(arguments).arg("--prefix").arg(prefix));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_program_goes_on_where_it_was_under_scr_3() {
    let program = Program::compile("tests/capi/scr3.c");
    let prefix = program.place();
    let mut left = BTreeMap::new();
    stored(Path::new(""), &mut left);
    for (path, bytes) in &left {
        let path = prefix.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, bytes).expect("a file");
    }
    let listed = index(prefix, &[]);
    assert!(listed.contains("*  ckpt.6 (written by SCR 3)"), "{listed}");

    succeed(program.job(2).args(["ckpt.6", "ckpt.2"]));
    let listed = index(prefix, &[]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[1].starts_with("   9 YES") && lines[1].ends_with("ours"), "{listed}");
    assert!(lines[3].starts_with("   6 NO ") && lines[3].ends_with("by SCR 3)"), "{listed}");

    succeed(program.job(2).arg("ours"));
    let listed = index(prefix, &["--list", "--drop", "ckpt.6"]);
    assert!(listed.contains("   6 YES"), "what was set aside is taken back: {listed}");
    for path in left.keys() {
        assert_eq!(fs::read(prefix.join(path)).expect("a file"), left[path], "{}", path.display());
    }
}
