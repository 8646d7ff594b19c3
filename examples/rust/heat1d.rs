// SPDX-License-Identifier: MIT OR Apache-2.0
//! heat1d: heat spreads along a rod, with checkpoints through scr, in Rust.
//!
//! ```sh
//! cargo build --release --bin heat1d-rust
//! mpirun -n 2 target/release/heat1d-rust [steps [checkpoint every [pause in ms]]]
//! ```
//!
//! Kill it, run it again: it goes on from the last checkpoint and ends with the same checksum.
#![expect(clippy::disallowed_methods, reason = "an application, which may use files and time")]

use mpi::traits::{Communicator, Destination, Root, Source};
use scr_core::comm::mpi::Mpi;
use scr_core::config::Layers;
use scr_core::event::{Event, Level, Sink};
use scr_core::session::{Flags, Host, JobInfo, Outcome, Session};
use scr_core::{clock, host, id, store};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Cells of each rank.
const CELLS: usize = 1000;

/// One rank's piece of the rod, with a cell on either side for the neighbours' values.
struct Rod {
    step: u64,
    now: Vec<f64>,
}

impl Rod {
    fn hot(rank: i32) -> Self {
        let hill = |i| (0.01 * i as f64).sin() + f64::from(rank);
        let inside = (1..=CELLS).map(hill);
        let now = [0.0].into_iter().chain(inside).chain([0.0]).collect();
        Self { step: 0, now }
    }

    /// One explicit step; the ends of the rod are kept cold.
    fn step_forward(&mut self, world: &impl Communicator) {
        let (rank, last) = (world.rank(), world.size() - 1);
        // Every rank sends to the right, then to the left; an end of the rod has nobody there.
        for (to, from, send, receive) in
            [(rank + 1, rank - 1, CELLS, 0), (rank - 1, rank + 1, 1, CELLS + 1)]
        {
            let value = self.now[send];
            mpi::request::scope(|scope| {
                let sent = (0..=last)
                    .contains(&to)
                    .then(|| world.process_at_rank(to).immediate_send(scope, &value));
                if (0..=last).contains(&from) {
                    world.process_at_rank(from).receive_into(&mut self.now[receive]);
                }
                if let Some(sent) = sent {
                    sent.wait();
                }
            });
        }
        let flows = self.now.windows(3).map(|w| w[1] + 0.25 * (w[0] - 2.0 * w[1] + w[2]));
        let next: Vec<f64> = flows.collect();
        self.now[1..=CELLS].copy_from_slice(&next);
        self.step += 1;
    }

    /// The state as bytes. Files are read where they were written; this order is the same everywhere all the same.
    fn to_bytes(&self) -> Vec<u8> {
        let values = self.now[1..=CELLS].iter().flat_map(|value| value.to_le_bytes());
        self.step.to_le_bytes().into_iter().chain(values).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (step, values) = words.split_first()?;
        if values.len() != CELLS || !rest.is_empty() {
            return None;
        }
        let inside = values.iter().map(|word| f64::from_le_bytes(*word));
        let now = [0.0].into_iter().chain(inside).chain([0.0]).collect();
        Some(Self { step: u64::from_le_bytes(*step), now })
    }

    /// The exclusive or of all bits, so that nothing depends on the order of a sum. On rank 0 that of all ranks.
    fn checksum(&self, world: &impl Communicator) -> u64 {
        let bits = self.now[1..=CELLS].iter().map(|value| value.to_bits());
        let mine = bits.fold(0, |sum: u64, bits| sum.rotate_left(5) ^ bits);
        let mut all = vec![0; world.size() as usize];
        let first = world.process_at_rank(0);
        if world.rank() == 0 {
            first.gather_into_root(&mine, &mut all);
        } else {
            first.gather_into(&mine);
        }
        all.into_iter().fold(0, |sum, one| sum ^ one)
    }
}

/// Prints what scr has to say.
#[derive(Debug)]
struct Console;

impl Sink for Console {
    fn tell(&self, event: &Event) {
        if matches!(event.level, Level::Error | Level::Warning) {
            eprintln!("scr: {}", event.text);
        }
    }
}

/// Starts scr: in Rust the application says what the library is not to find out by itself.
fn start() -> Result<Session, Box<dyn Error>> {
    let directory = std::env::current_dir()?;
    // All SCR_* variables count, and .scrconf in the prefix.
    let mut layers = Layers::new(&directory, std::env::vars());
    let file = layers.user_file();
    if let Ok(text) = std::fs::read_to_string(&file) {
        layers.set_user_file(&file, &text);
    }
    let (config, notices) = layers.resolve()?;
    for notice in notices {
        eprintln!("scr: {}", notice.text);
    }
    let variable = |name, otherwise: &str| std::env::var(name).unwrap_or(otherwise.to_string());
    let files = Arc::new(store::posix::Posix::new());
    let host = Host {
        local: files.clone(),
        shared: files,
        clock: Arc::new(clock::SystemClock::default()),
        sink: Arc::new(Console),
        job: JobInfo {
            job_id: id::JobId::new(variable("SCR_JOB_ID", "none")),
            user: id::UserName::new(variable("USER", "me")),
            node: id::NodeName::new(mpi::environment::processor_name()?),
            end_unix_seconds: None,
        },
        random: host::random,
        directory,
        background: true,
    };
    Ok(Session::init(Mpi::duplicate_world()?, host, config)?)
}

/// The file of this rank as the program calls it; where it ends up if scr copies it to the file system.
fn file_of(dataset: &str, rank: i32) -> String {
    format!("ckpt/{dataset}/rank.{rank}")
}

/// Goes back to the newest checkpoint that all ranks can read, or begins anew.
fn restart(session: &mut Session, rank: i32) -> scr_core::Result<Rod> {
    // An error here means that there are checkpoints and none can be used: to start from zero would hide a loss.
    while let Some(mut restart) = session.restart()? {
        let dataset = restart.name().to_string();
        let bytes = restart.route(file_of(&dataset, rank)).map(std::fs::read);
        let rod = bytes.ok().and_then(Result::ok).and_then(|bytes| Rod::from_bytes(&bytes));
        // Every rank says whether it could read its file. If one could not, the checkpoint before is offered.
        if let (Ok(()), Some(rod)) = (restart.complete(rod.is_some()), rod) {
            say(rank, &format!("restarted from {dataset} at step {}", rod.step));
            return Ok(rod);
        }
    }
    Ok(Rod::hot(rank))
}

/// Writes a checkpoint.
fn checkpoint(session: &mut Session, rod: &Rod, rank: i32) -> scr_core::Result<Outcome> {
    let dataset = format!("heat.{}", rod.step);
    let mut output = session.output(&dataset, Flags { checkpoint: true, output: false })?;
    // No `?` between here and `complete`: every rank must come there, with its word on its own files.
    let written = output.route(file_of(&dataset, rank)).map(|path| write(&path, &rod.to_bytes()));
    let outcome = output.complete(matches!(written, Ok(Ok(()))))?;
    say(rank, &format!("step {} checkpoint {dataset}", rod.step));
    Ok(outcome)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::write(path, bytes)
}

fn say(rank: i32, text: &str) {
    if rank == 0 {
        println!("heat1d: {text}");
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut argument = |otherwise| arguments.next().unwrap_or(Ok(otherwise));
    let (steps, every) = (argument(60)?, argument(10)?);
    let pause = Duration::from_millis(argument(0)?);

    let universe = mpi::initialize().ok_or("MPI does not start")?;
    let world = universe.world();
    let rank = world.rank();

    let mut session = start()?;
    let mut rod = restart(&mut session, rank)?;
    while rod.step < steps {
        rod.step_forward(&world);
        std::thread::sleep(pause);
        let is_asked_for = session.need_checkpoint()?;
        if is_asked_for || rod.step.is_multiple_of(every) {
            // If that fails the program goes on: it still has the one before.
            if let Err(error) = checkpoint(&mut session, &rod, rank) {
                say(rank, &format!("step {} checkpoint failed: {error:#}", rod.step));
            }
            if session.should_exit()? {
                break;
            }
        }
    }
    let checksum = rod.checksum(&world);
    say(rank, &format!("final checksum {checksum:#018x} after step {}", rod.step));
    session.finalize()?;
    Ok(())
}
