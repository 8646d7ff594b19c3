# SPDX-License-Identifier: MIT OR Apache-2.0
"""One file that is whole or absent, whenever the process or the machine stops. Needs no library."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import IO, Any, Iterator, Optional, Union

_PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


@contextmanager
def durable(
    path: _PathLike, mode: str = "wb", *, encoding: Optional[str] = None, newline: Optional[str] = None
) -> Iterator[IO[Any]]:
    """Writes a file as a whole: ``with scr.durable("result.json", "w") as file: json.dump(result, file)``.

    Under the name ``path`` there is what was there before until the ``with`` ends, and then all that was written, on
    stable storage. If it is left by an exception, or the file cannot be written, the old one stays and the temporary one,
    ``.NAME.<16 digits>.tmp`` beside it, is removed; after SIGKILL or a crash of the machine that one may be left over.

    ``mode``: ``"wb"``, ``"w"`` or ``"wt"``; with ``encoding`` and ``newline`` as for ``open``. The mode of an existing file
    is kept; a link is followed. Two writers at a time do not mix: the last one stays.

    Raises ``OSError`` as ``open``, writing and renaming do. Not collective: each rank writes a file of its own.
    """
    if mode not in ("w", "wt", "wb"):
        raise ValueError(f"mode {mode!r}: a durable file is written as a whole, with 'w', 'wt' or 'wb'")
    target = os.path.realpath(os.fsencode(path))
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, b".%s.%s.tmp" % (name, secrets.token_hex(8).encode()))
    # Not by tempfile: that would take away the rights that others have by the umask.
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            with suppress(FileNotFoundError):
                os.fchmod(fd, stat.S_IMODE(os.stat(target).st_mode))
            # The descriptor stays open: the body may close the file, and fsync comes after that.
            file = open(fd, mode, encoding=encoding, newline=newline, closefd=False)
            try:
                yield file
            finally:
                file.close()
            os.fsync(fd)
        finally:
            # Some file systems tell of a full disk or quota only here.
            os.close(fd)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


def _sync_directory(directory: bytes) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # What some network file systems say, which keep names in order themselves.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(fd)
