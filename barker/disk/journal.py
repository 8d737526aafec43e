"""The journal: what is acked is in a file before the ack is on the wire.

Append-only files (*segments*) of the wire's own lines, one folder for each manifold. The rules:

* A batch is one write (group commit), and the ack goes out after it. What the kernel has, survives
  kill -9; what `--fsync` has waited for, survives a power cut too.
* Each record carries a checksum. A record that is only half there was never acked; it is cut off.
  Damage elsewhere is reported and skipped, and what follows is recovered all the same.
* Every start begins a new *epoch*. A power cut may have taken the end of a journal, a folder may be
  an old copy, or a copy that another process works with as well: in all of these a counter that
  goes on where the files end would be given away a second time. A new epoch is a few bytes, and
  what was stamped in an earlier one keeps its stamp; readers and receivers do the rest.
* A write that fails leaves nothing behind: the file is cut back to where it was.
* Every start begins a new segment, and every segment begins with a header in which the owner says
  what it has to know if all segments before it are gone. Which those are, is the owner's to say.

A record is ``CRC LINE\\n``, with the line's CRC-32 in eight hex digits: ``cut -c10- SEGMENT`` shows
what the wire would. Left out: reading while writing, indexes, compression; a manifold has in memory
what it works with and reads its journal once, when it starts.
"""

import contextlib
import logging
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from zlib import crc32

from barker.disk.files import StateError
from barker.wire import messages
from barker.wire.records import Segment

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("barker.disk.journal")

# Small enough to be rid of soon, large enough that there are few: about 25 000 barks. The batch
# with which a segment becomes as large as this is still in it.
SEGMENT_BYTES = 8 * 1024 * 1024
SUFFIX = ".log"


class Journal:
    """One folder. Use: `recover` to the end, then `begin`, then `append` and `drop`.

    `segments` has the size in bytes of every segment that exists, by number, oldest first.
    """

    def __init__(
        self, folder: pathlib.Path, *, fsync: bool = False, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Take possession of the folder. Raises StateError, also if a living process has it."""
        self.folder = folder
        self.epoch = secrets.token_hex(8)  # whose counters ours are, until this process ends
        self.damages = 0  # records that could not be read at the last recovery
        self.undone = True  # a write that failed has left nothing behind
        self.segments: dict[int, int] = {}
        self.current = 0  # the number of the segment that is being written
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._file = -1
        self._header: Callable[[], dict[str, Any]] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                if path.stem.isdecimal():
                    self.current = int(path.stem)
                    self.segments[self.current] = path.stat().st_size
        except OSError as fault:
            raise StateError(f"{folder}: {fault.strerror or fault}") from None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(self.segments.values())

    def _path(self, number: int) -> pathlib.Path:
        return self.folder / f"{number:012d}{SUFFIX}"

    # --- reading ---

    def recover(self) -> Iterator[tuple[int, bytes]]:
        """(segment, line) for every sound record, in the order in which they were written.

        Headers are among them. A file can be read in part only: what is damaged is reported,
        counted in `damages`, and passed over.
        """
        self.damages = 0
        for number in self.segments:
            for line in self._read(number):
                yield number, line

    def _read(self, number: int) -> Iterator[bytes]:
        path = self._path(number)
        try:
            content = path.read_bytes()
        except OSError as fault:
            raise StateError(f"{path}: {fault.strerror or fault}") from None
        sound_up_to = at = 0
        *records, torn = content.split(b"\n")
        for record in records:
            at += len(record) + 1
            line = record[9:]
            if record[:9] == b"%08x " % crc32(line):
                sound_up_to = at
                yield line
            else:
                self.damages += 1
                log.warning("%s: the record that ends at byte %d is damaged", path, at)
        self.damages += bool(torn)
        if sound_up_to < len(content):
            log.warning("%s: cut to its %d sound bytes", path, sound_up_to)
            with contextlib.suppress(OSError):  # then the next recovery will say it again
                os.truncate(path, sound_up_to)
            self.segments[number] = sound_up_to

    def report_damage(self) -> None:
        """A record is sound, and its owner can make nothing of it."""
        self.damages += 1

    # --- writing ---

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        """Start a new segment; each will begin with what `header` says at that time.

        Raises OSError.
        """
        self._header = header
        self._rotate()

    def turn(self) -> int:
        """Start another segment if this one is full; the number of the one to be written now.

        Raises OSError.
        """
        if self._file < 0 or self.segments[self.current] >= self._segment_bytes:
            self._rotate()
        return self.current

    def append(self, lines: Sequence[bytes]) -> int:
        """Keep the lines, all or none, in one write; returns the segment that has them.

        Raises OSError, and then nothing was kept.
        """
        number = self.turn()
        self._write(number, b"".join(map(_record, lines)), self._fsync)
        return number

    def _rotate(self) -> None:
        if self._lock < 0 or self._header is None:
            raise OSError("the journal is closed, or has not begun")
        number = self.current + 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        file = os.open(self._path(number), flags, 0o600)
        self._leave()
        self._file = file
        self.current = number
        self.segments[number] = 0
        try:
            header = messages.encode(Segment(self.epoch, **self._header()))
            self._write(number, _record(header), self._fsync)
            if self._fsync:
                _sync_folder(self.folder)
        except BaseException:  # as if we had not tried
            self._leave()
            self.drop(number)
            raise

    def _write(self, number: int, blob: bytes, sync: bool) -> None:
        size = self.segments[number]
        try:
            written = os.write(self._file, blob)
            while written < len(blob):
                written += os.write(self._file, blob[written:])
            if sync:
                os.fsync(self._file)
            self.segments[number] = size + len(blob)
        except BaseException:  # whatever it was: what is not counted must not be in the file
            try:
                os.ftruncate(self._file, size)
                self.undone = True
            except OSError:
                self.undone = False
                # Nothing is added to half a record: the next attempt takes a new segment.
                self._leave()
            raise

    def drop(self, number: int) -> None:
        """Delete a segment that nobody needs any more."""
        with contextlib.suppress(OSError):  # it will be dropped after the next start
            self._path(number).unlink()
        del self.segments[number]
        self.current = next(reversed(self.segments), 0)

    def _leave(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Give the folder back. What was written is on the disk then."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                for number in self.segments:
                    _sync(self._path(number))
        self._leave()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class NoJournal:
    """What a manifold has that keeps nothing: the same methods, and no file."""

    damages = size = current = 0
    undone = True

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.segments: dict[int, int] = {}

    def recover(self) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def report_damage(self) -> None:
        pass

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        pass

    def turn(self) -> int:
        return 0

    def append(self, lines: Sequence[bytes]) -> int:
        return 0

    def drop(self, number: int) -> None:
        pass

    def close(self) -> None:
        pass


def forget(folder: pathlib.Path) -> None:
    """Delete all journals below `folder`. If one is in use: StateError, and all are still there."""
    folders = [path for path in folder.glob("*") if path.is_dir()]
    with contextlib.ExitStack() as ours:
        for path in folders:
            ours.callback(Journal(path).close)
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)


def _record(line: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(line), line)


def _sync(path: pathlib.Path) -> None:
    """Have a file on the disk, whoever wrote it and however long ago."""
    descriptor = os.open(path, os.O_RDWR)  # Windows syncs nothing that it may not write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: pathlib.Path) -> None:
    """Have the names of new files on the disk too: else a power cut leaves bytes without a file."""
    if os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(path: pathlib.Path) -> int:
    """A file descriptor that holds the folder for as long as it is open. Raises StateError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        os.close(descriptor)
        raise StateError(f"{path.parent} is in use by another process") from None
    return descriptor
