// SPDX-License-Identifier: MIT OR Apache-2.0
//! Slurm, 20.11 and newer.
//!
//! What the environment says was true when the allocation began: `SLURM_JOB_NODELIST` keeps nodes that have failed since,
//! and there is no end time before 23.02. So Slurm is asked: the nodes that a `--no-kill` job has lost are those of the
//! environment that `scontrol` no longer names.

use super::{JobStep, PATIENCE, Reach, ResourceManager, compress};
use crate::ask::ask;
use crate::{hostlist, time};
use jiff::tz::TimeZone;
use scr_core::id::NodeName;
use scr_core::{Context, Error, ErrorKind, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

/// The name of the steps that carry our agents.
pub(crate) const AGENT_STEP: &str = "scr-agent";

/// An allocation of Slurm.
#[derive(Clone, Debug)]
pub(crate) struct Slurm {
    job_id: String,
    /// By which Slurm's commands know it. The number of the last task of an array is also that of the whole array:
    /// `scontrol requeue` would put all its tasks back into the queue.
    name: String,
    nodes: Vec<NodeName>,
    /// `SLURM_TASKS_PER_NODE` and the like: for each of the nodes, in their order.
    per_node: Vec<(&'static str, Vec<String>)>,
}

/// Variables that hold something for each node of the allocation.
const PER_NODE: [&str; 2] = ["SLURM_TASKS_PER_NODE", "SLURM_JOB_CPUS_PER_NODE"];

/// What a user may say to `srun` by the environment, for the application: labels in front of the lines of our agents, or
/// other programs before and in place of them, would make all nodes look dead.
const OF_APPLICATIONS: [&str; 8] = [
    "SLURM_BCAST",
    "SLURM_EPILOG",
    "SLURM_EXCLUSIVE",
    "SLURM_LABELIO",
    "SLURM_PROLOG",
    "SLURM_SRUN_MULTI",
    "SLURM_TASK_EPILOG",
    "SLURM_TASK_PROLOG",
];

/// What `scontrol show job` says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Job {
    state: String,
    nodes: Vec<NodeName>,
    end_unix_seconds: Option<u64>,
    /// Whether it is a batch job that may be started anew, where that is told.
    can_requeue: Option<bool>,
}

impl Slurm {
    /// The allocation that this process is in, if `variable` tells of one.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] when its node list cannot be understood.
    pub(crate) fn around(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Self>> {
        let either = |a: &str, b: &str| variable(a).or_else(|| variable(b));
        let Some(job_id) = either("SLURM_JOB_ID", "SLURM_JOBID") else { return Ok(None) };
        let Some(list) = either("SLURM_JOB_NODELIST", "SLURM_NODELIST") else { return Ok(None) };
        let nodes = names(&list).context(|| "read SLURM_JOB_NODELIST")?;
        let per_node = PER_NODE.into_iter().filter_map(|name| {
            let values = expand_counts(&variable(name)?)?;
            (values.len() == nodes.len()).then_some((name, values))
        });
        let is_array = variable("SLURM_ARRAY_JOB_ID").is_some_and(|array| array == job_id);
        let task = variable("SLURM_ARRAY_TASK_ID").filter(|_| is_array);
        let name = task.map_or(job_id.clone(), |task| format!("{job_id}_{task}"));
        Ok(Some(Self { job_id, name, per_node: per_node.collect(), nodes }))
    }

    /// A job that this process need not be in: its steps can be asked for, its nodes cannot.
    pub(crate) fn of_job(job_id: &str) -> Self {
        let (job_id, name) = (job_id.to_string(), job_id.to_string());
        Self { job_id, name, nodes: Vec::new(), per_node: Vec::new() }
    }

    fn job(&self, limit: Duration) -> Result<Job> {
        let is_over = |error: &Error| error.to_string().contains("Invalid job id");
        let no_job = || Error::new(ErrorKind::Refused, format!("no job {} in Slurm", self.job_id));
        match ask(&["scontrol", "--oneliner", "show", "job", &self.name], limit) {
            Ok(text) => parse_job(&text, &time::local()).ok_or_else(no_job),
            Err(error) if is_over(&error) => Err(no_job()),
            Err(error) => {
                Err(Error::new(ErrorKind::Timeout, format!("Slurm does not answer: {error:#}")))
            }
        }
    }
}

impl ResourceManager for Slurm {
    fn describe(&self) -> String {
        format!("Slurm job {}", self.job_id)
    }

    fn job_id(&self) -> &str {
        &self.job_id
    }

    fn nodes(&self) -> Vec<NodeName> {
        self.nodes.clone()
    }

    fn down(&self, limit: Duration) -> Result<BTreeSet<NodeName>> {
        let job = self.job(limit)?;
        if job.state != "RUNNING" {
            let text = format!("job {} is no longer running: {}", self.job_id, job.state);
            return Err(Error::new(ErrorKind::Refused, text));
        }
        let mut down: BTreeSet<_> = self.nodes.iter().cloned().collect();
        job.nodes.iter().for_each(|node| {
            down.remove(node);
        });
        let list = compress(&self.nodes);
        let states = ask(&["sinfo", "-h", "-N", "-n", &list, "-o", "%N %T"], limit)?;
        down.extend(parse_down(&states));
        Ok(down)
    }

    fn end_unix_seconds(&self) -> Option<u64> {
        self.job(PATIENCE).ok()?.end_unix_seconds
    }

    fn can_requeue(&self) -> Option<bool> {
        self.job(PATIENCE).ok()?.can_requeue
    }

    fn live_jobs(&self) -> Result<Option<BTreeSet<String>>> {
        let user = rustix::process::getuid().as_raw().to_string();
        let text = ask(&["squeue", "-h", "-a", "-u", &user, "-o", "%A"], PATIENCE)?;
        Ok(Some(text.split_whitespace().map(str::to_string).collect()))
    }

    fn reach(&self) -> &dyn Reach {
        self
    }

    fn environment(&self, nodes: &[NodeName]) -> Vec<(&'static str, OsString)> {
        let (count, list) = (nodes.len().to_string(), compress(nodes));
        let mut variables = vec![
            ("SLURM_JOB_NODELIST", list.clone().into()),
            ("SLURM_NODELIST", list.into()),
            ("SLURM_JOB_NUM_NODES", count.clone().into()),
            ("SLURM_NNODES", count.into()),
        ];
        for (name, values) in &self.per_node {
            let value = |node| Some(&values[self.nodes.iter().position(|n| n == node)?]);
            let values: Vec<_> = nodes.iter().filter_map(value).collect();
            variables.push((*name, compress_counts(&values).into()));
        }
        variables
    }

    fn steps(&self, limit: Duration) -> Result<Vec<JobStep>> {
        match ask(&["scontrol", "--oneliner", "show", "step", &self.name], limit) {
            Ok(text) => Ok(text.lines().filter_map(parse_step).collect()),
            // That is how scontrol says that there are none.
            Err(error) if error.to_string().contains("not found") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn end_step(&self, step: &str, limit: Duration) -> Result<()> {
        ask(&["scancel", step], limit).map(drop)
    }

    fn signal_step(&self, step: &str, signal: i32, limit: Duration) -> Result<()> {
        ask(&["scancel", &format!("--signal={signal}"), step], limit).map(drop)
    }

    fn requeue(&self) -> Result<()> {
        ask(&["scontrol", "requeue", &self.name], PATIENCE).map(drop)
    }
}

impl Reach for Slurm {
    fn describe(&self) -> &'static str {
        "a job step"
    }

    fn command_lines(&self, nodes: &[NodeName], program: &[OsString]) -> Vec<Vec<OsString>> {
        let count = nodes.len();
        let options = [
            format!("--jobid={}", self.job_id),
            format!("--job-name={AGENT_STEP}"),
            format!("--nodelist={}", compress(nodes)),
            format!("--nodes={count}"),
            format!("--ntasks={count}"),
            "--ntasks-per-node=1".to_string(),
            "--cpus-per-task=1".to_string(),
            "--distribution=cyclic".to_string(),
            // The application's step and ours must not wait for each other, nor die of each other's nodes.
            "--overlap".to_string(),
            "--mem=0".to_string(),
            "--no-kill".to_string(),
            "--kill-on-bad-exit=0".to_string(),
            "--wait=0".to_string(),
            "--mpi=none".to_string(),
            "--cpu-bind=none".to_string(),
            "--input=all".to_string(),
            "--output=all".to_string(),
            "--unbuffered".to_string(),
            "--export=ALL".to_string(),
        ];
        let unset = OF_APPLICATIONS.iter().flat_map(|name| ["-u", *name]);
        let line = std::iter::once("env").chain(unset).chain(["srun"]).map(OsString::from);
        let line = line.chain(options.into_iter().map(OsString::from));
        vec![line.chain(program.iter().cloned()).collect()]
    }
}

fn names(list: &str) -> Result<Vec<NodeName>> {
    Ok(hostlist::parse(list)?.into_iter().map(NodeName::new).collect())
}

/// Reads Slurm's short form of a list of counts: `2(x3),1` is 2, 2, 2, 1.
fn expand_counts(text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for item in text.split(',') {
        let (value, times) = match item.split_once("(x") {
            Some((value, rest)) => (value, rest.strip_suffix(')')?.parse().ok()?),
            None => (item, 1),
        };
        all.extend(std::iter::repeat_n(value.to_string(), times));
    }
    Some(all)
}

/// Writes a list of counts in Slurm's short form.
fn compress_counts(values: &[&String]) -> String {
    let runs = values.chunk_by(|a, b| a == b).map(|run| match run {
        [one] => (*one).clone(),
        several => format!("{}(x{})", several[0], several.len()),
    });
    runs.collect::<Vec<_>>().join(",")
}

/// The value of ` name=` in a line of scontrol; values that hold blanks come out short.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Reads what `scontrol --oneliner show job` prints.
fn parse_job(text: &str, zone: &TimeZone) -> Option<Job> {
    // The job's name comes before everything else and may hold what looks like a field.
    let line = text.lines().find(|line| line.contains("JobState="))?;
    let rest = &line[line.rfind("JobState=")?..];
    let list = field(rest, "NodeList").filter(|list| !list.starts_with('('));
    Some(Job {
        state: field(rest, "JobState")?.to_string(),
        nodes: list.map_or(Ok(Vec::new()), names).ok()?,
        end_unix_seconds: field(rest, "EndTime").and_then(|t| time::parse(t, zone).ok()),
        can_requeue: field(rest, "Requeue").zip(field(rest, "BatchFlag")).map(|(may, is_batch)| {
            // A batch job that was requeued before has a larger number there.
            may == "1" && is_batch != "0"
        }),
    })
}

/// Reads a line of `scontrol --oneliner show step`; none for the step of a batch script, or of our agents.
fn parse_step(line: &str) -> Option<JobStep> {
    let id = field(line, "StepId")?;
    id.rsplit('.').next()?.parse::<u32>().ok()?;
    if field(line, "Name") == Some(AGENT_STEP) {
        return None;
    }
    let (host, pid) = field(line, "SrunHost:Pid")?.rsplit_once(':')?;
    Some(JobStep {
        id: id.to_string(),
        nodes: names(field(line, "NodeList")?).ok()?,
        host: host.to_string(),
        pid: pid.parse().ok()?,
    })
}

/// The nodes that Slurm itself has given up, from lines of name and state.
fn parse_down(text: &str) -> impl Iterator<Item = NodeName> {
    let nodes = text.lines().filter_map(|line| line.split_once(' '));
    let is_down = |state: &str| {
        // Marks at the end say more of a state: `*` does not answer, `$` is reserved, ...
        let state = state.trim().trim_end_matches(|c: char| !c.is_ascii_alphabetic());
        matches!(state, "down" | "error" | "unknown" | "powered_down" | "powering_down")
    };
    nodes.filter(move |(_, state)| is_down(state)).map(|(node, _)| NodeName::new(node))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_names(list: &str) -> Vec<NodeName> {
        names(list).unwrap()
    }

    #[test]
    fn an_allocation_is_found_by_its_variables() {
        let around = |variables: &[(&str, &str)]| {
            Slurm::around(&|name| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string())
            })
        };
        let found = around(&[("SLURM_JOB_ID", "7"), ("SLURM_JOB_NODELIST", "n[1-3]")]).unwrap();
        let found = found.unwrap();
        assert_eq!((found.job_id(), found.nodes()), ("7", node_names("n1,n2,n3")));
        assert_eq!(found.name, "7");
        assert!(around(&[("SLURM_JOBID", "7"), ("SLURM_NODELIST", "n1")]).unwrap().is_some());
        // The last task of an array has the number of the array.
        for (id, name) in [("7", "7_3"), ("8", "8")] {
            let job = [("SLURM_JOB_ID", id), ("SLURM_JOB_NODELIST", "n1")];
            let task = [("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "3")];
            let found = around(&[job, task].concat()).unwrap().unwrap();
            assert_eq!((found.job_id(), found.name.as_str()), (id, name));
        }
        assert!(around(&[("SLURM_JOB_ID", "7")]).unwrap().is_none());
        assert!(around(&[]).unwrap().is_none());
        assert!(around(&[("SLURM_JOB_ID", "7"), ("SLURM_JOB_NODELIST", "n[1-")]).is_err());
    }

    #[test]
    fn a_launcher_is_told_of_the_nodes_it_may_use() {
        let variables = [
            ("SLURM_JOB_ID", "7"),
            ("SLURM_JOB_NODELIST", "n[1-5]"),
            ("SLURM_TASKS_PER_NODE", "2(x3),1(x2)"),
            ("SLURM_JOB_CPUS_PER_NODE", "odd"),
        ];
        let slurm = Slurm::around(&|name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string())
        });
        let told = slurm.unwrap().unwrap().environment(&node_names("n1,n2,n5"));
        let expected = [
            ("SLURM_JOB_NODELIST", "n[1-2,5]"),
            ("SLURM_NODELIST", "n[1-2,5]"),
            ("SLURM_JOB_NUM_NODES", "3"),
            ("SLURM_NNODES", "3"),
            ("SLURM_TASKS_PER_NODE", "2(x2),1"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name, value.into())));
    }

    #[test]
    fn counts_are_read_and_written_in_the_short_form() {
        for (short, count) in [("4", 1), ("4(x3)", 3), ("2(x3),1", 4), ("1,2,1", 3)] {
            let values = expand_counts(short).unwrap();
            assert_eq!(values.len(), count, "{short}");
            assert_eq!(compress_counts(&values.iter().collect::<Vec<_>>()), short);
        }
        for bad in ["4(x", "4(x3", "4(xa)"] {
            assert_eq!(expand_counts(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_job_is_read_as_scontrol_prints_it() {
        let start = "JobId=1 JobName=a b NodeList=x JobState=odd UserId=root(0) ";
        let cases = [
            (
                "JobState=RUNNING Reason=None EndTime=2026-01-31T12:00:00 ReqNodeList=n[1-9] \
                 ExcNodeList=(null) NodeList=n[1-2,4] BatchHost=n1",
                Some(("RUNNING", "n1,n2,n4", Some(1_769_860_800), None)),
            ),
            (
                "JobState=RUNNING Reason=None Requeue=1 Restarts=0 BatchFlag=1 NodeList=n1",
                Some(("RUNNING", "n1", None, Some(true))),
            ),
            (
                "JobState=RUNNING Reason=None Requeue=1 Restarts=0 BatchFlag=0 NodeList=n1",
                Some(("RUNNING", "n1", None, Some(false))),
            ),
            (
                "JobState=RUNNING Reason=None Requeue=0 Restarts=0 BatchFlag=1 NodeList=n1",
                Some(("RUNNING", "n1", None, Some(false))),
            ),
            (
                "JobState=PENDING Reason=BeginTime EndTime=Unknown NodeList=(null)",
                Some(("PENDING", "", None, None)),
            ),
            ("JobState=COMPLETING EndTime=None", Some(("COMPLETING", "", None, None))),
            ("no such job", None),
        ];
        for (text, expected) in cases {
            let text = if expected.is_some() { format!("{start}{text}\n") } else { text.into() };
            let job = parse_job(&text, &TimeZone::UTC);
            let expected = expected.map(|(state, nodes, end_unix_seconds, can_requeue)| Job {
                state: state.into(),
                nodes: node_names(nodes),
                end_unix_seconds,
                can_requeue,
            });
            assert_eq!(job, expected, "{text}");
        }
    }

    #[test]
    fn steps_are_known_by_the_srun_that_started_them() {
        let line = "StepId=1.0 UserId=0 StartTime=2026-11-21T17:15:14 State=RUNNING \
                    NodeList=node[1-2] Name=sleep Network=(null) Dist=Cyclic SrunHost:Pid=head:97";
        let expected = JobStep {
            id: "1.0".into(),
            nodes: node_names("node1,node2"),
            host: "head".into(),
            pid: 97,
        };
        assert_eq!(parse_step(line), Some(expected));
        for other in [
            line.replace("Name=sleep", "Name=scr-agent").as_str(),
            "Job step 1. not found",
            "StepId=1.batch NodeList=node1 Name=batch SrunHost:Pid=(null):0",
        ] {
            assert_eq!(parse_step(other), None, "{other}");
        }
    }

    #[test]
    fn nodes_that_slurm_gave_up_are_down() {
        let text = "a idle\nb down*\nc allocated*\nd down\ne drained\nf unknown\ng mixed$\nh powered_down~\n";
        assert_eq!(parse_down(text).collect::<Vec<_>>(), node_names("b,d,f,h"));
        assert_eq!(parse_down("").count(), 0);
    }

    #[test]
    fn one_step_starts_a_program_on_every_node() {
        let slurm = Slurm { nodes: node_names("n[1-9]"), ..Slurm::of_job("7") };
        let lines = slurm.command_lines(&node_names("n1,n2,n4"), &["scr".into(), "x".into()]);
        assert_eq!(lines.len(), 1);
        let line = lines[0].join(&OsString::from(" ")).into_string().unwrap();
        let start = " srun --jobid=7 --job-name=scr-agent --nodelist=n[1-2,4] ";
        assert!(line.starts_with("env -u ") && line.contains(start), "{line}");
        assert!(line.contains(" -u SLURM_LABELIO "), "{line}");
        assert!(line.contains(" --nodes=3 --ntasks=3 ") && line.ends_with(" scr x"), "{line}");
    }
}
