// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a launch makes of layouts that a launch before it left half moved.

use super::*;
use crate::comm::thread::{Scheduler, World};
use crate::config::Layers;
use crate::session::Flags;
use crate::store::mem::Mem;
use crate::store::{Access, Store};

fn host(node: usize, local: &Mem, shared: &Mem) -> Host {
    Host::in_memory(format!("n{node}"), local, shared)
}

/// Runs `body` on three ranks; rank r is on the r-th of `nodes`.
fn launch<T: Send>(
    nodes: [usize; 3],
    local: &[Mem; 3],
    shared: &Mem,
    body: impl Fn(Session, usize, &Mem) -> T + Sync,
) -> Vec<T> {
    let settings = [("SCR_CACHE_BYPASS", "0"), ("SCR_FLUSH", "0")];
    let settings = settings.map(|(name, value)| (name.to_string(), value.to_string()));
    let (config, _) = Layers::new("/prefix", settings).resolve().unwrap();
    let ranks = World::new(3, Scheduler::Seeded(1)).run(|world| {
        let (rank, node) = (world.rank(), nodes[world.rank()]);
        let host = host(node, &local[node], shared);
        body(Session::init(world, host, config.clone()).unwrap(), rank, &local[node])
    });
    ranks.into_iter().map(Result::unwrap).collect()
}

fn restart(mut session: Session, rank: usize, local: &Mem) -> Vec<u8> {
    let mut restart = session.restart().unwrap().unwrap();
    let path = restart.route(format!("a/{rank}")).unwrap();
    let bytes = local.read(&path).unwrap();
    restart.complete(true).unwrap();
    bytes
}

#[test]
fn an_old_layout_is_not_laid_out_over_a_newer_one() {
    let (local, shared) = ([Mem::new(), Mem::new(), Mem::new()], Mem::new());
    launch([0, 1, 2], &local, &shared, |mut session, rank, local| {
        let flags = Flags { checkpoint: true, output: false };
        let mut output = session.output("a", flags).unwrap();
        let path = output.route(format!("a/{rank}")).unwrap();
        local.open(&path, Access::Create).unwrap().write_at(0, &[rank as u8; 5000]).unwrap();
        output.complete(true).unwrap();
    });
    let before = local.each_ref().map(Mem::walk);

    // Two ranks change places; then the old layout is put back, as if the launch had died before it removed it.
    let expected = vec![vec![0; 5000], vec![1; 5000], vec![2; 5000]];
    assert_eq!(launch([0, 2, 1], &local, &shared, restart), expected);
    for (local, before) in local.iter().zip(before) {
        for (path, bytes) in before.into_iter().filter(|(path, _)| local.metadata(path).is_err()) {
            match bytes {
                None => local.create_dir_all(&path).unwrap(),
                Some(bytes) => {
                    local.open(&path, Access::Create).unwrap().write_at(0, &bytes).unwrap();
                }
            }
        }
    }

    assert_eq!(launch([0, 2, 1], &local, &shared, restart), expected);
    for local in &local {
        let parts: Vec<_> =
            local.walk().into_keys().filter(|path| path.ends_with("state")).collect();
        assert_eq!(parts.len(), 1, "{parts:?}");
    }
}
