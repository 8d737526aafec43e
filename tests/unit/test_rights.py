"""Rights: one table, one check, and for now every role may send all."""

import unittest
from unittest import mock

from barker.wire import protocol, rights
from barker.wire.ops import OPS, Ping, Put, Register, Subscribe
from barker.wire.rights import ALL, CLIENT, RIGHTS, SERVICE, form_of, may
from tests.tools.wireclient import bark, put
from tests.unit.test_link import LinkTest


class TableTest(unittest.TestCase):
    def test_a_form_is_an_address_with_a_star_for_its_key(self) -> None:
        for address, form in (("inbox/ark3", "inbox/*"), ("bizlogic", "bizlogic")):
            self.assertEqual(form_of(address), form)

    def test_every_role_may_send_all(self) -> None:
        self.assertEqual(set(RIGHTS.values()), {ALL})
        self.assertLessEqual({kind for kind, _ in RIGHTS}, {spec.type for spec in OPS.values()})

    def test_a_role_that_is_not_in_a_row_may_not_send_that_and_the_rest_as_before(self) -> None:
        only_services = frozenset({SERVICE})
        rows = {(Put, "bizlogic"): only_services, (Register, "*"): only_services}
        with mock.patch.dict(RIGHTS, rows):
            for message, allowed in (
                (Put(1, ["bizlogic"], [b"{}"]), False),
                (Put(1, ["outbox/ark3 outbox/rdl"], [b"{}"]), True),
                (Put(1, ["elsewhere"], [b"{}"]), True),
                (Subscribe("bizlogic"), True),
                (Register("bizlogic", "a", "h", 1, "ordered", "x", 1), False),
                (Ping(), True),
            ):
                self.assertIs(may(CLIENT, message), allowed, message)
                self.assertTrue(may(SERVICE, message))


class CheckTest(LinkTest):
    async def test_a_link_asks_before_it_hands_a_message_on(self) -> None:
        sender = await self.open(self.port)
        with mock.patch.dict(RIGHTS, {(Put, "sink/*"): frozenset({CLIENT})}):
            sender.send(put(1, ["other/x"], bark("ark3", "1")), put(2, ["sink/x"], {}))
            with self.assertLogs("barker", "WARNING"):
                await sender.expect("ack", seq=1)
                await sender.expect("error", code=protocol.FORBIDDEN)
        self.assertEqual(self.sink.taken, [1])
        self.assertTrue(rights.may(SERVICE, Ping()))
