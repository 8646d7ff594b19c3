// SPDX-License-Identifier: MIT OR Apache-2.0
//! The simulator: whole jobs of thread ranks on in-memory nodes, which crash at every operation, lose nodes and power,
//! rot, fill up and come back old; after each, a relaunch is compared with a model that lives outside.
//!
//! | file | what it has |
//! |---|---|
//! | `cluster` | nodes, the prefix, and how a launch runs on them |
//! | `program` | what the application does on each rank |
//! | `files` | which files it writes |
//! | `oracle` | what must be there afterwards, byte for byte |
//! | `scenario` | small jobs with a fault to be put in |
//! | `crash`, `trouble`, `rot`, `identity` | one kind of fault each, at every place |
//! | `stripes`, `heal` | bad blocks and lost nodes up to the last that redundancy restores |
//! | `layout` | ranks, nodes and files of any number and shape; schemes that nodes cannot have |
//! | `schedules` | random ones, by seed |
//! | `traffic` | how messages grow with ranks |
//!
//! `SCR_SIM_SCHEDULES=n` runs n random schedules, `SCR_SIM_SEED=s` exactly one; `SCR_TEST_LONG=1` leaves nothing out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod cluster;
mod crash;
mod files;
mod heal;
mod identity;
mod layout;
mod oracle;
mod program;
mod random;
mod rot;
mod scenario;
mod schedules;
mod stripes;
mod traffic;
mod trouble;

/// A switch of this suite.
#[expect(clippy::disallowed_methods, reason = "switches of the test suite, not configuration")]
fn switch(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// Whether nothing is to be left out.
fn is_long() -> bool {
    switch("SCR_TEST_LONG") == Some(1)
}

/// Whether the campaigns stop at every operation of a scenario. With a fault built in, a sample is enough to notice it; and
/// what goes on beside an application has so many, and takes so long, that all of them are for the long campaign.
fn tries_every_operation(scenario: &str) -> bool {
    is_long() || !(cfg!(feature = "sabotage") || scenario.starts_with("beside"))
}
