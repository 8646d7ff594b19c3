// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults that can be built in on purpose, to prove that the tests would notice (`make sabotage`).
//!
//! Without the feature `sabotage` every question is a constant `false` and vanishes from the code.

/// Declares the faults once: variant, name, what is broken.
macro_rules! faults {
    ($($variant:ident = $name:literal, $what:literal;)*) => {
        /// One deliberate fault in the library.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $what] $variant,)*
        }

        impl Fault {
            /// All faults: name and what they break.
            pub const ALL: &[(&'static str, &'static str)] = &[$(($name, $what),)*];

            /// The name by which `SCR_SABOTAGE` switches it on.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

faults! {
    PublishInPlace = "publish-in-place", "a record is overwritten in place instead of written beside and renamed";
    SkipPhaseOneAgree = "skip-phase-one-agree", "a node commits without knowing that the others are complete";
    SkipPhaseTwoAgree = "skip-phase-two-agree", "Complete_output returns before all nodes committed";
    EvictBeforeCommit = "evict-before-commit", "the older dataset goes before the new one is committed";
    IgnoreDataChecksum = "ignore-data-checksum", "a data block is handed back whatever its checksum says";
    IgnoreRecordChecksum = "ignore-record-checksum", "a record is believed whatever its checksum says";
    DropRecordCopy = "drop-record-copy", "no copy of the node record goes to the neighbour";
    ReuseId = "reuse-id", "dataset numbers start from 1 in every launch";
    IgnoreIdentity = "ignore-identity", "records of different datasets with one number are mixed";
    SkipPrefixSync = "skip-prefix-sync", "data and records in the prefix are not made durable";
    IgnoreLease = "ignore-lease", "a writer whose epoch has passed goes on renaming";
    RenameBeforeList = "rename-before-list", "files in the prefix are renamed before the rename list is published";
    SkipParity = "skip-parity", "the last parity block is not written";
    RebuildInPlace = "rebuild-in-place", "a rebuilt part is published before it is complete";
    AcceptRankCount = "accept-rank-count", "a dataset of another number of ranks is taken";
    FlushUnverified = "flush-unverified", "data are flushed without comparing their checksums";
    MarkFlushedEarly = "mark-flushed-early", "the summary says flushed before the data are in the prefix";
    WrongCoefficient = "wrong-coefficient", "one block counts with another factor in parity 1 than when it is decoded";
    ForgetSecondParity = "forget-second-parity", "the second parity of a stripe is never written";
    SkipSourceCheck = "skip-source-check", "a block that a rebuild reads is taken whatever its checksum says";
    SkipRestoredCheck = "skip-restored-check", "a block that was computed is written whatever its checksum says";
    HealDataOnly = "heal-data-only", "bad parity is not looked for, so it is not made again";
    TrustOldPart = "trust-old-part", "of two parts of one place the one that was made earlier counts";
    EvictStronger = "evict-stronger", "a newer checkpoint pushes out one that survives more than it does";
    RestartSilentlyFromZero = "restart-silently-from-zero", "no candidate is found where good ones are";
    CommitSharedFiles = "commit-shared-files", "files that several ranks routed into the cache are committed";
    EvictDuringFlush = "evict-during-flush", "a dataset leaves the cache while its files are copied to the prefix";
    SealBeforeCopied = "seal-before-copied", "a flush in the background ends before all ranks have copied their files";
    BypassBesideFlush = "bypass-beside-flush", "the application writes to the prefix while an older dataset may take the names there";
    TrustScr3Files = "trust-scr3-files", "files that SCR 3 left are handed back without a look at what it says of them";
}

/// Whether `fault` is switched on (by `SCR_SABOTAGE=<name>`, in builds with the feature only).
#[cfg(feature = "sabotage")]
#[expect(clippy::disallowed_methods, reason = "a switch of the test suite, not configuration")]
pub fn active(fault: Fault) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("SCR_SABOTAGE").ok()).as_deref() == Some(fault.name())
}

/// Whether `fault` is switched on: never, in this build.
#[cfg(not(feature = "sabotage"))]
#[inline]
pub const fn active(_fault: Fault) -> bool {
    false
}
