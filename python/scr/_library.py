# SPDX-License-Identifier: MIT OR Apache-2.0
"""Finds and loads the library: the one with MPI, or the one for a program of one process.

A process has one library, loaded by the first call that needs it. A job of several ranks never gets the library
without MPI by itself: its ranks would take each other for other jobs in the same prefix.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from ctypes import POINTER, c_char_p, c_int, c_void_p
from pathlib import Path
from typing import Iterator, Optional

from ._error import E_MISUSE, E_NOT_FOUND, Error

#: Of the interface that this package speaks; a part of the library's name.
MAJOR = 4

_WITH_MPI = f"libscr.so.{MAJOR}"
_WITHOUT_MPI = f"libscr_single.so.{MAJOR}"

#: What launchers tell each process: the number of processes, the launcher of an MPI before the resource manager below it.
_RANKS = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS")
#: Tells only that there is a launcher.
_LAUNCHED = ("PMIX_RANK", "PMI_RANK")

_loaded: Optional[ctypes.CDLL] = None


def load(mpi: Optional[bool] = None) -> None:
    """Loads the library; needed only to choose one before ``config`` is called.

    ``mpi``: ``True`` for the library with MPI, which mpi4py initialises; ``False`` for the one of programs of one
    process; ``None`` (the default) for the one with MPI if mpi4py has initialised MPI, or if a launcher (mpirun, srun)
    started this process, and else the other.

    Where the library is looked for: the file or directory that the variable ``SCR_LIBRARY`` names, and nowhere else if it
    is set; the ``lib`` in which ``make install`` put this package; where the loader looks (``LD_LIBRARY_PATH`` ...).

    Raises ``Error`` with ``E_NOT_FOUND`` if there is none, and ``E_MISUSE`` if the other one is loaded already or if
    the library and mpi4py use different MPIs.

    Not collective.
    """
    global _loaded
    if _loaded is not None:
        if mpi is not None and mpi != has_mpi(_loaded):
            raise Error(E_MISUSE, f"the library {_loaded._name} is loaded already; choose before any other call of scr")
        return
    chosen = os.environ.get("SCR_LIBRARY")
    if mpi is None and chosen and os.path.isfile(chosen):
        # A single file leaves no choice, but for the check that ranks are not left alone.
        library = _open(chosen)
        if not has_mpi(library):
            _refuse_lone_ranks(f"{library._name} is without MPI")
    else:
        wanted = _is_mpi_in_use() if mpi is None else mpi
        library = _find(_WITH_MPI if wanted else _WITHOUT_MPI)
        if wanted != has_mpi(library):
            kind = "with" if wanted else "without"
            raise Error(E_MISUSE, f"{library._name} is not the library {kind} MPI that was asked for")
    _declare(library)
    if has_mpi(library):
        _start_mpi(library)
    _loaded = library


def library() -> ctypes.CDLL:
    """Returns the library, and loads it if no call did so before."""
    load()
    assert _loaded is not None
    return _loaded


def is_mpi() -> bool:
    """Tells whether the library that is loaded is the one with MPI."""
    return has_mpi(library())


def has_mpi(library: ctypes.CDLL) -> bool:
    """Tells whether ``library`` was built with MPI: a look-up by its handle sees it and what it is linked with."""
    return hasattr(library, "MPI_Initialized")


def _ranks() -> int:
    """The number of processes that the launcher nearest to this one started, as far as it tells."""
    told = (os.environ.get(name, "") for name in _RANKS)
    return next((int(value) for value in told if value.isdigit()), 1)


def _is_mpi_in_use() -> bool:
    mpi = sys.modules.get("mpi4py.MPI")
    if mpi is not None and mpi.Is_initialized():
        return True
    if not any(name in os.environ for name in _RANKS + _LAUNCHED):
        return False
    if importlib.util.find_spec("mpi4py") is not None:
        return True
    _refuse_lone_ranks("this Python has no mpi4py")
    return False


def _refuse_lone_ranks(why: str) -> None:
    ranks = _ranks()
    if ranks > 1:
        raise Error(
            E_MISUSE,
            f"{ranks} processes were launched together and do not find each other: {why}; "
            "they need mpi4py, library and launcher of one MPI, or mpi=False if each is a job of its own",
        )


def _candidates(name: str) -> Iterator[str]:
    chosen = os.environ.get("SCR_LIBRARY")
    if chosen:
        yield os.path.join(chosen, name) if os.path.isdir(chosen) else chosen
        return
    # <prefix>/lib/python3/scr, or <prefix>/lib/python3.x/site-packages/scr
    package = Path(__file__).resolve().parent
    for above in (package.parents[1], package.parents[2]):
        if (above / name).exists():
            yield str(above / name)
    yield name


def _find(name: str) -> ctypes.CDLL:
    tried = []
    for candidate in _candidates(name):
        try:
            return ctypes.CDLL(candidate)
        except OSError as error:
            tried.append(f"{candidate}: {error}")
    beside = Path(__file__).resolve().parents[2]
    where = "SCR_LIBRARY" if os.environ.get("SCR_LIBRARY") else f"SCR_LIBRARY (not set), {beside}, the loader's path"
    raise Error(
        E_NOT_FOUND,
        f"no library {name} (looked in {where}: {'; '.join(tried)}); "
        "set SCR_LIBRARY to its path, or LD_LIBRARY_PATH to its directory",
    )


def _open(path: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(path)
    except OSError as error:
        raise Error(E_NOT_FOUND, f"SCR_LIBRARY={path} cannot be loaded: {error}") from None


def _start_mpi(library: ctypes.CDLL) -> None:
    """Imports mpi4py, which initialises MPI, and checks that it is the MPI of the library."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise Error(E_NOT_FOUND, f"{library._name} needs MPI, and mpi4py cannot be imported: {error}") from error
    flag = c_int(0)
    library.MPI_Initialized(ctypes.byref(flag))
    if not MPI.Is_initialized():
        # The program wants to do it itself; SCR_Init says so if it does not.
        return
    if not flag.value:
        found = MPI.Get_library_version().split("\n")[0].split(",")[0]
        raise Error(E_MISUSE, f"{library._name} was built with another MPI than mpi4py, which has {found}")
    if MPI.COMM_WORLD.size == 1:
        _refuse_lone_ranks("mpi4py sees one: its MPI does not belong to the launcher")


def _declare(library: ctypes.CDLL) -> None:
    """Tells ctypes the types of scr.h."""
    flag, name = POINTER(c_int), c_char_p
    functions = {
        "Init": (c_int,),
        "Finalize": (c_int,),
        # A copy that must be freed: kept as a pointer.
        "Config": (c_void_p, name),
        "Need_checkpoint": (c_int, flag),
        "Start_output": (c_int, name, c_int),
        "Route_file": (c_int, name, c_char_p),
        "Complete_output": (c_int, c_int),
        "Have_restart": (c_int, flag, c_char_p),
        "Start_restart": (c_int, c_char_p),
        "Complete_restart": (c_int, c_int),
        "Should_exit": (c_int, flag),
        "Current": (c_int, name),
        "Drop": (c_int, name),
        "Delete": (c_int, name),
        "Get_version": (c_char_p,),
        "Strerror": (c_char_p, c_int),
        "Last_error": (c_char_p,),
        "Start_checkpoint": (c_int,),
        "Complete_checkpoint": (c_int, c_int),
    }
    for function, (result, *arguments) in functions.items():
        symbol = getattr(library, f"SCR_{function}", None)
        if symbol is None:
            raise Error(E_MISUSE, f"{library._name} has no SCR_{function}: it is not libscr {MAJOR}")
        symbol.restype, symbol.argtypes = result, arguments
