"""Manifolds as processes: back pressure through the whole system, and members that come and go."""

import asyncio
import json
import unittest

from barker.disk import keys
from tests.tools.children import at_once
from tests.tools.fleet import DEADLINE_S, GOOD, SLOW, Fleet, until
from tests.tools.wireclient import WireTest
from tests.unit.test_inbox import USERS


class BackPressureTest(WireTest):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: fills a queue")
    async def test_promises_3_and_5_what_a_full_queue_has_refused_comes_in_order_and_once(
        self,
    ) -> None:
        """A real client, and an outbox that has room for a few and nobody to push them to."""
        fleet = self.enterContext(Fleet())
        starts = (fleet.directory, fleet.inbox, lambda: fleet.outbox("--max-backlog", "100"))
        await at_once(*starts)
        authors = fleet.world.names[3:13]
        async with fleet.people() as people:
            await people.ready()
            await people.producer.say_at(3000, 500, authors)
            await until(
                lambda: people.producer.unanswered == 400, "what there is room for is taken"
            )
            begun = asyncio.to_thread(fleet.bizlogic)
            await people.producer.say_at(1500, 900, authors)  # these must not overtake the others
            await begun
            await people.all_acked(2 * DEADLINE_S)
            await people.all_shown(2 * DEADLINE_S)
            self.assertEqual(people.verdict(), GOOD)
            self.assertEqual(people.audience.late, set())


class MoveTest(WireTest):
    """Real processes join and leave while people talk and read."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.fleet = self.enterContext(Fleet())
        fleet = self.fleet
        starts = (fleet.directory, fleet.inbox, fleet.bizlogic, fleet.outbox, fleet.outbox)
        started = await at_once(*starts)
        self.directory, self.inbox, self.bizlogic, *self.outboxes = started
        self.secret = keys.secret(fleet.state)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a hand-over")
    async def test_readers_and_senders_move_when_an_inbox_and_an_outbox_join(self) -> None:
        authors = self.fleet.world.names[3:23]
        async with self.fleet.people() as people:
            await people.ready()
            joined = asyncio.Event()

            async def talk() -> None:
                while not joined.is_set():
                    await people.producer.say_at(700, 70, authors)
                await people.producer.say_at(700, 350, authors)

            load = asyncio.create_task(talk())
            await until(lambda: len(people.audience.shown_at) > 1000, "traffic flows")
            joins = [asyncio.to_thread(s) for s in (self.fleet.inbox, self.fleet.outbox)]
            new_inbox, new_outbox = await asyncio.gather(*joins)
            await until(
                lambda: (
                    len(people.routes.route("inbox").targets) == 2
                    and len(people.routes.route("outbox").targets) == 3
                ),
                "everybody knows the new ones",
            )
            joined.set()
            await load
            await people.all_acked(2 * DEADLINE_S)
            await people.all_shown(2 * DEADLINE_S)
            # An order across a change of owner is not promised; all the rest is.
            self.assertEqual(people.verdict()._replace(out_of_order=[]), GOOD)
            for service, name in ((new_inbox, "inbox"), (new_outbox, "outbox")):
                route = people.routes.route("inbox") if name == "inbox" else None
                route = route or people.routes.route("outbox")
                self.assertIn(f"{name}-{service.port}", route.by_name)
            self.assertIn(f"inbox-{new_inbox.port}", people.audience.sources)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a hand-over")
    async def test_a_subscriber_by_hand_finds_its_history_at_the_new_owner(self) -> None:
        async with self.fleet.people() as people:
            await people.ready()
            people.producer.say(self.fleet.world.names)
            await people.all_acked()
            await people.all_shown()
            new = await asyncio.to_thread(self.fleet.inbox)
            await until(lambda: len(people.routes.route("inbox").targets) == 2, "it is known")
            owner = people.routes.route("inbox").owner
            moved = [u for u in USERS if (t := owner(u)) and t.name == f"inbox-{new.port}"]
            self.assertTrue(moved)
            expected = {json.dumps([u, b.id]) for u in moved for b in people.audience.shown[u]}
            reader = await self.open(new.port)
            got: set[str] = set()

            def ask(*addresses: str) -> None:
                for address in addresses:
                    reader.send({"op": "subscribe", "address": address, "history": 800})

            ask(*(f"inbox/{u}" for u in moved))
            async with asyncio.timeout(2 * DEADLINE_S):
                while got != expected:
                    for message in await reader.before_pong():
                        if message["op"] == "moved":  # it has not heard of itself yet
                            ask(message["address"])
                        elif message["op"] == "message":
                            user = message["address"].partition("/")[2]
                            key = json.dumps([user, message["body"]["id"]])
                            self.assertNotIn(key, got)
                            got.add(key)
                    self.assertLessEqual(got, expected)
