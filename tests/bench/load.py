"""The load: who exists, who follows whom, what is said. The same for us and for the ceilings."""

import json
import math
import os
import random
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from barker.disk.users import World
from barker.wire.bodies import Bark, encode_bark

# About what people write; 170 bytes as JSON.
CONTENT_CHARS = 90
# The part of a run at a given rate that is told by itself, too: all is done for the first time.
FIRST_S = 1.0
_WORDS = "the quick brown dog jumps over a lazy cat and barks at the moon until somebody wakes up"


class Scale(NamedTuple):
    """How much is done for each point."""

    runs: int  # for throughput
    fewer: int  # of what takes longer, or is steadier
    barks: int  # in a run for throughput
    latency_s: float
    users: Sequence[int]
    streams: Sequence[int]  # subscriptions, or links
    backlogs: Sequence[int]
    some: int  # barks in a run that looks at how things grow
    idle_s: float
    echo_bytes: int
    sockets: int
    frames_s: float
    again: int  # how often a point that misses a bound is measured again: a busy minute says little
    slack: float  # by this factor a bound may be missed: what is short is not sharp


FULL = Scale(
    runs=5,
    fewer=3,
    barks=100_000,
    latency_s=5.0,
    users=(100, 1_000, 10_000, 100_000),
    streams=(1, 10, 100, 1_000),
    backlogs=(20_000, 1_000_000),
    some=50_000,
    idle_s=5.0,
    echo_bytes=200_000_000,
    sockets=2_000,
    frames_s=30.0,
    again=0,
    slack=1.0,
)
QUICK = Scale(
    runs=2,
    fewer=1,
    barks=10_000,
    latency_s=1.0,
    users=(100, 10_000),
    streams=(1, 100),
    backlogs=(5_000, 50_000),
    some=10_000,
    idle_s=1.0,
    echo_bytes=20_000_000,
    sockets=200,
    frames_s=5.0,
    again=2,
    slack=1.5,
)


def names(users: int) -> list[str]:
    """Authors and readers, the same in every process."""
    return [f"user{i}" for i in range(users)]


def world(users: int, fan_out: int) -> World:
    """Everybody's barks go to `fan_out` inboxes: the author's own and those of the next ones."""
    everybody = names(users)
    return World(
        {
            user: [everybody[(i - k) % users] for k in range(1, fan_out)]
            for i, user in enumerate(everybody)
        }
    )


def world_with_readers(authors: int, readers: int) -> World:
    """Each author's barks go to the author and to one of so many `readers`, in turn.

    Authors are the first of `names(authors + readers)`, readers are the others.
    """
    everybody = names(authors + readers)
    follows: dict[str, list[str]] = {user: [] for user in everybody}
    for i, author in enumerate(everybody[:authors]):
        follows[everybody[authors + i % readers]].append(author)
    return World(follows)


def bodies(count: int, users: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(author, body) of so many barks, by everybody in turn."""
    dice = random.Random(seed)
    everybody = names(users)
    text = _WORDS * 3
    prefix = secrets.token_hex(8)
    for i in range(count):
        author = everybody[(i + seed) % users]
        start = dice.randrange(len(_WORDS))
        content = text[start : start + CONTENT_CHARS]
        bark = Bark(f"{prefix}{i:08x}", author, content, 1_700_000_000_000 + i)
        yield author, encode_bark(bark)


def timed_body(author: str, number: int, now_ns: int) -> bytes:
    """A bark whose text begins with the time at which it was put."""
    content = f"{now_ns} {_WORDS[:70]}"
    return encode_bark(Bark(f"t{number:010x}", author, content, now_ns // 1_000_000))


def due(count: int, rate: float, passed_s: float) -> int:
    """Of `count` barks at `rate` a second, how many are to be said so long after the first one.

    Timers of a loop are a millisecond late; then two are due at once, and are said at once.
    """
    return min(count, int(passed_s * rate) + 1)


def said_at_ns(content: str) -> int:
    """When a `timed_body` was put."""
    return int(content.partition(" ")[0])


def percentile(values: Sequence[float], part: float) -> float:
    """The least of the values, which are in order, that so great a part of them does not exceed."""
    return values[max(0, math.ceil(part * len(values)) - 1)]


class Latencies:
    """How long barks were on their way: all of a run, and those said in its first second."""

    def __init__(self) -> None:
        self._begun = 0
        self._first: list[int] = []
        self._others: list[int] = []

    def add(self, content: str, now_ns: int) -> None:
        """A `timed_body` with that text is shown."""
        said = said_at_ns(content)
        self._begun = self._begun or said
        some = self._first if said < self._begun + FIRST_S * 1e9 else self._others
        some.append(now_ns - said)

    def figures(self) -> dict[str, float] | None:
        """In milliseconds; None if nothing was shown."""
        if not self._first:
            return None
        first, everything = sorted(self._first), sorted(self._first + self._others)
        parts = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        figures = {name: percentile(everything, part) / 1e6 for name, part in parts.items()}
        return {**figures, "first p99": percentile(first, 0.99) / 1e6}


# --- between the bench and its children ---


def say(event: str, **fields: object) -> None:
    """One line to whoever started this process."""
    print(json.dumps({"event": event, **fields}), flush=True)


def obey(go: Callable[[], object]) -> None:
    """Call `go`, in another thread, at each line of standard input; at its end, end.

    The bench holds the other end: whatever becomes of it, nothing of it is left running.
    """

    def listen() -> None:
        while sys.stdin.readline():
            go()
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()
