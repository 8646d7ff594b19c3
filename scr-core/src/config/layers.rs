// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where settings come from, and which of them counts.
//!
//! The first that has a parameter wins: environment, user file, calls of `SCR_Config`, system file, default. Of STORE,
//! CKPT and GROUPS all lines come from one source, the first that has any; the environment has none, since a variable
//! called `STORE` or `GROUPS` is more likely somebody else's.
//!
//! Nothing here reads files or the environment: the caller brings both, as text.

use super::call::Request;
use super::expand::{Environment, Escapes, Word, expand};
use super::layer::{Entry, Layer, is_descriptor};
use super::report::{Notice, Report};
use super::{Config, Source, file, resolve, table};
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// The user's file where `SCR_CONF_FILE` names none, below the prefix.
const USER_FILE: &str = ".scrconf";

/// All sources of settings.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    working_directory: PathBuf,
    environment: Environment,
    user: FileLayer,
    calls: Layer,
    system: FileLayer,
}

/// A file, and what was wrong with it.
#[derive(Clone, Debug, Default)]
struct FileLayer {
    layer: Layer,
    problems: Vec<String>,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value, variables expanded.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

impl Layers {
    /// Begins with the environment; relative paths start at `working_directory`, which is also the default prefix.
    pub fn new(
        working_directory: impl Into<PathBuf>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut layers = Self { working_directory: working_directory.into(), ..Self::default() };
        layers.set_environment(environment);
        layers
    }

    /// Replaces the environment: a program may change it between two calls.
    pub fn set_environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        self.environment = environment.into_iter().collect();
    }

    /// The file that [`set_user_file`](Self::set_user_file) should get: `SCR_CONF_FILE`, else `.scrconf` in the prefix,
    /// as the environment and the calls so far say. Ask again after each call that changes something.
    pub fn user_file(&self) -> PathBuf {
        if let Some(named) = self.named_user_file() {
            return self.absolute(Path::new(&named.value));
        }
        let prefix =
            self.outside_files("SCR_PREFIX").map_or_else(String::new, |prefix| prefix.value);
        self.absolute(&Path::new(&prefix).join(USER_FILE))
    }

    /// The setting of `SCR_CONF_FILE`: a user who named a file should hear when it cannot be read.
    pub fn named_user_file(&self) -> Option<Setting> {
        self.outside_files("SCR_CONF_FILE")
    }

    /// Takes the text of the user's file, empty where there is none.
    pub fn set_user_file(&mut self, path: &Path, text: &str) {
        self.user = self.read(path, text);
    }

    /// Takes the text of the system's file, empty where there is none.
    pub fn set_system_file(&mut self, path: &Path, text: &str) {
        self.system = self.read(path, text);
    }

    /// Carries out a string of `SCR_Config`; a query gives the value, if there is exactly one.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`](crate::ErrorKind::Misuse) when the string is none that `SCR_Config` takes.
    pub fn call(&mut self, text: &str) -> Result<Option<String>> {
        Ok(self.apply(Request::parse(text)?))
    }

    /// Carries out a request; a query gives the value, if there is exactly one. Defaults do not count.
    pub fn apply(&mut self, request: Request) -> Option<String> {
        match request {
            Request::Nothing => return None,
            Request::Query { key } => return self.only_value(&key),
            Request::QueryChild { key, value, child } => {
                let value = self.expand(&value).text;
                let mut entries = self.lines(&key).iter().rev();
                let entry = entries.find(|entry| entry.value.text == value)?;
                return entry.children.get(&child).map(|word| word.text.clone());
            }
            Request::Unset { key } => self.calls.remove(&key),
            Request::UnsetChild { key, value, child } => {
                let value = self.expand(&value).text;
                self.calls.remove_child(&key, &value, &child);
            }
            Request::Set { key, value, children } => {
                let merge = !children.is_empty();
                let children: BTreeMap<_, _> =
                    children.into_iter().map(|(key, value)| (key, self.expand(&value))).collect();
                let entry = Entry { value: self.expand(&value), children, source: Source::Call };
                if merge {
                    self.calls.add(key, entry);
                } else {
                    self.calls.replace(key, entry);
                }
            }
        }
        None
    }

    /// What a parameter is set to, its default included.
    pub fn setting(&self, name: &str) -> Option<Setting> {
        let default = || {
            let value = table::find(name)?.default?.to_string();
            Some(Setting { value, source: Source::Default })
        };
        self.find(name).map(|(word, source)| Setting { value: word.text, source }).or_else(default)
    }

    /// Checks everything, and returns the configuration with what a user should know of it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) with one line for each thing that is wrong.
    pub fn resolve(&self) -> Result<(Config, Vec<Notice>)> {
        let problems = self.user.problems.iter().chain(&self.system.problems).cloned().collect();
        let mut report = Report { problems, notices: Vec::new() };
        let config = resolve::config(self, &mut report);
        report.finish(config)
    }

    /// The lines of a descriptor, or the values of any key, from the first source that has any.
    pub(super) fn lines(&self, key: &str) -> &[Entry] {
        let layers = self.written().map(|layer| layer.get(key));
        layers.into_iter().find(|entries| !entries.is_empty()).unwrap_or_default()
    }

    /// The word that counts for a parameter, and its source.
    pub(super) fn find(&self, name: &str) -> Option<(Word, Source)> {
        self.variable(name).map(|word| (word, Source::Environment)).or_else(|| {
            let mut entries = self.written().into_iter().filter_map(|layer| layer.last(name));
            entries.next().map(|entry| (entry.value.clone(), entry.source.clone()))
        })
    }

    /// Files and calls, the first to count first.
    pub(super) fn written(&self) -> [&Layer; 3] {
        [&self.user.layer, &self.calls, &self.system.layer]
    }

    /// The names of all environment variables.
    pub(super) fn variables(&self) -> impl Iterator<Item = &str> {
        self.environment.keys().map(String::as_str)
    }

    /// `path` from the root, without `.`, `..` and double slashes; by its words alone, as SCR does it.
    pub(super) fn absolute(&self, path: &Path) -> PathBuf {
        let mut absolute = PathBuf::from("/");
        for part in self.working_directory.join(path).components() {
            match part {
                Component::ParentDir => {
                    absolute.pop();
                }
                Component::Normal(name) => absolute.push(name),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        absolute
    }

    fn read(&self, path: &Path, text: &str) -> FileLayer {
        let mut report = Report::default();
        let layer = file::parse(path, text, &self.environment, &mut report);
        FileLayer { layer, problems: report.problems }
    }

    fn only_value(&self, key: &str) -> Option<String> {
        if let Some(word) = self.variable(key) {
            return Some(word.text);
        }
        match self.lines(key) {
            [entry] => Some(entry.value.text.clone()),
            _ => None,
        }
    }

    /// An environment variable; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<Word> {
        let value = self.environment.get(name).filter(|value| !value.is_empty())?;
        (!is_descriptor(name)).then(|| Word::plain(self.expand(value).text))
    }

    /// What environment and calls say of what decides which file is read.
    fn outside_files(&self, name: &str) -> Option<Setting> {
        let environment = self.variable(name).map(|word| (word, Source::Environment));
        let call = || Some((self.calls.last(name)?.value.clone(), Source::Call));
        let (word, source) = environment.or_else(call)?;
        Some(Setting { value: word.text, source })
    }

    /// Expands as the environment and calls do: what is not set becomes nothing.
    fn expand(&self, raw: &str) -> Word {
        Word::plain(expand(raw, &self.environment, Escapes::None).text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(environment: &[(&str, &str)]) -> Layers {
        let own = environment.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string()));
        Layers::new("/scratch", own)
    }

    fn answer(layers: &mut Layers, text: &str) -> Option<String> {
        layers.call(text).unwrap()
    }

    #[test]
    fn calls_answer_as_scr_does() {
        let mut layers = layers(&[("SCR_LOG_DB_NAME", "dbname2"), ("VAR_A", "value a")]);
        for (text, expected) in [
            ("", None),
            ("DEBUG", None),
            ("FOOBAR", None),
            ("DEBUG=1", None),
            ("DEBUG", Some("1")),
            ("DEBUG =0", None),
            ("DEBUG", Some("0")),
            ("DEBUG=", None),
            ("DEBUG", None),
            ("STORE= /dev/shm/foo GROUP = NODE COUNT  =1", None),
            ("STORE", Some("/dev/shm/foo")),
            ("STORE= /dev/shm/foo COUNT", Some("1")),
            ("STORE=/dev/shm/foo GROUP", Some("NODE")),
            ("STORE=/dev/shm/foo MKDIR", None),
            ("STORE=/dev/shm/bar COUNT", None),
            ("STORE=/dev/shm/foo COUNT=2", None),
            ("STORE=/dev/shm/foo COUNT", Some("2")),
            ("STORE=/dev/shm/foo GROUP", Some("NODE")),
            ("STORE=/dev/shm/foo COUNT=", None),
            ("STORE=/dev/shm/foo COUNT", None),
            ("STORE=/dev/shm GROUP=NODE", None),
            ("STORE", None),
            ("STORE=", None),
            ("STORE", None),
            ("CKPT=1 FOOBAR", None),
            ("SCR_CACHE_BASE==/x", None),
            ("SCR_CACHE_BASE", Some("=/x")),
            ("SCR_LOG_DB_NAME=dbname1", None),
            ("SCR_LOG_DB_NAME", Some("dbname2")),
            ("SCR_JOB_NAME=$VAR_A${VAR_C}:", None),
            ("SCR_JOB_NAME", Some("value a:")),
            ("SCR_FLUSH", None),
        ] {
            assert_eq!(answer(&mut layers, text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_first_source_wins() {
        let name = "SCR_FLUSH";
        let mut layers = layers(&[("SCR_DEBUG", "")]);
        let expect = |layers: &Layers, value: &str, source: &str| {
            let setting = layers.setting(name).unwrap();
            assert_eq!(
                (setting.value.as_str(), setting.source.to_string().as_str()),
                (value, source)
            );
        };
        expect(&layers, "10", "default");
        layers.set_system_file(Path::new("/etc/scr.conf"), "\nSCR_FLUSH=1");
        expect(&layers, "1", "/etc/scr.conf:2");
        layers.call("SCR_FLUSH=2").unwrap();
        expect(&layers, "2", "SCR_Config");
        layers.set_user_file(Path::new("/p/.scrconf"), "SCR_FLUSH=3\nSCR_FLUSH=4");
        expect(&layers, "4", "/p/.scrconf:2");
        layers.set_environment([(name.to_string(), "5".to_string())]);
        expect(&layers, "5", "environment");
        layers.set_environment([(name.to_string(), String::new())]);
        expect(&layers, "4", "/p/.scrconf:2");
    }

    #[test]
    fn lines_of_a_descriptor_come_from_one_source() {
        let mut layers = layers(&[("STORE", "/elsewhere")]);
        layers.set_system_file(
            Path::new("s"),
            "STORE=/a COUNT=1\nSTORE=/b COUNT=1\nGROUPS=n1 RACK=1",
        );
        layers.call("STORE=/a COUNT=7").unwrap();
        assert_eq!(layers.lines("STORE").len(), 1);
        assert_eq!(layers.lines("GROUPS").len(), 1);
        assert_eq!(answer(&mut layers, "STORE").as_deref(), Some("/a"));
        layers.call("STORE=").unwrap();
        assert_eq!(layers.lines("STORE").len(), 2);
    }

    #[test]
    fn environment_and_calls_choose_the_user_file() {
        let mut layers = layers(&[("SCR_PREFIX", "")]);
        assert_eq!(layers.user_file(), Path::new("/scratch/.scrconf"));
        layers.call("SCR_PREFIX=run/../sub").unwrap();
        assert_eq!(layers.user_file(), Path::new("/scratch/sub/.scrconf"));
        layers.call("SCR_CONF_FILE=mine.toml").unwrap();
        assert_eq!(layers.user_file(), Path::new("/scratch/mine.toml"));
        layers.set_user_file(&layers.user_file(), "SCR_PREFIX = '/p'");
        assert_eq!(answer(&mut layers, "SCR_PREFIX").as_deref(), Some("/p"));
        layers.set_environment([("SCR_CONF_FILE".to_string(), "/e".to_string())]);
        assert_eq!(layers.user_file(), Path::new("/e"));
        layers.set_environment([]);
        layers.call("SCR_CONF_FILE=").unwrap();
        assert_eq!(layers.user_file(), Path::new("/scratch/sub/.scrconf"));
    }
}
