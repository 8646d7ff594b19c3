// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr run`: launches an application, and launches it again on the nodes that are left until it has done its work.

mod chain;
pub(crate) mod decide;
pub(crate) mod directory;
mod heartbeat;
pub(crate) mod kill_node;
mod options;
mod placement;
mod programs;
mod progress;
pub(crate) mod rank_exec;
pub(crate) mod salvage;
mod signals;
mod site;
mod supervise;

pub(crate) use options::Arguments;

use crate::environment::variable;
use crate::files::{absolute, list, name_of, store};
use crate::launcher::Launch;
use crate::log::{self, Entry, Log};
use crate::output::{complain, count, join, say_now};
use crate::prefix::Prefix;
use crate::queries::have_restart::newest_in_prefix;
use crate::resource_manager::{self, ResourceManager, parse_node_list};
use crate::settings::{self, Settings};
use crate::{exit, halt};
use chain::Chain;
use decide::{Ended, Reason, Status, Verdict, application_status, decide};
use directory::RunDirectory;
use heartbeat::{CallLimits, Listener};
use placement::{Placement, place, wanted};
use programs::{Programs, name_checkpoint};
use progress::Progress;
use rustix::fs::{FileType, SeekFrom};
use salvage::{Saved, save};
use scr_core::clock::{Clock, SystemClock};
use scr_core::format::lease::{Lease, LeaseState};
use scr_core::id::NodeName;
use scr_core::{Error, ErrorKind, Result};
use signal_hook::iterator::Signals;
use site::Site;
use site::allocation::{Allocation, Patience};
use site::virtual_nodes::VirtualNodes;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use supervise::{Limits, StepEnd, supervise};

/// Runs an application to its end.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    if arguments.enable == 0 {
        let words = programs::plain(arguments)?;
        let Some((program, arguments)) = words.split_first() else { return Ok(exit::USAGE) };
        let error = Command::new(program).args(arguments).exec();
        return cannot_start(Error::io("start", Path::new(program), &error));
    }
    let manager = if arguments.local { None } else { resource_manager::around()? };
    let programs = match Programs::new(arguments, manager.is_some()) {
        Ok(programs) => programs,
        Err(error) => return cannot_start(error),
    };
    let clock = SystemClock::default();
    let mut supervisor = Supervisor::new(arguments, &clock, programs, manager)?;
    let end = supervisor.drive().unwrap_or_else(|error| {
        // Whatever went wrong: what is only in the caches is still saved.
        complain("scr run", &error);
        RunEnd { code: exit::of_error(error.kind()), is_success: false, has_more: false }
    });
    supervisor.finish(end)
}

/// The exit status that a shell has for a program that is not there or cannot be executed; all else stays an error.
fn cannot_start(error: Error) -> Result<u8> {
    let code = match error.kind() {
        ErrorKind::NotFound => exit::NO_SUCH_PROGRAM,
        ErrorKind::Io => exit::CANNOT_EXECUTE,
        _ => return Err(error),
    };
    complain("scr run", &error);
    Ok(code)
}

/// Asks a launcher for its version.
fn version_of(program: &OsStr) -> Result<String> {
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let answer = asked.map_err(|error| Error::io("start", Path::new(program), &error))?;
    Ok(String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned())
}

/// Where run directories are unless the user says otherwise.
fn run_base() -> PathBuf {
    let base = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into());
    let user = variable("USER").unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    Path::new(&base).join(format!("scr-{user}"))
}

/// The run directory that a user means: the one given, or the only one there is.
///
/// # Errors
/// [`ErrorKind::Misuse`] when there are several, [`ErrorKind::NotFound`] when there is none.
pub(crate) fn find_run_directory(given: Option<&Path>) -> Result<RunDirectory> {
    if let Some(given) = given {
        return Ok(RunDirectory::new(given));
    }
    let base = run_base();
    let mut runs = list(&base)?;
    runs.retain(|path| matches!(RunDirectory::new(path).supervisor(), Ok(Some(_))));
    match runs.as_slice() {
        [] => Err(Error::new(
            ErrorKind::NotFound,
            format!("no run goes on in {}; say which with --run-dir", base.display()),
        )),
        [one] => Ok(RunDirectory::new(one)),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display()).collect();
            let message = format!("several runs; choose one with --run-dir: {}", join(&names));
            Err(Error::new(ErrorKind::Misuse, message))
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunEnd {
    /// The exit status.
    code: u8,
    /// Whether the application did its work.
    is_success: bool,
    /// Whether it stopped only because this allocation has no more time, or nodes, for it.
    has_more: bool,
}

/// A run in progress.
#[derive(Debug)]
struct Supervisor<'a> {
    arguments: &'a Arguments,
    clock: &'a dyn Clock,
    programs: Programs,
    site: Box<dyn Site>,
    /// How many nodes a launch has when none is missing.
    wanted: usize,
    prefix: Prefix,
    limits: Limits,
    signals: Signals,
    log: Option<Log>,
    chain: Option<Chain>,
    down: BTreeSet<NodeName>,
    runs_made: u32,
    barren: u32,
    newest: Progress,
    /// Where standard input began, where it is a file: each launch reads it from there.
    input: Option<u64>,
}

/// How long a node may show no heartbeat, where nobody said.
const SILENCE_SECONDS: u64 = 60;

/// When an application that shall be requeued stops, where nobody said: enough for a checkpoint of a large machine.
const REQUEUE_SECONDS: u64 = 300;

impl<'a> Supervisor<'a> {
    fn new(
        arguments: &'a Arguments,
        clock: &'a dyn Clock,
        programs: Programs,
        manager: Option<Box<dyn ResourceManager>>,
    ) -> Result<Self> {
        let signals = signals::collect()?;
        // Orphans of a launch come to us, so that none escapes its end.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        let prefix = absolute(arguments.prefix.as_deref().unwrap_or(Path::new(".")))?;
        let run_id = format!("scr-{}-{}", clock.unix().as_secs(), std::process::id());
        let silence = Duration::from_secs(arguments.watchdog_timeout.unwrap_or(SILENCE_SECONDS));
        let between = arguments.watchdog_timeout.map(Duration::from_secs);
        let within = arguments.watchdog_timeout_pfs.map(Duration::from_secs).or(between);
        let limits = CallLimits { between, within };
        let listener = Listener::new(silence, limits, arguments.watchdog != 0);
        let excluded = parse_node_list(&arguments.exclude_nodes)?;
        let after_death = seconds(arguments.hang_seconds);
        let (site, wanted, launcher_grace): (Box<dyn Site>, _, _) = if let Some(manager) = manager {
            let (asked, spares) = (arguments.nodes, arguments.spares);
            let wanted = wanted(asked, spares, programs.first.nodes(), manager.nodes().len())?;
            let patience = Patience {
                answer: seconds(arguments.probe_seconds),
                silence: seconds(arguments.node_silence_seconds),
            };
            let site = Allocation::new(
                manager,
                run_id,
                excluded,
                patience,
                listener,
                Settings::read(Some(&prefix))?.for_others(),
            );
            (Box::new(site), wanted, Duration::from_secs(6))
        } else {
            let site = VirtualNodes::new(arguments, run_id, excluded, listener)?;
            let wanted = site.wanted() as usize;
            (Box::new(site), wanted, Duration::from_secs(1))
        };
        let prefix = Prefix::at(&prefix);
        // A configuration that the library would refuse is for the library to refuse, with all its ranks.
        let config = settings::of(prefix.root()).ok();
        let of_file =
            config.as_ref().map(|config| u64::from(config.halt_seconds)).filter(|&n| n > 0);
        let halt_seconds = arguments.halt_seconds.or(of_file).unwrap_or(REQUEUE_SECONDS);
        let chain =
            arguments.requeue.then_some(Chain { seconds: halt_seconds, flushed_before: None });
        if chain.is_some() && site.can_requeue() == Some(false) {
            let text = "--requeue: the scheduler would not put this job back into the queue; it must be a batch job \
                        (sbatch --requeue)";
            return Err(Error::new(ErrorKind::Misuse, text));
        }
        if chain.is_some() && site.end_unix_seconds().is_none() {
            say_now("when this allocation ends is not known: only SIGUSR1 tells that it is time");
        }
        let is_logged = config.is_some_and(|config| config.log);
        let log = is_logged.then(|| Log::new(&prefix, Some(site.job_id())));
        Ok(Self {
            arguments,
            clock,
            programs,
            site,
            wanted,
            prefix,
            limits: Limits { after_death, launcher: launcher_grace },
            signals,
            log,
            chain,
            down: BTreeSet::new(),
            runs_made: 0,
            barren: 0,
            newest: Progress::default(),
            input: place_in_input(),
        })
    }

    fn tell(&self, entry: Entry) {
        if let Some(log) = &self.log {
            log.tell(self.clock.unix().as_secs(), entry);
        }
    }

    /// Launches until it is time to stop.
    fn drive(&mut self) -> Result<RunEnd> {
        let stopped = |code| RunEnd { code, is_success: false, has_more: false };
        self.newest = self.site.progress(&self.prefix)?;
        if let Some(chain) = &mut self.chain {
            chain.flushed_before = self.newest.flushed;
            Chain::take_back(&self.prefix)?;
        }
        let mut last = None;
        loop {
            if self.is_halted() {
                say_now("a halt condition holds, nothing is launched; scr halt --remove lifts it");
                let code = last.map_or(exit::HALTED, failure_code);
                let has_more = last.is_some() && self.has_no_more_time();
                return Ok(RunEnd { has_more, ..stopped(code) });
            }
            if let Err(error) = self.choose_nodes() {
                if error.kind() != ErrorKind::Refused {
                    return Err(error);
                }
                say_now(&format!("stopping: {error}"));
                let code = last.map_or(exit::UNAVAILABLE, failure_code);
                return Ok(RunEnd { has_more: true, ..stopped(code) });
            }
            let (status, verdict) = self.launch_once()?;
            match verdict {
                Verdict::Success if self.has_no_more_time() => {
                    say_now("the application stopped, for the time of this allocation is over");
                    let (code, is_success) = (exit::SUCCESS, true);
                    return Ok(RunEnd { code, is_success, has_more: true });
                }
                Verdict::Success => {
                    say_now("done: the application succeeded");
                    let code = exit::SUCCESS;
                    return Ok(RunEnd { code, is_success: true, has_more: false });
                }
                Verdict::Stop(reason) => {
                    say_now(&format!("stopping: the application ended with {status}; {reason}"));
                    let has_more = reason == Reason::Halted && self.has_no_more_time();
                    return Ok(RunEnd { has_more, ..stopped(failure_code(status)) });
                }
                Verdict::Relaunch => say_now(&format!("the application ended with {status}")),
            }
            if let Some(signal) = self.pause() {
                say_now(&format!("stopping: {} received", signals::name(signal)));
                return Ok(stopped(Status::Signal(signal).exit_code()));
            }
            last = Some(status);
        }
    }

    /// Whether the application was to stop for the sake of its allocation, and not because a person asked for it.
    fn has_no_more_time(&self) -> bool {
        let Some(chain) = &self.chain else { return false };
        let request = self.prefix.halt().ok().flatten().unwrap_or_default();
        let now = self.clock.unix().as_secs();
        let is_near = |end: u64| end.saturating_sub(now) <= chain.seconds;
        chain::is_ours(&request)
            || (request.reason.is_none() && self.site.end_unix_seconds().is_some_and(is_near))
    }

    /// Finds the nodes of the next launch, makes them ready and keeps the choice.
    fn choose_nodes(&mut self) -> Result<()> {
        let (wanted, nodes) = (self.wanted, self.site.nodes());
        let down = self.site.down()?;
        for node in down.difference(&self.down) {
            self.tell(Entry::node_fail(node.as_str(), "not used from here on"));
        }
        self.down.clone_from(&down);
        if self.runs_made == 0 {
            let spares = nodes.len().saturating_sub(wanted) as u64;
            let (wanted, spares) = (count(wanted as u64, "node"), count(spares, "spare"));
            say_now(&format!("{wanted} and {spares}: {}", self.site.describe()));
        }
        let last = match self.site.slots() {
            [] => &nodes[..wanted.min(nodes.len())],
            slots => slots,
        };
        // A launcher that was told how many nodes to use cannot do with fewer.
        let least = self.programs.first.nodes().map_or(1, |nodes| *nodes.start() as usize);
        let needed = self.arguments.min_nodes.map_or(wanted, |needed| needed as usize).max(least);
        let placement = place(last, &nodes, &down, wanted, needed)?;
        self.use_nodes(placement)
    }

    fn use_nodes(&mut self, placement: Placement) -> Result<()> {
        let Placement { slots, replaced, dropped } = placement;
        let describe = |node: &NodeName| match replaced.iter().find(|(_, spare)| spare == node) {
            Some((failed, _)) => format!("{node} (spare for {failed})"),
            None => node.to_string(),
        };
        let shown: Vec<String> = slots.iter().map(describe).collect();
        if !dropped.is_empty() {
            say_now(&format!("no spare for {}: going on with fewer nodes", join(&dropped)));
        }
        let total = self.arguments.runs().map_or("unlimited".to_string(), |n| n.to_string());
        let ranks = self
            .programs
            .first
            .ranks()
            .map_or(String::new(), |n| format!(", {}", count(n, "rank")));
        let launcher = self.programs.first.describe();
        say_now(&format!(
            "launch {} of {total} on {} ({launcher}{ranks})",
            self.runs_made + 1,
            join(&shown)
        ));
        self.site.prepare(slots, !dropped.is_empty())
    }

    /// Makes one launch and judges it.
    fn launch_once(&mut self) -> Result<(Status, Verdict)> {
        let lease_before = self.lease();
        let mut launch = self.command_line()?;
        if self.arguments.prefix.is_some() {
            launch.env.push(("SCR_PREFIX", self.prefix.root().as_os_str().to_os_string()));
        }
        if let Some(chain) = &self.chain {
            launch.env.push(("SCR_HALT_SECONDS", chain.seconds.to_string().into()));
        }
        if let Some(place) = self.input {
            // What cannot be read again is for the application to miss.
            let _ = rustix::fs::seek(std::io::stdin(), SeekFrom::Start(place));
        }
        let run = self.runs_made + 1;
        let start = self.clock.monotonic();
        self.tell(Entry::run_start(run));
        let (prefix, is_chain) = (&self.prefix, self.chain.is_some());
        let takes = |signal: i32| {
            let is_notice = is_chain && Chain::is_notice(signal);
            if is_notice {
                Chain::ask_to_stop(prefix);
            }
            is_notice
        };
        let (limits, clock, signals) = (self.limits, self.clock, &mut self.signals);
        let end = supervise(&mut *self.site, &launch, limits, clock, signals, &takes)?;
        self.runs_made = run;
        let (status, verdict) = self.judge(&end, lease_before.as_ref())?;
        let how = match verdict {
            Verdict::Success => log::RunEnd::Success,
            Verdict::Stop(Reason::Halted | Reason::Interrupted) => {
                log::RunEnd::Stopped(status.to_string())
            }
            Verdict::Stop(_) | Verdict::Relaunch => log::RunEnd::Failure(status.to_string()),
        };
        let seconds = self.clock.monotonic().saturating_sub(start).as_secs_f64();
        self.tell(Entry::run_end(run, &how, seconds));
        Ok((status, verdict))
    }

    /// The command line of the next launch: that of a restart, where there is one and a checkpoint in the prefix.
    fn command_line(&mut self) -> Result<Launch> {
        let Some(restart) = &self.programs.restart else {
            return self.site.launch(&*self.programs.first);
        };
        // The name must be that of the checkpoint that the library will offer: so the prefix gets the newest first.
        let ranks = self.programs.first.ranks();
        let saved = save(&mut *self.site, &mut self.signals, &self.prefix);
        let newest = saved.and_then(|saved| {
            saved.tell();
            newest_in_prefix(&self.prefix, ranks)
        });
        match newest {
            Ok(Some(found)) => {
                let name = &found.header.name;
                say_now(&format!("restarting from {name}"));
                let mut launch = self.site.launch(&**restart)?;
                name_checkpoint(&mut launch, name);
                Ok(launch)
            }
            Ok(None) => self.site.launch(&*self.programs.first),
            // From what is not known a restart might take the wrong one, and a start from nothing would be worse.
            Err(error) => Err(error),
        }
    }

    fn judge(&mut self, end: &StepEnd, before: Option<&Lease>) -> Result<(Status, Verdict)> {
        let newest = self.site.progress(&self.prefix)?;
        let has_progress = newest.newest() > self.newest.newest();
        if has_progress {
            self.newest = newest;
        }
        let node_lost = !end.aftermath.lost.is_empty();
        self.barren = if has_progress || node_lost { 0 } else { self.barren + 1 };
        let status = application_status(end.launcher, &end.aftermath.ranks);
        let ended = Ended {
            status,
            node_lost,
            finalized: is_finalized(before, self.lease().as_ref()),
            halted: self.is_halted(),
            interrupted: end.interrupted.is_some(),
            barren: self.barren,
            runs_left: self.arguments.runs().map(|runs| runs.saturating_sub(self.runs_made)),
        };
        Ok((status, decide(&ended)))
    }

    /// Waits between two launches; a request to stop ends the wait.
    fn pause(&mut self) -> Option<i32> {
        const SLICE: Duration = Duration::from_millis(20);
        let pause = seconds(self.arguments.relaunch_seconds);
        say_now(&format!("pausing {} s before the next launch", pause.as_secs_f64()));
        let end = self.clock.monotonic() + pause;
        loop {
            for signal in self.signals.pending() {
                if signals::means_stop(signal) {
                    return Some(signal);
                } else if self.chain.is_some() && Chain::is_notice(signal) {
                    Chain::ask_to_stop(&self.prefix);
                }
            }
            let left = end.saturating_sub(self.clock.monotonic());
            if left.is_zero() {
                return None;
            }
            self.clock.sleep(left.min(SLICE));
        }
    }

    /// The lease of the prefix; one that cannot be read counts as none.
    fn lease(&self) -> Option<Lease> {
        self.prefix.lease().ok().flatten()
    }

    fn is_halted(&self) -> bool {
        let now = self.clock.unix().as_secs();
        let seconds = self.chain.map_or(self.arguments.halt_seconds, |chain| Some(chain.seconds));
        let end = self.site.end_unix_seconds();
        match halt::holds(&self.prefix, now, end, seconds.unwrap_or(0)) {
            Ok(holds) => holds,
            Err(error) => {
                say_now(&format!("halt requests cannot be read and are ignored: {error:#}"));
                false
            }
        }
    }

    /// Saves what is only in the caches, then takes leave of the nodes, unless that would lose something; returns the exit
    /// status.
    fn finish(&mut self, end: RunEnd) -> Result<u8> {
        let RunEnd { mut code, is_success, has_more } = end;
        let (is_saved, keep) = match save(&mut *self.site, &mut self.signals, &self.prefix) {
            Ok(saved) => {
                saved.tell();
                let is_saved = !matches!(saved, Saved::Failed(..));
                (is_saved, !is_saved)
            }
            Err(error) => {
                say_now(&format!("nothing saved: {error:#}"));
                (false, !is_success)
            }
        };
        if code == exit::SUCCESS && !is_saved && self.newest.only_in_cache().is_some() {
            say_now("the application has done its work, but its newest checkpoint is not saved");
            code = exit::DATA;
        }
        let keep = keep || (!is_success && self.arguments.run_dir.is_some());
        if let Some(text) = self.site.leave(keep)? {
            say_now(&text);
        }
        match self.chain {
            Some(chain) if has_more && is_saved => self.requeue(chain, code),
            Some(_) => {
                Chain::take_back(&self.prefix)?;
                Ok(code)
            }
            None => Ok(code),
        }
    }

    /// Puts the job back into the queue, if this allocation brought its work forward.
    fn requeue(&self, chain: Chain, code: u8) -> Result<u8> {
        Chain::take_back(&self.prefix)?;
        if !chain.has_progress(progress::flushed(&self.prefix)?) {
            say_now("not requeued: this allocation brought no new checkpoint to the prefix");
            return Ok(if code == exit::SUCCESS { exit::UNAVAILABLE } else { code });
        }
        say_now("putting the job back into the queue: the work goes on in the next allocation");
        self.site.requeue()?;
        Ok(exit::SUCCESS)
    }
}

/// The exit status after a launch that did not do the work: it may have ended with 0 when a node was lost under it.
fn failure_code(status: Status) -> u8 {
    if status.is_success() { exit::UNAVAILABLE } else { status.exit_code() }
}

/// Where in its file standard input is; `None` where it is no file.
fn place_in_input() -> Option<u64> {
    let input = std::io::stdin();
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&input).ok()?.st_mode);
    kind.is_file().then(|| rustix::fs::tell(&input).ok())?
}

/// Whether the application came to SCR_Finalize between two looks at the lease.
fn is_finalized(before: Option<&Lease>, after: Option<&Lease>) -> bool {
    let is_newer = |after: &Lease| {
        before.is_none_or(|before| (before.step, before.epoch) != (after.step, after.epoch))
    };
    after.is_some_and(|after| after.state == LeaseState::Finalized && is_newer(after))
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

/// Makes the run directory, and refuses one that somebody else has put there.
fn own(root: &Path) -> Result<()> {
    store().create_dir_all(root)?;
    for path in [Some(root), root.parent()].into_iter().flatten() {
        let is_ours_by_name = name_of(path).starts_with("scr-") || path == root;
        let uid = rustix::process::getuid().as_raw();
        if is_ours_by_name && store().metadata(path)?.uid != uid {
            let message = format!("{} belongs to somebody else; use --run-dir", path.display());
            return Err(Error::new(ErrorKind::Refused, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::id::{Epoch, JobId};

    #[test]
    fn finalize_is_seen_only_in_a_lease_of_this_launch() {
        let lease = |step: u8, epoch: u64, state| Lease {
            job_id: JobId::new("j"),
            step: [step; 16],
            epoch: Epoch(epoch),
            node: NodeName::new("n"),
            state,
            heartbeat: 0,
            period_ms: 1000,
        };
        let (held, done) = (LeaseState::Held, LeaseState::Finalized);
        let cases = [
            (None, None, false),
            (None, Some(lease(1, 1, done)), true),
            (None, Some(lease(1, 1, held)), false),
            (Some(lease(1, 1, done)), Some(lease(1, 1, done)), false),
            (Some(lease(1, 1, done)), Some(lease(2, 2, done)), true),
            (Some(lease(1, 1, held)), Some(lease(2, 2, LeaseState::Released)), false),
            (Some(lease(1, 1, done)), None, false),
        ];
        for (before, after, expected) in cases {
            assert_eq!(is_finalized(before.as_ref(), after.as_ref()), expected);
        }
    }
}
