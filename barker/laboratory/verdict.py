"""Verdict: compares the barks that were put with those that were shown.

A bark is *lost* if one of the readers that it is due to was not shown it, *twice* if one of them
was shown it again, *out of order* if that reader was shown a later bark of its author before, and
*unexpected* if it was never put. A bark that an inbox has marked as late may be out of order.

Left out: how this is found out (`barker.laboratory.producer`, `barker.laboratory.audience`), and
to which readers a bark is due.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

# A reader, and the id of a bark.
Key = tuple[str, str]


class Shown(NamedTuple):
    """One bark that was shown to one reader, and when by the node's clock."""

    author: str
    id: str
    content: str
    late: bool
    at: float


class Disorder(NamedTuple):
    """A bark that a reader was shown after a later one of its author."""

    reader: str
    author: str
    id: str
    number: int
    after: int  # the number of that later one


class Verdict(NamedTuple):
    """The faults; four empty lists if there are none."""

    lost: list[Key]
    twice: list[Key]
    out_of_order: list[Disorder]
    unexpected: list[Key]


def judge(
    numbers: Mapping[str, int],
    shown: Mapping[str, Sequence[Shown]],
    due: Collection[Key],
) -> Verdict:
    """The verdict.

    `numbers` has the id of each bark that was put, and its author's number of it. `shown` has the
    barks of each reader, in that order. `due` has a key for each reader of each acked bark.
    """
    times = Counter((reader, bark.id) for reader, barks in shown.items() for bark in barks)
    return Verdict(
        lost=[key for key in due if key not in times],
        twice=[key for key, count in times.items() if count > 1],
        out_of_order=[
            d for reader, barks in shown.items() for d in _disorder(reader, barks, numbers)
        ],
        unexpected=[key for key in times if key[1] not in numbers],
    )


def not_moved(
    disorder: Sequence[Disorder],
    said_at: Mapping[str, float],
    changes: Sequence[tuple[float, float]],
    now: float,
) -> list[Disorder]:
    """Leave out the barks that were on their way while a share of a ring moved.

    `said_at` is by the bark's id, `changes` are begins and ends of such moments.
    """
    return [
        d
        for d in disorder
        if not any(begun < now and said_at[d.id] < ended for begun, ended in changes)
    ]


def _disorder(reader: str, barks: Sequence[Shown], numbers: Mapping[str, int]) -> list[Disorder]:
    found = []
    newest: Counter[str] = Counter()  # by author
    for bark in barks:
        number = numbers.get(bark.id)
        if number is None:
            continue  # it is unexpected, and has no number
        if number < newest[bark.author] and not bark.late:
            found.append(Disorder(reader, bark.author, bark.id, number, newest[bark.author]))
        newest[bark.author] = max(newest[bark.author], number)
    return found
