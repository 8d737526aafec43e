"""Rights: one table, one check: what a client may send, and that a service may send all."""

import unittest

from barker.bizlogic import BizLogic
from barker.directory import Directory
from barker.followers import Followers
from barker.inbox import Inbox
from barker.links import connection as connection_module
from barker.outbox import Outbox
from barker.process.service import Service
from barker.wire import protocol
from barker.wire.ops import (
    OPS,
    Ack,
    Credit,
    Ping,
    Put,
    Refuse,
    Register,
    Resolve,
    Subscribe,
    Unregister,
    Watch,
)
from barker.wire.rights import CLIENT, RIGHTS, SERVICE, clients_key, form_of, may
from tests.tools.wireclient import Message, Wire, WireTest, bark, put, register


class TableTest(unittest.TestCase):
    def test_a_form_is_an_address_with_a_star_for_its_key(self) -> None:
        for address, form in (("inbox/ark3", "inbox/*"), ("bizlogic", "bizlogic")):
            self.assertEqual(form_of(address), form)

    def test_all_rows_are_of_ops(self) -> None:
        self.assertLessEqual({kind for kind, _ in RIGHTS}, {spec.type for spec in OPS.values()})

    def test_a_client_resolves_watches_puts_to_outboxes_and_reads(self) -> None:
        stamp = ("ab" * 8, False, [1], ["ark3"], ["x"], [0])
        for message, allowed in (
            (Ping(), True),
            (Watch("outbox"), True),
            (Resolve("inbox/ark3"), True),
            (Put(1, ["outbox/ark3 outbox/rdl"], [b"{}"]), True),
            (Put(1, ["outbox/ark3 inbox/rdl"], [b"{}"]), False),
            (Put(1, ["outbox/ark3", "bizlogic"], [b"{}", b"{}"]), False),
            (Put(1, ["outbox/ark3"], [b"{}"], *stamp), False),
            (Put(1, ["inbox/ark3"], [b"{}"]), False),
            (Put(1, ["bizlogic"], [b"{}"]), False),
            (Put(1, ["followers"], [b"{}"]), False),
            (Subscribe("inbox/ark3"), True),
            (Subscribe("graph/ark3"), True),
            (Subscribe("monitor"), True),
            (Subscribe("agent/inbox-5820"), True),
            (Subscribe("graph"), False),
            (Subscribe("followers"), False),
            (Credit("inbox/ark3", 1), True),
            (Register("bizlogic", "a", "h", 1, "ordered", "x", 1), False),
            (Unregister("bizlogic", "a"), False),
            (Ack(1), False),
            (Refuse(1, "full", "", ["bizlogic"]), False),
        ):
            self.assertIs(may(CLIENT, message), allowed, message)
            self.assertTrue(may(SERVICE, message))


class CheckTest(WireTest):
    """A page or a client that has gone bad, with the clients' key."""

    async def client(self, service: Service) -> Wire:
        wire = await Wire.open(service.port, clients_key(self.secret), "page", role=CLIENT)
        return await self.enterAsyncContext(wire)

    async def assertForbidden(self, service: Service, message: Message) -> None:
        wire = await self.client(service)
        wire.send(message)
        with self.assertLogs("barker", "WARNING"):
            heard = await wire.rest()
        self.assertEqual([m.get("code") for m in heard], [protocol.FORBIDDEN], message)

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.patch(connection_module, "LINGER_S", 0.1)

    async def test_it_may_not_empty_an_inbox_with_the_stamp_of_an_outbox(self) -> None:
        inbox = await self.serve(Inbox)
        stamp = {"origin": "ab" * 8, "n": protocol.MAX_NUMBER}
        await self.assertForbidden(inbox, put(1, ["inbox/ark3"], bark("rdl", "1"), **stamp))
        await self.assertForbidden(inbox, put(1, ["inbox/ark3"], bark("rdl", "1")))
        outbox = await self.serve(Outbox)
        await self.assertForbidden(outbox, put(1, ["outbox/ark3"], bark("ark3", "1"), **stamp))

    async def test_a_counter_that_was_never_counted_is_refused_from_a_service_too(self) -> None:
        inbox = await self.serve(Inbox)
        service = await self.open(inbox.port)
        stamp = {"origin": "ab" * 8, "n": protocol.MAX_NUMBER + 1}
        service.send(put(1, ["inbox/ark3"], bark("rdl", "1"), **stamp))
        with self.assertLogs("barker", "WARNING"):
            heard = await service.rest()
        self.assertEqual([m.get("reason") for m in heard], ["put: bad n"])

    async def test_it_may_not_take_a_service_out_of_the_routes(self) -> None:
        directory = await self.serve(Directory)
        service = await self.open(directory.port, "inbox-1")
        service.send(register("inbox", "inbox-1"))
        await service.before_pong()
        await self.assertForbidden(directory, register("inbox", "inbox-1"))
        bizlogic = register("bizlogic", "first", policy="ordered", since=0)
        await self.assertForbidden(directory, bizlogic)
        page = await self.client(directory)
        page.send({"op": "watch", "prefix": "inbox"})
        self.assertEqual(len((await page.expect("routes"))["targets"]), 1)

    async def test_it_may_not_be_a_replica_or_make_a_user(self) -> None:
        followers = await self.serve(Followers)
        for address in ("graph", "followers"):
            await self.assertForbidden(followers, {"op": "subscribe", "address": address})
        event = {"kind": "join", "id": "1", "user": "newcomer", "at": 0}
        await self.assertForbidden(followers, put(1, ["followers"], event))

    async def test_it_may_not_tell_bizlogic_what_to_deliver(self) -> None:
        biz = await self.serve(BizLogic)
        await self.assertForbidden(biz, put(1, ["bizlogic"], bark("ark3", "1")))

    async def test_its_key_is_no_proof_of_a_service(self) -> None:
        directory = await self.serve(Directory)
        wire = await self.enterAsyncContext(await Wire.connect(directory.port))
        wire.say_hello(role=SERVICE)
        hello = await wire.expect("hello")
        wire.prove(clients_key(self.secret), "0123456789abcdef" * 2, hello["nonce"])
        await wire.expect("error", code=protocol.BAD_PROOF)

    async def test_it_reads_and_barks(self) -> None:
        inbox = await self.serve(Inbox)
        page = await self.client(inbox)
        page.send({"op": "subscribe", "address": "inbox/ark3"})
        await page.expect("subscribed", serial=0)
