# SPDX-License-Identifier: MIT OR Apache-2.0
"""The ranks of the job, as far as :func:`scr.loop` needs them: one decision for all."""

from __future__ import annotations

from array import array
from typing import Any

from . import _library


class Crew:
    """All ranks of ``MPI.COMM_WORLD``, or this process alone. Made and closed by all ranks."""

    def __init__(self) -> None:
        self._mpi: Any = None
        self._comm: Any = None
        if _library.is_mpi():
            from mpi4py import MPI

            # A communicator of our own, so that nothing of the application meets our messages.
            self._mpi, self._comm = MPI, MPI.COMM_WORLD.Dup()

    def highest(self, value: int) -> int:
        """Returns the highest value of all ranks. Collective."""
        if self._comm is None:
            return value
        buffer = array("i", [value])
        self._comm.Allreduce(self._mpi.IN_PLACE, buffer, op=self._mpi.MAX)
        return buffer[0]

    def close(self) -> None:
        """Frees what MPI gave. Collective."""
        if self._comm is not None:
            self._comm.Free()
            self._comm = None
