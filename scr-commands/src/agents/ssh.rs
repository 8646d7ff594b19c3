// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nodes that are reached by ssh, where no resource manager starts programs.

use crate::resource_manager::Reach;
use scr_core::id::NodeName;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Starts programs by ssh; keys must let it in without a question.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ssh;

impl Reach for Ssh {
    fn describe(&self) -> &'static str {
        "ssh"
    }

    fn command_lines(&self, nodes: &[NodeName], program: &[OsString]) -> Vec<Vec<OsString>> {
        let line = |node: &NodeName| {
            let options = [
                "ssh",
                "-T",
                "-oBatchMode=yes",
                "-oConnectTimeout=10",
                // A node whose power went must not hold the connection for ever.
                "-oServerAliveInterval=5",
                "-oServerAliveCountMax=4",
                "-oLogLevel=ERROR",
                "--",
                node.as_str(),
            ];
            // The words go through a shell over there. The node shall have the name by which we know it.
            let name = OsString::from(format!("SCR_NODE={node}"));
            let words = [OsString::from("exec"), "env".into(), name];
            let words: Vec<_> = words.iter().chain(program).map(|word| quoted(word)).collect();
            let mut line: Vec<OsString> = options.map(OsString::from).to_vec();
            line.push(words.join(OsStr::new(" ")));
            line
        };
        nodes.iter().map(line).collect()
    }
}

/// A word as every POSIX shell takes it for what it is.
fn quoted(word: &OsStr) -> OsString {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        return word.to_os_string();
    }
    let mut quoted = vec![b'\''];
    for byte in bytes {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'\'');
    OsString::from_vec(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell_over_there() {
        let program: Vec<OsString> =
            vec!["/o p/scr".into(), "it's".into(), "$HOME".into(), "".into()];
        let lines = Ssh.command_lines(&[NodeName::new("n1"), NodeName::new("n2")], &program);
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1][8], "n2");
        let remote = "exec env SCR_NODE=n2 '/o p/scr' 'it'\\''s' '$HOME' ''";
        assert_eq!(lines[1].last().unwrap(), remote);
        // What a shell makes of it is what went in.
        let echo = remote.replace("exec env SCR_NODE=n2", "printf '%s|'");
        let shell = std::process::Command::new("sh").args(["-c", &echo]).output().unwrap();
        assert_eq!(shell.stdout, b"/o p/scr|it's|$HOME||");
    }
}
