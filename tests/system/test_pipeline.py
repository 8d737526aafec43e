"""The whole pipeline as processes: the design's promises, as far as they hold without a journal."""

import asyncio
import unittest

from tests.tools.children import at_once
from tests.tools.fleet import DEADLINE_S, GOOD, SLOW, Fleet, People, until


class PipelineCase(unittest.IsolatedAsyncioTestCase):
    """A directory, an inbox, two bizlogics and three outboxes; everybody reads."""

    heartbeat_s = 1.0

    async def asyncSetUp(self) -> None:
        self.fleet = self.enterContext(Fleet(heartbeat_s=self.heartbeat_s))
        starts = [
            self.fleet.directory,
            self.fleet.inbox,
            self.fleet.bizlogic,
            self.fleet.outbox,
            self.fleet.outbox,
            self.fleet.outbox,
        ]
        self.services = await at_once(*starts)
        self.directory, self.inbox, self.first, *self.outboxes = self.services
        self.authors = self.fleet.world.names[3:23]

    async def assertAllGood(self, people: People) -> None:
        await people.all_acked(2 * DEADLINE_S)
        await people.all_shown(3 * DEADLINE_S)
        self.assertEqual(people.verdict(), GOOD)


class PipelineTest(PipelineCase):
    async def test_every_bark_reaches_every_follower_once_and_in_order(self) -> None:
        async with self.fleet.people() as people:
            await people.ready()
            await people.producer.say_at(1000, 1000, self.authors)
            await self.assertAllGood(people)

    async def test_promise_6_the_next_bizlogic_takes_over_within_200_ms_of_a_kill_9(self) -> None:
        self.fleet.bizlogic()
        async with self.fleet.people() as people:
            await people.ready()
            load = asyncio.create_task(people.producer.say_at(500, 800, self.authors))
            await until(lambda: len(people.audience.shown_at) > 2000, "traffic flows")
            self.first.popen.kill()
            killed = people.now()
            await load
            await self.assertAllGood(people)
            after = [t - killed for t in people.audience.shown_at if t > killed + 0.02]
            self.assertLess(min(after), 0.2)

    async def test_promise_1_barks_wait_while_no_bizlogic_runs(self) -> None:
        async with self.fleet.people() as people:
            await people.ready()
            self.first.kill()
            await people.producer.say_at(1000, 500, self.authors)
            await people.all_acked()
            self.assertEqual(people.audience.shown_at, [])
            self.fleet.bizlogic()
            await self.assertAllGood(people)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for the directory to settle")
    async def test_promise_4_the_directory_is_killed_and_comes_back(self) -> None:
        count = 2500 if SLOW else 1500
        async with self.fleet.people() as people:
            await people.ready()
            routes = people.routes.route("outbox")
            load = asyncio.create_task(people.producer.say_at(1000, count, self.authors))
            await until(lambda: len(people.producer.said) > count / 2, "half is said")
            self.directory.kill()
            epoch = people.directory_epoch
            self.fleet.directory()
            await until(lambda: people.directory_epoch != epoch, "the directory is back")
            await load
            await self.assertAllGood(people)
            self.assertIs(people.routes.route("outbox"), routes)  # no owner changed, ever

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: takes the ten seconds of a frost")
    async def test_promise_4_the_directory_is_frozen_for_ten_seconds(self) -> None:
        async with self.fleet.people() as people:
            await people.ready()
            routes = people.routes.route("outbox")
            load = asyncio.create_task(people.producer.say_at(300, 5000, self.authors))
            await until(lambda: len(people.producer.said) > 500, "traffic flows")
            self.directory.freeze()
            frozen = people.now()
            await until(lambda: people.now() > frozen + 10, "ten seconds are over")
            self.assertFalse(people.has_directory)
            self.directory.thaw()
            await until(lambda: people.has_directory, "the directory is back")
            await load
            await self.assertAllGood(people)
            self.assertIs(people.routes.route("outbox"), routes)


class FrostTest(PipelineCase):
    """With short heartbeats, but for the slow run."""

    heartbeat_s = 1.0 if SLOW else 0.4

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    async def test_promise_6_a_frozen_bizlogic_is_replaced_within_three_heartbeats(self) -> None:
        self.fleet.bizlogic()
        async with self.fleet.people() as people:
            await people.ready()
            load = asyncio.create_task(
                people.producer.say_at(300, 2400 if SLOW else 900, self.authors)
            )
            await until(lambda: len(people.audience.shown_at) > 1000, "traffic flows")
            self.first.freeze()
            frozen = people.now()
            await until(
                lambda: people.audience.shown_at[-1] < people.now() - 0.5 * self.heartbeat_s,
                "deliveries pause",
            )
            seen = len(people.audience.shown_at)
            await until(lambda: len(people.audience.shown_at) > seen, "deliveries go on")
            self.assertLess(people.now() - frozen, 3 * self.heartbeat_s)
            # Promise 2: what it sends when it is thawed, two being active, is shown to nobody.
            self.first.thaw()
            await load
            await self.assertAllGood(people)
