# SPDX-License-Identifier: MIT OR Apache-2.0
"""The codes of scr.h, and the exception that carries one."""

from __future__ import annotations

SUCCESS = 0
#: Call not allowed here, or a wrong argument.
E_MISUSE = 1
#: A configuration value that is not allowed.
E_CONFIG = 2
#: Ranks passed different arguments.
E_MISMATCH = 3
#: Another rank failed; the cause is told there.
E_PEER_FAILED = 4
#: Input or output failed.
E_IO = 5
#: Not enough room.
E_NO_SPACE = 6
#: Data do not match their checksum.
E_CORRUPT = 7
#: There is no such thing.
E_NOT_FOUND = 8
#: A rule forbids it: another job holds the prefix, another number of ranks wrote the dataset, ...
E_REFUSED = 9
#: The dataset cannot be completed from what is left.
E_LOST = 10
#: A rank said that the dataset is not valid, or its files cannot be read.
E_INVALID = 11
#: Done: the dataset is whole and can be used, but has less protection than configured.
E_DEGRADED = 12
#: MPI failed or a process died: the library communicates no more.
E_COMMUNICATION = 13
#: It took longer than it may.
E_TIMEOUT = 14


class Error(RuntimeError):
    """What the library could not do: ``code`` is one of ``E_*``, the text says why and what to do."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[Error], tuple[int, str]]:
        return type(self), (self.code, str(self))


class Invalid(Exception):
    """Raised by the ``load`` of :func:`scr.loop` for a checkpoint that must not be used."""


class DegradedWarning(RuntimeWarning):
    """A dataset is whole and can be used, but has less protection than configured."""
