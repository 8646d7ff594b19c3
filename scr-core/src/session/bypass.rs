// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether the application writes to the cache or straight to the prefix, and what it learns of its own ways under
//! `SCR_CACHE_BYPASS=AUTO`.

use super::{Open, Session};
use crate::comm::Reduce;
use crate::config::{Bypass, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventKind, Level};
use crate::exec::ownership::{self, Shared};
use crate::id::RelPath;
use crate::sabotage::{self, Fault};
use std::collections::BTreeSet;
use std::time::Duration;

/// How ranks write files, as far as was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Pattern {
    /// No dataset was complete yet.
    #[default]
    Unknown,
    /// Each file by one rank.
    Private,
    /// Some files by several. It never becomes private again.
    Shared,
}

/// What went straight to the prefix in this launch.
#[derive(Debug, Default)]
pub(super) struct Bypassed {
    pattern: Pattern,
    checkpoints: u32,
    bytes: u64,
    time: Duration,
    /// Of the last of them, on this node.
    pub(super) node_bytes: u64,
}

impl Session {
    /// Whether a dataset with this descriptor goes straight to the prefix, as far as configuration and pattern tell.
    pub(super) fn bypasses(&self, wanted: Bypass) -> bool {
        match wanted {
            Bypass::No => false,
            Bypass::Yes => true,
            Bypass::Auto => self.bypassed.pattern != Pattern::Private,
        }
    }

    /// Whether AUTO does without the cache this time: on some node there is no room.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn is_too_tight(&self, is_tight_here: bool) -> Result<bool> {
        let is_tight = self.any(is_tight_here)?;
        if is_tight && self.job.is_first() {
            let text = "SCR_CACHE_BYPASS=AUTO: a cache has too little room, this dataset goes straight to the prefix";
            self.job.host.tell(EventKind::Message, Level::Note, text);
        }
        Ok(is_tight)
    }

    /// The files that this rank answers for: those it routed, less those that an earlier rank routed as well.
    ///
    /// The inner error is for those who know of files that ranks share in the cache, where each has one of its own.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn own_files(&mut self, open: &Open) -> Result<Result<BTreeSet<RelPath>>> {
        let world = &*self.job.topology.world;
        let mut names = open.files.clone();
        let shared = ownership::shared(world, &names)?;
        if open.bypass {
            ownership::keep_own(world, &mut names, &shared)?;
        }
        if open.wanted == Bypass::Auto {
            let is_shared = self.any(!shared.is_empty())?;
            let learned = if is_shared { Pattern::Shared } else { Pattern::Private };
            if self.bypassed.pattern != Pattern::Shared {
                self.bypassed.pattern = learned;
            }
        }
        match shared.first() {
            Some(one) if !open.bypass && !sabotage::active(Fault::CommitSharedFiles) => {
                Ok(Err(refusal(one, open.wanted)))
            }
            _ => Ok(Ok(names)),
        }
    }

    /// Counts a dataset that went straight to the prefix, for what is said in the end.
    pub(super) fn count_bypassed(&mut self, open: &Open, bytes: u64, node_bytes: u64) {
        let now = self.job.host.clock.monotonic();
        let bypassed = &mut self.bypassed;
        bypassed.node_bytes = node_bytes;
        if open.header.is_checkpoint {
            bypassed.checkpoints += 1;
            bypassed.bytes += bytes;
            bypassed.time += now.saturating_sub(open.started);
        }
    }

    /// Says, at the end, what the cache would have saved to those who may not know of it.
    pub(super) fn tell_of_cache(&self) {
        if self.job.is_first()
            && let Some(text) = advice(&self.job.config, &self.bypassed)
        {
            self.job.host.tell(EventKind::Message, Level::Warning, text);
        }
    }

    /// Whether something holds on any rank.
    ///
    /// # Collective
    /// On all ranks.
    pub(super) fn any(&self, here: bool) -> Result<bool> {
        let mut count = [u64::from(here)];
        self.job.topology.world.all_reduce(Reduce::Max, &mut count)?;
        Ok(count[0] > 0)
    }
}

fn refusal(shared: &Shared, wanted: Bypass) -> Error {
    let ranks: Vec<String> = shared.ranks.iter().take(3).map(usize::to_string).collect();
    let (name, ranks) = (shared.name.as_path().display(), ranks.join(", "));
    let more = if shared.ranks.len() > 3 { ", ..." } else { "" };
    let advice = if wanted == Bypass::Auto {
        "from now on datasets go straight to the prefix"
    } else {
        "where ranks share files, set SCR_CACHE_BYPASS=1 (or AUTO)"
    };
    let text = format!(
        "ranks {ranks}{more} all routed {name}, and in the cache each has its own; {advice}"
    );
    Error::new(ErrorKind::Misuse, text)
}

/// What to say of checkpoints that went straight to the prefix where nobody asked for that.
fn advice(config: &Config, bypassed: &Bypassed) -> Option<String> {
    if config.is_bypass_set || bypassed.checkpoints == 0 || config.flush_every == 1 {
        return None;
    }
    let Bypassed { checkpoints, bytes, time, pattern: _, node_bytes: _ } = bypassed;
    let mib = bytes / (1 << 20);
    let seconds = time.as_secs_f64();
    let flushed = match config.flush_every {
        0 => 0.0,
        every => f64::from(checkpoints / every) / f64::from(*checkpoints),
    };
    let saved = seconds * (1.0 - flushed);
    Some(format!(
        "{checkpoints} checkpoint(s) of {mib} MiB in all took {seconds:.1} s to the prefix; with SCR_CACHE_BYPASS=0 (or AUTO) they go to the cache first, which would have saved up to {saved:.1} s"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn advice_is_for_those_who_did_not_choose() {
        let mut config = Config::default_for(PathBuf::from("/p"));
        let time = Duration::from_secs(40);
        let mut bypassed =
            Bypassed { checkpoints: 20, bytes: 3 << 30, time, ..Bypassed::default() };
        let text = advice(&config, &bypassed).expect("advice");
        assert!(text.starts_with("20 checkpoint(s) of 3072 MiB in all took 40.0 s"), "{text}");
        assert!(text.ends_with("saved up to 36.0 s"), "{text}");
        config.flush_every = 1;
        assert_eq!(advice(&config, &bypassed), None, "each goes to the prefix anyway");
        config.flush_every = 10;
        config.is_bypass_set = true;
        assert_eq!(advice(&config, &bypassed), None);
        config.is_bypass_set = false;
        bypassed.checkpoints = 0;
        assert_eq!(advice(&config, &bypassed), None);
    }
}
