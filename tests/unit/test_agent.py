"""Agents: what a service tells of itself, to whom, and that it costs nothing while nobody asks."""

import math
import os
import pathlib
import time
import unittest
from collections import deque
from typing import Any, ClassVar

from barker.process import agent
from barker.process.agent import Agent
from barker.wire.ops import Subscribe
from tests.tools.fakes import FakeLink, FakeNode


class FakeService(FakeNode):
    """Names itself, and counts how often its agent looks."""

    kind: ClassVar[str] = "outbox"
    name, host, port, since = "outbox-1", "::1", 1, 7

    def __init__(self) -> None:
        super().__init__()
        self.traces: deque[tuple[str, float]] = deque()
        self.waits = ""
        self.looked = self.seconds = 0

    def gauges(self) -> dict[str, Any]:
        self.looked += 1
        return {"in": 5, "out": 4}

    def sampled(self) -> None:
        self.seconds += 1


class AgentTest(unittest.TestCase):
    def setUp(self) -> None:
        self.service = FakeService()
        self.agent = Agent(self.service)

    def subscribe(self, link: FakeLink, name: str = "outbox-1") -> None:
        self.agent.subscribe(link, Subscribe(f"agent/{name}"))  # type: ignore[arg-type]

    def test_nobody_watches_and_nothing_runs(self) -> None:
        self.assertEqual((self.service.timers, self.service.looked), ([], 0))

    def test_a_sample_at_once_and_one_a_second_until_the_link_is_down(self) -> None:
        link = FakeLink()
        self.subscribe(link)
        for _ in range(3):
            self.assertEqual(len(self.service.timers), 1)
            self.assertLessEqual(self.service.timers[0][0], self.service.now() + 1.1)
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
        link.room = 0
        self.service.fire()
        self.assertEqual(len(link.sent), 1)
        link.room = math.inf
        self.service.fire()
        self.assertEqual(len(link.sent), 2)

    def test_a_service_that_stops_says_goodbye_to_its_watchers(self) -> None:
        links = [FakeLink(), FakeLink()]
        for link in links:
            self.subscribe(link)
        self.agent.stop()
        for link in links:
            first, last = (m["body"] for m in link.sent)
            self.assertNotIn("stopping", first)
            self.assertIs(last["stopping"], True)
            self.assertEqual(last["in"], 5)

    def test_all_later_samples_of_a_service_that_stops_say_so(self) -> None:
        """It may take seconds to stop; one that does not say so would make a death of it."""
        link, late = FakeLink(), FakeLink()
        self.agent.stop()  # nobody watches
        self.subscribe(link)
        self.agent.stop()
        self.service.fire()
        self.subscribe(late)
        self.assertEqual([m["body"]["stopping"] for m in link.sent + late.sent], 4 * [True])

    def test_another_name_is_answered_with_moved(self) -> None:
        link = FakeLink()
        self.subscribe(link, "outbox-2")
        self.assertEqual(link.sent, [{"op": "moved", "address": "agent/outbox-2"}])
        self.assertEqual(self.service.timers, [])

    def test_a_sample_says_who_when_and_how(self) -> None:
        sample = self.agent.sample()
        self.assertLess(abs(sample["at"] - 1000 * time.time()), 1000)
        self.assertEqual(sample["pid"], os.getpid())
        self.assertEqual((sample["name"], sample["kind"]), ("outbox-1", "outbox"))
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
