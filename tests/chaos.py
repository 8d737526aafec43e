"""Chaos: barks flow, and a crowd follows and unfollows, while processes are killed, frozen, removed
and added. Was anything lost?

    python -m tests.chaos --seconds 60 --seed 7

What happens when follows from the seed alone: a kill is kill -9, a stop is a stop in good order, at
which an inbox leaves the ring and hands over. Before judging, everything frozen is thawed and
everything that is down is started again. Then every bark is classed by what its author was told and
by what each reader was shown; the exit status is 1 if anything was lost, shown twice, out of order
or never said. Late is what comes after something newer of its author. It is no fault if the owner
of a share of the ring changed while the bark was on its way; in a run that touches no manifold
nothing may be late at all. Every followers service's graph must be the one that follows from the
events which were acked.
"""

import argparse
import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from tests.crowd import Crowd
from tests.fleet import Audience, Fleet, Producer, Said, Service, free_port, until

# Entries that timelines retain: far more than a reader can fall behind here. What is retained is a
# limit of its own, and a gap because of it would be no loss.
KEEP = "50000"
# Time for everything to come to rest at the end.
REST_S = 60.0


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


class Instance:
    """One place in the system, and the process that is there now, if one is."""

    def __init__(self, fleet: Fleet, kind: str, number: int) -> None:
        self.kind = kind
        self.number = number
        self._fleet = fleet
        self._port = fleet.port if kind == "directory" else free_port()
        self._lock = asyncio.Lock()
        self.process: Service | None = None

    async def start(self) -> None:
        if self.process is None:
            start = KINDS[self.kind].start
            loop = asyncio.get_running_loop()
            self.process = await loop.run_in_executor(None, start, self._fleet, self._port)

    async def suffer(self, event: Event) -> None:
        """The event and its undoing. A spare that does not run yet is added instead."""
        async with self._lock:
            if self.process is None:
                await self.start()
            elif event.action == "freeze":
                self.process.freeze()
                await asyncio.sleep(event.hold_s)
                self.process.thaw()
            else:
                process, self.process = self.process, None
                if event.action == "kill":
                    process.child.kill()
                else:
                    process.child.terminate()
                await asyncio.get_running_loop().run_in_executor(None, process.ended)
                process.close()
                await asyncio.sleep(event.hold_s)
                await self.start()


class Run:
    """One run of chaos and its outcome."""

    def __init__(self, seed: int, seconds: float, rate: float, kinds: list[str]) -> None:
        self.events = plan(seed, seconds, kinds)
        self.seconds = seconds
        self.rate = rate
        self.kinds = kinds
        self.faults: dict[str, list[Any]] = {}
        self.figures: dict[str, Any] = {"seed": seed}
        self._changes: list[tuple[float, float]] = []  # when a manifold came, went or stood still
        self._began = 0.0

    async def go(self) -> None:
        """Raises AssertionError if the system does not come to rest."""
        with Fleet(own_followers=True) as fleet:
            instances = {
                (name, i): Instance(fleet, name, i)
                for name, kind in KINDS.items()
                for i in range(kind.first + kind.spare)
            }
            first = [x for x in instances.values() if x.number < KINDS[x.kind].first]
            await asyncio.gather(*(x.start() for x in first))
            async with fleet.people() as (producer, audience), crowded(fleet, self) as crowd:
                await audience.ready()
                self._began = time.monotonic()
                load = asyncio.create_task(self._say(producer, fleet.world.names))
                mingling = asyncio.create_task(crowd.mingle(self.rate / 4, self.seconds))
                await asyncio.gather(
                    *(self._do(event, instances[event.kind, event.number]) for event in self.events)
                )
                await load
                await mingling
                await asyncio.gather(*(x.start() for x in first))
                try:
                    await producer.all_acked(REST_S)
                    await audience.all_shown(producer, REST_S)
                    await judge_follows(self, crowd)
                    await until(lambda: audience.now() > audience.shown_at[-1] + 1.0, "rest")
                finally:
                    self._judge(fleet, producer, audience)

    async def _say(self, producer: Producer, users: list[str]) -> None:
        """What is said meanwhile."""
        await producer.say_at(self.rate, int(self.rate * self.seconds), users)

    async def _do(self, event: Event, instance: Instance) -> None:
        await asyncio.sleep(max(0.0, self._began + event.at_s - time.monotonic()))
        begun = time.monotonic()
        await instance.suffer(event)
        if KINDS[event.kind].on_ring:
            # Until everybody has heard of it, and has settled what it means.
            self._changes.append((begun, time.monotonic() + 3.0))

    def _judge(self, fleet: Fleet, producer: Producer, audience: Audience) -> None:
        """Fill in `faults`, `figures` and the story of what went wrong."""
        touched = any(KINDS[event.kind].on_ring for event in self.events)
        faults = audience.verdict(producer.said)
        if touched:
            said = {s.bark.id: s for s in producer.said}
            disorder = faults["out of order"]
            faults["out of order"] = [d for d in disorder if not self._moved(said[d[2]], audience)]
        else:
            faults["late"] = sorted(audience.late)
        # Everything is retained here, so a reader that is told of a gap was told wrong.
        faults["gaps"] = [(audience.reader.gaps,)] if audience.reader.gaps else []
        faults["refused"] = [(s.bark.id, s.refused) for s in producer.said if s.refused]
        self.faults = {name: some for name, some in faults.items() if some}
        self.figures |= {
            "barks": len(producer.said),
            "acked": sum(s.acked_at is not None for s in producer.said),
            "shown": len(audience.shown_at),
            "late": len(audience.late),
            **Counter(event.action for event in self.events),
        }
        self.story = []
        for name, some in self.faults.items():
            self.story.append(f"{name}: {len(some)}, first {some[0]}")
        if self.faults:
            first = next(iter(self.faults.values()))[0]
            self.story += _where(fleet, next((x for x in first if len(str(x)) == 24), "nothing"))

    def _moved(self, said: Said, audience: Audience) -> bool:
        """Was any share of the rings on its way from one owner to another while the bark was?"""
        put_at = said.bark.at / 1000 - time.time() + time.monotonic()
        return any(begun < audience.now() and put_at < ended for begun, ended in self._changes)


@contextlib.asynccontextmanager
async def crowded(fleet: Fleet, run: Run) -> AsyncIterator[Crowd]:
    """A crowd that has joined, for as long as the block runs."""
    crowd = Crowd(fleet.args(), fleet.world, run.figures["seed"])
    task = asyncio.create_task(crowd.run())
    try:
        await until(lambda: hasattr(crowd, "graphs"), "the crowd is there")
        await crowd.join()
        yield crowd
    finally:
        crowd.stop()
        await task


async def judge_follows(run: Run, crowd: Crowd) -> None:
    """Raises AssertionError if some graph is not what was acked."""
    run.figures["follows"] = len(crowd.asked)
    refused = [f"{a.event.kind} {a.event.id}: {a.refused}" for a in crowd.asked if a.refused]
    if refused:
        raise AssertionError(f"{len(refused)} events were refused, first {refused[0]}")
    await crowd.agree(REST_S)


def _where(fleet: Fleet, id_: str) -> list[str]:
    """Every record of a bark in any journal."""
    found = [
        f"{path.parent.name}/{path.name}: {line.decode(errors='replace')}"
        for path in sorted(fleet.state.glob("journal/*/*.log"))
        for line in path.read_bytes().split(b"\n")
        if id_.encode() in line
    ]
    return found or [f"{id_} is in no journal"]


def report(run: Run) -> str:
    lines = [json.dumps(run.figures)]
    if run.faults:
        lines += ["What happened:", *map(str, run.events), "What went wrong:", *run.story]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--rate", type=float, default=200.0, help="barks a second (%(default)s)")
    parser.add_argument(
        "--kinds",
        default=",".join(KINDS),
        help="what is tortured (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    run = Run(args.seed, args.seconds, args.rate, args.kinds.split(","))
    try:
        asyncio.run(run.go())
    except AssertionError as fault:
        print(fault, file=sys.stderr)
        print(report(run))
        return 1
    print(report(run))
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(main())
