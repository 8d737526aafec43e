"""The plan of a run: what is done to whom, and when. It follows from the seed alone."""

import random
from collections.abc import Callable
from typing import NamedTuple

from tests.fleet import Fleet, Service

# Entries that timelines retain: far more than a reader can fall behind here. What is retained is a
# limit of its own, and a gap because of it would be no loss.
KEEP = "50000"


class Kind(NamedTuple):
    """Something that may suffer: so many run at `first`, and so many more may be added."""

    first: int
    spare: int
    start: Callable[[Fleet, int], Service]
    on_ring: bool  # has a share of a ring, which moves when one comes or goes


KINDS = {
    "directory": Kind(1, 0, lambda fleet, port: fleet.directory(), False),
    "followers": Kind(2, 1, lambda fleet, port: fleet.followers(port=port), False),
    "inbox": Kind(2, 1, lambda fleet, port: fleet.inbox("--keep", KEEP, port=port), True),
    "bizlogic": Kind(2, 1, lambda fleet, port: fleet.bizlogic(port=port), False),
    "outbox": Kind(3, 1, lambda fleet, port: fleet.outbox(port=port), True),
}


class Event(NamedTuple):
    """One thing that is done to one instance; `hold_s` later it is undone."""

    at_s: float
    action: str
    kind: str
    number: int
    hold_s: float

    def __str__(self) -> str:
        who = f"{self.kind} {self.number}"
        return f"{self.at_s:6.2f} s  {self.action:<6} {who}, for {self.hold_s:.1f} s"


def plan(seed: int, seconds: float, kinds: list[str]) -> list[Event]:
    """What will happen; the same for the same arguments."""
    dice = random.Random(seed)
    events = []
    at = 1.0
    while at < seconds:
        kind = dice.choice(kinds)
        number = dice.randrange(KINDS[kind].first + KINDS[kind].spare)
        action = dice.choice(["kill", "kill", "freeze", "stop"])
        hold_s = dice.uniform(0.2, 6.0) if action == "freeze" else dice.uniform(0.1, 4.0)
        events.append(Event(round(at, 2), action, kind, number, round(hold_s, 1)))
        at += dice.expovariate(1 / 1.2) + 0.1
    return events
