"""Promise 5: at the documented limits no turn of any service takes long."""

import asyncio
import contextlib
import json
import time
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

from barker.bizlogic import BizLogic
from barker.delivery.batches import Batch
from barker.directory import MAX_ASKED, MAX_INSTANCES, Directory
from barker.disk.journal import Journal
from barker.followers import MAX_FOLLOWERS, MAX_WORDS, Followers
from barker.graph.friends import MAX_FRIENDS
from barker.graph.graph import Graph
from barker.graph.people import People
from barker.inbox import Inbox
from barker.manifold.readers import MAX_SUBSCRIPTIONS
from barker.manifold.timelines import Entry
from barker.outbox import Outbox
from barker.process.agent import MAX_NAMED_STREAMS
from barker.process.slices import Steps
from barker.routing.routes import ORDERED, Target
from barker.suggestions import Suggestions
from barker.wire import protocol
from monitoring.monitor import HISTORY, Monitor
from monitoring.picture import MAX_SERVICES
from tests.tools.fleet import SLOW, Fleet, until
from tests.tools.turns import Running, running
from tests.tools.wireclient import Wire, bark, puts, register

# Of the thread's own time; what the machine does besides is not ours. A machine that is slower, or
# whose cores share what they have with others, has more: as much more as `some_work` takes there.
MOST_MS = 50.0
SOME_WORK_MS = 10.0
# What comes in one read of a link.
READ_BYTES = 256 * 1024


def some_work() -> float:
    """Milliseconds of this thread's time for a little of what services do, at best."""
    took = []
    for _ in range(5):
        begun = time.thread_time()
        made = {f"user{i}": (i, str(i)) for i in range(20_000)}
        sum(len(text) for _, text in made.values())
        took.append(1000 * (time.thread_time() - begun))
    return min(took)


class TurnsTest(unittest.TestCase):
    alone = True  # it measures how long turns take

    def setUp(self) -> None:
        self.fleet = self.enterContext(Fleet(own_followers=True))

    def assertShort(self, service: Running[Any], what: str) -> None:
        said = f"{what}: {service.turns} turns, the longest {service.cpu_ms:.0f} ms of CPU"
        said += f" ({service.wall_ms:.0f} ms)"
        print(said)
        self.assertLess(service.cpu_ms, MOST_MS * max(1.0, some_work() / SOME_WORK_MS), said)

    def say(self, service: Running[Any], *lines: bytes) -> None:
        """Have a member say all that, in one piece; it comes to an end when a pong comes."""
        asyncio.run(self._say(service, lines))

    async def _say(self, service: Running[Any], lines: tuple[bytes, ...]) -> None:
        async with await Wire.open(service.node.port, service.node.key) as wire:
            service.begin()
            for line in lines:
                wire.write(line)
            with contextlib.suppress(AssertionError, ConnectionError):
                await wire.before_pong()

    # --- the inbox ---

    def test_an_inbox_whose_ring_changes(self) -> None:
        streams = 300_000 if SLOW else 50_000
        self.fleet.directory()
        with running(self.fleet, Inbox, "--no-journal") as inbox:
            node = inbox.node
            body = b'{"id":"1","user":"ark3","content":"wuff","at":1}'
            entry = Entry(body, "a" * 16, 1, False, False)

            def fill() -> Steps:
                for i in range(streams):
                    node._store.timeline(f"inbox/u{i}").take(entry)
                    yield

            inbox.fill(fill())
            inbox.begin()
            self.fleet.inbox("--no-journal")
            inbox.until(lambda: len(node.routes.route("inbox").targets) == 2, "there are two")
            self.assertShort(inbox, "a ring change, at once")
            inbox.until(
                lambda: inbox.call(lambda: not node.slices) and not node._hand_over.left,
                "all has gone",
            )
            self.assertShort(inbox, "a ring change")

    def test_an_inbox_with_a_link_of_very_many_readers(self) -> None:
        self.fleet.directory()
        self.enterContext(mock.patch.object(People, "__contains__", lambda here, user: True))
        with running(self.fleet, Inbox, "--no-journal") as inbox:
            node = inbox.node
            wishes = [
                line({"op": "subscribe", "address": f"inbox/u{i}", "after": 0})
                for i in range(MAX_SUBSCRIPTIONS)
            ]
            self.say(inbox, *wishes)
            inbox.until(
                lambda: inbox.call(lambda: not node.slices) and not node._readers.links,
                "it has gone",
            )
            self.assertShort(inbox, "very many readers of one link")

    # --- the outbox ---

    def test_an_outbox_of_which_very_many_wait_is_sampled(self) -> None:
        with running(self.fleet, Outbox, "--no-journal") as outbox:
            push = outbox.node._barks

            def fill() -> Steps:
                for i in range(300_000):
                    batch = Batch(["bizlogic"], b'"n":[1]', 1, 1, [f"user{i}"])
                    push._add(batch)
                    yield

            outbox.fill(fill())
            outbox.begin()
            for _ in range(3):
                outbox.call(outbox.node.gauges)
                outbox.until(
                    lambda: outbox.call(lambda: not outbox.node.slices),
                    "it has been looked through",
                )
            self.assertEqual(len(outbox.call(outbox.node.gauges)["deepest"]), MAX_NAMED_STREAMS)
            self.assertShort(outbox, "a sample")

    def test_an_outbox_that_recovers_a_damaged_journal(self) -> None:
        folder = self.fleet.state / "journal" / "outbox-x"
        journal = Journal(folder)
        list(journal.recover())
        journal.begin(dict)
        journal.close()
        path = next(folder.glob("*.log"))
        with path.open("ab") as file:
            file.write(b"nothing sound at all\n" * 200_000)
        with (
            self.assertLogs("barker.disk.journal", "WARNING"),
            running(self.fleet, Outbox, "--name", "outbox-x") as outbox,
        ):
            self.assertShort(outbox, "a damaged journal")

    # --- bizlogic ---

    def logic_with(self, words: Iterator[tuple[str, str]]) -> Running[BizLogic]:
        """A bizlogic that knows who follows whom by these."""
        logic = self.enterContext(running(self.fleet, BizLogic))
        graph = Graph()

        def fill() -> Steps:
            for user, whom in words:
                graph.apply({"kind": "follow", "user": user, "whom": whom, "at": 1})
                yield

        logic.fill(fill())
        logic.call(lambda: logic.node.graph_came(graph))
        return logic

    def test_a_bizlogic_and_barks_of_a_celebrity(self) -> None:
        self.fleet.directory()
        logic = self.logic_with((f"user{i}", "celeb") for i in range(MAX_FOLLOWERS))
        for _ in range(2):
            self.fleet.inbox("--no-journal")
        logic.until(lambda: len(logic.node._inboxes.peers) == 2, "there are inboxes")
        barks = [bark("celeb", f"b{i}") for i in range(3)]
        stamp = {"origin": "a" * 16, "n": [1, 2, 3]}
        self.say(logic, line(puts(1, [["bizlogic"]], barks, **stamp)))
        logic.until(lambda: not len(logic.node._inboxes), "all has arrived")
        self.assertShort(logic, "a celebrity")

    def test_a_bizlogic_whose_barks_have_waited_for_an_inbox(self) -> None:
        self.fleet.directory()
        edges = ((f"user{j * 7 + i}", f"user{i}") for i in range(1000) for j in range(20))
        logic = self.logic_with(edges)
        asyncio.run(self._wait_for_an_inbox(logic))
        self.assertShort(logic, "barks that have waited")

    async def _wait_for_an_inbox(self, logic: Running[BizLogic]) -> None:
        node, full = logic.node, protocol.UNACKED_WINDOW
        async with contextlib.AsyncExitStack() as stack:
            for k in range(3):
                opened = Wire.open(node.port, node.key, f"outbox-{k}")
                wire = await stack.enter_async_context(await opened)
                for first in range(1, full + 1, 128):
                    n = list(range(first, first + 128))
                    barks = [bark(f"user{i % 1000}", f"b{k}-{i}") for i in n]
                    wire.write(line(puts(first, [["bizlogic"]], barks, origin=str(k) * 16, n=n)))
            await until(lambda: len(node._inboxes) == 3 * full, "all have come")
            await asyncio.to_thread(logic.begin)
            for _ in range(2):
                await asyncio.to_thread(self.fleet.inbox, "--no-journal")
            await until(lambda: not len(node._inboxes), "all has arrived")

    # --- followers ---

    def test_a_followers_service_and_a_read_of_events_that_many_copy(self) -> None:
        self.fleet.directory()
        with running(self.fleet, Followers, "--no-journal") as service:
            asyncio.run(self._publish(service, copies=100, events=1200))
        self.assertShort(service, "events that many copy")

    async def _publish(self, service: Running[Followers], copies: int, events: int) -> None:
        node, dogs = service.node, ("ark3", "rdl", "rhs")
        async with contextlib.AsyncExitStack() as stack:
            for k in range(copies):
                wire = await Wire.open(node.port, node.key, f"copy-{k}")
                await stack.enter_async_context(wire)
                wire.send({"op": "subscribe", "address": "graph", "after": 0})
                await wire.expect("subscribed")
            outbox = await stack.enter_async_context(await Wire.open(node.port, node.key, "outbox"))
            said = [
                {"kind": "follow", "id": f"e{i}", "at": i + 1}
                | {"user": dogs[i % 3], "whom": dogs[(i + 1) % 3]}
                for i in range(events)
            ]
            await asyncio.to_thread(service.begin)
            for first in range(0, events, 100):
                some = puts(1 + first, [["followers"]], said[first : first + 100])
                outbox.write(line(some))
            await until(lambda: node._taken >= events, "all are taken")

    # --- suggestions and the monitor ---

    def test_suggestions_in_a_graph_of_very_many_with_very_many_friends(self) -> None:
        users = 1_000_000 if SLOW else 200_000
        with running(self.fleet, Suggestions) as suggestions:
            node, graph = suggestions.node, Graph()

            def fill() -> Steps:
                for i in range(users):
                    graph.apply({"kind": "join", "user": f"u{i}", "at": 1})
                    yield
                for i in range(2 * MAX_FRIENDS):  # each of them has as many friends as may be
                    for j in range(MAX_WORDS // 20):
                        whom = f"u{1000 + i + 7 * j}"
                        graph.apply({"kind": "follow", "user": f"u{i}", "whom": whom, "at": 1})
                        yield
                for i in range(MAX_WORDS):
                    whom = (
                        f"u{users - 1 - i}" if i < MAX_WORDS - MAX_FRIENDS else f"u{MAX_WORDS - i}"
                    )
                    graph.apply({"kind": "follow", "user": "star", "whom": whom, "at": 1})
                    yield

            suggestions.fill(fill())
            suggestions.begin()
            suggestions.call(lambda: node.replaced(graph))
            suggestions.until(lambda: len(node._others) < users - 1000, "some are looked at")
            self.assertShort(suggestions, "another graph")
            suggestions.call(lambda: node._others.clear())
            suggestions.begin()
            suggestions.call(lambda: node._await(["star", *(f"u{i}" for i in range(50))]))
            suggestions.call(node.gauges)
            suggestions.until(lambda: not node._waiting, "they are looked at")
            self.assertShort(suggestions, "suggestions")

    def test_a_monitor_of_as_many_services_as_it_shows_and_a_page_that_gets_the_past(self) -> None:
        names = [f"outbox-{i:03}-" + "x" * 50 for i in range(MAX_SERVICES)]
        why = "its queue waits " + "x" * 280
        with running(self.fleet, Monitor) as monitor:
            node = monitor.node
            targets = [Target(name, "127.0.0.1", 9, i) for i, name in enumerate(names)]
            table = node.routes
            monitor.call(lambda: table.update("agent", ORDERED, targets))
            monitor.call(lambda: node._agents.picture.routes_changed(1))
            monitor.begin()
            for second in range(HISTORY):
                for name in names[second % 4 :: 4]:
                    sample = {
                        "at": 1000 * second,
                        "pid": 1,
                        "since": 1,
                        "kind": "outbox",
                        "in": second,
                        "out": second,
                        "cpu_s": 1.0,
                        "waits": why,
                        "dead_letters": second,
                        "dead_letter": why,
                        "deepest": [[f"outbox/{'y' * 60}{i}", 9] for i in range(5)],
                    }
                    monitor.call(lambda s=sample, n=name: node._agents.picture.sampled(n, s, 1))  # type: ignore[misc]
                monitor.call(node._frame)
            self.assertShort(monitor, "frames of a hundred services")
            self.say(monitor, *[line({"op": "subscribe", "address": "monitor"})] * 5)
            self.assertShort(monitor, "ten minutes for a page")

    # --- the directory ---

    def test_a_directory_and_a_read_of_registrations(self) -> None:
        with running(self.fleet, Directory) as directory:
            one = line(register("inbox", "x" * 60, host="h" * 60))
            self.say(directory, *[one] * (READ_BYTES // len(one)))
            self.assertShort(directory, "the same registration again and again")
            many = [
                line(register(f"s{i % 5}", f"n{i:05}" + "x" * 50, host="h" * 60))
                for i in range(MAX_INSTANCES * 5)
            ]
            self.say(directory, *many)
            self.assertShort(directory, "as many registrations as there may be")

    def test_a_directory_and_very_many_watches(self) -> None:
        with running(self.fleet, Directory) as directory:
            watches = [line({"op": "watch", "prefix": f"s{i}"}) for i in range(MAX_ASKED)]
            self.say(directory, *watches * 4)
            self.assertShort(directory, "watches")
            asked = [line({"op": "resolve", "address": f"s{i}/x"}) for i in range(MAX_ASKED)]
            self.say(directory, *asked * 4)
            self.assertShort(directory, "questions")


def line(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


if __name__ == "__main__":
    unittest.main()
