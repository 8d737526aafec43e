"""Locks: one process has a folder, and the next one finds its note there.

The lock is one file in the folder. It is held while the file is open, so the system releases it
with the process, however that ends. A note is one record (`barker.disk.segments`) that replaces
the one before. kill -9 in the middle of that leaves no note, or the old one.

Left out: folders on network disks. Their locks may not hold.
"""

import errno
import os
import pathlib

from barker.disk.files import StateError, take_lock, unwritable
from barker.disk.segments import LOCK, record, sound

_MOST_BYTES = 4096  # of a note
_GONE = (
    "its folder was deleted, moved or replaced while we run; put it back, or start us again when "
    "what we hold is handed on"
)


class Taken(StateError):
    """Another process has it."""


def locked(path: pathlib.Path) -> int:
    """A file descriptor that holds the file for as long as it is open. Raises Taken or OSError."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        take_lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise Taken(f"{path.parent} is in use by another process") from None
    return descriptor


class Lock:
    """The lock of a folder, from now on until `close`."""

    def __init__(self, folder: pathlib.Path) -> None:
        """Raises Taken if a living process has it, and StateError if it can't be written."""
        self.path = folder / LOCK
        try:
            self._file = locked(self.path)
        except OSError as fault:
            raise unwritable(self.path, fault) from None

    @property
    def is_held(self) -> bool:
        return self._file >= 0

    def check(self) -> None:
        """Raises OSError if the folder at our path is another one now, or none."""
        look_for(str(self.path), inode_of(self._file))

    def read_note(self) -> bytes:
        """The line that was noted last; empty if there is none. Raises OSError."""
        os.lseek(self._file, 0, os.SEEK_SET)
        return sound(os.read(self._file, _MOST_BYTES).partition(b"\n")[0]) or b""

    def note(self, line: bytes) -> None:
        """Leave this for the next process.

        A note replaces the one before, so a full disk has room for it. Raises OSError.
        """
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, record(line))  # the rest of a longer one is behind its end

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def inode_of(file: int) -> int:
    """The number of an open file. No other file has it for as long as this one is open."""
    return os.fstat(file).st_ino


def look_for(path: str, inode: int) -> None:
    """Raises OSError if the file at that path has another number. Fast: each batch calls it."""
    try:
        found = os.lstat(path).st_ino
    except (FileNotFoundError, NotADirectoryError):
        found = -1
    if found != inode:
        raise FileNotFoundError(errno.ENOENT, _GONE)
