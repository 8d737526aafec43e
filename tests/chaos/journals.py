"""What a journal's folder holds, read from outside: what it takes away to put an old copy back.

The owner of a journal may do that. What was acked between the copy and its return may be gone by
it, and nothing else: of an outbox, what it had not got rid of; of an inbox, what it had retained,
for those who have not been shown it.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

from barker.wire import messages, protocol

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


def _records(folder: pathlib.Path) -> Iterator[dict[str, Any]]:
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
        if record["op"] in ("put", "puts"):
            for put in messages.puts_in(record):
                waiting["kind" in put.fields].append((put.n, put.fields["id"]))
        elif record["op"] == "segment":
            settled = {False: record["settled"], True: record["settled_events"]}
        elif record["op"] == "ack":
            settled = {"address" in record: record["seq"]}
        for queue, up_to in settled.items():
            waiting[queue] = [(n, id_) for n, id_ in waiting[queue] if n > up_to]
    return {id_ for queue in waiting.values() for _, id_ in queue}


def retained(folder: pathlib.Path) -> set[Pair]:
    """What an inbox has in its timelines: what was handed over since is another's.

    That only the last so many are retained does not matter here, where these are all.
    """
    timelines: dict[str, set[str]] = {}  # by reader, ids
    for record in _records(folder):
        if record["op"] in ("put", "puts"):
            for put in messages.puts_in(record):
                for address in put.addresses:
                    reader = address.partition("/")[2]
                    timelines.setdefault(reader, set()).add(put.fields["id"])
        elif record["op"] == "timeline":
            reader = record["address"].partition("/")[2]
            timelines[reader] = {json.loads(entry["body"])["id"] for entry in record["entries"]}
    return {(reader, id_) for reader, ids in timelines.items() for id_ in ids}
