// SPDX-License-Identifier: MIT OR Apache-2.0
//! What SCR 3 left in a prefix, as far as a restart needs it. Read, and never written but for its index, from which datasets
//! are taken that were deleted.
//!
//! ```text
//! <prefix>/.scr/
//!   index.scr                       all datasets, and which is current
//!   scr.dataset.<id>/
//!     summary.scr                   the dataset once more; written when all its files are there
//!     rank2file                     a tree of files: which rank wrote what is in its leaves
//!     rank2file.<level>.<rank>
//! ```
//!
//! All are trees of strings ([`kvtree`]). As in `scr_index_api.c`, `scr_flush.c` and `scr_fetch.c` of LLNL's SCR, and
//! `kvtree_mpi_io.c` of KVTree; data files are where the application named them.

use super::dataset::DatasetHeader;
use super::kvtree::{self, Tree};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::{DatasetId, DatasetIdentity, DatasetName, Epoch, JobId, RelPath, UserName};
use serde::{Deserialize, Serialize};

const INDEX_VERSION: u64 = 2;
const SUMMARY_VERSION: u64 = 6;
/// How the identities begin that stand for datasets of SCR 3, which has none.
const IDENTITY_MARK: &[u8; 4] = b"SCR3";

/// Whether an identity stands for a dataset of SCR 3.
pub fn is_of_scr3(identity: DatasetIdentity) -> bool {
    identity.0.starts_with(IDENTITY_MARK)
}

/// What SCR 3 says of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its number.
    pub id: DatasetId,
    /// Its name.
    pub name: DatasetName,
    /// Whether one can restart from it.
    pub is_checkpoint: bool,
    /// Whether it must reach the prefix.
    pub is_output: bool,
    /// Whether all of it is in the prefix.
    pub is_complete: bool,
    /// When it was flushed, as SCR writes it: `2024-01-31T10:00:00`, by the clock and in the zone of the job.
    pub flushed: Option<String>,
    /// When a restart from it failed.
    pub failed: Option<String>,
    /// When it was started, in microseconds since 1970; 0 where not known.
    pub created_unix_micros: u64,
    /// The allocation that wrote it.
    pub job_id: Option<String>,
    /// The user who wrote it.
    pub user: Option<String>,
    /// How many files all ranks wrote.
    pub files: Option<u64>,
    /// How many bytes they have.
    pub bytes: Option<u64>,
}

/// All datasets of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Ascending by number.
    pub datasets: Vec<Dataset>,
    /// The name of the one that SCR would restart from.
    pub current: Option<String>,
}

/// A file above the leaves of a `rank2file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// How many levels are below.
    pub level: u64,
    /// How many ranks it speaks of: at the root, all.
    pub ranks: u64,
    /// What is below: the first rank of which it speaks, and what its name has after `rank2file`; ascending by rank.
    pub below: Vec<(u32, String)>,
}

/// A file of a rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path below the prefix.
    pub name: RelPath,
    /// Its length, where recorded.
    pub size_bytes: Option<u64>,
    /// Its CRC-32, where recorded.
    pub checksum: Option<u32>,
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn required(tree: &Tree, key: &str) -> Result<u64> {
    tree.number(key)?.ok_or_else(|| corrupt(format!("{key} is missing")))
}

fn check_version(tree: &Tree, known: u64) -> Result<()> {
    match required(tree, "VERSION")? {
        version if version == known => Ok(()),
        version => Err(corrupt(format!("version {version}; this library reads version {known}"))),
    }
}

/// A key that must be a number.
fn number<T: std::str::FromStr>(key: &[u8]) -> Result<T> {
    let text = kvtree::text(key);
    text.parse().map_err(|_| corrupt(format!("{text:?} is not a number")))
}

/// Decodes `index.scr`.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn index(bytes: &[u8]) -> Result<Index> {
    let tree = kvtree::decode(bytes)?;
    check_version(&tree, INDEX_VERSION)?;
    let mut datasets = Vec::new();
    for (key, entry) in tree.get("DSET").into_iter().flat_map(Tree::branches) {
        let id = DatasetId(number(key)?);
        let dataset = entry.get("DSET").map_or_else(|| Ok(Dataset::new(id)), |d| dataset(d, id));
        datasets.push(Dataset {
            is_complete: entry.number("COMPLETE")? == Some(1),
            flushed: entry.text("FLUSHED"),
            failed: entry.get("FAILED").map(|_| entry.text("FAILED").unwrap_or_default()),
            ..dataset.context(|| format!("dataset {id}"))?
        });
    }
    datasets.sort_by_key(|dataset| dataset.id);
    Ok(Index { datasets, current: tree.text("CURRENT") })
}

/// The bytes of `index.scr` without the datasets that are `gone`.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn index_without(bytes: &[u8], gone: &[DatasetId]) -> Result<Vec<u8>> {
    let mut tree = kvtree::decode(bytes)?;
    check_version(&tree, INDEX_VERSION)?;
    let stays = |key: &[u8]| number(key).map_or(true, |id| !gone.contains(&DatasetId(id)));
    if let Some(datasets) = tree.get_mut("DSET") {
        datasets.retain(|key, _| stays(key));
    }
    let mut lost = Vec::new();
    if let Some(names) = tree.get_mut("NAME") {
        names.retain(|name, entry| {
            let is_left = entry.get_mut("DSET").is_none_or(|ids| {
                ids.retain(|key, _| stays(key));
                ids.branches().next().is_some()
            });
            if !is_left {
                lost.push(name.to_vec());
            }
            is_left
        });
    }
    let was_current = |name: &[u8]| lost.iter().any(|lost| lost == name);
    if tree.value("CURRENT").is_some_and(was_current) {
        tree.retain(|key, _| key != b"CURRENT");
    }
    // What has no branches left is gone as well.
    let has_any = |branch: &Tree| branch.branches().next().is_some();
    tree.retain(|key, branch| !matches!(key, b"DSET" | b"NAME") || has_any(branch));
    Ok(kvtree::encode(&tree))
}

/// Decodes `summary.scr` of the dataset with this number.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn summary(bytes: &[u8], id: DatasetId) -> Result<Dataset> {
    let tree = kvtree::decode(bytes)?;
    check_version(&tree, SUMMARY_VERSION)?;
    let description = tree.get("DSET").ok_or_else(|| corrupt("DSET is missing"))?;
    let is_complete = tree.number("COMPLETE")? == Some(1);
    Ok(Dataset { is_complete, ..dataset(description, id)? })
}

/// A dataset as SCR describes it in several files.
fn dataset(tree: &Tree, id: DatasetId) -> Result<Dataset> {
    if let Some(own) = tree.number("ID")?.filter(|own| *own != id.0) {
        return Err(corrupt(format!("it is of dataset {own}")));
    }
    let unknown = Dataset::new(id);
    Ok(Dataset {
        name: tree.text("NAME").map_or(unknown.name, DatasetName::new),
        is_checkpoint: tree.number("FLAG_CKPT")?.unwrap_or(0) != 0,
        is_output: tree.number("FLAG_OUTPUT")?.unwrap_or(0) != 0,
        created_unix_micros: tree.number("CREATED")?.unwrap_or(0),
        job_id: tree.text("JOBID"),
        user: tree.text("USER"),
        files: tree.number("FILES")?,
        bytes: tree.number("SIZE")?,
        ..unknown
    })
}

impl Dataset {
    fn new(id: DatasetId) -> Self {
        Self {
            id,
            name: DatasetName::new(format!("scr.dataset.{id}")),
            is_checkpoint: false,
            is_output: false,
            is_complete: false,
            flushed: None,
            failed: None,
            created_unix_micros: 0,
            job_id: None,
            user: None,
            files: None,
            bytes: None,
        }
    }

    /// An identity in place of the one that SCR 3 does not have: of number, name and time.
    pub fn identity(&self) -> DatasetIdentity {
        let words = format!("{} {}", self.created_unix_micros, self.name);
        let mut identity = [0; 16];
        identity[..4].copy_from_slice(IDENTITY_MARK);
        identity[4..12].copy_from_slice(&self.id.0.to_be_bytes());
        identity[12..].copy_from_slice(&crc32fast::hash(words.as_bytes()).to_be_bytes());
        DatasetIdentity(identity)
    }

    /// The dataset as ours are described. It is older than any of ours, and how many ranks wrote it (0) only its `rank2file`
    /// says.
    pub fn header(&self) -> DatasetHeader {
        DatasetHeader {
            epoch: Epoch(0),
            id: self.id,
            identity: self.identity(),
            parent: None,
            name: self.name.clone(),
            is_checkpoint: self.is_checkpoint,
            is_output: self.is_output,
            created_unix_micros: self.created_unix_micros,
            job_id: JobId::new(self.job_id.as_deref().unwrap_or_default()),
            user: UserName::new(self.user.as_deref().unwrap_or_default()),
            ranks: 0,
        }
    }
}

impl Index {
    /// The newest dataset with this name.
    pub fn named(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().rev().find(|dataset| dataset.name.as_str() == name)
    }
}

/// Decodes `rank2file`, or a file between it and the leaves.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn branch(bytes: &[u8]) -> Result<Branch> {
    let tree = kvtree::decode(bytes)?;
    let (level, ranks) = (required(&tree, "LEVEL")?, required(&tree, "RANKS")?);
    if level == 0 {
        return Err(corrupt("a leaf where something above the leaves was expected"));
    }
    let mut below = Vec::new();
    for (key, entry) in tree.get("RANK").into_iter().flat_map(Tree::branches) {
        let suffix = entry.text("FILE").ok_or_else(|| corrupt("a branch without FILE"))?;
        let is_safe = |c: char| c == '.' || c.is_ascii_digit();
        if !suffix.starts_with('.') || !suffix.chars().all(is_safe) {
            return Err(corrupt(format!("{suffix:?} is no part of a rank2file")));
        }
        if let Some(offset) = entry.number("OFFSET")?.filter(|offset| *offset != 0) {
            return Err(corrupt(format!("{suffix} begins at {offset}, where SCR 3 writes 0")));
        }
        below.push((number(key)?, suffix));
    }
    below.sort();
    Ok(Branch { level, ranks, below })
}

/// Decodes a leaf of a `rank2file`: ranks and their files.
///
/// The number of ranks that it names is not the same thing in all versions, and not looked at.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn leaf(bytes: &[u8]) -> Result<Vec<(u32, Vec<File>)>> {
    let tree = kvtree::decode(bytes)?;
    if required(&tree, "LEVEL")? != 0 {
        return Err(corrupt("not a leaf"));
    }
    let mut ranks = Vec::new();
    for (key, entry) in tree.get("RANK").into_iter().flat_map(Tree::branches) {
        let rank = number(key)?;
        let files = entry.get("FILE").into_iter().flat_map(Tree::branches);
        let files = files.map(|(name, about)| file(name, about)).collect::<Result<_>>();
        ranks.push((rank, files.context(|| format!("files of rank {rank}"))?));
    }
    Ok(ranks)
}

fn file(name: &[u8], about: &Tree) -> Result<File> {
    let path = || kvtree::text(name);
    let name = RelPath::new(name)
        .map_err(|_| corrupt(format!("{:?} is not a path below the prefix", path())))?;
    if about.number("COMPLETE")? == Some(0) {
        return Err(corrupt(format!("{name} is not complete")));
    }
    let size_bytes = about.number("SIZE")?;
    let checksum = about.number("CRC")?.map(u32::try_from).transpose();
    let checksum = checksum.map_err(|_| corrupt(format!("CRC of {name} is too large")))?;
    Ok(File { name, size_bytes, checksum })
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
