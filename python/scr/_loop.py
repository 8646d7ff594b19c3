# SPDX-License-Identifier: MIT OR Apache-2.0
"""A loop over steps that goes on where the last run of the program stopped.

Every decision is the same on all ranks: those of the library by its own calls, a signal or an exception that one rank
alone saw by an agreement after each step.
"""

from __future__ import annotations

import os
import re
import signal
import warnings
from functools import partial
from typing import Any, Callable, Iterable, Iterator, Optional

from . import _calls
from ._crew import Crew
from ._error import E_COMMUNICATION, E_MISUSE, E_PEER_FAILED, E_REFUSED, Error, Invalid
from ._phases import output
from ._signals import StopSignals

#: Gives the path to write or read for the name of a file within the checkpoint.
Route = Callable[[str], str]


def loop(
    steps: Optional[int],
    *,
    save: Callable[[Route], Any],
    load: Callable[[Route], Any],
    every: Optional[int] = None,
    name: str = "ckpt",
    signals: Iterable[int] = (signal.SIGTERM, signal.SIGUSR1),
    mpi: Optional[bool] = None,
) -> Loop:
    """Numbers of the steps that are still to do, with checkpoints between them::

        for step in scr.loop(1000, save=save, load=load, every=50):
            train(step)

    At once: starts SCR unless the program did, and if there is a checkpoint calls ``load(route)`` for the newest one.
    Then ``for`` gets the steps after it. When the body has done a step, ``save(route)`` is called if it is the last one, if
    ``every`` divides the number of steps done, if ``need_checkpoint()`` says so (``SCR_CHECKPOINT_SECONDS`` ...), and before
    the loop stops early. It stops early after a signal, after ``Loop.stop()``, and when ``should_exit()`` says so
    (``SCR_HALT_SECONDS`` before the end of the allocation, ``scr halt``). At the end SCR is finalized, if the loop started it.

    - ``steps``: how many in all, over all runs; ``None`` for no end. A program that had done them gets none.
    - ``save``, ``load``: write and read the whole state of this rank with ``open(route("state"), ...)``. Ranks need different
      names: ``route(f"rank.{rank}")``. Close what was opened before returning.
    - ``name``: the checkpoint after step 49 is called ``NAME.50``, and so is its directory in the prefix.
    - ``signals``: what asks to stop; only a flag is set, and the step goes on. Handlers are put in place by ``for`` in the
      main thread (elsewhere none are), and restored at its end. Children made by fork are not kept from dying of them.
    - ``mpi``: as for :func:`scr.load`.

    An exception of ``load`` passes, and the checkpoint stays: its bytes were compared with their checksums, so the
    program is at fault. Only for ``scr.Invalid`` it is set aside, and the one before is loaded. An exception of ``save``
    passes; the checkpoint before stays. If one rank raises one of these, the others raise ``Error``. If the library cannot
    complete a checkpoint (no space ...), that is a ``RuntimeWarning`` and the loop goes on; for the last one, an ``Error``.
    Without a checkpoint that could be used, although there were some, ``Error`` is raised: no run starts from zero unnoticed.

    A ``break`` or an exception in the body ends the loop without a checkpoint and without ``finalize``; call ``Loop.stop()``
    to end it early in good order.

    Collective: all ranks call it with the same arguments and do all steps.
    """
    if not re.fullmatch(r"[^/\0]+", name):
        raise ValueError(f"name {name!r}: one or more characters, without '/'")
    if every is not None and every < 1:
        raise ValueError(f"every={every}: at least 1, or None")
    is_ours = not _calls.is_running()
    if is_ours:
        _calls.init(mpi)
    return Loop(steps, save, load, every, name, StopSignals(signals), is_ours)


class Loop:
    """What :func:`loop` returns: iterate over it, once."""

    def __init__(
        self,
        steps: Optional[int],
        save: Callable[[Route], Any],
        load: Callable[[Route], Any],
        every: Optional[int],
        name: str,
        signals: StopSignals,
        finalizes: bool,
    ) -> None:
        self._steps, self._save, self._every, self._name = steps, save, every, name
        self._signals, self._finalizes, self._is_asked = signals, finalizes, False
        self._crew = Crew()
        #: How many steps were done, over all runs.
        self.done = 0
        #: The newest checkpoint that was loaded or written, or ``None``.
        self.checkpoint: Optional[str] = None
        #: Whether the loop ended before all steps were done.
        self.stopped = False
        self._restart(load)

    def stop(self) -> None:
        """Asks the loop to stop after this step, with a checkpoint; enough on one rank. Not collective."""
        self._is_asked = True

    def __iter__(self) -> Iterator[int]:
        self._signals.install()
        try:
            while not self.stopped and not self._is_complete():
                yield self.done
                self.done += 1
                self._after_step()
            self._crew.close()
            if self._finalizes:
                self._finalizes = False
                _calls.finalize()
        finally:
            self._signals.restore()

    def _is_complete(self) -> bool:
        return self._steps is not None and self.done >= self._steps

    def _after_step(self) -> None:
        asked = self._is_asked or self._signals.received is not None
        # Every rank makes all calls, whatever this one knows already.
        asked = bool(self._crew.highest(int(asked)))
        asked = _calls.should_exit() or asked
        is_due = _calls.need_checkpoint() or (self._every is not None and self.done % self._every == 0)
        is_last = asked or self._is_complete()
        if is_last or is_due:
            self._write(is_last)
        self.stopped = asked and not self._is_complete()

    def _write(self, is_last: bool) -> None:
        name = f"{self._name}.{self.done}"
        failure = _Failure()
        try:
            with output(name) as out:
                failure.catch(lambda: self._save(_route_in(name, _make_room(out.route))))
                # One rank's exception is one for all: none goes on to a step that others do not do.
                failure.agree(self._crew, "save", name)
            self.checkpoint = name
        except Error as error:
            if is_last or failure.is_raised or error.code in (E_MISUSE, E_COMMUNICATION):
                raise
            warnings.warn(f"no checkpoint after step {self.done}: {error}", RuntimeWarning, stacklevel=4)

    def _restart(self, load: Callable[[Route], Any]) -> None:
        # Where checkpoints were set aside and none is left, `have_restart` raises.
        while (name := _calls.have_restart()) is not None:
            done = re.fullmatch(re.escape(self._name) + r"\.(\d+)", name)
            if done is None:
                raise Error(
                    E_REFUSED,
                    f"the newest checkpoint here, {name}, is not one of the loop {self._name!r}: "
                    "give the loop another SCR_PREFIX, or delete what is there",
                )
            _calls.start_restart()
            failure = _Failure()
            failure.catch(partial(_load_from, name, load))
            worst = failure.worst(self._crew)
            # A program's own fault is no reason to set a good checkpoint aside.
            is_whole = _calls.complete_restart(worst != _Failure.INVALID)
            if worst in (_Failure.NONE, _Failure.OTHER):
                failure.pass_on(worst, "load", name)
            if is_whole and worst == _Failure.NONE:
                self.done, self.checkpoint = int(done[1]), name
                return


class _Failure:
    """What a function of the application raised, on this rank or on another."""

    NONE, INVALID, OTHER = range(3)

    def __init__(self) -> None:
        self._own: Optional[BaseException] = None
        self.is_raised = False

    def catch(self, call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:
            self._own = error

    def worst(self, crew: Crew) -> int:
        """The worst of all ranks. Collective."""
        own = self.NONE
        if self._own is not None:
            own = self.INVALID if isinstance(self._own, Invalid) else self.OTHER
        return crew.highest(own)

    def agree(self, crew: Crew, what: str, name: str) -> None:
        """Raises on all ranks if the function raised on one. Collective."""
        self.pass_on(self.worst(crew), what, name)

    def pass_on(self, worst: int, what: str, name: str) -> None:
        if worst != self.NONE:
            self.is_raised = True
            raise self._own or Error(E_PEER_FAILED, f"{what} of {name} raised an exception on another rank")


def _load_from(name: str, load: Callable[[Route], Any]) -> None:
    load(_route_in(name, _calls.route_file))


def _make_room(route: Callable[[str], str]) -> Callable[[str], str]:
    """Makes the directory of what is written: with SCR_ENABLE=0 nobody else does."""

    def made(file: str) -> str:
        path = route(file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    return made


def _route_in(name: str, route: Callable[[str], str]) -> Route:
    """Names of files within the directory of the dataset ``name``, which is in the prefix wherever the program is."""
    directory = os.path.join(os.path.abspath(_calls.config("SCR_PREFIX") or "."), name)
    return lambda file: route(os.path.join(directory, file))
