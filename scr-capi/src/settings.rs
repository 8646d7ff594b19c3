// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `SCR_Config` is told and asked, before SCR_Init and after.

use crate::sources::{self, Sources};
use scr_core::comm::{Comm, agree};
use scr_core::config::{Config, Layers, Notice, Request};
use scr_core::{Error, ErrorKind, Result};

/// The calls of `SCR_Config`, and once SCR_Init was called, all settings of the job.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// Calls that set or unset, in their order.
    calls: Vec<String>,
    /// The first call that could not be understood: SCR_Init fails for it, once.
    wrong: Option<String>,
    /// What SCR_Init found, the same on all ranks but for what differs from node to node.
    shared: Option<Layers>,
}

impl Settings {
    /// Carries out a call. Before SCR_Init a query sees what this process sees; afterwards, what the job runs with.
    ///
    /// # Errors
    /// [`ErrorKind::Misuse`] for a text that is of no form, and for a change after SCR_Init.
    pub(crate) fn call(&mut self, text: &str, is_before_init: bool) -> Result<Option<String>> {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(error) => {
                if is_before_init {
                    self.wrong.get_or_insert_with(|| error.to_string());
                }
                return Err(error);
            }
        };
        if !request.is_change() {
            return self.ask(request, is_before_init);
        }
        if !is_before_init {
            let message = format!("{text:?} comes too late: set parameters before SCR_Init");
            return Err(Error::new(ErrorKind::Misuse, message));
        }
        self.calls.push(text.to_string());
        Ok(None)
    }

    fn ask(&mut self, request: Request, is_before_init: bool) -> Result<Option<String>> {
        match &mut self.shared {
            Some(layers) if !is_before_init => Ok(layers.apply(request)),
            _ => {
                let sources = Sources::read(&self.calls, sources::environment())?;
                Ok(sources.layers()?.apply(request))
            }
        }
    }

    /// Settles the configuration of the job: what rank 0 reads and is told, checked on every rank.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] on every rank when something is wrong, [`ErrorKind::Mismatch`] when the ranks made
    /// different calls of `SCR_Config`.
    ///
    /// # Collective
    /// All ranks of `comm`. The result is equal on all ranks, but for names of nodes and paths below them.
    pub(crate) fn settle(&mut self, comm: &dyn Comm) -> Result<Settled> {
        let calls = match self.wrong.take() {
            None => Ok(self.calls.as_slice()),
            Some(message) => Err(Error::new(ErrorKind::Misuse, message)),
        };
        let sources = sources::share(comm, calls)?;
        let layers = agree(comm, sources.layers())?;
        let (config, notices) = agree(comm, layers.resolve())?;
        self.shared = Some(layers.clone());
        Ok(Settled { config, notices, sources, layers })
    }
}

/// A configuration that every rank agrees on.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) config: Config,
    pub(crate) notices: Vec<Notice>,
    sources: Sources,
    layers: Layers,
}

impl Settled {
    /// The value of a variable: of a parameter from wherever it was set, of any other from the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        if name.starts_with("SCR_") {
            self.layers.setting(name).map(|setting| setting.value)
        } else {
            self.sources.variable(name)
        }
    }
}
