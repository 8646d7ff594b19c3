// SPDX-License-Identifier: MIT OR Apache-2.0
//! Agents as threads, over the loopback device; the tests of the commands have them as processes.

use super::handshake::{Answer, answer};
use super::*;
use scr_core::comm::conformance;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

/// Longer than any machine of a test is stopped for; tests that wait for silence have their own.
const PATIENCE: Duration = Duration::from_mins(1);

/// Doors for so many agents, and the world that they make.
fn world(size: usize, silence: Duration) -> (Vec<Door>, World) {
    let doors: Vec<Door> = (0..size).map(|_| Door::open().unwrap()).collect();
    let member = |(rank, door): (usize, &Door)| Member {
        node: node(rank),
        addresses: vec![(Ipv4Addr::LOCALHOST, door.port).into()],
    };
    let members = doors.iter().enumerate().map(member).collect();
    (doors, World { token: Token::draw(), members, silence_ms: silence.as_millis() as u64 })
}

fn node(rank: usize) -> NodeName {
    NodeName::new(format!("n{rank}"))
}

/// Runs `body` on every rank that has a door in `doors`, and returns what each came to.
fn run<T: Send>(
    doors: Vec<Door>,
    world: &World,
    body: impl Fn(Box<dyn Comm>) -> T + Sync,
) -> Vec<Result<T>> {
    std::thread::scope(|scope| {
        let body = &body;
        let start = |(rank, door)| {
            scope.spawn(move || join(door, world.clone(), &node(rank), |_| ()).map(body))
        };
        let threads: Vec<_> = doors.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn is_broken<T>(result: &Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Communication)
}

#[test]
fn conforms() {
    for size in 1..=9 {
        let (doors, world) = world(size, PATIENCE);
        for (rank, checked) in
            run(doors, &world, |comm| conformance::check(&*comm)).iter().enumerate()
        {
            let outcome = checked.as_ref().map(|checked| checked.as_ref().err());
            assert!(matches!(outcome, Ok(None)), "rank {rank} of {size}: {outcome:?}");
        }
    }
}

#[test]
fn letters_that_nobody_has_asked_for_are_bounded_and_arrive() {
    const LETTERS: usize = 200;
    const BYTES: usize = 300_000;
    let (doors, world) = world(2, PATIENCE);
    let (turn, wait) = mpsc::channel();
    let (turn, wait) = (Mutex::new(turn), Mutex::new(wait));
    let outcomes = run(doors, &world, |comm| {
        let letter = |i: usize| vec![i as u8; BYTES];
        if comm.rank() == 0 {
            for i in 0..LETTERS {
                comm.transfer(&[Out { to: 1, data: &letter(i) }], &mut [], &mut || ())?;
                turn.lock().unwrap().send(()).unwrap();
            }
        } else {
            // What comes before it is asked for waits, and after a while the sender with it.
            let pause = Duration::from_millis(300);
            let wait = wait.lock().unwrap();
            let sent = std::iter::from_fn(|| wait.recv_timeout(pause).ok()).count();
            assert!((2..20).contains(&sent), "{sent} letters were sent to nobody");
            for i in 0..LETTERS {
                let mut data = vec![0; BYTES];
                comm.transfer(&[], &mut [In { from: 0, data: &mut data }], &mut || ())?;
                assert!(data == letter(i), "letter {i}");
            }
        }
        comm.barrier()
    });
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().is_ok()));
}

#[test]
fn long_work_on_a_node_is_not_its_death() {
    let (doors, world) = world(3, Duration::from_millis(400));
    let (done, wait) = mpsc::channel::<()>();
    let (done, wait) = (Mutex::new(done), Mutex::new(wait));
    let outcomes = run(doors, &world, |comm| {
        if comm.rank() == 1 {
            let long = Duration::from_millis(1_500);
            let nothing = wait.lock().unwrap().recv_timeout(long);
            assert_eq!(nothing, Err(mpsc::RecvTimeoutError::Timeout));
        }
        comm.barrier()
    });
    drop(done.lock().unwrap());
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().is_ok()));
}

/// Lets the last rank be one that answers its first caller, and then does only what `behave` does with the connection.
fn with_a_stranger_inside(
    silence: Duration,
    behave: impl FnOnce(TcpStream) + Send,
) -> Vec<Result<()>> {
    let (mut doors, world) = world(3, silence);
    let Door { listener, .. } = doors.pop().unwrap();
    std::thread::scope(|scope| {
        let token = world.token.clone();
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert_eq!(
                answer(&mut stream, &token, 2, |_| Answer::Welcome).unwrap(),
                Answer::Welcome
            );
            behave(stream);
        });
        let outcomes = run(doors, &world, |comm| comm.barrier());
        outcomes.into_iter().map(|outcome| outcome.and_then(|inner| inner)).collect()
    })
}

#[test]
fn a_peer_that_dies_breaks_everybody() {
    let outcomes = with_a_stranger_inside(PATIENCE, drop);
    assert!(outcomes.iter().all(is_broken), "{outcomes:?}");
    let text = format!("{:#}", outcomes[1].as_ref().unwrap_err());
    assert!(text.contains("n2 (rank 2)"), "{text}");
}

#[test]
fn a_peer_that_gives_no_sign_of_life_breaks_everybody() {
    let outcomes = with_a_stranger_inside(Duration::from_millis(500), |mut stream| {
        // It hears, until the connection is taken from it, and says nothing.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    assert!(outcomes.iter().all(is_broken), "{outcomes:?}");
    let text = format!("{:#}", outcomes[0].as_ref().unwrap_err());
    assert!(text.contains("n2 (rank 2)"), "{text}");
}

#[test]
fn the_end_of_a_world_reaches_everybody_and_stays() {
    let (doors, world) = world(5, PATIENCE);
    let outcomes: Vec<Result<()>> = std::thread::scope(|scope| {
        let start = |(rank, door)| {
            let world = world.clone();
            scope.spawn(move || {
                let mut ender = None;
                let comm = join(door, world, &node(rank), |given| ender = Some(given))?;
                if rank == 3 {
                    ender.unwrap().end("told to stop");
                }
                let first = comm.barrier().expect_err("it has ended");
                let again = comm.all_reduce(Reduce::Sum, &mut [1]).expect_err("it stays so");
                assert_eq!(first.to_string(), again.to_string());
                let mut ran = false;
                let transfer = comm.transfer(&[], &mut [], &mut || ran = true);
                assert!(is_broken(&transfer) && ran);
                Err(first)
            })
        };
        let threads: Vec<_> = doors.into_iter().enumerate().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for outcome in outcomes {
        let text = format!("{:#}", outcome.unwrap_err());
        assert!(text.ends_with("told to stop"), "{text}");
    }
}

#[test]
fn who_waits_for_one_that_has_left_is_told() {
    let (doors, world) = world(2, PATIENCE);
    let outcomes = run(doors, &world, |comm| match comm.rank() {
        0 => Ok(()),
        _ => comm.transfer(&[], &mut [In { from: 0, data: &mut [0] }], &mut || ()),
    });
    let text = outcomes[1].as_ref().unwrap().as_ref().unwrap_err().to_string();
    assert!(text.contains("n0 (rank 0) has left"), "{text}");
}

#[test]
fn lengths_that_do_not_match_end_the_world() {
    let (doors, world) = world(2, PATIENCE);
    let outcomes = run(doors, &world, |comm| match comm.rank() {
        0 => comm
            .transfer(&[Out { to: 1, data: &[1, 2] }], &mut [], &mut || ())
            .and_then(|()| comm.barrier()),
        _ => comm.transfer(&[], &mut [In { from: 0, data: &mut [0] }], &mut || ()),
    });
    for outcome in outcomes {
        let text = outcome.unwrap().unwrap_err().to_string();
        assert!(text.contains("sent 2 bytes where n1 (rank 1) expects 1"), "{text}");
    }
}

#[test]
fn addresses_are_tried_in_their_order() {
    let (doors, mut world) = world(3, PATIENCE);
    let right: Vec<SocketAddr> = world.members.iter().map(|m| m.addresses[0]).collect();
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for (rank, member) in world.members.iter_mut().enumerate() {
        // Nobody is there; another rank is there; there it is.
        member.addresses = vec![closed, right[(rank + 1) % 3], right[rank]];
    }
    let outcomes = run(doors, &world, |comm| comm.barrier());
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap().is_ok()));
}

#[test]
fn a_node_that_cannot_be_reached_is_named() {
    let (mut doors, world) = world(3, PATIENCE);
    drop(doors.pop());
    let outcomes = run(doors, &world, |comm| comm.barrier());
    for outcome in &outcomes {
        assert!(is_broken(outcome), "{outcomes:?}");
    }
    let text = format!("{:#}", outcomes[0].as_ref().unwrap_err());
    assert!(text.contains("n2 (rank 2) cannot be reached from n"), "{text}");
}

#[test]
fn nobody_joins_a_world_that_does_not_know_it() {
    let (mut doors, world) = world(1, PATIENCE);
    let outcome = join(doors.pop().unwrap(), world, &NodeName::new("else"), |_| ());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Misuse);
}
