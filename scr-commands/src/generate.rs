// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the installation puts beside the commands, made from what they know of themselves: manual pages, completions for
//! shells, and a configuration file with every parameter.

use crate::{exit, output};
use clap::Command;
use clap_complete::Shell;
use scr_core::{Error, Result};
use std::path::PathBuf;

/// Arguments of `scr man`.
#[derive(clap::Args, Debug)]
pub(crate) struct ManArguments {
    /// An existing directory
    directory: PathBuf,
}

/// Arguments of `scr completions`.
#[derive(clap::Args, Debug)]
pub(crate) struct CompletionsArguments {
    /// The shell that will read them
    shell: Shell,
}

/// Writes a page for `scr` and one for each command that is not hidden: `scr-run.1`, ...
pub(crate) fn man(command: Command, arguments: &ManArguments) -> Result<u8> {
    clap_mangen::generate_to(command.disable_help_subcommand(true), &arguments.directory)
        .map_err(|error| Error::io("write manual pages into", &arguments.directory, &error))?;
    Ok(exit::SUCCESS)
}

/// Prints what a shell needs to complete the commands.
pub(crate) fn completions(command: &mut Command, arguments: &CompletionsArguments) -> Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "scr", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(exit::SUCCESS)
}

/// Prints a configuration file that changes nothing.
pub(crate) fn default_config() -> Result<u8> {
    output::print(&scr_core::config::template())?;
    Ok(exit::SUCCESS)
}
