"""The journal: an entry is in a file before its ack is on the wire.

Append-only files (*segments*) of the wire's own lines, one folder for each manifold. The rules:

* A batch is one write (group commit), and the ack goes out after it. Data that the kernel has
  survives kill -9. With `--fsync` the ack waits for the disk, so data survives a power cut, too; a
  thread waits for that (`barker.disk.syncing`).
* Each record carries a checksum. An incomplete record was never acked; it is cut off. Damage
  elsewhere is reported and skipped, and the records behind it are recovered.
* Every start begins a new *epoch*. A power cut may have taken the end of a journal, a folder may be
  an old copy, or a copy that another process works with as well. In all these cases a counter that
  went on where the files end would be given out a second time. A new epoch is a few bytes. Entries
  from an earlier one keep their stamps; readers and receivers do the rest.
* A write that fails leaves nothing behind: the file is cut back to where it was.
* Every start begins a new segment, and every segment begins with a header. In it, the owner has
  what it must know if all segments before it are gone. The owner decides when they go.
* Missing data is reported. A header has the end of the segment before it
  (`barker.disk.segments`). The file ``lock`` has the number of the last segment, and after a stop
  in good order its end. After kill -9 the length of the last segment is not known: if it is cut at
  the end of a record, that is not seen.
* After each write the file is looked for at its path. If the folder was deleted, moved or replaced,
  the write counts as failed: no start would find entries that were acked there.

``cut -c10- SEGMENT`` shows the wire's lines. Left out: reading while writing, indexes, compression;
a manifold has its data in memory and reads its journal once, when it starts. And a journal whose
folder was deleted is not written anew from memory: the manifold accepts nothing more, forwards its
entries, and is started again.
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

# Small enough to be dropped soon, large enough that there are few: about 25 000 barks. The batch
# with which a segment becomes as large as this is still in it.
SEGMENT_BYTES = 8 * 1024 * 1024
# Damaged records of one segment that are reported one by one; then their number.
TOLD_DAMAGES = 10
# Damaged records between two turns of the loop.
PASSED_OVER = 1000
# On a small disk: this part of the room for the journal.
SEGMENT_SHARE = 8
# But not smaller than this. Smaller files count as this, so that many starts leave few.
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
        self.damages = 0  # records that were damaged or missing at the last recovery
        self.undone = True  # no write that failed has left anything behind
        self.fsync = fsync
        self._segment_bytes = self._full_at = segment_bytes
        self._file = -1
        self._file_path, self._inode = "", -1  # where the file must be found
        self._syncing = Syncing(folder)
        self._header: Callable[[], dict[str, Any]] | None = None
        self.trouble = ""  # why no batch can be written now
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
        # Where segments ended, by number, as far as that is recorded.
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
        """Room that the disk has for it: its own bytes, and the free ones."""
        free = 0
        if not self.trouble:  # it may be a quota, which the disk does not report
            with contextlib.suppress(OSError):
                free = shutil.disk_usage(self.folder).free
        return self.size + free

    def _path(self, number: int) -> pathlib.Path:
        return segments.path_of(self.folder, number)

    # --- reading ---

    def recover(self) -> Iterator[tuple[int, bytes | None]]:
        """(segment, line) for every sound record, in the order in which they were written.

        Headers are among them. A file may be readable in part only: damaged or missing records are
        reported, counted in `damages`, and skipped. Foreign files are named. The line is None after
        many skipped records: it is time for a turn of the loop.
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
        """Cut off the incomplete record at the end of the last segment: it was never acked."""
        if whole < self.segments[self.current]:
            with contextlib.suppress(OSError):  # then the next recovery reports it again
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
        """Start a new segment; each will begin with the fields that `header` returns then.

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

        Raises OSError, and then nothing was kept. The reason is logged once, and again when it has
        changed.
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
        """Can a batch be written now? It tries with a large one, and takes it back."""
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
        """`append` for records of an older segment: a fault is no sign that batches lack room."""
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
            # Whatever the fault: bytes that are not counted must not be in the file.
            try:
                os.ftruncate(self._file, size)
            except OSError:
                self.undone = False
                # Nothing is added to an incomplete record: the next attempt takes a new segment.
                self._leave()
            raise
        self.segments[number] = size + len(blob)
        if records:
            self._end = End(number, size + len(blob), records[-1][:8])

    def _say(self, fault: OSError) -> None:
        """Log why no batch can be written, unless that was logged."""
        why = fault.strerror or str(fault)
        if why != self.trouble:
            self.trouble = why
            log.error("%s can't be written, so nothing is acked: %s", self.folder, why)

    @property
    def is_synced(self) -> bool:
        """Do written records count? With `fsync`, after the next `sync`."""
        return not self._syncing.is_needed

    def sync(self) -> "Future[None]":
        """Have all written records on the disk itself. The future raises OSError."""
        return self._syncing.start()

    def sync_from(self, number: int) -> "Future[None]":
        """The same for the segments from that one on, also without `fsync`: the last copy of a
        record has to be there."""
        return self._syncing.start_all(self._path(n) for n in self.segments if n >= number)

    def drop(self, number: int) -> None:
        """Delete a segment that is no longer needed, the oldest one first.

        A record announces it, so that the segment is not missed; on a full disk the lock's note
        does. Raises OSError, and then the segment is still there.
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
        """Release the folder. All written records are on the disk then."""
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
