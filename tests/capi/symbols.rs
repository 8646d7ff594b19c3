// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the linker sees of the shared library.

use scr_tests::program::{library, root, single_library, succeed};
use std::path::Path;
use std::process::Command;

fn stdout(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).expect("UTF-8")
}

/// The symbols that a library gives to others.
fn exported(library: &Path) -> Vec<String> {
    let names =
        stdout(Command::new("nm").args(["-D", "--defined-only"]).arg(library.join("libscr.so")));
    let last = |line: &str| line.split_whitespace().last().map(str::to_string);
    let mut exported: Vec<_> = names.lines().filter_map(last).collect();
    exported.sort_unstable();
    exported
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

/// The committed lists, as one.
fn listed(paths: &[&str]) -> Vec<String> {
    let lists = paths.iter().flat_map(|path| {
        let list: Vec<_> = read(path).lines().map(str::to_string).collect();
        list
    });
    let mut listed: Vec<_> = lists.collect();
    listed.sort_unstable();
    listed
}

#[test]
fn exactly_the_functions_of_the_headers_are_exported() {
    let exported = exported(library());
    assert_eq!(exported, listed(&["tests/capi/symbols.txt", "tests/capi/symbols_mpi.txt"]));

    let headers = read("include/scr.h") + &read("include/scr_mpi.h");
    let module = read("include/scr.f90");
    for name in &exported {
        if name.starts_with("SCR_") {
            assert!(headers.contains(&format!("{name}(")), "{name} is not in a header");
            // Every function is there for Fortran, by both names; only a variadic one cannot be.
            for fortran in [name.to_lowercase(), name.to_lowercase() + "_"] {
                assert_eq!(exported.contains(&fortran), *name != "SCR_Configf", "{fortran}");
            }
        } else {
            let subroutine = format!("    subroutine {}(", name.trim_end_matches('_'));
            assert!(module.contains(&subroutine), "{name} is not in scr.f90");
        }
    }
}

#[test]
fn without_mpi_there_is_no_communicator_to_pass() {
    assert_eq!(exported(single_library()), listed(&["tests/capi/symbols.txt"]));
}

#[test]
fn programs_ask_for_the_library_by_its_abi() {
    let entries = stdout(Command::new("readelf").arg("-d").arg(library().join("libscr.so")));
    assert!(entries.contains("Library soname: [libscr.so.4]"), "{entries}");
}
