"""What a journal's folder holds, read from outside: what it takes away to put an old copy back.

The owner of a journal may do that. What was acked between the copy and its return may be gone by
it, and nothing else: of an outbox, what it had not got rid of; of an inbox, what it had retained,
for those who have not been shown it.
"""

import json
import pathlib
from collections.abc import Iterator

from barker.graph.feed import FOLLOWERS
from barker.wire import messages, protocol
from barker.wire.fields import addresses_in
from barker.wire.ops import Put
from barker.wire.records import Record, Segment, Settled, Timeline

Pair = tuple[str, str]  # reader and id


# What a start logs of a journal that is not as it was written; see `barker.disk.journal`.
DAMAGES = (
    " is damaged",
    ".log is missing:",
    ", and was written up to byte ",
    ".log was replaced:",
    "before its first record is missing",
    "makes no sense",
    ": ignored '",
)


def reports_damage(line: str) -> bool:
    return any(text in line for text in DAMAGES)


def _records(folder: pathlib.Path) -> Iterator[Record]:
    """Every sound record, in order; see `barker.disk.journal`."""
    for path in sorted(folder.glob("*.log")):
        for record in path.read_bytes().split(b"\n"):
            try:
                yield messages.decode_record(record[9:])
            except protocol.BarkerError:
                continue  # torn, by a kill


def unsettled(folder: pathlib.Path) -> set[str]:
    """Ids of what an outbox has taken over, and does not know to be anybody else's."""
    waiting: dict[bool, list[tuple[int, str]]] = {False: [], True: []}  # by: is it an event?
    for record in _records(folder):
        settled = {}
        if isinstance(record, Put):
            queue = waiting[record.to[0] == FOLLOWERS]
            queue += [(item.n, item.id) for item in record.items()]
        elif isinstance(record, Segment):
            settled = {False: record.settled, True: record.settled_events}
        elif isinstance(record, Settled):
            settled = {record.to == FOLLOWERS: record.n}
        for is_event, up_to in settled.items():
            waiting[is_event] = [(n, id_) for n, id_ in waiting[is_event] if n > up_to]
    return {id_ for queue in waiting.values() for _, id_ in queue}


def retained(folder: pathlib.Path) -> set[Pair]:
    """What an inbox has in its timelines: what was handed over since is another's.

    That only the last so many are retained does not matter here, where these are all.
    """
    timelines: dict[str, set[str]] = {}  # by reader, ids
    for record in _records(folder):
        if isinstance(record, Put):
            for to, item in zip(record.entries(), record.items(), strict=True):
                for address in addresses_in(to):
                    reader = address.partition("/")[2]
                    timelines.setdefault(reader, set()).add(item.id)
        elif isinstance(record, Timeline):
            reader = record.address.partition("/")[2]
            ids = {json.loads(body)["id"] for body in record.bodies}
            if record.at or record.left:  # it is a part
                ids |= timelines.get(reader, set())
            timelines[reader] = ids
    return {(reader, id_) for reader, ids in timelines.items() for id_ in ids}
