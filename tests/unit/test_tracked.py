"""The tracked sender: an outcome knows what became of its put, and a wait ends when all do."""

import asyncio
from typing import Any

from barker.client.tracked import Outcome, TrackedSender
from barker.wire.protocol import UNKNOWN_USER
from tests.tools.children import until
from tests.unit.test_sender import ITEM, SenderCase


class TrackedTest(SenderCase):
    service = "outbox"

    def begin(self, **more: Any) -> None:
        super().begin()
        self.refusals: list[Outcome] = []
        node: Any = self.node
        self.tracked = TrackedSender(node, self.service, self.refusals.append, **more)
        self.sender: Any = self.tracked.sender

    def track(self, outcome: Outcome, address: str = "outbox/ark3") -> Outcome:
        self.tracked.track(address, ITEM, outcome)
        self.tracked.pump()
        return outcome

    def state(self, outcome: Outcome) -> tuple[bool, str, str, int]:
        return (outcome.acked, outcome.refused, outcome.reason, outcome.pending)

    def test_an_outcome_is_acked_or_refused_or_has_no_answer_yet(self) -> None:
        self.route("a")
        link = self.up("a")
        one, two, three = (self.track(Outcome()) for _ in range(3))
        self.assertEqual(self.tracked.unanswered, 3)
        self.refuse(link, 1, UNKNOWN_USER, "outbox/ark3")
        self.node.clock = 5.0
        self.ack(link, 2)
        self.assertEqual(self.state(one), (False, UNKNOWN_USER, "because", 0))
        self.assertEqual(self.state(two), (True, "", "", 0))
        self.assertEqual(two.acked_at, 5.0)
        self.assertEqual(self.state(three), (False, "", "", 1))
        self.assertEqual([o.answered for o in (one, two, three)], [True, True, False])
        self.assertEqual((self.tracked.unanswered, self.refusals), (1, [one]))

    def test_puts_that_share_an_outcome_are_counted_one_by_one(self) -> None:
        self.route("a")
        link = self.up("a")
        shared = Outcome()
        for _ in range(3):
            self.track(shared)
        self.ack(link, 2)
        self.assertEqual((shared.pending, self.tracked.unanswered), (1, 1))
        self.ack(link, 3)
        self.assertEqual((shared.pending, self.tracked.unanswered), (0, 0))

    def test_with_only_there_is_a_link_to_the_owner_of_that_share_alone(self) -> None:
        self.begin(only="ark3")
        self.route("a", "b", "c")
        owner = self.node.routes.choose("outbox/ark3")
        assert owner
        self.assertEqual([dialer.expect for dialer in self.node.dialers], [owner.name])

    def test_a_wait_ends_when_each_put_is_answered(self) -> None:
        self.route("a")
        link = self.up("a")
        self.track(Outcome()), self.track(Outcome())

        async def wait() -> None:
            waiting = asyncio.create_task(self.tracked.all_answered())
            await asyncio.sleep(0)  # it has begun to wait
            self.ack(link, 1)
            for _ in range(10):
                await asyncio.sleep(0)
                self.assertFalse(waiting.done())
            self.refuse(link, 2, UNKNOWN_USER, "outbox/ark3")
            await until(waiting.done, "the wait is over")
            await self.tracked.all_answered()  # at once

        asyncio.run(wait())
