// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random lives of a job: topology, launches, crashes, losses, rot, errors and nodes that return, all from one seed.

use crate::cluster::{Cluster, Fault, Knobs, Launch, Side, Wanted};
use crate::program::{Program, Step};
use crate::random::{Random, mix2};
use scr_core::store::Store;
use scr_core::store::fault::{Cause, Plan, What};
use scr_core::store::mem::MemState;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many are run where nobody says.
const SCHEDULES: u64 = 2000;
const LONG_SCHEDULES: u64 = 50_000;

#[test]
fn random_schedules_lose_nothing() {
    if let Some(seed) = crate::switch("SCR_SIM_SEED") {
        let mut life = Life::new(seed);
        let outcome = life.live();
        println!("{}", life.cluster.trace.join("\n"));
        outcome.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    let default = if crate::is_long() { LONG_SCHEDULES } else { SCHEDULES };
    let count = crate::switch("SCR_SIM_SCHEDULES").unwrap_or(default);
    let next = AtomicU64::new(1);
    let failures = Mutex::new(BTreeMap::new());
    let tally = Mutex::new(BTreeMap::<&str, u64>::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > count || failures.lock().unwrap().len() >= 5 {
                        return;
                    }
                    let mut life = Life::new(seed);
                    if let Err(why) = life.live() {
                        failures.lock().unwrap().insert(seed, why);
                    }
                    let mut tally = tally.lock().unwrap();
                    for (what, times) in &life.tally {
                        *tally.entry(what).or_default() += times;
                    }
                }
            });
        }
    });
    println!("{count} schedules: {:?}", tally.into_inner().unwrap());
    let failures = failures.into_inner().unwrap();
    if let Some((seed, why)) = failures.first_key_value() {
        let seeds: Vec<_> = failures.keys().collect();
        panic!(
            "schedules {seeds:?} failed; replay the first with\n    SCR_SIM_SEED={seed} cargo test -p scr-tests --test sim random_schedules\n{why}"
        );
    }
}

/// What jobs ask for.
const SCHEMES: [Wanted; 8] = [
    Wanted::Single,
    Wanted::Xor,
    Wanted::Xor,
    Wanted::Xor,
    Wanted::Partner,
    Wanted::Partner,
    Wanted::Rs(2),
    Wanted::Rs(3),
];

/// One job.
struct Life {
    cluster: Cluster,
    random: Random,
    knobs: Knobs,
    /// The node of every rank.
    hosts: Vec<usize>,
    /// What nodes held when they went away.
    away: BTreeMap<usize, MemState>,
    checkpoints: u32,
    tally: BTreeMap<&'static str, u64>,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(mix2(seed, 0x11fe));
        let nodes = 2 + random.below(5) as usize;
        let used = 1 + random.below(nodes as u64 - 1) as usize;
        let ranks = used + random.below(4) as usize;
        let knobs = Knobs {
            flush_every: random.below(3) as u32,
            flush_async: Random::new(mix2(seed, 0xa57)).one_in(3),
            set_size: 2 + random.below(3) as u32,
            cache_size: 1 + random.below(2) as u32,
            scheme: random.pick(&SCHEMES),
        };
        let mut hosts: Vec<usize> = (0..used).collect();
        while hosts.len() < ranks {
            hosts.push(random.below(used as u64) as usize);
        }
        if random.one_in(2) {
            hosts.sort_unstable();
        }
        let cluster = Cluster::new(nodes, seed);
        let away = BTreeMap::new();
        Self { cluster, random, knobs, hosts, away, checkpoints: 0, tally: BTreeMap::new() }
    }

    fn live(&mut self) -> Result<(), String> {
        for _ in 0..2 + self.random.below(4) {
            let launch = self.launch();
            self.run(&launch)?;
            self.happen();
        }
        let last = self.job(vec![Step::Restart]);
        self.run(&last)
    }

    fn run(&mut self, launch: &Launch) -> Result<(), String> {
        let ended = self.cluster.launch(launch)?;
        self.count("launches");
        if ended.crashed {
            self.count("crashes");
        }
        let first = |call| ended.answers.iter().find(move |a| a.call == call);
        let found = first("have_restart").map(|a| a.said.clone());
        match found {
            Some(Ok(name)) if name == "none" => self.count("from zero"),
            Some(Ok(_)) => self.count("restarts"),
            Some(Err(_)) => self.count("refusals"),
            None => {}
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    fn job(&self, steps: Vec<Step>) -> Launch {
        let (hosts, knobs) = (self.hosts.clone(), self.knobs);
        Launch { hosts, job: "7", knobs, program: Program::Steps(steps), faults: Vec::new() }
    }

    fn launch(&mut self) -> Launch {
        if self.random.one_in(8) && self.checkpoints > 0 {
            let mut launch = self.job(Vec::new());
            launch.hosts.sort_unstable();
            launch.hosts.dedup();
            launch.program = Program::Scavenge;
            launch.faults = self.faults(launch.hosts.len());
            self.count("scavenges");
            return launch;
        }
        let mut steps = vec![Step::Restart];
        for _ in 0..self.random.below(4) {
            self.checkpoints += 1;
            let name = format!("ckpt.{}", self.checkpoints);
            let is_output = self.random.one_in(6);
            steps.push(if is_output { Step::Output(name) } else { Step::Checkpoint(name) });
        }
        if self.knobs.flush_async {
            steps = with_asks(steps);
        }
        if self.random.one_in(2) {
            steps.push(Step::Finalize);
        }
        let faults = self.faults(self.hosts.len());
        Launch { faults, ..self.job(steps) }
    }

    /// Mostly one or none, now and then a second one elsewhere.
    fn faults(&mut self, ranks: usize) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.fault(ranks).into_iter().collect();
        if self.random.one_in(5) {
            let second = self.fault(ranks);
            let place = |f: &Fault| (f.rank, f.side);
            faults.extend(second.filter(|s| faults.iter().all(|f| place(f) != place(s))));
        }
        faults
    }

    fn fault(&mut self, ranks: usize) -> Option<Fault> {
        let causes = [Cause::Io, Cause::NoSpace];
        let what = match self.random.below(10) {
            0..4 => return None,
            4 | 5 => What::Crash,
            6 | 7 => What::Torn,
            8 => What::Once(self.random.pick(&causes)),
            _ => What::From(self.random.pick(&causes)),
        };
        let range = self.random.pick(&[30, 120, 400]);
        let plan = Plan { at: 1 + self.random.below(range), what };
        let side = self.random.pick(&[Side::Local, Side::Local, Side::Shared]);
        Some(Fault { rank: self.random.below(ranks as u64) as usize, side, plan })
    }

    /// What happens between two launches.
    fn happen(&mut self) {
        if self.random.one_in(3) {
            let seed = self.random.next();
            self.cluster.power_loss_of_prefix(seed);
        }
        // Mostly one thing, now and then too many.
        let things = self.random.pick(&[0, 1, 1, 1, 2, 3]);
        for _ in 0..things {
            let node = self.random.pick(&self.hosts);
            match self.random.below(6) {
                0 | 1 => self.lose(node),
                2 => self.leave(node),
                3 => self.rot(node),
                4 => {
                    let seed = self.random.next();
                    self.cluster.power_loss_of(node, seed);
                }
                _ => self.come_back(),
            }
        }
        match self.random.below(5) {
            0 => {
                let (a, b) = (self.random.next() as usize, self.random.next() as usize);
                let ranks = self.hosts.len();
                self.hosts.swap(a % ranks, b % ranks);
            }
            1 => {
                let node = self.random.pick(&self.hosts);
                self.replace(node);
            }
            _ => {}
        }
    }

    /// The ranks of a node run on another from now on: a spare where there is one, else together with others.
    fn replace(&mut self, node: usize) {
        let nodes = 0..self.cluster.nodes.len();
        let free: Vec<usize> =
            nodes.filter(|n| !self.hosts.contains(n) && !self.away.contains_key(n)).collect();
        let others: Vec<usize> = self.hosts.iter().copied().filter(|&n| n != node).collect();
        let to = match (free.is_empty(), others.is_empty()) {
            (false, _) => self.random.pick(&free),
            (true, false) => self.random.pick(&others),
            (true, true) => return,
        };
        self.cluster.note(format!("ranks of node {node} move to node {to}"));
        self.hosts.iter_mut().filter(|host| **host == node).for_each(|host| *host = to);
    }

    fn lose(&mut self, node: usize) {
        self.cluster.wipe(node);
        self.count("nodes lost");
        if self.random.one_in(2) {
            self.replace(node);
        }
    }

    fn leave(&mut self, node: usize) {
        let before = self.hosts.clone();
        self.replace(node);
        if before == self.hosts {
            return;
        }
        self.cluster.note(format!("node {node} goes away"));
        self.away.insert(node, self.cluster.nodes[node].clone_state());
        self.cluster.oracle.leaves(node);
        self.cluster.nodes[node].wipe();
    }

    fn come_back(&mut self) {
        let Some((node, state)) = self.away.pop_first() else { return };
        self.cluster.note(format!("node {node} comes back as it was"));
        self.cluster.nodes[node].restore(&state);
        self.cluster.oracle.returns(node);
        self.count("nodes back");
        let other = self.random.pick(&self.hosts);
        for host in self.hosts.iter_mut().filter(|host| **host == other) {
            *host = node;
        }
    }

    fn rot(&mut self, node: usize) {
        let files = Cluster::files(&self.cluster.nodes[node]);
        if files.is_empty() {
            return;
        }
        let (path, size) = &files[self.random.below(files.len() as u64) as usize];
        let mem = &self.cluster.nodes[node];
        let (at, kind) = (self.random.below((*size).max(1)), self.random.below(4));
        match kind {
            0 if *size > 0 => mem.truncate(path, at).unwrap(),
            1 => mem.remove(path).unwrap(),
            _ if *size > 0 => mem.flip_bit(path, at).unwrap(),
            _ => return,
        }
        self.cluster.note(format!("rot {kind} at {at} in {} of node {node}", path.display()));
        self.cluster.oracle.damage(node, "torn");
        self.count("rot");
    }
}

/// Gives flushes that are under way two occasions to end after each step.
fn with_asks(steps: Vec<Step>) -> Vec<Step> {
    let asks = |i: u32| [Step::Ask(2 * i), Step::Ask(2 * i + 1)];
    steps.into_iter().zip(0..).flat_map(|(step, i)| std::iter::once(step).chain(asks(i))).collect()
}
