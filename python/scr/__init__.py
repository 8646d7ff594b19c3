# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checkpoints that survive the loss of nodes, for programs with mpi4py and for programs of one process.

Three ways, from the shortest:

- ``for step in scr.loop(steps, save=..., load=...)``: a loop that goes on where the last run stopped.
- ``with scr.session()``, ``with scr.restart() as r``, ``with scr.output(name) as out``: what was begun is ended.
- The functions of scr.h, named as in SCR's own module: ``init``, ``have_restart``, ``start_output`` ...

And one file that is whole or absent, without any library: ``with scr.durable(path) as file``.

Parameters (``SCR_CACHE_BYPASS``, ``SCR_CHECKPOINT_SECONDS`` ...) come from the environment, from ``.scrconf`` in the prefix, or by
``config`` before ``init``. The library is found as ``load`` says; ``SCR_LIBRARY`` is its path.
"""

from ._calls import (
    FLAG_CHECKPOINT,
    FLAG_NONE,
    FLAG_OUTPUT,
    MAX_FILENAME,
    complete_checkpoint,
    complete_output,
    complete_restart,
    config,
    current,
    delete,
    drop,
    finalize,
    get_version,
    have_restart,
    init,
    last_error,
    need_checkpoint,
    route_file,
    should_exit,
    start_checkpoint,
    start_output,
    start_restart,
    strerror,
)
from ._durable import durable
from ._error import (
    E_COMMUNICATION,
    E_CONFIG,
    E_CORRUPT,
    E_DEGRADED,
    E_INVALID,
    E_IO,
    E_LOST,
    E_MISMATCH,
    E_MISUSE,
    E_NO_SPACE,
    E_NOT_FOUND,
    E_PEER_FAILED,
    E_REFUSED,
    E_TIMEOUT,
    SUCCESS,
    DegradedWarning,
    Error,
    Invalid,
)
from ._library import load
from ._loop import Loop, Route, loop
from ._phases import Output, Restart, output, restart, session

# In full: type checkers take nothing else for a part of the package.
__all__ = [
    "E_COMMUNICATION",
    "E_CONFIG",
    "E_CORRUPT",
    "E_DEGRADED",
    "E_INVALID",
    "E_IO",
    "E_LOST",
    "E_MISMATCH",
    "E_MISUSE",
    "E_NOT_FOUND",
    "E_NO_SPACE",
    "E_PEER_FAILED",
    "E_REFUSED",
    "E_TIMEOUT",
    "FLAG_CHECKPOINT",
    "FLAG_NONE",
    "FLAG_OUTPUT",
    "MAX_FILENAME",
    "SUCCESS",
    "DegradedWarning",
    "Error",
    "Invalid",
    "Loop",
    "Output",
    "Restart",
    "Route",
    "complete_checkpoint",
    "complete_output",
    "complete_restart",
    "config",
    "current",
    "delete",
    "drop",
    "durable",
    "finalize",
    "get_version",
    "have_restart",
    "init",
    "last_error",
    "load",
    "loop",
    "need_checkpoint",
    "output",
    "restart",
    "route_file",
    "session",
    "should_exit",
    "start_checkpoint",
    "start_output",
    "start_restart",
    "strerror",
]
