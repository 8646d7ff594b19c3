# SPDX-License-Identifier: MIT OR Apache-2.0
"""``with`` statements over the functions of scr.h: what was begun is ended, whatever happens within."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import AnyStr, Iterator, Optional, Union

from . import _calls, _library


class Output:
    """A dataset that is being written."""

    def __init__(self, name: Optional[str]) -> None:
        #: As given; ``None`` where SCR makes one.
        self.name = name

    def route(self, path: Union[AnyStr, os.PathLike[AnyStr]]) -> AnyStr:
        """Returns where to write the file ``path``. Not collective."""
        return _calls.route_file(path)


class Restart:
    """A checkpoint that is being read."""

    def __init__(self, name: str) -> None:
        #: As given when it was written.
        self.name = name

    def route(self, path: Union[AnyStr, os.PathLike[AnyStr]]) -> AnyStr:
        """Returns where to read the file ``path``. Not collective."""
        return _calls.route_file(path)


@contextmanager
def session(mpi: Optional[bool] = None) -> Iterator[None]:
    """SCR for the time of a ``with``: ``init(mpi)`` and ``finalize()``.

    An exception passes without ``finalize``: other ranks may not come, and the call would tell ``scr run`` that the job
    ended well. Committed checkpoints stay for the next launch.

    Collective, both on entry and on leaving.
    """
    _calls.init(mpi)
    yield
    _calls.finalize()


@contextmanager
def output(name: Optional[str] = None, flags: int = _calls.FLAG_CHECKPOINT) -> Iterator[Output]:
    """Writes a dataset: ``with scr.output("ckpt.7") as out: write(out.route("ckpt.7/rank.0"))``.

    Left by an exception, the dataset counts as not valid on all ranks, and the exception passes. Left otherwise, it is
    completed, which raises ``Error`` if it cannot be used: on ranks that wrote well, too, if another rank did not.

    Collective, both on entry and on leaving, by an exception too: between this rank's exception and the end of the
    ``with`` no other rank may wait for this one elsewhere.
    """
    _calls.start_output(name, flags)
    try:
        yield Output(name)
    except BaseException:
        # What it answers says less than the exception.
        _library.library().SCR_Complete_output(0)
        raise
    _calls.settle(_library.library().SCR_Complete_output(1))


@contextmanager
def restart() -> Iterator[Optional[Restart]]:
    """Reads the newest checkpoint: ``with scr.restart() as r: if r is not None: read(r.route(r.name + "/rank.0"))``.

    Gives ``None`` if there is no checkpoint. Left by an exception, the checkpoint is set aside on all ranks, nothing of it
    deleted, and the exception passes; ranks that read well raise ``Error``. Then another ``restart()`` offers the next one.

    Collective, both on entry and on leaving, by an exception too.
    """
    if _calls.have_restart() is None:
        yield None
        return
    name = _calls.start_restart()
    try:
        yield Restart(name)
    except BaseException:
        # What it answers says less than the exception.
        _library.library().SCR_Complete_restart(0)
        raise
    _calls.settle(_library.library().SCR_Complete_restart(1))
