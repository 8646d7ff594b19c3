// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration as the library has it: from the environment, the user's file and the system's.
//!
//! What the application sets by `SCR_Config` is not seen here. The sources can be sent to other nodes, where they come to
//! the same, but for what is a node's own.

use crate::environment;
use crate::files::{absolute, optional, store};
use scr_core::config::{Config, Layers, Notice};
use scr_core::host::{JobInfo, NO_JOB_ID};
use scr_core::id::{JobId, NodeName, UserName};
use scr_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The system's file, where the build was not told another one.
const SYSTEM_FILE: &str = match option_env!("SCR_CONFIG_FILE") {
    Some(path) => path,
    None => "/etc/scr.conf",
};

/// Where the id of the allocation is looked for, in this order; the library has the same table.
const JOB_ID: &[&str] =
    &["SCR_JOB_ID", "SLURM_JOB_ID", "SLURM_JOBID", "FLUX_JOB_ID", "LSB_JOBID", "PBS_JOBID"];
/// Where the name of the user is looked for.
const USER: &[&str] = &["SCR_USER_NAME", "USER", "LOGNAME"];
/// Where the name of the node is looked for.
const NODE: &[&str] = &["SCR_NODE", "SLURMD_NODENAME"];
/// Where the end of the allocation, in seconds since 1970, is looked for.
const END_TIME: &[&str] = &["SCR_END_TIME", "SLURM_JOB_END_TIME"];
/// Node-local directories: a node's own where it has them.
const OWN_FIRST: &[&str] = &["SCR_CNTL_BASE", "SCR_CACHE_BASE"];

/// What the names of parameters begin with that only a database needs; one is a password.
const OF_DATABASE: &str = "SCR_LOG_DB_";

/// Everything that the configuration is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    user: (PathBuf, String),
    system: (PathBuf, String),
}

impl Settings {
    /// Reads what this process sees, with another prefix where one is given.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when a file that `SCR_CONF_FILE` names is not there, or is not text.
    pub(crate) fn read(prefix: Option<&Path>) -> Result<Self> {
        let directory = std::env::current_dir()
            .map_err(|error| Error::io("find the working directory", ".", &error))?;
        Self::from(directory, environment::all(), prefix)
    }

    fn from(
        directory: PathBuf,
        mut environment: BTreeMap<String, String>,
        prefix: Option<&Path>,
    ) -> Result<Self> {
        if let Some(prefix) = prefix {
            let text = prefix.to_str().ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("{} is not UTF-8", prefix.display()))
            })?;
            environment.insert("SCR_PREFIX".into(), text.into());
        }
        let nothing = (PathBuf::new(), String::new());
        let system =
            (PathBuf::from(SYSTEM_FILE), text(Path::new(SYSTEM_FILE))?.unwrap_or_default());
        let mut settings = Self { directory, environment, user: nothing, system };
        let layers = settings.layers();
        let path = layers.user_file();
        let found = text(&path)?;
        if let (None, Some(named)) = (&found, layers.named_user_file()) {
            let message = format!("{}: no such file {}", named.source, path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        settings.user = (path, found.unwrap_or_default());
        Ok(settings)
    }

    fn layers(&self) -> Layers {
        let mut layers = Layers::new(&self.directory, self.environment.clone());
        layers.set_system_file(&self.system.0, &self.system.1);
        layers.set_user_file(&self.user.0, &self.user.1);
        layers
    }

    /// The configuration, and what a user should know of it.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when something in it is wrong.
    pub(crate) fn resolve(&self) -> Result<(Config, Vec<Notice>)> {
        self.layers().resolve()
    }

    /// The same on another node, whose environment is `own`.
    #[must_use]
    pub(crate) fn on_node(mut self, own: &BTreeMap<String, String>) -> Self {
        for name in NODE {
            self.environment.remove(*name);
        }
        for name in NODE.iter().chain(OWN_FIRST) {
            if let Some(value) = own.get(*name) {
                self.environment.insert((*name).to_string(), value.clone());
            }
        }
        self
    }

    /// Without what is not needed to resolve it: an environment holds secrets, and much that is of no use elsewhere. Others
    /// may see the arguments of an agent, so there must be no password among them.
    #[must_use]
    pub(crate) fn for_others(mut self) -> Self {
        let is_secret = |text: &str| text.to_ascii_uppercase().contains(OF_DATABASE);
        for text in [&mut self.user.1, &mut self.system.1] {
            // The lines that are left keep their numbers.
            let lines = text.lines().map(|line| if is_secret(line) { "" } else { line });
            *text = lines.flat_map(|line| [line, "\n"]).collect();
        }
        self.environment.retain(|name, _| !is_secret(name));
        let names: Vec<String> = self.environment.keys().cloned().collect();
        let ours = |name: &str| name.starts_with("SCR_");
        let known = [JOB_ID, USER, NODE, END_TIME].concat();
        let mut texts = vec![self.user.1.clone(), self.system.1.clone()];
        texts.extend(self.environment.iter().filter(|(n, _)| ours(n)).map(|(_, v)| v.clone()));
        // Values may refer to any variable.
        let is_named = |name: &str| texts.iter().any(|t| t.contains('$') && t.contains(name));
        for name in names {
            if !ours(&name) && !known.contains(&name.as_str()) && !is_named(&name) {
                self.environment.remove(&name);
            }
        }
        self
    }

    /// The job, as the library would see it on this node.
    pub(crate) fn job(&self) -> JobInfo {
        let layers = self.layers();
        let first = |names: &[&str]| {
            // A parameter counts from wherever it was set.
            let value = |name: &str| {
                if name.starts_with("SCR_") {
                    layers.setting(name).map(|setting| setting.value)
                } else {
                    self.environment.get(name).cloned()
                }
            };
            names.iter().find_map(|name| value(name).filter(|value| !value.is_empty()))
        };
        let uid = || rustix::process::getuid().as_raw().to_string();
        JobInfo {
            job_id: JobId::new(first(JOB_ID).unwrap_or_else(|| NO_JOB_ID.to_string())),
            user: UserName::new(first(USER).unwrap_or_else(uid)),
            node: node(&self.environment),
            end_unix_seconds: first(END_TIME).and_then(|text| text.trim().parse().ok()),
        }
    }
}

/// The configuration of a job in `prefix`, whatever `SCR_PREFIX` says.
///
/// # Errors
/// [`ErrorKind::Config`] when something in it is wrong, or the file that `SCR_CONF_FILE` names is missing.
pub(crate) fn of(prefix: &Path) -> Result<Config> {
    let prefix = absolute(prefix)?;
    let settings = Settings::read(Some(&prefix))?;
    Ok(Config { prefix, ..settings.resolve()?.0 })
}

/// The name of a node whose environment this is.
pub(crate) fn node(own: &BTreeMap<String, String>) -> NodeName {
    let named = NODE.iter().find_map(|name| own.get(*name).filter(|value| !value.is_empty()));
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    NodeName::new(named.cloned().unwrap_or_else(host))
}

/// The text of a file, or `None` where there is none.
fn text(path: &Path) -> Result<Option<String>> {
    let bytes = optional(store().read(path)).context(|| "read the configuration")?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| Error::new(ErrorKind::Config, format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_in_the_prefix_counts() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(of(place.path()).unwrap().halt_seconds, 0);
        let file = place.path().join(".scrconf");
        store().append(&file, b"SCR_HALT_SECONDS=300\nSCR_PREFIX=/elsewhere\n").unwrap();
        let config = of(place.path()).unwrap();
        assert_eq!((config.halt_seconds, config.prefix.as_path()), (300, place.path()));
        store().append(&file, b"SCR_HALT_SECONDS=soon\n").unwrap();
        assert_eq!(of(place.path()).unwrap_err().kind(), ErrorKind::Config);
    }

    fn variables(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    fn settings(of: &[(&str, &str)]) -> Settings {
        Settings::from("/w".into(), variables(of), None).unwrap()
    }

    #[test]
    fn files_are_found_as_the_library_finds_them() {
        let place = tempfile::tempdir().unwrap();
        let prefix = place.path();
        store().append(&prefix.join(".scrconf"), b"SCR_CACHE_BASE=/a\nSCR_JOB_ID=mine\n").unwrap();
        store().append(&prefix.join("other"), b"SCR_CACHE_BASE=/b\n").unwrap();
        let read = |of: &[(&str, &str)]| Settings::from("/w".into(), variables(of), Some(prefix));
        let found = read(&[("SCR_PREFIX", "/nowhere")]).unwrap();
        let (config, _) = found.resolve().unwrap();
        assert_eq!(
            (config.cache_base.as_path(), config.prefix.as_path()),
            (Path::new("/a"), prefix)
        );
        assert_eq!(found.job().job_id.as_str(), "mine");
        let other = prefix.join("other");
        let found = read(&[("SCR_CONF_FILE", other.to_str().unwrap())]).unwrap();
        assert_eq!(found.resolve().unwrap().0.cache_base, Path::new("/b"));
        let missing = read(&[("SCR_CONF_FILE", "/nowhere/at/all")]);
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_node_keeps_what_is_its_own() {
        let here = settings(&[
            ("SCR_NODE", "v0"),
            ("SLURMD_NODENAME", "n0"),
            ("SCR_CACHE_BASE", "/cache/v0"),
            ("SCR_CNTL_BASE", "/cntl/v0"),
            ("SLURM_JOB_ID", "7"),
            ("USER", "ann"),
        ]);
        let own = variables(&[("SLURMD_NODENAME", "n1"), ("SCR_CACHE_BASE", "/cache/v1")]);
        let there = here.clone().on_node(&own);
        let (config, _) = there.resolve().unwrap();
        assert_eq!(config.cache_base, Path::new("/cache/v1"));
        assert_eq!(config.control_base, Path::new("/cntl/v0"));
        let job = there.job();
        assert_eq!((job.node.as_str(), job.job_id.as_str(), job.user.as_str()), ("n1", "7", "ann"));
        assert_eq!(here.job().node.as_str(), "v0");
    }

    #[test]
    fn others_learn_only_what_they_need() {
        let whole = settings(&[
            ("SCR_CACHE_BASE", "${SCRATCH}/cache"),
            ("SCRATCH", "/s"),
            ("USER", "ann"),
            ("PASSWORD", "secret"),
            ("SCR_LOG_DB_PASS", "secret"),
        ]);
        let mut whole = whole;
        whole.user.1 = "SCR_FLUSH=3\nscr_log_db_pass = secret\nSCR_CACHE_SIZE=7".into();
        let sent = whole.clone().for_others();
        assert!(!serde_json::to_string(&sent).unwrap().contains("secret"));
        assert_eq!(sent.user.1, "SCR_FLUSH=3\n\nSCR_CACHE_SIZE=7\n");
        assert!(!sent.environment.contains_key("PASSWORD"));
        assert_eq!(sent.resolve().unwrap().0, whole.resolve().unwrap().0);
        assert_eq!(sent.job(), whole.job());
    }
}
