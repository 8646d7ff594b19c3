// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lab itself: hosts die and come back as they say, labs do not meet, and nothing is left behind.

use crate::lab::{Death, Lab};
use std::fs;
use std::path::Path;

/// Whether the head reaches the daemon of a node within a second.
fn is_reached(lab: &Lab, node: &str) -> bool {
    let connect = format!("exec 3<>/dev/tcp/{node}/6818");
    lab.run("head", &["timeout", "1", "bash", "-c", &connect]).code == Some(0)
}

#[test]
fn hosts_die_and_come_back_as_they_say() {
    let Some(lab) = Lab::up("machine::hosts_die_and_come_back_as_they_say", 2) else { return };
    let disk = lab.disk().join("kept").to_string_lossy().into_owned();
    let memory = "/dev/shm/kept";
    lab.run("node1", &["touch", &disk, memory]);
    let is_there = |path: &str| lab.run("node1", &["test", "-e", path]).code == Some(0);
    assert!(is_reached(&lab, "node1") && is_there(&disk) && is_there(memory));
    assert_ne!(lab.run("node2", &["test", "-e", &disk]).code, Some(0), "node2 has its own disk");

    lab.kill("node1", Death::Net);
    assert!(!is_reached(&lab, "node1") && is_reached(&lab, "node2"));
    lab.revive("node1", Death::Net);
    assert!(is_reached(&lab, "node1") && is_there(memory));

    let beat = lab.shared("beat");
    let count = format!("while :; do echo >>{}; sleep 0.02; done", beat.display());
    let beats = || fs::metadata(&beat).map_or(0, |found| found.len());
    let counting = lab.start("node1", &["bash", "-c", &count].map(String::from));
    lab.wait_until("it beats", 20, || beats() > 2);
    lab.kill("node1", Death::Hang);
    let then = beats();
    assert!(!lab.run("head", &["srun", "-w", "node2", "true"]).said.contains("error"));
    assert_eq!(beats(), then, "a stopped host works");
    lab.revive("node1", Death::Hang);
    lab.wait_until("it beats again", 20, || beats() > then);
    drop(counting);

    lab.kill("node1", Death::Slurmd);
    assert!(!is_reached(&lab, "node1") && is_there(memory));
    lab.revive("node1", Death::Slurmd);
    lab.wait_until("its daemon is back", 20, || is_reached(&lab, "node1"));

    for death in [Death::Power, Death::Crash] {
        lab.run("node1", &["touch", memory]);
        lab.kill("node1", death);
        assert!(!is_reached(&lab, "node1"));
        lab.boot("node1");
        assert!(is_there(&disk) && !is_there(memory), "memory dies, disks do not");
        lab.wait_until("its daemon is back", 20, || is_reached(&lab, "node1"));
    }
}

/// The processes that belong to a lab.
fn processes(directory: &Path) -> usize {
    let mark = format!("LAB={}", directory.display());
    let has_mark = |entry: &fs::DirEntry| {
        fs::read(entry.path().join("environ"))
            .is_ok_and(|all| all.split(|&byte| byte == 0).any(|one| one == mark.as_bytes()))
    };
    fs::read_dir("/proc").expect("/proc").flatten().filter(has_mark).count()
}

#[test]
fn labs_do_not_meet_and_leave_nothing() {
    let test = "machine::labs_do_not_meet_and_leave_nothing";
    let (Some(mut first), Some(second)) = (Lab::up(test, 2), Lab::up(test, 2)) else { return };
    let hosts = ["srun", "-N2", "hostname"];
    assert_eq!(first.ask(&hosts).lines().count(), 2);
    let place = first.shared("").parent().expect("a lab").to_path_buf();
    assert!(processes(&place) > 6);

    // As if whoever holds it were killed; nobody tidies up then.
    first.abandon();
    first.wait_until("nothing of it runs", 20, || processes(&place) == 0);
    for table in ["/proc/self/mounts", "/proc/net/dev"] {
        let table = fs::read_to_string(table).expect("a table of the kernel");
        assert!(!table.contains(&*place.to_string_lossy()) && !table.contains("v-node"), "{table}");
    }
    assert_eq!(second.ask(&hosts).lines().count(), 2);
}
