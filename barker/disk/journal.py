"""The journal: what is acked is in a file before the ack is on the wire.

Append-only files (*segments*) of the wire's own lines, one folder for each manifold. The rules:

* A batch is one write (group commit), and the ack goes out after it. What the kernel has, survives
  kill -9. With `--fsync` the ack waits until the disk has it, which survives a power cut, too; a
  thread waits for that (`barker.disk.syncing`).
* Each record carries a checksum. A record that is only half there was never acked; it is cut off.
  Damage elsewhere is reported and skipped, and what follows is recovered all the same.
* Every start begins a new *epoch*. A power cut may have taken the end of a journal, a folder may be
  an old copy, or a copy that another process works with as well: in all of these a counter that
  goes on where the files end would be given away a second time. A new epoch is a few bytes, and
  what was stamped in an earlier one keeps its stamp; readers and receivers do the rest.
* A write that fails leaves nothing behind: the file is cut back to where it was.
* Every start begins a new segment, and every segment begins with a header. In it, the owner says
  what it has to know if all segments before it are gone. Which those are, is the owner's to say.
* What is missing is reported. A header says where the segment before it ended
  (`barker.disk.segments`). The file ``lock`` says which segment is the last one, and after a stop
  in good order where it ended. After kill -9 nothing says how long the last segment was: if it is
  cut at the end of a record, that is not seen.
* After each write the file is looked for at its path. If the folder was deleted, moved or replaced,
  the write counts as failed: what is acked there no start would find.

``cut -c10- SEGMENT`` shows what the wire would. Left out: reading while writing, indexes,
compression; a manifold has in memory what it works with and reads its journal once, when it starts.
And a journal whose folder was deleted is not written anew from memory: the manifold takes nothing
more, hands on what it has, and is started again.
"""

import contextlib
import errno
import logging
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from barker.disk import segments
from barker.disk.files import StateError, make_folder, unwritable
from barker.disk.locks import Lock, inode_of, look_for
from barker.disk.segments import End, Header, Stray
from barker.disk.syncing import Syncing

log = logging.getLogger("barker.disk.journal")

# Small enough to be rid of soon, large enough that there are few: about 25 000 barks. The batch
# with which a segment becomes as large as this is still in it.
SEGMENT_BYTES = 8 * 1024 * 1024
# Damaged records of one segment that are told of one by one; then their number.
TOLD_DAMAGES = 10
# Damaged records between two looks at other things.
PASSED_OVER = 1000
# On a small disk it is this part of what the disk has for the journal.
SEGMENT_SHARE = 8
# But not smaller than this. And none counts as less, so that many starts leave no crowd of files.
MIN_SEGMENT_BYTES = 64 * 1024


class Journal:
    """One folder. Use: `recover` to the end, then `begin`, then `append` and `drop`.

    `segments` has the size in bytes of every segment that exists, by number, oldest first.
    """

    def __init__(
        self, folder: pathlib.Path, *, fsync: bool = False, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Take possession of the folder. Raises StateError, also if a living process has it.

        A journal of another format raises it before anything is written.
        """
        self.folder = folder
        self.epoch = secrets.token_hex(8)  # whose counters ours are, until this process ends
        self.damages = 0  # what could not be read at the last recovery, or was missing
        self.undone = True  # no write that failed has left anything behind
        self.fsync = fsync
        self._segment_bytes = self._full_at = segment_bytes
        self._file = -1
        self._file_path, self._inode = "", -1  # where the file is to be found
        self._syncing = Syncing(folder)
        self._header: Callable[[], dict[str, Any]] | None = None
        self.trouble = ""  # why nothing can be written now
        with contextlib.ExitStack() as undo:
            try:
                if folder.exists():
                    segments.survey(folder)
                make_folder(folder)
                self._lock = Lock(folder)
                undo.callback(self._lock.close)
                self._found = segments.survey(folder)
                mark, dropped = segments.parse_note(self._lock.read_note())
            except OSError as fault:
                raise unwritable(folder, fault) from None
            undo.pop_all()
        headers = [header for header in self._found.headers.values() if header]
        self.segments = dict(self._found.sizes)
        self.current = next(reversed(self.segments), 0)  # the number of the one that is written
        self._newest = max(self.current, mark.number)  # no number is given a second time
        self._dropped = max([dropped, *(header.dropped for header in headers)])
        # Where segments ended, by number, as far as anything says so.
        ends = [mark, *(header.before for header in headers)]
        self._ends = {end.number: end for end in ends}
        self._end = End(0)  # where the last one that was read or written ends

    @property
    def size(self) -> int:
        """Bytes on disk, where a small file counts as a larger one."""
        least = min(MIN_SEGMENT_BYTES, self._segment_bytes // 128)
        return sum(max(size, least) for size in self.segments.values())

    @property
    def room(self) -> int:
        """Bytes that the disk has for it: what it takes, and what is free."""
        free = 0
        if not self.trouble:  # it may be a quota, of which the disk says nothing
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self.folder).free
        return self.size + free

    def _path(self, number: int) -> pathlib.Path:
        return segments.path_of(self.folder, number)

    # --- reading ---

    def recover(self) -> Iterator[tuple[int, bytes | None]]:
        """(segment, line) for every sound record, in the order in which they were written.

        Headers are among them. A file can be read in part only: what is damaged or missing is
        reported, counted in `damages`, and passed over. Files that are not ours are named. The line
        is None where much was passed over: it is time to look at other things.
        """
        self.damages = 0
        for name, why in self._found.strays:
            log.warning("%s: ignored %r: %s", self.folder, name, why)
        for number in list(self.segments):
            for line in self._read(number):
                yield number, line
        for number, end in sorted(self._ends.items()):
            if end.size and number not in self.segments and number > self._dropped:
                log.warning("%s is missing: what was acked in it is lost", self._path(number))
                self.damages += 1

    def _read(self, number: int) -> Iterator[bytes | None]:
        path, known = self._path(number), self._ends.get(number, End(number))
        self._end = End(number)
        whole = damaged = 0
        changed = False
        try:
            for at, checksum, line in segments.read(path):
                if line is None:
                    damaged += 1
                    if damaged <= TOLD_DAMAGES:
                        log.warning("%s: the record that ends at byte %d is damaged", path, at)
                    elif damaged % PASSED_OVER == 0:
                        yield None
                else:
                    if not whole and self._found.headers[number] is None:
                        damaged += 1
                        log.warning("%s: what came before its first record is missing", path)
                    self._end = End(number, at, checksum)
                    changed = changed or (at == known.size and checksum != known.checksum)
                    if dropped := segments.parse_dropped(line):
                        self._dropped = max(self._dropped, dropped)
                    else:
                        yield line
                whole = at
        except (OSError, Stray) as fault:
            raise StateError(f"{path}: {getattr(fault, 'strerror', None) or fault}") from None
        if whole < known.size:
            text = "%s ends at byte %d, and was written up to byte %d: what was acked there is lost"
            log.warning(text, path, whole, known.size)
        elif changed:
            log.warning("%s was replaced: what was acked there may be lost", path)
        elif whole < self.segments[number]:
            log.info("%s: half a record at byte %d was never acked, and is left out", path, whole)
        if damaged > TOLD_DAMAGES:
            log.warning("%s: damaged are %d records in all", path, damaged)
        self.damages += damaged + (whole < known.size or changed)
        if whole and number == self.current:
            self._cut(path, whole)

    def _cut(self, path: pathlib.Path, whole: int) -> None:
        """Cut off what was never acked, at the end of the last segment."""
        if whole < self.segments[self.current]:
            with contextlib.suppress(OSError):  # then the next recovery will say it again
                segments.cut(path, whole)
            self.segments[self.current] = whole

    def read(self, number: int) -> Iterator[bytes | None]:
        """The records of one segment, while later ones are written; None for one that is damaged.

        Raises OSError.
        """
        try:
            for _, _, line in segments.read(self._path(number)):
                yield line
        except Stray as fault:
            raise OSError(errno.EINVAL, str(fault)) from None

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

    def rotate_if_full(self) -> int:
        """Start another segment if this one is full; the number of the one to be written now.

        Raises OSError.
        """
        if self._file < 0 or self.segments[self.current] >= self._full_at:
            self._rotate()
        return self.current

    def append(self, lines: Sequence[bytes]) -> int:
        """Keep the lines, all or none, in one write; returns the segment that has them.

        Raises OSError, and then nothing was kept. What is in the way is logged once, and again
        when it has changed.
        """
        number = self.rotate_if_full()
        try:
            self._write(number, lines)
        except OSError as fault:
            self._say(fault)
            raise
        if self.trouble:
            self._can_write()
        return number

    def has_room(self) -> bool:
        """Can a batch be written now? It is tried, with a large one, and taken back."""
        try:
            size = self.segments[self.rotate_if_full()]
            segments.probe(self._file, size)
            look_for(self._file_path, self._inode)
        except OSError as fault:
            self._say(fault)
            return False
        if self.trouble:
            self._can_write()
        return True

    def _can_write(self) -> None:
        self.trouble = ""
        log.info("%s can be written again", self.folder)

    def copy(self, lines: Sequence[bytes]) -> int:
        """`append` for what an older segment has: a fault says nothing of room for batches."""
        number = self.rotate_if_full()
        self._write(number, lines)
        return number

    def _rotate(self) -> None:
        if self._header is None or not self._lock.is_held:
            raise OSError("the journal is closed, or has not begun")
        try:
            self._begin_segment(self._header)
        except OSError as fault:
            self._say(fault)
            raise

    def _begin_segment(self, header: Callable[[], dict[str, Any]]) -> None:
        self._lock.check()
        number, file = segments.create(self.folder, self._newest + 1)
        self._leave()
        self._file, self._file_path, self._inode = file, str(self._path(number)), inode_of(file)
        self.current = number
        self.segments[number] = 0
        before = self._end
        try:
            self._full_at = min(
                self._segment_bytes, max(self.room // SEGMENT_SHARE, MIN_SEGMENT_BYTES)
            )
            head = Header(number, before, self._dropped)
            self._write(number, [segments.header_line(head, self.epoch, header())])
            self._syncing.note_name()
        except BaseException:  # as if we had not tried
            self._leave()
            self._end = before
            self._remove(number)
            raise
        self._newest = number
        self._note()

    def _note(self) -> None:
        with contextlib.suppress(OSError):
            self._lock.note(segments.note_line(self._end, self._dropped))

    def _write(self, number: int, lines: Sequence[bytes]) -> None:
        size = self.segments[number]
        records = [segments.record(line) for line in lines]
        blob = b"".join(records)
        try:
            written = os.write(self._file, blob)
            while written < len(blob):
                written += os.write(self._file, blob[written:])
            if self.fsync:
                self._syncing.note(number, self._file)
            look_for(self._file_path, self._inode)
        except BaseException:
            # Whatever it was: what is not counted must not be in the file.
            try:
                os.ftruncate(self._file, size)
            except OSError:
                self.undone = False
                # Nothing is added to half a record: the next attempt takes a new segment.
                self._leave()
            raise
        self.segments[number] = size + len(blob)
        if records:
            self._end = End(number, size + len(blob), records[-1][:8])

    def _say(self, fault: OSError) -> None:
        """Log why nothing can be written, unless that is known."""
        why = fault.strerror or str(fault)
        if why != self.trouble:
            self.trouble = why
            log.error("%s can't be written, so nothing is acked: %s", self.folder, why)

    @property
    def is_synced(self) -> bool:
        """Does what was written count? With `fsync`, after the next `sync`."""
        return not self._syncing.is_needed

    def sync(self) -> "Future[None]":
        """Have all on the disk itself that was written. The future raises OSError."""
        return self._syncing.start()

    def sync_from(self, number: int) -> "Future[None]":
        """The same for the segments from that one on, also without `fsync`: what is the last copy
        has to be there."""
        return self._syncing.start_all(self._path(n) for n in self.segments if n >= number)

    def drop(self, number: int) -> None:
        """Delete a segment that nobody needs any more, the oldest one first.

        A record says so before it is done, so that the segment is not missed; on a full disk the
        lock says so. Raises OSError, and then the segment is still there.
        """
        is_said = True
        try:
            if self._file < 0:
                self._rotate()
            self._write(self.current, [segments.dropped_line(number)])
        except OSError:
            is_said = False
            self._lock.check()
            self._lock.note(segments.note_line(self._end, number))
        self._dropped = max(self._dropped, number)
        if is_said and self.fsync:
            self._syncing.delete(self._path(number))
        else:
            self._path(number).unlink(missing_ok=True)
        del self.segments[number]

    def _remove(self, number: int) -> None:
        """Delete a segment that could not be begun."""
        with contextlib.suppress(OSError):
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
                segments.sync_all(map(self._path, self.segments))
            self._note()
        self._leave()
        self._syncing.close()
        self._lock.close()


def forget(folder: pathlib.Path) -> None:
    """Delete all journals below `folder`. If one is in use: StateError, and all are still there."""
    folders = [p for p in folder.glob("*") if p.is_dir() and not p.is_symlink()]
    with contextlib.ExitStack() as ours:
        for path in folders:
            ours.callback(Lock(path).close)
    for path in folders:
        shutil.rmtree(path, ignore_errors=True)
