"""Records: the lines of journals besides puts.

A journal is the wire's own lines: puts as they are sent, with the stamp, and these. No peer may
send one of these over a link.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_args

from barker.wire.fields import (
    Address,
    Bodies,
    Body,
    Column,
    Hex,
    Number,
    Numbers,
    Places,
    is_address,
    is_hex,
    is_number,
)
from barker.wire.ops import Put
from barker.wire.table import table


def _is_serials(value: Any) -> bool:
    return (
        type(value) is dict and all(map(is_address, value)) and all(map(is_number, value.values()))
    )


def _is_highest(value: Any) -> bool:
    return type(value) is dict and all(map(is_hex, value)) and all(map(is_number, value.values()))


def _are_hex(value: Any) -> bool:
    return type(value) is list and all(map(is_hex, value))


class Segment(NamedTuple):
    """How a segment begins: what its owner must know if all segments before it are gone.

    Of an outbox, the last counter of each queue, and up to which one all are settled; of an inbox,
    its own last counter, and the highest of each origin; of a followers service, its last serial.
    """

    epoch: Hex
    n: Number = 0
    settled: Number = 0
    n_events: Number = 0
    settled_events: Number = 0
    highest: Annotated[Mapping[str, int], _is_highest] = {}
    serial: Number = 0


class Settled(NamedTuple):
    """Of an outbox: the service behind has all of its queue up to this counter."""

    to: Address
    n: Number


class Serials(NamedTuple):
    """Of an inbox: the last serials of timelines before the records of this segment."""

    serials: Annotated[Mapping[str, int], _is_serials]


class Timeline(NamedTuple):
    """Of an inbox: all of one timeline; earlier records of it count no more.

    `late` and `old` are the places of entries that came late, or from a former owner. A long one is
    in several records: its entries from place `at` on, and `left` are in those to come. Other
    records may be between them; entries of the timeline in these come behind `last`.
    """

    address: Address
    last: Number
    bodies: Bodies = ()
    origins: Annotated[Sequence[str], Column(_are_hex)] = ()
    n: Numbers = ()
    late: Places = ()
    old: Places = ()
    at: Number = 0
    left: Number = 0

    def fault(self) -> str | None:
        """A fault of the record as a whole."""
        return None if len(self.bodies) == len(self.n) == len(self.origins) else "not as long"


class Change(NamedTuple):
    """Of a followers service: an event, or a piece of a snapshot, and its serial."""

    serial: Number
    body: Body


Record = Put | Segment | Settled | Serials | Timeline | Change
RECORDS = table(get_args(Record))
