# SPDX-License-Identifier: MIT OR Apache-2.0
"""Signals that ask a loop to stop: they only set a flag."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, Iterable, Optional


class StopSignals:
    """Takes signals from ``install`` to ``restore``; in the main thread only, as Python allows no other."""

    def __init__(self, signals: Iterable[int]) -> None:
        self._wanted = tuple(signals)
        self._before: dict[int, Any] = {}
        self._owner = os.getpid()
        #: The first signal that came, or ``None``.
        self.received: Optional[int] = None

    def install(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._wanted:
            # None: a handler that is not Python's, which could not be restored.
            if signal.getsignal(number) is not None:
                self._before[number] = signal.signal(number, self._take)

    def restore(self) -> None:
        while self._before:
            number, before = self._before.popitem()
            # Whoever replaced our handler meanwhile keeps theirs. Off the main thread nothing can be done.
            if signal.getsignal(number) == self._take and threading.current_thread() is threading.main_thread():
                signal.signal(number, before)

    def _take(self, number: int, frame: Optional[FrameType]) -> None:
        if os.getpid() == self._owner:
            self.received = self.received or number
            return
        # A child made by fork (a worker that loads data, say) dies of the signal as it would have without us.
        signal.signal(number, self._before.get(number, signal.SIG_DFL))
        os.kill(os.getpid(), number)
