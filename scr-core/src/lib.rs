// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multilevel checkpoints for parallel applications.
//!
//! The ranks of an application write their state to storage on their own nodes. This library computes parity across the
//! nodes, copies some checkpoints to the parallel file system, and after a failure rebuilds what was lost and hands the
//! files back to the ranks, wherever they run now. It is the library behind `libscr` and the command `scr`, and can be
//! used from Rust as it is.
//!
//! # An application
//!
//! One process without MPI, to be short; with MPI, `comm::mpi` takes the place of [`Solo`](comm::solo::Solo) and all
//! ranks do the same.
//!
//! ```
//! use scr_core::session::{Flags, Host, JobInfo, Outcome, Session};
//! use scr_core::{clock, comm, config, event, host, id, store};
//! use std::{error::Error, fs, path::Path, sync::Arc};
//!
//! /// What the library is not to find out by itself: where files are, what time it is, which job this is.
//! fn launch(directory: &Path) -> scr_core::Result<Session> {
//!     let cache = directory.join("cache").display().to_string();
//!     let settings = [("SCR_CACHE_BYPASS", "0"), ("SCR_CACHE_BASE", &cache), ("SCR_CNTL_BASE", &cache)];
//!     let settings = settings.map(|(name, value)| (name.to_string(), value.to_string()));
//!     let (config, _notices) = config::Layers::new(directory, settings).resolve()?;
//!     let files = Arc::new(store::posix::Posix::new());
//!     let host = Host {
//!         local: files.clone(),
//!         shared: files,
//!         clock: Arc::new(clock::SystemClock::default()),
//!         sink: Arc::new(event::Silent),
//!         job: JobInfo {
//!             job_id: id::JobId::new("4711"),
//!             user: id::UserName::new("ann"),
//!             node: id::NodeName::new("node0"),
//!             end_unix_seconds: None,
//!         },
//!         random: host::random,
//!         directory: directory.to_path_buf(),
//!         background: false,
//!     };
//!     Session::init(Box::new(comm::solo::Solo), host, config)
//! }
//!
//! /// Counts up to `end` and writes a checkpoint after each step.
//! fn count(session: &mut Session, end: u32) -> Result<u32, Box<dyn Error>> {
//!     let mut step = 0;
//!     while let Some(mut restart) = session.restart()? {
//!         let text = restart.route("state").map(fs::read_to_string)??;
//!         if restart.complete(text.parse::<u32>().is_ok()).is_ok() {
//!             step = text.parse()?;
//!             break; // else the checkpoint is set aside, and the next one is offered
//!         }
//!     }
//!     let first = step;
//!     while step < end {
//!         step += 1;
//!         let flags = Flags { checkpoint: true, output: false };
//!         let mut output = session.output(&format!("step.{step}"), flags)?;
//!         let path = output.route("state")?; // a path in the cache
//!         let valid = fs::write(path, step.to_string()).is_ok();
//!         assert_eq!(output.complete(valid)?, Outcome::Committed);
//!     }
//!     session.finalize()?;
//!     Ok(first)
//! }
//!
//! # fn main() -> Result<(), Box<dyn Error>> {
//! let directory = tempfile::tempdir()?;
//! assert_eq!(count(&mut launch(directory.path())?, 3)?, 0);
//! assert_eq!(count(&mut launch(directory.path())?, 5)?, 3); // a second launch goes on where the first ended
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//!
//! - A *dataset* is a name and the files that all ranks write between one start and the matching complete. It is a
//!   *checkpoint* when one can restart from it, an *output* when it must reach the prefix, or both.
//! - The *prefix* is the job's directory on the parallel file system, the *cache* a directory on each node. A *flush*
//!   copies from the cache to the prefix, a *fetch* back.
//! - A *part* is what one node holds of a dataset. Nodes form *redundancy sets*; what a lost node of a set held can be
//!   rebuilt from the others.
//! - A dataset that is spread anew over other nodes gets a new *layout*. Parts of two layouts are never mixed.
//! - A *commit* is the moment from which a dataset counts. Before it the dataset does not exist, after it it is not lost
//!   by us.
//!
//! # The life of a dataset
//!
//! 1. [`Session::output`](session::Session::output) chooses where it goes, makes room for it, draws its identity, and
//!    publishes a part in state `Writing` on each node.
//! 2. [`Output::route`](session::Output::route) says where to write each file. The application writes, with whatever it
//!    likes.
//! 3. [`Output::complete`](session::Output::complete) reads each byte once, for checksum and parity, writes the node
//!    records, and commits in two phases: all nodes say that theirs is complete, then all are `Committed`. A flush follows
//!    where one is due, or begins and goes on while the application does, and older datasets leave the cache where a
//!    newer one survives as much.
//! 4. A later launch finds it in [`Session::init`](session::Session::init): the parts that are left are judged, missing
//!    ones rebuilt, and files brought to where their ranks run.
//! 5. [`Session::restart`](session::Session::restart) compares its data with the checksums, heals what is bad, and only
//!    then names it. What cannot be used is passed over, with the reason, for the next one.
//! 6. It is evicted when it is no longer needed. No event, crash or full disk ends it sooner.
//!
//! # Rules for callers
//!
//! - Methods of a session are *collective* unless they say otherwise: all ranks call them, in the same order, with equal
//!   arguments. On return all ranks have succeeded or all have failed; the cause is on the rank that had it, the others get
//!   [`ErrorKind::PeerFailed`].
//! - An error leaves the session usable, except [`ErrorKind::Communication`]: then a rank has died, each later call
//!   returns at once, and nothing is published any more. The launch can only end.
//! - Nothing here prints, aborts, exits, reads the environment or installs a handler. What happens is told as
//!   [events](event); what went wrong is an [`Error`], whose `{:#}` says what to do.
//!
//! # Where things are
//!
//! | modules | what they are |
//! |---|---|
//! | [`session`] | what applications use |
//! | [`codec`], [`format`](mod@format), [`plan`], [`config`] | values in, values out: arithmetic of stripes, records, decisions, parameters |
//! | [`comm`], [`store`], [`clock`], [`event`] | ports: ranks, files, time, what happened; each with implementations for tests |
//! | [`exec`] | carries plans out through ports; all that is dangerous |
//! | [`error`], [`id`], [`host`] | errors, names and numbers, what a session stands on |
//! | [`sabotage`] | faults that tests switch on, to prove that they would notice |
//!
//! Why it is so: `docs/design.md`. What is on disk: `docs/formats.md`.

pub mod clock;
pub mod codec;
pub mod comm;
pub mod config;
pub mod error;
pub mod event;
pub mod exec;
pub mod format;
pub mod host;
pub mod id;
pub mod plan;
pub mod sabotage;
pub mod session;
pub mod store;

pub use error::{Context, Error, ErrorKind, Result};
