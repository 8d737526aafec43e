"""The disk: what one manifold has kept, and a journal that is written to it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from barker import wire
from tests.simulation.settings import SEGMENT_BYTES


class Killed(BaseException):
    """kill -9, in the middle of whatever the process was doing."""


class Disk:
    """What one manifold has on its disk, for as long as the simulation lasts."""

    def __init__(self) -> None:
        self.segments: dict[int, list[bytes]] = {}
        self.torn = False
        self.closed = False  # nothing was written since somebody closed it in good order
        self.full = False
        self.trap = ""  # the next write kills: "before", "after", or in the middle of it: "torn"


class MemoryJournal:
    """A journal as `barker.journal` has it, in memory. What was appended survives the process."""

    def __init__(self, disk: Disk, epochs: Iterator[str]) -> None:
        self.disk = disk
        self.epoch = ""
        self.damages = 0
        self.undone = True
        self._epochs = epochs
        self._header: Callable[[], dict[str, Any]] = dict
        self._sizes = {n: sum(map(len, lines)) for n, lines in disk.segments.items()}
        self._begun = False

    @property
    def segments(self) -> dict[int, int]:
        return self._sizes

    @property
    def size(self) -> int:
        return sum(self._sizes.values())

    @property
    def current(self) -> int:
        return next(reversed(self._sizes), 0)

    def recover(self) -> Iterator[tuple[int, bytes]]:
        for number, lines in list(self.disk.segments.items()):
            for line in lines:
                if line.startswith(b'{"op":"segment"'):
                    self.epoch = wire.loads(line)["epoch"]
                yield number, line
        self.damages, self.disk.torn = int(self.disk.torn), False
        if self.damages or not self.disk.closed or not self.epoch:
            self.epoch = next(self._epochs)

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        self._header = header
        self._rotate()

    def _rotate(self) -> None:
        if self.disk.full:
            raise OSError(28, "No space left on device")
        number = self.current + 1
        self._sizes[number] = 0
        self.disk.segments[number] = []
        self._begun = True
        self.disk.closed = False
        self._write([wire.encode("segment", epoch=self.epoch, **self._header())])

    def turn(self) -> int:
        if not self._begun or self._sizes[self.current] > SEGMENT_BYTES:
            self._rotate()
        return self.current

    def append(self, lines: Sequence[bytes]) -> int:
        if self.disk.full:
            raise OSError(28, "No space left on device")
        trap, self.disk.trap = self.disk.trap, ""
        if trap == "before":
            raise Killed
        self.turn()
        if trap == "torn":
            self._write(lines[: len(lines) // 2])
            self.disk.torn = True
            raise Killed
        self._write(lines)
        if trap:
            raise Killed
        return self.current

    def _write(self, lines: Sequence[bytes]) -> None:
        self.disk.segments[self.current] += lines
        self._sizes[self.current] += sum(map(len, lines))

    def drop(self, number: int) -> None:
        del self.disk.segments[number], self._sizes[number]

    def close(self) -> None:
        self.disk.closed = self.disk.closed or self._begun
