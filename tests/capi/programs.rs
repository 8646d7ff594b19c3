// SPDX-License-Identifier: MIT OR Apache-2.0
//! C and C++ programs against the library: those of this directory check themselves, heat2d is the example that users read.

use scr_tests::program::{Program, succeed};
use std::process::Command;

#[test]
fn wrong_calls_are_answered_with_codes() {
    succeed(&mut Program::compile("tests/capi/misuse.c").job(2));
}

#[test]
fn ranks_that_disagree_are_all_told() {
    let program = Program::compile("tests/capi/disagree.c");
    let settings = [("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_SIZE", "3")];
    succeed(program.job(3).envs(settings));
    for way in ["0", "1", "2", "3", "4", "5", "6"] {
        for who in [&[][..], &["first"]] {
            succeed(program.job(3).args(["config", way]).args(who));
        }
    }
}

#[test]
fn the_static_library_does_as_well() {
    succeed(&mut Program::compile_static("tests/capi/misuse.c").job(1));
}

#[test]
fn scr_left_open_does_no_harm() {
    let forgotten = Program::compile("tests/capi/forgotten.c");
    succeed(&mut forgotten.job(2));
    succeed(forgotten.job(2).arg("and call"));
}

#[test]
fn switched_off_every_right_call_passes() {
    succeed(Program::compile("tests/capi/disabled.c").job(2).env("SCR_ENABLE", "0"));
}

#[test]
fn config_answers_as_scr_does() {
    succeed(Program::compile("tests/capi/config.c").job(1).env("SCR_CACHE_SIZE", "5"));
}

#[test]
fn a_wrong_configuration_fails_everywhere_and_is_printed_once() {
    let output = succeed(&mut Program::compile("tests/capi/wrong_config.c").job(3));
    let printed = String::from_utf8_lossy(&output.stdout);
    for text in ["ERROR: rank 0 on", "SCR_CACHE_SIZE"] {
        assert!(printed.contains(text), "no {text:?} in {printed}");
    }
    assert_eq!(printed.matches("many").count(), 1, "{printed}");
}

#[test]
fn objects_of_cpp_end_what_they_began() {
    let raii = Program::compile("tests/capi/raii.cpp");
    succeed(raii.job(2).env("SCR_CACHE_BYPASS", "0").env("SCR_CACHE_SIZE", "3"));
}

#[test]
fn heat2d_runs_with_scr_switched_off() {
    let heat = Program::compile("examples/c/heat2d.c");
    let printed = run(heat.job(4).env("SCR_ENABLE", "0").args(SMALL));
    assert!(printed.contains("heat2d: 4 ranks, field 64 x 48 (0.0 MiB), steps 0..40"), "{printed}");
    assert!(printed.contains("heat2d: step 20 checkpoint heat.20"), "{printed}");
    assert!(heat.place().join("ckpt/heat.40/rank.3").is_file(), "written where the program said");
    final_line(&printed, 40);
}

#[test]
fn a_checkpoint_lives_from_one_launch_to_the_next() {
    let life = Program::compile("tests/capi/life.c");
    for step in ["write", "read"] {
        succeed(life.job(3).env("SCR_CACHE_SIZE", "3").env("SCR_CACHE_BYPASS", "0").arg(step));
    }
}

#[test]
fn heat2d_ends_the_same_whether_it_was_restarted_or_not() {
    let whole = Program::compile("examples/c/heat2d.c");
    let expected = final_line(&run(whole.job(4).args(SMALL)), 40);

    let pieces = Program::compile("examples/c/heat2d.c");
    run(pieces.job(4).args(SMALL).args(["-s", "25"]));
    let printed = run(pieces.job(4).args(SMALL));
    assert!(printed.contains("heat2d: restarted from heat.20 at step 20"), "{printed}");
    assert_eq!(final_line(&printed, 40), expected);
}

/// A field that takes no time; checkpoints at 10, 20, 30 and 40.
const SMALL: [&str; 6] = ["-n", "64x48", "-s", "40", "-c", "10"];

fn run(job: &mut Command) -> String {
    String::from_utf8(succeed(job).stdout).expect("UTF-8")
}

/// The line with the checksum, which must be that of `step`.
fn final_line(printed: &str, step: u32) -> String {
    let line = printed.lines().find(|line| line.starts_with("heat2d: final checksum 0x"));
    let line = line.unwrap_or_else(|| panic!("no checksum in {printed}"));
    assert!(line.ends_with(&format!(" after step {step}")), "{line}");
    line.to_string()
}
