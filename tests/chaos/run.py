"""One run of chaos: everything is started, tortured, brought to rest and judged."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Collection
from typing import Any

from barker.disk import files
from barker.disk.users import World
from barker.laboratory.blows import Blow
from barker.laboratory.crowd import Crowd
from barker.laboratory.findings import records_of
from barker.laboratory.lab import Lab
from barker.wire.protocol import UNKNOWN_USER
from tests.chaos.actions import Instance
from tests.chaos.journals import reports_damage
from tests.chaos.judge import Record, faults, slowest_s
from tests.chaos.newcomers import Newcomers
from tests.chaos.plan import KINDS, PEOPLE, TIMES, command, count, plan
from tests.chaos.scene import Scene
from tests.tools.children import SCALE
from tests.tools.fleet import DEADLINE_S, populated, until

# Time for everything to come to rest at the end.
REST_S = 60.0 * SCALE
# Time for all to hear of a change of a ring, and to settle what it means.
SETTLED_S = 3.0 * SCALE
# What is done to a service that keeps its share of the ring and its links.
STILL_THERE = {"unread"}


class Run:
    """One run of chaos and its outcome."""

    def __init__(
        self,
        seed: int,
        seconds: float,
        rate: float,
        kinds: list[str],
        actions: Collection[str] = TIMES.keys(),
    ) -> None:
        self.events = plan(seed, seconds, kinds, actions)
        self.seconds = seconds
        self.rate = rate
        self.faults: dict[str, list[Any]] = {}
        self.figures: dict[str, Any] = {"seed": seed}
        self.story: list[str] = []
        self._changes: list[tuple[float, float]] = []  # when a manifold came, went or stood still
        self._damages: list[str] = []
        self._began = 0.0

    def _heard(self, line: str) -> None:
        """A thread has read that line of some process."""
        if reports_damage(line):
            self._damages.append(line)

    async def go(self) -> None:
        """Raises AssertionError if the system does not come to rest."""
        # On a machine with little time for each, heartbeats are slow: else many are taken for dead.
        async with Lab(("--heartbeat", f"{SCALE:g}"), self._heard) as lab:
            places = [(kind, i) for kind in KINDS for i in range(count(kind))]
            lab.find_ports([command(*place) for place in places])
            world = files.world(lab.state)
            instances = {place: Instance(lab, *place) for place in places}
            first = [x for x in instances.values() if x.number < KINDS[x.kind].first]
            await asyncio.gather(*(x.start() for x in first))
            async with (
                populated(lab.args(), world, world.names, KINDS["outbox"].first) as people,
                crowded(lab, world, self) as crowd,
            ):
                await people.ready()
                scene = Scene(lab, crowd, people)
                newcomers = Newcomers(crowd, people, world.names, self.figures["seed"])
                self._began = time.monotonic()
                try:
                    async with asyncio.TaskGroup() as load:
                        total = int(self.rate * self.seconds)
                        barks = people.producer.say_at(self.rate, total, world.names)
                        load.create_task(barks)
                        load.create_task(crowd.mingle(self.rate / 4, self.seconds))
                        load.create_task(newcomers.chat(self.seconds))
                        for event in self.events:
                            if event.kind == PEOPLE:
                                load.create_task(self._join(event, newcomers, scene))
                        async with asyncio.TaskGroup() as blows:
                            for event in self.events:
                                if event.kind != PEOPLE:
                                    victim = instances[event.kind, event.number]
                                    blows.create_task(self._do(event, victim, scene))
                        await asyncio.gather(*(x.start() for x in first))
                    await people.all_acked(REST_S)
                    await people.all_shown(REST_S)
                    await self._judge_follows(scene, newcomers)
                    shown_at = people.audience.shown_at
                    await until(lambda: people.now() > shown_at[-1] + 1.0, "rest")
                except* AssertionError as some:
                    raise AssertionError("; ".join(map(str, _leaves(some)))) from None
                finally:
                    self._judge(scene, newcomers)

    @property
    def doing(self) -> str:
        """For a person who waits."""
        if not self._began:
            return f"chaos: starting, seed {self.figures['seed']}"
        spent_s = time.monotonic() - self._began
        if spent_s < self.seconds:
            done = sum(event.at_s < spent_s for event in self.events)
            of = f"{done} of {len(self.events)} blows"
            return f"chaos: {spent_s:.0f} of {self.seconds:.0f} s, {of}"
        return f"chaos: coming to rest, for {spent_s - self.seconds:.0f} s"

    async def _due(self, event: Blow) -> None:
        await asyncio.sleep(max(0.0, self._began + event.at_s - time.monotonic()))

    async def _join(self, event: Blow, newcomers: Newcomers, scene: Scene) -> None:
        await self._due(event)
        scene.done["joins"] += event.number
        await newcomers.wave(event.number, self.seconds + REST_S)

    async def _do(self, event: Blow, instance: Instance, scene: Scene) -> None:
        await self._due(event)
        begun = time.monotonic()
        await instance.suffer(event, scene)
        if KINDS[event.kind].on_ring and event.action not in STILL_THERE:
            self._changes.append((begun, time.monotonic() + SETTLED_S))

    async def _judge_follows(self, scene: Scene, newcomers: Newcomers) -> None:
        """Raises AssertionError if some graph is not what was acked."""
        record = self._record(scene, newcomers)
        refused = [
            f"{a.event}: {a.refused}"
            for a in scene.crowd.asked
            if a.refused
            and not newcomers.has_lost(a)
            and a.event.user not in newcomers.undone
            and not (UNKNOWN_USER in a.refused and record.may_be_unknown(a.event.id))
        ]
        if refused:
            raise AssertionError(f"{len(refused)} events were refused, first {refused[0]}")
        await scene.crowd.agree(REST_S)

    def _record(self, scene: Scene, newcomers: Newcomers) -> Record:
        return Record(
            events=self.events,
            people=scene.people,
            changes=self._changes,
            refused=scene.refused,
            possible=newcomers.possible,
            undone=newcomers.undone,
            early=newcomers.early,
            given_twice=newcomers.given_twice(),
            alone=scene.alone,
            damages=self._damages,
        )

    def _judge(self, scene: Scene, newcomers: Newcomers) -> None:
        """Fill in `faults`, `figures` and the story of what went wrong."""
        people, audience = scene.people, scene.people.audience
        record = self._record(scene, newcomers)
        self.faults = faults(record)
        self.figures |= {
            "barks": len(people.producer.said),
            "acked": people.producer.acked,
            "shown": len(audience.shown_at),
            "late": len(audience.late),
            "events": len(scene.crowd.asked),
            "slowest_s": round(slowest_s(record), 1),
            # What restored journals took away, of barks and of events.
            "excused": [
                len(people.excused - audience.got),
                sum(asked.excused for asked in scene.crowd.asked),
            ],
            "alone": scene.alone,
            **scene.done,
        }
        self.story = []
        for name, some in self.faults.items():
            self.story.append(f"{name}: {len(some)}, first {some[0]}")
        if self.faults:
            first = next(iter(self.faults.values()))[0]
            id_ = next((x for x in first if len(str(x)) == 24), "nothing")
            self.story += records_of(scene.lab.state, id_)


@contextlib.asynccontextmanager
async def crowded(lab: Lab, world: World, run: Run) -> AsyncIterator[Crowd]:
    """A crowd that has joined, for as long as the block runs."""
    seed = run.figures["seed"]
    crowd = Crowd(lab.args(), world, seed, patience_s=DEADLINE_S)
    async with crowd.running():
        await crowd.join()
        yield crowd


def _leaves(group: BaseExceptionGroup[AssertionError]) -> list[BaseException]:
    """The faults that a group has, however deep."""
    found: list[BaseException] = []
    for fault in group.exceptions:
        found += _leaves(fault) if isinstance(fault, BaseExceptionGroup) else [fault]
    return found


def report(run: Run) -> str:
    lines = [json.dumps(run.figures)]
    if run.faults:
        lines += ["What happened:", *map(str, run.events), "What went wrong:", *run.story]
    return "\n".join(lines)
