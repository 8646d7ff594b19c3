# SPDX-License-Identifier: MIT OR Apache-2.0
"""A durable file is the old one or the new one, never a part."""

import os
import stat

import pytest

import scr


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    for content in ("old", "new"):
        with scr.durable(path, "w") as file:
            file.write(content)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == content
    with scr.durable(os.fsencode(path)) as file:
        file.write(b"\xff")
    assert path.read_bytes() == b"\xff"
    assert os.listdir(tmp_path) == ["file"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    for kind in (KeyError, KeyboardInterrupt):
        with pytest.raises(kind), scr.durable(path, "w") as file:
            file.write("new")
            raise kind
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["file"]


def test_a_killed_writer_leaves_the_old_file(job):
    path = job.place / "file"
    path.write_text("old")
    process = job.start("""
        with scr.durable("file", "w") as file:
            file.write("new" * 100_000)
            file.flush()
            print("half", flush=True)
            sys.stdin.read()
    """)
    assert process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    assert path.read_text() == "old"
    left = [name for name in os.listdir(job.place) if name.endswith(".tmp")]
    assert len(left) == 1 and left[0].startswith(".file."), "what the documentation says"


@pytest.fixture
def order(monkeypatch):
    """What is asked of the system, in its order."""
    calls = []
    for name in ("fsync", "close", "replace"):

        def record(*arguments, name=name, call=getattr(os, name)):
            kind = ""
            if name == "fsync":
                kind = " directory" if stat.S_ISDIR(os.fstat(arguments[0]).st_mode) else " file"
            calls.append(name + kind)
            return call(*arguments)

        monkeypatch.setattr(os, name, record)
    return calls


def test_bytes_are_on_storage_before_the_name_and_the_name_at_the_end(tmp_path, order):
    with scr.durable(tmp_path / "file") as file:
        file.write(b"new")
        file.close()
    assert order == ["fsync file", "close", "replace", "fsync directory", "close"]


@pytest.mark.parametrize("call", ["fsync", "close", "replace"])
def test_what_fails_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    path.write_text("old")
    real_close = os.close

    def fail(*arguments):
        if call == "close":
            real_close(*arguments)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        with scr.durable(path, "w") as file:
            file.write("new")
            monkeypatch.setattr(os, call, fail)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_rights_are_those_of_the_old_file_or_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with scr.durable(tmp_path / "new"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o604)
    with scr.durable(tmp_path / "new"):
        pass
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o604


def test_a_link_stays_one(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    with scr.durable(tmp_path / "link", "w") as file:
        file.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there" / "file").read_text() == "new"


def test_other_modes_are_refused(tmp_path):
    for mode in ("r", "a", "w+", "x"):
        with pytest.raises(ValueError, match="as a whole"), scr.durable(tmp_path / "file", mode):
            pass


def test_no_library_is_needed(job):
    job.run("""
        with scr.durable("file", "w") as file:
            file.write("new")
        assert scr._library._loaded is None
    """, SCR_LIBRARY="/nowhere")
