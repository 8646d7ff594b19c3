// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lines of several keys: which stores there are, how checkpoints of each level are kept, which nodes fail together.

use super::layer::Entry;
use super::layers::Layers;
use super::parameter::{Kind, Value};
use super::report::{Report, did_you_mean};
use super::values::{Values, checked};
use super::{Bypass, CheckpointDescriptor, CopyType, Source, StoreDescriptor, table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest Reed-Solomon set over bytes: data and parity together.
const LARGEST_SET: u32 = 256;

/// What the lines leave open, and what counts without them.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) cache_base: PathBuf,
    pub(super) cache_size: u32,
    pub(super) bypass: Bypass,
    pub(super) set_size: u32,
    pub(super) set_failures: u32,
    pub(super) group: String,
    pub(super) copy_type: String,
}

/// All descriptors.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) stores: Vec<StoreDescriptor>,
    pub(super) checkpoints: Vec<CheckpointDescriptor>,
    pub(super) groups: BTreeMap<String, BTreeMap<String, String>>,
}

/// Reads and checks all descriptors.
pub(super) fn read(
    layers: &Layers,
    defaults: &Defaults,
    values: &Values,
    report: &mut Report,
) -> Descriptors {
    let mut groups = BTreeMap::new();
    for entry in layers.lines("GROUPS") {
        group_line(entry, &mut groups, report);
    }
    let mut known: Vec<String> =
        groups.values().flat_map(|names: &BTreeMap<_, _>| names.keys().cloned()).collect();
    known.extend(["NODE".to_string(), "WORLD".to_string()]);

    let mut reader = Reader { layers, defaults, groups: known, stores: BTreeMap::new(), report };
    for entry in layers.lines("STORE") {
        reader.store(entry);
    }
    reader.default_store(values);
    let checkpoints = reader.checkpoints(values);
    let stores = reader.stores.into_values().map(|(store, _)| store).collect();
    Descriptors { stores, checkpoints, groups }
}

/// `GROUPS=<node> NAME=value ...`
fn group_line(
    entry: &Entry,
    groups: &mut BTreeMap<String, BTreeMap<String, String>>,
    report: &mut Report,
) {
    let Some(Value::Text(node)) =
        checked("GROUPS", Kind::Name, &entry.value, &entry.source, report)
    else {
        return;
    };
    let names = groups.entry(node.clone()).or_default();
    for (name, word) in &entry.children {
        if matches!(name.as_str(), "NODE" | "WORLD") {
            let text = format!("GROUPS={node} {name}: this group is built in; choose another name");
            report.problem(&entry.source, text);
        } else if let Some(Value::Text(value)) =
            checked(&format!("GROUPS={node} {name}"), Kind::Text, word, &entry.source, report)
        {
            names.insert(name.clone(), value);
        }
    }
}

/// The redundancy that somebody asks for.
struct Wanted<'a> {
    /// How to call the setting.
    name: &'a str,
    copy_type: CopyType,
    set_size: u32,
    set_failures: u32,
    source: &'a Source,
}

struct Reader<'a> {
    layers: &'a Layers,
    defaults: &'a Defaults,
    /// Names of all failure groups.
    groups: Vec<String>,
    /// By base; with where it came from.
    stores: BTreeMap<PathBuf, (StoreDescriptor, Source)>,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// `STORE=<path> ...`
    fn store(&mut self, entry: &Entry) {
        let Some(Value::Path(path)) =
            checked("STORE", Kind::Path, &entry.value, &entry.source, self.report)
        else {
            return;
        };
        let base = self.layers.absolute(&path);
        let name = format!("STORE={}", base.display());
        let line = Values::of_line(table::STORE_FIELDS, &name, entry, self.report);
        if line.flag("ENABLED") == Some(false) {
            return;
        }
        let not_yet = [(
            "FLUSH",
            line.text("FLUSH").is_some_and(|kind| !matches!(kind, "SYNC" | "DEFAULT")),
            "SYNC is used",
        )];
        for (key, _, instead) in not_yet.into_iter().filter(|(_, set, _)| *set) {
            self.report
                .warn(&entry.source, format_args!("{name} {key} is not acted on yet: {instead}"));
        }
        let group = line.text("GROUP").unwrap_or("NODE");
        let group = self.group(&format!("{name} GROUP"), group, &entry.source);
        let store = StoreDescriptor {
            count: line.count("COUNT").unwrap_or(self.defaults.cache_size),
            base: base.clone(),
            may_make: line.flag("MKDIR").unwrap_or(true),
            is_shared: line.text("VIEW") == Some("GLOBAL") || group != "NODE",
            group,
        };
        self.stores.insert(base, (store, entry.source.clone()));
    }

    /// The store of `SCR_CACHE_BASE`, where no line describes it.
    fn default_store(&mut self, values: &Values) {
        let base = self.defaults.cache_base.clone();
        let source = values.source("SCR_CACHE_BASE").clone();
        self.stores.entry(base.clone()).or_insert_with(|| {
            let count = self.defaults.cache_size;
            let group = "NODE".to_string();
            let store = StoreDescriptor { base, group, count, may_make: true, is_shared: false };
            (store, source)
        });
    }

    /// The CKPT lines, or the one descriptor that `SCR_COPY_TYPE` and its like make.
    fn checkpoints(&mut self, values: &Values) -> Vec<CheckpointDescriptor> {
        let lines = self.layers.lines("CKPT");
        if let Some(copy_type) = CopyType::from_name(&self.defaults.copy_type) {
            if let Some(first) = lines.first() {
                let name = &self.defaults.copy_type;
                let text = format!(
                    "CKPT lines do not count, since SCR_COPY_TYPE is {name}; set it to FILE"
                );
                self.report.warn(&first.source, text);
            }
            return vec![self.single(copy_type, values)];
        }
        let source = lines.last().map_or(values.source("SCR_COPY_TYPE"), |entry| &entry.source);
        let mut checkpoints: Vec<_> =
            lines.iter().filter_map(|entry| self.checkpoint(entry)).collect();
        checkpoints.sort_by_key(|checkpoint| checkpoint.index);
        if lines.is_empty() {
            self.report.problem(source, "SCR_COPY_TYPE=FILE needs CKPT lines, and there are none");
        } else if checkpoints.iter().all(|checkpoint| checkpoint.interval != 1) {
            let text = "none of the CKPT lines that count has INTERVAL=1; add CKPT=0 INTERVAL=1 TYPE=XOR or the like";
            self.report.problem(source, text);
        }
        checkpoints
    }

    fn single(&mut self, copy_type: CopyType, values: &Values) -> CheckpointDescriptor {
        let defaults = self.defaults;
        // Whichever of the three somebody set is the one to look at.
        let names = ["SCR_SET_FAILURES", "SCR_SET_SIZE", "SCR_COPY_TYPE"];
        let source = names
            .map(|name| values.source(name))
            .into_iter()
            .find(|source| **source != Source::Default);
        let wanted = Wanted {
            name: &format!("SCR_COPY_TYPE={}", defaults.copy_type),
            copy_type,
            set_size: defaults.set_size,
            set_failures: defaults.set_failures,
            source: source.unwrap_or(&Source::Default),
        };
        CheckpointDescriptor {
            index: 0,
            interval: 1,
            group: self.group("SCR_GROUP", &defaults.group, values.source("SCR_GROUP")),
            store: self.store_for(
                "SCR_CACHE_BASE",
                &defaults.cache_base,
                values.source("SCR_CACHE_BASE"),
            ),
            copy_type: self.scheme(&wanted),
            set_size: defaults.set_size,
            set_failures: defaults.set_failures,
            bypass: defaults.bypass,
            output: false,
        }
    }

    /// `CKPT=<n> ...`; `None` where it does not count.
    fn checkpoint(&mut self, entry: &Entry) -> Option<CheckpointDescriptor> {
        const INDEX: Kind = Kind::Integer { min: 0, max: u32::MAX as i64 };
        let Value::Integer(index) =
            checked("CKPT", INDEX, &entry.value, &entry.source, self.report)?
        else {
            return None;
        };
        let name = format!("CKPT={index}");
        let line = Values::of_line(table::CHECKPOINT_FIELDS, &name, entry, self.report);
        if line.flag("ENABLED") == Some(false) {
            return None;
        }
        let defaults = self.defaults;
        let base = line
            .path("STORE")
            .map_or_else(|| defaults.cache_base.clone(), |path| self.layers.absolute(path));
        let set_size = line.count("SET_SIZE").unwrap_or(defaults.set_size);
        let set_failures = line.count("SET_FAILURES").unwrap_or(defaults.set_failures);
        let copy_type = line.text("TYPE").and_then(CopyType::from_name).unwrap_or(CopyType::Xor);
        let group = line.text("GROUP").unwrap_or(&defaults.group);
        Some(CheckpointDescriptor {
            index: u32::try_from(index).ok()?,
            interval: line.count("INTERVAL").unwrap_or(1),
            group: self.group(&format!("{name} GROUP"), group, &entry.source),
            store: self.store_for(&format!("{name} STORE"), &base, &entry.source),
            copy_type: self.scheme(&Wanted {
                name: &name,
                copy_type,
                set_size,
                set_failures,
                source: &entry.source,
            }),
            set_size,
            set_failures,
            bypass: line.text("BYPASS").and_then(Bypass::from_word).unwrap_or(defaults.bypass),
            output: line.flag("OUTPUT").unwrap_or(false),
        })
    }

    /// The name of a failure group, in upper case as keys are.
    fn group(&mut self, name: &str, group: &str, source: &Source) -> String {
        let group = group.to_ascii_uppercase();
        if !self.groups.contains(&group) {
            let hint = did_you_mean(&group, self.groups.iter().map(String::as_str));
            let text = format!(
                "{name}={group}; allowed: NODE, WORLD, or a name from the GROUPS lines{hint}"
            );
            self.report.problem(source, text);
        }
        group
    }

    /// The base of the store that holds `path`.
    fn store_for(&mut self, name: &str, path: &Path, source: &Source) -> PathBuf {
        let Some((store, _)) = path.ancestors().find_map(|above| self.stores.get(above)) else {
            let known: Vec<_> = self.stores.keys().map(|base| base.display().to_string()).collect();
            let text = format!(
                "{name}={}; allowed: a path in one of the stores: {}",
                path.display(),
                known.join(", ")
            );
            self.report.problem(source, text);
            return path.to_path_buf();
        };
        if store.count == 0 {
            let text = format!("{name}={}; this store keeps no dataset (COUNT=0)", path.display());
            self.report.problem(source, text);
        }
        store.base.clone()
    }

    /// Checks a scheme against its set.
    fn scheme(&mut self, wanted: &Wanted<'_>) -> CopyType {
        let Wanted { name, copy_type, set_size, set_failures, source } = *wanted;
        if copy_type != CopyType::Single && set_size < 2 {
            let text = format!(
                "{name} with a set size of {set_size}; allowed: 2 or more (or TYPE SINGLE)"
            );
            self.report.problem(source, text);
        }
        if copy_type == CopyType::Rs {
            if set_failures >= set_size {
                let text = format!(
                    "{name} with {set_failures} failures in a set of {set_size}; allowed: fewer failures than nodes"
                );
                self.report.problem(source, text);
            } else if u64::from(set_size) + u64::from(set_failures) > u64::from(LARGEST_SET) {
                let text = format!(
                    "{name} with {set_failures} failures in a set of {set_size}; allowed: {LARGEST_SET} in sum"
                );
                self.report.problem(source, text);
            }
        }
        copy_type
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Bypass, Config, CopyType, Layers, Notice};
    use crate::error::Result;
    use std::path::Path;

    fn resolve(file: &str) -> Result<(Config, Vec<Notice>)> {
        let mut layers = Layers::new("/scratch", []);
        layers.set_user_file(Path::new("u"), file);
        layers.resolve()
    }

    /// The error of a file after the line that lets CKPT lines count.
    fn error(file: &str) -> String {
        resolve(&format!("SCR_COPY_TYPE=FILE\n{file}")).unwrap_err().to_string()
    }

    fn told(notices: &[Notice]) -> String {
        notices.iter().map(|notice| notice.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    const GOOD: &str = "\
SCR_COPY_TYPE=FILE
SCR_CACHE_SIZE=2
STORE=/ssd COUNT=4 GROUP=rack
STORE=/dev/shm2 MKDIR=0 VIEW=global
STORE=/old ENABLED=0
GROUPS=n1 RACK=a PSU=1
GROUPS=n2 RACK=a
CKPT=2 INTERVAL=10 STORE=/ssd TYPE=XOR SET_SIZE=16 GROUP=Rack OUTPUT=1
CKPT=0 BYPASS=0 TYPE=SINGLE SET_SIZE=1
CKPT=1 INTERVAL=4 TYPE=RS SET_SIZE=4 SET_FAILURES=1 STORE=/dev/shm2/deep
CKPT=3 INTERVAL=1 STORE=/nowhere ENABLED=0
";

    #[test]
    fn descriptors_are_read() {
        let (config, notices) = resolve(GOOD).unwrap();
        assert_eq!(told(&notices), "");
        let stores: Vec<_> = config
            .stores
            .iter()
            .map(|s| (s.base.to_str().unwrap(), s.group.as_str(), s.count, s.may_make, s.is_shared))
            .collect();
        let expected = [
            ("/dev/shm", "NODE", 2, true, false),
            ("/dev/shm2", "NODE", 2, false, true),
            ("/ssd", "RACK", 4, true, true),
        ];
        assert_eq!(stores, expected);
        assert_eq!(config.groups["n1"]["PSU"], "1");
        let checkpoints: Vec<_> = config
            .checkpoints
            .iter()
            .map(|c| {
                (
                    c.index,
                    c.interval,
                    c.store.to_str().unwrap(),
                    c.copy_type,
                    c.set_size,
                    c.bypass,
                    c.output,
                )
            })
            .collect();
        let expected = [
            (0, 1, "/dev/shm", CopyType::Single, 1, Bypass::No, false),
            (1, 4, "/dev/shm2", CopyType::Rs, 4, Bypass::Yes, false),
            (2, 10, "/ssd", CopyType::Xor, 16, Bypass::Yes, true),
        ];
        assert_eq!(checkpoints, expected);
        assert_eq!(config.checkpoints[2].group, "RACK");
    }

    #[test]
    fn a_store_ends_at_a_slash() {
        let (config, _) =
            resolve("STORE=/dev/shm2 COUNT=2\nSTORE=/dev/shm/deep/er COUNT=3").unwrap();
        let base =
            |path: &str| config.store_of(Path::new(path)).map(|store| store.base.to_str().unwrap());
        for (path, expected) in [
            ("/dev/shm", Some("/dev/shm")),
            ("/dev/shm/x", Some("/dev/shm")),
            ("/dev/shm2/x", Some("/dev/shm2")),
            ("/dev/shm3/x", None),
            ("/dev/shm/deep/er/x", Some("/dev/shm/deep/er")),
            ("/dev/shm/deep", Some("/dev/shm")),
            ("/dev", None),
        ] {
            assert_eq!(base(path), expected, "{path}");
        }
    }

    #[test]
    fn ckpt_lines_count_only_as_in_scr() {
        let (config, notices) = resolve("CKPT=0 INTERVAL=1 TYPE=SINGLE").unwrap();
        assert_eq!(config.checkpoints[0].copy_type, CopyType::Xor);
        insta::assert_snapshot!(told(&notices), @"u:1: CKPT lines do not count, since SCR_COPY_TYPE is XOR; set it to FILE");
        let (config, notices) = resolve("SCR_COPY_TYPE=LINES\nCKPT=0 TYPE=SINGLE").unwrap();
        assert_eq!(config.checkpoints[0].copy_type, CopyType::Single);
        insta::assert_snapshot!(told(&notices), @"u:1: SCR_COPY_TYPE=LINES is taken for FILE: the CKPT lines count");
    }

    #[test]
    fn what_is_not_built_is_told() {
        let file = "SCR_COPY_TYPE=FILE\nCKPT=0 TYPE=PARTNER INTERNAL=1\nCKPT=1 INTERVAL=2 TYPE=RS SET_FAILURES=3
STORE=/ssd FLUSH=PTHREAD GRUOP=NODE";
        let (config, notices) = resolve(file).unwrap();
        let types: Vec<_> = config.checkpoints.iter().map(|c| c.copy_type).collect();
        assert_eq!(types, [CopyType::Partner, CopyType::Rs]);
        insta::assert_snapshot!(told(&notices), @"
        u:4: STORE=/ssd has no key GRUOP; it has no effect; did you mean GROUP?
        u:4: STORE=/ssd FLUSH is not acted on yet: SYNC is used
        u:2: CKPT=0 has no key INTERNAL; it has no effect; did you mean INTERVAL?
        ");
    }

    #[test]
    fn wrong_values_are_named() {
        let file = "STORE=/ssd COUNT=banana ENABLED=2 GROUP=RAKC VIEW=SHARED\nCKPT=zero
CKPT=0 INTERVAL=0 TYPE=XRO STORE=$BB SET_SIZE=-1\nGROUPS=n1 NODE=x RACK=1";
        insta::assert_snapshot!(error(file), @"
        u:5: GROUPS=n1 NODE: this group is built in; choose another name
        u:2: STORE=/ssd COUNT=banana; allowed: a whole number, 0 or more
        u:2: STORE=/ssd ENABLED=2; allowed: 0 or 1
        u:2: STORE=/ssd VIEW=SHARED; allowed: one of PRIVATE, GLOBAL
        u:2: STORE=/ssd GROUP=RAKC; allowed: NODE, WORLD, or a name from the GROUPS lines; did you mean RACK?
        u:3: CKPT=zero; allowed: a whole number, 0 or more
        u:4: CKPT=0 INTERVAL=0; allowed: a whole number, 1 or more
        u:4: CKPT=0 SET_SIZE=-1; allowed: a whole number, 1 or more
        u:4: CKPT=0 STORE needs $BB, which is not set in the environment
        u:4: CKPT=0 TYPE=XRO; allowed: one of SINGLE, PARTNER, XOR, RS; did you mean XOR?
        ");
    }

    #[test]
    fn sets_must_be_possible() {
        let file = "CKPT=0 TYPE=XOR SET_SIZE=1\nCKPT=1 TYPE=RS SET_SIZE=4 SET_FAILURES=4
CKPT=2 TYPE=RS SET_SIZE=255 SET_FAILURES=2\nCKPT=3 TYPE=PARTNER SET_SIZE=1";
        insta::assert_snapshot!(error(file), @"
        u:2: CKPT=0 with a set size of 1; allowed: 2 or more (or TYPE SINGLE)
        u:3: CKPT=1 with 4 failures in a set of 4; allowed: fewer failures than nodes
        u:4: CKPT=2 with 2 failures in a set of 255; allowed: 256 in sum
        u:5: CKPT=3 with a set size of 1; allowed: 2 or more (or TYPE SINGLE)
        ");
        insta::assert_snapshot!(resolve("SCR_COPY_TYPE=RS\nSCR_SET_SIZE=2").unwrap_err(), @"u:2: SCR_COPY_TYPE=RS with 2 failures in a set of 2; allowed: fewer failures than nodes");
        assert!(resolve("SCR_COPY_TYPE=SINGLE\nSCR_SET_SIZE=1").is_ok());
        insta::assert_snapshot!(resolve("SCR_SET_SIZE=1").unwrap_err(), @"u:1: SCR_COPY_TYPE=XOR with a set size of 1; allowed: 2 or more (or TYPE SINGLE)");
        insta::assert_snapshot!(resolve("SCR_COPY_TYPE=RS\nSCR_SET_FAILURES=banana").unwrap_err(), @"u:2: SCR_SET_FAILURES=banana; allowed: a whole number, 1 or more");
        insta::assert_snapshot!(resolve("SCR_COPY_TYPE=RS\nSCR_SET_FAILURES=0").unwrap_err(), @"u:2: SCR_SET_FAILURES=0; allowed: a whole number, 1 or more");
        insta::assert_snapshot!(resolve("SCR_SET_SIZE=banana").unwrap_err(), @"u:1: SCR_SET_SIZE=banana; allowed: a whole number, 1 or more");
        insta::assert_snapshot!(resolve("SCR_COPY_TYPE=banana").unwrap_err(), @"u:1: SCR_COPY_TYPE=banana; allowed: one of SINGLE, PARTNER, XOR, RS, FILE");
    }

    #[test]
    fn stores_must_be_there() {
        let file = "STORE=/ssd COUNT=0\nCKPT=0 STORE=/ssd\nCKPT=1 STORE=/ssd2";
        insta::assert_snapshot!(error(file), @"
        u:3: CKPT=0 STORE=/ssd; this store keeps no dataset (COUNT=0)
        u:4: CKPT=1 STORE=/ssd2; allowed: a path in one of the stores: /dev/shm, /ssd
        ");
    }

    #[test]
    fn some_line_must_count_for_every_checkpoint() {
        insta::assert_snapshot!(error(""), @"u:1: SCR_COPY_TYPE=FILE needs CKPT lines, and there are none");
        insta::assert_snapshot!(error("CKPT=0 INTERVAL=2\nCKPT=1 ENABLED=0"), @"u:3: none of the CKPT lines that count has INTERVAL=1; add CKPT=0 INTERVAL=1 TYPE=XOR or the like");
    }
}
