"""Manifolds come and go while barks flow: no reader misses one, or is shown one twice."""

import asyncio
import contextlib
import unittest
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from barker.laboratory.audience import Audience
from barker.laboratory.producer import SaidBark
from barker.manifold.handover import LEAVE_S
from barker.process.node import GRACE_S
from tests.tools.fleet import (
    DEADLINE_S,
    GOOD,
    SLOW,
    Fleet,
    Guest,
    People,
    Service,
    free_port,
)
from tests.tools.fleet import until as until_true

# Entries that are retained: everything, because gaps are another matter.
KEEP = ("--keep", "20000")
RATE = 400

Result = TypeVar("Result")


class HandOverSystem(unittest.IsolatedAsyncioTestCase):
    """Two inboxes, two outboxes, and everybody reads."""

    heartbeat_s = 0.4

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)
        self.fleet = self.enterContext(Fleet(heartbeat_s=self.heartbeat_s))
        self.ports = {name: free_port() for name in "abc"}
        fleet = self.fleet
        await asyncio.gather(
            *map(self.started, (fleet.directory, fleet.bizlogic, fleet.outbox, fleet.outbox))
        )
        self.first = await self.started(self.inbox, "a")

    async def started(self, start: Callable[..., Service], *args: str) -> Service:
        return await asyncio.to_thread(start, *args)

    def inbox(self, name: str) -> Service:
        """It has the same name whenever it comes back, because it has the same port."""
        return self.fleet.inbox(*KEEP, port=self.ports[name])

    async def stopped(self, service: Service) -> None:
        service.popen.terminate()
        status = await asyncio.to_thread(service.ended)
        self.assertEqual(status, 0, service)

    @contextlib.asynccontextmanager
    async def traffic(
        self, inboxes: int = 1
    ) -> AsyncIterator[tuple[People, Callable[[int], Awaitable[None]]]]:
        """Barks flow while the block runs; afterwards everything has to be well.

        The second of what is yielded waits until so many more have been shown.
        """
        async with self.fleet.people() as people:
            await people.ready()
            route = people.routes
            await until_true(lambda: len(route.route("inbox").targets) == inboxes, "the ring")
            load = asyncio.create_task(people.producer.say_at(RATE, 10**6, self.fleet.world.names))

            async def more(count: int) -> None:
                goal = len(people.audience.shown_at) + count
                await until_true(lambda: len(people.audience.shown_at) >= goal, "traffic flows")

            await more(1500)
            self.assertEqual(people.audience.late, set())
            yield people, more
            await more(1500)
            load.cancel()
            await people.all_acked(2 * DEADLINE_S)
            await people.all_shown(2 * DEADLINE_S)
            await self.assertHistories(people.producer.said)
            self.assertEqual(people.verdict(), GOOD)
            self.assertEqual(people.audience.gaps, 0)

    async def assertHistories(self, said: Sequence[SaidBark]) -> None:
        """A newcomer gets everything, and one that asks for less gets the end of that.

        The order is the stream's: what was handed over is where it came.
        """
        everything = await self.newcomer(said, 10**6)
        world = self.fleet.world
        for reader, barks in everything.items():
            authors = {reader, *world.follows[reader]}
            due = [(s.bark.user, s.number) for s in said]
            self.assertEqual(sorted(barks), sorted(b for b in due if b[0] in authors), reader)
        for reader, barks in (await self.newcomer(said, 5)).items():
            self.assertEqual(barks, everything[reader][-5:], reader)

    async def assertThere(self, said: Sequence[SaidBark]) -> None:
        """A newcomer is shown all of this, each once, with what others say meanwhile."""
        follows = self.fleet.world.follows
        due = {
            (r, s.bark.id)
            for r in self.fleet.world.names
            for s in said
            if s.bark.user in {r, *follows[r]}
        }

        async with self.reading(10**6) as newcomer:
            await until_true(lambda: due <= newcomer.got, "all is there")
        shown = [(r, b.id) for r, barks in newcomer.shown.items() for b in barks]
        self.assertEqual(len(shown), len(newcomer.got))

    @contextlib.asynccontextmanager
    async def reading(self, history: int) -> AsyncIterator[Audience]:
        """An audience that begins to read now: the last so many barks of every inbox."""
        guest = Guest(self.fleet.args())
        audience = Audience(guest)
        audience.read(self.fleet.world.names, history)
        async with guest.running():
            yield audience

    async def newcomer(
        self, said: Sequence[SaidBark], history: int
    ) -> dict[str, list[tuple[str, int]]]:
        """By reader, author and number of what a newcomer is shown, in that order."""
        world = self.fleet.world
        sizes = {
            reader: sum(s.bark.user in {reader, *world.follows[reader]} for s in said)
            for reader in world.names
        }
        async with self.reading(history) as newcomer:

            def enough() -> bool:
                shown = newcomer.shown.items()
                return all(len(barks) >= min(history, sizes[r]) for r, barks in shown)

            await until_true(enough, "a newcomer has all its history")
        return {
            reader: [(bark.author, int(bark.content)) for bark in barks]
            for reader, barks in newcomer.shown.items()
        }


class HandOverTest(HandOverSystem):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_inboxes_that_join_are_handed_what_is_theirs(self) -> None:
        async with self.traffic() as (people, more):
            await self.started(self.inbox, "b")
            await more(1000)
            await self.started(self.inbox, "c")
            await until_true(lambda: len(people.audience.sources) == 3, "all three are read")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_two_inboxes_join_at_once(self) -> None:
        async with self.traffic():
            await asyncio.gather(self.started(self.inbox, "b"), self.started(self.inbox, "c"))

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_promise_1_an_inbox_that_is_killed_has_all_its_own_again_when_it_is_back(
        self,
    ) -> None:
        second = await self.started(self.inbox, "b")
        async with self.traffic(2) as (_, more):
            for _ in range(5 if SLOW else 1):
                second.kill()
                await more(700)
                second = await self.started(self.inbox, "b")
                await more(700)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_an_inbox_is_killed_in_the_middle_of_handing_over(self) -> None:
        async with self.traffic() as (people, more):
            await self.started(self.inbox, "b")
            self.first.kill()
            await more(700)
            self.first = await self.started(self.inbox, "a")
            await until_true(lambda: len(people.audience.sources) == 2, "both are read")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    async def test_an_inbox_that_is_frozen_and_thawed_has_all_its_own_again(self) -> None:
        second = await self.started(self.inbox, "b")
        async with self.traffic(2) as (people, more):
            second.freeze()
            route = people.routes.route
            await until_true(lambda: len(route("inbox").targets) == 1, "the frost is noticed")
            await more(1000)
            second.thaw()
            await until_true(lambda: len(route("inbox").targets) == 2, "the thaw is noticed")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_an_outbox_joins_leaves_and_comes_back(self) -> None:
        port = free_port()

        def outbox() -> Service:
            return self.fleet.outbox(port=port)

        async with self.traffic() as (_, more):
            third = await self.started(outbox)
            await more(1000)
            await self.stopped(third)
            await more(1000)
            third = await self.started(outbox)
            await more(1000)
            third.kill()
            await more(1000)
            await self.started(outbox)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_nothing_is_late_while_nobody_comes_or_goes(self) -> None:
        async with self.traffic() as (people, more):
            await more(1000)
            self.assertEqual(people.audience.late, set())


class LeaveTest(HandOverSystem):
    # A busy machine must not be taken for a dead one: who leaves without a link to anybody goes
    # at once, and hands over nothing.
    heartbeat_s = 5.0

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_an_inbox_that_leaves_hands_over_first_and_has_its_own_again_when_it_is_back(
        self,
    ) -> None:
        second = await self.started(self.inbox, "b")
        async with self.traffic(2) as (people, more):
            for _ in range(3 if SLOW else 1):
                before = len(people.producer.said)
                await self.stopped(second)
                # All that was said before is with those who stay; nobody waits for its return.
                await self.assertThere(people.producer.said[:before])
                await more(500)
                second = await self.started(self.inbox, "b")
                await more(500)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_inboxes_leave_for_good_until_the_last_has_all(self) -> None:
        second = await self.started(self.inbox, "b")
        third = await self.started(self.inbox, "c")
        async with self.traffic(3) as (people, more):
            for leaver in (second, self.first):
                await more(500)
                before = len(people.producer.said)
                await self.stopped(leaver)
                await self.assertThere(people.producer.said[:before])
        self.assertIsNone(third.popen.poll())


class HistoryTest(HandOverSystem):
    heartbeat_s = 5.0  # a short frost is not noticed

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a time-out")
    async def test_an_inbox_leaves_in_its_time_though_the_other_one_does_not_answer(self) -> None:
        async with self.fleet.people() as people:
            await people.ready()
            names = self.fleet.world.names
            second = await self.started(self.inbox, "b")
            await until_true(lambda: len(people.audience.sources) == 2, "both are read")
            await people.producer.say_at(4000, 20 * len(names), names)
            await people.all_shown()
            self.first.freeze()
            begun = people.now()
            await self.stopped(second)
            self.assertLess(people.now() - begun, LEAVE_S + 2 * GRACE_S)
            self.assertIn("left before all was handed over", "\n".join(second.lines))
            self.first.thaw()
            await self.started(self.inbox, "b")
            await self.assertThere(people.producer.said)
            self.assertEqual(people.verdict(), GOOD)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, at other moments")
    async def test_what_is_handed_over_is_in_a_history_where_it_came(self) -> None:
        async with self.fleet.people() as people:
            await people.ready()
            names = self.fleet.world.names
            await people.producer.say_at(4000, 20 * len(names), names)
            await people.all_shown()
            second = asyncio.create_task(self.started(self.inbox, "b"))
            await until_true(lambda: len(self.fleet.processes) > 5, "it is on its way")
            self.first.freeze()
            await second
            # Now everybody knows that there are two, but for the one who has to hand over.
            await until_true(lambda: len(people.audience.sources) == 2, "readers have moved")
            people.producer.say(names)
            await until_true(
                lambda: any(
                    b.content == "21" for shown in people.audience.shown.values() for b in shown
                ),
                "the newest has come",
            )
            self.first.thaw()
            await people.all_shown()
            self.assertEqual(people.verdict(), GOOD)
            await self.assertHistories(people.producer.said)
