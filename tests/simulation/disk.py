"""The disk: the real journals, in files, with what only a disk can do to them."""

import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from barker.disk.journal import Journal
from tests.simulation.settings import SEGMENT_BYTES, Failure
from tests.tools.inside import synced


class Killed(BaseException):
    """kill -9, in the middle of whatever the process was doing."""


class Epochs:
    """Instead of `secrets`, in journals: no dice, so that a run can be played again."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._numbers = itertools.count(1)

    def token_hex(self, size: int) -> str:
        return f"{next(self._numbers):0{2 * size}x}"


EPOCHS = Epochs()


class Files:
    """Instead of `os`, in journals: a write may be followed by an exception."""

    def __init__(self) -> None:
        self.written: Callable[[], object] = bool

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, file: int, blob: bytes) -> int:
        size = os.write(file, blob)
        self.written()
        return size


FILES = Files()


class Disk:
    """What one manifold has on its disk, for as long as the simulation lasts."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.full = False
        self.trap = ""  # the next write kills: "before", "after", or in the middle of it: "torn"
        self.journal: SimJournal | None = None
        self.hurt = False  # since the last start: what is missing can be known
        self.scarred = False  # at any time: something may be missing

    @property
    def files(self) -> list[pathlib.Path]:
        return sorted(self.folder.glob("*.log"))

    @property
    def lines(self) -> list[bytes]:
        return [line for path in self.files for line in path.read_bytes().splitlines()]

    def let_go(self) -> None:
        """The process is dead: what it had open is closed, and nothing more is written."""
        if self.journal:
            self.journal.let_go()
            self.journal = None

    def take_last(self) -> bytes | None:
        """A record that had not come to the disk yet: it is gone."""
        for path in reversed(self.files):
            lines = path.read_bytes().splitlines(keepends=True)
            if lines:
                path.write_bytes(b"".join(lines[:-1]))
                self.scarred = True
                return lines[-1]
        return None

    def lose(self, nth: int, records: int) -> list[bytes]:
        """A segment that has a successor is lost, or so many records at its end."""
        files = self.files[:-1]
        if not files:
            return []
        path = files[nth % len(files)]
        lines = path.read_bytes().splitlines(keepends=True)
        lost = lines[-records:] if records else lines
        if records:
            path.write_bytes(b"".join(lines[:-records]))
        else:
            path.unlink()
        self.hurt = self.hurt or bool(lost)
        self.scarred = self.scarred or self.hurt
        return lost

    def recovered(self, damages: int) -> None:
        """A process has read all of it, and reports so many damages."""
        if self.hurt and not damages:
            raise Failure(f"unreported: {self.folder.name} does not miss what it has lost")
        if damages and not self.scarred:
            raise Failure(f"false alarm: {self.folder.name} reports {damages} damages")
        self.hurt = False

    def copy_to(self, folder: pathlib.Path) -> None:
        """As `cp -r` does it, at whatever moment."""
        shutil.rmtree(folder, ignore_errors=True)
        if self.folder.exists():
            shutil.copytree(self.folder, folder)


class SimJournal:
    """A `barker.disk.journal.Journal`, with what only a disk can do to it."""

    def __init__(self, disk: Disk, spot: Callable[[str], None]) -> None:
        self.disk = disk
        self._real = Journal(disk.folder, segment_bytes=SEGMENT_BYTES)
        self._spot = spot
        disk.journal = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def recover(self) -> Iterator[tuple[int, bytes | None]]:
        yield from self._real.recover()
        self.disk.recovered(self._real.damages)

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        self._real._header = header
        self._see_room()
        self._real.begin(header)

    def rotate_if_full(self) -> int:
        self._see_room()
        return self._real.rotate_if_full()

    def append(self, lines: Sequence[bytes]) -> int:
        return self._written(lambda: self._real.append(lines))

    def has_room(self) -> bool:
        try:
            self._see_room()
        except OSError:
            return False
        self._real._can_write()
        return True

    def copy(self, lines: Sequence[bytes]) -> int:
        return self._written(lambda: self._real.copy(lines))

    def sync_from(self, number: int) -> "Future[None]":
        return synced(self._real, number)

    def drop(self, number: int) -> None:
        self._see_room()
        self._spot("drop")
        trap, self.disk.trap = self.disk.trap, ""
        if trap == "before":
            raise Killed
        self._real.drop(number)
        self._spot("drop+")
        if trap:
            raise Killed

    def _written(self, write: Callable[[], int]) -> int:
        self._see_room()
        self._spot("journal")
        trap, self.disk.trap = self.disk.trap, ""
        if trap == "before":
            raise Killed
        self._real.rotate_if_full()
        before = self._real.segments[self._real.current]
        FILES.written = lambda: self._spot("journal+")
        try:
            segment = write()
        finally:
            FILES.written = bool
        if trap == "torn":
            path = self.disk.files[-1]
            os.truncate(path, (before + path.stat().st_size) // 2)
        if trap:
            raise Killed
        return segment

    def _see_room(self) -> None:
        if self.disk.full:
            fault = OSError(28, "No space left on device")
            self._real._say(fault)
            raise fault

    def let_go(self) -> None:
        self._real._leave()
        self._real._lock.close()
