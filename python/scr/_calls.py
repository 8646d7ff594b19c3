# SPDX-License-Identifier: MIT OR Apache-2.0
"""The functions of scr.h, with Python's types.

"Collective": all ranks of ``MPI.COMM_WORLD`` call it, in the same order and from one thread at a time. In a program of
one process that is no condition. A function raises ``Error`` for what scr.h returns a code for, unless said otherwise.
"""

from __future__ import annotations

import ctypes
import os
import warnings
from contextlib import suppress
from operator import index
from typing import Any, AnyStr, Callable, Optional, Union

from . import _library
from ._error import E_COMMUNICATION, E_CONFIG, E_DEGRADED, E_MISUSE, SUCCESS, DegradedWarning, Error

#: Room for a file name or the name of a dataset, with the byte that ends it.
MAX_FILENAME = 1024

#: Neither a checkpoint nor output.
FLAG_NONE = 0
#: The application can restart from the dataset.
FLAG_CHECKPOINT = 1
#: The dataset is a result: it must reach the parallel file system.
FLAG_OUTPUT = 2

_c = ctypes.CDLL(None)
_c.free.argtypes, _c.free.restype = [ctypes.c_void_p], None

#: The library takes no such name.
_NO_NAME = b"\xff"

_is_running = False


def is_running() -> bool:
    """Tells whether ``init`` was called and ``finalize`` was not."""
    return _is_running


def init(mpi: Optional[bool] = None) -> None:
    """Starts SCR, and rebuilds in the cache what the last run left there.

    ``mpi`` is as for :func:`scr.load`. With MPI, mpi4py initialises it.

    Collective.
    """
    global _is_running
    _library.load(mpi)
    _check(_library.library().SCR_Init())
    _is_running = True


def finalize() -> None:
    """Ends SCR: brings the newest checkpoint to the parallel file system where so configured. Before MPI's end.

    Collective. Ends SCR even if it raises.
    """
    global _is_running
    code = _library.library().SCR_Finalize()
    if code != E_MISUSE:
        _is_running = False
    _check(code)


def config(text: Union[str, bytes]) -> Optional[str]:
    """Sets or asks for a configuration parameter.

    ``"NAME=VALUE"`` sets, ``"NAME="`` unsets: before ``init``, with the same text on every rank. ``"NAME"`` asks, at any
    time, and returns the value, or ``None`` where there is none. ``"STORE=/ssd COUNT"`` asks for a field of an entry.

    Not collective.
    """
    library = _library.library()
    pointer = library.SCR_Config(_bytes(text))
    if not pointer:
        why = last_error()
        if why:
            raise Error(E_CONFIG, why)
        return None
    try:
        return os.fsdecode(ctypes.string_at(pointer))
    finally:
        _c.free(pointer)


def need_checkpoint() -> bool:
    """Tells whether the application should write a checkpoint now; the same on all ranks. Collective."""
    return _flag("SCR_Need_checkpoint")


def should_exit() -> bool:
    """Tells whether the application should stop: the allocation ends soon, or someone asked for it. Collective."""
    return _flag("SCR_Should_exit")


def start_output(name: Union[str, bytes, None] = None, flags: int = FLAG_CHECKPOINT) -> None:
    """Starts a dataset: a checkpoint, output, or both (``FLAG_CHECKPOINT | FLAG_OUTPUT``).

    ``name``: UTF-8, shorter than 1024 bytes; ``None`` or ``""`` for a name that SCR makes.

    Collective, with the same arguments on every rank. If it raises, nothing was started.
    """
    _collectively("SCR_Start_output", (_NO_NAME, -1), lambda: (None if name is None else _bytes(name), index(flags)))


def route_file(path: Union[AnyStr, os.PathLike[AnyStr]]) -> AnyStr:
    """Returns where to open the file that the application calls ``path``: ``bytes`` for ``bytes``, else ``str``.

    Between ``start_output`` and ``complete_output``: where to write it; each rank asks for every file it writes. Between
    ``start_restart`` and ``complete_restart``: where to read it. Elsewhere: ``path`` itself. Names that are not UTF-8 are
    kept as ``os.fsencode`` does.

    Not collective.
    """
    name = os.fspath(path)
    buffer = ctypes.create_string_buffer(MAX_FILENAME)
    _check(_library.library().SCR_Route_file(_bytes(name), buffer))
    return buffer.value if isinstance(name, bytes) else os.fsdecode(buffer.value)


def complete_output(valid: bool = True) -> bool:
    """Ends the dataset: SCR protects it, and copies it to the parallel file system where it is due.

    ``valid``: whether this rank wrote all its files, closed, without error.

    Returns ``True`` if the dataset can be used: if it is less protected than configured, with a ``DegradedWarning``.
    ``False`` if not, with the reason in ``last_error()``; earlier ones are there still, and the application can go on.
    Raises ``Error`` for a call that is not allowed here and when MPI failed.

    Collective; the answer is the same on all ranks.
    """
    return _complete("SCR_Complete_output", valid)


def have_restart() -> Optional[str]:
    """Returns the name of the checkpoint to restart from, which was verified, or ``None`` if there is none.

    Raises ``Error`` if there are checkpoints that this run cannot use.

    Collective; the answer is the same on all ranks.
    """
    flag, buffer = ctypes.c_int(0), ctypes.create_string_buffer(MAX_FILENAME)
    _check(_library.library().SCR_Have_restart(ctypes.byref(flag), buffer))
    return os.fsdecode(buffer.value) if flag.value else None


def start_restart() -> str:
    """Starts reading the checkpoint that ``have_restart`` named, or would name, and returns its name. Collective."""
    buffer = ctypes.create_string_buffer(MAX_FILENAME)
    _check(_library.library().SCR_Start_restart(buffer))
    return os.fsdecode(buffer.value)


def complete_restart(valid: bool = True) -> bool:
    """Ends reading the checkpoint.

    ``valid``: whether this rank read all it needs. Returns whether every rank said so. If not, the checkpoint is set
    aside, nothing of it deleted, and ``have_restart`` offers the next one.

    Collective; the answer is the same on all ranks.
    """
    return _complete("SCR_Complete_restart", valid)


def start_checkpoint() -> None:
    """Old name for ``start_output(None, FLAG_CHECKPOINT)``; ended by ``complete_checkpoint``. Collective."""
    _check(_library.library().SCR_Start_checkpoint())


def complete_checkpoint(valid: bool = True) -> bool:
    """Old name for ``complete_output`` after ``start_checkpoint``. Collective."""
    return _complete("SCR_Complete_checkpoint", valid)


def current(name: Union[str, bytes]) -> None:
    """Tells SCR that the application restarted from the checkpoint ``name`` without asking SCR. Collective."""
    _collectively("SCR_Current", (_NO_NAME,), lambda: (_bytes(name),))


def drop(name: Union[str, bytes]) -> None:
    """Takes the dataset ``name`` out of the index; its files stay. Collective."""
    _collectively("SCR_Drop", (_NO_NAME,), lambda: (_bytes(name),))


def delete(name: Union[str, bytes]) -> None:
    """Deletes the dataset ``name``: its files, in the cache too, and its entry in the index. Collective."""
    _collectively("SCR_Delete", (_NO_NAME,), lambda: (_bytes(name),))


def get_version() -> str:
    """Returns the version of the library that is running, as ``"v4.0.0"``. Not collective; at any time."""
    return str(_library.library().SCR_Get_version().decode())


def strerror(code: int) -> str:
    """Returns a few words on a code. Not collective; at any time."""
    return str(_library.library().SCR_Strerror(code).decode())


def last_error() -> str:
    """Returns why the last call of SCR in this thread failed and what to do, or ``""``. Not collective."""
    return str(_library.library().SCR_Last_error().decode(errors="replace"))


def _flag(function: str) -> bool:
    flag = ctypes.c_int(0)
    _check(getattr(_library.library(), function)(ctypes.byref(flag)))
    return bool(flag.value)


def _collectively(function: str, refused: tuple[Any, ...], arguments: Callable[[], tuple[Any, ...]]) -> None:
    """Calls a collective function; where this rank's arguments are none, with what is ``refused`` on all ranks: else the
    others would wait for this one."""
    call = getattr(_library.library(), function)
    try:
        converted = arguments()
    except Exception:
        call(*refused)
        raise
    _check(call(*converted))


def _complete(function: str, valid: bool) -> bool:
    """Ends a phase, also where ``valid`` is no truth: it must not stay open, and the others wait."""
    call = getattr(_library.library(), function)
    try:
        number = int(bool(valid))
    except Exception:
        call(0)
        raise
    return _completed(call(number))


def _check(code: int) -> None:
    if code != SUCCESS:
        raise Error(code, last_error() or strerror(code))


def settle(code: int) -> None:
    """Takes what ended a phase: raises unless the dataset can be used, and warns if it is less protected."""
    if code == E_DEGRADED:
        warnings.warn(last_error(), DegradedWarning, stacklevel=4)
    else:
        _check(code)


def _completed(code: int) -> bool:
    """Takes what ended a phase, and tells whether the dataset can be used."""
    if code in (E_MISUSE, E_COMMUNICATION):
        _check(code)
    with suppress(Error):
        settle(code)
        return True
    return False


def _bytes(text: Union[str, bytes]) -> bytes:
    encoded = os.fsencode(text)
    if b"\0" in encoded:
        # C would take what is before it for the whole.
        raise ValueError("embedded null byte")
    return encoded
