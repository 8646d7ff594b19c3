// SPDX-License-Identifier: MIT OR Apache-2.0
//! The routines for Fortran as compilers call them, and what Fortran programs include or use.

use scr_tests::program::{Language, Program, root, succeed};
use scr_tests::skip;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

#[test]
fn lengths_of_texts_are_read_whatever_type_the_compiler_gives_them() {
    for length in ["-DLENGTH=int", "-DLENGTH=size_t", "-DDIRTY"] {
        for name in ["-DNAME(x)=x", "-DNAME(x)=x##_"] {
            let program = Program::compile_with("tests/capi/fortran.c", &[length, name]);
            let mut job = program.job(2);
            succeed(job.env("SCR_CACHE_BYPASS", "0").env("SCR_CACHE_SIZE", "3"));
        }
    }
}

/// The integers that a header or module defines.
fn constants(path: &str) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(root().join(path)).expect(path);
    let pair = |line: &str| {
        let line = line.trim();
        let definition = if let Some(rest) = line.strip_prefix("#define ") {
            rest.replacen(' ', "=", 1)
        } else if let Some(rest) = line.strip_prefix("PARAMETER (") {
            rest.trim_end_matches(')').to_string()
        } else {
            line.strip_prefix("integer(c_int), parameter :: ")?.replace(' ', "")
        };
        let (name, value) = definition.split_once('=')?;
        let value = match value {
            "(1 << 0)" => 1,
            "(1 << 1)" => 2,
            number => number.parse().ok()?,
        };
        Some((name.to_string(), value))
    };
    text.lines().filter_map(pair).collect()
}

#[test]
fn constants_are_those_of_c() {
    let expected = constants("include/scr.h");
    assert!(expected.len() > 15, "{expected:?}");
    for path in ["include/scrf.h", "include/scr.f90"] {
        assert_eq!(constants(path), expected, "{path}");
    }
}

/// Lets the Fortran compiler look at `text`.
fn is_taken(place: &Path, name: &str, text: &str) -> bool {
    let source = place.join(name);
    #[expect(clippy::disallowed_methods, reason = "a source file for a compiler")]
    std::fs::write(&source, text).expect("writes");
    let mut compiler = Command::new(Language::Fortran.compiler());
    compiler.args(["-Wall", "-Werror", "-fsyntax-only", "-I"]).arg(root().join("include"));
    compiler.arg("-J").arg(place).arg(root().join("include/scr.f90")).arg(&source);
    compiler.output().expect("the compiler runs").status.success()
}

#[test]
fn calls_that_are_wrong_do_not_compile() {
    if !Language::Fortran.is_there() {
        return skip("calls_that_are_wrong_do_not_compile", "no Fortran compiler");
    }
    let place = tempfile::tempdir().expect("a directory");
    for (call, is_right) in [
        ("call scr_init(ierror)", true),
        ("call scr_init()", false),
        ("call scr_init(name)", false),
        ("call scr_init_comm(flag, ierror)", true),
        ("call scr_init_comm(ierror)", false),
        ("call scr_start_output('a', SCR_FLAG_CHECKPOINT + SCR_FLAG_OUTPUT, ierror)", true),
        ("call scr_start_output(SCR_FLAG_CHECKPOINT, 'a', ierror)", false),
        ("call scr_start_output('a', ierror)", false),
        ("call scr_complete_output(1, ierror)", true),
        ("call scr_complete_output(.true., ierror)", false),
        ("call scr_have_restart(flag, name, ierror)", true),
        ("call scr_have_restart(1, name, ierror)", false),
        ("call scr_route_file('a', name, ierror)", true),
        ("call scr_route_file('a', 'b', ierror)", false),
        ("call scr_route_file('a', name)", false),
    ] {
        let text = format!(
            "program p\n  use scr\n  implicit none\n  character(len=SCR_MAX_FILENAME) :: name = ' '\n  \
             integer :: flag = 0, ierror = 0\n  {call}\n  print *, name, flag, ierror\nend program p\n"
        );
        assert_eq!(is_taken(place.path(), "use.f90", &text), is_right, "{call}");
    }
}

#[test]
fn fixed_and_free_form_take_the_include_file() {
    if !Language::Fortran.is_there() {
        return skip("fixed_and_free_form_take_the_include_file", "no Fortran compiler");
    }
    let text = "      program p\n      implicit none\n      include 'scrf.h'\n      \
                print *, SCR_SUCCESS, SCR_MAX_FILENAME, SCR_FLAG_OUTPUT\n      end\n";
    let place = tempfile::tempdir().expect("a directory");
    for name in ["free.f90", "fixed.f"] {
        // What a program does not use is no fault of an include file.
        let source = text.replace("program p", "program q");
        let path = place.path().join(name);
        #[expect(clippy::disallowed_methods, reason = "a source file for a compiler")]
        std::fs::write(&path, source).expect("writes");
        let mut compiler = Command::new(Language::Fortran.compiler());
        compiler.args(["-Wall", "-Wno-unused-parameter", "-Werror", "-fsyntax-only", "-I"]);
        succeed(compiler.arg(root().join("include")).arg(&path));
    }
    let lines = std::fs::read_to_string(root().join("include/scrf.h")).expect("scrf.h");
    assert!(lines.lines().all(|line| line.len() <= 72), "fixed form ends at column 72");
}
