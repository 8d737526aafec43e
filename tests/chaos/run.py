"""One run of chaos: everything is started, tortured, brought to rest and judged."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from tests.chaos.actions import Instance
from tests.chaos.plan import KINDS, Event, plan
from tests.crowd import Crowd
from tests.fleet import Audience, Fleet, Producer, Said, until

# Time for everything to come to rest at the end.
REST_S = 60.0


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
