// SPDX-License-Identifier: MIT OR Apache-2.0
//! One rank of a measurement, launched by [`launch`](crate::launch): a node of its own, with a directory of its own.

use crate::{Case, Outcome, Times};
use scr_core::clock::{Clock, SystemClock};
use scr_core::comm::mpi::Mpi;
use scr_core::comm::{Comm, Reduce};
use scr_core::config::{Config, Layers};
use scr_core::event::Silent;
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::session::{Flags, Host, JobInfo, Session};
use scr_core::store::posix::Posix;
use scr_core::store::{Access, Store};
use scr_core::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Runs the cases below `dir`, a directory that all ranks share; rank 0 prints each outcome as a line of JSON.
///
/// # Errors
/// What kept this rank from it; the others may hang then, so the caller aborts.
pub fn run(dir: &Path, cases: &[Case]) -> Result<()> {
    let universe = mpi::initialize()
        .ok_or_else(|| Error::new(ErrorKind::Misuse, "MPI is initialised already"))?;
    let ran = Mpi::duplicate_world().and_then(|world| {
        let longest = cases.iter().map(|case| case.file_bytes * case.files).max().unwrap_or(0);
        let rank = Rank {
            store: Arc::new(Posix::new()),
            clock: Arc::new(SystemClock::default()),
            shared: dir.to_path_buf(),
            node: dir.join(format!("node{}", world.rank())),
            data: noise(longest, world.rank()),
            world,
        };
        for case in cases {
            let outcome = rank.measure(case)?;
            if rank.world.rank() == 0 {
                println!("{}", serde_json::json!(outcome));
            }
        }
        Ok(())
    });
    drop(universe);
    ran
}

/// Bytes that no file system can leave out.
fn noise(length: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 + 1;
    let mut data = Vec::with_capacity(length.next_multiple_of(8));
    while data.len() < length {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes());
    }
    data.truncate(length);
    data
}

struct Rank {
    world: Box<dyn Comm>,
    store: Arc<Posix>,
    clock: Arc<SystemClock>,
    shared: PathBuf,
    node: PathBuf,
    data: Vec<u8>,
}

impl Rank {
    fn measure(&self, case: &Case) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for _ in 0..case.launches {
            self.clear()?;
            let mut session = self.init(case)?;
            outcome.first.push(self.checkpoint(case, &mut session)?);
            for _ in 0..case.steady {
                outcome.steady.push(self.checkpoint(case, &mut session)?);
            }
            session.finalize()?;
        }
        (outcome.init, outcome.verify) = self.restart(case)?;
        if case.scheme != "SINGLE" {
            if self.world.rank() == 1 {
                self.store.remove_tree(&self.node.join("cache"))?;
            }
            outcome.rebuild = Some(self.restart(case)?.0);
        }
        self.clear()?;
        Ok(outcome)
    }

    /// Leaves nothing of the launch before.
    fn clear(&self) -> Result<()> {
        self.world.barrier()?;
        self.store.remove_tree(&self.node)?;
        if self.world.rank() == 0 {
            self.store.remove_tree(&self.prefix())?;
        }
        self.store.create_dir_all(&self.plain())?;
        self.world.barrier()
    }

    fn prefix(&self) -> PathBuf {
        self.shared.join("prefix")
    }

    fn plain(&self) -> PathBuf {
        self.node.join("plain")
    }

    fn init(&self, case: &Case) -> Result<Session> {
        let world = Mpi::duplicate_world()?;
        let host = Host {
            local: self.store.clone(),
            shared: self.store.clone(),
            clock: self.clock.clone(),
            sink: Arc::new(Silent),
            job: JobInfo {
                job_id: JobId::new("bench"),
                user: UserName::new("bench"),
                node: NodeName::new(format!("node{}", self.world.rank())),
                end_unix_seconds: None,
            },
            random: scr_core::host::random,
            directory: self.prefix(),
            background: true,
        };
        Session::init(world, host, self.config(case)?)
    }

    fn config(&self, case: &Case) -> Result<Config> {
        let path = |path: PathBuf| path.display().to_string();
        let settings = [
            ("SCR_PREFIX", path(self.prefix())),
            ("SCR_CACHE_BASE", path(self.node.join("cache"))),
            ("SCR_CNTL_BASE", path(self.node.join("control"))),
            ("SCR_COPY_TYPE", case.scheme.clone()),
            ("SCR_CRC_ON_COPY", u8::from(case.checksums).to_string()),
            ("SCR_CACHE_SIZE", "1".into()),
            ("SCR_CACHE_BYPASS", "0".into()),
            ("SCR_FLUSH", "0".into()),
        ];
        let settings = settings.map(|(name, value)| (name.to_string(), value));
        Ok(Layers::new(self.prefix(), settings).resolve()?.0)
    }

    /// Writes the files without scr, then as a checkpoint.
    fn checkpoint(&self, case: &Case, session: &mut Session) -> Result<Times> {
        let mut spent = [Duration::ZERO; 7];
        let [plain, whole, start, route, write, complete, free] = &mut spent;
        let plain_names: Vec<PathBuf> =
            (0..case.files).map(|file| self.plain().join(file.to_string())).collect();
        self.timed(plain, || self.write(case, &plain_names))?;

        let flags = Flags { checkpoint: true, output: false };
        self.world.barrier()?;
        let began = self.clock.monotonic();
        self.lap(start, || session.start_output(None, flags))?;
        let names = (0..case.files)
            .map(|file| self.prefix().join(format!("rank{}/{file}", self.world.rank())));
        let paths = self.lap(route, || {
            names.map(|name| session.route_file(&name)).collect::<Result<Vec<PathBuf>>>()
        })?;
        self.lap(write, || self.write(case, &paths))?;
        self.lap(complete, || session.complete_output(true))?;
        *whole = self.clock.monotonic().saturating_sub(began);
        self.lap(free, || {
            self.store.wait_for_discards();
            Ok(())
        })?;
        self.slowest(&spent)
    }

    fn write(&self, case: &Case, paths: &[PathBuf]) -> Result<()> {
        for (path, data) in paths.iter().zip(self.data.chunks(case.file_bytes)) {
            self.store.open(path, Access::Create)?.write_at(0, data)?;
        }
        Ok(())
    }

    /// Starts again from what the caches hold: the times of Init and Have_restart.
    fn restart(&self, case: &Case) -> Result<(f64, f64)> {
        let mut spent = [Duration::ZERO; 7];
        let mut session = self.timed(&mut spent[0], || self.init(case))?;
        let found = self.timed(&mut spent[1], || session.have_restart())?;
        if found.is_none() {
            return Err(Error::new(ErrorKind::Lost, "the checkpoint is gone"));
        }
        session.finalize()?;
        let times = self.slowest(&spent)?;
        Ok((times.plain, times.whole))
    }

    /// Waits for all ranks, then adds what `action` takes to `spent`.
    fn timed<T>(&self, spent: &mut Duration, action: impl FnOnce() -> Result<T>) -> Result<T> {
        self.world.barrier()?;
        self.lap(spent, action)
    }

    fn lap<T>(&self, spent: &mut Duration, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = self.clock.monotonic();
        let result = action();
        *spent += self.clock.monotonic().saturating_sub(began);
        result
    }

    /// The longest of each time over all ranks.
    fn slowest(&self, spent: &[Duration; 7]) -> Result<Times> {
        let mut nanos = spent.map(|time| time.as_nanos() as u64);
        self.world.all_reduce(Reduce::Max, &mut nanos)?;
        let [plain, whole, start, route, write, complete, free] =
            nanos.map(|nanos| nanos as f64 / 1e9);
        Ok(Times { plain, whole, start, route, write, complete, free })
    }
}
