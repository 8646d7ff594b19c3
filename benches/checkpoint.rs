// SPDX-License-Identifier: MIT OR Apache-2.0
//! What whole checkpoints cost: prints the tables that `docs/benchmarks.md` explains, and writes nothing else.

use scr_benches::launch::{Launcher, Role, base};
use scr_benches::table::Table;
use scr_benches::{Case, Outcome, Times, least, median, rank};
use scr_core::store::{Store, posix::Posix};
use std::error::Error;
use std::io;
use std::process::ExitCode;

const MIB: usize = 1 << 20;
/// Nodes of all tables but the second.
const NODES: usize = 4;
/// Files of each rank in the table of many files.
const MANY: usize = 1000;
/// Times the data: what is written, plain files, two checkpoints with parity, and some air.
const ROOM: usize = 6;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match Role::from_arguments(&arguments) {
        Ok(Role::Test) => Ok(()),
        Ok(Role::Harness { quick }) => print(quick).map_err(Into::into),
        // A rank that fails ends without MPI_Finalize, and mpirun ends the others.
        Ok(Role::Rank(dir, cases)) => rank::run(&dir, &cases).map_err(Box::<dyn Error>::from),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(quick: bool) -> io::Result<()> {
    let launcher = Launcher::new()?;
    println!(
        "Times are the maximum over the ranks, then the minimum over repetitions; files in {}.",
        base().display()
    );
    large(&launcher, quick)?;
    small(&launcher, quick)?;
    many(&launcher, quick)
}

/// The schemes to measure: name, with checksums.
const PROTECTIONS: [(&str, bool); 5] =
    [("SINGLE", true), ("PARTNER", true), ("XOR", true), ("XOR", false), ("RS", true)];

fn label(case: &Case) -> String {
    let checksums = if case.checksums { "" } else { ", no checksums" };
    format!("{}{checksums}", case.scheme)
}

fn large(launcher: &Launcher, quick: bool) -> io::Result<()> {
    println!(
        "\nA whole checkpoint (start, write, complete) over a plain write of the same files.\n\
         {NODES} nodes with one rank each. Left of \"plain\" ratios, from there on ms of the steady state.\n\
         SCR 3.1, on a machine of this kind, without checksums: SINGLE 1.02, XOR 2.3.\n"
    );
    let sizes: &[usize] = if quick { &[16, 64] } else { &[16, 64, 256, 512] };
    let free_bytes = Posix::new().space(&base()).map_err(io::Error::other)?.free_bytes;
    let table = Table::new(&[
        "MiB per rank",
        "first",
        "steady",
        "and freed",
        "plain",
        "start",
        "write",
        "complete",
        "verify",
        "rebuild",
    ]);
    for &size in sizes {
        if (size * MIB * NODES * ROOM) as u64 > free_bytes {
            table.row([format!("{size}: too little memory")]);
            continue;
        }
        let cases = PROTECTIONS.map(|(scheme, checksums)| Case {
            file_bytes: size * MIB,
            files: 1,
            scheme: scheme.into(),
            checksums,
            launches: if quick { 1 } else { 3 },
            steady: if quick { 3 } else { 5 },
        });
        for (case, outcome) in cases.iter().zip(launcher.run(NODES, &cases)?) {
            table.row(large_row(size, case, &outcome));
        }
    }
    Ok(())
}

fn large_row(size: usize, case: &Case, outcome: &Outcome) -> Vec<String> {
    let (first, steady) = (&outcome.first, &outcome.steady);
    let over_plain = |times: &[Times], of: fn(&Times) -> f64| {
        ratio(least(times, of) / least(times, |t| t.plain))
    };
    let step = |of: fn(&Times) -> f64| millis(least(steady, of));
    vec![
        format!("{size:>4}  {}", label(case)),
        over_plain(first, |t| t.whole),
        over_plain(steady, |t| t.whole),
        over_plain(steady, |t| t.whole + t.free),
        step(|t| t.plain),
        step(|t| t.start),
        step(|t| t.write),
        step(|t| t.complete),
        millis(outcome.verify),
        outcome.rebuild.map_or(String::new(), millis),
    ]
}

fn small(launcher: &Launcher, quick: bool) -> io::Result<()> {
    println!(
        "\nA checkpoint of 1 KiB per rank, in ms; one rank per node. SCR 3.1, minima: XOR on 4 nodes 3.3, on 8 6.6.\n"
    );
    let table = Table::new(&["nodes", "least", "median", "start", "complete", "init"]);
    for nodes in [2, 4, 8] {
        let cases = ["SINGLE", "XOR"].map(|scheme| Case {
            file_bytes: 1 << 10,
            files: 1,
            scheme: scheme.into(),
            checksums: true,
            launches: 2,
            steady: if quick { 20 } else { 100 },
        });
        for (case, outcome) in cases.iter().zip(launcher.run(nodes, &cases)?) {
            let steady = &outcome.steady;
            table.row([
                format!("{nodes}  {}", label(case)),
                fine(least(steady, |t| t.whole)),
                fine(median(steady, |t| t.whole)),
                fine(least(steady, |t| t.start)),
                fine(least(steady, |t| t.complete)),
                fine(outcome.init),
            ]);
        }
    }
    Ok(())
}

fn many(launcher: &Launcher, quick: bool) -> io::Result<()> {
    println!(
        "\n{MANY} files of 16 KiB per rank, in microseconds per file of one rank; {NODES} nodes with one rank each.\n\
         SCR 3.1, complete only: SINGLE 193, XOR 238.\n"
    );
    let table = Table::new(&["scheme", "route + complete", "route", "complete", "start", "plain"]);
    let cases = PROTECTIONS.map(|(scheme, checksums)| Case {
        file_bytes: 16 << 10,
        files: MANY,
        scheme: scheme.into(),
        checksums,
        launches: 2,
        steady: if quick { 3 } else { 10 },
    });
    for (case, outcome) in cases.iter().zip(launcher.run(NODES, &cases)?) {
        let per_file = |of: fn(&Times) -> f64| {
            format!("{:.1}", least(&outcome.steady, of) * 1e6 / MANY as f64)
        };
        table.row([
            label(case),
            per_file(|t| t.route + t.complete),
            per_file(|t| t.route),
            per_file(|t| t.complete),
            per_file(|t| t.start),
            per_file(|t| t.plain),
        ]);
    }
    Ok(())
}

fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

fn millis(seconds: f64) -> String {
    format!("{:.1}", seconds * 1e3)
}

fn fine(seconds: f64) -> String {
    format!("{:.2}", seconds * 1e3)
}
