"""A service that can't do its part is not registered, as long as others are."""

import contextlib
import errno
import os
import random
import unittest
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from unittest import mock

from barker.bizlogic import BizLogic
from barker.directory import Directory
from barker.followers import Followers
from barker.inbox import Inbox
from barker.outbox import Outbox
from barker.process import health
from barker.process.health import Health
from barker.process.service import Service
from tests.tools.fleet import until
from tests.tools.inside import journal_of
from tests.tools.wireclient import WireTest, bark, put, register

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class HealthTest(unittest.TestCase):
    def setUp(self) -> None:
        self.service = mock.Mock(heartbeat_s=1.0, has_directory=True)
        self.service.name = "a"
        self.clock, self.illness, self.others = 0.0, "", ["b"]
        self.service.now = lambda: self.clock
        self.service.routes.route.side_effect = lambda _: self.route()
        self.health = Health(self.service, "inbox", "consistent", lambda: self.illness)
        self.enterContext(mock.patch.object(health, "log"))

    def route(self) -> SimpleNamespace:
        return SimpleNamespace(targets=[SimpleNamespace(name=name) for name in self.others])

    def after(self, seconds: float) -> bool:
        """Is it registered then? It is looked at four times a second."""
        for _ in range(int(4 * seconds)):
            self.clock += 0.25
            self.health.look()
        calls = [name for name, *_ in self.service.method_calls if "serve" in name]
        return bool(calls) and calls[-1] == "serve"

    def test_it_is_registered_when_it_begins(self) -> None:
        self.assertFalse(self.after(9))
        self.health.begin()
        self.assertTrue(self.after(9))

    def test_within_three_heartbeats_others_have_its_part(self) -> None:
        self.health.begin()
        self.illness = "the disk is full"
        self.assertTrue(self.after(1.75))
        self.assertFalse(self.after(1.25))
        self.assertTrue(self.health.is_out)

    def test_a_short_illness_is_none(self) -> None:
        self.health.begin()
        for _ in range(9):
            self.illness = "the disk is full"
            self.assertTrue(self.after(1.5))
            self.illness = ""
            self.assertTrue(self.after(0.5))

    def test_it_comes_back_when_it_has_been_well_for_as_long(self) -> None:
        self.health.begin()
        self.illness = "the disk is full"
        self.after(3)
        self.illness = ""
        self.assertFalse(self.after(1.75))
        self.illness = "the disk is full"
        self.assertFalse(self.after(1))
        self.illness = ""
        self.assertFalse(self.after(1.75))
        self.assertTrue(self.after(1))

    def test_the_last_one_stays(self) -> None:
        self.health.begin()
        self.illness, self.others = "the disk is full", ["a"]
        self.assertTrue(self.after(9))

    def test_without_a_directory_it_does_not_know_of_others(self) -> None:
        self.health.begin()
        self.service.has_directory = False
        self.illness = "the disk is full"
        self.assertTrue(self.after(9))

    def test_it_comes_back_when_no_other_is_left(self) -> None:
        self.health.begin()
        self.illness = "the disk is full"
        self.assertFalse(self.after(3))
        self.others = []
        self.assertTrue(self.after(0.25))

    def test_it_does_not_come_back_after_its_end(self) -> None:
        self.health.begin()
        self.health.end()
        self.assertFalse(self.after(9))
        self.illness = "the disk is full"
        self.assertFalse(self.after(9))


class TogetherTest(unittest.TestCase):
    """Several, of which each hears a moment later that another has left."""

    def test_of_those_that_fall_ill_together_one_stays(self) -> None:
        self.enterContext(mock.patch.object(health, "log"))
        for seed in range(20):
            with self.subTest(seed):
                random.seed(seed)
                self.assertOneStays()

    def assertOneStays(self) -> None:
        clock = 0.0
        registered: set[str] = set()
        told: list[set[str]] = [set()]

        def service(name: str) -> Health:
            one = mock.Mock(heartbeat_s=1.0, has_directory=True, now=lambda: clock)
            one.name = name
            one.serve.side_effect = lambda *_: registered.add(name)
            one.unserve.side_effect = lambda *_: registered.discard(name)
            one.routes.route.side_effect = lambda _: SimpleNamespace(
                targets=[SimpleNamespace(name=other) for other in told[0]]
            )
            return Health(one, "bizlogic", "ordered", lambda: "no link to inbox-1")

        healths = [service(name) for name in "abc"]
        for one in healths:
            one.begin()
        lonely = 0
        for _ in range(400):
            clock += 0.05  # about what a change of routes takes, on a slow network
            for one in healths:
                one.look()
            told.append(set(registered))
            told.pop(0)
            lonely = lonely + 1 if len(registered) == 1 else 0
        self.assertGreater(lonely, 100, registered)


class ServicesTest(WireTest):
    """Real services, whose heartbeats are given by hand."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(health, "PATIENCE_HEARTBEATS", 0.0)
        self.patch(health, "SPREAD_HEARTBEATS", 0.0)
        self.enterContext(self.assertLogs("barker", "WARNING"))
        self.directory = await self.serve(Directory)
        self.port = self.directory.port

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        with mock.patch.object(os, "write", side_effect=FULL):
            yield

    def registered(self, address: str) -> list[str]:
        return sorted(self.directory._services.get(address, {}))

    async def registered_are(self, address: str, *names: str) -> None:
        await until(lambda: self.registered(address) == [*names], f"{address}: {names}")

    async def looks(self, *services: Service, until_they_are: Sequence[bool]) -> None:
        """Have them look at themselves until they have left, or are back."""

        def are_out() -> list[bool]:
            for service in services:
                service.ticked()
            return [service._health.is_out for service in services]  # type: ignore[attr-defined]

        await until(lambda: sorted(are_out()) == [*until_they_are], f"out: {until_they_are}")

    async def test_an_inbox_with_a_full_disk_leaves_its_share_and_its_timelines(self) -> None:
        one = await self.serve(Inbox, "--name", "i1", directory=self.port)
        sender = await self.open(one.port)
        await self.registered_are("inbox", "i1")
        sender.send(*(put(n, ["inbox/ark3"], bark("ark3", str(n))) for n in range(1, 4)))
        await sender.up_to_ack(3)
        two = await self.serve(Inbox, "--name", "i2", directory=self.port)
        await self.registered_are("inbox", "i1", "i2")
        with self.full_disk():
            sender.send(put(4, ["inbox/ark3"], bark("ark3", "4")))
            await sender.heard()
            self.assertTrue(journal_of(one).trouble or not one._share.is_ours("inbox/ark3"))
            journal_of(one).trouble = "no room"
            await self.looks(one, until_they_are=[True])
        await self.registered_are("inbox", "i2")
        store = two._store.timelines
        await until(lambda: "inbox/ark3" in store, "it has the timeline")
        await until(lambda: len(store["inbox/ark3"].entries) == 3, "all of it")
        journal_of(one).trouble = "no room"
        with mock.patch.object(type(journal_of(one)), "has_room", return_value=False):
            one.ticked()
            self.assertTrue(one._health.is_out)
        await self.looks(one, until_they_are=[False])
        await self.registered_are("inbox", "i1", "i2")
        self.assertEqual(journal_of(one).trouble, "")

    async def test_an_outbox_with_a_full_disk_leaves_its_authors_to_others(self) -> None:
        one = await self.serve(Outbox, "--name", "o1", directory=self.port)
        await self.serve(Outbox, "--name", "o2", directory=self.port)
        await self.registered_are("outbox", "o1", "o2")
        journal_of(one).trouble = "no room"
        await self.looks(one, until_they_are=[True])
        await self.registered_are("outbox", "o2")

    async def test_a_bizlogic_that_reaches_an_inbox_no_more_leaves_its_place(self) -> None:
        await self.serve(Followers, "--no-journal", directory=self.port)
        one = await self.serve(BizLogic, "--name", "b1", directory=self.port)
        two = await self.serve(BizLogic, "--name", "b2", directory=self.port)
        await self.registered_are("bizlogic", "b1", "b2")
        lost = await self.open(self.port, "lost")
        lost.send(register("inbox", "i9", 1))  # nothing listens there
        for logic in (one, two):
            await until(lambda logic=logic: logic._illness(), "it has no link")  # type: ignore[misc]
        await self.looks(one, until_they_are=[True])
        await self.registered_are("bizlogic", "b2")
        await until(lambda: len(two.routes.route("bizlogic").targets) == 1, "it is told")
        for _ in range(9):
            one.ticked()
            two.ticked()
        await lost.before_pong()
        self.assertEqual(len(self.registered("bizlogic")), 1, "the last one stays")
        lost.abort()
        await until(lambda: not (one._illness() or two._illness()), "both are well")
        await self.looks(one, two, until_they_are=[False, False])
        await self.registered_are("bizlogic", "b1", "b2")
