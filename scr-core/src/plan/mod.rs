// SPDX-License-Identifier: MIT OR Apache-2.0
//! Decisions: values in, values out. No files, no clock, no ranks.
//!
//! Every rank that is given the same values computes the same plan; where values differ between nodes (room, what was
//! found), the file says what to join before acting. Each decision carries its reason in words.
//!
//! | question | file |
//! |---|---|
//! | Is it time for a checkpoint? To stop? | [`need`], [`halt`] |
//! | How is this dataset kept, and with whom? | [`level`], [`group`] |
//! | Where does a file go? | [`route`] |
//! | Is there room, and what may go? | [`room`], [`evict`] |
//! | Must it reach the prefix now, and stay there? | [`flush`], [`window`] |
//! | Which of SCR 3's checkpoints may be tried? | [`inherit`] |
//! | What does a restart try first, and can it be rebuilt? | [`order`], [`judge`], [`join`] |

pub mod evict;
pub mod flush;
pub mod group;
pub mod halt;
pub mod inherit;
pub mod join;
pub mod judge;
pub mod level;
pub mod need;
pub mod order;
pub mod room;
pub mod route;
pub mod window;
