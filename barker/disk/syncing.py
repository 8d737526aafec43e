"""Syncing: a thread that waits until files are on the disk, which may take too long for a loop.

Data that the kernel has survives kill -9. For a power cut it has to be on the disk: ``fsync`` waits
for that, some milliseconds, or seconds while others write much. So a thread waits. Data that is
written meanwhile is synced with the next call, all of it at once (group commit).
"""

import os
import pathlib
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from barker.disk import segments


class Syncing:
    """For the files in one folder. `note` each write; `start` syncs all of them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1)
        self._written: dict[int, int] = {}  # by number of the file, a descriptor of our own
        self._named = False  # there is a new file
        self._ended: list[pathlib.Path] = []

    @property
    def is_needed(self) -> bool:
        """May any write not be on the disk?"""
        return bool(self._written or self._ended)

    def note(self, number: int, file: int) -> None:
        """That file was written to. Raises OSError."""
        if number not in self._written:
            self._written[number] = os.dup(file)

    def note_name(self) -> None:
        """A file was made: else a power cut may leave bytes without a name."""
        self._named = True

    def delete(self, path: pathlib.Path) -> None:
        """Delete this file when all noted writes are on the disk."""
        self._ended.append(path)

    def start(self) -> "Future[None]":
        """Have all noted writes on the disk. The future raises OSError."""
        written, self._written = self._written, {}
        ended, self._ended = self._ended, []
        named, self._named = self._named, False
        return self._thread.submit(self._sync, written.values(), named, ended)

    def _sync(self, written: Iterable[int], named: bool, ended: Iterable[pathlib.Path]) -> None:
        try:
            for file in written:
                os.fsync(file)
            if named:
                segments.sync_folder(self._folder)
            for path in ended:
                path.unlink(missing_ok=True)
        finally:
            for file in written:
                os.close(file)

    def start_all(self, paths: Iterable[pathlib.Path]) -> "Future[None]":
        """Have these on the disk, also files of other processes. The future raises OSError."""
        return self._thread.submit(segments.sync_all, list(paths))

    def close(self) -> None:
        """Wait for all that was begun."""
        if self.is_needed:
            self.start()
        self._thread.shutdown()
