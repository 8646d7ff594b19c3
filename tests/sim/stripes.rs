// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the blocks of a dataset lie on the nodes, read from its records: to damage exactly as much as redundancy restores.

use crate::cluster::Cluster;
use scr_core::codec::checksum;
use scr_core::codec::geometry::Geometry;
use scr_core::exec::cache::Part;
use scr_core::exec::protect::geometry_of;
use scr_core::format;
use scr_core::format::node::{NodeEnd, NodeHeader, RankSection};
use scr_core::store::mem::Mem;
use scr_core::store::{Access, Store};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// One block that is on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// `length` bytes of the stream of a rank, from `offset`.
    Data { member: usize, index: usize, offset: u64, length: u64 },
    /// Parity `slot` of a row.
    Parity { member: usize, row: u64, slot: usize, length: u64 },
}

impl Block {
    pub(crate) fn member(self) -> usize {
        match self {
            Self::Data { member, .. } | Self::Parity { member, .. } => member,
        }
    }

    fn length(self) -> u64 {
        match self {
            Self::Data { length, .. } | Self::Parity { length, .. } => length,
        }
    }
}

/// What a node holds of the dataset.
struct Member {
    node: usize,
    part: Part,
    header: NodeHeader,
    sections: Vec<RankSection>,
}

/// The stripes of a dataset that lies in one redundancy set.
pub(crate) struct Stripes {
    members: Vec<Member>,
    geometry: Geometry,
}

impl Stripes {
    /// Those of the dataset with this number, as it lies on `nodes`: the members in their order.
    pub(crate) fn of(cluster: &Cluster, nodes: &[usize], number: u64) -> Self {
        let members: Vec<Member> =
            nodes.iter().map(|&node| Member::read(&cluster.nodes[node], node, number)).collect();
        for (at, member) in members.iter().enumerate() {
            let place = member.header.place;
            assert_eq!((place.sets, place.member), (1, at as u32), "node {}", member.node);
        }
        let geometry = geometry_of(&members[0].header).unwrap();
        Self { members, geometry }
    }

    /// The blocks of every stripe, data before parity; those of zeros, which are nowhere, are left out.
    pub(crate) fn all(&self) -> Vec<Vec<Block>> {
        let geometry = &self.geometry;
        let rows = 0..geometry.rows();
        let places = rows.flat_map(|row| (0..geometry.members()).map(move |stripe| (row, stripe)));
        places.map(|(row, stripe)| self.stripe(row, stripe)).filter(|s| !s.is_empty()).collect()
    }

    fn stripe(&self, row: u64, stripe: usize) -> Vec<Block> {
        let geometry = &self.geometry;
        let data = (0..geometry.segments()).filter_map(|segment| {
            let member = geometry.contributor(stripe, segment);
            let block = geometry.data_block(member, row, stripe)?;
            let (index, offset) = (block.rank_index, block.stream_offset);
            Some(Block::Data { member, index, offset, length: block.length.into() })
        });
        let mut blocks: Vec<Block> = data.collect();
        let Some(length) = blocks.iter().map(|block| block.length()).max() else {
            return blocks;
        };
        blocks.extend((0..geometry.parities()).map(|slot| {
            let member = geometry.parity_holder(stripe, slot);
            Block::Parity { member, row, slot, length }
        }));
        blocks
    }

    /// Makes blocks of every stripe bad, so that `most` are bad or on the nodes `lost`, in turn on every member that is
    /// left; returns how many blocks of data and of parity.
    pub(crate) fn spoil(&self, cluster: &Cluster, lost: &[usize], most: usize) -> [usize; 2] {
        let is_lost = |block: &Block| lost.contains(&self.members[block.member()].node);
        let (mut spoilt, mut members) = ([0, 0], BTreeSet::new());
        for (number, stripe) in self.all().into_iter().enumerate() {
            let (gone, mut left): (Vec<_>, Vec<_>) = stripe.into_iter().partition(is_lost);
            let budget = most - gone.len();
            if !left.is_empty() {
                let turn = number % left.len();
                left.rotate_left(turn);
            }
            for block in left.into_iter().take(budget) {
                self.flip(cluster, block);
                members.insert(block.member());
                spoilt[usize::from(matches!(block, Block::Parity { .. }))] += 1;
            }
        }
        let is_everywhere = members.len() == self.members.len() - lost.len();
        assert!(is_everywhere || lost.len() >= most, "only on {members:?}");
        spoilt
    }

    /// Makes a block bad, in the middle.
    pub(crate) fn flip(&self, cluster: &Cluster, block: Block) {
        let member = &self.members[block.member()];
        let (path, at) = self.find(block, block.length() / 2);
        cluster.nodes[member.node].flip_bit(&path, at).unwrap();
    }

    /// Makes a parity block wrong, and its checksum with it: as if the data had been damaged before parity was made.
    pub(crate) fn forge(&self, cluster: &Cluster, block: Block) {
        let Block::Parity { member, row, slot, length } = block else { panic!("{block:?}") };
        self.flip(cluster, block);
        let (path, at) = self.find(block, 0);
        let parity = &cluster.nodes[self.members[member].node].read(&path).unwrap()[at as usize..];
        let lanes = self.geometry.ranks(member) as u64;
        let lane = self.geometry.lane(member, row);
        let number = (row / lanes) as usize * self.geometry.parities() + slot;
        let Member { part, header, sections, .. } = &self.members[member];
        let mut sections = sections.clone();
        sections[lane].parity_checksums[number] = checksum::block(&parity[..length as usize]);
        let mut bytes = format::encode(header);
        bytes.extend(sections.iter().flat_map(format::encode));
        let files = sections.iter().flat_map(|section| &section.files);
        let sums = files.fold((0, 0), |(n, bytes), file| (n + 1, bytes + file.size_bytes));
        let end = NodeEnd { sections: sections.len() as u32, files: sums.0, bytes: sums.1 };
        bytes.extend(format::encode(&end));
        let before = (member + self.members.len() - 1) % self.members.len();
        for (part, path) in [
            (part, part.node_path()),
            (&self.members[before].part, self.members[before].part.copy_path(member as u32)),
        ] {
            part.store.open(&path, Access::Create).unwrap().write_at(0, &bytes).unwrap();
        }
    }

    /// The file, and where in it, of byte `at` of a block.
    fn find(&self, block: Block, at: u64) -> (PathBuf, u64) {
        let Member { part, sections, .. } = &self.members[block.member()];
        match block {
            Block::Parity { row, slot, .. } => {
                (part.parity_path(), self.geometry.parity_offset(row, slot) + at)
            }
            Block::Data { index, offset, .. } => {
                let mut at = offset + at;
                for file in &sections[index].files {
                    if at < file.size_bytes {
                        return (file.name.under(&part.data_path()), at);
                    }
                    at -= file.size_bytes;
                }
                panic!("{block:?} is beyond the stream")
            }
        }
    }

    /// Every copy of a node record: node, path.
    pub(crate) fn copies(&self) -> Vec<(usize, PathBuf)> {
        let copies = self.members.iter().flat_map(|member| {
            let paths = (0..self.members.len()).map(|of| member.part.copy_path(of as u32));
            paths.map(|path| (member.node, path)).filter(|(_, path)| member.holds(path))
        });
        copies.collect()
    }
}

impl Member {
    fn read(mem: &Mem, node: usize, number: u64) -> Self {
        let stem = format!("dataset.{number}-");
        let is_part = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with(&stem)
        };
        let dirs: Vec<PathBuf> = mem.walk().into_keys().filter(is_part).collect();
        let [dir] = &dirs[..] else { panic!("dataset {number} on node {node}: {dirs:?}") };
        let part = Part { store: Arc::new(mem.clone()), dir: dir.clone() };
        let reader = part.node().unwrap();
        let mut sections = Vec::new();
        let mut take = |section| {
            sections.push(section);
            Ok(true)
        };
        reader.sections(&mut take).unwrap();
        Self { node, header: reader.header().clone(), part, sections }
    }

    fn holds(&self, path: &std::path::Path) -> bool {
        self.part.store.metadata(path).is_ok()
    }
}
