// SPDX-License-Identifier: MIT OR Apache-2.0
//! The installed tree under a second MPI, MPICH as Debian has it: found through CMake and pkg-config by projects outside of
//! the source tree, whose program is killed and goes on.
//!
//! Where MPICH itself is the MPI that is tested, all tests are under it, and these do nothing.

use crate::cmake::{Project, finds, has_cmake};
use crate::install::install_of;
use scr_tests::launch::{EVERY, STEPS, kill_and_go_on};
use scr_tests::program::{
    MPICH_COMPILER, MPICH_LAUNCHER, is_default_mpi, mpich_library, python, root, succeed,
};
use scr_tests::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library for MPICH; `None`, with a note, where it cannot be had.
fn library(test: &str) -> Option<&'static Path> {
    if !is_default_mpi() {
        return None;
    }
    let library = mpich_library();
    if library.is_none() {
        skip(test, "no MPICH beside the default MPI");
    }
    library
}

/// Four ranks of heat2d, killed and launched again.
fn goes_on(exe: &Path, libraries: &Path) {
    kill_and_go_on(&|place, rest_ms| {
        let mut job = Command::new(MPICH_LAUNCHER);
        job.args(["-n", "4"]).arg(exe).args(["-n", "64x48", "-s", &STEPS.to_string()]);
        job.args(["-c", &EVERY.to_string(), "-d", &rest_ms.to_string()]).current_dir(place);
        let cache = place.join("cache");
        job.env("SCR_CACHE_BASE", &cache).env("SCR_CNTL_BASE", &cache);
        job.env("LD_LIBRARY_PATH", libraries);
        job
    });
}

#[test]
fn a_project_with_mpich_finds_the_tree_by_cmake() {
    const NAME: &str = "a_project_with_mpich_finds_the_tree_by_cmake";
    let Some(library) = library(NAME).filter(|_| has_cmake(NAME)) else { return };
    let place = tempfile::tempdir().expect("a directory");
    let tree = install_of(place.path(), library);
    finds(MPICH_COMPILER, &tree, "scr");
    let project = Project::new(
        MPICH_COMPILER,
        &format!(
            "project(outside C)\nfind_package(MPI REQUIRED COMPONENTS C)\n\
             find_package(SCR 3 REQUIRED)\nadd_executable(heat2d \"{}\")\n\
             target_link_libraries(heat2d SCR::SCR)\n",
            root().join("examples/c/heat2d.c").display()
        ),
    );
    project.make(&[format!("-DCMAKE_PREFIX_PATH={}", tree.display())]);
    // What was built knows where the library is.
    goes_on(&project.build().join("heat2d"), Path::new(""));
}

#[test]
fn a_program_with_mpich_is_compiled_by_pkg_config() {
    const NAME: &str = "a_program_with_mpich_is_compiled_by_pkg_config";
    let Some(library) = library(NAME) else { return };
    if Command::new("pkg-config").arg("--version").output().is_err() {
        return skip(NAME, "no pkg-config");
    }
    let place = tempfile::tempdir().expect("a directory");
    let tree = install_of(place.path(), library);
    let mut asked = Command::new("pkg-config");
    asked.args(["--cflags", "--libs", "scr"]).env("PKG_CONFIG_PATH", tree.join("lib/pkgconfig"));
    let options = String::from_utf8(succeed(&mut asked).stdout).expect("UTF-8");
    let exe: PathBuf = place.path().join("heat2d");
    let mut compiler = Command::new(MPICH_COMPILER);
    compiler.arg(root().join("examples/c/heat2d.c")).arg("-o").arg(&exe);
    succeed(compiler.args(options.split_whitespace()));
    goes_on(&exe, &tree.join("lib"));
}

/// Debian's mpi4py is of Open MPI: ranks in Python under MPICH need one of their own, and are told.
#[test]
fn ranks_whose_mpi4py_is_of_another_mpi_are_told() {
    const NAME: &str = "ranks_whose_mpi4py_is_of_another_mpi_are_told";
    let Some(library) = library(NAME) else { return };
    let Some(python) = python("mpi4py.MPI") else { return skip(NAME, "no Python with mpi4py") };
    let place = tempfile::tempdir().expect("a directory");
    let link = place.path().join("libscr.so.4");
    std::os::unix::fs::symlink(library.join("libscr.so"), &link).expect("a link");
    let mut job = Command::new("timeout");
    job.args(["--foreground", "--kill-after=10", "60", MPICH_LAUNCHER, "-n", "2"]);
    job.arg(python).args(["-B", "-c", "import scr; scr.init()"]).current_dir(place.path());
    job.env("PYTHONPATH", root().join("python")).env("LD_LIBRARY_PATH", place.path());
    let output = job.output().expect("run timeout");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("was built with another MPI than mpi4py"), "{said}");
}
