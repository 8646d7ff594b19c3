// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Python package `scr` over the libraries as they are built: python/tests, with a deadline for the whole.
//!
//! `PYTHON` names an interpreter that has pytest, or mypy.

use scr_tests::program::{
    OPEN_MPI, is_default_mpi, launcher, link_libraries, python, root, succeed,
};
use scr_tests::skip;
use std::process::Command;

/// They take half a minute; what hangs has a deadline of its own, and this is for what does not even heed that.
const DEADLINE: &str = "600";

#[test]
fn the_package_keeps_its_promises() {
    const NAME: &str = "the_package_keeps_its_promises";
    let Some(python) = python("pytest") else {
        return skip(NAME, "no Python with pytest");
    };
    let place = tempfile::tempdir().expect("a directory");
    link_libraries(place.path());
    let mut tests = Command::new("timeout");
    tests
        .args(["--kill-after=10", DEADLINE])
        .arg(python)
        // Nothing is written to the source tree.
        .args(["-B", "-m", "pytest", "-q", "-rs", "--tb=short", "-p", "no:cacheprovider"])
        .arg("--basetemp")
        .arg(place.path().join("tests"))
        .arg("python/tests")
        .current_dir(root())
        .envs(OPEN_MPI)
        .env("MPIRUN", launcher())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONPATH", root().join("python"))
        .env("LD_LIBRARY_PATH", place.path());
    let output = tests.output().expect("run timeout");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{said}{errors}", output.status);
    assert!(said.contains(" passed"), "{said}");
    for line in said.lines().filter(|line| line.starts_with("SKIPPED")) {
        if is_default_mpi() || !line.contains("no mpi4py") {
            skip(NAME, line);
        } else {
            println!("{line}: mpi4py is of another MPI than the one that is tested");
        }
    }
}

#[test]
fn the_type_hints_are_those_that_programs_rely_on() {
    let Some(python) = python("mypy") else {
        return skip("the_type_hints_are_those_that_programs_rely_on", "no Python with mypy");
    };
    let place = tempfile::tempdir().expect("a directory");
    // The package itself, then a program that uses all of it, rightly and wrongly.
    for what in [&["-p", "scr"][..], &["tests/python/hints.py"]] {
        let mut mypy = Command::new(&python);
        mypy.args(["-B", "-m", "mypy", "--config-file", "python/pyproject.toml", "--cache-dir"]);
        mypy.arg(place.path()).args(what).current_dir(root()).env("MYPYPATH", "python");
        succeed(&mut mypy);
    }
}
