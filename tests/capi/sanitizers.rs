// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C programs under AddressSanitizer, UndefinedBehaviorSanitizer and Valgrind: nothing that libscr writes outside of what
//! it was given, and nothing that it loses.
//!
//! The library is not instrumented: AddressSanitizer sees its calls of malloc and of string functions, Valgrind sees all.

use scr_tests::program::{Program, choice, succeed};
use scr_tests::skip;
use std::path::Path;
use std::process::{Command, Output};

const SANITIZE: [&str; 3] =
    ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];

/// What programs of more than one checkpoint need.
const SETTINGS: [(&str, &str); 3] =
    [("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "3"), ("SCR_FLUSH", "1")];

/// Programs of one process, each with the arguments of its launches.
const ALONE: [(&str, &[&str]); 2] =
    [("tests/capi/life.c", &["write", "read"]), ("tests/capi/calls.c", &["write", "table"])];

fn has_sanitizers(test: &str) -> bool {
    let place = tempfile::tempdir().expect("a directory");
    let source = place.path().join("none.c");
    #[expect(clippy::disallowed_methods, reason = "a source file for a compiler")]
    std::fs::write(&source, "int main(void) { return 0; }\n").expect("writes");
    let exe = place.path().join("none");
    let mut compiler = Command::new(choice("CC", "cc"));
    compiler.args(SANITIZE).arg(&source).arg("-o").arg(&exe);
    let is_there = compiler.output().is_ok_and(|output| output.status.success())
        && Command::new(&exe).output().is_ok_and(|output| output.status.success());
    if !is_there {
        skip(test, "the C compiler has no AddressSanitizer");
    }
    is_there
}

fn has_valgrind(test: &str) -> bool {
    let is_there = Command::new("valgrind").arg("--version").output().is_ok();
    if !is_there {
        skip(test, "no valgrind");
    }
    is_there
}

/// The launch under a sanitizer, which sees whole stacks: those of MPI have no frame pointers.
fn sanitized<'a>(launch: &'a mut Command, more: &str) -> &'a mut Command {
    let options = "fast_unwind_on_malloc=0:malloc_context_size=60:detect_leaks=1";
    launch.envs(SETTINGS).env("ASAN_OPTIONS", options).env("LSAN_OPTIONS", more)
}

/// The program under memcheck. A thread that still runs at the end is not lost, so `possible` leaks do not count.
fn checked(program: &Program, place: &Path) -> Command {
    let mut launch = program.alone_in(place);
    let exe = launch.get_args().last().expect("the program").to_os_string();
    let mut valgrind = Command::new("timeout");
    valgrind.args(["--foreground", "--kill-after=10", "600", "valgrind", "--quiet"]);
    valgrind.args(["--error-exitcode=99", "--leak-check=full"]);
    valgrind.args(["--show-leak-kinds=definite,indirect", "--errors-for-leak-kinds=definite"]);
    valgrind.arg(exe).current_dir(place).envs(SETTINGS);
    for (name, value) in launch.envs(SETTINGS).get_envs() {
        valgrind.env(name, value.expect("a value"));
    }
    valgrind
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn without_mpi_sanitizers_find_nothing() {
    if !has_sanitizers("without_mpi_sanitizers_find_nothing") {
        return;
    }
    for (source, steps) in ALONE {
        let program = Program::compile_single_with(source, &SANITIZE);
        for step in steps {
            succeed(sanitized(&mut program.alone_in(program.place()), "").arg(step));
        }
    }
    // They would find it.
    let program = Program::compile_single_with("tests/capi/leak.c", &SANITIZE);
    let lost = sanitized(&mut program.alone_in(program.place()), "").output().expect("runs");
    assert!(!lost.status.success() && said(&lost).contains("in scr::"), "{}", said(&lost));
}

/// The stacks that LeakSanitizer shows, of what was allocated below a function of libscr.
///
/// By names of functions: an address in a plugin that MPI has unloaded is taken for one in the library that lies before it.
fn lost_by_libscr(report: &str) -> Vec<String> {
    let stacks = report.split("\n\n").filter(|stack| stack.contains(" leak of "));
    let is_ours = |stack: &&str| {
        [" in SCR_", " in scr_", " in scr::", "scr_core::"].iter().any(|name| stack.contains(name))
    };
    stacks.filter(is_ours).map(str::to_string).collect()
}

#[test]
fn under_mpi_sanitizers_find_nothing_that_libscr_lost() {
    if !has_sanitizers("under_mpi_sanitizers_find_nothing_that_libscr_lost") {
        return;
    }
    let programs: [(&str, &[&str]); 5] = [
        ("tests/capi/life.c", &["write", "read"]),
        ("tests/capi/misuse.c", &[""]),
        ("tests/capi/disagree.c", &[""]),
        ("tests/capi/parts.c", &["write", "read"]),
        ("tests/capi/raii.cpp", &[""]),
    ];
    for (source, steps) in programs {
        let program = Program::compile_with(source, &SANITIZE);
        for step in steps {
            // MPI loses memory of its own: a leak ends no program, and its stack says whose it is.
            let ranks = if source.contains("parts") { 5 } else { 2 };
            let mut launch = program.job(ranks);
            let output = succeed(sanitized(&mut launch, "exitcode=0").args(
                // No argument is not an empty one.
                Some(step).filter(|step| !step.is_empty()),
            ));
            let report = said(&output);
            assert!(!report.contains("runtime error"), "{source} {step}: {report}");
            let lost = lost_by_libscr(&report);
            assert!(lost.is_empty(), "{source} {step}: {}", lost.join("\n\n"));
        }
    }
    let program = Program::compile_with("tests/capi/leak.c", &SANITIZE);
    let report = said(&succeed(sanitized(&mut program.job(1), "exitcode=0")));
    assert_eq!(lost_by_libscr(&report).len(), 1, "they would find it: {report}");
}

#[test]
fn valgrind_finds_nothing() {
    if !has_valgrind("valgrind_finds_nothing") {
        return;
    }
    for (source, steps) in ALONE {
        let program = Program::compile_single(source);
        for step in steps {
            succeed(checked(&program, program.place()).arg(step));
        }
    }
    let program = Program::compile_single("tests/capi/leak.c");
    let lost = checked(&program, program.place()).output().expect("runs");
    assert_eq!(lost.status.code(), Some(99), "it would find it: {}", said(&lost));
}
