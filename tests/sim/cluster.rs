// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nodes and a prefix in memory, and launches of a job on them.

use crate::oracle::Oracle;
use crate::program::{Answer, Log, Program, Rank};
use crate::random::{mix2, seed_identities};
use scr_core::clock::{Clock, ManualClock};
use scr_core::comm::thread::{Scheduler, Traffic, World};
use scr_core::config::{Bypass, Config, CopyType};
use scr_core::event::{Event, EventKind, Sink};
use scr_core::host::{Host, JobInfo};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::store::Store;
use scr_core::store::fault::{Faulty, Plan};
use scr_core::store::mem::Mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Where the prefix is.
pub(crate) const PREFIX: &str = "/prefix";
/// How the world ends when a rank crashes.
const CRASH: &str = "a rank crashed";

static DEFAULTS: LazyLock<Config> = LazyLock::new(|| Config::default_for(PathBuf::from(PREFIX)));

/// The redundancy that a job asks for; it gets what its sets can have of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Single,
    Xor,
    Partner,
    /// Reed-Solomon with so many parities.
    Rs(u32),
}

/// What a job is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Knobs {
    pub flush_every: u32,
    /// Whether the application goes on while its checkpoints are flushed.
    pub flush_async: bool,
    pub set_size: u32,
    pub cache_size: u32,
    pub scheme: Wanted,
}

/// Which of a rank's stores goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Local,
    Shared,
}

/// Something that goes wrong in a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub rank: usize,
    pub side: Side,
    pub plan: Plan,
}

/// One launch.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The node of every rank.
    pub hosts: Vec<usize>,
    pub job: &'static str,
    pub knobs: Knobs,
    pub program: Program,
    /// At most one for each store of a rank.
    pub faults: Vec<Fault>,
}

/// What a launch came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub answers: Vec<Answer>,
    /// Why the world ended, if its ranks did not.
    pub end: Option<String>,
    /// Datasets that were said to be in the prefix.
    pub flushed: Vec<String>,
    /// Operations of every rank on its node and in the prefix.
    pub counts: Vec<[u64; 2]>,
    pub traffic: Vec<Traffic>,
    pub crashed: bool,
    /// Last operations of the ranks with a fault, and what was told: for people.
    pub story: Vec<String>,
}

/// The machine, and what must be on it.
pub(crate) struct Cluster {
    pub nodes: Vec<Mem>,
    pub prefix: Mem,
    pub clock: Arc<dyn Clock>,
    pub oracle: Oracle,
    pub seed: u64,
    pub launches: u64,
    /// Runs once, within the next launch, when this is told: what others do while a process sleeps.
    pub wake_at: Mutex<Option<(EventKind, Waker)>>,
    /// What happened, for people.
    pub trace: Vec<String>,
}

/// Something that happens within a launch.
pub(crate) type Waker = Box<dyn FnOnce() + Send>;

impl Cluster {
    pub(crate) fn new(nodes: usize, seed: u64) -> Self {
        let prefix = Mem::new();
        // The user's directory was there long before.
        prefix.create_dir_all(Path::new(PREFIX)).unwrap();
        prefix.sync_dir(Path::new("/")).unwrap();
        Self {
            nodes: (0..nodes).map(|_| Mem::new()).collect(),
            prefix,
            clock: Arc::new(ManualClock::new(Duration::from_secs(1_700_000_000))),
            oracle: Oracle::new(seed),
            seed,
            launches: 0,
            wake_at: Mutex::default(),
            trace: Vec::new(),
        }
    }

    /// The same machine once more, to be treated differently.
    pub(crate) fn fork(&self) -> Self {
        let copy = |mem: &Mem| {
            let new = Mem::new();
            new.restore(&mem.clone_state());
            new
        };
        Self {
            nodes: self.nodes.iter().map(copy).collect(),
            prefix: copy(&self.prefix),
            clock: Arc::new(ManualClock::new(self.clock.unix())),
            oracle: self.oracle.clone(),
            seed: self.seed,
            launches: self.launches,
            wake_at: Mutex::default(),
            trace: self.trace.clone(),
        }
    }

    /// Runs a launch and compares what it says with what must be.
    pub(crate) fn launch(&mut self, launch: &Launch) -> Result<Ended, String> {
        let ended = self.run(launch);
        let judged = self.oracle.judge(launch, &ended);
        judged.map_err(|why| self.explain(&why)).map(|()| ended)
    }

    /// Runs a launch.
    pub(crate) fn run(&mut self, launch: &Launch) -> Ended {
        self.launches += 1;
        let seed = mix2(self.seed, self.launches);
        self.oracle.begin(launch);
        let world = World::new(launch.hosts.len(), Scheduler::Seeded(seed));
        let (log, told) = (Log::default(), Arc::new(Told::default()));
        *told.waker.lock().unwrap() = self.wake_at.get_mut().unwrap().take();
        let stores: Vec<[Faulty; 2]> =
            (0..launch.hosts.len()).map(|rank| self.stores(launch, rank, &world)).collect();
        let ends = world.run(|comm| {
            let rank = comm.rank();
            seed_identities(mix2(seed, rank as u64));
            let host = self.host(launch, rank, &stores[rank], &told);
            let config = config(&launch.knobs);
            let stores = &stores[rank];
            Rank { seed: self.seed, log: &log, host, config, stores }.run(comm, &launch.program);
        });
        let panicked = ends.into_iter().find_map(|end| end.err().map(|e| format!("{e:#}")));
        let ended = Ended {
            answers: log.take(),
            end: panicked.or(world.end_reason().filter(|reason| reason != CRASH)),
            flushed: told.flushed(),
            counts: stores.iter().map(|s| [s[0].count(), s[1].count()]).collect(),
            traffic: world.traffic(),
            crashed: world.end_reason().as_deref() == Some(CRASH),
            story: story(launch, &stores, &told),
        };
        self.record(launch, &ended);
        ended
    }

    fn stores(&self, launch: &Launch, rank: usize, world: &World) -> [Faulty; 2] {
        let inner = [&self.nodes[launch.hosts[rank]], &self.prefix];
        [Side::Local, Side::Shared].map(|side| {
            let faulty = Faulty::new(Arc::new(inner[side as usize].clone()));
            let mine = |f: &&Fault| f.rank == rank && f.side == side;
            let Some(fault) = launch.faults.iter().find(mine) else {
                return faulty;
            };
            let world = world.clone();
            faulty.plan(fault.plan).on_crash(Arc::new(move || world.kill(CRASH)))
        })
    }

    fn host(&self, launch: &Launch, rank: usize, stores: &[Faulty; 2], told: &Arc<Told>) -> Host {
        Host {
            local: Arc::new(stores[0].clone()),
            shared: Arc::new(stores[1].clone()),
            clock: self.clock.clone(),
            sink: told.clone(),
            job: JobInfo {
                job_id: JobId::new(launch.job),
                user: UserName::new("user"),
                node: NodeName::new(format!("n{}", launch.hosts[rank])),
                end_unix_seconds: None,
            },
            random: crate::random::identity,
            directory: PathBuf::from(PREFIX),
            background: false,
        }
    }

    fn record(&mut self, launch: &Launch, ended: &Ended) {
        let (job, faults) = (launch.job, &launch.faults);
        self.trace.push(format!(
            "launch {} (job {job}) on {:?} with {:?}, {faults:?}",
            self.launches, launch.hosts, launch.knobs
        ));
        self.trace.extend(ended.story.iter().map(|line| format!("    {line}")));
        for Answer { rank, call, said } in &ended.answers {
            self.trace.push(format!("  rank {rank}: {call}: {said:?}"));
        }
        if let Some(end) = &ended.end {
            self.trace.push(format!("  the world ended: {end}"));
        }
        if ended.crashed {
            self.trace.push("  crashed".into());
        }
    }

    /// Notes something done to the machine.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.trace.push(text.into());
    }

    /// What went wrong, with everything that led to it.
    pub(crate) fn explain(&self, why: &str) -> String {
        format!("{why}\n--- what happened (seed {}):\n{}", self.seed, self.trace.join("\n"))
    }

    /// The node vanishes with all it held.
    pub(crate) fn wipe(&mut self, node: usize) {
        self.note(format!("node {node} is lost"));
        self.nodes[node].wipe();
        self.oracle.damage(node, "lost");
    }

    /// Several nodes vanish.
    pub(crate) fn wipe_all(&mut self, nodes: &[usize]) {
        for &node in nodes {
            self.wipe(node);
        }
    }

    /// The node loses power: what was not synced survives in part.
    pub(crate) fn power_loss_of(&mut self, node: usize, seed: u64) {
        self.note(format!("node {node} loses power (seed {seed})"));
        self.nodes[node].power_loss(seed);
        self.oracle.damage(node, "torn");
    }

    /// The servers of the prefix lose power.
    pub(crate) fn power_loss_of_prefix(&mut self, seed: u64) {
        self.note(format!("the prefix loses power (seed {seed})"));
        self.prefix.power_loss(seed);
    }

    /// All files below `root` of a store.
    pub(crate) fn files(mem: &Mem) -> Vec<(PathBuf, u64)> {
        let walk = mem.walk().into_iter();
        walk.filter_map(|(path, data)| Some((path, data?.len() as u64))).collect()
    }
}

fn config(knobs: &Knobs) -> Config {
    let mut config = DEFAULTS.clone();
    config.cache_base = "/cache".into();
    config.control_base = "/cntl".into();
    config.flush_every = knobs.flush_every;
    config.flush_async = knobs.flush_async;
    config.cache_size = knobs.cache_size;
    config.cache_bypass = Bypass::No;
    for descriptor in &mut config.checkpoints {
        descriptor.bypass = Bypass::No;
        descriptor.set_size = knobs.set_size;
        descriptor.store = "/cache".into();
        (descriptor.copy_type, descriptor.set_failures) = match knobs.scheme {
            Wanted::Single => (CopyType::Single, 1),
            Wanted::Xor => (CopyType::Xor, 1),
            Wanted::Partner => (CopyType::Partner, 1),
            Wanted::Rs(failures) => (CopyType::Rs, failures),
        };
    }
    config
}

fn story(launch: &Launch, stores: &[[Faulty; 2]], told: &Told) -> Vec<String> {
    let mut story = told.lines.lock().unwrap().clone();
    for fault in &launch.faults {
        let trace = stores[fault.rank][fault.side as usize].trace();
        let at = (fault.plan.at as usize).min(trace.len());
        let near = trace[at.saturating_sub(4)..at].iter();
        story.extend(near.map(|line| format!("rank {} {:?}: {line}", fault.rank, fault.side)));
    }
    story
}

/// Listens to what the library tells.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    flushed: Mutex<Vec<String>>,
    waker: Mutex<Option<(EventKind, Waker)>>,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

impl Told {
    fn flushed(&self) -> Vec<String> {
        self.flushed.lock().unwrap().clone()
    }
}

impl Sink for Told {
    fn tell(&self, event: &Event) {
        self.lines.lock().unwrap().push(event.text.clone());
        let is_success =
            matches!(event.kind, EventKind::FlushSuccess | EventKind::AsyncFlushSuccess);
        if let (true, Some(name)) = (is_success, &event.name) {
            self.flushed.lock().unwrap().push(name.as_str().to_string());
        }
        let waker = self.waker.lock().unwrap().take_if(|(kind, _)| *kind == event.kind);
        if let Some((_, waker)) = waker {
            waker();
        }
    }
}
