// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agents: one `scr node-agent` on each node.

pub(crate) mod node;
pub(crate) mod save;

use crate::resource_manager::Reach;
use scr_core::Result;
use scr_core::id::{DatasetId, NodeName};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) enum Task {
    Probe,
    Watch { run_id: String, period: Duration },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) highest_committed: Option<DatasetId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Probe(Probe),
    Heartbeat { counters: Vec<u8> },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Signal(i32),
}

#[derive(Debug)]
pub(crate) struct Agents {
    children: Vec<(Child, Option<ChildStdin>)>,
    answers: Receiver<(NodeName, Answer)>,
    errors: Arc<Mutex<String>>,
}

impl Agents {
    pub(crate) fn start(reach: &dyn Reach, nodes: &[NodeName], task: &Task) -> Result<Self> {
        let exe = std::env::current_exe().unwrap_or_else(|_| "scr".into());
        let mut program: Vec<OsString> = vec![exe.into(), "node-agent".into()];
        match task {
            Task::Probe => program.push("probe".into()),
            Task::Watch { run_id, period } => {
                program.extend([
                    "watch".into(),
                    run_id.into(),
                    period.as_millis().to_string().into(),
                ]);
            }
        }
        let (to, answers) = channel();
        let errors = Arc::new(Mutex::new(String::new()));
        let mut children = Vec::new();
        for line in reach.command_lines(nodes, &program) {
            let mut command = Command::new(&line[0]);
            command
                .args(&line[1..])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            crate::process::die_with_parent(&mut command);
            let mut child = crate::process::spawn(&mut command)?;
            let (out, err, to, errors) =
                (child.stdout.take(), child.stderr.take(), to.clone(), errors.clone());
            std::thread::spawn(move || {
                for line in out
                    .into_iter()
                    .flat_map(|out| BufReader::new(out).lines())
                    .map_while(std::result::Result::ok)
                {
                    if let Ok((node, answer)) = serde_json::from_str::<(String, Answer)>(&line) {
                        let _ = to.send((NodeName::new(node), answer));
                    }
                }
            });
            std::thread::spawn(move || {
                for line in err
                    .into_iter()
                    .flat_map(|err| BufReader::new(err).lines())
                    .map_while(std::result::Result::ok)
                {
                    if let Ok(mut errors) = errors.lock() {
                        errors.push_str(&line);
                        errors.push('\n');
                    }
                }
            });
            let stdin = child.stdin.take();
            children.push((child, stdin));
        }
        Ok(Self { children, answers, errors })
    }

    pub(crate) fn next(&mut self, limit: Duration) -> Option<(NodeName, Answer)> {
        match self.answers.recv_timeout(limit) {
            Ok(answer) => Some(answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.children.iter_mut().all(|(child, _)| !matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn troubles(&self) -> String {
        self.errors.lock().map(|e| e.clone()).unwrap_or_default()
    }

    pub(crate) fn tell(&mut self, request: &Request) -> Result<()> {
        let text = serde_json::to_string(request).unwrap_or_default();
        for (_, stdin) in &mut self.children {
            if let Some(stdin) = stdin {
                let _ = writeln!(stdin, "{text}");
                let _ = stdin.flush();
            }
        }
        Ok(())
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        for (child, stdin) in &mut self.children {
            drop(stdin.take());
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
