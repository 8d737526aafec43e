"""Blows: the faults that a system suffers, and when. All of it follows from a seed.

    kill     kill -9; started again a moment later
    stop     a stop in good order; started again a moment later
    freeze   it does not run for some seconds

Others have more of them: the judge cuts links and sends strangers, the chaos test puts back old
journals. A `Victim` is one place in a system. Each blow is undone in the end, so that the whole
system comes to rest.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from barker.launching.child import ChildProcess

# From one blow to the next, on average.
EVERY_S = 1.2


class Blow(NamedTuple):
    """One fault of one instance; `hold_s` later it is undone."""

    at_s: float
    action: str
    kind: str
    number: int
    hold_s: float

    def __str__(self) -> str:
        who = f"{self.kind} {self.number}"
        return f"{self.at_s:6.2f} s  {self.action:<7} {who}, for {self.hold_s:.1f} s"


class Times(NamedTuple):
    """Seconds before an action is undone, from and to, and the seconds that it takes besides."""

    least_s: float
    most_s: float
    more_s: float


TIMES = {
    "kill": Times(0.1, 4.0, 1.0),
    "stop": Times(0.1, 4.0, 2.0),
    "freeze": Times(0.2, 6.0, 0.5),
}


def nothing_else(blow: Blow) -> Mapping[object, float]:
    return {}


def plan(
    dice: random.Random,
    seconds: float,
    kinds: Sequence[str],
    victims: Mapping[str, tuple[int, Sequence[str]]],
    times: Mapping[str, Times] = TIMES,
    also: Callable[[Blow], Mapping[object, float]] = nothing_else,
    first: tuple[str, str] | None = None,
) -> list[Blow]:
    """The blows to come; the same for the same arguments.

    A kind is hurt the more often, the more often it is in `kinds`; `victims` has the number of its
    instances and its possible actions. An instance that is still hurt is left alone. `also` has the
    other things that a blow needs for itself, and for how long after its begin. `first` is the kind
    and the action of the first blow, whatever the dice say.
    """
    blows: list[Blow] = []
    at = 1.0
    busy: dict[object, float] = {}  # until when
    while at < seconds and kinds:
        kind = dice.choice(kinds)
        count, actions = victims[kind]
        number = dice.randrange(count)
        action = dice.choice(actions)
        if first and not blows:
            kind, action = first
            number = dice.randrange(victims[kind][0])
        least_s, most_s, more_s = times[action]
        hold_s = dice.uniform(least_s, most_s)
        blow = Blow(round(at, 2), action, kind, number, round(hold_s, 1))
        takes = {(kind, number): hold_s + more_s, **also(blow)}
        if all(busy.get(each, 0.0) <= at for each in takes):
            blows.append(blow)
            busy |= {each: at + long_s for each, long_s in takes.items()}
        at += dice.expovariate(1 / EVERY_S) + 0.1
    return blows


class Victim:
    """One place in a system, and the process that is there now, if one is."""

    def __init__(
        self,
        kind: str,
        number: int,
        start: Callable[[], Awaitable[ChildProcess]],
        patience_s: float,
    ) -> None:
        """`start` returns when the process is ready; `patience_s` is the limit of a stop."""
        self.kind = kind
        self.number = number
        self.process: ChildProcess | None = None
        self._start = start
        self._patience_s = patience_s
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        if self.process is None:
            self.process = await self._start()

    async def end(self, action: str) -> None:
        """Kill it or stop it, and wait for its end."""
        process, self.process = self.process, None
        assert process
        if action == "kill":
            process.kill()
        else:
            process.stop()
        await asyncio.to_thread(process.close, self._patience_s)

    async def freeze(self, hold_s: float) -> None:
        process = self.process
        assert process
        process.freeze()
        try:
            await asyncio.sleep(hold_s)
        finally:
            process.thaw()

    async def suffer(self, action: str, hold_s: float) -> None:
        """Do one of the actions above, and undo it; after the action that runs at the moment."""
        async with self._lock:
            if action == "freeze":
                await self.freeze(hold_s)
            else:
                await self.end(action)
                await asyncio.sleep(hold_s)
                await self.start()
