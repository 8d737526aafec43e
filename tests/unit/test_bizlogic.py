"""bizlogic: who gets a bark, and when it is acked."""

import contextlib
import unittest
from collections.abc import Iterator, Sequence
from typing import ClassVar
from unittest import mock

from barker import bizlogic
from barker.bizlogic import BizLogic, Recipients
from barker.delivery import sender
from barker.directory import Directory
from barker.disk import users
from barker.disk.users import World
from barker.followers import Followers
from barker.graph.graph import Graph
from barker.links import link
from barker.routing.routes import Route
from barker.wire import protocol
from barker.wire.bodies import mentions
from tests.tools.fleet import until
from tests.tools.wireclient import (
    Acceptor,
    Message,
    Wire,
    WireTest,
    bark,
    put,
    puts,
    register,
    thaw,
)

ORIGIN = "ab" * 8
# ann is followed by bob and cleo; nobody follows cleo; dora follows herself.
WORLD = World({"ann": [], "bob": ["ann"], "cleo": ["ann", "bob"], "dora": ["dora"], "eve": []})


class RecipientsTest(unittest.TestCase):
    def assertReaches(self, user: str, content: str, readers: str) -> None:
        got = Recipients(WORLD).of(user, " ".join(mentions(content)))
        self.assertEqual(sorted(got.split(" ")), sorted(f"inbox/{r}" for r in readers.split()))

    def test_a_bark_goes_to_its_author_and_to_all_followers(self) -> None:
        self.assertReaches("ann", "wuff", "ann bob cleo")
        self.assertReaches("cleo", "wuff", "cleo")

    def test_who_is_mentioned_and_exists_gets_it_too(self) -> None:
        self.assertReaches("cleo", "@eve and @dora, not @nobody", "cleo eve dora")

    def test_nobody_gets_it_twice(self) -> None:
        self.assertReaches("ann", "@bob @bob @ann @eve!", "ann bob cleo eve")
        self.assertReaches("dora", "to myself, @dora", "dora")

    def test_one_mention_changes_nothing_for_the_next_bark(self) -> None:
        recipients = Recipients(WORLD)
        recipients.of("cleo", "eve")
        self.assertEqual(recipients.of("cleo"), "inbox/cleo")

    def test_who_has_just_joined_is_followed_by_nobody(self) -> None:
        """The outbox has seen to it that the author exists; here the news may not have come yet."""
        self.assertReaches("newcomer", "@ann @nobody", "newcomer ann")

    def test_without_a_graph_everything_is_to_come_again(self) -> None:
        with self.assertRaises(protocol.BadMessage) as caught:
            Recipients(None).of("ann")
        self.assertEqual(caught.exception.code, protocol.FULL)

    def test_who_follows_from_now_on_gets_the_next_bark(self) -> None:
        graph = Graph.of(WORLD)
        recipients = Recipients(graph)
        self.assertEqual(recipients.of("cleo"), "inbox/cleo")
        graph.apply({"kind": "follow", "user": "eve", "whom": "cleo", "at": 1})
        recipients.forget("cleo")
        self.assertEqual(recipients.of("cleo"), "inbox/cleo inbox/eve")

    def test_promise_5_the_memory_of_followers_has_a_limit(self) -> None:
        recipients = Recipients(WORLD)
        ann = recipients.of("ann")
        with mock.patch.object(bizlogic, "REMEMBERED_CHARS", len(ann) + len("inbox/eve")):
            for author in ("eve", "eve", "dora", "ann", "dora", "cleo"):
                recipients.forget("eve")
                recipients.of(author)
                remembered = recipients._followers.values()
                self.assertEqual(recipients._chars, sum(map(len, remembered)))
                self.assertLessEqual(recipients._chars, bizlogic.REMEMBERED_CHARS)
            self.assertEqual(recipients.of("ann"), ann)


class BizLogicTest(WireTest):
    """A bizlogic between an outbox and two inboxes that the test plays."""

    inboxes: ClassVar[Sequence[str]] = ("inbox-1", "inbox-2")

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        (self.folder / "users.json").write_text(users.dump(WORLD))
        self.directory = await self.serve(Directory)
        self.acceptors: dict[str, Acceptor] = {}
        self.registrations: dict[str, Wire] = {}
        for name in self.inboxes:
            await self.join(name)
        self.followers = await self.serve(Followers, "--no-journal", directory=self.directory.port)
        self.biz = await self.serve(BizLogic, directory=self.directory.port)
        await until(lambda: self.biz._copy.complete, "it has a copy of the graph")
        await self.ring(len(self.inboxes))
        self.links = {name: await self.taken(name) for name in self.inboxes}
        self.outbox = await self.open(self.biz.port, "outbox")

    async def join(self, name: str) -> None:
        acceptor = self.acceptors[name] = await self.enterAsyncContext(Acceptor())
        registration = self.registrations[name] = await self.open(self.directory.port, name)
        registration.send(register("inbox", name, acceptor.port))

    async def ring(self, size: int) -> None:
        route = self.biz.routes.route
        await until(lambda: len(route("inbox").targets) == size, "it knows the inboxes")
        self.route = Route("consistent", route("inbox").targets)

    async def taken(self, name: str) -> Wire:
        """The next link of the bizlogic to that inbox."""
        inbox = await self.acceptors[name].next()
        await inbox.greet_back(self.secret, name)
        return inbox

    def owner(self, user: str) -> str:
        target = self.route.owner(user)
        assert target
        return target.name

    def put(self, seq: int, user: str, content: str = "wuff", **more: object) -> Message:
        body = bark(user, f"id{seq}", content)
        return put(seq, ["bizlogic"], body, **{"origin": ORIGIN, "n": 100 + seq, **more})

    @contextlib.contextmanager
    def refusing(self, refused: str) -> Iterator[None]:
        """What this author says is refused."""
        real = Recipients.of

        def of(recipients: Recipients, author: str, named: str = "") -> str:
            if author == refused:
                raise protocol.BadMessage(protocol.BAD_MESSAGE, "no")
            return real(recipients, author, named)

        with mock.patch.object(Recipients, "of", of):
            yield

    def everybody(self) -> str:
        """A bark's text that brings it to all users, and so to both inboxes."""
        self.assertEqual({self.owner(u) for u in WORLD.names}, set(self.inboxes))
        return " ".join(f"@{u}" for u in WORLD.names)


class ThawTest(BizLogicTest):
    """Peers have given it up while it was frozen: follows may be in force that it lacks."""

    @property
    def is_registered(self) -> bool:
        return self.biz.name in self.directory._services.get("bizlogic", {})

    async def thaw(self) -> None:
        await until(lambda: self.is_registered, "it serves")
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.biz)
            await until(lambda: not self.biz.is_looking, "it has looked at its links")
        self.outbox = await self.open(self.biz.port, "outbox")

    async def test_it_decides_nothing_until_its_copy_is_renewed(self) -> None:
        with mock.patch.object(self.followers, "subscribe", lambda *_: None):  # that takes a while
            await self.thaw()
            await until(lambda: self.biz.told_by("graph"), "the directory has told of followers")
            await until(lambda: self.biz._copy.peers, "it has requested a stream")
            self.biz.ticked()
            self.outbox.send(self.put(1, "ann"))
            await self.outbox.expect("refuse", seq=1, code=protocol.FULL)
            self.assertFalse(self.is_registered)
        event = {"kind": "follow", "id": "f", "user": "eve", "whom": "cleo", "at": 1}
        outbox = await self.open(self.followers.port, "outbox")
        outbox.send(put(1, ["followers"], event, origin=ORIGIN, n=1))
        await outbox.expect("ack", seq=1)
        for peer in list(self.biz._copy.peers.values()):
            peer.abort()
        await until(lambda: self.is_registered, "it serves again")
        self.assertEqual(self.biz.recipients.of("cleo"), "inbox/cleo inbox/eve")

    async def test_it_goes_on_if_there_is_no_followers_service(self) -> None:
        self.followers.stop()
        await until(lambda: not self.biz.routes.route("graph").targets, "followers has gone")
        await self.thaw()
        self.assertFalse(self.biz._serving)
        await until(lambda: self.biz.told_by("graph"), "the directory has told of followers")
        self.biz.ticked()
        await until(lambda: self.is_registered, "it serves again")
        self.assertEqual(self.biz.recipients.of("cleo"), "inbox/cleo")

    async def test_it_waits_three_heartbeats_for_followers_that_do_not_answer(self) -> None:
        with mock.patch.object(self.followers, "subscribe", lambda *_: None):
            await self.thaw()
            later = self.biz.now() + bizlogic.RENEWED_HEARTBEATS * self.biz.heartbeat_s
            for passed, serves in ((-1.0, False), (1.0, True)):
                with mock.patch.object(BizLogic, "now", staticmethod(lambda: later + passed)):  # noqa: B023
                    self.biz.ticked()
                self.assertEqual(self.biz._serving, serves)
            await until(lambda: self.is_registered, "it serves again")

    async def test_a_short_frost_changes_nothing(self) -> None:
        await until(lambda: self.is_registered, "it serves")
        for wire in (self.outbox, *self.links.values()):
            await wire.before_pong()  # it reads: a link without a read ends in a stall
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.biz, given_up=False)
            await until(lambda: not self.biz.is_looking, "it has looked at its links")
        self.assertTrue(self.biz._serving)
        self.assertTrue(self.is_registered)


class FanOutTest(BizLogicTest):
    async def test_each_inbox_gets_one_put_with_all_its_addresses(self) -> None:
        self.outbox.send(self.put(1, "ann", self.everybody()))
        reached: list[str] = []
        for name, inbox in self.links.items():
            message = await inbox.expect("put", seq=1, origin=ORIGIN, n=101)
            self.assertEqual(message["body"]["id"], "id1")
            self.assertEqual({self.owner(a.partition("/")[2]) for a in message["to"]}, {name})
            reached += message["to"]
            self.assertEqual(await inbox.before_pong(), [])
        self.assertEqual(sorted(reached), [f"inbox/{u}" for u in sorted(WORLD.names)])

    async def test_the_outbox_gets_its_ack_when_every_inbox_has_acked(self) -> None:
        self.outbox.send(self.put(1, "ann", self.everybody()))
        one, two = self.links.values()
        await one.expect("put")
        await two.expect("put")
        one.send({"op": "ack", "seq": 1})
        await one.before_pong()
        self.assertEqual(await self.outbox.before_pong(), [])
        two.send({"op": "ack", "seq": 1})
        await self.outbox.expect("ack", seq=1)

    async def test_acks_are_cumulative_and_one_for_a_batch(self) -> None:
        one, two = self.links.values()
        for part in (range(1, 61), range(61, 101)):
            self.outbox.send(*(self.put(i, "ann", self.everybody()) for i in part))
            for inbox in (one, two):
                for seq in part:
                    await inbox.expect("put", seq=seq)
        one.send({"op": "ack", "seq": 100})
        two.send({"op": "ack", "seq": 60})
        await self.outbox.expect("ack", seq=60)
        two.send({"op": "ack", "seq": 100})
        await self.outbox.expect("ack", seq=100)
        self.assertEqual(await self.outbox.before_pong(), [])

    async def test_what_is_done_out_of_order_waits_for_what_came_before(self) -> None:
        alone = {self.owner(u): u for u in ("cleo", "dora", "eve")}
        self.assertEqual(len(alone), 2, "the test needs one of these at each inbox")
        first, second = alone.items()
        self.outbox.send(self.put(1, first[1]), self.put(2, second[1]))
        await self.links[second[0]].expect("put", seq=1)
        self.links[second[0]].send({"op": "ack", "seq": 1})
        await self.links[second[0]].before_pong()
        self.assertEqual(await self.outbox.before_pong(), [])
        self.links[first[0]].send({"op": "ack", "seq": 1})
        await self.outbox.expect("ack", seq=2)

    async def test_many_barks_of_one_line_go_on_in_one_line_to_each_inbox(self) -> None:
        bodies = [bark("ann", f"id{i}", self.everybody()) for i in range(1, 6)]
        self.outbox.send(puts(1, [["bizlogic"]], bodies, origin=ORIGIN, n=[7, 8, 9, 10, 11]))
        for inbox in self.links.values():
            line = await inbox.heard_line()
            assert line
            self.assertEqual((line["op"], line["seq"], line["origin"]), ("put", 1, ORIGIN))
            self.assertEqual((line["n"], line["bodies"]), ([7, 8, 9, 10, 11], bodies))
            self.assertEqual(len(line["to"]), 1)  # the same for all

    async def test_a_line_is_acked_when_every_inbox_has_all_of_it(self) -> None:
        bodies = [bark("ann", f"id{i}", self.everybody()) for i in range(1, 4)]
        one, two = self.links.values()
        self.outbox.send(puts(1, [["bizlogic"]], bodies, origin=ORIGIN, n=[7, 8, 9]))
        await one.expect("put", seq=1)
        self.outbox.send(self.put(4, "ann", self.everybody()))
        for inbox, first in ((one, 2), (two, 1)):
            for seq in range(first, 5):
                await inbox.expect("put", seq=seq)
        for inbox, seq in ((one, 4), (two, 2)):
            inbox.send({"op": "ack", "seq": seq})
            await inbox.before_pong()
            self.assertEqual(await self.outbox.before_pong(), [])
        two.send({"op": "ack", "seq": 3})
        await self.outbox.expect("ack", seq=3)
        two.send({"op": "ack", "seq": 4})
        await self.outbox.expect("ack", seq=4)

    async def test_what_is_refused_of_a_line_does_not_hold_up_the_rest_of_it(self) -> None:
        bodies = [bark(user, f"id{i}") for i, user in enumerate(("eve", "ann", "eve", "ann"))]
        with self.refusing("ann"):
            self.outbox.send(puts(1, [["bizlogic"]], bodies, origin=ORIGIN, n=[7, 8, 9, 10]))
            for seq in (2, 4):
                await self.outbox.expect("refuse", seq=seq, code=protocol.BAD_MESSAGE)
            inbox = self.links[self.owner("eve")]
            for seq, n in ((1, 7), (2, 9)):
                await inbox.expect("put", seq=seq, n=n)
            inbox.send({"op": "ack", "seq": 2})
            await self.outbox.expect("ack", seq=4)
            self.outbox.send(puts(5, [["bizlogic"]], bodies[1::2], origin=ORIGIN, n=[11, 12]))
            for seq in (5, 6):
                await self.outbox.expect("refuse", seq=seq, code=protocol.BAD_MESSAGE)
            await self.outbox.expect("ack", seq=6)
        self.outbox.send(puts(7, [["bizlogic"]], [bark("eve", "x"), bark("eve", "y")]))
        for seq in (7, 8):
            refusal = await self.outbox.expect("refuse", seq=seq, code=protocol.BAD_MESSAGE)
            self.assertIn("stamps", refusal["reason"])
        await self.outbox.expect("ack", seq=8)


class RefusalTest(BizLogicTest):
    async def test_what_is_not_for_us_is_refused_and_the_queue_goes_on(self) -> None:
        unfit: list[object] = [bark("ann", "x"), {}, None, [{}]]
        for seq, body in enumerate(unfit, start=1):
            self.outbox.send(put(seq, ["bizlogic"], body))
            refusal = await self.outbox.expect("refuse", seq=seq, code=protocol.BAD_MESSAGE)
            self.assertIn("stamps", refusal["reason"])
            await self.outbox.expect("ack", seq=seq)
        self.outbox.send(put(5, ["bizlogic"], {}), self.put(6, "eve"))
        await self.outbox.expect("refuse", seq=5)
        await self.outbox.expect("ack", seq=5)
        inbox = self.links[self.owner("eve")]
        await inbox.expect("put", seq=1)
        inbox.send({"op": "ack", "seq": 1})
        await self.outbox.expect("ack", seq=6)

    async def test_promise_7_a_body_that_no_inbox_could_read_goes_no_further(self) -> None:
        """Who stamps a body promises that it can be read; who breaks that is not listened to."""
        inbox = self.links[self.owner("eve")]
        for seq, more in ((1, {"a": 1}), (2, [1]), (3, "x" * protocol.MAX_BODY_BYTES)):
            outbox = await self.open(self.biz.port, "outbox")
            bad = {**bark("eve", f"no{seq}"), "more": more}
            outbox.send(
                put(1, ["bizlogic"], bark("eve", f"ok{seq}"), origin=ORIGIN, n=2 * seq),
                puts(2, [["bizlogic"]], [bark("eve", "x"), bad], origin=ORIGIN, n=[7, 8]),
            )
            arrived = await inbox.expect("put", seq=seq)
            self.assertEqual(arrived["body"]["id"], f"ok{seq}")
            await outbox.expect("error", code=protocol.PROTOCOL)
            inbox.send({"op": "ack", "seq": seq})
        self.assertEqual(await inbox.before_pong(), [])

    async def test_a_refusal_does_not_jump_the_queue_of_acks(self) -> None:
        self.outbox.send(self.put(1, "eve"), put(2, ["bizlogic"], bark("eve", "x")))
        await self.outbox.expect("refuse", seq=2)
        self.assertEqual(await self.outbox.before_pong(), [])
        inbox = self.links[self.owner("eve")]
        await inbox.expect("put", seq=1)
        inbox.send({"op": "ack", "seq": 1})
        await self.outbox.expect("ack", seq=2)

    async def test_more_than_the_window_is_a_fault_of_the_sender(self) -> None:
        self.patch(protocol, "UNACKED_WINDOW", 3)
        self.outbox.send(*(self.put(i, "eve") for i in range(1, 5)))
        error = await self.outbox.expect("error", code=protocol.PROTOCOL)
        self.assertIn("over 3 puts are unacked", error["reason"])
        async with await Wire.open(self.biz.port, self.secret) as other:
            four = [bark("eve", f"b{i}") for i in range(4)]
            other.send(puts(1, [["bizlogic"]], four, origin=ORIGIN, n=[1, 2, 3, 4]))
            await other.expect("error", code=protocol.PROTOCOL)

    async def test_a_gap_in_the_numbers_is_one_too(self) -> None:
        self.outbox.send(self.put(2, "eve"))
        await self.outbox.expect("error", code=protocol.PROTOCOL)
        for seq in (1, 4, 0):
            async with await Wire.open(self.biz.port, self.secret) as other:
                two = [bark("eve", "x"), bark("eve", "y")]
                other.send(
                    puts(1, [["bizlogic"]], two, origin=ORIGIN, n=[1, 2]),
                    puts(seq, [["bizlogic"]], two, origin=ORIGIN, n=[3, 4]),
                )
                error = await other.expect("error", code=protocol.PROTOCOL)
                self.assertIn("after put 2", error["reason"])

    async def test_what_an_inbox_refuses_for_now_is_put_again_and_acked_then(self) -> None:
        self.patch(sender, "ASK_AGAIN_S", 0.01)
        self.outbox.send(self.put(1, "eve"))
        inbox = self.links[self.owner("eve")]
        for seq in range(1, 4):
            await inbox.expect("put", seq=seq, to=["inbox/eve"])
            inbox.send(
                {
                    "op": "refuse",
                    "seq": seq,
                    "code": "full",
                    "reason": "the disk is full",
                    "addresses": ["inbox/eve"],
                },
                {"op": "ack", "seq": seq},
            )
        await inbox.expect("put", seq=4)
        self.assertEqual(await self.outbox.before_pong(), [])
        self.assertEqual(self.biz.lacks(), "barks wait: the disk is full")
        inbox.send({"op": "ack", "seq": 4})
        await self.outbox.expect("ack", seq=1)
        self.assertEqual(self.biz.lacks(), "")

    async def test_what_an_inbox_refuses_for_good_holds_nobody_up(self) -> None:
        self.outbox.send(self.put(1, "eve"))
        inbox = self.links[self.owner("eve")]
        await inbox.expect("put", seq=1)
        refusal = {"op": "refuse", "seq": 1, "code": "bad-message", "reason": "no"}
        with self.assertNoLogs("barker", "ERROR"):
            inbox.send({**refusal, "addresses": ["inbox/eve"]}, {"op": "ack", "seq": 1})
            said = await self.outbox.expect("refuse", seq=1, code="bad-message")
            self.assertEqual(said["reason"], "inbox/eve: no")
            await self.outbox.expect("ack", seq=1)

    async def test_what_has_moved_goes_to_its_new_owner_and_only_that(self) -> None:
        self.patch(sender, "ASK_AGAIN_S", 0.01)
        self.outbox.send(self.put(1, "ann", self.everybody()))
        one, two = self.links.values()
        to_one, to_two = (await one.expect("put"))["to"], (await two.expect("put"))["to"]
        # The ring shrinks while the put is unacked; `two` knew that before the bizlogic did.
        two.send(
            {"op": "refuse", "seq": 1, "code": "moved", "reason": "", "addresses": to_two[:1]},
            {"op": "ack", "seq": 1},
        )
        await two.before_pong()
        self.registrations["inbox-2"].abort()
        await self.ring(1)
        again = await one.expect("put", seq=2)
        self.assertEqual(again["to"], to_two[:1])
        self.assertNotIn(again["to"][0], to_one)
        one.send({"op": "ack", "seq": 1})
        await one.before_pong()
        self.assertEqual(await self.outbox.before_pong(), [])
        one.send({"op": "ack", "seq": 2})
        await self.outbox.expect("ack", seq=1)


class BreakTest(BizLogicTest):
    async def test_an_inbox_that_comes_back_gets_all_that_is_unacked_again(self) -> None:
        name = self.owner("eve")
        inbox = self.links[name]
        for seq in (1, 2, 3):
            self.outbox.send(self.put(seq, "eve"))
            await inbox.expect("put", seq=seq)
        inbox.send({"op": "ack", "seq": 1})
        await self.outbox.expect("ack", seq=1)
        inbox.abort()
        again = await self.taken(name)
        self.assertEqual((await again.expect("put", seq=1))["n"], 102)
        self.assertEqual((await again.expect("put", seq=2))["n"], 103)
        again.send({"op": "ack", "seq": 2})
        await self.outbox.expect("ack", seq=3)

    async def test_what_a_dead_outbox_had_brought_is_not_sent_late(self) -> None:
        name = self.owner("eve")
        self.links[name].abort()
        self.outbox.send(*(self.put(i, "eve") for i in range(1, 51)))
        await until(lambda: len(self.biz._inboxes) == 50, "they wait for the inbox")
        self.outbox.abort()
        await until(lambda: not len(self.biz._inboxes), "they are forgotten")
        inbox = await self.taken(name)
        self.assertEqual(await inbox.before_pong(), [])
        other = await self.open(self.biz.port, "outbox")
        other.send(self.put(1, "eve"))
        await inbox.expect("put", seq=1)

    async def test_the_death_of_one_outbox_does_not_touch_another_s_barks(self) -> None:
        other = await self.open(self.biz.port, "another")
        self.outbox.send(self.put(1, "eve"))
        other.send(self.put(1, "eve", n=7))
        inbox = self.links[self.owner("eve")]
        await inbox.expect("put", seq=1)
        await inbox.expect("put", seq=2)
        self.outbox.abort()
        await until(lambda: len(self.biz._upstreams) == 1, "it is gone")
        inbox.send({"op": "ack", "seq": 2})
        await other.expect("ack", seq=1)


class SlowInboxTest(BizLogicTest):
    inboxes = ("inbox-1",)

    async def test_promise_5_an_honest_inbox_that_is_slow_is_not_cut_off(self) -> None:
        """A whole window of large puts is more than may wait for a peer, so it goes in pieces."""
        self.patch(link, "BUSY_BYTES", 64 * 1024)
        for each in self.biz.links:
            each._connection._max_waiting_bytes = 512 * 1024
        inbox = self.links["inbox-1"]
        inbox.stop_reading()
        count, padding = 3000, "x" * 3000  # 9 MB; the kernel holds up to half of that
        for begin in range(1, count, 500):
            self.outbox.send(
                *(
                    put(
                        i,
                        ["bizlogic"],
                        {**bark("ann", f"b{i}"), "more": padding},
                        origin=ORIGIN,
                        n=i,
                    )
                    for i in range(begin, begin + 500)
                )
            )
        await until(lambda: len(self.biz._inboxes) == count, "all wait for the inbox")
        inbox.read_on()
        for seq in range(1, count + 1):
            await inbox.expect("put", seq=seq)
            inbox.send({"op": "ack", "seq": seq})
        await self.outbox.up_to_ack(count)


class NoInboxTest(BizLogicTest):
    inboxes = ()

    async def test_barks_wait_for_the_first_inbox(self) -> None:
        self.outbox.send(self.put(1, "ann", "@eve"), self.put(2, "eve"))
        self.assertEqual(await self.outbox.before_pong(), [])
        await self.join("inbox-1")
        inbox = await self.taken("inbox-1")
        self.assertEqual(len((await inbox.expect("put", seq=1))["to"]), 4)
        await inbox.expect("put", seq=2)
        inbox.send({"op": "ack", "seq": 2})
        await self.outbox.expect("ack", seq=2)

    async def test_promise_5_outboxes_that_come_and_go_leave_nothing_to_wait(self) -> None:
        for _ in range(5):
            async with await Wire.open(self.biz.port, self.secret) as outbox:
                outbox.send(*(self.put(i, "ann") for i in range(1, 101)))
                await until(lambda: len(self.biz._inboxes) >= 100, "they wait")
            await until(lambda: len(self.biz._upstreams) == 1, "it is gone")
        self.assertEqual(len(self.biz._inboxes), 0)
