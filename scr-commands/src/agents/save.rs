// SPDX-License-Identifier: MIT OR Apache-2.0
//! Saving.
use crate::prefix::Prefix;
use crate::resource_manager::ResourceManager;
use crate::run::salvage::Saved;
use scr_core::Result;
use scr_core::id::NodeName;

pub(crate) fn save(_: &dyn ResourceManager, _: &[NodeName], _: &Prefix) -> Result<Saved> {
    Ok(Saved::Nothing)
}
