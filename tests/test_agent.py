"""Agents: what a service tells of itself, to whom, and that it costs nothing while nobody asks."""

import asyncio
import os
import pathlib
import random
import time
import unittest
from collections import deque
from collections.abc import Callable
from typing import Any

from barker import agent, wire
from barker.agent import Agent
from barker.ages import Ages
from barker.link import Link, Message
from barker.peers import Peers
from tests.fleet import SLOW, Fleet, Guest, until


class AgesTest(unittest.TestCase):
    """Against a queue that knows the time of each entry."""

    def test_nothing_waits_at_first_and_at_last(self) -> None:
        ages = Ages()
        self.assertIsNone(ages.oldest)
        ages.added(3, 1.0)
        self.assertEqual(ages.oldest, 1.0)
        ages.settled(3)
        self.assertIsNone(ages.oldest)

    def test_an_entry_that_comes_later_does_not_inherit_the_age_of_one_before(self) -> None:
        ages = Ages()
        ages.added(1, 0.0)
        ages.added(4, 3600.0)  # one batch of three
        ages.settled(1)
        self.assertEqual(ages.oldest, 3600.0)

    def test_it_is_never_too_young_and_at_most_a_grain_too_old(self) -> None:
        dice = random.Random(4)
        ages, truth = Ages(grain=0.1), deque[float]()
        now, added, settled = 0.0, 0, 0
        for _ in range(20_000):
            now += dice.expovariate(20)
            if dice.random() < 0.5:
                count = dice.randrange(1, 20)
                added += count
                truth.extend([now] * count)
                ages.added(added, now)
            else:
                count = dice.randint(0, min(len(truth), 30))
                settled += count
                for _ in range(count):
                    truth.popleft()
                ages.settled(settled)
            if truth:
                assert ages.oldest is not None
                self.assertLessEqual(ages.oldest, truth[0])
                self.assertLess(truth[0] - ages.oldest, 0.1)
            else:
                self.assertIsNone(ages.oldest)

    def test_a_queue_that_nobody_empties_costs_a_bounded_number_of_marks(self) -> None:
        ages = Ages(grain=0.1, max_marks=64)
        for second in range(10_000):
            ages.added(second + 1, float(second))
        self.assertEqual(ages.oldest, 0.0)
        self.assertLessEqual(len(ages._marks), 65)
        ages.settled(7000)
        assert ages.oldest is not None
        self.assertLessEqual(ages.oldest, 7000.0)
        self.assertGreater(ages.oldest, 6500.0)

    def test_the_peak_is_that_of_the_second(self) -> None:
        ages = Ages()
        ages.added(10, 0.0)
        ages.settled(8)
        self.assertEqual(ages.peak, 10)
        ages.new_second()
        self.assertEqual(ages.peak, 2)
        ages.added(11, 0.2)
        self.assertEqual(ages.peak, 3)


class FakeLink:
    def __init__(self) -> None:
        self.closed = self.busy = False
        self.sent: list[Message] = []

    def send(self, message: bytes) -> None:
        self.sent.append(wire.decode(message))

    def abort(self) -> None:
        self.closed = True


class FakeService:
    """Names itself, and keeps its timers for the test to fire."""

    name, kind, name_stem, host, port, since = "outbox-1", "manifold", "outbox", "::1", 1, 7

    def __init__(self) -> None:
        self.links: set[Link] = set()
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.looked = self.seconds = 0

    def gauges(self) -> dict[str, Any]:
        self.looked += 1
        return {"in": 5, "out": 4}

    def sampled(self) -> None:
        self.seconds += 1

    def later(self, delay_s: float, work: Callable[[], None]) -> None:
        self.timers.append((delay_s, work))

    def fire(self) -> None:
        timers, self.timers = self.timers, []
        for _, work in timers:
            work()


class AgentTest(unittest.TestCase):
    def setUp(self) -> None:
        self.service = FakeService()
        self.agent = Agent(self.service)

    def subscribe(self, link: FakeLink, name: str = "outbox-1") -> None:
        self.agent.subscribe(link, {"address": f"agent/{name}"})  # type: ignore[arg-type]

    def test_nobody_watches_and_nothing_runs(self) -> None:
        self.assertEqual((self.service.timers, self.service.looked), ([], 0))

    def test_a_sample_at_once_and_one_a_second_until_the_link_is_down(self) -> None:
        link = FakeLink()
        self.subscribe(link)
        for _ in range(3):
            self.assertEqual(len(self.service.timers), 1)
            self.assertLessEqual(self.service.timers[0][0], 1.1)
            self.service.fire()
        self.assertEqual([m["op"] for m in link.sent], 4 * ["sample"])
        link.closed = True
        self.service.fire()
        self.assertEqual(self.service.timers, [])
        self.assertEqual((len(link.sent), self.service.looked), (4, 4))

    def test_many_watchers_cost_one_look_and_one_timer(self) -> None:
        links = [FakeLink() for _ in range(5)]
        for link in links:
            self.subscribe(link)
        looked = self.service.looked
        self.service.fire()
        self.assertEqual((self.service.looked - looked, len(self.service.timers)), (1, 1))
        self.assertEqual(links[0].sent[-1], links[4].sent[-1])
        self.assertEqual(self.service.seconds, 1)

    def test_who_does_not_read_is_left_out_and_not_queued_for(self) -> None:
        link = FakeLink()
        self.subscribe(link)
        link.busy = True
        self.service.fire()
        self.assertEqual(len(link.sent), 1)
        link.busy = False
        self.service.fire()
        self.assertEqual(len(link.sent), 2)

    def test_another_name_is_answered_with_moved(self) -> None:
        link = FakeLink()
        self.subscribe(link, "outbox-2")
        self.assertEqual(link.sent, [{"op": "moved", "address": "agent/outbox-2"}])
        self.assertEqual(self.service.timers, [])

    def test_a_sample_says_who_when_and_how(self) -> None:
        sample = self.agent.sample()
        self.assertLess(abs(sample["at"] - 1000 * time.time()), 1000)
        self.assertEqual(sample["pid"], os.getpid())
        self.assertEqual((sample["name"], sample["role"]), ("outbox-1", "outbox"))
        self.assertEqual((sample["in"], sample["out"]), (5, 4))
        self.assertGreater(sample["cpu_s"], 0)
        if pathlib.Path("/proc/self/statm").exists():
            self.assertTrue(4 << 20 < sample["rss_bytes"] < 4 << 30, sample["rss_bytes"])

    def test_only_the_deepest_streams_are_named(self) -> None:
        streams = [(f"outbox/u{i}", i) for i in range(1000)]
        named = agent.deepest(streams)
        self.assertEqual(named[0], ("outbox/u999", 999))
        self.assertEqual(len(named), agent.MAX_NAMED_STREAMS)
        self.assertEqual(agent.deepest([("outbox/u", 0)]), [])


class Listener(Peers):
    """Keeps the samples of every agent there is."""

    def __init__(self, node: Guest) -> None:
        super().__init__(node, "agent")
        self.samples: dict[str, list[Any]] = {}
        self.refused: list[Message] = []

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        link.send(wire.encode("subscribe", address=f"agent/{link.peer['name']}"))

    def on_sample(self, link: Link, message: Message) -> None:
        self.samples.setdefault(link.peer["name"], []).append(message["parsed"])

    def on_refuse(self, link: Link, message: Message) -> None:
        self.refused.append(message)


class Watcher(Guest):
    kind = "watcher"

    async def started(self) -> None:
        self.agents = Listener(self)


class ServicesTest(unittest.IsolatedAsyncioTestCase):
    """Real processes: each of them is an agent, and its numbers are right."""

    async def asyncSetUp(self) -> None:
        self.fleet = self.enterContext(Fleet())
        fleet = self.fleet
        # followers before bizlogic, so that the latter does not start one of its own.
        starts = [fleet.directory, fleet.inbox, fleet.followers, fleet.outbox]
        loop = asyncio.get_running_loop()
        services = await asyncio.gather(*(loop.run_in_executor(None, s) for s in starts))
        self.directory, self.inbox, self.followers, self.outbox = services
        self.bizlogic = await loop.run_in_executor(None, fleet.bizlogic)
        self.watcher = Watcher(self.fleet.args())
        run = asyncio.create_task(self.watcher.run())
        self.addAsyncCleanup(asyncio.wait_for, run, 10)
        self.addCleanup(self.watcher.stop)
        await until(lambda: hasattr(self.watcher, "agents"), "it runs")
        await until(lambda: len(self.watcher.agents.samples) == 5, "everybody is sampled")

    def latest(self, role: str) -> dict[str, Any]:
        for samples in self.watcher.agents.samples.values():
            if samples[-1]["role"] == role:
                return dict(samples[-1])
        raise AssertionError(f"no sample of {role}")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    async def test_every_service_is_an_agent_also_the_directory(self) -> None:
        for role, service in (
            ("directory", self.directory),
            ("inbox", self.inbox),
            ("followers", self.followers),
            ("bizlogic", self.bizlogic),
            ("outbox", self.outbox),
        ):
            sample = self.latest(role)
            self.assertEqual((sample["pid"], sample["port"]), (service.pid, service.port))
            self.assertEqual(sample["name"], f"{role}-{service.port}")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by samples that come once a second")
    async def test_what_is_counted_is_what_was_said(self) -> None:
        async with self.fleet.people() as (producer, audience):
            await audience.ready()
            producer.say(self.fleet.world.names * 2)
            await producer.all_acked()
            await audience.all_shown(producer)
            said, shown = len(producer.said), sum(map(len, audience.shown.values()))
            await until(
                lambda: self.latest("outbox")["out"] == said, "the outbox has counted its barks"
            )
            outbox, bizlogic = self.latest("outbox"), self.latest("bizlogic")
            self.assertEqual((outbox["in"], outbox["backlog"], outbox["unacked"]), (said, 0, 0))
            self.assertEqual(outbox["streams"], len(self.fleet.world.names))
            self.assertIsNone(outbox["oldest_ms"])
            await until(lambda: self.latest("bizlogic")["out"] == shown, "so has bizlogic")
            self.assertEqual(self.latest("bizlogic")["in"], said)
            self.assertEqual(bizlogic["backlog"], 0)
            await until(lambda: self.latest("inbox")["in"] == shown, "and the inbox")
            self.assertEqual(self.latest("inbox")["out"], shown)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by samples that come once a second")
    async def test_a_queue_without_a_way_out_shows_its_depth_its_age_and_its_streams(self) -> None:
        self.bizlogic.kill()
        begun = time.monotonic()
        async with self.fleet.people([self.fleet.world.names[0]]) as (producer, _):
            author, other = self.fleet.world.names[:2]
            producer.say([author] * 30 + [other] * 3)
            await producer.all_acked()
            await until(lambda: self.latest("outbox")["backlog"] == 33, "its depth is told")
            outbox = self.latest("outbox")
            self.assertEqual(outbox["deepest"], [[f"outbox/{author}", 30], [f"outbox/{other}", 3]])
            first = outbox["oldest_ms"]
            await until(lambda: self.latest("outbox")["oldest_ms"] > first, "it grows older")
            self.assertLess(self.latest("outbox")["oldest_ms"], 1000 * (time.monotonic() - begun))

    async def test_other_subscriptions_are_refused_by_who_has_nothing_to_read(self) -> None:
        agents = self.watcher.agents
        agents.peers[f"bizlogic-{self.bizlogic.port}"].send(
            wire.encode("subscribe", address="inbox/ark3")
        )
        await until(lambda: agents.refused, "it is refused")
        self.assertEqual(agents.refused[0]["addresses"], ["inbox/ark3"])


if __name__ == "__main__":
    unittest.main()
