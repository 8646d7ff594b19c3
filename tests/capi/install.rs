// SPDX-License-Identifier: MIT OR Apache-2.0
//! The installed tree: what programs find in it, and that it can be moved.

use scr_tests::program::{Language, library, python, root, single_library, succeed};
use scr_tests::skip;
use std::path::Path;
use std::process::Command;

/// Installs what was built for the tests below `root`, and moves it.
fn install(place: &Path) -> std::path::PathBuf {
    let (built, stage) = (place.join("built"), place.join("stage"));
    std::fs::create_dir(&built).expect("a directory");
    for name in ["libscr.so", "libscr.a"] {
        std::os::unix::fs::symlink(library().join(name), built.join(name)).expect("a link");
    }
    // The commands have tests of their own.
    std::os::unix::fs::symlink("/bin/true", built.join("scr")).expect("a link");
    let mut script = Command::new(root().join("scripts/install"));
    succeed(script.arg(&built).arg(single_library()).arg(&stage).args(["/usr", "4.0.0"]));
    let moved = place.join("moved");
    std::os::unix::fs::symlink(stage.join("usr"), &moved).expect("a link");
    moved
}

#[test]
fn fortran_programs_link_as_with_scr() {
    if !Language::Fortran.is_there() {
        return skip("fortran_programs_link_as_with_scr", "no Fortran compiler");
    }
    let place = tempfile::tempdir().expect("a directory");
    let tree = install(place.path());
    let source = place.path().join("use.f90");
    let text = "program p\n  use scr\n  implicit none\n  character(len=20) :: version\n  \
                integer :: ierror\n  call scr_get_version(version, ierror)\n  \
                if (ierror /= SCR_SUCCESS) error stop\n  print '(a)', trim(version)\nend program p\n";
    #[expect(clippy::disallowed_methods, reason = "a source file for a compiler")]
    std::fs::write(&source, text).expect("writes");
    for libraries in [&["-lscr"][..], &["-lscrf", "-lscr"], &["-l:libscrf.a", "-l:libscr.a"]] {
        let exe = place.path().join("use");
        let mut compiler = Command::new(Language::Fortran.compiler());
        compiler.arg("-I").arg(tree.join("include")).arg(&source).arg("-o").arg(&exe);
        succeed(compiler.arg("-L").arg(tree.join("lib")).args(libraries));
        let output = succeed(Command::new(&exe).env("LD_LIBRARY_PATH", tree.join("lib")));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "v4.0.0\n", "{libraries:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "tests look at files from outside")]
fn every_header_is_installed() {
    let place = tempfile::tempdir().expect("a directory");
    let tree = install(place.path());
    for name in ["scr.h", "scr_mpi.h", "scr.hpp", "scrf.h", "scr.f90"] {
        let committed = std::fs::read(root().join("include").join(name)).expect(name);
        assert_eq!(std::fs::read(tree.join("include").join(name)).ok(), Some(committed), "{name}");
    }
}

#[test]
fn python_finds_the_package_and_the_package_the_library() {
    let Some(python) = python("ctypes") else {
        return skip("python_finds_the_package_and_the_package_the_library", "no Python");
    };
    let place = tempfile::tempdir().expect("a directory");
    let tree = install(place.path());
    let mut program = Command::new(python);
    program.args(["-B", "-c", "import scr; scr.load(mpi=False); print(scr.get_version())"]);
    program.env("PYTHONPATH", tree.join("lib/python3")).env_remove("LD_LIBRARY_PATH");
    let output = succeed(program.env_remove("SCR_LIBRARY"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "v4.0.0\n");
}

#[test]
fn pkg_config_knows_the_tree() {
    if Command::new("pkg-config").arg("--version").output().is_err() {
        return skip("pkg_config_knows_the_tree", "no pkg-config");
    }
    let place = tempfile::tempdir().expect("a directory");
    let tree = install(place.path());
    let mut asked = Command::new("pkg-config");
    asked.args(["--cflags", "--libs", "scr"]).env("PKG_CONFIG_PATH", tree.join("lib/pkgconfig"));
    let options = String::from_utf8(succeed(&mut asked).stdout).expect("UTF-8");
    let mut compiler = Command::new(Language::C.compiler());
    compiler.arg(root().join("examples/c/heat2d.c")).arg("-o").arg(place.path().join("heat2d"));
    succeed(compiler.args(options.split_whitespace()));
}
