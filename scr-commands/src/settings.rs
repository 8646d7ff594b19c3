// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parameters as a job in a prefix has them: environment, the user's file, the system's file. (What the application
//! itself sets by `SCR_Config` no command knows.)

use crate::files::{absolute, optional, store};
use scr_core::config::{Config, Layers};
use scr_core::{Error, ErrorKind, Result};
use std::path::Path;

/// The system's file, where the build was not told another one: the same as the library's.
const SYSTEM_FILE: &str = match option_env!("SCR_CONFIG_FILE") {
    Some(path) => path,
    None => "/etc/scr.conf",
};

/// The configuration of a job in `prefix`.
///
/// # Errors
/// [`ErrorKind::Config`] when a value is wrong, or the file that `SCR_CONF_FILE` names is missing.
pub(crate) fn of(prefix: &Path) -> Result<Config> {
    let texts = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    // Which prefix it is has been settled, perhaps by an option.
    let environment = std::env::vars_os().filter_map(texts);
    let environment = environment.filter(|(name, _)| name != "SCR_PREFIX");
    let mut layers = Layers::new(absolute(prefix)?, environment);
    layers.set_system_file(
        Path::new(SYSTEM_FILE),
        &text(Path::new(SYSTEM_FILE))?.unwrap_or_default(),
    );
    let path = layers.user_file();
    let found = text(&path)?;
    if let (None, Some(named)) = (&found, layers.named_user_file()) {
        let message = format!("{}: no such file {}", named.source, path.display());
        return Err(Error::new(ErrorKind::Config, message));
    }
    layers.set_user_file(&path, &found.unwrap_or_default());
    Ok(Config { prefix: absolute(prefix)?, ..layers.resolve()?.0 })
}

fn text(path: &Path) -> Result<Option<String>> {
    let bytes = optional(store().read(path))?;
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
}
