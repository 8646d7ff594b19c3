// SPDX-License-Identifier: MIT OR Apache-2.0
//! `scr env`: what is known of the job around a script.

use super::nodes_file;
use crate::environment::{job_id, variable};
use crate::output::{print, print_json};
use crate::prefix::Prefix;
use crate::resource_manager::{self, ResourceManager, compress};
use crate::{exit, hostlist};
use scr_core::{Context, Result};
use serde_json::{Map, Value, json};
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

/// Prints it.
pub(crate) fn main(arguments: &Arguments) -> Result<u8> {
    let manager = resource_manager::around()?;
    let (text, is_known) = report(arguments, manager.as_deref())?;
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
fn report(arguments: &Arguments, manager: Option<&dyn ResourceManager>) -> Result<(Report, bool)> {
    let user = || {
        let uid = || rustix::process::getuid().as_raw().to_string();
        let names = ["SCR_USER_NAME", "USER", "LOGNAME"];
        Ok(Some(json!(names.into_iter().find_map(variable).unwrap_or_else(uid))))
    };
    let job = || Ok(manager.map(|m| m.job_id().to_string()).or_else(job_id).map(Value::from));
    let end = || {
        let said = variable("SCR_END_TIME").and_then(|text| text.trim().parse::<u64>().ok());
        Ok(said.or_else(|| manager.and_then(ResourceManager::end_unix_seconds)).map(Value::from))
    };
    let nodes = || match variable("SCR_NODELIST") {
        Some(list) => {
            let names = hostlist::parse(&list).context(|| "read SCR_NODELIST")?;
            Ok(Some(json!(hostlist::compress(&names))))
        }
        None => Ok(manager.map(|manager| json!(compress(&manager.nodes())))),
    };
    let down = || {
        let down = manager.map(ResourceManager::down).transpose()?;
        Ok(down.map(|down| json!(compress(&down))))
    };
    let runnodes =
        || Ok(nodes_file::of_last_launch(&Prefix::new(&arguments.prefix))?.map(Value::from));
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
    use crate::resource_manager::Reach;
    use clap::Parser;
    use scr_core::id::NodeName;
    use std::collections::BTreeSet;

    #[derive(Parser, Debug)]
    struct Env {
        #[command(flatten)]
        arguments: Arguments,
    }

    /// Four nodes of job 42, one of them down.
    #[derive(Debug)]
    struct Known;

    impl ResourceManager for Known {
        fn describe(&self) -> String {
            "a test".into()
        }
        fn job_id(&self) -> &'static str {
            "42"
        }
        fn nodes(&self) -> Vec<NodeName> {
            (1..=4).map(|n| NodeName::new(format!("n{n}"))).collect()
        }
        fn down(&self) -> Result<BTreeSet<NodeName>> {
            Ok(BTreeSet::from([NodeName::new("n3")]))
        }
        fn end_unix_seconds(&self) -> Option<u64> {
            Some(1_700_000_000)
        }
        fn live_jobs(&self) -> Result<Option<BTreeSet<String>>> {
            Ok(None)
        }
        fn reach(&self) -> &dyn Reach {
            unreachable!("nothing is started")
        }
    }

    fn asked(line: &str, manager: Option<&dyn ResourceManager>) -> (Report, bool) {
        let words = std::iter::once("env").chain(line.split_whitespace());
        report(&Env::try_parse_from(words).unwrap().arguments, manager).unwrap()
    }

    #[test]
    fn what_the_manager_knows_is_printed() {
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
            let found = asked(&format!("{line} {here}"), Some(&Known));
            assert_eq!(found, (text(expected), is_known), "{line}");
        }
        let (Report::Json(all), true) = asked(&format!("--json {here}"), Some(&Known)) else {
            panic!("all is known, or was not asked for")
        };
        assert_eq!((&all["jobid"], &all["runnodes"]), (&json!("42"), &Value::Null));
        assert_eq!(asked(&format!("-n {here}"), None), (text("\n"), false));
    }
}
