// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real processes under mpirun, killed in named windows: never a wrong byte, never less than the last SUCCESS.
//!
//! `SCR_TEST_LONG=1` hits every window ten times as often; `SCR_TEST_SEED=<n>` draws other victims and losses.
#![expect(clippy::disallowed_methods, reason = "a test, not the library")]

mod campaign;
mod content;
mod job;
mod launcher;

use campaign::{Chain, Tallies};
use launcher::Launcher;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Hits that every window needs.
const HITS: u32 = 20;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_job_survives_death_in_every_window() {
    let launcher = match Launcher::find() {
        Ok(launcher) => launcher,
        Err(reason) => return scr_tests::skip("mpi", &reason),
    };
    let seed = number("SCR_TEST_SEED").unwrap_or(11);
    // `make sabotage` runs this once per fault: there the first sign is enough.
    let hits = |rounds: u32| match (cfg!(feature = "sabotage"), number("SCR_TEST_LONG")) {
        (true, _) => rounds.div_ceil(4),
        (false, Some(1)) => rounds * 10,
        _ => rounds,
    };
    let wanted = if cfg!(feature = "sabotage") { 1 } else { hits(HITS) };
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let root =
        tempfile::Builder::new().prefix("scr-mpi.").tempdir_in(base).expect("make a directory");
    let (tallies, failures) = run(&launcher, root.path(), campaign::chains(seed, hits));

    let table = table(&tallies);
    // Past the capture of the test's output: the table is to be seen when all is well.
    let _ = writeln!(std::io::stderr(), "{table}");
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mpi-windows.md");
    std::fs::write(kept, &table).expect("keep the table");
    if !failures.is_empty() {
        let root = root.keep();
        panic!("{}\nseed {seed}; files in {}", failures.join("\n\n"), root.display());
    }
    let missed: Vec<_> = tallies.rows().filter(|(_, tally)| tally.hits < wanted).collect();
    assert!(missed.is_empty(), "hit less than {wanted} times: {missed:?}");
}

/// Runs all chains, several at once, until one fails.
fn run(launcher: &Launcher, root: &Path, mut chains: Vec<Chain>) -> (Tallies, Vec<String>) {
    chains.reverse();
    let waiting = Mutex::new((0, chains));
    let outcome = Mutex::new((Tallies::default(), Vec::new()));
    let lock = |error: PoisonError<_>| error.into_inner();
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.0 += 1;
        let chain = waiting.1.pop()?;
        Some((waiting.0, chain))
    };
    let work = || {
        while let Some((number, chain)) = next() {
            let dir = root.join(number.to_string());
            let done = chain.run(launcher, dir.clone());
            let mut outcome = outcome.lock().unwrap_or_else(lock);
            match done {
                Ok(tallies) => {
                    outcome.0.add(&tallies);
                    std::fs::remove_dir_all(dir).expect("remove the files of a job");
                }
                Err(error) => outcome.1.push(error),
            }
            if !outcome.1.is_empty() {
                return;
            }
        }
    };
    // One more than there are processors: a launch spends some of its time waiting.
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8) + 1;
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn table(tallies: &Tallies) -> String {
    let mut table = format!(
        "{} launches\n\n| window | hits | restarted from cache | rebuilt | from prefix |\n|---|---|---|---|---|\n",
        tallies.launches
    );
    for (name, t) in tallies.rows() {
        writeln!(
            table,
            "| {name} | {} | {} | {} | {} |",
            t.hits, t.from_cache, t.rebuilt, t.from_prefix
        )
        .expect("write to memory");
    }
    table
}
