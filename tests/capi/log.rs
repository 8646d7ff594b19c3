// SPDX-License-Identifier: MIT OR Apache-2.0
//! SCR's text log, as programs leave it.

use scr_core::event::scr_log::Civil;
use scr_tests::program::{Program, succeed};
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "tests/capi/life.c";

fn launch(job: &mut Command, text_enable: &str) {
    let settings = [
        ("SCR_CACHE_BYPASS", "0"),
        ("SCR_CACHE_SIZE", "3"),
        ("SCR_LOG_ENABLE", "1"),
        ("SCR_LOG_TXT_ENABLE", text_enable),
        ("SCR_NODE", "n7"),
        ("SCR_JOB_ID", "4711"),
        ("SCR_JOB_NAME", "heat"),
        ("SCR_CLUSTER_NAME", "big one"),
        // Half past five hours ahead of UTC.
        ("TZ", "XYZ-5:30"),
    ];
    succeed(job.envs(settings).arg("write"));
}

fn read(place: &Path, name: &str) -> String {
    std::fs::read_to_string(place.join(".scr").join(name)).expect(name)
}

/// What stands after a word up to a comma.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let (_, rest) = text.split_once(word).unwrap_or_else(|| panic!("no {word} in {text}"));
    rest.split(',').next().unwrap_or(rest)
}

#[test]
fn the_text_log_is_in_local_time_and_in_the_form_of_scr() {
    let program = Program::compile_single(SOURCE);
    launch(&mut program.alone_in(program.place()), "1");
    let (log, events) = (read(program.place(), "log"), read(program.place(), "events.jsonl"));
    let start = events.lines().find(|line| line.contains(r#""kind":"START""#)).expect("a start");
    for text in [r#""job_name":"heat""#, r#""cluster":"big one""#, r#""job_id":"4711""#] {
        assert!(start.contains(text), "no {text} in {start}");
    }
    let unix_seconds: f64 = after(start, r#""unix_seconds":"#).parse().expect("a time");
    let local = Civil::at(unix_seconds as u64, |_| 19_800).iso();
    let first = format!("{local}: host=n7, jobid=4711, event=START, procs=1, nodes=1");
    assert_eq!(log.lines().next(), Some(first.as_str()));
    for line in log.lines() {
        let fields = line.get(19..).expect("a line");
        assert!(fields.starts_with(": host=n7, jobid=4711, "), "{line}");
    }
    let end = log.lines().find(|line| line.contains("event=CHECKPOINT_END")).expect("an end");
    assert!(after(end, "secs=").parse::<f64>().is_ok(), "{end}");
    let last = log.lines().last().expect("lines");
    assert!(last.ends_with(r#"event=HALT, note="SCR_FINALIZE_CALLED""#), "{last}");
}

#[test]
fn without_the_text_log_there_is_only_json() {
    let program = Program::compile_single(SOURCE);
    launch(&mut program.alone_in(program.place()), "0");
    assert!(!program.place().join(".scr/log").exists());
    assert!(read(program.place(), "events.jsonl").contains("CHECKPOINT_END"));
}

#[test]
fn of_many_ranks_one_keeps_the_log() {
    let program = Program::compile(SOURCE);
    launch(&mut program.job(3), "1");
    let log = read(program.place(), "log");
    assert_eq!(log.matches("event=START, procs=3, nodes=1").count(), 1, "{log}");
    let (starts, ends) = ("event=CHECKPOINT_START", "event=CHECKPOINT_END");
    assert_eq!(log.matches(starts).count(), log.matches(ends).count(), "{log}");
}
