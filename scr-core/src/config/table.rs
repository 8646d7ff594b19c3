// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one table of everything that can be set: parser, manual page and tests are made from it.

use super::parameter::{COUNT, Field, Kind, Origin, POSITIVE, Parameter, SECONDS, Section, Status};
use Kind::{Bytes, Choice, Flag, Integer, Limit, Name, Number, Path, Text};
use Status::{Active, Commands, Obsolete};

/// The names `SCR_COPY_TYPE` takes. `FILE` means: as the CKPT lines say.
const COPY_TYPES: Kind = Choice(&["SINGLE", "PARTNER", "XOR", "RS", "FILE"]);
const TRANSFERS: Kind = Choice(&["DEFAULT", "NATIVE", "SYNC", "PTHREAD", "BBAPI", "DATAWARP"]);
const ANY_BYTES: Kind = Bytes { min: 0, max: u64::MAX };
/// Buffers: never empty, and within what one message may hold.
const BUFFER: Kind = Bytes { min: 1, max: 1 << 30 };
const BYPASS: Kind = Choice(&["0", "1", "AUTO"]);
const PERCENT: Kind = Number { min: 0.0, max: 100.0 };

const DATABASE: Status = Obsolete("events go to the log files, not to a database");
const INTERPOSER: Status = Obsolete("there is no interposer; call the library instead");

/// One section: documentation, then `NAME: kind = default => status, origin`.
macro_rules! section {
    (@default none) => { None };
    (@default $default:literal) => { Some($default) };
    ($title:literal $($(#[doc = $doc:literal])+ $name:ident: $kind:expr, $default:tt => $status:expr, $origin:ident;)*) => {
        Section {
            title: $title,
            parameters: &[$(Parameter {
                name: stringify!($name),
                kind: $kind,
                default: section!(@default $default),
                status: $status,
                origin: Origin::$origin,
                doc: concat!($($doc),+),
            }),*],
        }
    };
}

/// Keys of a line with several: documentation, then `NAME: kind = default in words`.
macro_rules! fields {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:expr, $default:literal;)*) => {
        &[$(Field { name: stringify!($name), kind: $kind, default: $default, doc: concat!($($doc),+) }),*]
    };
}

/// Every parameter, in the order of the manual.
pub const SECTIONS: &[Section] = &[
    section! { "Where things are"
        /// 0 turns the library and the commands off: each call does nothing and says so by its code.
        SCR_ENABLE: Flag, "1" => Active, Scr;
        /// The job's directory on the parallel file system: datasets lie below it, records in its `.scr`.
        /// Default: the working directory.
        SCR_PREFIX: Path, none => Active, Scr;
        /// The user's configuration file, read instead of `.scrconf` in the prefix. In the environment or by
        /// `SCR_Config` only.
        SCR_CONF_FILE: Path, none => Active, Scr;
        /// Node-local directory for the records of running jobs.
        SCR_CNTL_BASE: Path, "/dev/shm" => Active, Scr;
        /// Node-local directory for cached datasets, and the store of all that names no other.
        SCR_CACHE_BASE: Path, "/dev/shm" => Active, Scr;
        /// The name of this node. Default: its host name. Ranks with equal names are taken to fail together and to share
        /// their files, so several names on one machine, each with an SCR_CACHE_BASE of its own, make several nodes of it.
        SCR_NODE: Name, none => Active, Here;
        /// Keeps this job's records in `.scr/task.<value>` of the prefix, so that several jobs (the tasks of an array) can
        /// share one prefix.
        SCR_TASK: Name, none => Active, Here;
    },
    section! { "Cache"
        /// How many datasets the store of `SCR_CACHE_BASE` keeps, and the COUNT of a STORE line that has none. With 2 there
        /// is always room beside the newest checkpoint for the one being written.
        SCR_CACHE_SIZE: POSITIVE, "1" => Active, Scr;
        /// 1: the application writes straight to the prefix and only records are kept on the node. 0: it writes to the
        /// cache, where redundancy protects the files. AUTO: as 1 for the first dataset, then as 0 while no two ranks wrote
        /// to one file and there is room.
        SCR_CACHE_BYPASS: BYPASS, "1" => Active, Scr;
        /// 1 deletes every cached dataset of this job when it starts; what SCR 3 left in the cache stays.
        SCR_CACHE_PURGE: Flag, "0" => Active, Scr;
    },
    section! { "Redundancy"
        /// How cached datasets are protected: SINGLE not at all, PARTNER by a full copy on another node, XOR by parity that
        /// survives the loss of one node of a set, RS by Reed-Solomon parity that survives SCR_SET_FAILURES of them. FILE:
        /// as the CKPT lines say; with any other value those lines are ignored.
        SCR_COPY_TYPE: COPY_TYPES, "XOR" => Active, Scr;
        /// The failure group to survive: NODE, WORLD, or a name from the GROUPS lines. No two members of a redundancy set
        /// are in one failure group.
        SCR_GROUP: Name, "NODE" => Active, Scr;
        /// The fewest nodes of a redundancy set. Larger sets need less memory for parity and survive fewer losses.
        SCR_SET_SIZE: POSITIVE, "8" => Active, Scr;
        /// How many lost nodes a set survives with RS; less than SCR_SET_SIZE. With 1, RS is XOR.
        SCR_SET_FAILURES: POSITIVE, "2" => Active, Scr;
        /// Bytes per message between nodes, suffixes kb, mb and gb allowed.
        SCR_MPI_BUF_SIZE: BUFFER, "1mb" => Obsolete("messages are sized for the caches of the processor"), Scr;
        /// Bytes per read or write of a file, suffixes kb, mb and gb allowed.
        SCR_FILE_BUF_SIZE: BUFFER, "32mb" => Obsolete("reads and writes are sized for the caches of the processor"), Scr;
        /// 1: checksums are taken when a dataset is complete and compared before its files are handed back. 0 goes without,
        /// and damaged files are not noticed. SCR's default is 0.
        SCR_CRC_ON_COPY: Flag, "1" => Active, Scr;
        /// SCR: checksums when files are flushed.
        SCR_CRC_ON_FLUSH: Flag, "1" => Obsolete("where there are checksums they are always verified"), Scr;
        /// SCR: checksums when files are deleted.
        SCR_CRC_ON_DELETE: Flag, "0" => Obsolete("where there are checksums they are always verified"), Scr;
    },
    section! { "Restart"
        /// 1: cached datasets are distributed to where their ranks run now, and rebuilt, when the job starts.
        SCR_DISTRIBUTE: Flag, "1" => Active, Scr;
        /// 1: a job that finds no usable checkpoint in the cache fetches one from the prefix.
        SCR_FETCH: Flag, "1" => Active, Scr;
        /// 1: a fetched dataset is read where it lies in the prefix, not copied to the cache.
        SCR_FETCH_BYPASS: Flag, "0" => Active, Scr;
        /// SCR: how many processes fetch at once.
        SCR_FETCH_WIDTH: POSITIVE, "256" => Obsolete("read but unused in SCR"), Scr;
        /// The name of the checkpoint to restart from, at the first restart of an allocation: once the job has written a
        /// checkpoint, it goes on from there. Where no job id is known, each launch counts as the first.
        SCR_CURRENT: Text, none => Active, Scr;
        /// 1: there must be a checkpoint to restart from if any was ever written: SCR_Init fails rather than start from zero
        /// beside checkpoints that cannot be used, and `scr run` stops.
        SCR_RESTART_REQUIRED: Flag, "0" => Active, Here;
        /// 1: for applications that restart from the prefix only, where each rank may read any file: cached datasets are
        /// flushed and then removed when the job starts, and checkpoints are read where they lie.
        SCR_GLOBAL_RESTART: Flag, "0" => Active, Scr;
        /// 1: SCR_Current removes later datasets from the index.
        SCR_DROP_AFTER_CURRENT: Flag, "0" => Active, Scr;
    },
    section! { "Flush"
        /// Every n-th checkpoint is flushed to the prefix; 0: none, not even the last one at SCR_Finalize.
        SCR_FLUSH: COUNT, "10" => Active, Scr;
        /// 1 flushes every cached dataset when the job starts.
        SCR_FLUSH_ON_RESTART: Flag, "0" => Active, Scr;
        /// 1 flushes while the application goes on: SCR_Complete_output returns when the dataset is committed in the cache,
        /// and a thread of each rank copies its files. The flush ends in a later call: SCR_Need_checkpoint,
        /// SCR_Should_exit, SCR_Start_output, SCR_Complete_output, or SCR_Finalize, which waits for it. One that fails is told
        /// there, and the dataset stays in the cache and is flushed again.
        SCR_FLUSH_ASYNC: Flag, "0" => Active, Scr;
        /// Who copies files to the prefix with SCR_FLUSH_ASYNC=1. PTHREAD: a thread of the rank that owns them; DEFAULT and
        /// NATIVE are the same. SYNC: the rank itself, and calls return when files are flushed. BBAPI and DATAWARP need
        /// hardware of their vendors and count as PTHREAD. SCR's default is SYNC.
        SCR_FLUSH_TYPE: TRANSFERS, "DEFAULT" => Active, Scr;
        /// SCR: 1 lets transfers of a burst buffer end after the job.
        SCR_FLUSH_POSTSTAGE: Flag, "0" => Obsolete("only a burst buffer of BBAPI can go on copying when the processes are gone; SCR_Finalize waits"), Scr;
        /// Microseconds between two looks at flushes that a call waits for.
        SCR_FLUSH_ASYNC_USLEEP: COUNT, "1000" => Active, Scr;
        /// How many bytes per second the threads of one node copy at most while nobody waits for them; 0: no limit. SCR
        /// reads it, with 200mb as its default, and does not use it.
        SCR_FLUSH_ASYNC_BW: ANY_BYTES, "0" => Active, Scr;
        /// SCR: percent of a processor for transfers in the background.
        SCR_FLUSH_ASYNC_PERCENT: PERCENT, "0" => Obsolete("read but unused in SCR; SCR_FLUSH_ASYNC_BW limits what copying takes"), Scr;
        /// SCR: how many processes flush at once.
        SCR_FLUSH_WIDTH: POSITIVE, "256" => Obsolete("read but unused in SCR"), Scr;
        /// How many checkpoints stay in the prefix: older ones are deleted when a newer one is there. Outputs stay. 0: all
        /// stay.
        SCR_PREFIX_SIZE: COUNT, "0" => Active, Scr;
        /// 1 deletes every dataset that the index lists when the job starts, files included; what SCR 3 left, too.
        SCR_PREFIX_PURGE: Flag, "0" => Active, Scr;
        /// SCR: 1 gives a copied file the mode, owner and times of the original.
        SCR_COPY_METADATA: Flag, "1" => Obsolete("they always go with the file"), Scr;
        /// SCR: the component that copies makes directories.
        SCR_AXL_MKDIR: Flag, "0" => Obsolete("directories are always made before files"), Scr;
    },
    section! { "When to checkpoint, when to stop"
        /// SCR_Need_checkpoint says yes every n-th time; 0: not for this reason.
        SCR_CHECKPOINT_INTERVAL: COUNT, "0" => Active, Scr;
        /// SCR_Need_checkpoint says yes when so many seconds passed since the last checkpoint; 0: not for this reason.
        SCR_CHECKPOINT_SECONDS: COUNT, "0" => Active, Scr;
        /// SCR_Need_checkpoint says yes when checkpoints would take less than so many percent of the run time; 0: not for
        /// this reason.
        SCR_CHECKPOINT_OVERHEAD: PERCENT, "0" => Active, Scr;
        /// The job should stop so many seconds before its allocation ends; 0: not for this reason.
        SCR_HALT_SECONDS: COUNT, "0" => Active, Scr;
        /// 1: the library itself ends the processes at a halt condition.
        SCR_HALT_EXIT: Flag, "0" => Active, Scr;
        /// Signals after which the job should stop, such as `TERM,USR1`. The first one of a kind is told by SCR_Should_exit and
        /// SCR_Need_checkpoint on all ranks, whichever of them received it; another one to the same rank does what it always
        /// did, and so does one after SCR_Finalize of a job that none has stopped. Default: none, and no handler is
        /// installed.
        SCR_EXIT_SIGNALS: Kind::Signals, none => Active, Here;
        /// When the allocation ends, in seconds since 1970. Default: what the resource manager says.
        SCR_END_TIME: Integer { min: 0, max: i64::MAX }, none => Active, Scr;
    },
    section! { "The job"
        /// Who runs the job. Default: what the system says. Part of the path of the cache.
        SCR_USER_NAME: Name, none => Active, Scr;
        /// The id of the allocation. Default: what the resource manager says. Part of the path of the cache: a relaunch must
        /// have the same id to find what the launch before it left.
        SCR_JOB_ID: Name, none => Active, Scr;
        /// A name under which jobs can be added up. It is in the START event of each launch in `.scr/events.jsonl`.
        SCR_JOB_NAME: Text, none => Active, Scr;
        /// The name of the machine, for the same event.
        SCR_CLUSTER_NAME: Text, none => Active, Scr;
    },
    section! { "Messages and logs"
        /// How much is printed: 0 errors and warnings, 1 steps of the life of each dataset, 2 and more timings and details.
        SCR_DEBUG: COUNT, "0" => Active, Scr;
        /// 1 keeps a log. Every event is appended, as a line of JSON, to `.scr/events.jsonl` in the prefix; the next two say
        /// what else there is.
        SCR_LOG_ENABLE: Flag, "0" => Active, Scr;
        /// 1: with SCR_LOG_ENABLE=1, events that SCR knows are appended to `.scr/log` in the prefix too, in SCR's form.
        SCR_LOG_TXT_ENABLE: Flag, "1" => Active, Scr;
        /// 1: with SCR_LOG_ENABLE=1, they go to syslog too (facility local7, level info).
        SCR_LOG_SYSLOG_ENABLE: Flag, "1" => Active, Scr;
        /// SCR: 1 writes events to a MySQL database.
        SCR_LOG_DB_ENABLE: Flag, "0" => DATABASE, Scr;
        /// SCR: 1 prints the statements for the database.
        SCR_LOG_DB_DEBUG: Flag, "0" => DATABASE, Scr;
        /// SCR: the host of the database.
        SCR_LOG_DB_HOST: Text, none => DATABASE, Scr;
        /// SCR: the user of the database.
        SCR_LOG_DB_USER: Text, none => DATABASE, Scr;
        /// SCR: the password of the database.
        SCR_LOG_DB_PASS: Text, none => DATABASE, Scr;
        /// SCR: the name of the database.
        SCR_LOG_DB_NAME: Text, none => DATABASE, Scr;
    },
    section! { "Launching again"
        /// How often `scr run` launches the application at most; -1: without limit.
        SCR_RUNS: Limit, "1" => Commands, Scr;
        /// An older way to say SCR_RUNS: one less than that. SCR_RUNS wins.
        SCR_RETRIES: COUNT, none => Commands, Scr;
        /// How many nodes a launch needs at least. Default: as many as the launch before it.
        SCR_MIN_NODES: POSITIVE, none => Commands, Scr;
        /// Nodes not to launch on, such as `n3,n[7-9]`.
        SCR_EXCLUDE_NODES: Text, none => Commands, Scr;
        /// The nodes of the allocation, as `n[1-3,7]` or with commas. Default: what the resource manager says. Without a
        /// resource manager they are reached by ssh.
        SCR_NODELIST: Text, none => Commands, Scr;
        /// Seconds that `scr run` waits between two launches. SCR always waits 60.
        SCR_RELAUNCH_SECONDS: SECONDS, "1" => Commands, Here;
        /// Seconds between two signs of life of a running job, by which others see that it holds the prefix; with 0
        /// no other job gets the prefix until it is given back.
        SCR_HEARTBEAT_SECONDS: SECONDS, "1" => Active, Here;
        /// Seconds that the rest of a launch may live after one of its ranks died.
        SCR_HANG_SECONDS: SECONDS, "2" => Commands, Here;
        /// Where `scr run` keeps the control directories of virtual nodes. Set by it for what it starts.
        SCR_RUN_DIR: Path, none => Commands, Here;
        /// Marks the processes of one `scr run`. Set by it.
        SCR_RUN_ID: Text, none => Commands, Here;
        /// Seconds that a node may take to answer whether it is there, before a launch and when it fell silent.
        SCR_PROBE_SECONDS: SECONDS, "20" => Commands, Here;
        /// Seconds that a node may show no sign of life during a launch before it is asked once more.
        SCR_NODE_SILENCE_SECONDS: SECONDS, "20" => Commands, Here;
        /// 1 puts a job whose allocation ends before its work is done back into the queue.
        SCR_REQUEUE: Flag, "0" => Commands, Here;
        /// How many virtual nodes `scr run` makes of this machine. Default: 1.
        SCR_LOCAL_NODES: POSITIVE, none => Commands, Here;
        /// How many of them wait to replace one that fails.
        SCR_LOCAL_SPARES: COUNT, none => Commands, Here;
        /// The tests that tell a failed node.
        SCR_NODE_TESTS: Text, none => Obsolete("before each launch every node is asked for an answer and for its directories"), Scr;
        /// 1 ends a launch in which a node shows no sign of life, or the application no progress, for SCR_WATCHDOG_TIMEOUT
        /// seconds.
        SCR_WATCHDOG: Flag, "0" => Commands, Scr;
        /// Seconds without a sign of life of a node after which the watchdog ends a launch; 60 where it is not set. Where it
        /// is set, also seconds from one call of the library to the next: more than the application ever needs.
        SCR_WATCHDOG_TIMEOUT: COUNT, none => Commands, Scr;
        /// Seconds that one call of the library may take, which may flush a checkpoint. Default: as SCR_WATCHDOG_TIMEOUT.
        SCR_WATCHDOG_TIMEOUT_PFS: COUNT, none => Commands, Scr;
        /// Free bytes wanted in the control directory of a node.
        CNTLDIR: Path, none => Obsolete("scr prerun looks for room on every node, and so does the library before each dataset"), Scr;
        /// Free bytes wanted in the cache of a node.
        CACHEDIR: Path, none => Obsolete("scr prerun looks for room on every node, and so does the library before each dataset"), Scr;
    },
    section! { "Left over"
        /// SCR: files that its interposer takes for checkpoints.
        SCR_CHECKPOINT_PATTERN: Text, none => INTERPOSER, Scr;
        /// SCR: the part of the pattern that is the number of the checkpoint.
        SCR_CHECKPOINT_PATTERN_TOKEN: Text, none => INTERPOSER, Scr;
        /// SCR: directories that its interposer takes for checkpoints.
        SCR_CHECKPOINT_DIR_PATTERN: Text, none => INTERPOSER, Scr;
        /// SCR: the old name of SCR_LOG_DB_ENABLE.
        SCR_DB_ENABLE: Flag, "0" => DATABASE, Scr;
        /// SCR: the old name of SCR_LOG_DB_DEBUG.
        SCR_DB_DEBUG: Flag, "0" => DATABASE, Scr;
        /// SCR: the old name of SCR_LOG_DB_HOST.
        SCR_DB_HOST: Text, none => DATABASE, Scr;
        /// SCR: the old name of SCR_LOG_DB_USER.
        SCR_DB_USER: Text, none => DATABASE, Scr;
        /// SCR: the old name of SCR_LOG_DB_PASS.
        SCR_DB_PASS: Text, none => DATABASE, Scr;
        /// SCR: the old name of SCR_LOG_DB_NAME.
        SCR_DB_NAME: Text, none => DATABASE, Scr;
    },
];

/// Keys of a `STORE=<path>` line.
pub const STORE_FIELDS: &[Field] = fields! {
    /// The group of ranks that see the same files there; any but NODE is as VIEW=GLOBAL.
    GROUP: Name, "NODE";
    /// How many datasets it may keep.
    COUNT: COUNT, "SCR_CACHE_SIZE";
    /// 0: the line counts for nothing.
    ENABLED: Flag, "1";
    /// 0: the directory must exist, as where it is a mount; a job does not start without it. 1: it is made where missing.
    MKDIR: Flag, "1";
    /// Who copies files from there to the prefix.
    FLUSH: TRANSFERS, "SCR_FLUSH_TYPE";
    /// GLOBAL: a directory that several nodes see. Each node keeps to a directory of its own in it.
    VIEW: Choice(&["PRIVATE", "GLOBAL"]), "PRIVATE";
};

/// Keys of a `CKPT=<n>` line.
pub const CHECKPOINT_FIELDS: &[Field] = fields! {
    /// For every n-th checkpoint; where several fit, the largest wins. One line must have 1.
    INTERVAL: POSITIVE, "1";
    /// The failure group to survive.
    GROUP: Name, "SCR_GROUP";
    /// The store, by its path or one below it.
    STORE: Path, "SCR_CACHE_BASE";
    /// The redundancy.
    TYPE: Choice(&["SINGLE", "PARTNER", "XOR", "RS"]), "XOR";
    /// 1: the application writes straight to the prefix.
    BYPASS: BYPASS, "SCR_CACHE_BYPASS";
    /// The fewest nodes of a redundancy set. SCR reads it and uses SCR_SET_SIZE.
    SET_SIZE: POSITIVE, "SCR_SET_SIZE";
    /// How many lost nodes a set survives with RS.
    SET_FAILURES: POSITIVE, "SCR_SET_FAILURES";
    /// 1: for datasets that are output.
    OUTPUT: Flag, "0";
    /// 0: the line counts for nothing.
    ENABLED: Flag, "1";
};

/// Keys that stand for a line of several: STORE, CKPT, GROUPS.
pub const DESCRIPTORS: [&str; 3] = ["STORE", "CKPT", "GROUPS"];

/// All parameters, in the order of the manual.
pub fn parameters() -> impl Iterator<Item = &'static Parameter> {
    SECTIONS.iter().flat_map(|section| section.parameters)
}

/// The parameter of this name.
pub fn find(name: &str) -> Option<&'static Parameter> {
    parameters().find(|parameter| parameter.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_documented() {
        let mut seen = BTreeSet::new();
        for parameter in parameters() {
            assert!(seen.insert(parameter.name), "{} twice", parameter.name);
            let doc = parameter.documentation();
            assert!(doc.ends_with('.') && doc.len() > 15, "{}: {doc}", parameter.name);
        }
    }

    /// The parameters of SCR 3.1, from its source and scripts.
    const OF_SCR: &str = "
        ENABLE DEBUG PREFIX CONF_FILE CNTL_BASE CACHE_BASE CACHE_SIZE CACHE_BYPASS CACHE_PURGE COPY_TYPE GROUP SET_SIZE
        SET_FAILURES MPI_BUF_SIZE FILE_BUF_SIZE DISTRIBUTE FETCH FETCH_BYPASS FETCH_WIDTH FLUSH_WIDTH FLUSH FLUSH_TYPE
        FLUSH_ASYNC FLUSH_ASYNC_BW FLUSH_ASYNC_PERCENT FLUSH_ASYNC_USLEEP FLUSH_POSTSTAGE FLUSH_ON_RESTART
        GLOBAL_RESTART CURRENT DROP_AFTER_CURRENT PREFIX_SIZE PREFIX_PURGE CHECKPOINT_INTERVAL CHECKPOINT_SECONDS
        CHECKPOINT_OVERHEAD HALT_SECONDS HALT_EXIT CRC_ON_COPY CRC_ON_DELETE CRC_ON_FLUSH COPY_METADATA AXL_MKDIR
        LOG_ENABLE LOG_TXT_ENABLE LOG_SYSLOG_ENABLE LOG_DB_ENABLE LOG_DB_DEBUG LOG_DB_HOST LOG_DB_USER LOG_DB_PASS
        LOG_DB_NAME USER_NAME JOB_ID JOB_NAME CLUSTER_NAME END_TIME RUNS RETRIES MIN_NODES EXCLUDE_NODES NODELIST
        NODE_TESTS WATCHDOG WATCHDOG_TIMEOUT WATCHDOG_TIMEOUT_PFS CHECKPOINT_PATTERN CHECKPOINT_PATTERN_TOKEN
        CHECKPOINT_DIR_PATTERN DB_ENABLE DB_DEBUG DB_HOST DB_USER DB_PASS DB_NAME";

    const NEW_HERE: &str = "EXIT_SIGNALS RESTART_REQUIRED HEARTBEAT_SECONDS RELAUNCH_SECONDS HANG_SECONDS NODE TASK RUN_DIR RUN_ID \
                            PROBE_SECONDS NODE_SILENCE_SECONDS REQUEUE LOCAL_NODES LOCAL_SPARES";

    #[test]
    fn the_table_has_what_scr_has_and_what_is_new() {
        let of = |origin| -> BTreeSet<String> {
            let names = parameters().filter(|parameter| parameter.origin == origin);
            names.map(|parameter| parameter.name.trim_start_matches("SCR_").to_string()).collect()
        };
        let listed =
            |names: &str| names.split_whitespace().map(str::to_string).collect::<BTreeSet<_>>();
        let mut of_scr = listed(OF_SCR);
        of_scr.extend(["CNTLDIR", "CACHEDIR"].map(str::to_string));
        assert_eq!(of(Origin::Scr), of_scr);
        assert_eq!(of(Origin::Here), listed(NEW_HERE));
    }

    #[test]
    fn defaults_are_allowed() {
        for parameter in parameters() {
            if let Some(default) = parameter.default {
                assert!(parameter.kind.parse(default).is_some(), "{}={default}", parameter.name);
            }
        }
    }

    #[test]
    fn fields_default_to_a_value_or_a_parameter() {
        for field in STORE_FIELDS.iter().chain(CHECKPOINT_FIELDS) {
            let known = find(field.default)
                .is_some_and(|parameter| parameter.kind.parse("x") == field.kind.parse("x"));
            assert!(known || field.kind.parse(field.default).is_some(), "{}", field.name);
        }
    }
}
