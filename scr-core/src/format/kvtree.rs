// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files of SCR 3: a tree of strings, as LLNL's KVTree packs it (`kvtree.c`, `doc/rst/users/fileformat.rst`).
//!
//! A value is a key without branches: what `SIZE = 5` means is a branch `SIZE` with one branch `5`. All integers are
//! big-endian.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 4 | magic `95 1f c3 f5` |
//! | 4 | 2 | type, 1 |
//! | 6 | 2 | version, 1 |
//! | 8 | 8 | length of the file n |
//! | 16 | 4 | flags; bit 0: there is a checksum |
//! | 20 | | tree: how many branches (4 bytes), and for each its key, ended by a zero byte, and its tree |
//! | n-4 | 4 | CRC-32 (that of zlib) of everything before, where bit 0 is set |
//!
//! Such files are only read. Nothing is believed of a length before the bytes are there, so memory stays in proportion to
//! the file.

use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;

/// First bytes of every file.
pub const MAGIC: [u8; 4] = [0x95, 0x1f, 0xc3, 0xf5];
const TYPE: u16 = 1;
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 20;
const CHECKSUM_BYTES: usize = 4;
const HAS_CHECKSUM: u32 = 1;
/// SCR needs no more than ten.
const MOST_LEVELS: u32 = 64;

/// A tree of strings. Keys are bytes, as names of files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    branches: BTreeMap<Vec<u8>, Tree>,
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

/// Whether a file that begins so is one of SCR 3.
pub fn is_kvtree(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Decodes a file.
///
/// # Errors
/// [`ErrorKind::Corrupt`], with the reason.
pub fn decode(bytes: &[u8]) -> Result<Tree> {
    let mut reader = Reader { rest: packed(bytes)? };
    let tree = reader.tree(MOST_LEVELS)?;
    if !reader.rest.is_empty() {
        return Err(corrupt(format!("{} bytes after the end of the tree", reader.rest.len())));
    }
    Ok(tree)
}

/// The packed tree in a file whose header and checksum are right.
fn packed(bytes: &[u8]) -> Result<&[u8]> {
    let cut = |needed: u64| corrupt(format!("cut short: {} of {needed} bytes", bytes.len()));
    let mut header =
        Reader { rest: bytes.get(..HEADER_BYTES).ok_or_else(|| cut(HEADER_BYTES as u64))? };
    if header.array()? != MAGIC {
        return Err(corrupt("not a file of SCR 3: wrong magic"));
    }
    let (kind, version) =
        (u16::from_be_bytes(header.array()?), u16::from_be_bytes(header.array()?));
    if (kind, version) != (TYPE, VERSION) {
        return Err(corrupt(format!(
            "type {kind}, version {version} of SCR's files; this library reads type {TYPE}, version {VERSION}"
        )));
    }
    let length = u64::from_be_bytes(header.array()?);
    let flags = u32::from_be_bytes(header.array()?);
    if (bytes.len() as u64) < length {
        return Err(cut(length));
    }
    if bytes.len() as u64 != length {
        return Err(corrupt(format!("{} bytes, its header says {length}", bytes.len())));
    }
    if flags & !HAS_CHECKSUM != 0 {
        return Err(corrupt(format!("unknown flags {flags:#x}")));
    }
    if flags & HAS_CHECKSUM == 0 {
        return Ok(&bytes[HEADER_BYTES..]);
    }
    match bytes.split_last_chunk::<CHECKSUM_BYTES>() {
        Some((body, checksum)) if body.len() >= HEADER_BYTES => {
            if crc32fast::hash(body) != u32::from_be_bytes(*checksum) {
                return Err(corrupt("does not match its checksum"));
            }
            Ok(&body[HEADER_BYTES..])
        }
        _ => Err(cut((HEADER_BYTES + CHECKSUM_BYTES) as u64)),
    }
}

/// What is not read yet.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (array, rest) =
            self.rest.split_first_chunk().ok_or_else(|| corrupt("the tree is cut short"))?;
        self.rest = rest;
        Ok(*array)
    }

    fn tree(&mut self, levels: u32) -> Result<Tree> {
        if levels == 0 {
            return Err(corrupt(format!("a tree of more than {MOST_LEVELS} levels")));
        }
        let mut tree = Tree::default();
        for _ in 0..u32::from_be_bytes(self.array()?) {
            let end = self.rest.iter().position(|&byte| byte == 0);
            let end = end.ok_or_else(|| corrupt("a key without an end"))?;
            let key = self.rest[..end].to_vec();
            self.rest = &self.rest[end + 1..];
            let branch = self.tree(levels - 1)?;
            if tree.branches.contains_key(&key) {
                return Err(corrupt(format!("two branches {:?}", text(&key))));
            }
            tree.branches.insert(key, branch);
        }
        Ok(tree)
    }
}

/// Bytes for people.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Tree {
    /// The branch with this key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.branches.get(key.as_bytes())
    }

    /// All branches, in the order of their keys.
    pub fn branches(&self) -> impl Iterator<Item = (&[u8], &Self)> {
        self.branches.iter().map(|(key, branch)| (key.as_slice(), branch))
    }

    /// The branch with this key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.branches.get_mut(key.as_bytes())
    }

    /// Keeps the branches for which `is_kept` holds.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&[u8], &mut Self) -> bool) {
        self.branches.retain(|key, branch| is_kept(key, branch));
    }

    /// The value of a key, where it has exactly one.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        let values = &self.get(key)?.branches;
        values.keys().next().filter(|_| values.len() == 1).map(Vec::as_slice)
    }

    /// The value of a key as text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.value(key).map(text)
    }

    /// The value of a key as a number, decimal or hexadecimal with `0x`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the key is there and has no value, or one that is no number.
    pub fn number(&self, key: &str) -> Result<Option<u64>> {
        if self.get(key).is_none() {
            return Ok(None);
        }
        let value = self.text(key).ok_or_else(|| corrupt(format!("{key} has no single value")))?;
        let number = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => value.parse(),
        };
        number.map(Some).map_err(|_| corrupt(format!("{key} is {value:?}, not a number")))
    }

    /// The tree for people and scripts: a key with one value as a text, with several as a list, and else as an object.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        let show = |branch: &Self| {
            let mut values: Vec<Value> =
                branch.branches.keys().map(|key| Value::String(text(key))).collect();
            match values.len() {
                0 => Value::Object(serde_json::Map::new()),
                _ if branch.branches.values().any(|value| !value.branches.is_empty()) => {
                    branch.to_json()
                }
                1 => values.remove(0),
                _ => Value::Array(values),
            }
        };
        Value::Object(self.branches.iter().map(|(key, branch)| (text(key), show(branch))).collect())
    }
}

/// Encodes a tree as SCR 3 would.
pub(crate) fn encode(tree: &Tree) -> Vec<u8> {
    fn pack(tree: &Tree, bytes: &mut Vec<u8>) {
        bytes.extend((tree.branches.len() as u32).to_be_bytes());
        for (key, branch) in &tree.branches {
            bytes.extend(key);
            bytes.push(0);
            pack(branch, bytes);
        }
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(TYPE.to_be_bytes());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend(HAS_CHECKSUM.to_be_bytes());
    pack(tree, &mut bytes);
    let length = (bytes.len() + CHECKSUM_BYTES) as u64;
    bytes[8..16].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// Reads a tree from text: a line is a branch, indented by two spaces more than what it is a branch of, and `KEY = VALUE` is
/// a branch with one more.
#[cfg(test)]
pub(crate) fn parse(text: &str) -> Tree {
    fn at<'a>(tree: &'a mut Tree, path: &[&str]) -> &'a mut Tree {
        path.iter().fold(tree, |tree, key| tree.branches.entry(key.as_bytes().into()).or_default())
    }
    let (mut tree, mut path) = (Tree::default(), Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        path.truncate(depth);
        let (key, value) = line.trim().split_once(" = ").unwrap_or((line.trim(), ""));
        path.push(key);
        let branch = at(&mut tree, &path);
        if !value.is_empty() {
            at(branch, &[value]);
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Written by hand from the description of the format, not by the encoder; the checksum is that of Python's zlib.
    const SAMPLE: &[u8] = b"\x95\x1f\xc3\xf5\0\x01\0\x01\0\0\0\0\0\0\0\x3c\0\0\0\x01\
        \0\0\0\x02RANKS\0\0\0\0\x014\0\0\0\0\0LEVEL\0\0\0\0\x011\0\0\0\0\0\xf2\x29\x23\x95";

    #[test]
    fn the_bytes_are_those_of_the_description() {
        let tree = decode(SAMPLE).unwrap();
        assert_eq!(tree, parse("LEVEL = 1\nRANKS = 4"));
        assert_eq!(decode(&encode(&tree)).unwrap(), tree);
    }

    #[test]
    fn a_file_cut_anywhere_or_longer_is_corrupt() {
        let bytes = encode(&parse("A\n  B = 1\n  C\nD = 2"));
        for length in 0..bytes.len() {
            let error = decode(&bytes[..length]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("cut short"), "at {length}: {error}");
        }
        let error = decode(&[bytes.as_slice(), b"x"].concat()).unwrap_err();
        assert!(error.to_string().contains("its header says"), "{error}");
    }

    #[test]
    fn a_file_with_any_bit_flipped_is_corrupt() {
        let bytes = encode(&parse("A\n  B = 1\n  C\nD = 2"));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes).unwrap_err().kind(), ErrorKind::Corrupt, "bit {bit}");
        }
    }

    /// A file without a checksum that holds these bytes as its tree.
    fn unchecked(tree: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([0, 1, 0, 1]);
        bytes.extend(((HEADER_BYTES + tree.len()) as u64).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(tree);
        bytes
    }

    #[test]
    fn without_a_checksum_only_a_whole_tree_counts() {
        assert_eq!(decode(&unchecked(&[0; 4])).unwrap(), Tree::default());
        let cases: [(&[u8], &str); 6] = [
            (b"\0\0", "cut short"),
            (b"\0\0\0\x01", "without an end"),
            (b"\0\0\0\x01A", "without an end"),
            (b"\xff\xff\xff\xffA\0\0\0\0\0", "without an end"),
            (b"\0\0\0\x02A\0\0\0\0\0A\0\0\0\0\0", "two branches"),
            (b"\0\0\0\0x", "1 bytes after the end"),
        ];
        for (tree, words) in cases {
            let error = decode(&unchecked(tree)).unwrap_err();
            assert!(error.to_string().contains(words), "{tree:?}: {error}");
        }
        let deep = b"\0\0\0\x01A\0".repeat(100_000);
        let error = decode(&unchecked(&deep)).unwrap_err();
        assert!(error.to_string().contains("levels"), "{error}");
    }

    #[test]
    fn values_are_read_as_what_they_must_be() {
        let tree = parse("SIZE = 12\nCRC = 0xdeadbeef\nBAD = x\nTWO\n  1\n  2\nNONE");
        assert_eq!(tree.number("SIZE").unwrap(), Some(12));
        assert_eq!(tree.number("CRC").unwrap(), Some(0xdead_beef));
        assert_eq!(tree.number("ABSENT").unwrap(), None);
        for bad in ["BAD", "TWO", "NONE"] {
            assert_eq!(tree.number(bad).unwrap_err().kind(), ErrorKind::Corrupt, "{bad}");
        }
        assert_eq!(tree.value("SIZE"), Some(&b"12"[..]));
        let json = serde_json::json!({
            "SIZE": "12", "CRC": "0xdeadbeef", "BAD": "x", "TWO": ["1", "2"], "NONE": {},
        });
        assert_eq!(tree.to_json(), json);
    }

    proptest! {
        #[test]
        fn a_tree_of_anything_never_panics(tree in prop::collection::vec(0_u8..4, 0..200)) {
            let _ = decode(&unchecked(&tree));
        }
    }
}
