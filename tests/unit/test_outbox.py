"""Outboxes: what they take, refuse and push, and what they push again."""

import errno
import json
import os
import time
from collections.abc import Sequence
from unittest import mock

from barker.delivery import acks
from barker.directory import Directory
from barker.outbox import Outbox
from barker.routing.routes import Target
from barker.websocket.frames import Opcode
from barker.wire import protocol
from barker.wire.messages import PING
from tests.tools.fleet import until
from tests.tools.inside import barks_of, epoch_of, events_of, journal_of, people_of
from tests.tools.wireclient import (
    Acceptor,
    Message,
    WebSocketWire,
    Wire,
    WireTest,
    bark,
    put,
    puts,
    register,
    serving,
)
from tests.unit.test_inbox import USERS

PONG = {"op": "pong"}


class OutboxTest(WireTest):
    """An outbox, a directory, and a bizlogic that is played by the test, if it needs one."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.directory = await self.serve(Directory)
        self.biz = await self.enterAsyncContext(Acceptor())

    async def outbox(self, *argv: str) -> Outbox:
        return await self.serve(Outbox, *argv, directory=self.directory.port)

    async def bizlogic(self) -> Wire:
        """From now on there is one; the outbox's link to it."""
        self.registration = await self.open(self.directory.port, "biz")
        self.registration.send(register("bizlogic", "biz", self.biz.port, policy="ordered"))
        return await self.pushed()

    async def pushed(self) -> Wire:
        """The next link of the outbox to the bizlogic."""
        pushed = await self.biz.next()
        await pushed.greet_back(self.secret, "biz")
        return pushed

    async def puts(self, pushed: Wire, count: int) -> list[Message]:
        return [await pushed.expect("put") for _ in range(count)]


class AckTest(OutboxTest):
    async def test_an_ack_that_waits_for_others_is_said_before_the_link_ends(self) -> None:
        """By whom it is ended, and how, must not matter: nobody can ask for it afterwards."""
        self.enterContext(mock.patch.object(acks, "APART_S", 60.0))
        outbox = await self.outbox()
        for framing in (Wire, WebSocketWire):
            for ending in ("their end", "their goodbye", "nonsense", "our end"):
                with self.subTest(ending, framing=framing.__name__):
                    if ending == "their goodbye" and framing is Wire:
                        continue  # a line has none
                    client = await framing.connect(outbox.port)
                    if isinstance(client, WebSocketWire):
                        await client.upgrade()
                    await client.greet(self.secret)
                    client.send(put(1, ["outbox/ark3"], bark("ark3", f"{id(client)}")))
                    await client.expect("ack", seq=1)
                    client.send(put(2, ["outbox/ark3"], bark("ark3", f"{id(client)}-2")))
                    if ending == "their end":
                        client.end()
                    elif ending == "nonsense":
                        client.send({"op": "nonsense"})
                    elif ending == "our end":
                        await until(lambda: max(x.received for x in outbox.links) == 2, "it has it")
                        for link in list(outbox.links):
                            if link.received:
                                link.close()
                    else:
                        assert isinstance(client, WebSocketWire)
                        client.write(client.frame(b"", Opcode.CLOSE))
                    await client.expect("ack", seq=2)
                    client.abort()
                    await until(lambda: not any(x.received for x in outbox.links), "it is closed")
        self.assertEqual((outbox._acks._due, outbox._acks._waiting), ({}, set()))


class TakeTest(OutboxTest):
    async def assertRefused(self, client: Wire, message: Message, code: str, reason: str) -> None:
        client.send(message)
        refusal = await client.expect("refuse", seq=message["seq"], code=code)
        self.assertRegex(refusal["reason"], reason)
        self.assertEqual(refusal["addresses"], message["to"][0].split(" "))
        await client.expect("ack", seq=message["seq"])

    async def test_without_a_stream_nobody_is_called_unknown_if_a_followers_service_is_there(
        self,
    ) -> None:
        outbox = await self.outbox()
        people_of(outbox).complete = True
        client = await self.open(outbox.port)
        place = Target("followers-1", "127.0.0.1", 1, 1)
        for targets, code in (([place], protocol.FULL), ([], protocol.UNKNOWN_USER)):
            outbox.routes.update("graph", "ordered", targets)
            client.send(put(1, ["outbox/nobody"], bark("nobody", "1")))
            await client.expect("refuse", seq=1, code=code)
            client.abort()
            client = await self.open(outbox.port)

    async def test_what_nobody_may_say_is_refused_with_a_reason_and_the_rest_goes_on(self) -> None:
        outbox = await self.outbox()
        people_of(outbox).complete = True  # as if a followers service had told it who exists
        client = await self.open(outbox.port)
        ark3 = ["outbox/ark3"]
        unfit: list[tuple[Sequence[str], object, str, str]] = [
            (["outbox/nobody"], bark("nobody", "1"), protocol.UNKNOWN_USER, "no user nobody"),
            (ark3, bark("rdl", "1"), protocol.BAD_MESSAGE, "outbox/ark3 takes no barks of rdl"),
            (ark3, bark("ark3", "1", "x" * 281), protocol.TOO_LARGE, "281 characters.* 280"),
            (ark3, bark("ark3", "1", ""), protocol.BAD_MESSAGE, "no text"),
            (ark3, bark("ark3", "1", " \n\t "), protocol.BAD_MESSAGE, "no text"),
            (ark3, bark("ark3", "one two"), protocol.BAD_MESSAGE, "id"),
            (ark3, bark("ark3", ""), protocol.BAD_MESSAGE, "id"),
            (ark3, bark("ark3", "1", "\ud800"), protocol.BAD_MESSAGE, "surrogate"),
            (ark3, {**bark("ark3", "1"), "at": "noon"}, protocol.BAD_MESSAGE, "at"),
            (ark3, {**bark("ark3", "1"), "more": "x" * 60_000}, protocol.TOO_LARGE, "bytes"),
            (ark3, {}, protocol.BAD_MESSAGE, "bad"),
            (ark3, None, protocol.BAD_MESSAGE, "object"),
            (["outbox/ark3", "outbox/rdl"], bark("ark3", "1"), protocol.BAD_MESSAGE, "one author"),
            (["inbox/ark3"], bark("ark3", "1"), protocol.BAD_MESSAGE, "not below outbox/"),
            (["outbox"], bark("ark3", "1"), protocol.BAD_MESSAGE, "not below outbox/"),
        ]
        for seq, (to, body, code, reason) in enumerate(unfit, start=1):
            with self.subTest(str(body)[:50], to=to):
                await self.assertRefused(client, put(seq, to, body), code, reason)
        client.send(put(len(unfit) + 1, ark3, bark("ark3", "1", "x" * 280)))
        await client.expect("ack", seq=len(unfit) + 1)

    async def test_a_gap_in_the_numbers_ends_the_link(self) -> None:
        outbox = await self.outbox()
        for numbers in ((2,), (0,), (1, 3), (1, 1), (1, 2, 1)):
            with self.subTest(numbers):
                client = await self.open(outbox.port)
                client.send(*(put(n, ["outbox/ark3"], bark("ark3", f"x{n}")) for n in numbers))
                *acks, error = await client.rest()
                self.assertEqual((error["op"], error["code"]), ("error", protocol.PROTOCOL))
                self.assertIn(f"put {numbers[-1]} after put {len(numbers) - 1}", error["reason"])
                self.assertEqual([a["seq"] for a in acks], [len(numbers) - 1][: len(numbers) - 1])
        for first, second in ((2, 4), (1, 2), (1, 4), (0, 2)):
            with self.subTest("of many in a line", first=first, second=second):
                client = await self.open(outbox.port)
                client.send(
                    *(
                        puts(n, [["outbox/ark3"]], [bark("ark3", f"y{n}{i}") for i in (1, 2)])
                        for n in (first, second)
                    )
                )
                *acks, error = await client.rest()
                self.assertEqual((error["op"], error["code"]), ("error", protocol.PROTOCOL))
                self.assertEqual([a["seq"] for a in acks], [2] if first == 1 else [])

    async def test_a_bark_that_comes_again_is_acked_and_pushed_once(self) -> None:
        outbox = await self.outbox()
        client, other = await self.open(outbox.port), await self.open(outbox.port)
        client.send(*(put(i, ["outbox/ark3"], bark("ark3", "same")) for i in (1, 2)))
        await client.expect("ack", seq=2)
        other.send(put(1, ["outbox/ark3"], bark("ark3", "same")))
        await other.expect("ack", seq=1)
        other.send(put(2, ["outbox/rdl"], bark("rdl", "same")))  # the id is each author's own
        await other.expect("ack", seq=2)
        pushed = await self.bizlogic()
        puts = await self.puts(pushed, 2)
        self.assertEqual([p["body"]["user"] for p in puts], ["ark3", "rdl"])
        self.assertEqual(await pushed.before_pong(), [])

    async def test_an_outbox_for_another_address_takes_what_is_below_that(self) -> None:
        class Kennel(Outbox):
            ADDRESS = "kennel"

        kennel = await self.serve(Kennel, directory=self.directory.port)
        client = await self.open(kennel.port)
        kennel_ark3, body = ["kennel/ark3"], bark("ark3", "x")
        client.send(put(1, kennel_ark3, body), put(2, kennel_ark3, bark("ark3", "y")))
        client.send(put(3, ["outbox/ark3"], bark("ark3", "z")))
        refusal = await client.expect("refuse", seq=3, code=protocol.BAD_MESSAGE)
        self.assertIn("not below kennel/", refusal["reason"])
        await client.expect("ack", seq=3)
        self.assertEqual(len(barks_of(kennel)), 2)
        self.assertEqual(kennel.gauges()["deepest"], [("kennel/ark3", 2)])
        await until(lambda: self.directory._services.get("kennel"), "it serves that address")

    async def test_one_id_for_two_texts_is_refused_the_second_time_also_after_a_restart(
        self,
    ) -> None:
        ark3 = ["outbox/ark3"]
        follow = {"kind": "follow", "id": "f", "user": "ark3", "at": 1, "whom": "rdl"}
        for life in range(2):
            async with serving(
                Outbox, self.folder, "--name", "o", directory=self.directory.port
            ) as outbox:
                client = await self.open(outbox.port)
                client.send(
                    put(
                        1, ark3, bark("ark3", "x", "one", at=life)
                    ),  # another time is no other text
                    put(2, ark3, follow),
                )
                await client.expect("ack", seq=2)
                others = [
                    bark("ark3", "x", "two"),
                    bark("ark3", "f", "one"),
                    {**follow, "id": "x"},
                    {**follow, "whom": "toto"},
                    {**follow, "kind": "unfollow"},
                ]
                client.send(*(put(i, ark3, other) for i, other in enumerate(others, 3)))
                for seq in range(3, 3 + len(others)):
                    refusal = await client.expect("refuse", seq=seq, code=protocol.BAD_MESSAGE)
                    self.assertIn("said something else with the id", refusal["reason"])
                await client.expect("ack", seq=7)
                both = [bark("ark3", f"y{life}", text) for text in ("one", "two")]
                client.send(puts(8, [ark3], both))
                await client.expect("refuse", seq=9, code=protocol.BAD_MESSAGE)
                await client.expect("ack", seq=9)
                self.assertEqual((len(barks_of(outbox)), len(events_of(outbox))), (2 + life, 1))


class FullTest(OutboxTest):
    """After a `full`, all that was sent before its sender can have heard of it is refused, too."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.full = await self.outbox("--max-backlog", "2")
        self.client = await self.open(self.full.port)
        self.seq = 0

    def put(self, *ids: str, client: Wire | None = None) -> None:
        """In one line, numbered from where the last one ended."""
        bodies = [bark("ark3", id_) for id_ in ids]
        self.client.send(puts(self.seq + 1, [["outbox/ark3"]], bodies))
        self.seq += len(ids)

    async def answer(self) -> list[str]:
        """What is said of all puts so far, pings too: "1 full", "ping", "ack 2"."""
        said: list[str] = []
        while not said or not said[-1].startswith("ack"):
            message = json.loads(await self.client._receive())
            match message["op"]:
                case "refuse":
                    said.append(f"{message['seq']} {message['code']}")
                case "ack":
                    said.append(f"ack {message['seq']}")
                case op:
                    said.append(op)
        return said

    async def make_room(self) -> None:
        """All that was taken is settled."""
        self.pushed_link = pushed = await self.bizlogic()
        for seq in (1, 2):
            await pushed.expect("put", seq=seq)
        pushed.send({"op": "ack", "seq": 2})
        await until(lambda: not len(barks_of(self.full)), "there is room")

    async def test_all_of_the_link_is_refused_until_the_pong_even_if_there_is_room(self) -> None:
        self.put("a", "b", "c", "d")
        self.assertEqual(await self.answer(), ["3 full", "ping", "4 full", "ack 4"])
        await self.make_room()
        self.put("e", "f")  # on their way while we said so
        self.assertEqual(await self.answer(), ["5 full", "6 full", "ack 6"])
        self.client.send(PONG)
        self.put("c", "d")
        self.assertEqual(await self.answer(), ["ack 8"])
        for id_ in "cd":
            self.assertEqual((await self.pushed_link.expect("put"))["body"]["id"], id_)

    async def test_who_hears_of_it_and_is_refused_again_is_asked_again(self) -> None:
        self.put("a", "b", "c")
        self.assertEqual(await self.answer(), ["3 full", "ping", "ack 3"])
        for _ in range(3):
            self.client.send(PONG)
            self.put("c", "d")
            expected = [f"{self.seq - 1} full", "ping", f"{self.seq} full", f"ack {self.seq}"]
            self.assertEqual(await self.answer(), expected)

    async def test_a_pong_for_another_ping_is_no_pong_for_this_one(self) -> None:
        (link_,) = (li for li in self.full.links if li.name == "wire")
        link_.ping()  # a heartbeat that is on its way
        self.assertEqual(await self.client._receive(), PING + b"\n")
        self.put("a", "b", "c")
        self.assertEqual(await self.answer(), ["3 full", "ping", "ack 3"])
        await self.make_room()
        self.client.send(PONG)
        self.put("d")
        self.assertEqual(await self.answer(), ["4 full", "ack 4"])
        self.client.send(PONG)
        self.put("c", "d")
        self.assertEqual(await self.answer(), ["ack 6"])

    async def test_promise_5_large_barks_fill_it_sooner(self) -> None:
        large = [{**bark("ark3", f"{i}"), "more": "x" * 8000} for i in range(2)]
        self.client.send(put(1, ["outbox/ark3"], large[0]))
        await self.client.expect("ack", seq=1)
        self.client.send(put(2, ["outbox/ark3"], large[1]))
        refusal = await self.client.expect("refuse", seq=2, code=protocol.FULL)
        self.assertRegex(refusal["reason"], r"^\d{4} bytes of barks are waiting$")
        self.assertEqual(len(barks_of(self.full)), 1)

    async def test_others_are_none_the_worse(self) -> None:
        self.put("a", "b", "c")
        await self.answer()
        await self.make_room()
        other = await self.open(self.full.port)
        other.send(put(1, ["outbox/ark3"], bark("ark3", "x")))
        self.assertEqual(await other.up_to_ack(1), [])
        again = await self.open(self.full.port)  # and a new link has nothing on its way
        again.send(put(1, ["outbox/ark3"], bark("ark3", "c")))
        self.assertEqual(await again.up_to_ack(1), [])

    async def test_promise_1_a_full_disk_is_no_different(self) -> None:
        fault = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with mock.patch.object(journal_of(self.full), "append", side_effect=fault):
            # What repeats another entry is not acked before that one is kept.
            self.put("a", "b", "a")
            self.assertEqual(await self.answer(), ["1 full", "ping", "2 full", "3 full", "ack 3"])
        self.put("b")  # on its way
        self.assertEqual(await self.answer(), ["4 full", "ack 4"])
        self.client.send(PONG)
        self.put("a", "b")
        self.assertEqual(await self.answer(), ["ack 6"])
        pushed = await self.bizlogic()
        self.assertEqual([m["body"]["id"] for m in await self.puts(pushed, 2)], ["a", "b"])

    async def test_a_page_that_answers_pings_and_knows_no_more_loses_nothing(self) -> None:
        page = await self.enterAsyncContext(await WebSocketWire.connect(self.full.port))
        await page.upgrade()
        await page.greet(self.secret)
        for seq, id_ in enumerate("abc", 1):
            page.send(put(seq, ["outbox/ark3"], bark("ark3", id_)))
        for op in ("refuse", "ping", "ack"):
            while (message := json.loads(await page._receive()))["op"] == "ack" != op:
                pass  # of the first two
            self.assertEqual(message["op"], op)
            if op == "ping":
                page.send(PONG)
        await self.make_room()
        page.send(put(4, ["outbox/ark3"], bark("ark3", "c")))
        await page.expect("ack", seq=4)


class PushTest(OutboxTest):
    async def test_stamps_rise_by_one_in_the_order_of_the_acks(self) -> None:
        outbox = await self.outbox()
        pushed = await self.bizlogic()
        clients = [await self.open(outbox.port) for _ in range(3)]
        for round_ in range(3):
            for i, client in enumerate(clients):
                user = USERS[i]
                client.send(put(round_ + 1, [f"outbox/{user}"], bark(user, f"{round_}-{i}")))
                await client.expect("ack", seq=round_ + 1)
        puts = await self.puts(pushed, 9)
        self.assertEqual([p["seq"] for p in puts], list(range(1, 10)))
        self.assertEqual([p["n"] for p in puts], list(range(1, 10)))
        self.assertEqual({p["origin"] for p in puts}, {epoch_of(outbox)})
        self.assertEqual({tuple(p["to"]) for p in puts}, {("bizlogic",)})
        ids = [f"{round_}-{i}" for round_ in range(3) for i in range(3)]
        self.assertEqual([p["body"]["id"] for p in puts], ids)

    async def test_what_is_followed_is_timed_at_each_service_and_told_further_on(self) -> None:
        outbox = await self.outbox()
        client, pushed = await self.open(outbox.port), await self.bizlogic()
        barks = [bark("ark3", id_) for id_ in ("a", "b")]
        client.send(puts(1, [["outbox/ark3"]], barks, trace=["", "my-trace"]))
        line = await pushed.heard_line()
        assert line
        self.assertEqual(line["trace"], ["", "my-trace"])
        ((trace, at_ms),) = outbox.traces
        self.assertEqual(trace, "my-trace")
        self.assertLess(abs(at_ms - time.time() * 1000), 60_000)
        self.assertIsInstance(at_ms, float)  # hops take less than a millisecond
        self.assertEqual(at_ms, round(at_ms, 2))
        self.assertEqual(outbox._agent.sample()["traces"], list(outbox.traces))
        for n in range(300):
            outbox.note_traces([f"t{n}"])
        self.assertEqual(len(outbox.traces), 100)

    async def test_what_is_not_followed_costs_nothing(self) -> None:
        outbox = await self.outbox()
        client, pushed = await self.open(outbox.port), await self.bizlogic()
        with mock.patch.object(outbox, "note_traces", side_effect=AssertionError):
            client.send(put(1, ["outbox/ark3"], bark("ark3", "a")))
            line = await pushed.heard_line()
        assert line
        self.assertNotIn("trace", line)
        self.assertNotIn("traces", outbox._agent.sample())

    async def test_a_body_travels_as_the_bytes_it_came_in(self) -> None:
        client = await self.open((await self.outbox()).port)
        pushed = await self.bizlogic()
        body = b'{"user":"ark3","at":5,"id":"x","content":"wuff / \\n \xf0\x9f\x90\x95","y":1}'
        client.write(b'{"op":"put","seq":1,"to":["outbox/ark3"],"bodies":[%b]}\n' % body)
        self.assertIn(b'"bodies":[' + body + b"]}\n", await pushed._receive())

    async def test_the_first_hop_makes_a_body_canonical(self) -> None:
        client = await self.open((await self.outbox()).port)
        pushed = await self.bizlogic()
        for seq, body in enumerate(
            (
                b'{"user" :"ark3", "at":5,"id":"a","content":"\\u0077uff \\/ \\u00e9", "y":1}',
                b'{"user":"ark3",\t"at":5,\t"id":"b","content":"wuff / \xc3\xa9","y":1}',
                b'{"user":"ark3","at":5,"id":"c","content":"wuff / \xc3\xa9","y":1 }',
            ),
            1,
        ):
            client.write(
                b'{"op":"put","seq":%d,"to":["outbox/ark3"],"bodies":[%b]}\n' % (seq, body)
            )
            line = await pushed._receive()
            self.assertIn(b'"at":5,"id":', line)
            self.assertIn(b',"content":"wuff / \xc3\xa9","y":1}]}\n', line)

    async def test_a_body_that_has_no_canonical_form_is_refused(self) -> None:
        client = await self.open((await self.outbox()).port)
        for seq, more in enumerate((b"1e15", b"0.5", b"1E2", b"9007199254740992", b'1,"at":6'), 1):
            body = b'{"user":"ark3","at":5,"id":"x","content":"wuff","y":%b}' % more
            client.write(
                b'{"op":"put","seq":%d,"to":["outbox/ark3"],"bodies":[%b]}\n' % (seq, body)
            )
            await client.expect("refuse", seq=seq, code="bad-message")
            await client.expect("ack", seq=seq)

    async def test_a_line_in_any_other_order_of_fields_is_as_good(self) -> None:
        client = await self.open((await self.outbox()).port)
        pushed = await self.bizlogic()
        said = {"bodies": [bark("ark3", "1")], "to": ["outbox/ark3"], "seq": 1, "op": "put"}
        client.write(json.dumps(said).encode() + b"\n")
        client.send({**put(2, ["outbox/ark3"], bark("ark3", "2")), "more": 1})
        for id_ in ("1", "2"):
            self.assertEqual((await pushed.expect("put"))["body"], bark("ark3", id_))

    async def test_after_a_break_all_that_is_unacked_comes_again_before_anything_new(self) -> None:
        client = await self.open((await self.outbox()).port)
        pushed = await self.bizlogic()
        client.send(*(put(i, ["outbox/ark3"], bark("ark3", f"b{i}")) for i in range(1, 6)))
        before = await self.puts(pushed, 5)
        pushed.send({"op": "ack", "seq": 2})
        await pushed.before_pong()
        pushed.abort()
        client.send(put(6, ["outbox/ark3"], bark("ark3", "b6")))
        again = await self.puts(await self.pushed(), 4)
        self.assertEqual([p["seq"] for p in again], [1, 2, 3, 4])
        self.assertEqual([p["n"] for p in again], [3, 4, 5, 6])
        self.assertEqual([p["body"] for p in again[:3]], [p["body"] for p in before[2:]])

    async def test_an_ack_of_what_was_never_sent_ends_that_link_and_loses_nothing(self) -> None:
        client = await self.open((await self.outbox()).port)
        pushed = await self.bizlogic()
        client.send(put(1, ["outbox/ark3"], bark("ark3", "1")))
        await pushed.expect("put", seq=1)
        pushed.send({"op": "ack", "seq": 2})
        error = await pushed.expect("error", code=protocol.PROTOCOL)
        self.assertIn("never sent", error["reason"])
        await (await self.pushed()).expect("put", seq=1)


class OutboxRingTest(OutboxTest):
    async def test_what_belongs_to_another_outbox_is_refused_as_moved(self) -> None:
        outbox = await self.outbox()
        client = await self.open(outbox.port)
        other = await self.open(self.directory.port)
        other.send(register("outbox", "another"))
        await until(lambda: len(outbox.routes.route("outbox").targets) == 2, "the ring is known")
        owner = outbox.routes.route("outbox").owner
        for seq, user in enumerate(USERS, start=1):
            client.send(put(seq, [f"outbox/{user}"], bark(user, "1")))
        heard = await client.up_to_ack(len(USERS))
        self.assertEqual({(m["op"], m["code"]) for m in heard}, {("refuse", protocol.MOVED)})
        refused = {m["addresses"][0] for m in heard}
        theirs = {f"outbox/{u}" for u in USERS if (t := owner(u)) and t.name == "another"}
        self.assertEqual(refused, theirs)
        self.assertTrue(theirs)
        other.abort()
        await until(lambda: len(outbox.routes.route("outbox").targets) == 1, "it is alone again")
        address = theirs.pop()
        client.send(put(len(USERS) + 1, [address], bark(address.partition("/")[2], "1")))
        await client.expect("ack", seq=len(USERS) + 1)
