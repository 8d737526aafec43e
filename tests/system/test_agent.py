"""Agents of real services: every process is one, and its numbers are right."""

import asyncio
import time
import unittest

from barker.disk import keys
from tests.tools.children import at_once
from tests.tools.fleet import SLOW, Fleet, until
from tests.tools.watcher import Watcher
from tests.tools.wireclient import Wire


class ServicesTest(unittest.IsolatedAsyncioTestCase):
    """Real processes: each of them is an agent, and its numbers are right."""

    async def asyncSetUp(self) -> None:
        self.fleet = self.enterContext(Fleet())
        fleet = self.fleet
        # followers before bizlogic, so that the latter does not start one of its own.
        starts = [fleet.directory, fleet.inbox, fleet.followers, fleet.outbox]
        services = await at_once(*starts)
        self.directory, self.inbox, self.followers, self.outbox = services
        self.bizlogic = await asyncio.to_thread(fleet.bizlogic)
        self.watcher = await self.enterAsyncContext(Watcher(self.fleet.args()).running())
        self.latest = self.watcher.latest
        await until(lambda: len(self.watcher.agents.samples) == 5, "everybody is sampled")

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
        async with self.fleet.people() as people:
            await people.ready()
            people.producer.say(self.fleet.world.names * 2)
            await people.all_acked()
            await people.all_shown()
            said, shown = len(people.producer.said), sum(map(len, people.audience.shown.values()))
            await until(
                lambda: self.latest("outbox")["out"] == said,
                "the outbox has counted its barks",
            )
            outbox = self.latest("outbox")
            self.assertEqual((outbox["in"], outbox["backlog"], outbox["unacked"]), (said, 0, 0))
            self.assertEqual(outbox["streams"], len(self.fleet.world.names))
            self.assertIsNone(outbox["oldest_ms"])
            await until(lambda: self.latest("bizlogic")["out"] == shown, "so has bizlogic")
            bizlogic = self.latest("bizlogic")
            self.assertEqual((bizlogic["in"], bizlogic["backlog"]), (said, 0))
            await until(lambda: self.latest("inbox")["in"] == shown, "and the inbox")
            self.assertEqual(self.latest("inbox")["out"], shown)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by samples that come once a second")
    async def test_a_queue_without_a_way_out_shows_its_depth_its_age_and_its_streams(self) -> None:
        self.bizlogic.kill()
        begun = time.monotonic()
        async with self.fleet.people([self.fleet.world.names[0]]) as people:
            author, other = self.fleet.world.names[:2]
            people.producer.say([author] * 30 + [other] * 3)
            await people.all_acked()
            await until(lambda: self.latest("outbox")["backlog"] == 33, "its depth is told")
            outbox = self.latest("outbox")
            self.assertEqual(outbox["deepest"], [[f"outbox/{author}", 30], [f"outbox/{other}", 3]])
            first = outbox["oldest_ms"]
            await until(lambda: self.latest("outbox")["oldest_ms"] > first, "it grows older")
            self.assertLess(self.latest("outbox")["oldest_ms"], 1000 * (time.monotonic() - begun))

    async def test_other_subscriptions_are_refused_by_who_has_nothing_to_read(self) -> None:
        secret = keys.secret(self.fleet.state)
        async with await Wire.open(self.bizlogic.port, secret) as wire:
            wire.send({"op": "subscribe", "address": "inbox/ark3"})
            await wire.expect("unreadable", address="inbox/ark3")
