"""Poison: a body that ends one link after the other is found and refused."""

import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from barker.bizlogic import Recipients
from barker.delivery import poison
from barker.delivery.poison import ATTEMPTS, Suspects
from barker.wire import protocol
from barker.wire.protocol import BadMessage
from tests.unit.test_bizlogic import BizLogicTest


class Bug(Exception):
    """What no check foresaw."""


class PoisonTest(BizLogicTest):
    """A bark that raises in every bizlogic that touches it."""

    @contextmanager
    def poisonous(self, poison: str) -> Iterator[None]:
        """What this author says raises."""
        real = Recipients.of

        def of(recipients: Recipients, author: str, named: str = "") -> str:
            if author == poison:
                raise Bug(author)
            return real(recipients, author, named)

        with mock.patch.object(Recipients, "of", of), self.assertLogs("barker", "ERROR"):
            yield

    async def test_after_a_few_links_it_is_refused_for_good_and_the_rest_goes_on(self) -> None:
        with self.poisonous("bob"):
            for _ in range(ATTEMPTS):
                outbox = await self.open(self.biz.port, "outbox")
                outbox.send(self.put(1, "bob"), self.put(2, "ann"))
                self.assertIsNone(await outbox.heard())
            outbox = await self.open(self.biz.port, "outbox")
            outbox.send(self.put(1, "bob"), self.put(2, "ann"))
            refusal = await outbox.expect("refuse", seq=1, code=protocol.FAILED)
            self.assertIn("Bug('bob')", refusal["reason"])
            for inbox in self.links.values():
                inbox.send({"op": "ack", "seq": 1})
            self.assertEqual(await outbox.up_to_ack(2), [])


class SuspectsTest(unittest.TestCase):
    def test_only_the_body_that_ended_links_is_refused_and_only_then(self) -> None:
        suspects = Suspects()
        self.assertFalse(suspects)
        for _ in range(ATTEMPTS):
            suspects.check(b"a")
            suspects.blame(b"a", Bug("x"))
        self.assertTrue(suspects)
        suspects.check(b"b")
        with self.assertRaises(BadMessage) as caught:
            suspects.check(b"a")
        self.assertEqual(caught.exception.code, protocol.FAILED)
        self.assertNotIn(protocol.FAILED, protocol.RETRYABLE)

    def test_memory_is_bounded(self) -> None:
        with mock.patch.object(poison, "MAX_SUSPECTS", 10):
            suspects = Suspects()
            for n in range(100):
                suspects.blame(b"%d" % n, Bug("x" * 1000))
                self.assertLessEqual(len(suspects._ended), 10)
