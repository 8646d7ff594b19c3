# SPDX-License-Identifier: MIT OR Apache-2.0
"""Which library is taken, from where, and what is said if there is none."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import scr

SAY = "scr.load(); from scr import _library; print(_library.library()._name, _library.is_mpi())"

FAIL = """
    try:
        scr.load({})
    except scr.Error as error:
        print(error.code, error)
"""


def in_path(job, name):
    for directory in job.env.get("LD_LIBRARY_PATH", "").split(":"):
        if directory and (Path(directory) / name).exists():
            return Path(directory) / name
    pytest.fail(f"LD_LIBRARY_PATH must have {name}")


def test_a_program_of_one_process_gets_the_library_without_mpi(job):
    assert job.run(SAY) == "libscr_single.so.4 False\n"
    assert "MPI" not in job.run("scr.load(); print(*(name for name in sys.modules if 'mpi4py' in name))")


def test_the_variable_names_a_file_or_a_directory(job):
    library = in_path(job, "libscr_single.so.4")
    del job.env["LD_LIBRARY_PATH"]
    for choice in (library, library.parent):
        assert job.run(SAY, SCR_LIBRARY=str(choice)) == f"{library} False\n"


def test_nothing_found_says_what_was_looked_for_and_where(job):
    del job.env["LD_LIBRARY_PATH"]
    said = job.run(FAIL.format(""))
    assert said.startswith("8 ") and "libscr_single.so.4" in said and "SCR_LIBRARY (not set)" in said
    said = job.run(FAIL.format(""), SCR_LIBRARY="/nowhere/libscr.so")
    assert said.startswith("8 ") and "/nowhere/libscr.so" in said


def test_another_library_is_refused(job):
    libc = next(line.split()[-1] for line in open("/proc/self/maps") if "/libc.so" in line)
    assert "it is not libscr 4" in job.run(FAIL.format(""), SCR_LIBRARY=libc)


def test_ranks_are_not_left_alone(job):
    hide = "import importlib.util as u; found = u.find_spec\nu.find_spec = lambda n: None if n == 'mpi4py' else found(n)\n"
    ranks = {"OMPI_COMM_WORLD_SIZE": "2"}
    fail = hide + textwrap.dedent(FAIL)
    assert "2 processes were launched together" in job.run(fail.format(""), **ranks)
    assert job.run(fail.format("False"), **ranks) == ""
    single = str(in_path(job, "libscr_single.so.4"))
    assert "2 processes were launched together" in job.run(fail.format(""), SCR_LIBRARY=single, **ranks)


def test_the_package_finds_the_library_it_was_installed_with(job, tree, tmp_path):
    lib = tmp_path / "prefix" / "lib"
    lib.mkdir(parents=True)
    (lib / "libscr_single.so.4").symlink_to(in_path(job, "libscr_single.so.4"))
    del job.env["LD_LIBRARY_PATH"]
    for place in ("python3", "python3.11/site-packages"):
        shutil.copytree(tree / "python/scr", lib / place / "scr")
        said = job.run(SAY, PYTHONPATH=str(lib / place))
        assert said == f"{lib}/libscr_single.so.4 False\n"


def test_pip_installs_the_package(job, tree, tmp_path):
    if subprocess.run([sys.executable, "-c", "import setuptools, wheel, pip"], capture_output=True).returncode:
        pytest.skip("no pip, setuptools and wheel")
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(tree / "python", source, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-build-isolation", "--no-deps", "--root-user-action"]
    subprocess.run([*pip, "ignore", "--target", str(target), str(source)], check=True, timeout=300)
    assert (target / "scr" / "py.typed").exists()
    assert job.run("print(scr.__file__)", PYTHONPATH=str(target)) == f"{target}/scr/__init__.py\n"


def test_with_mpi_if_launched_or_initialised_or_asked_for(job, mpi):
    assert job.run(SAY, ranks=2) == "libscr.so.4 True\n" * 2
    assert job.run("from mpi4py import MPI\n" + SAY) == "libscr.so.4 True\n"
    assert job.run("scr.init(mpi=True); scr.finalize(); print(scr._library.is_mpi())") == "True\n"
    assert job.run(SAY, SCR_LIBRARY=str(in_path(job, "libscr.so.4"))).endswith("libscr.so.4 True\n")


def test_ranks_whose_mpi_is_not_the_launchers_are_refused(job, mpi):
    ranks = {"OMPI_COMM_WORLD_SIZE": "2"}
    assert "mpi4py sees one" in job.run(FAIL.format(""), **ranks)
    assert "mpi4py sees one" in job.run(FAIL.format("mpi=True"), **ranks)
    assert job.run(FAIL.format("mpi=False"), **ranks) == ""


def test_one_library_a_process(job, mpi):
    assert "loaded already" in job.run("scr.load(mpi=False)\n" + textwrap.dedent(FAIL.format("True")))
    single = str(in_path(job, "libscr_single.so.4"))
    assert "not the library with MPI" in job.run(FAIL.format("mpi=True"), SCR_LIBRARY=single)


def test_every_public_name_is_listed():
    # Type checkers know what is listed, and no more.
    names = [name for name in dir(scr) if not name.startswith("_")]
    assert sorted(names) == sorted(scr.__all__)
