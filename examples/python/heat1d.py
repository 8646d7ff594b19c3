# SPDX-License-Identifier: MIT OR Apache-2.0
"""heat1d: heat spreads along a rod, with checkpoints through scr, in Python.

    python3 heat1d.py [steps [checkpoint every [pause in ms]]]
    mpirun -n 2 python3 heat1d.py ...

Kill it, run it again: it goes on from the last checkpoint and ends with the same checksum. One process needs NumPy and scr,
several need mpi4py too.
"""

import sys
import time

import numpy as np

import scr

CELLS = 1000  # of each rank


class Rod:
    """One rank's piece of the rod, with a cell on either side for the neighbours' values."""

    def __init__(self, rank):
        self.step = 0
        self.now = np.zeros(CELLS + 2)
        self.now[1:-1] = np.sin(0.01 * np.arange(1, CELLS + 1)) + rank

    def step_forward(self, comm):
        """One explicit step; the ends of the rod are kept cold."""
        if comm is not None:
            from mpi4py import MPI

            left = comm.rank - 1 if comm.rank > 0 else MPI.PROC_NULL
            right = comm.rank + 1 if comm.rank < comm.size - 1 else MPI.PROC_NULL
            comm.Sendrecv(self.now[1:2], left, recvbuf=self.now[-1:], source=right)
            comm.Sendrecv(self.now[-2:-1], right, recvbuf=self.now[:1], source=left)
        now = self.now
        now[1:-1] = now[1:-1] + 0.25 * (now[:-2] - 2 * now[1:-1] + now[2:])
        self.step += 1

    def checksum(self, comm):
        """The exclusive or of all bits, so that nothing depends on the order of a sum."""
        bits = self.now[1:-1].copy().view(np.uint64)
        turns = (np.arange(CELLS) % 64).astype(np.uint64)
        mine = np.bitwise_xor.reduce((bits << turns) | (bits >> ((64 - turns) % 64).astype(np.uint64)))
        whole = np.array([mine])
        if comm is not None:
            from mpi4py import MPI

            comm.Allreduce(MPI.IN_PLACE, whole, op=MPI.BXOR)
        return int(whole[0])


def file_of(name, rank):
    """The file of this rank as the program calls it; where it ends up if scr copies it to the file system."""
    return f"ckpt/{name}/rank.{rank}.npz"


def restart(rod, rank):
    """Goes back to the newest checkpoint, if there is one."""
    with scr.restart() as r:
        if r is None:
            return
        with np.load(r.route(file_of(r.name, rank))) as state:
            rod.step = int(state["step"])
            rod.now[1:-1] = state["now"]
        name = r.name
    if rank == 0:
        print(f"heat1d: restarted from {name} at step {rod.step}", flush=True)


def write_checkpoint(rod, rank):
    """Writes a checkpoint. Every rank does so, with the same name."""
    name = f"heat.{rod.step}"
    with scr.output(name, scr.FLAG_CHECKPOINT) as out:
        np.savez(out.route(file_of(name, rank)), step=rod.step, now=rod.now[1:-1])
    if rank == 0:
        print(f"heat1d: step {rod.step} checkpoint {name}", flush=True)


def main(steps=60, every=10, pause_ms=0):
    with scr.session():
        # After scr has started MPI, if this is a job of several ranks.
        mpi = sys.modules.get("mpi4py.MPI")
        comm = mpi.COMM_WORLD if mpi else None
        rank = comm.rank if comm else 0
        rod = Rod(rank)
        restart(rod, rank)
        while rod.step < steps:
            rod.step_forward(comm)
            time.sleep(pause_ms / 1000)
            # Both are asked by all ranks, whatever the first one answers.
            if scr.need_checkpoint() or rod.step % every == 0:
                write_checkpoint(rod, rank)
                if scr.should_exit():
                    break
        checksum = rod.checksum(comm)
        if rank == 0:
            print(f"heat1d: final checksum 0x{checksum:016x} after step {rod.step}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
