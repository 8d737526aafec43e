"""Segments: the files of a journal, and how they are read without trusting a folder.

A record is ``CRC LINE\\n``, with the line's CRC-32 in eight hex digits. The first record of a
segment is its header: the number of the format, the segment's own number, the end of its
predecessor, and up to which number segments were dropped. So its successor shows that a segment is
missing, or has lost records at its end.

* A file is a segment of ours by its name, its kind and its first bytes. Another file is a *stray*:
  it is named, and neither followed, nor read whole, nor written to.
* A segment of another format is an error, since its records may have been acked.
* A segment of ours may be damaged anywhere. Its sound records are read all the same.

Left out: the reaction to that. It is the journal's part (`barker.disk.journal`).
"""

import contextlib
import errno
import os
import pathlib
import shlex
import stat
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

from barker.disk.files import StateError
from barker.wire import strictjson
from barker.wire.protocol import BAD_MESSAGE, MAX_NUMBER, BadMessage

# Of the layout of a segment and of all records in it. Another number is refused.
FORMAT = 1
SUFFIX = ".log"
LOCK = "lock"
# How much of a file is searched for a sound record before it is a stray. A header is far smaller.
HEAD_BYTES = 1024 * 1024
# A record is read in blocks of this size, and most are smaller.
BLOCK_BYTES = 1024 * 1024
# A power cut may leave zeros in place of a record. Behind more of them the rest is not read: a
# sparse file may have more zeros than the disk has room.
HOLE_BYTES = 64 * 1024 * 1024

# Numbers that other files may have taken when a segment begins. Beyond it, the disk counts as full.
MAX_TAKEN = 1000
# Bytes that must fit on a full disk before its journal counts as writable again.
PROBE_BYTES = 1024 * 1024
_HEADER = b' {"op":"segment","format":%d,' % FORMAT
_HEADER_OF_ANY = b' {"op":"segment",'
_HEX = frozenset(b"0123456789abcdef")
_NO_LINK = (
    getattr(os, "O_NOFOLLOW", 0)  # Windows has neither this ...
    | getattr(os, "O_NONBLOCK", 0)  # ... nor this: a fifo would have us wait for its writer
    | getattr(os, "O_BINARY", 0)
)
_READ = os.O_RDONLY | _NO_LINK


class Stray(Exception):
    """This is no segment of ours; the text gives the reason."""


class End(NamedTuple):
    """Where a segment ended: behind a record with this checksum, as the record has it."""

    number: int
    size: int = 0
    checksum: bytes = b""


class Header(NamedTuple):
    """The journal's own fields of a segment's header."""

    number: int
    before: End  # the predecessor's; its number is 0 if there was none
    dropped: int  # all segments up to this one were dropped in good order


class Found(NamedTuple):
    """The content of a folder. Both of the first are by number, lowest first."""

    sizes: dict[int, int]
    headers: dict[int, Header | None]  # None if it is damaged
    strays: list[tuple[str, str]]  # name, and why it is one


# --- records ---


def record(line: bytes) -> bytes:
    return b"%08x %b\n" % (crc32(line), line)


def sound(some: bytes) -> bytes | None:
    """The line in a record; None if the record is damaged."""
    line = some[9:]
    return line if some[:9] == b"%08x " % crc32(line) else None


def header_line(header: Header, epoch: str, more: dict[str, Any]) -> bytes:
    """A segment's first line. `more` has the fields of the journal's owner."""
    own = {"format": FORMAT, "epoch": epoch, "number": header.number, **_fields(header.before)}
    return strictjson.dumps(dict(op="segment", **own, dropped=header.dropped, **more))


def note_line(end: End, dropped: int) -> bytes:
    """Where the last segment ends, and up to which one all are dropped."""
    return strictjson.dumps({**_fields(end), "dropped": dropped})


def parse_note(line: bytes) -> tuple[End, int]:
    """The fields of a `note_line`; of any other line, the end of no segment."""
    try:
        fields = strictjson.loads(line)
        return _end(fields), _natural(fields, "dropped")
    except BadMessage:
        return End(0), 0


def dropped_line(number: int) -> bytes:
    """A record of the journal's own: all segments up to this one are dropped."""
    return b'{"op":"dropped","number":%d}' % number


def parse_dropped(line: bytes) -> int:
    """The number in a line that `dropped_line` made; 0 for any other line."""
    if not line.startswith(b'{"op":"dropped",'):
        return 0
    try:
        return _natural(strictjson.loads(line), "number")
    except BadMessage:
        return 0


def _fields(end: End) -> dict[str, Any]:
    return {"before": end.number, "bytes": end.size, "checksum": end.checksum.decode()}


def _end(fields: Any) -> End:
    checksum = fields.get("checksum") if type(fields) is dict else None
    if type(checksum) is not str or not _HEX.issuperset(checksum.encode(errors="replace")):
        raise BadMessage(BAD_MESSAGE, "no checksum")
    return End(_natural(fields, "before"), _natural(fields, "bytes"), checksum.encode())


def _natural(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise BadMessage(BAD_MESSAGE, f"{name} is no number")
    return value


# --- folders ---


def path_of(folder: pathlib.Path, number: int) -> pathlib.Path:
    return folder / f"{number:012d}{SUFFIX}"


def survey(folder: pathlib.Path) -> Found:
    """Look at every file by its name and its first bytes.

    Raises OSError, and StateError if a segment is of another format.
    """
    heads: dict[int, tuple[int, Header | None]] = {}
    strays = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == LOCK:
                continue
            try:
                number = _number(entry)
                heads[number] = _look(folder, number)
            except Stray as why:
                strays.append((entry.name, str(why)))
    numbers = sorted(heads)
    sizes = {number: heads[number][0] for number in numbers}
    return Found(sizes, {n: heads[n][1] for n in numbers}, sorted(strays))


def _number(entry: os.DirEntry[str]) -> int:
    stem = entry.name.removesuffix(SUFFIX)
    number = int(stem) if stem.isdecimal() else 0
    if not number or entry.name != path_of(pathlib.Path(), number).name:
        raise Stray("a journal gives no such name")
    if not entry.is_file(follow_symlinks=False):
        raise Stray("this is no plain file")
    return number


def _look(folder: pathlib.Path, number: int) -> tuple[int, Header | None]:
    """A segment's size and header. Raises Stray, OSError, StateError."""
    with _open(path_of(folder, number)) as file:
        size = os.fstat(file.fileno()).st_size
        first = file.readline(HEAD_BYTES)
        line = sound(first[:-1]) if first.endswith(b"\n") else None
        if line is None:
            if _is_torn_header(first) or _looks_like_ours(first + file.read(HEAD_BYTES)):
                return size, None
            raise Stray("it has no record of ours")
    try:
        fields = strictjson.loads(line)
        if type(fields) is not dict or fields.get("op") != "segment":
            return size, None
        if fields.get("format") != FORMAT:
            raise StateError(_refusal(folder, fields.get("format", "unknown")))
        header = Header(_natural(fields, "number"), _end(fields), _natural(fields, "dropped"))
    except BadMessage:
        return size, None
    if header.number != number:
        raise Stray(f"it is a copy of segment {header.number}")
    return size, header


def _refusal(folder: pathlib.Path, other: object) -> str:
    # Not beside it: `launch.py --fresh` forgets every journal there.
    aside = folder.parent.with_name(f"{folder.name}-aside")
    return (
        f"{folder}: the format of this journal is {str(other)[:20]}, and format {FORMAT} is read "
        f"here; to start without it: mv {shlex.quote(str(folder))} {shlex.quote(str(aside))}"
    )


def _is_torn_header(begun: bytes) -> bool:
    """May kill -9 have left this, a part of a header? An empty file counts, too."""
    rest = begun[8:]
    whole = rest.startswith(_HEADER) or _HEADER.startswith(rest)
    return whole and not begun.endswith(b"\n") and _HEX.issuperset(begun[:8])


def _looks_like_ours(head: bytes) -> bool:
    if head[8:].startswith(_HEADER_OF_ANY):
        return True
    return any(sound(some) is not None for some in head.split(b"\n") if some)


# --- one segment ---


def read(path: pathlib.Path) -> Iterator[tuple[int, bytes, bytes | None]]:
    """(where it ends, its checksum, its line) for each record; the line is None if it is damaged.

    Leaves out an incomplete record at the end. Raises OSError, and Stray if this is no file.
    """
    with _open(path) as file:
        at = hole = 0
        begun: list[bytes] = []  # the blocks of a record that is larger than one
        while block := file.readline(BLOCK_BYTES):
            at += len(block)
            if block.endswith(b"\n"):
                some = b"".join([*begun, block[:-1]])
                yield at, some[:8], sound(some)
                begun.clear()
                hole = 0
            elif b"\0" in block:  # no line has such a byte
                hole += len(block)
                begun = [b"\0"]
                if hole > HOLE_BYTES:
                    yield os.fstat(file.fileno()).st_size, b"", None
                    return
            else:
                begun.append(block)


def create(folder: pathlib.Path, first: int) -> tuple[int, int]:
    """A file for a segment, and its number, `first` or larger. Existing files are left alone.

    Raises OSError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
    for number in range(first, first + MAX_TAKEN):
        with contextlib.suppress(FileExistsError):
            return number, os.open(path_of(folder, number), flags, 0o600)
    raise FileExistsError(errno.EEXIST, "other files have the names of its next segments")


def probe(file: int, size: int) -> None:
    """Write much to a file of that size, and take it back. Raises OSError if there is no room."""
    try:
        if os.write(file, bytes(PROBE_BYTES)) < PROBE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.ftruncate(file, size)


def cut(path: pathlib.Path, size: int) -> None:
    """Leave so many bytes of a segment. Raises OSError, also if there is a link in its place."""
    descriptor = os.open(path, os.O_WRONLY | _NO_LINK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "this is no plain file")
        os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def sync_all(paths: Iterable[pathlib.Path]) -> None:
    """Have files on the disk, also those that an earlier process wrote. Raises OSError."""
    for path in paths:
        # Windows syncs nothing that it may not write.
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_folder(path: pathlib.Path) -> None:
    """Have the names of new files on the disk too: else a power cut leaves bytes without a file."""
    if os.name != "posix":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[BinaryIO]:
    descriptor = os.open(path, _READ)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Stray("this is no plain file")
        with open(descriptor, "rb", buffering=BLOCK_BYTES, closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)
