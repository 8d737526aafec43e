"""The plan of a run: what is done to whom, and when. It follows from the seed alone."""

import random
from collections.abc import Collection, Mapping
from typing import NamedTuple

from barker.laboratory import blows
from barker.laboratory.blows import Blow, Times

# Entries that timelines retain: far more than a reader can fall behind here. What is retained is a
# limit of its own, and a gap because of it would be no loss.
KEEP = "50000"


class Kind(NamedTuple):
    """Something that may suffer: so many run at `first`, and so many more may be added."""

    first: int
    spare: int
    port: int  # of the first one
    flags: str
    on_ring: bool  # has a share of a ring, which moves when one comes or goes
    more: tuple[str, ...]  # what is done to this kind, besides what is done to all


KINDS = {
    "directory": Kind(1, 0, 5672, "", False, ()),
    "followers": Kind(2, 1, 5690, "", False, ("restore",)),
    "inbox": Kind(
        *(2, 1, 5820, f"--keep {KEEP}", True), ("restore", "restore", "burst", "burst", "burst")
    ),
    "bizlogic": Kind(2, 1, 5680, "", False, ()),
    "outbox": Kind(3, 1, 5800, "", True, ("restore", "restore")),
}
# What is done to all kinds, the likelier the more often it is here.
TO_ALL = ("kill", "kill", "freeze", "stop", "unread")
# What is done here besides: how long, and what it takes besides.
TIMES = {
    **blows.TIMES,
    "restore": Times(2.0, 4.0, 6.0),  # between the copy and its return: readers come back
    "burst": Times(4.0, 6.0, 0.5),  # longer than it takes to be given up: three heartbeats
    "unread": Times(5.0, 7.0, 5.0),  # after the pipe is full
}
# Two cores take some 2,500 events a second through all who have a copy of the graph.
BETWEEN_BURSTS_S = 8.0
# Not an instance: people join. There are `number` of them.
PEOPLE = "people"
JOINING_S = (2.0, 10.0)  # from one wave of them to the next
MOST_JOINING = 4


def count(kind: str) -> int:
    return KINDS[kind].first + KINDS[kind].spare


def command(kind: str, number: int) -> str:
    """What starts an instance."""
    return f"{kind} --port {KINDS[kind].port + number} {KINDS[kind].flags}"


def _also(blow: Blow) -> Mapping[object, float]:
    if blow.action == "burst":
        return {blow.action: BETWEEN_BURSTS_S}
    if (blow.kind, blow.action) == ("followers", "restore"):
        long_s = blow.hold_s + TIMES["restore"].more_s
        return {("followers", i): long_s for i in range(count("followers"))}
    return {}


def plan(
    seed: int, seconds: float, kinds: list[str], actions: Collection[str] = TIMES.keys()
) -> list[Blow]:
    """What will happen; the same for the same arguments. Only `actions` are done, and to `kinds`.

    Whatever these are, people join.
    """
    dice = random.Random(seed)
    choices = {k: [a for a in TO_ALL + KINDS[k].more if a in actions] for k in kinds}
    victims = {kind: (count(kind), some) for kind, some in choices.items() if some}
    done = blows.plan(dice, seconds, list(victims), victims, TIMES, _also)
    at = 0.5
    while at < seconds:
        done.append(Blow(round(at, 2), "join", PEOPLE, dice.randint(1, MOST_JOINING), 0.0))
        at += dice.uniform(*JOINING_S)
    return sorted(done)
