// SPDX-License-Identifier: MIT OR Apache-2.0
//! Questions that scripts around a job ask, most of them answered by the exit status. SCR has a program for each.

pub(crate) mod env;
pub(crate) mod flush_file;
pub(crate) mod have_restart;
pub(crate) mod nodes_file;
pub(crate) mod retries_halt;
pub(crate) mod should_exit;
