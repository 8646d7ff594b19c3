// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where settings come from: the environment, two files, and calls. Rank 0 reads, the others are told.
//!
//! A launcher may give each rank another environment, and a node another file: if each rank read its own, ranks could
//! plan differently and wait for each other for ever. So all of rank 0's environment goes to every rank (values may
//! refer to any variable), except for what says where a rank is.

use scr_core::comm::collective::broadcast_bytes;
use scr_core::comm::{Comm, agree};
use scr_core::config::Layers;
use scr_core::store::Store;
use scr_core::store::posix::Posix;
use scr_core::{Context, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Variables of the environment.
pub(crate) type Environment = BTreeMap<String, String>;

/// Variables that name a rank's node: never another rank's.
const OWN_ONLY: &[&str] = crate::job::NODE;

/// Node-local directories: a rank's own where it has one (`scr run` gives each virtual node its own), else rank 0's.
const OWN_FIRST: &[&str] = &["SCR_CNTL_BASE", "SCR_CACHE_BASE"];

/// The system's file, where the build was not told another one.
const SYSTEM_FILE: &str = match option_env!("SCR_CONFIG_FILE") {
    Some(path) => path,
    None => "/etc/scr.conf",
};

/// Everything that settings are made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    directory: PathBuf,
    environment: Environment,
    calls: Vec<String>,
    user: (PathBuf, String),
    system: (PathBuf, String),
}

/// The environment of this process, without what is not UTF-8.
pub(crate) fn environment() -> Environment {
    let texts = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(texts).collect()
}

/// Gives every rank the sources of rank 0, with its own node in them.
///
/// # Errors
/// [`ErrorKind::Mismatch`] when the ranks made different calls.
///
/// # Collective
/// All ranks of `comm`.
pub(crate) fn share(comm: &dyn Comm, calls: Result<&[String]>) -> Result<Sources> {
    let calls = agree(comm, calls)?;
    let own = environment();
    let encoded = match comm.rank() {
        0 => Sources::read(calls, own.clone()).and_then(|sources| sources.encode()),
        _ => Ok(Vec::new()),
    };
    let encoded = broadcast_bytes(comm, 0, agree(comm, encoded)?)?;
    let shared = Sources::decode(&encoded).and_then(|shared| shared.for_rank(calls, &own));
    agree(comm, shared)
}

impl Sources {
    /// Reads what this process sees.
    pub(crate) fn read(calls: &[String], environment: Environment) -> Result<Self> {
        let directory = std::env::current_dir()
            .map_err(|error| Error::io("find the working directory", ".", &error))?;
        let nothing = (PathBuf::new(), String::new());
        let calls = calls.to_vec();
        let mut sources =
            Self { directory, environment, calls, user: nothing.clone(), system: nothing };
        sources.system = (SYSTEM_FILE.into(), text(Path::new(SYSTEM_FILE))?.unwrap_or_default());

        let layers = sources.layers()?;
        let path = layers.user_file();
        let found = text(&path)?;
        if let (None, Some(named)) = (&found, layers.named_user_file()) {
            let message = format!("{}: no such file {}", named.source, path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        sources.user = (path, found.unwrap_or_default());
        Ok(sources)
    }

    /// The settings that these sources come to, not checked yet.
    pub(crate) fn layers(&self) -> Result<Layers> {
        let mut layers = Layers::new(&self.directory, self.environment.clone());
        layers.set_system_file(&self.system.0, &self.system.1);
        for call in &self.calls {
            layers.call(call)?;
        }
        layers.set_user_file(&self.user.0, &self.user.1);
        Ok(layers)
    }

    /// The value of a variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    /// Rank 0's sources as those of a rank that has the environment `own` and made `calls`.
    fn for_rank(mut self, calls: &[String], own: &Environment) -> Result<Self> {
        if self.calls != calls {
            let message = "SCR_Config was not called with the same texts as on rank 0";
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        for name in OWN_ONLY {
            self.environment.remove(*name);
        }
        for name in OWN_ONLY.iter().chain(OWN_FIRST) {
            if let Some(value) = own.get(*name) {
                self.environment.insert((*name).to_string(), value.clone());
            }
        }
        Ok(self)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|_| {
            let message = format!("the path {} is not UTF-8", self.directory.display());
            Error::new(ErrorKind::Config, message)
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        postcard::from_bytes(bytes).map_err(|error| {
            let message = format!("what rank 0 read did not arrive whole: {error}");
            Error::new(ErrorKind::Communication, message)
        })
    }
}

/// The text of a file, or `None` where there is none.
fn text(path: &Path) -> Result<Option<String>> {
    match Posix::new().read(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::new(ErrorKind::Config, format!("{} is not UTF-8", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| "read the configuration"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scr_core::comm::solo::Solo;

    fn variables(of: &[(&str, &str)]) -> Environment {
        of.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect()
    }

    #[test]
    fn a_rank_keeps_what_says_where_it_is() {
        let rank_0 = variables(&[
            ("SCR_NODE", "v0"),
            ("SLURMD_NODENAME", "n0"),
            ("SCR_CACHE_BASE", "/cache/v0"),
            ("SCR_CNTL_BASE", "/cntl/v0"),
            ("SCR_FLUSH", "3"),
            ("SLURM_JOB_ID", "7"),
        ]);
        let shared = Sources::read(&[], rank_0).expect("reads");
        for (own, expected) in [
            (
                &[("SCR_NODE", "v1"), ("SCR_CACHE_BASE", "/cache/v1"), ("SCR_FLUSH", "9")][..],
                &[
                    ("SCR_NODE", "v1"),
                    ("SCR_CACHE_BASE", "/cache/v1"),
                    ("SCR_CNTL_BASE", "/cntl/v0"),
                    ("SCR_FLUSH", "3"),
                    ("SLURM_JOB_ID", "7"),
                ][..],
            ),
            (
                &[][..],
                &[
                    ("SCR_CACHE_BASE", "/cache/v0"),
                    ("SCR_CNTL_BASE", "/cntl/v0"),
                    ("SCR_FLUSH", "3"),
                    ("SLURM_JOB_ID", "7"),
                ][..],
            ),
        ] {
            let rank = shared.clone().for_rank(&[], &variables(own)).expect("same calls");
            assert_eq!(rank.environment, variables(expected));
        }
    }

    #[test]
    fn other_calls_than_on_rank_0_are_a_mismatch() {
        let shared = Sources::read(&["SCR_FLUSH=1".into()], Environment::new()).expect("reads");
        let error = shared.for_rank(&["SCR_FLUSH=2".into()], &Environment::new());
        assert_eq!(error.expect_err("differs").kind(), ErrorKind::Mismatch);
    }

    #[test]
    fn sources_travel_whole() {
        let sources = Sources::read(&["SCR_FLUSH=1".into()], environment()).expect("reads");
        let bytes = sources.encode().expect("encodes");
        assert_eq!(Sources::decode(&bytes).expect("decodes"), sources);
        let half = bytes.get(..bytes.len() / 2).expect("half of it");
        assert_eq!(Sources::decode(half).expect_err("cut").kind(), ErrorKind::Communication);
    }

    #[test]
    fn files_are_found_and_a_named_one_must_be_there() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join(".scrconf");
        Posix::new().append(&file, b"SCR_FLUSH=3\n").expect("writes");
        let prefix = place.path().to_str().expect("UTF-8");
        let found = Sources::read(&[], variables(&[("SCR_PREFIX", prefix)])).expect("reads");
        assert_eq!(found.user, (file, "SCR_FLUSH=3\n".to_string()));

        let missing = format!("{prefix}/other.conf");
        let error = Sources::read(&[], variables(&[("SCR_CONF_FILE", &missing)]));
        assert_eq!(error.expect_err("not there").kind(), ErrorKind::Config);
    }

    #[test]
    fn alone_one_shares_with_oneself() {
        let calls = ["SCR_FLUSH=4".to_string()];
        let sources = share(&Solo, Ok(&calls)).expect("shares");
        assert_eq!(sources.layers().expect("layers").setting("SCR_FLUSH").expect("set").value, "4");
        let wrong = share(&Solo, Err(Error::new(ErrorKind::Misuse, "KEY VALUE")));
        assert_eq!(wrong.expect_err("kept").kind(), ErrorKind::Misuse);
    }
}
