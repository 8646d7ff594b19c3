// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the conformance suite of communicators under MPI: `mpirun -n 4 comm_conformance`.

use mpi::topology::Communicator;
use scr_core::ErrorKind;
use scr_core::comm::mpi::Mpi;
use scr_core::comm::{Comm, In, Out, conformance};

fn main() {
    expect_misuse(Mpi::duplicate_world(), "before MPI_Init");
    let universe = mpi::initialize().expect("MPI starts");
    let world = universe.world();
    let outcome = Mpi::duplicate_world().and_then(|comm| {
        conformance::check(&*comm)?;
        broken_by_a_wrong_length(&*comm);
        Ok(comm)
    });
    match outcome {
        Err(error) => {
            eprintln!("rank {}: {error:?}", world.rank());
            world.abort(1);
        }
        Ok(comm) if world.rank() == 0 => println!("{} ranks conform", comm.size()),
        Ok(_) => {}
    }
    // Freed before MPI_Finalize ...
    drop(Mpi::duplicate_world());
    // ... and harmless after it.
    let late = Mpi::duplicate_world().expect("MPI still runs");
    drop(universe);
    let error = late.barrier().expect_err("MPI is finalised");
    assert_eq!(error.kind(), ErrorKind::Communication);
    drop(late);
    expect_misuse(Mpi::duplicate_world(), "after MPI_Finalize");
}

fn expect_misuse(result: scr_core::Result<Box<dyn Comm>>, when: &str) {
    let kind = result.map(drop).map_err(|error| error.kind());
    assert_eq!(kind, Err(ErrorKind::Misuse), "{when}");
}

/// A message longer than its receiver expects is an error, not an abort, and breaks the communicator and its parts.
///
/// Where MPI lets it: see `comm/mpi.rs` for MPICH, and for Open MPI and messages to oneself.
fn broken_by_a_wrong_length(comm: &dyn Comm) {
    let is_open_mpi = mpi::environment::library_version().is_ok_and(|v| v.contains("Open MPI"));
    if !is_open_mpi || comm.size() == 1 {
        return;
    }
    let part = comm.split(Some(0), 0).expect("splits").expect("has a color");
    let next = (comm.rank() + 1) % comm.size();
    let before = (comm.rank() + comm.size() - 1) % comm.size();
    let mut place = [0; 4];
    let mut runs = 0;
    let error = comm
        .transfer(
            &[Out { to: next, data: &[1; 8] }],
            &mut [In { from: before, data: &mut place }],
            &mut || runs += 1,
        )
        .expect_err("a truncated message is an error");
    assert_eq!((error.kind(), runs), (ErrorKind::Communication, 1));
    for comm in [comm, &*part] {
        let later = comm.barrier().expect_err("stays broken");
        assert_eq!(later.kind(), ErrorKind::Communication);
    }
}
