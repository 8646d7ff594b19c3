// SPDX-License-Identifier: MIT OR Apache-2.0
//! One pass over the stripes of a set: row by row, ascending, in all ranks, so the lowest row not yet done can always
//! proceed. Blocks of the next row are read, and those of the row before written, while messages are under way.

use super::{BadBlock, SetMap, lost};
use crate::codec::checksum;
use crate::codec::geometry::Geometry;
use crate::codec::reed_solomon::{self, Code};
use crate::codec::repair::{Repair, repairs};
use crate::comm::{In, Out};
use crate::error::{Error, Result};
use crate::exec::Job;
use crate::exec::cache::Part;
use crate::exec::protect::geometry_of;
use crate::exec::stream::{Mode, Stream};
use crate::exec::verify::resize;
use crate::format::node::{NodeHeader, RankSection};
use crate::sabotage::{self, Fault};
use crate::store::{Access, File};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// What a pass came to, on this rank.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Blocks that it wrote.
    pub(super) restored: u64,
    /// Blocks that it read and found bad.
    pub(super) bad: BTreeSet<BadBlock>,
    /// Why something could not be restored.
    pub(super) trouble: Option<Error>,
}

/// Restores every erased block of a set once.
///
/// # Collective
/// On all ranks of `map.homes`.
pub(super) fn pass(job: &Job, map: &SetMap, geometry: &Geometry) -> Result<Done> {
    let mut pass = Pass {
        job,
        map,
        geometry,
        code: Code::new(geometry.segments(), geometry.parities()),
        hosted: BTreeMap::new(),
        known: HashMap::new(),
        spare: Vec::new(),
        done: Done::default(),
    };
    pass.open();
    pass.rows()?;
    pass.close();
    Ok(pass.done)
}

/// One block of a stripe.
#[derive(Clone, Copy, Debug)]
enum Element {
    Data { member: usize, index: usize, offset_bytes: u64, length: usize },
    Parity { member: usize, row: u64, slot: usize, length: usize },
}

impl Element {
    fn member(self) -> usize {
        match self {
            Self::Data { member, .. } | Self::Parity { member, .. } => member,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Data { length, .. } | Self::Parity { length, .. } => length,
        }
    }

    fn as_bad(self, block_bytes: u32) -> BadBlock {
        match self {
            Self::Data { member, index, offset_bytes, .. } => BadBlock::Data {
                member: member as u32,
                index: index as u32,
                block: offset_bytes / u64::from(block_bytes),
            },
            Self::Parity { member, row, slot, .. } => {
                BadBlock::Parity { member: member as u32, row, slot: slot as u32 }
            }
        }
    }
}

/// One block to be restored: from what, by whom, for whom.
#[derive(Debug)]
struct Task {
    target: Element,
    owner: usize,
    combiner: usize,
    /// Blocks to be read, each with the rank that has it and its factor.
    sources: Vec<(Element, usize, u8)>,
}

/// A row in which this rank takes part, with what it has read for it.
#[derive(Debug)]
struct Step {
    tasks: Vec<Task>,
    outbox: Vec<(usize, Vec<u8>)>,
}

/// A member that is, or will be, on this node.
struct Hosted {
    part: Part,
    is_new: bool,
    /// The streams that this rank looks after, by the position of their rank.
    streams: BTreeMap<usize, (Stream, RankSection)>,
    parity: Option<Box<dyn File>>,
}

struct Pass<'a> {
    job: &'a Job,
    map: &'a SetMap,
    geometry: &'a Geometry,
    code: Option<Code>,
    hosted: BTreeMap<usize, Hosted>,
    /// How to repair a stripe of which these positions have no bytes (0), are there (1), are erased (2).
    known: HashMap<Vec<u8>, Option<Rc<Vec<Repair>>>>,
    /// Buffers to be used again.
    spare: Vec<Vec<u8>>,
    done: Done,
}

impl Pass<'_> {
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.done.trouble.get_or_insert(error);
        }
    }

    /// Opens the streams and parity files for which this rank is responsible.
    fn open(&mut self) {
        let (lane, lanes) = (self.job.topology.lane(), self.job.topology.ranks.len());
        let mut trouble = Ok(());
        for (member, part, is_new) in self.map.hosted(self.job) {
            let bad = self.map.bad.iter().filter(|bad| bad.member() as usize == member);
            let (has_bad_data, has_bad_parity) = bad.fold((false, false), |(data, parity), bad| {
                let is_data = matches!(bad, BadBlock::Data { .. });
                (data || is_data, parity || !is_data)
            });
            let mut hosted = Hosted { part, is_new, streams: BTreeMap::new(), parity: None };
            for (index, &(rank, _)) in self.map.header.members[member].iter().enumerate() {
                if index % lanes == lane {
                    trouble = trouble.and(hosted.open_stream(index, rank, has_bad_data));
                }
            }
            match hosted.open_parity(is_new || has_bad_parity, self.geometry.parity_bytes()) {
                Ok(file) => hosted.parity = Some(file),
                Err(error) if is_new || has_bad_parity => trouble = trouble.and(Err(error)),
                // Its blocks count as bad as soon as they are needed.
                Err(_) => {}
            }
            self.hosted.insert(member, hosted);
        }
        self.note(trouble);
    }

    fn rows(&mut self) -> Result<()> {
        let world = &*self.job.topology.world;
        let (me, block) = (world.rank(), self.map.header.block_bytes as usize);
        let mut row = 0;
        let mut next = self.next_step(&mut row);
        if let Some(step) = &mut next {
            self.load(step);
        }
        let mut restored: Vec<(Element, Vec<u8>)> = Vec::new();
        while let Some(Step { tasks, outbox }) = next {
            // First, every source goes to the combiner of its stripe.
            let mut gathered: Vec<(&Task, Vec<u8>)> = Vec::new();
            for task in tasks.iter().filter(|task| task.combiner == me) {
                gathered.push((task, self.buffer(block * task.sources.len())));
            }
            let outs: Vec<Out<'_>> =
                outbox.iter().map(|(to, data)| Out { to: *to, data }).collect();
            let mut ins: Vec<In<'_>> = Vec::new();
            for (task, buffer) in &mut gathered {
                for ((element, from, _), data) in task.sources.iter().zip(buffer.chunks_mut(block))
                {
                    ins.push(In { from: *from, data: &mut data[..element.length()] });
                }
            }
            world.transfer(&outs, &mut ins, &mut || self.store(&mut restored))?;
            drop(ins);
            self.spare.extend(outbox.into_iter().map(|(_, data)| data));

            // Then the result goes to the owner of the erased block.
            let mut results: Vec<(usize, Vec<u8>)> = Vec::new();
            for (task, mut buffer) in gathered {
                let lengths: Vec<usize> = task.sources.iter().map(|(e, ..)| e.length()).collect();
                let factors: Vec<u8> = task.sources.iter().map(|&(.., factor)| factor).collect();
                let sum = reed_solomon::combine(&factors, &lengths, &mut buffer, block);
                let mut result = self.buffer(task.target.length());
                let length = sum.len().min(result.len());
                result[..length].copy_from_slice(&sum[..length]);
                result[length..].fill(0);
                results.push((task.owner, result));
                self.spare.push(buffer);
            }
            for task in tasks.iter().filter(|task| task.owner == me) {
                restored.push((task.target, self.buffer(task.target.length())));
            }
            let outs: Vec<Out<'_>> =
                results.iter().map(|(to, data)| Out { to: *to, data }).collect();
            let owned = tasks.iter().filter(|task| task.owner == me);
            let mut ins: Vec<In<'_>> = owned
                .zip(&mut restored)
                .map(|(task, (_, data))| In { from: task.combiner, data })
                .collect();
            next = self.next_step(&mut row);
            world.transfer(&outs, &mut ins, &mut || {
                if let Some(step) = &mut next {
                    self.load(step);
                }
            })?;
            drop(ins);
            self.spare.extend(results.into_iter().map(|(_, data)| data));
        }
        self.store(&mut restored);
        Ok(())
    }

    /// The next row in which this rank takes part.
    fn next_step(&mut self, row: &mut u64) -> Option<Step> {
        let me = self.job.topology.world.rank();
        while *row < self.geometry.rows() {
            let mut tasks = Vec::new();
            for stripe in 0..self.geometry.members() {
                self.add_tasks(*row, stripe, &mut tasks);
            }
            *row += 1;
            let has_part = |task: &Task| {
                [task.owner, task.combiner].contains(&me)
                    || task.sources.iter().any(|&(_, rank, _)| rank == me)
            };
            tasks.retain(has_part);
            if !tasks.is_empty() {
                return Some(Step { tasks, outbox: Vec::new() });
            }
        }
        None
    }

    fn add_tasks(&mut self, row: u64, stripe: usize, tasks: &mut Vec<Task>) {
        let elements = elements(self.geometry, row, stripe);
        let state = |element: &Option<Element>| match element {
            None => 0,
            Some(element) => 1 + u8::from(self.is_erased(*element)),
        };
        let states: Vec<u8> = elements.iter().map(state).collect();
        if !states.contains(&2) {
            return;
        }
        let Some(repairs) = self.repairs(&elements, states) else {
            let scheme = self.map.header.place.scheme;
            let erased = elements.iter().flatten().filter(|e| self.is_erased(**e)).count();
            let text = format!(
                "{erased} blocks of one stripe are lost or bad, {scheme} restores {}",
                scheme.tolerance()
            );
            return self.note(Err(lost(text)));
        };
        for repair in &*repairs {
            let Some(target) = elements[repair.target] else { continue };
            let found = repair.sources.iter().filter_map(|&(position, factor)| {
                let element = elements[position]?;
                Some((element, self.rank_of(element), factor))
            });
            let sources: Vec<_> = found.collect();
            let owner = self.rank_of(target);
            let combiner = sources.get(stripe % sources.len().max(1)).map_or(owner, |s| s.1);
            tasks.push(Task { target, owner, combiner, sources });
        }
    }

    fn repairs(
        &mut self,
        elements: &[Option<Element>],
        states: Vec<u8>,
    ) -> Option<Rc<Vec<Repair>>> {
        if let Some(known) = self.known.get(&states) {
            return known.clone();
        }
        // Only whether there are bytes matters here.
        let bytes: Vec<usize> = elements.iter().map(|e| usize::from(e.is_some())).collect();
        let erased: Vec<usize> = (0..states.len()).filter(|&p| states[p] == 2).collect();
        let found = self.code.as_ref().and_then(|code| repairs(code, &bytes, &erased));
        let found = found.map(Rc::new);
        self.known.insert(states, found.clone());
        found
    }

    fn is_erased(&self, element: Element) -> bool {
        self.map.missing.contains(&(element.member() as u32))
            || self.map.bad.contains(&element.as_bad(self.map.header.block_bytes))
    }

    /// The rank that reads and writes a block: the one that looks after the section with its checksum.
    fn rank_of(&self, element: Element) -> usize {
        let index = match element {
            Element::Data { index, .. } => index,
            Element::Parity { member, row, .. } => self.geometry.lane(member, row),
        };
        let home = &self.map.homes[element.member()];
        home[index % home.len()] as usize
    }

    fn buffer(&mut self, bytes: usize) -> Vec<u8> {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.resize(bytes, 0);
        buffer
    }

    /// Reads this rank's sources of a row.
    fn load(&mut self, step: &mut Step) {
        let me = self.job.topology.world.rank();
        for task in &step.tasks {
            for &(element, _, _) in task.sources.iter().filter(|&&(_, rank, _)| rank == me) {
                let mut data = self.buffer(element.length());
                if !self.read(element, &mut data) {
                    data.fill(0);
                    self.done.bad.insert(element.as_bad(self.map.header.block_bytes));
                }
                step.outbox.push((task.combiner, data));
            }
        }
    }

    /// Reads a block; `false` when it cannot be read or does not match its checksum.
    fn read(&mut self, element: Element, data: &mut [u8]) -> bool {
        let Some(hosted) = self.hosted.get_mut(&element.member()) else { return false };
        let read = match element {
            Element::Data { index, offset_bytes, .. } => match hosted.streams.get_mut(&index) {
                Some((stream, _)) => stream.read(offset_bytes, data).is_ok(),
                None => false,
            },
            Element::Parity { row, slot, .. } => hosted.parity.as_ref().is_some_and(|file| {
                let at = self.geometry.parity_offset(row, slot);
                file.read_at(at, data).is_ok_and(|got| got == data.len())
            }),
        };
        read && (sabotage::active(Fault::SkipSourceCheck) || self.matches(element, data))
    }

    /// Whether a block matches its checksum, where there are checksums.
    fn matches(&self, element: Element, data: &[u8]) -> bool {
        let header = &self.map.header;
        if !header.has_checksums || sabotage::active(Fault::IgnoreDataChecksum) {
            return true;
        }
        let Some(hosted) = self.hosted.get(&element.member()) else { return false };
        let section = |index: usize| hosted.streams.get(&index).map(|(_, section)| section);
        let expected = match element {
            Element::Data { index, offset_bytes, .. } => {
                let number = (offset_bytes / u64::from(header.block_bytes)) as usize;
                section(index).and_then(|section| section.data_checksums.get(number))
            }
            Element::Parity { member, row, slot, .. } => {
                let (lanes, parities) = (self.geometry.ranks(member), self.geometry.parities());
                let number = (row / lanes as u64) as usize * parities + slot;
                let section = section(self.geometry.lane(member, row));
                section.and_then(|section| section.parity_checksums.get(number))
            }
        };
        expected == Some(&checksum::block(data))
    }

    /// Compares restored blocks with their checksums and writes them.
    fn store(&mut self, restored: &mut Vec<(Element, Vec<u8>)>) {
        for (element, data) in restored.drain(..) {
            let is_unchecked = sabotage::active(Fault::SkipRestoredCheck);
            let stored = if is_unchecked || self.matches(element, &data) {
                self.write(element, &data)
            } else {
                Err(lost("a restored block does not match its checksum"))
            };
            self.note(stored);
            self.done.restored += 1;
            self.spare.push(data);
        }
    }

    fn write(&mut self, element: Element, data: &[u8]) -> Result<()> {
        let Some(hosted) = self.hosted.get_mut(&element.member()) else { return Ok(()) };
        match element {
            Element::Data { index, offset_bytes, .. } => match hosted.streams.get_mut(&index) {
                Some((stream, _)) => stream.write(offset_bytes, data),
                None => Err(lost("the files of a rank cannot be written")),
            },
            Element::Parity { row, slot, .. } => match &hosted.parity {
                Some(file) => file.write_at(self.geometry.parity_offset(row, slot), data),
                None => Err(lost("the parity file cannot be written")),
            },
        }
    }

    fn close(&mut self) {
        let mut outcome = Ok(());
        for (&member, hosted) in &mut self.hosted {
            let is_bad = |bad: &BadBlock| {
                bad.member() as usize == member && matches!(bad, BadBlock::Data { .. })
            };
            if hosted.is_new || self.map.bad.iter().any(is_bad) {
                for (stream, _) in hosted.streams.values_mut() {
                    outcome = outcome.and(stream.restore_metadata());
                }
            }
        }
        self.note(outcome);
    }
}

impl Hosted {
    fn open_stream(&mut self, index: usize, rank: u32, has_bad: bool) -> Result<()> {
        let section = self.part.node()?.section(rank)?;
        let mode = match (self.is_new, has_bad) {
            (true, _) => Mode::Create,
            (false, true) => Mode::Repair,
            (false, false) => Mode::Read,
        };
        if mode == Mode::Repair {
            resize(&self.part, &section)?;
        }
        let files = section.files.clone();
        let stream = Stream::below(self.part.store.clone(), &self.part.data_path(), files, mode)?;
        self.streams.insert(index, (stream, section));
        Ok(())
    }

    fn open_parity(&self, is_made: bool, size_bytes: u64) -> Result<Box<dyn File>> {
        let path = self.part.parity_path();
        if !is_made {
            return self.part.store.open(&path, Access::Read);
        }
        // Several ranks of the node may come first; none may empty what another has written.
        let file = match self.part.store.open(&path, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == crate::ErrorKind::NotFound => {
                self.part.store.append(&path, &[])?;
                self.part.store.open(&path, Access::Write)?
            }
            Err(error) => return Err(error),
        };
        if file.size_bytes()? < size_bytes {
            file.set_size(size_bytes)?;
        }
        Ok(file)
    }
}

/// The blocks of a stripe by their position, first the data, then the parities; `None` where there are no bytes.
fn elements(geometry: &Geometry, row: u64, stripe: usize) -> Vec<Option<Element>> {
    let data = |segment: usize| {
        let member = geometry.contributor(stripe, segment);
        let block = geometry.data_block(member, row, stripe)?;
        let (index, offset_bytes) = (block.rank_index, block.stream_offset);
        Some(Element::Data { member, index, offset_bytes, length: block.length as usize })
    };
    let mut elements: Vec<Option<Element>> = (0..geometry.segments()).map(data).collect();
    let length = elements.iter().flatten().map(|e| e.length()).max();
    elements.extend((0..geometry.parities()).map(|slot| {
        let member = geometry.parity_holder(stripe, slot);
        Some(Element::Parity { member, row, slot, length: length? })
    }));
    elements
}

/// The parity blocks made by rank position `lane` of a member that do not match or cannot be read.
pub fn bad_parity(
    part: &Part,
    header: &NodeHeader,
    section: &RankSection,
    lane: usize,
) -> Result<Vec<BadBlock>> {
    if sabotage::active(Fault::HealDataOnly) {
        return Ok(Vec::new());
    }
    let geometry = geometry_of(header)?;
    let member = header.place.member as usize;
    let file = part.store.open(&part.parity_path(), Access::Read).ok();
    let mut data = vec![0; header.block_bytes as usize];
    let mut bad = Vec::new();
    let slots = geometry
        .lane_rows(member, lane)
        .flat_map(|row| (0..geometry.parities()).map(move |slot| (row, slot)));
    for ((row, slot), expected) in slots.zip(&section.parity_checksums) {
        let last = elements(&geometry, row, geometry.stripe_of_parity(member, slot)).pop();
        let data = &mut data[..last.flatten().map_or(0, Element::length)];
        let read = file.as_ref().map(|f| f.read_at(geometry.parity_offset(row, slot), data));
        let is_read = matches!(read, Some(Ok(got)) if got == data.len());
        let is_good = data.is_empty() || is_read && checksum::block(data) == *expected;
        if !is_good {
            bad.push(BadBlock::Parity { member: member as u32, row, slot: slot as u32 });
        }
    }
    Ok(bad)
}
