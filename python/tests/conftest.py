# SPDX-License-Identifier: MIT OR Apache-2.0
"""What the tests share. Each test of the library is a process of its own: a process has one SCR.

The loader must find the libraries (``LD_LIBRARY_PATH``), and this package must be importable (``PYTHONPATH``). ``cargo test -p
scr-tests --test python`` builds them, sets both, and sets a deadline for the whole.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import scr

#: Of one launch. Only what hangs takes so long.
DEADLINE_SECONDS = 60


class Job:
    """A prefix, and launches of programs in it that import scr."""

    def __init__(self, place):
        self.place = place
        # Without a buffer Python writes a line and its end apart, and those of two ranks mix.
        foreign = ("SCR_", "PYTHONUNBUFFERED")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
        self.env.update(
            SCR_CACHE_BASE=str(place / "cache"),
            SCR_CNTL_BASE=str(place / "cache"),
            SCR_CACHE_BYPASS="0",
            SCR_CACHE_SIZE="3",
            SCR_COPY_TYPE="SINGLE",
            SCR_JOB_ID="4711",
            PYTHONPATH=str(Path(scr.__file__).resolve().parents[1]),
        )

    def command(self, code, ranks):
        # In a file, for tracebacks that show lines.
        program = self.place / "program.py"
        program.write_text("import os, signal, sys\nimport scr\n" + textwrap.dedent(code))
        launcher = [os.environ.get("MPIRUN", "mpirun"), "-n", str(ranks)] if ranks else []
        return [*launcher, sys.executable, str(program)]

    def start(self, code, *arguments, ranks=0, **env):
        """Starts a program and returns it as it runs, with pipes for stdin and stdout."""
        return subprocess.Popen(
            [*self.command(code, ranks), *arguments],
            cwd=self.place,
            env={**self.env, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # So that a deadline reaches its children too.
            start_new_session=True,
        )

    def run(self, code, *arguments, ranks=0, status=0, **env):
        """Runs a program to its end, checks its exit status, and returns what it printed without SCR's own lines."""
        process = self.start(code, *arguments, ranks=ranks, **env)
        try:
            said, _ = process.communicate(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"it does not end:\n{process.communicate()[0]}")
        assert process.returncode == status, said
        return "".join(line for line in said.splitlines(True) if not line.startswith("SCR "))


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


@pytest.fixture(scope="session")
def mpi():
    """What needs mpi4py of the MPI whose mpirun is here."""
    ask = [sys.executable, "-c", "from mpi4py import MPI; raise SystemExit(MPI.COMM_WORLD.size != 2)"]
    launcher = [os.environ.get("MPIRUN", "mpirun"), "-n", "2"]
    try:
        answer = subprocess.run([*launcher, *ask], capture_output=True, timeout=DEADLINE_SECONDS)
    except FileNotFoundError:
        pytest.skip("no mpirun")
    if answer.returncode != 0:
        pytest.skip("no mpi4py that works with this mpirun")


@pytest.fixture(scope="session")
def tree():
    """The top of the source tree."""
    return Path(__file__).resolve().parents[2]
