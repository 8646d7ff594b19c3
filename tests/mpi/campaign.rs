// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which windows there are, how a job is brought into each of them, and what is lost besides.
//!
//! A chain is one job that is killed again and again, in each window of a setup in turn; every launch judges the one before.

use crate::content::mix;
use crate::job::{Job, Kill, Launched, Settings, Source};
use crate::launcher::Launcher;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// Rank 0, which writes the records of the prefix.
    First,
    /// The first rank of some node, which writes the records of its cache.
    Leader,
    /// Any rank.
    Any,
    /// The first rank of the node that lost its memory.
    Loser,
    /// A rank of a node that did not.
    Survivor,
    /// The same as in the launch before.
    Same,
}

/// What the launches of a chain do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Write checkpoints; after a death a node may lose its memory.
    Write,
    /// The launch before was killed here, before or after.
    Follow(&'static str, bool),
    /// A node lost its memory before the launch.
    Rebuild,
    /// Ranks run elsewhere than before.
    Move,
    /// All nodes lost their memory before the launch.
    Fetch,
}

/// Windows that need the same preparation.
#[derive(Debug)]
struct Setup {
    plan: Plan,
    settings: Settings,
    /// Checkpoints per launch.
    steps: u32,
    windows: &'static [(&'static str, Victim)],
}

const XOR: Settings =
    Settings { scheme: "XOR", set_size: 8, cache_size: 1, flush_every: 0, fixed_names: false };

const SETUPS: &[Setup] = &[
    Setup {
        plan: Plan::Write,
        settings: XOR,
        steps: 3,
        windows: &[
            ("init: lease", Victim::First),
            ("init: token", Victim::Leader),
            ("have_restart: read", Victim::Any),
            ("have_restart: decision", Victim::First),
            ("start_output: writing", Victim::Leader),
            ("complete_output: parity", Victim::Any),
            ("complete_output: node", Victim::Leader),
            ("complete_output: copy", Victim::Leader),
            ("complete_output: committed", Victim::Leader),
            ("complete_output: evict state", Victim::Leader),
            ("complete_output: evict node", Victim::Leader),
            ("complete_output: keep parity", Victim::Leader),
            ("complete_output: discard", Victim::Leader),
            ("complete_output: reuse parity", Victim::Leader),
            ("finalize: lease", Victim::First),
        ],
    },
    Setup {
        plan: Plan::Write,
        settings: Settings { flush_every: 1, cache_size: 2, ..XOR },
        steps: 2,
        windows: &[
            ("complete_output: flushing", Victim::First),
            ("complete_output: flush data", Victim::Any),
            ("complete_output: map", Victim::Leader),
            ("complete_output: flushed", Victim::First),
            ("complete_output: index", Victim::First),
            ("complete_output: current", Victim::First),
        ],
    },
    Setup {
        plan: Plan::Write,
        settings: Settings { flush_every: 1, fixed_names: true, ..XOR },
        steps: 2,
        windows: &[
            ("complete_output: seal", Victim::First),
            ("complete_output: rename file", Victim::Any),
            ("complete_output: superseded", Victim::First),
        ],
    },
    Setup {
        plan: Plan::Follow("complete_output: committed", false),
        settings: XOR,
        steps: 2,
        windows: &[("init: committed", Victim::Same)],
    },
    Setup {
        plan: Plan::Follow("complete_output: seal", true),
        settings: Settings { flush_every: 1, fixed_names: true, ..XOR },
        steps: 2,
        windows: &[("init: rename file", Victim::First), ("init: flushed", Victim::First)],
    },
    Setup {
        plan: Plan::Rebuild,
        settings: Settings { cache_size: 2, ..XOR },
        steps: 2,
        windows: &[
            ("init: rebuild node", Victim::Loser),
            ("init: rebuild copy", Victim::Loser),
            ("init: rebuild data", Victim::Loser),
            ("init: rebuild parity", Victim::Loser),
            ("init: rebuild state", Victim::Loser),
            ("init: publish rebuilt", Victim::Loser),
            ("init: read", Victim::Survivor),
        ],
    },
    Setup {
        plan: Plan::Move,
        settings: XOR,
        steps: 1,
        windows: &[
            ("init: writing", Victim::Leader),
            ("init: data", Victim::Any),
            ("init: committed", Victim::Leader),
            ("init: evict state", Victim::Leader),
            ("init: discard", Victim::Leader),
        ],
    },
    Setup {
        plan: Plan::Fetch,
        settings: Settings { flush_every: 1, ..XOR },
        steps: 1,
        windows: &[
            ("have_restart: writing", Victim::Leader),
            ("have_restart: data", Victim::Any),
            ("have_restart: committed", Victim::Leader),
        ],
    },
    Setup {
        plan: Plan::Write,
        settings: Settings { scheme: "RS", ..XOR },
        steps: 2,
        windows: &[
            ("complete_output: parity", Victim::Any),
            ("complete_output: committed", Victim::Leader),
        ],
    },
    Setup {
        plan: Plan::Rebuild,
        settings: Settings { scheme: "RS", cache_size: 2, ..XOR },
        steps: 2,
        windows: &[
            ("init: rebuild parity", Victim::Loser),
            ("init: publish rebuilt", Victim::Loser),
        ],
    },
    Setup {
        plan: Plan::Rebuild,
        settings: Settings { scheme: "PARTNER", cache_size: 2, ..XOR },
        steps: 2,
        windows: &[("init: rebuild data", Victim::Loser)],
    },
];

/// Which rank runs on which node, the least size of a redundancy set, and how often each window is hit with it: 20 times
/// in all, without the first, which has no redundancy and is for setups that flush.
const LAYOUTS: &[(&[usize], u32, u32)] = &[
    (&[0], 8, 1),
    (&[0, 1], 8, 13),
    (&[0, 0, 0, 1], 8, 3),
    (&[0, 1, 1, 2], 8, 2),
    (&[0, 0, 0, 1, 1, 2, 3, 3], 8, 1),
    (&[0, 1, 1, 2, 3, 3, 3, 4], 2, 1),
];

/// Launches that may miss a window before it counts as out of reach.
const MOST_MISSES: u32 = 8;

/// What came of the hits of one window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) hits: u32,
    pub(crate) from_cache: u32,
    pub(crate) rebuilt: u32,
    pub(crate) from_prefix: u32,
}

/// What came of all windows, in the order of the table.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    by_window: BTreeMap<(usize, usize), Tally>,
    pub(crate) launches: u32,
}

impl Tallies {
    /// Adds those of another chain.
    pub(crate) fn add(&mut self, other: &Self) {
        self.launches += other.launches;
        for (window, tally) in &other.by_window {
            let sum = self.by_window.entry(*window).or_default();
            sum.hits += tally.hits;
            sum.from_cache += tally.from_cache;
            sum.rebuilt += tally.rebuilt;
            sum.from_prefix += tally.from_prefix;
        }
    }

    /// All windows with what came of them.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (String, Tally)> {
        SETUPS.iter().enumerate().flat_map(move |(s, setup)| {
            let names = setup.windows.iter().enumerate();
            names.map(move |(w, (name, _))| {
                let name = match setup.settings.scheme {
                    "XOR" => name.to_string(),
                    scheme => format!("{name} ({scheme})"),
                };
                (name, self.by_window.get(&(s, w)).copied().unwrap_or_default())
            })
        })
    }
}

/// One job, killed in the windows of a setup in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    setup: usize,
    layout: usize,
    seed: u64,
    rounds: u32,
}

/// All chains, the longest first; `hits` says how often to hit each window instead of what [`LAYOUTS`] says.
pub(crate) fn chains(seed: u64, hits: impl Fn(u32) -> u32) -> Vec<Chain> {
    let mut chains = Vec::new();
    for (setup, kind) in SETUPS.iter().enumerate() {
        for (layout, (nodes, _, rounds)) in LAYOUTS.iter().enumerate() {
            if nodes.len() == 1 && kind.settings.flush_every != 1 {
                continue;
            }
            let seed = mix(seed ^ (setup as u64) << 8 ^ layout as u64);
            chains.push(Chain { setup, layout, seed, rounds: hits(*rounds) });
        }
    }
    let cost = |chain: &Chain| {
        let launches = SETUPS[chain.setup].windows.len() as u32 * chain.rounds;
        launches * (2 + LAYOUTS[chain.layout].0.len() as u32)
    };
    chains.sort_by_key(|chain| std::cmp::Reverse(cost(chain)));
    chains
}

/// A chain under way.
struct Run<'a> {
    setup: &'static Setup,
    chain: Chain,
    job: Job<'a>,
    random: u64,
    /// Names of the nodes, by number in the layout.
    names: Vec<String>,
    /// How far ranks have moved from where the layout has them.
    turn: usize,
    /// The node whose memory was lost and is not known to be rebuilt.
    lost: Option<usize>,
    /// The rank that was killed last.
    victim: usize,
    /// Windows whose hits have not led to a restart yet.
    open: Vec<usize>,
    tallies: Tallies,
}

impl Chain {
    /// Runs the whole chain in `root`.
    ///
    /// # Errors
    /// What went wrong, with all that led to it.
    pub(crate) fn run(self, launcher: &Launcher, root: PathBuf) -> Result<Tallies, String> {
        let setup = &SETUPS[self.setup];
        let settings = Settings { set_size: LAYOUTS[self.layout].1, ..setup.settings };
        let nodes = 1 + LAYOUTS[self.layout].0.iter().max().copied().unwrap_or(0);
        let mut run = Run {
            setup,
            chain: self,
            job: Job::new(launcher, root, self.seed, settings),
            random: self.seed,
            names: (0..nodes).map(|node| format!("n{node}")).collect(),
            turn: 0,
            lost: None,
            victim: 0,
            open: Vec::new(),
            tallies: Tallies::default(),
        };
        match run.all() {
            Ok(()) => Ok(run.tallies),
            Err(error) => Err(format!("{error}\n{self:?}\n{}", run.job.journal())),
        }
    }
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), String> {
        self.launch(None)?;
        let windows = self.setup.windows.len();
        let is_writing = matches!(self.setup.plan, Plan::Write | Plan::Follow(..));
        for hit in 0..windows * self.chain.rounds as usize {
            // Each round begins with another window: the next launch is judged by what all before it left.
            self.hit((hit + hit / windows) % windows)?;
            // Where launches die before they write, every other one goes its way undisturbed.
            let period = if is_writing { 16 } else { 2 };
            if hit % period == period - 1 {
                self.launch(None)?;
            }
        }
        self.launch(None).map(|_| ())
    }

    /// Launches until the window was hit.
    fn hit(&mut self, window: usize) -> Result<(), String> {
        let (name, victim) = self.setup.windows[window];
        for _ in 0..MOST_MISSES {
            self.prepare()?;
            let kill = self.kill(name, victim);
            let launched = self.launch(Some(&kill))?;
            if launched.hit {
                self.tallies.by_window.entry((self.chain.setup, window)).or_default().hits += 1;
                self.open.push(window);
                self.aftermath(&kill);
                return Ok(());
            }
        }
        Err(format!("window {name} was not reached in {MOST_MISSES} launches"))
    }

    /// Brings about what the setup needs before a launch.
    fn prepare(&mut self) -> Result<(), String> {
        match self.setup.plan {
            Plan::Write => {}
            Plan::Follow(window, after) => {
                let victim = if window.ends_with("seal") { Victim::First } else { Victim::Leader };
                let kill = Kill { after, ..self.kill(window, victim) };
                self.launch(Some(&kill))?;
            }
            Plan::Rebuild => self.lose_one(),
            Plan::Move => self.turn += 1,
            Plan::Fetch => self.job.lose_all(),
        }
        Ok(())
    }

    /// A node loses its memory: the same as last time, unless that is whole again.
    fn lose_one(&mut self) {
        let node = self.lost.unwrap_or_else(|| self.pick(self.names.len()));
        self.lose(node);
    }

    /// The node's place may be taken by a spare with another name.
    fn lose(&mut self, node: usize) {
        self.job.lose(&self.names[node]);
        self.lost = Some(node);
        if self.pick(2) == 0 {
            self.names[node] = format!("n{node}x{}", self.pick(1000));
        }
    }

    /// After a death in the middle of writing a node may be lost, too, and all of them where everything was flushed.
    fn aftermath(&mut self, kill: &Kill) {
        if self.setup.plan != Plan::Write {
            return;
        }
        let is_flushed = self.setup.settings.flush_every == 1;
        if is_flushed && (self.names.len() == 1 || self.pick(3) == 0) {
            self.job.lose_all();
            self.lost = None;
        } else if self.lost.is_none() && self.pick(3) > 0 {
            let any = self.pick(self.names.len());
            self.lose(if kill.whole_node { self.node_of(kill.victim) } else { any });
        }
    }

    fn kill(&mut self, window: &'static str, victim: Victim) -> Kill {
        let ranks = LAYOUTS[self.chain.layout].0.len();
        let is_leader = |rank: &usize| (0..*rank).all(|r| self.node_of(r) != self.node_of(*rank));
        let fits: Vec<usize> = (0..ranks)
            .filter(|rank| match victim {
                Victim::First => *rank == 0,
                Victim::Leader => is_leader(rank),
                Victim::Any => true,
                Victim::Loser => Some(self.node_of(*rank)) == self.lost && is_leader(rank),
                Victim::Survivor => Some(self.node_of(*rank)) != self.lost,
                Victim::Same => *rank == self.victim,
            })
            .collect();
        self.victim = fits[self.pick(fits.len())];
        // Data are read and written in several blocks, checkpoints written more than once in a launch.
        let passes = match window.split_once(": ").unwrap_or_default() {
            (_, "data" | "rebuild data" | "read") => 3,
            ("start_output" | "complete_output", _) => 2,
            _ => 1,
        };
        let (after, whole_node) = (self.pick(2) == 0, self.pick(2) == 0);
        let pass = 1 + self.pick(passes) as u32;
        Kill { window, after, pass, victim: self.victim, whole_node }
    }

    /// One launch; what it restarted from counts for the hits before it.
    fn launch(&mut self, kill: Option<&Kill>) -> Result<Launched, String> {
        let ranks = LAYOUTS[self.chain.layout].0.len();
        let nodes: Vec<String> = (0..ranks).map(|r| self.names[self.node_of(r)].clone()).collect();
        let launched = self.job.launch(&nodes, self.setup.steps, kill)?;
        self.tallies.launches += 1;
        if launched.restarted {
            self.lost = None;
        }
        if let Some(source) = launched.source {
            for window in std::mem::take(&mut self.open) {
                let tally = self.tallies.by_window.entry((self.chain.setup, window)).or_default();
                match source {
                    Source::Cache => tally.from_cache += 1,
                    Source::Rebuilt => tally.rebuilt += 1,
                    Source::Prefix => tally.from_prefix += 1,
                }
            }
        }
        Ok(launched)
    }

    /// The node, by number, on which a rank runs now. Every other turn the last node stands idle, if there are three.
    fn node_of(&self, rank: usize) -> usize {
        let layout = LAYOUTS[self.chain.layout].0;
        let node = layout[(rank + self.turn) % layout.len()];
        let last = self.names.len() - 1;
        if self.turn % 2 == 1 && last > 1 && node == last { 0 } else { node }
    }

    fn pick(&mut self, choices: usize) -> usize {
        self.random = mix(self.random);
        (self.random % choices as u64) as usize
    }
}
