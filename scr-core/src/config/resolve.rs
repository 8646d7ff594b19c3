// SPDX-License-Identifier: MIT OR Apache-2.0
//! From layers to the typed [`Config`]: every parameter checked, every name looked at.

use super::descriptor::{self, Defaults};
use super::layer::{Layer, is_descriptor};
use super::layers::Layers;
use super::report::{Report, did_you_mean};
use super::table;
use super::values::Values;
use super::{Bypass, Config, RunSettings, Source};
use std::path::PathBuf;

/// Switches of test builds, which are no parameters.
const IGNORED: [&str; 1] = ["SCR_SABOTAGE"];

/// Builds the configuration; where `report` has problems afterwards, parts of it are defaults.
pub(super) fn config(layers: &Layers, report: &mut Report) -> Config {
    unknown_names(layers, report);
    overlooked(layers, report);
    let values = Values::of_parameters(layers, report);
    if values.flag("SCR_CRC_ON_COPY") == Some(false) {
        let source = values.source("SCR_CRC_ON_COPY");
        report.warn(
            source,
            "SCR_CRC_ON_COPY=0: files damaged in cache or prefix will not be noticed",
        );
    }
    // The table gives each of these a default of the right type, so none of them can be missing; a test reads them all.
    let flag = |name| values.flag(name).unwrap_or_else(|| missing(name));
    let count = |name| values.count(name).unwrap_or_else(|| missing(name));
    let number = |name| values.number(name).unwrap_or_else(|| missing(name));
    let path = |name| layers.absolute(values.path(name).unwrap_or_else(|| missing(name)));
    let text = |name| values.text(name).map(str::to_string);

    let flush_type = text("SCR_FLUSH_TYPE").unwrap_or_else(|| missing("SCR_FLUSH_TYPE"));
    let source = values.source("SCR_FLUSH_TYPE");
    let defaults = Defaults {
        flush_type: descriptor::flush_type("SCR_FLUSH_TYPE", &flush_type, source, report),
        cache_base: path("SCR_CACHE_BASE"),
        cache_size: count("SCR_CACHE_SIZE"),
        bypass: text("SCR_CACHE_BYPASS")
            .and_then(|word| Bypass::from_word(&word))
            .unwrap_or_else(|| missing("SCR_CACHE_BYPASS")),
        set_size: count("SCR_SET_SIZE"),
        set_failures: count("SCR_SET_FAILURES"),
        group: text("SCR_GROUP").unwrap_or_else(|| missing("SCR_GROUP")),
        copy_type: text("SCR_COPY_TYPE").unwrap_or_else(|| missing("SCR_COPY_TYPE")),
    };
    let global_restart = flag("SCR_GLOBAL_RESTART");
    let descriptors = descriptor::read(layers, &defaults, &values, report);
    Config {
        enable: flag("SCR_ENABLE"),
        debug: count("SCR_DEBUG"),
        prefix: values
            .path("SCR_PREFIX")
            .map_or_else(|| layers.absolute(&PathBuf::new()), |p| layers.absolute(p)),
        control_base: path("SCR_CNTL_BASE"),
        cache_base: defaults.cache_base,
        cache_size: defaults.cache_size,
        cache_bypass: defaults.bypass,
        is_bypass_set: *values.source("SCR_CACHE_BYPASS") != Source::Default,
        cache_purge: flag("SCR_CACHE_PURGE"),
        stores: descriptors.stores,
        checkpoints: descriptors.checkpoints,
        groups: descriptors.groups,
        distribute: flag("SCR_DISTRIBUTE"),
        fetch: flag("SCR_FETCH"),
        fetch_bypass: flag("SCR_FETCH_BYPASS") || global_restart,
        global_restart,
        flush_every: count("SCR_FLUSH"),
        flush_on_restart: flag("SCR_FLUSH_ON_RESTART") || global_restart,
        flush_async: flag("SCR_FLUSH_ASYNC"),
        flush_type: defaults.flush_type,
        flush_poll_micros: count("SCR_FLUSH_ASYNC_USLEEP"),
        flush_async_bytes_per_second: values
            .bytes("SCR_FLUSH_ASYNC_BW")
            .unwrap_or_else(|| missing("SCR_FLUSH_ASYNC_BW")),
        prefix_size: count("SCR_PREFIX_SIZE"),
        prefix_purge: flag("SCR_PREFIX_PURGE"),
        current: text("SCR_CURRENT"),
        drop_after_current: flag("SCR_DROP_AFTER_CURRENT"),
        checkpoint_interval: count("SCR_CHECKPOINT_INTERVAL"),
        checkpoint_seconds: count("SCR_CHECKPOINT_SECONDS"),
        checkpoint_overhead_percent: number("SCR_CHECKPOINT_OVERHEAD"),
        halt_seconds: count("SCR_HALT_SECONDS"),
        halt_exit: flag("SCR_HALT_EXIT"),
        exit_signals: text("SCR_EXIT_SIGNALS")
            .map_or(Vec::new(), |names| names.split(',').map(str::to_string).collect()),
        checksums: flag("SCR_CRC_ON_COPY"),
        log: flag("SCR_LOG_ENABLE"),
        log_text: flag("SCR_LOG_TXT_ENABLE"),
        log_syslog: flag("SCR_LOG_SYSLOG_ENABLE"),
        restart_required: flag("SCR_RESTART_REQUIRED"),
        user_name: text("SCR_USER_NAME"),
        job_id: text("SCR_JOB_ID"),
        job_name: text("SCR_JOB_NAME"),
        cluster_name: text("SCR_CLUSTER_NAME"),
        end_unix_seconds: values.integer("SCR_END_TIME").and_then(|time| u64::try_from(time).ok()),
        node: text("SCR_NODE"),
        task: text("SCR_TASK"),
        heartbeat_seconds: number("SCR_HEARTBEAT_SECONDS"),
        run: RunSettings {
            runs: runs(&values),
            min_nodes: values.count("SCR_MIN_NODES"),
            exclude_nodes: text("SCR_EXCLUDE_NODES"),
            relaunch_seconds: number("SCR_RELAUNCH_SECONDS"),
            hang_seconds: number("SCR_HANG_SECONDS"),
        },
    }
}

/// `SCR_RUNS` where somebody set it, else one more than `SCR_RETRIES`; `None` is without limit.
fn runs(values: &Values) -> Option<u32> {
    let retries =
        values.count("SCR_RETRIES").filter(|_| *values.source("SCR_RUNS") == Source::Default);
    match retries {
        Some(retries) => Some(retries.saturating_add(1)),
        None => values.count("SCR_RUNS"),
    }
}

fn missing(name: &str) -> ! {
    unreachable!("the table has no default of the right type for {name}")
}

/// Names nobody knows have no effect: worth a word, never a reason to stop.
fn unknown_names(layers: &Layers, report: &mut Report) {
    let known = || table::parameters().map(|parameter| parameter.name).chain(table::DESCRIPTORS);
    let is_unknown = |name: &str| !is_descriptor(name) && table::find(name).is_none();
    for name in layers.variables().filter(|name| name.starts_with("SCR_")) {
        if is_unknown(name) && !IGNORED.contains(&name) {
            let hint = did_you_mean(name, known());
            let text = format!("{name} is not a parameter and has no effect{hint}");
            // Many sites have variables of their own that begin like ours: only a likely slip is worth a warning.
            if hint.is_empty() {
                report.note(&Source::Environment, text);
            } else {
                report.warn(&Source::Environment, text);
            }
        }
    }
    for (name, entries) in layers.written().into_iter().flat_map(Layer::iter) {
        if is_unknown(name) {
            let hint = did_you_mean(name, known());
            for entry in entries {
                report.warn(
                    &entry.source,
                    format_args!("{name} is not a parameter and has no effect{hint}"),
                );
            }
        }
    }
}

/// Settings that are written and do not count, in ways that are easily overlooked.
fn overlooked(layers: &Layers, report: &mut Report) {
    let entries = layers.written().into_iter().flat_map(Layer::iter);
    for (name, entries) in entries.filter(|(name, _)| !is_descriptor(name)) {
        if let [_, .., last] = entries {
            report
                .warn(&last.source, format_args!("{name} is set more than once; this one counts"));
        }
        for entry in entries {
            let key =
                entry.children.keys().next().filter(|_| !matches!(name, "CNTLDIR" | "CACHEDIR"));
            if let Some(key) = key {
                let text =
                    format!("{key} on the line of {name} has no effect; give it a line of its own");
                report.warn(&entry.source, text);
            }
            if name == "SCR_CONF_FILE" && entry.source != Source::Call {
                report.warn(
                    &entry.source,
                    "SCR_CONF_FILE has no effect in a file; set it in the environment",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CheckpointDescriptor, CopyType, FlushType, Notice, StoreDescriptor};
    use crate::error::ErrorKind;
    use crate::event::Level;
    use proptest::prelude::*;
    use std::path::Path;

    fn layers(environment: &[(&str, &str)]) -> Layers {
        Layers::new(
            "/scratch",
            environment.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string())),
        )
    }

    fn told(notices: &[Notice]) -> String {
        let lines = notices.iter().map(|notice| format!("{:?}: {}", notice.level, notice.text));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn defaults_are_those_of_scr() {
        let (config, notices) = layers(&[]).resolve().unwrap();
        assert_eq!(notices, []);
        assert_eq!(config, Config::default_for("/scratch".into()));
        let shm = Path::new("/dev/shm");
        assert_eq!(config.prefix, Path::new("/scratch"));
        assert_eq!(config.cache_base, shm);
        assert!(config.enable && config.distribute && config.fetch && !config.is_bypass_set);
        assert_eq!(config.cache_bypass, Bypass::Yes);
        assert!(config.checksums, "ours, not SCR's");
        assert_eq!((config.flush_every, config.prefix_size), (10, 0));
        assert_eq!(config.run.runs, Some(1));
        assert_eq!((config.flush_async, config.flush_poll_micros), (false, 1000));
        assert_eq!(config.flush_async_bytes_per_second, 0);
        let store = StoreDescriptor {
            base: shm.into(),
            group: "NODE".into(),
            count: 1,
            may_make: true,
            is_shared: false,
            flush_type: FlushType::Thread,
        };
        assert_eq!(config.stores, [store]);
        let checkpoint = CheckpointDescriptor {
            index: 0,
            interval: 1,
            group: "NODE".into(),
            store: shm.into(),
            copy_type: CopyType::Xor,
            set_size: 8,
            set_failures: 2,
            bypass: Bypass::Yes,
            output: false,
        };
        assert_eq!(config.checkpoints, [checkpoint]);
    }

    #[test]
    fn every_setting_arrives() {
        let set = [
            ("SCR_ENABLE", "0"),
            ("SCR_DEBUG", "2"),
            ("SCR_PREFIX", "run/../p"),
            ("SCR_CNTL_BASE", "/c"),
            ("SCR_CACHE_BASE", "/s"),
            ("SCR_CACHE_SIZE", "3"),
            ("SCR_CACHE_BYPASS", "0"),
            ("SCR_CACHE_PURGE", "1"),
            ("SCR_COPY_TYPE", "single"),
            ("SCR_SET_SIZE", "4"),
            ("SCR_SET_FAILURES", "1"),
            ("SCR_GROUP", "world"),
            ("SCR_DISTRIBUTE", "0"),
            ("SCR_FETCH", "0"),
            ("SCR_FETCH_BYPASS", "1"),
            ("SCR_PREFIX_SIZE", "3"),
            ("SCR_PREFIX_PURGE", "1"),
            ("SCR_DROP_AFTER_CURRENT", "1"),
            ("SCR_FLUSH", "0"),
            ("SCR_FLUSH_ON_RESTART", "1"),
            ("SCR_FLUSH_ASYNC", "1"),
            ("SCR_FLUSH_TYPE", "sync"),
            ("SCR_FLUSH_ASYNC_USLEEP", "7"),
            ("SCR_FLUSH_ASYNC_BW", "2kb"),
            ("SCR_CURRENT", "ckpt 3"),
            ("SCR_CHECKPOINT_INTERVAL", "5"),
            ("SCR_CHECKPOINT_SECONDS", "60"),
            ("SCR_CHECKPOINT_OVERHEAD", "2.5"),
            ("SCR_HALT_SECONDS", "300"),
            ("SCR_EXIT_SIGNALS", "usr1,SIGTERM"),
            ("SCR_LOG_ENABLE", "1"),
            ("SCR_LOG_TXT_ENABLE", "0"),
            ("SCR_LOG_SYSLOG_ENABLE", "0"),
            ("SCR_RESTART_REQUIRED", "1"),
            ("SCR_USER_NAME", "ann"),
            ("SCR_JOB_ID", "12.3"),
            ("SCR_JOB_NAME", "heat"),
            ("SCR_CLUSTER_NAME", "big one"),
            ("SCR_END_TIME", "1800000000"),
            ("SCR_NODE", "n1"),
            ("SCR_TASK", "7"),
            ("SCR_HEARTBEAT_SECONDS", "0"),
            ("SCR_RUNS", "-1"),
            ("SCR_RETRIES", "4"),
            ("SCR_MIN_NODES", "2"),
            ("SCR_EXCLUDE_NODES", "n[1-3]"),
            ("SCR_RELAUNCH_SECONDS", "0.5"),
            ("SCR_HANG_SECONDS", "9"),
        ];
        let (config, notices) = layers(&set).resolve().unwrap();
        // What arrives without effect is announced, and nothing else.
        let all = told(&notices);
        assert!(all.lines().all(|line| line.contains("is not acted on yet")), "{all}");
        insta::assert_snapshot!(format!("{config:#?}"), @r#"
        Config {
            enable: false,
            debug: 2,
            prefix: "/scratch/p",
            control_base: "/c",
            cache_base: "/s",
            cache_size: 3,
            cache_bypass: No,
            is_bypass_set: true,
            cache_purge: true,
            stores: [
                StoreDescriptor {
                    base: "/s",
                    group: "NODE",
                    count: 3,
                    may_make: true,
                    is_shared: false,
                    flush_type: Sync,
                },
            ],
            checkpoints: [
                CheckpointDescriptor {
                    index: 0,
                    interval: 1,
                    group: "WORLD",
                    store: "/s",
                    copy_type: Single,
                    set_size: 4,
                    set_failures: 1,
                    bypass: No,
                    output: false,
                },
            ],
            groups: {},
            distribute: false,
            fetch: false,
            fetch_bypass: true,
            global_restart: false,
            flush_every: 0,
            flush_on_restart: true,
            flush_async: true,
            flush_type: Sync,
            flush_poll_micros: 7,
            flush_async_bytes_per_second: 2048,
            prefix_size: 3,
            prefix_purge: true,
            current: Some(
                "ckpt 3",
            ),
            drop_after_current: true,
            checkpoint_interval: 5,
            checkpoint_seconds: 60,
            checkpoint_overhead_percent: 2.5,
            halt_seconds: 300,
            halt_exit: false,
            exit_signals: [
                "USR1",
                "TERM",
            ],
            checksums: true,
            log: true,
            log_text: false,
            log_syslog: false,
            restart_required: true,
            user_name: Some(
                "ann",
            ),
            job_id: Some(
                "12.3",
            ),
            job_name: Some(
                "heat",
            ),
            cluster_name: Some(
                "big one",
            ),
            end_unix_seconds: Some(
                1800000000,
            ),
            node: Some(
                "n1",
            ),
            task: Some(
                "7",
            ),
            heartbeat_seconds: 0.0,
            run: RunSettings {
                runs: None,
                min_nodes: Some(
                    2,
                ),
                exclude_nodes: Some(
                    "n[1-3]",
                ),
                relaunch_seconds: 0.5,
                hang_seconds: 9.0,
            },
        }
        "#);
    }

    #[test]
    fn retries_count_only_without_runs() {
        let runs = |set: &[(&str, &str)]| layers(set).resolve().unwrap().0.run.runs;
        assert_eq!(runs(&[("SCR_RETRIES", "4")]), Some(5));
        assert_eq!(runs(&[("SCR_RETRIES", "4"), ("SCR_RUNS", "2")]), Some(2));
        assert_eq!(runs(&[("SCR_RUNS", "-1")]), None);
    }

    #[test]
    fn all_wrong_values_are_in_one_error() {
        let mut layers = layers(&[
            ("SCR_FLUSH", "banana"),
            ("SCR_ENABLE", "yes"),
            ("SCR_CHECKPOINT_OVERHEAD", "101"),
            ("SCR_JOB_ID", "../etc"),
            ("SCR_RUNS", "0"),
        ]);
        layers.call("SCR_MPI_BUF_SIZE=0").unwrap();
        layers.call("SCR_FILE_BUF_SIZE=2gb").unwrap();
        let user = "SCR_CACHE_SIZE=0\nSCR_FLUSH_TYPE=PTREAD\nSCR_CACHE_BASE=$BB_PATH/x\nbroken\n";
        layers.set_user_file(Path::new("/p/.scrconf"), user);
        layers.set_system_file(
            Path::new("/etc/scr.conf"),
            "SCR_COPY_TYPE=XRO\nSCR_FLUSH=also wrong=",
        );
        let error = layers.resolve().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        insta::assert_snapshot!(error, @"
        /p/.scrconf:4: no '=' after broken; allowed: KEY=VALUE ...
        /etc/scr.conf:2: no value after wrong=; allowed: KEY=VALUE ...
        environment: SCR_ENABLE=yes; allowed: 0 or 1
        /p/.scrconf:3: SCR_CACHE_BASE needs $BB_PATH, which is not set in the environment
        /p/.scrconf:1: SCR_CACHE_SIZE=0; allowed: a whole number, 1 or more
        /etc/scr.conf:1: SCR_COPY_TYPE=XRO; allowed: one of SINGLE, PARTNER, XOR, RS, FILE; did you mean XOR?
        SCR_Config: SCR_MPI_BUF_SIZE=0; allowed: a number of bytes from 1 to 1073741824 such as 1048576, 512kb or 1mb
        SCR_Config: SCR_FILE_BUF_SIZE=2gb; allowed: a number of bytes from 1 to 1073741824 such as 1048576, 512kb or 1mb
        environment: SCR_FLUSH=banana; allowed: a whole number, 0 or more
        /p/.scrconf:2: SCR_FLUSH_TYPE=PTREAD; allowed: one of DEFAULT, NATIVE, SYNC, PTHREAD, BBAPI, DATAWARP; did you mean PTHREAD?
        environment: SCR_CHECKPOINT_OVERHEAD=101; allowed: a number from 0 to 100
        environment: SCR_JOB_ID=../etc; allowed: a name without '/'
        environment: SCR_RUNS=0; allowed: a whole number, 1 or more, or -1 for no limit
        ");
    }

    #[test]
    fn a_wrong_value_that_does_not_count_is_no_error() {
        let mut layers = layers(&[("SCR_FLUSH", "3")]);
        layers.set_system_file(Path::new("s"), "SCR_FLUSH=banana\nSCR_CACHE_BASE=$BB_PATH");
        layers.call("SCR_CACHE_BASE=/ssd").unwrap();
        assert_eq!(layers.resolve().unwrap().0.flush_every, 3);
    }

    #[test]
    fn what_is_written_and_does_not_count_is_a_warning() {
        let mut layers = layers(&[
            ("SCR_FLUHS", "1"),
            ("SCR_SITE_MODULE_ROOT", "/opt"),
            ("SCR_SABOTAGE", "x"),
            ("HOME", "/h"),
        ]);
        layers.call("FLUSH=1").unwrap();
        layers.set_user_file(
            Path::new("u"),
            "STOER=/ssd\nSCR_FLUSH=1 SCR_DEBUG=1\nCACHEDIR=/ssd BYTES=1gb
SCR_FETCH=0\nSCR_FETCH=1\nSCR_CONF_FILE=/x",
        );
        let (config, notices) = layers.resolve().unwrap();
        assert_eq!((config.flush_every, config.debug), (1, 0));
        insta::assert_snapshot!(told(&notices), @"
        Warning: environment: SCR_FLUHS is not a parameter and has no effect; did you mean SCR_FLUSH?
        Note: environment: SCR_SITE_MODULE_ROOT is not a parameter and has no effect
        Warning: u:1: STOER is not a parameter and has no effect; did you mean STORE?
        Warning: SCR_Config: FLUSH is not a parameter and has no effect; did you mean SCR_FLUSH?
        Warning: u:6: SCR_CONF_FILE has no effect in a file; set it in the environment
        Warning: u:5: SCR_FETCH is set more than once; this one counts
        Warning: u:2: SCR_DEBUG on the line of SCR_FLUSH has no effect; give it a line of its own
        Warning: u:3: CACHEDIR has no effect: scr prerun looks for room on every node, and so does the library before each dataset
        ");
    }

    #[test]
    fn settings_without_effect_are_warnings() {
        let layers = layers(&[
            ("SCR_FLUSH_POSTSTAGE", "1"),
            ("SCR_FLUSH_WIDTH", "8"),
            ("SCR_LOG_DB_PASS", "secret"),
            ("SCR_CRC_ON_FLUSH", "0"),
            ("SCR_CRC_ON_COPY", "0"),
            ("SCR_COPY_TYPE", "RS"),
            ("SCR_HALT_EXIT", "1"),
        ]);
        let (config, notices) = layers.resolve().unwrap();
        assert_eq!(config.checkpoints[0].copy_type, CopyType::Rs);
        assert!(config.halt_exit && !config.checksums);
        insta::assert_snapshot!(told(&notices), @"
        Warning: environment: SCR_CRC_ON_FLUSH has no effect: where there are checksums they are always verified
        Warning: environment: SCR_FLUSH_POSTSTAGE has no effect: only a burst buffer of BBAPI can go on copying when the processes are gone; SCR_Finalize waits
        Warning: environment: SCR_FLUSH_WIDTH has no effect: read but unused in SCR
        Warning: environment: SCR_LOG_DB_PASS has no effect: events go to the log files, not to a database
        Warning: environment: SCR_CRC_ON_COPY=0: files damaged in cache or prefix will not be noticed
        ");
    }

    #[test]
    fn a_setting_that_says_the_default_is_silent() {
        let told: Vec<_> = table::parameters()
            .filter_map(|parameter| Some((parameter.name, parameter.default?)))
            .flat_map(|setting| layers(&[setting]).resolve().unwrap().1)
            .collect();
        assert_eq!(told, []);
    }

    #[test]
    fn another_value_of_what_is_not_active_always_warns() {
        use crate::config::Status;
        for parameter in table::parameters() {
            let candidates = ["WORLD", "SINGLE", "PTHREAD", "2", "1", "0", "TERM"];
            let value = candidates.into_iter().find(|value| {
                let parse = |text| parameter.kind.parse(text);
                parse(value).is_some() && parse(value) != parameter.default.and_then(parse)
            });
            let value = value.unwrap_or_else(|| panic!("{} takes none of them", parameter.name));
            let (_, notices) = layers(&[(parameter.name, value)])
                .resolve()
                .unwrap_or_else(|error| panic!("{error}"));
            let start = match parameter.status {
                Status::Obsolete(_) => "has no effect",
                Status::Active | Status::Commands => "is not",
            };
            let start = format!("environment: {} {start}", parameter.name);
            let warned =
                notices.iter().any(|n| n.level == Level::Warning && n.text.starts_with(&start));
            let inert = matches!(parameter.status, Status::Obsolete(_));
            assert_eq!(warned, inert, "{}: {}", parameter.name, told(&notices));
        }
    }

    proptest! {
        #[test]
        fn no_setting_panics(
            place in 0..200_usize,
            value in "([0-9.-]{1,6}|[/A-Z0-9kmgb.]{0,9}|\\PC{0,9})",
            lines in "((STORE|CKPT|GROUPS)=[0-9/a]{1,3} (COUNT|SET_SIZE|TYPE|STORE)=[0-9A-Z/]{1,3}\\n){0,3}",
        ) {
            let names: Vec<_> = table::parameters().map(|parameter| parameter.name).collect();
            let mut layers = layers(&[(names[place % names.len()], &value), ("SCR_COPY_TYPE", "FILE")]);
            layers.set_user_file(Path::new("u"), &lines);
            if let Ok((config, _)) = layers.resolve() {
                prop_assert!(config.checkpoints.iter().any(|checkpoint| checkpoint.interval == 1));
                prop_assert!(config.checkpoints.iter().all(|c| config.store_of(&c.store).is_some()));
            }
        }
    }
}
