"""Drawings of what is kept: the files of a journal, and a replica that joins.

The journal is a real one, written in a temporary folder, and read back as a start does.
"""

import pathlib
import tempfile

from shapes import Sequence, line, svg, text

from barker.disk import segments
from barker.disk.journal import Journal
from barker.wire import messages
from barker.wire.ops import Put
from barker.wire.records import Record, Segment, Settled

COLUMN, ROW, TOP, LEFT = 212, 24, 62, 20


def _barks(*counters: int) -> Put:
    count = len(counters)
    return Put(
        seq=0,
        to=["bizlogic"],
        bodies=[b"{}"] * count,
        origin="a" * 16,
        n=counters,
        users=["ark3"] * count,
        ids=[str(n) for n in counters],
        at=[1] * count,
    )


def _settled(n: int) -> Settled:
    return Settled("bizlogic", n)


def _written(folder: pathlib.Path) -> list[tuple[int, Record]]:
    """What is in the journal of an outbox: it was started, had a full segment, was started anew."""
    last = settled = 0

    def header() -> dict[str, int]:
        return {"n": last, "settled": settled}

    starts: list[list[Put | Settled]] = [
        [_barks(1, 2, 3), _barks(4), _settled(2), _barks(5, 6), _settled(6), _barks(7)],
        [_barks(8, 9), _settled(7)],
    ]
    for start in starts:
        journal = Journal(folder, segment_bytes=400)
        list(journal.recover())
        journal.begin(header)
        for record in start:
            journal.rotate_if_full()
            journal.append([messages.encode(record)])
            if isinstance(record, Settled):
                settled = record.n
            elif record.n:
                last = record.n[-1]
        journal.close()
    journal = Journal(folder)
    found = [(n, messages.decode_record(kept)) for n, kept in journal.recover() if kept]
    journal.close()
    return found


def journal() -> str:
    """The segments of an outbox's journal, record by record."""
    with tempfile.TemporaryDirectory() as folder:
        records = _written(pathlib.Path(folder))
    settled = max(r.n for _, r in records if isinstance(r, Settled))
    numbers = sorted({number for number, _ in records})
    parts, longest = [], 0
    for column, number in enumerate(numbers):
        x = LEFT + column * COLUMN
        own = [record for n, record in records if n == number]
        longest = max(longest, len(own))
        height = ROW * len(own) + 10
        parts.append(text(x, TOP - 14, segments.path_of(pathlib.Path(), number).name, "code bold"))
        parts.append(
            f'<rect class="box" x="{x}" y="{TOP}" width="{COLUMN - 24}" height="{height}" rx="5"/>'
        )
        for row, record in enumerate(own):
            y = TOP + ROW * row + 21
            parts.append(text(x + 10, y, *_described(record, settled)))
        waits = any(isinstance(r, Put) and r.n and r.n[-1] > settled for r in own)
        words = "a bark of it waits" if waits else "all settled: it may go"
        parts.append(text(x, TOP + height + 20, words, "bold" if waits else "dim"))
    parts.append(text(LEFT, 22, "older", "dim"))
    right = LEFT + COLUMN * len(numbers) - 24
    parts.append(text(right - 34, 22, "newer", "dim"))
    parts.append(line(LEFT + 44, 18, right - 42, 18))
    return svg(right + 20, TOP + ROW * longest + 46, "The journal of an outbox", parts)


def _described(record: Record, settled: int) -> tuple[str, str]:
    """A record in words, and how it is drawn."""
    if isinstance(record, Segment):
        return f"segment: n {record.n}, settled {record.settled}", "code dim"
    if isinstance(record, Settled):
        return f"settled {record.to} {record.n}", "code"
    assert isinstance(record, Put) and record.n
    of = f"{record.n[0]} to {record.n[-1]}" if len(record.n) > 1 else f"{record.n[0]}"
    return f"put, n {of}", "code bold" if record.n[-1] > settled else "code"


def joining() -> str:
    """A second followers service starts beside one that serves."""
    directory, old, new, outbox = "directory", "followers-a", "followers-b", "outbox"
    d = Sequence([directory, old, new, outbox], left=80, apart=210)
    d.says(new, directory, "register, replica")
    d.says(directory, old, "routes")
    d.notes(old, "acks no event meanwhile")
    d.says(new, old, "subscribe, followers")
    d.says(old, new, "message: the graph")
    d.says(new, old, "credit: all is kept")
    d.says(new, directory, "register, followers")
    d.says(old, new, "subscribe, followers")
    d.says(new, old, "message: what a lacks")
    d.notes(old, "begins a reign of both")
    d.says(old, new, "message: the reign")
    d.says(new, old, "credit")
    d.says(outbox, old, "put, an event")
    d.says(old, new, "message: the event")
    d.says(new, old, "credit")
    d.says(old, outbox, "ack: both have it")
    return d.drawn("A replica joins")
