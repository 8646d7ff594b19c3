// SPDX-License-Identifier: MIT OR Apache-2.0
//! The application under test: checkpoints states that can be computed, and dies where it is told.
//!
//! Arguments are `name=value` (see [`Args`]). What it was told by the library goes into a log per rank, which the harness
//! judges: `RESTART <mark> <source>`, `START <mark>`, `SUCCESS <mark>`, `END`, and `WRONG`, `ERROR` with words.
#![expect(clippy::disallowed_methods, reason = "an application, not the library")]

mod content;
mod windows;

use content::{Mark, content, files};
use mpi::topology::Communicator;
use scr_core::clock::SystemClock;
use scr_core::comm::mpi::Mpi;
use scr_core::comm::{Comm, Reduce};
use scr_core::config::{Bypass, Config, CopyType};
use scr_core::event::json::JsonLines;
use scr_core::event::{Event, EventKind, Sink};
use scr_core::host::random;
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::session::{Flags, Host, JobInfo, Outcome, Session};
use scr_core::store::Store;
use scr_core::store::posix::Posix;
use scr_core::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use windows::{Doom, Fate, Watched};

/// The arguments: `name=value`, all but those of the window required.
struct Args(BTreeMap<String, String>);

impl Args {
    fn read() -> Self {
        let pair = |arg: String| {
            let (name, value) = arg.split_once('=').expect("arguments are name=value");
            (name.to_string(), value.to_string())
        };
        Self(std::env::args().skip(1).map(pair).collect())
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("argument {name} is missing"))
    }

    fn number<T: FromStr>(&self, name: &str) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("argument {name}: {text} is not a number"))
    }
}

/// Keeps events for people, and notes what a restart took.
#[derive(Debug)]
struct Events {
    log: JsonLines,
    rebuilt: AtomicBool,
    fetched: AtomicBool,
    last_error: Mutex<String>,
}

impl Sink for Events {
    fn tell(&self, event: &Event) {
        self.log.tell(event);
        match event.kind {
            EventKind::RebuildSuccess => self.rebuilt.store(true, Ordering::SeqCst),
            EventKind::FetchSuccess => self.fetched.store(true, Ordering::SeqCst),
            EventKind::RestartFail => {
                self.last_error.lock().expect("no panic holds it").clone_from(&event.text);
            }
            _ => {}
        }
    }
}

struct App {
    args: Args,
    rank: usize,
    seed: u64,
    launch: u64,
    fixed_names: bool,
    log: PathBuf,
    fate: Arc<Fate>,
    events: Arc<Events>,
}

impl App {
    fn new(args: Args, rank: usize) -> Self {
        let root = PathBuf::from(args.text("root"));
        let node = args.text("nodes").split(',').nth(rank).expect("a node for every rank");
        let pids = root.join("pids").join(node);
        std::fs::create_dir_all(&pids).expect("make the directory of process ids");
        std::fs::write(pids.join(std::process::id().to_string()), "").expect("note my process id");
        let doom = args.0.get("window").filter(|_| args.number::<usize>("victim") == rank);
        let doom = doom.map(|window| Doom {
            window: window.clone(),
            after: args.text("when") == "after",
            passes: AtomicU32::new(args.number("pass")),
            note: root.join("hit"),
            with: (args.text("kill") == "node").then_some(pids),
        });
        let path = root.join(format!("events.{rank}.jsonl"));
        let events = Events {
            log: JsonLines::new(Arc::new(Posix::new()), path),
            rebuilt: AtomicBool::default(),
            fetched: AtomicBool::default(),
            last_error: Mutex::default(),
        };
        Self {
            rank,
            seed: args.number("seed"),
            launch: args.number("launch"),
            fixed_names: args.text("names") == "fixed",
            log: root.join(format!("log.{rank}")),
            fate: Arc::new(Fate::new(doom)),
            events: Arc::new(events),
            args,
        }
    }

    fn config(&self, root: &Path, node: &str) -> Config {
        let mut config = Config::default_for(root.join("prefix"));
        config.cache_base = root.join("cache").join(node);
        config.control_base = root.join("control").join(node);
        config.cache_size = self.args.number("cache_size");
        config.flush_every = self.args.number("flush_every");
        config.heartbeat_seconds = 0.1;
        let set_size = self.args.number("set_size");
        for descriptor in &mut config.checkpoints {
            descriptor.copy_type =
                CopyType::from_name(self.args.text("scheme")).expect("a known scheme");
            (descriptor.set_size, descriptor.bypass) = (set_size, Bypass::No);
        }
        config
    }

    fn host(&self, root: &Path, node: &str) -> Host {
        let watched: Arc<dyn Store> = Arc::new(Watched::new(self.fate.clone()));
        Host {
            local: watched.clone(),
            shared: watched,
            clock: Arc::new(SystemClock::default()),
            sink: self.events.clone(),
            job: JobInfo {
                job_id: JobId::new("4711"),
                user: UserName::new("user"),
                node: NodeName::new(node),
                end_unix_seconds: None,
            },
            random,
            directory: root.join("prefix"),
            background: true,
        }
    }

    fn say(&self, text: &str) {
        let line = format!("{text}\n");
        Posix::new().append(&self.log, line.as_bytes()).expect("write the log");
    }

    /// The whole launch.
    fn run(&self, world: Box<dyn Comm>, comm: &dyn Comm) -> Result<(), Error> {
        let root = PathBuf::from(self.args.text("root"));
        let node = self.args.text("nodes").split(',').nth(self.rank).unwrap_or_default();
        self.fate.enter("init");
        let mut session = Session::init(world, self.host(&root, node), self.config(&root, node))?;
        let from = self.restart(&mut session, comm)?;
        for step in from.step + 1..=from.step + self.args.number::<u64>("steps") {
            self.checkpoint(&mut session, Mark { launch: self.launch, step })?;
        }
        self.fate.enter("finalize");
        session.finalize()?;
        self.say("END");
        Ok(())
    }

    fn restart(&self, session: &mut Session, comm: &dyn Comm) -> Result<Mark, Error> {
        self.fate.enter("have_restart");
        let Some(name) = session.have_restart()? else {
            self.say("RESTART 0.0 nothing");
            return Ok(Mark::default());
        };
        let mark = Mark::of_name(name.as_str()).expect("a name that I gave");
        let mine = [mark.launch, mark.step, !mark.launch, !mark.step];
        let mut ends = mine;
        comm.all_reduce(Reduce::Max, &mut ends)?;
        if ends != mine {
            self.say(&format!("WRONG other ranks restart from another state than {mark}"));
        }
        let source = match (&self.events.fetched, &self.events.rebuilt) {
            (fetched, _) if fetched.load(Ordering::SeqCst) => "prefix",
            (_, rebuilt) if rebuilt.load(Ordering::SeqCst) => "rebuilt",
            _ => "cache",
        };
        session.start_restart()?;
        let mut wrong = 0;
        for (file, size) in files(mark, self.rank, self.fixed_names) {
            let path = session.route_file(Path::new(&file))?;
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes != content(self.seed, mark, self.rank, &file, size) {
                wrong += 1;
                self.say(&format!("WRONG {}: not the content of {mark}", path.display()));
            }
        }
        self.fate.enter("complete_restart");
        session.complete_restart(wrong == 0)?;
        self.say(&format!("RESTART {mark} {source}"));
        Ok(mark)
    }

    fn checkpoint(&self, session: &mut Session, mark: Mark) -> Result<(), Error> {
        self.say(&format!("START {mark}"));
        self.fate.enter("start_output");
        session.start_output(Some(&mark.name()), Flags { checkpoint: true, output: false })?;
        for (file, size) in files(mark, self.rank, self.fixed_names) {
            let path = session.route_file(Path::new(&file))?;
            std::fs::write(&path, content(self.seed, mark, self.rank, &file, size))
                .map_err(|error| Error::io("write", &path, &error))?;
        }
        self.fate.enter("complete_output");
        match session.complete_output(true)? {
            Outcome::Committed => self.say(&format!("SUCCESS {mark}")),
            Outcome::Degraded => self.say(&format!("ERROR {mark} is degraded")),
        }
        Ok(())
    }
}

fn main() {
    let args = Args::read();
    // Held until this process is gone: the harness waits for it.
    let alive = std::fs::File::open(Path::new(args.text("root")).join("alive")).expect("open");
    alive.lock_shared().expect("lock");
    let universe = mpi::initialize().expect("MPI starts");
    let rank = universe.world().rank() as usize;
    let app = App::new(args, rank);
    let outcome = Mpi::duplicate_world()
        .and_then(|world| Ok((world, Mpi::duplicate_world()?)))
        .and_then(|(world, comm)| app.run(world, &*comm));
    if let Err(error) = outcome {
        // After the death of another rank there is nothing to say; all else is judged.
        let is_ours = error.cause_kind() != ErrorKind::Communication;
        let word = if is_ours { "ERROR" } else { "LOST" };
        let told = app.events.last_error.lock().expect("no panic holds it").clone();
        app.say(&format!("{word} {error:?}; {told}"));
        universe.world().abort(1);
    }
}
