// SPDX-License-Identifier: MIT OR Apache-2.0
//! The installed tree: what programs find in it, and that it can be moved.

use scr_tests::program::{
    Language, Program, choice, library, python, root, scr, single_library, succeed,
};
use scr_tests::skip;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Installs what was built for the tests below `place`, and moves it.
pub(crate) fn install(place: &Path) -> PathBuf {
    install_of(place, library())
}

/// The same, with the library from the directory `library`.
pub(crate) fn install_of(place: &Path, library: &Path) -> PathBuf {
    let (built, single) = release(place, library);
    let stage = place.join("stage");
    let mut script = Command::new(root().join("scripts/install"));
    succeed(script.arg(built).arg(single).arg(&stage).args(["/usr", "4.0.0"]));
    let moved = place.join("moved");
    std::os::unix::fs::symlink(stage.join("usr"), &moved).expect("a link");
    moved
}

/// What `make` would have built, as links: the release directory, and that without MPI.
#[expect(clippy::disallowed_methods, reason = "a tree for a test")]
fn release(place: &Path, library: &Path) -> (PathBuf, PathBuf) {
    let (built, single) = (place.join("release"), place.join("single/release"));
    for (directory, from) in [(&built, library), (&single, single_library())] {
        std::fs::create_dir_all(directory).expect("a directory");
        for name in ["libscr.so", "libscr.a"] {
            std::os::unix::fs::symlink(from.join(name), directory.join(name)).expect("a link");
        }
    }
    std::os::unix::fs::symlink(scr(), built.join("scr")).expect("a link");
    (built, single)
}

/// All files and links of a tree, relative to it.
fn tree(place: &Path) -> Vec<String> {
    let found = succeed(Command::new("find").arg(".").current_dir(place)).stdout;
    let found = String::from_utf8(found).expect("UTF-8");
    let mut found: Vec<_> = found.lines().map(str::to_string).collect();
    found.sort_unstable();
    found
}

#[test]
fn make_install_does_the_same() {
    let place = tempfile::tempdir().expect("a directory");
    let (direct, by_make) = (place.path().join("direct"), place.path().join("by make"));
    std::fs::create_dir(&direct).expect("a directory");
    install(&direct);
    release(&by_make, library());
    let stage = by_make.join("stage");
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(root()).arg("install").arg("PREFIX=/usr");
    make.arg(format!("DESTDIR={}", stage.display()));
    succeed(make.arg(format!("CARGO_TARGET_DIR={}", by_make.display())));
    assert_eq!(tree(&stage), tree(&direct.join("stage")));
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

/// The commands that `scr --help` names.
fn commands() -> Vec<String> {
    let help = String::from_utf8(succeed(Command::new(scr()).arg("--help")).stdout).expect("UTF-8");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed.take_while(|line| !line.is_empty()).filter_map(|line| {
        line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next()
    });
    names.filter(|name| *name != "help").map(str::to_string).collect()
}

#[test]
fn every_command_has_its_page_and_is_completed() {
    let place = tempfile::tempdir().expect("a directory");
    let share = install(place.path()).join("share");
    let read = |path: &str| {
        std::fs::read_to_string(share.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let scripts = [
        "bash-completion/completions/scr",
        "zsh/site-functions/_scr",
        "fish/vendor_completions.d/scr.fish",
    ]
    .map(read);
    let whole = read("man/man1/scr.1");
    let commands = commands();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in &commands {
        let page = read(&format!("man/man1/scr-{command}.1"));
        assert!(page.contains("\n.SH NAME\n"), "{page}");
        let reference = format!("scr\\-{}(1)", command.replace('-', "\\-"));
        assert!(whole.contains(&reference), "{reference} is not in {whole}");
        assert!(scripts.iter().all(|script| script.contains(command.as_str())), "{command}");
    }
    // By SCR's names too, and no page for what is not for people.
    for name in ["run", "index", "print", "log_event", "list_down_nodes"] {
        let ours = format!("man/man1/scr-{}.1", name.replace('_', "-"));
        assert_eq!(read(&format!("man/man1/scr_{name}.1")), read(&ours));
    }
    assert_eq!(read("man/man1/scr_srun.1"), read("man/man1/scr-run.1"));
    let pages = tree(&share.join("man/man1"));
    let own = pages.iter().filter(|page| page.contains("/scr") && !page.contains("/scr_"));
    assert_eq!(own.count(), 1 + commands.len(), "{pages:?}");
    succeed(Command::new("bash").arg("-n").arg(share.join("bash-completion/completions/scr")));
}

#[test]
fn the_installed_configuration_changes_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let file = install(place.path()).join("share/scr/scr.conf");
    let text = std::fs::read_to_string(&file).expect("scr.conf");
    assert_eq!(text, scr_core::config::template());
    let program = Program::compile_single("tests/capi/life.c");
    let mut job = program.alone_in(program.place());
    job.envs([("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "3")]);
    let output = succeed(job.env("SCR_CONF_FILE", &file).arg("write"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("scr.conf"), "{said}");
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
    let asked = |package: &str| {
        let mut asked = Command::new("pkg-config");
        asked.args(["--cflags", "--libs", package]);
        asked.env("PKG_CONFIG_PATH", tree.join("lib/pkgconfig"));
        String::from_utf8(succeed(&mut asked).stdout).expect("UTF-8")
    };
    let mut compiler = Command::new(Language::C.compiler());
    compiler.arg(root().join("examples/c/heat2d.c")).arg("-o").arg(place.path().join("heat2d"));
    succeed(compiler.args(asked("scr").split_whitespace()));

    let exe = place.path().join("alone");
    let mut compiler = Command::new(choice("CC", "cc"));
    compiler.arg("-DWITHOUT_MPI").arg("-I").arg(root().join("tests/capi"));
    compiler.arg(root().join("tests/capi/leak.c")).arg("-o").arg(&exe);
    succeed(compiler.args(asked("scr_single").split_whitespace()));
    let mut alone = Command::new(&exe);
    alone.env("LD_LIBRARY_PATH", tree.join("lib")).env("SCR_CACHE_BASE", place.path());
    succeed(&mut alone);
}
