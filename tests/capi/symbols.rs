// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the linker sees of the shared library.

use scr_tests::program::{library, root, succeed};
use std::process::Command;

fn stdout(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).expect("UTF-8")
}

#[test]
fn exactly_the_functions_of_the_header_are_exported() {
    let names =
        stdout(Command::new("nm").args(["-D", "--defined-only"]).arg(library().join("libscr.so")));
    let mut exported: Vec<_> =
        names.lines().filter_map(|line| line.split_whitespace().last()).collect();
    exported.sort_unstable();
    let listed =
        std::fs::read_to_string(root().join("tests/capi/symbols.txt")).expect("symbols.txt");
    assert_eq!(exported, listed.lines().collect::<Vec<_>>());

    let read = |path| std::fs::read_to_string(root().join(path)).expect("a header");
    let (header, module) = (read("include/scr.h"), read("include/scr.f90"));
    for name in &exported {
        if name.starts_with("SCR_") {
            assert!(header.contains(&format!("{name}(")), "{name} is not in scr.h");
            // Every function is there for Fortran, by both names; only a variadic one cannot be.
            for fortran in [name.to_lowercase(), name.to_lowercase() + "_"] {
                let is_there = exported.contains(&fortran.as_str());
                assert_eq!(is_there, *name != "SCR_Configf", "{fortran}");
            }
        } else {
            let subroutine = format!("    subroutine {}(", name.trim_end_matches('_'));
            assert!(module.contains(&subroutine), "{name} is not in scr.f90");
        }
    }
}

#[test]
fn programs_ask_for_the_library_by_its_abi() {
    let entries = stdout(Command::new("readelf").arg("-d").arg(library().join("libscr.so")));
    assert!(entries.contains("Library soname: [libscr.so.4]"), "{entries}");
}
