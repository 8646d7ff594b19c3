// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr env`: what is known of the job around a script.

use super::nodes_file;
use crate::environment::{job_id, variable};
use crate::output::{print, print_json};
use crate::prefix::Prefix;
use crate::resource_manager::{self, compress};
use crate::{exit, hostlist};
use scr_core::id::NodeName;
use scr_core::{Context, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Options of `scr env`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  scr env                          all that is known, a line each
  scr env --jobid                  the job id
  scr env --nodes                  the nodes of the allocation, in Slurm's short form
  scr env --down                   those of them that the resource manager calls down
  scr env -p /p/run1 --runnodes    how many nodes the last launch had

Exit status: 0 all that was asked for is known, 1 something is not (its line is empty).")]
pub(crate) struct Arguments {
    /// Print the name of the user
    #[arg(short, long)]
    user: bool,
    /// Print the job id
    #[arg(short, long)]
    jobid: bool,
    /// Print when the allocation ends, in seconds since 1970
    #[arg(short, long)]
    endtime: bool,
    /// Print the nodes of the allocation
    #[arg(short, long)]
    nodes: bool,
    /// Print the nodes that are down
    #[arg(short, long)]
    down: bool,
    /// Print how many nodes the last launch had
    #[arg(short, long)]
    runnodes: bool,
    /// The prefix
    #[arg(short, long, env = "SCR_PREFIX", default_value = ".")]
    prefix: PathBuf,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// A thing that can be asked for: its name, whether it was, and how it is found.
type Item<'a> = (&'static str, bool, &'a dyn Fn() -> Result<Option<Value>>);

/// The allocation around us, as far as it is asked for here; each question may cost a call of the resource manager.
struct Allocation<'a> {
    job_id: &'a str,
    nodes: &'a dyn Fn() -> Vec<NodeName>,
    down: &'a dyn Fn() -> Result<BTreeSet<NodeName>>,
    end_unix_seconds: &'a dyn Fn() -> Option<u64>,
}

/// Prints it.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let (text, is_known) = match resource_manager::around()? {
        Some(manager) => {
            let allocation = Allocation {
                job_id: manager.job_id(),
                nodes: &|| manager.nodes(),
                down: &|| manager.down(crate::resource_manager::PATIENCE),
                end_unix_seconds: &|| manager.end_unix_seconds(),
            };
            report(arguments, Some(&allocation))?
        }
        None => report(arguments, None)?,
    };
    match text {
        Report::Json(value) => print_json(&value)?,
        Report::Text(text) => print(&text)?,
    }
    Ok(if is_known { exit::SUCCESS } else { exit::NO })
}

/// What is printed.
#[derive(Debug, PartialEq)]
enum Report {
    Text(String),
    Json(Value),
}

/// Everything that is asked for, and whether all of it is known.
fn report(arguments: &Arguments, around: Option<&Allocation<'_>>) -> Result<(Report, bool)> {
    let user = || {
        let uid = || rustix::process::getuid().as_raw().to_string();
        let names = ["SCR_USER_NAME", "USER", "LOGNAME"];
        Ok(Some(json!(names.into_iter().find_map(variable).unwrap_or_else(uid))))
    };
    let job =
        || Ok(around.map(|around| around.job_id.to_string()).or_else(job_id).map(Value::from));
    let end = || {
        let said = variable("SCR_END_TIME").and_then(|text| text.trim().parse::<u64>().ok());
        Ok(said.or_else(|| around.and_then(|around| (around.end_unix_seconds)())).map(Value::from))
    };
    let nodes = || match variable("SCR_NODELIST") {
        Some(list) => {
            let names = hostlist::parse(&list).context(|| "read SCR_NODELIST")?;
            Ok(Some(json!(hostlist::compress(&names))))
        }
        None => Ok(around.map(|around| json!(compress(&(around.nodes)())))),
    };
    let down = || {
        let down = around.map(|around| (around.down)()).transpose()?;
        Ok(down.map(|down| json!(compress(&down))))
    };
    let runnodes =
        || Ok(nodes_file::of_last_launch(&Prefix::at(&arguments.prefix))?.map(Value::from));
    let items: [Item<'_>; 6] = [
        ("user", arguments.user, &user),
        ("jobid", arguments.jobid, &job),
        ("endtime", arguments.endtime, &end),
        ("nodes", arguments.nodes, &nodes),
        ("down", arguments.down, &down),
        ("runnodes", arguments.runnodes, &runnodes),
    ];
    let is_all = items.iter().all(|(_, is_asked, _)| !is_asked);
    let (mut text, mut object, mut is_known) = (String::new(), Map::new(), true);
    for (name, is_asked, find) in items {
        if !is_all && !is_asked {
            continue;
        }
        let value = find()?;
        is_known &= is_all || value.is_some();
        let value = value.unwrap_or(Value::Null);
        let shown = match &value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let before = if is_all { format!("{name}=") } else { String::new() };
        text.extend([&before, &shown, "\n"]);
        object.insert(name.to_string(), value);
    }
    let report =
        if arguments.json { Report::Json(Value::Object(object)) } else { Report::Text(text) };
    Ok((report, is_known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Env {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn asked(line: &str, around: Option<&Allocation<'_>>) -> (Report, bool) {
        let words = std::iter::once("env").chain(line.split_whitespace());
        report(&Env::try_parse_from(words).unwrap().arguments, around).unwrap()
    }

    #[test]
    fn what_the_manager_knows_is_printed() {
        // Four nodes of job 42, one of them down.
        let known = Allocation {
            job_id: "42",
            nodes: &|| (1..=4).map(|n| NodeName::new(format!("n{n}"))).collect(),
            down: &|| Ok(BTreeSet::from([NodeName::new("n3")])),
            end_unix_seconds: &|| Some(1_700_000_000),
        };
        let place = tempfile::tempdir().unwrap();
        let here = format!("-p {}", place.path().display());
        let text = |text: &str| Report::Text(text.to_string());
        let cases = [
            ("-j", "42\n", true),
            ("--nodes", "n[1-4]\n", true),
            ("-d -j", "42\nn3\n", true),
            ("-e", "1700000000\n", true),
            ("-r", "\n", false),
        ];
        for (line, expected, is_known) in cases {
            let found = asked(&format!("{line} {here}"), Some(&known));
            assert_eq!(found, (text(expected), is_known), "{line}");
        }
        let (Report::Json(all), true) = asked(&format!("--json {here}"), Some(&known)) else {
            panic!("all is known, or was not asked for")
        };
        assert_eq!((&all["jobid"], &all["runnodes"]), (&json!("42"), &Value::Null));
        assert_eq!(asked(&format!("-n {here}"), None), (text("\n"), false));
    }
}
