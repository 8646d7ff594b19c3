// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a node has room for the next dataset, before the first byte is written.
//!
//! The next dataset is taken to be as large as the last. Each node judges for itself; the dataset starts only when all
//! can: join how many datasets must go by the maximum over the nodes, since all have the same list.

use crate::format::Scheme;
use crate::id::DatasetId;

/// What is to be stored on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Bytes of data expected on the node: those of the last dataset, `None` when there was none.
    pub data_bytes: Option<u64>,
    /// How it will be protected.
    pub scheme: Scheme,
    /// Members of the redundancy set.
    pub members: u32,
    /// Bytes to leave alone, for the application and our records.
    pub reserve_bytes: u64,
}

impl Demand {
    /// Returns the bytes that must be free: data, parity and reserve; of sizes that are not known, only the reserve.
    pub fn bytes(&self) -> u64 {
        let data = self.data_bytes.unwrap_or(0);
        let (segments, parities) = self.scheme.stripe(self.members as usize);
        let parity = data.div_ceil(segments.max(1) as u64).saturating_mul(parities as u64);
        data.saturating_add(parity).saturating_add(self.reserve_bytes)
    }
}

/// What there is on the node.
#[derive(Clone, Copy, Debug)]
pub struct Supply<'a> {
    /// The store, for messages: its base directory.
    pub store: &'a str,
    /// Bytes that can be written now.
    pub free_bytes: u64,
    /// Bytes of the store in all.
    pub total_bytes: u64,
    /// Bytes of datasets that are being deleted already.
    pub being_deleted_bytes: u64,
    /// What can go, in the order of going, with the bytes that it holds on this node.
    pub evictable: &'a [(DatasetId, u64)],
}

/// The judgement of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Fits,
    /// There is room once these are gone: the first few of what can go.
    EvictFirst(Vec<DatasetId>),
    /// There is no room whatever goes; says what to do.
    TooLittle(String),
}

/// Judges whether `demand` can be met, and what must go for it.
pub fn judge(demand: &Demand, supply: &Supply<'_>) -> Room {
    let needed = demand.bytes();
    let mut available = supply.free_bytes.saturating_add(supply.being_deleted_bytes);
    if available >= needed {
        return Room::Fits;
    }
    for (count, (_, bytes)) in supply.evictable.iter().enumerate() {
        available = available.saturating_add(*bytes);
        if available >= needed {
            let ids = supply.evictable[..=count].iter().map(|&(id, _)| id);
            return Room::EvictFirst(ids.collect());
        }
    }
    Room::TooLittle(message(needed, available, supply))
}

fn message(needed: u64, available: u64, supply: &Supply<'_>) -> String {
    let advice = if needed > supply.total_bytes {
        "it would not fit even when empty: set SCR_CACHE_BYPASS=1"
    } else {
        "set SCR_CACHE_SIZE=1 or SCR_CACHE_BYPASS=1"
    };
    let (unit, name) = unit_of(needed);
    let shown = |bytes: u64| format!("{:.1}", bytes as f64 / unit);
    format!(
        "no space in {} ({} {name} needed, {} free); {advice}",
        supply.store,
        shown(needed),
        shown(available)
    )
}

fn unit_of(bytes: u64) -> (f64, &'static str) {
    match bytes {
        0..1_000_000 => (1e3, "kB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        _ => (1e9, "GB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_counts_parity_and_reserve() {
        let cases = [
            (None, Scheme::Xor, 4, 5, 5),
            (Some(0), Scheme::Xor, 4, 0, 0),
            (Some(90), Scheme::Single, 4, 10, 100),
            (Some(90), Scheme::Xor, 4, 10, 130),
            (Some(91), Scheme::Xor, 4, 10, 132),
            (Some(90), Scheme::Xor, 2, 0, 180),
            (Some(90), Scheme::Xor, 1, 0, 180),
            (Some(u64::MAX), Scheme::Xor, 2, 7, u64::MAX),
        ];
        for (data_bytes, scheme, members, reserve_bytes, expected) in cases {
            let demand = Demand { data_bytes, scheme, members, reserve_bytes };
            assert_eq!(demand.bytes(), expected, "{demand:?}");
        }
    }

    #[test]
    fn room_is_made_in_the_order_given_and_no_further_than_needed() {
        let demand =
            Demand { data_bytes: Some(90), scheme: Scheme::Single, members: 1, reserve_bytes: 10 };
        let evictable = [(DatasetId(3), 20), (DatasetId(1), 0), (DatasetId(2), 30)];
        let ids = |ids: &[u64]| Room::EvictFirst(ids.iter().map(|&id| DatasetId(id)).collect());
        let cases = [
            (100, 0, Room::Fits),
            (60, 40, Room::Fits),
            (99, 0, ids(&[3])),
            (80, 0, ids(&[3])),
            (79, 0, ids(&[3, 1, 2])),
            (40, 10, ids(&[3, 1, 2])),
        ];
        for (free_bytes, being_deleted_bytes, expected) in cases {
            let supply = Supply {
                store: "/dev/shm",
                free_bytes,
                total_bytes: 1000,
                being_deleted_bytes,
                evictable: &evictable,
            };
            assert_eq!(judge(&demand, &supply), expected, "{free_bytes} {being_deleted_bytes}");
        }
    }

    #[test]
    fn the_message_has_sizes_and_advice() {
        let demand = Demand {
            data_bytes: Some(9_000_000_000),
            scheme: Scheme::Xor,
            members: 4,
            reserve_bytes: 300_000_000,
        };
        let supply = Supply {
            store: "/dev/shm",
            free_bytes: 3_000_000_000,
            total_bytes: 20_000_000_000,
            being_deleted_bytes: 0,
            evictable: &[(DatasetId(1), 1_000_000_000)],
        };
        let said = |supply: &Supply<'_>, demand: &Demand| match judge(demand, supply) {
            Room::TooLittle(message) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            said(&supply, &demand),
            "no space in /dev/shm (12.3 GB needed, 4.0 free); set SCR_CACHE_SIZE=1 or SCR_CACHE_BYPASS=1"
        );
        let small = Supply { total_bytes: 10_000_000_000, ..supply };
        assert!(said(&small, &demand).ends_with("not fit even when empty: set SCR_CACHE_BYPASS=1"));
        let tiny = Demand {
            data_bytes: Some(5_000),
            reserve_bytes: 0,
            scheme: Scheme::Single,
            members: 1,
        };
        let full = Supply { free_bytes: 0, evictable: &[], ..supply };
        assert!(said(&full, &tiny).contains("(5.0 kB needed, 0.0 free)"));
    }
}
