"""The judge: holds what authors were told against what readers were shown."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

from barker.laboratory.blows import Blow
from barker.laboratory.producer import SaidBark
from barker.laboratory.verdict import not_moved
from barker.wire.protocol import UNKNOWN_USER
from tests.chaos.plan import KINDS, PEOPLE
from tests.tools.children import SCALE
from tests.tools.fleet import People

# The longest that a reader may wait for a bark if all that happens is that the logs of services are
# not read. As long as it takes until a frozen service is given up.
MAX_WAIT_S = 3.0 * SCALE
# What is done to a service that does not keep it from working.
HARMLESS = {"join", "unread"}


class Record(NamedTuple):
    """What has happened."""

    events: Sequence[Blow]
    people: People
    changes: Sequence[tuple[float, float]]  # when a manifold came, went or stood still
    refused: Sequence[tuple[Blow, int]]  # strangers that a service refused while it was not read
    possible: Callable[[SaidBark], Collection[str]]  # who else may be shown a bark
    undone: Collection[str]  # users who are none
    early: Collection[str]  # ids of what newcomers said before any outbox but one knew them
    alone: bool  # a followers service was away that alone had all events
    damages: Sequence[str] = ()  # what services logged about their journals
    given_twice: Sequence[tuple[str, str, str]] = ()  # names, and the ids of two joins

    def may_be_unknown(self, id_: str) -> bool:
        """May this be refused because its author, or another whom it names, has just joined?

        Yes, while the followers service that knows is away. And what a newcomer says at once, if
        the outbox that has the join in its queue may be away.
        """
        hurt_outbox = any(event.kind == "outbox" for event in self.events)
        return self.alone or (id_ in self.early and hurt_outbox)


def faults(record: Record) -> dict[str, list[Any]]:
    """By kind, what is wrong; kinds of which there is nothing are left out."""
    said, audience = record.people.producer.said, record.people.audience
    verdict = record.people.verdict()
    said_at = {s.bark.id: s.said_at for s in said}
    result: dict[str, list[Any]] = {
        "lost": verdict.lost,
        "twice": verdict.twice,
        "out of order": verdict.out_of_order,
        "unexpected": verdict.unexpected,
        "given twice": list(record.given_twice),
    }
    if any(event.kind != PEOPLE and KINDS[event.kind].on_ring for event in record.events):
        result["out of order"] = not_moved(
            verdict.out_of_order, said_at, record.changes, record.people.now()
        )
    else:
        result["late"] = sorted(audience.late)
    # Everything is retained here, so a reader that is told of a gap was told wrong.
    result["gaps"] = [(audience.gaps,)] if audience.gaps else []
    result["refused"] = [
        (s.bark.id, s.refused)
        for s in said
        if s.refused
        and s.bark.user not in record.undone
        and not (UNKNOWN_USER in s.refused and record.may_be_unknown(s.bark.id))
    ]
    if not record.alone:
        result["refused"] += audience.refused
    result["astray"] = _astray(record)
    # Nothing damages a journal here: kill -9 does not, nor does a copy that is put back whole.
    result["damaged"] = [(line,) for line in record.damages]
    result["blocked by its log"] = [
        (f"{event.kind} {event.number}", event.at_s)
        for event, refused in record.refused
        if not refused
    ]
    if HARMLESS.issuperset(event.action for event in record.events):
        slow = slowest_s(record)
        result["slow"] = [(round(slow, 1),)] if slow > MAX_WAIT_S else []
    return {name: some for name, some in result.items() if some}


def slowest_s(record: Record) -> float:
    """The longest time from when a bark was said to when the last reader was shown it."""
    said_at = {s.bark.id: s.said_at for s in record.people.producer.said}
    return max(
        (
            bark.at - said_at[bark.id]
            for reader in record.people.first_readers  # others join, and are shown what is past
            for bark in record.people.audience.shown[reader]
            if bark.id in said_at
        ),
        default=0,
    )


def _astray(record: Record) -> list[tuple[str, str]]:
    """What was shown to readers whom it was never for."""
    got: dict[str, set[str]] = {}
    for reader, id_ in record.people.audience.got:
        got.setdefault(id_, set()).add(reader)
    return [
        (reader, s.bark.id)
        for s in record.people.producer.said
        for reader in got.get(s.bark.id, ())
        if (reader, s.bark.id) not in record.people.due(s) and reader not in record.possible(s)
    ]
