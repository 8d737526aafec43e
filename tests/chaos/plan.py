"""The plan of a run: what is done to whom, and when. It follows from the seed alone."""

import random
from collections.abc import Callable, Collection
from typing import NamedTuple

from tests.tools.fleet import Fleet, Service

# Entries that timelines retain: far more than a reader can fall behind here. What is retained is a
# limit of its own, and a gap because of it would be no loss.
KEEP = "50000"


class Kind(NamedTuple):
    """Something that may suffer: so many run at `first`, and so many more may be added."""

    first: int
    spare: int
    start: Callable[[Fleet, int], Service]
    on_ring: bool  # has a share of a ring, which moves when one comes or goes
    more: tuple[str, ...]  # what is done to this kind, besides what is done to all


KINDS = {
    "directory": Kind(1, 0, lambda fleet, port: fleet.directory(), False, ()),
    "followers": Kind(2, 1, lambda fleet, port: fleet.followers(port=port), False, ("restore",)),
    "inbox": Kind(
        *(2, 1, lambda fleet, port: fleet.inbox("--keep", KEEP, port=port), True),
        ("restore", "restore", "burst", "burst", "burst"),
    ),
    "bizlogic": Kind(2, 1, lambda fleet, port: fleet.bizlogic(port=port), False, ()),
    "outbox": Kind(
        *(3, 1, lambda fleet, port: fleet.outbox(port=port), True), ("restore", "restore")
    ),
}
# What is done to all kinds, the likelier the more often it is here.
TO_ALL = ("kill", "kill", "freeze", "stop", "unread")
# How long each takes before it is undone, in seconds: from, to.
HOLD_S = {
    "kill": (0.1, 4.0),
    "stop": (0.1, 4.0),
    "freeze": (0.2, 6.0),
    "restore": (2.0, 4.0),  # between the copy and its return: time for readers to come back
    "burst": (4.0, 6.0),  # longer than it takes to be given up, and that is three heartbeats
    "unread": (5.0, 7.0),  # after the pipe is full
}
# What an action takes besides, about: starts, stops, the pipe to be filled.
MORE_S = {"kill": 1.0, "stop": 2.0, "freeze": 0.5, "restore": 6.0, "burst": 0.5, "unread": 5.0}
# Two cores take some 2,500 events a second through all who have a copy of the graph.
BETWEEN_BURSTS_S = 8.0
# Not an instance: people join. There are `number` of them.
PEOPLE = "people"
JOINING_S = (2.0, 10.0)  # from one wave of them to the next
MOST_JOINING = 4


class Event(NamedTuple):
    """One thing that is done to one instance; `hold_s` later it is undone."""

    at_s: float
    action: str
    kind: str
    number: int
    hold_s: float

    def __str__(self) -> str:
        who = f"{self.kind} {self.number}"
        return f"{self.at_s:6.2f} s  {self.action:<7} {who}, for {self.hold_s:.1f} s"


def plan(
    seed: int, seconds: float, kinds: list[str], actions: Collection[str] = HOLD_S.keys()
) -> list[Event]:
    """What will happen; the same for the same arguments. Only `actions` are done, and to `kinds`.

    Whatever these are, people join.
    """
    dice = random.Random(seed)
    choices = {k: [a for a in TO_ALL + KINDS[k].more if a in actions] for k in kinds}
    victims = [kind for kind in kinds if choices[kind]]
    events = []
    at = 1.0
    busy: dict[object, float] = {}  # until when; who shall suffer when it is is spared
    while at < seconds and victims:
        kind = dice.choice(victims)
        number = dice.randrange(KINDS[kind].first + KINDS[kind].spare)
        action = dice.choice(choices[kind])
        hold_s = dice.uniform(*HOLD_S[action])
        takes: list[object] = [(kind, number)]
        if action == "burst":
            takes.append(action)
        elif (kind, action) == ("followers", "restore"):
            takes += [(kind, i) for i in range(KINDS[kind].first + KINDS[kind].spare)]
        if all(busy.get(each, 0.0) <= at for each in takes):
            events.append(Event(round(at, 2), action, kind, number, round(hold_s, 1)))
            busy |= dict.fromkeys(takes, at + hold_s + MORE_S[action])
            if action == "burst":
                busy[action] = at + BETWEEN_BURSTS_S
        at += dice.expovariate(1 / 1.2) + 0.1
    at = 0.5
    while at < seconds:
        events.append(Event(round(at, 2), "join", PEOPLE, dice.randint(1, MOST_JOINING), 0.0))
        at += dice.uniform(*JOINING_S)
    return sorted(events)
