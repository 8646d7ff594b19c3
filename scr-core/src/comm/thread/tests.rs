// SPDX-License-Identifier: MIT OR Apache-2.0
use super::*;
use crate::comm::collective::{fold, route, split_by_name};
use crate::comm::conformance;
use std::sync::Mutex;

fn run<T: Send>(
    size: usize,
    scheduler: Scheduler,
    body: impl Fn(Box<dyn Comm>) -> T + Sync,
) -> Vec<T> {
    World::new(size, scheduler).run(body).into_iter().map(Result::unwrap).collect()
}

fn kinds<T>(results: Vec<Result<T>>) -> Vec<Option<ErrorKind>> {
    results.into_iter().map(|result| result.err().map(|error| error.kind())).collect()
}

const BOTH: [Scheduler; 2] = [Scheduler::Free, Scheduler::Seeded(3)];
const BROKEN: Option<ErrorKind> = Some(ErrorKind::Communication);

#[test]
fn conforms_when_free() {
    for size in [1, 2, 3, 4, 5, 7, 8, 13, 32] {
        for result in run(size, Scheduler::Free, |comm| conformance::check(&*comm)) {
            result.unwrap();
        }
    }
}

#[test]
fn conforms_under_every_seed() {
    for seed in 0..40 {
        let size = 1 + seed as usize % 8;
        for result in run(size, Scheduler::Seeded(seed), |comm| conformance::check(&*comm)) {
            result.unwrap_or_else(|error| panic!("seed {seed}, {size} ranks: {error:?}"));
        }
    }
}

/// The order in which ranks pass the points between collectives.
fn trace(seed: u64) -> Vec<(usize, usize)> {
    let trace = Mutex::new(Vec::new());
    let world = World::new(6, Scheduler::Seeded(seed));
    world.run(|comm| {
        for step in 0..5 {
            trace.lock().unwrap().push((step, comm.rank()));
            world.interleave();
            trace.lock().unwrap().push((step + 100, comm.rank()));
            comm.barrier().unwrap();
        }
    });
    trace.into_inner().unwrap()
}

#[test]
fn a_seed_gives_one_schedule_and_seeds_differ() {
    let traces: std::collections::BTreeSet<_> = (0..20).map(trace).collect();
    assert_eq!(traces.len(), 20);
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed));
    }
}

#[test]
fn schedules_are_cheap_enough_for_thousands() {
    for seed in 0..500 {
        let sums = run(6, Scheduler::Seeded(seed), |comm| -> Result<u64> {
            let node = split_by_name(&*comm, &format!("node {}", comm.rank() / 2))?;
            let mut sum = [node.rank() as u64];
            for _ in 0..5 {
                comm.all_reduce(Reduce::Sum, &mut sum)?;
            }
            Ok(sum[0])
        });
        assert!(sums.into_iter().all(|sum| matches!(sum, Ok(sum) if sum == 3 * 6_u64.pow(4))));
    }
}

#[test]
fn killing_breaks_every_communicator_and_wakes_the_blocked() {
    for scheduler in BOTH {
        let world = World::new(5, scheduler);
        let results = world.run(|comm| {
            let half = comm.split(Some(comm.rank() as u32 % 2), 0).unwrap().unwrap();
            // Once rank 3 has heard from all, all have both communicators.
            let mut heard = [[0]; 5];
            let hear = |(from, data): (usize, &mut [u8; 1])| -> Result<()> {
                comm.transfer(&[], &mut [In { from, data }], &mut || ())
            };
            if comm.rank() == 3 {
                let mut others = heard.iter_mut().enumerate().filter(|(from, _)| *from != 3);
                others.try_for_each(hear).unwrap();
                world.kill("node b lost power");
            } else {
                let _ = comm.transfer(&[Out { to: 3, data: &[1] }], &mut [], &mut || ());
            }
            let mut ran = 0;
            let errors = [
                comm.barrier(),
                half.all_reduce(Reduce::Sum, &mut [1]),
                comm.broadcast(0, &mut [1]),
                half.split(None, 0).map(drop),
                comm.transfer(&[], &mut [], &mut || ran += 1),
            ];
            (errors.map(|result| result.unwrap_err()), ran)
        });
        for (errors, ran) in results.into_iter().map(Result::unwrap) {
            assert_eq!(ran, 1);
            for error in errors {
                assert_eq!(error.kind(), ErrorKind::Communication);
                assert!(format!("{error}").contains("node b lost power"), "{error}");
            }
        }
        assert_eq!(world.end_reason().as_deref(), Some("node b lost power"));
    }
}

#[test]
fn a_world_can_be_killed_from_outside() {
    let world = World::new(3, Scheduler::Free);
    let results = std::thread::scope(|scope| {
        let (blocked, is_blocked) = std::sync::mpsc::channel();
        let ranks = scope.spawn(|| {
            let blocked = Mutex::new(blocked);
            world.run(|comm| {
                // Busy until the kill arrives, so that nothing but the kill can end this.
                blocked.lock().unwrap().send(()).unwrap();
                loop {
                    comm.barrier()?;
                }
                #[expect(unreachable_code, reason = "gives the closure its type")]
                Ok::<(), Error>(())
            })
        });
        is_blocked.recv().unwrap();
        world.kill("from outside");
        ranks.join().unwrap()
    });
    assert_eq!(kinds(results.into_iter().map(Result::unwrap).collect()), [BROKEN; 3]);
}

#[test]
fn a_rank_that_leaves_early_breaks_those_who_wait_for_it() {
    for scheduler in BOTH {
        let world = World::new(4, scheduler);
        let results = world.run(|comm| if comm.rank() == 2 { Ok(()) } else { comm.barrier() });
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(kinds(results), [BROKEN, BROKEN, None, BROKEN]);
        assert!(world.end_reason().unwrap().contains("rank 2 has left"));
    }
}

#[test]
fn a_rank_that_panics_ends_the_world() {
    for scheduler in BOTH {
        let world = World::new(3, scheduler);
        let results = world.run(|comm| {
            if comm.rank() == 1 {
                std::panic::resume_unwind(Box::new("oh no"));
            }
            comm.barrier()
        });
        assert!(matches!(results[0], Ok(Err(_))) && matches!(results[2], Ok(Err(_))));
        assert_eq!(format!("{}", results[1].as_ref().unwrap_err()), "rank 1 panicked: oh no");
        assert_eq!(world.end_reason().as_deref(), Some("rank 1 panicked: oh no"));
    }
}

#[test]
fn a_deadlock_is_an_error_that_says_who_waits_for_whom() {
    for scheduler in BOTH {
        let world = World::new(3, scheduler);
        let results = world.run(|comm| {
            let from = (comm.rank() + 1) % 3;
            comm.transfer(&[], &mut [In { from, data: &mut [0] }], &mut || ())
        });
        let results: Vec<_> = results.into_iter().map(Result::unwrap).collect();
        assert_eq!(kinds(results), [BROKEN; 3]);
        assert_eq!(
            world.end_reason().unwrap(),
            "deadlock: rank 0 waits for rank 1 in transfer, rank 1 waits for rank 2 in transfer, \
             rank 2 waits for rank 0 in transfer"
        );
    }
}

#[test]
fn different_calls_that_meet_end_the_world() {
    type Body = fn(&dyn Comm) -> Result<()>;
    let cases: [(Body, Body, &str); 4] = [
        (|c| c.barrier(), |c| c.all_reduce(Reduce::Max, &mut [1]), "is in"),
        (|c| c.all_reduce(Reduce::Min, &mut [1]), |c| c.all_reduce(Reduce::Max, &mut [1]), "is in"),
        (|c| c.broadcast(0, &mut [1]), |c| c.broadcast(0, &mut [1, 2]), "1 bytes"),
        (
            |c| c.transfer(&[Out { to: 1, data: &[1] }], &mut [], &mut || ()),
            |c| c.barrier(),
            "deadlock",
        ),
    ];
    for (zero, one, text) in cases {
        let world = World::new(2, Scheduler::Free);
        world.run(|comm| {
            let _ = if comm.rank() == 0 { zero(&*comm) } else { one(&*comm) };
            // Whoever got away with it is found out here.
            comm.barrier().unwrap_err();
        });
        let reason = world.end_reason().unwrap();
        assert!(reason.contains(text), "{reason}");
    }
}

#[test]
fn a_world_runs_once() {
    let world = World::new(2, Scheduler::Free);
    assert_eq!(kinds(world.run(|_| ())), [None, None]);
    assert_eq!(kinds(world.run(|_| ())), [Some(ErrorKind::Misuse); 2]);
}

/// The most messages that any rank sends or receives in `body`.
fn most_messages(size: usize, body: impl Fn(&dyn Comm) -> Result<()> + Sync) -> u64 {
    let world = World::new(size, Scheduler::Free);
    for result in world.run(|comm| body(&*comm)) {
        result.unwrap().unwrap();
    }
    let most = |t: &Traffic| t.messages_sent.max(t.messages_received);
    world.traffic().iter().map(most).max().unwrap()
}

#[test]
fn messages_per_rank_grow_as_the_logarithm_of_the_ranks() {
    for log in [4, 6, 8, 12] {
        let size = 1 << log;
        assert_eq!(most_messages(size, |c| c.barrier()), log, "barrier");
        assert_eq!(most_messages(size, |c| c.broadcast(0, &mut [0])), log, "broadcast");
        assert_eq!(most_messages(size, |c| c.all_reduce(Reduce::Sum, &mut [1])), log, "all_reduce");
    }
    for log in [4, 8] {
        let size = 1 << log;
        let one_item = |c: &dyn Comm| {
            let items = vec![((c.rank() * 7 + 1) % size, vec![1, 2, 3])];
            route(c, items).map(drop)
        };
        assert!(most_messages(size, one_item) <= 2 * log, "route");
        let one_sum = |c: &dyn Comm| fold(c, vec![1], &mut |lower, _| lower).map(drop);
        assert!(most_messages(size, one_sum) <= 4 * log, "fold");
        let nodes = |c: &dyn Comm| split_by_name(c, &format!("{}", c.rank() / 4)).map(drop);
        assert!(most_messages(size, nodes) <= log + 8, "split_by_name");
    }
}
