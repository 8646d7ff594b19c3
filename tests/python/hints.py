# SPDX-License-Identifier: MIT OR Apache-2.0
"""What type checkers know of the package `scr`: read by mypy, never run.

Each `assert_type` is a promise to programs; each `type: ignore` is a mistake that must be noticed, for one that is not is
an error itself (warn_unused_ignores).
"""

from pathlib import Path
from typing import IO, Any, Iterator, Optional

from typing_extensions import assert_type

import scr


def calls(path: Path, raw: bytes) -> None:
    assert_type(scr.init(), None)
    assert_type(scr.init(mpi=False), None)
    assert_type(scr.config("SCR_FLUSH"), Optional[str])
    assert_type(scr.need_checkpoint(), bool)
    assert_type(scr.should_exit(), bool)
    assert_type(scr.have_restart(), Optional[str])
    assert_type(scr.start_restart(), str)
    assert_type(scr.complete_restart(), bool)
    assert_type(scr.start_output("a", scr.FLAG_CHECKPOINT | scr.FLAG_OUTPUT), None)
    assert_type(scr.complete_output(valid=True), bool)
    # As os.fspath does: what comes out is as what went in.
    assert_type(scr.route_file("a"), str)
    assert_type(scr.route_file(raw), bytes)
    assert_type(scr.route_file(path), str)
    assert_type(scr.get_version(), str)
    assert_type(scr.strerror(scr.E_IO), str)
    assert_type(scr.last_error(), str)
    assert_type(scr.MAX_FILENAME, int)
    assert_type(scr.finalize(), None)


def phases() -> None:
    with scr.session():
        with scr.restart() as restart:
            assert_type(restart, Optional[scr.Restart])
            restart.name  # type: ignore[union-attr]
            if restart is not None:
                assert_type(restart.name, str)
                assert_type(restart.route("a"), str)
        with scr.output("a") as out:
            assert_type(out, scr.Output)
            assert_type(out.route(b"a"), bytes)
    with scr.durable("result.json", "w") as file:
        assert_type(file, IO[Any])


def save(route: scr.Route) -> None:
    assert_type(route("state"), str)


def loops() -> None:
    loop = scr.loop(100, save=save, load=save, every=10)
    assert_type(loop, scr.Loop)
    assert_type(iter(loop), Iterator[int])
    assert_type(loop.done, int)
    assert_type(loop.stopped, bool)
    assert_type(loop.checkpoint, Optional[str])
    assert_type(loop.stop(), None)
    for step in scr.loop(None, save=save, load=save):
        assert_type(step, int)


def errors() -> None:
    try:
        scr.init()
    except scr.Error as error:
        assert_type(error.code, int)
    raise scr.Invalid("not mine")


def mistakes() -> None:
    scr.start_output(7)  # type: ignore[arg-type]
    scr.start_output("a", "CHECKPOINT")  # type: ignore[arg-type]
    scr.route_file()  # type: ignore[call-arg]
    scr.complete_output("yes")  # type: ignore[arg-type]
    scr.current(None)  # type: ignore[arg-type]
    scr.strerror("5")  # type: ignore[arg-type]
    scr.config(b"A", 1)  # type: ignore[call-arg]
    scr.loop(10, save, save)  # type: ignore[misc]
    scr.loop(10, save=save)  # type: ignore[call-arg]
    scr.loop(10, save=save, load=lambda: None)  # type: ignore[misc, arg-type]
    scr.need_checkpoints()  # type: ignore[attr-defined]
    with scr.output(name=1):  # type: ignore[arg-type]
        pass
