// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agents: one process of ours on each node of an allocation.

#[expect(dead_code, reason = "the agents that use it come next")]
mod network;
