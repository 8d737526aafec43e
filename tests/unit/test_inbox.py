"""Inboxes: what they keep, what they show to a reader, and what moves to another inbox."""

import asyncio
import contextlib
import io
import socket
import unittest
from collections.abc import Sequence
from unittest import mock

from barker import inbox
from barker.directory import Directory
from barker.disk.users import DOGS, PEOPLE
from barker.inbox import Inbox
from barker.links import connection as connection_module
from barker.links import link
from barker.manifold import newcomers, store
from barker.process.service import service_parser
from barker.streams.stream import DEFAULT_KEEP, MAX_KEEP
from barker.wire import protocol
from tests.tools.fleet import DEADLINE_S, until
from tests.tools.inside import epoch_of, journal_of, people_of, readers_of, timelines_of
from tests.tools.wireclient import Acceptor, Message, Wire, WireTest, bark, put, puts, register

ORIGIN = "ab" * 8
USERS = (*PEOPLE, *DOGS[:7])
MANY = DOGS[:40]


class InboxTest(WireTest):
    """An inbox with nobody around, and a link to fill it."""

    argv: Sequence[str] = ()

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.inbox = await self.serve(Inbox, *self.argv)
        self.source = await self.open(self.inbox.port)
        self.filled = 0

    async def fill(self, count: int, *users: str, size: int = 0) -> None:
        """`count` barks, "1", "2", ..., to these users' inboxes; many in a line."""
        to, text = [f"inbox/{u}" for u in users or ["ark3"]], "x" * size
        first, self.filled = self.filled + 1, self.filled + count
        for seq in range(first, self.filled + 1, 150):
            numbers = range(seq, min(seq + 150, self.filled + 1))
            barks = [bark("rdl", str(n), text) for n in numbers]
            self.source.send(puts(seq, [to], barks, origin=ORIGIN, n=[*numbers]))
        self.assertEqual(await self.source.up_to_ack(self.filled), [])

    async def subscribe(self, reader: Wire, **fields: object) -> Message:
        reader.send({"op": "subscribe", "address": "inbox/ark3", **fields})
        return await reader.expect("subscribed", epoch=epoch_of(self.inbox))

    async def reader(self, **fields: object) -> Wire:
        reader = await self.open(self.inbox.port)
        await self.subscribe(reader, **fields)
        return reader

    def ids(self, messages: Sequence[Message]) -> list[int]:
        self.assertEqual({m["op"] for m in messages} - {"message"}, set())
        return [int(m["body"]["id"]) for m in messages]

    async def assertGets(self, reader: Wire, ids: Sequence[int]) -> None:
        """These messages, and then nothing for the time being."""
        self.assertEqual(self.ids(await reader.before_pong()), list(ids))


class ReadTest(InboxTest):
    async def test_history_comes_first_and_then_what_is_new(self) -> None:
        await self.fill(3)
        reader = await self.open(self.inbox.port)
        subscribed = await self.subscribe(reader)
        self.assertEqual(subscribed["serial"], 0)
        self.assertEqual(subscribed["retained"], 2 * DEFAULT_KEEP)
        await self.assertGets(reader, [1, 2, 3])
        await self.fill(2)
        messages = await reader.before_pong()
        self.assertEqual(self.ids(messages), [4, 5])
        self.assertEqual([m["serial"] for m in messages], [4, 5])
        self.assertEqual({m["epoch"] for m in messages}, {epoch_of(self.inbox)})
        self.assertEqual(messages[0]["body"], bark("rdl", "4", ""))

    async def test_a_new_reader_gets_as_much_history_as_it_asks_for(self) -> None:
        await self.fill(30)
        await self.assertGets(await self.reader(), range(6, 31))  # 25, if it does not say
        await self.assertGets(await self.reader(history=0), [])
        await self.assertGets(await self.reader(history=2), [29, 30])
        await self.assertGets(await self.reader(history=31), range(1, 31))
        await self.assertGets(await self.reader(history=2**53 - 1, epoch=None), range(1, 31))

    async def test_who_knows_the_epoch_goes_on_where_it_was(self) -> None:
        await self.fill(30)
        epoch = epoch_of(self.inbox)
        await self.assertGets(await self.reader(epoch=epoch, after=28, history=0), [29, 30])
        await self.assertGets(await self.reader(epoch=epoch, after=30), [])
        await self.assertGets(await self.reader(epoch=epoch, after=0, history=1), range(1, 31))

    async def test_who_knows_another_epoch_gets_all_there_is(self) -> None:
        await self.fill(30)
        await self.assertGets(await self.reader(epoch="cd" * 8, after=28, history=1), range(1, 31))
        # A serial that this epoch never gave away is no place in it either.
        await self.assertGets(await self.reader(epoch=epoch_of(self.inbox), after=31), range(1, 31))

    async def test_no_more_is_sent_than_the_window_allows(self) -> None:
        await self.fill(10)
        reader = await self.reader(window=3, history=10)
        await self.assertGets(reader, [1, 2, 3])
        reader.send({"op": "credit", "address": "inbox/ark3", "serial": 2})
        await self.assertGets(reader, [4, 5])
        reader.send(
            {"op": "credit", "address": "inbox/ark3", "serial": 1}
        )  # older than the last one
        await self.assertGets(reader, [])
        reader.send({"op": "credit", "address": "inbox/ark3", "serial": 2**53 - 1})  # never sent
        await self.assertGets(reader, [6, 7, 8])
        reader.send({"op": "credit", "address": "inbox/rdl", "serial": 8})  # not what it reads
        await self.assertGets(reader, [])
        reader.send({"op": "credit", "address": "inbox/ark3", "serial": 8})
        await self.assertGets(reader, [9, 10])
        await self.fill(3)
        await self.assertGets(reader, [11])

    async def test_a_window_of_nothing_is_a_window_of_one(self) -> None:
        await self.fill(2)
        await self.assertGets(await self.reader(window=0), [1])

    async def test_no_window_is_larger_than_ours(self) -> None:
        self.patch(inbox, "MAX_READER_WINDOW", 4)
        await self.fill(9)
        await self.assertGets(await self.reader(window=1000), [1, 2, 3, 4])

    async def test_each_reader_has_a_place_of_its_own(self) -> None:
        await self.fill(5)
        slow, quick = await self.reader(window=1), await self.reader()
        await self.assertGets(quick, [1, 2, 3, 4, 5])
        await self.assertGets(slow, [1])
        await self.fill(1)
        await self.assertGets(quick, [6])
        slow.send({"op": "credit", "address": "inbox/ark3", "serial": 1})
        await self.assertGets(slow, [2])

    async def test_asking_again_begins_anew(self) -> None:
        await self.fill(5)
        reader = await self.reader(window=2)
        await self.assertGets(reader, [1, 2])
        await self.subscribe(reader, window=10, history=1)
        await self.assertGets(reader, [5])
        await self.fill(1)
        await self.assertGets(reader, [6])

    async def test_a_reader_that_has_gone_is_forgotten(self) -> None:
        readers = [await self.reader() for _ in range(10)]
        timeline = timelines_of(self.inbox)["inbox/ark3"]
        there = readers_of(self.inbox)
        self.assertEqual(len(there.timelines[timeline]), 10)
        for reader in readers[1:]:
            reader.abort()
        await until(lambda: len(there.timelines[timeline]) == 1, "they are forgotten")
        await self.fill(1)
        await self.assertGets(readers[0], [1])
        readers[0].end()
        await until(lambda: not there.timelines and not there.links, "the last too")
        self.assertEqual(there.held, {})

    async def test_who_can_t_be_read_is_said_without_a_number(self) -> None:
        people_of(self.inbox).complete = True  # as if a followers service had told it who exists
        self.patch(newcomers, "NEWS_WITHIN_S", 0)
        reader = await self.open(self.inbox.port)
        refusals = {
            "inbox/nobody": (protocol.UNKNOWN_USER, "there is no user nobody"),
            "inbox": (protocol.BAD_MESSAGE, "not below inbox/"),
            "outbox/ark3": (protocol.BAD_MESSAGE, "not below inbox/"),
        }
        for address, (code, reason) in refusals.items():
            reader.send({"op": "subscribe", "address": address})
            answer = await reader.expect("unreadable", code=code, address=address)
            self.assertIn(reason, answer["reason"])
        await self.subscribe(reader)

    async def test_who_asks_for_a_newcomer_is_answered_with_the_news_of_the_join(self) -> None:
        known = people_of(self.inbox)
        known.complete = True
        self.patch(newcomers, "NEWS_WITHIN_S", 600)
        reader, gone = [await self.open(self.inbox.port) for _ in range(2)]
        for wire in (reader, gone):
            wire.send({"op": "subscribe", "address": "inbox/eve"})
            self.assertEqual(await wire.before_pong(), [])
        waiting = self.inbox._newcomers
        self.assertEqual(len(waiting), 2)
        gone.abort()
        await until(lambda: len(waiting) == 1, "a link that has gone waits for nothing")
        known.changed(known.held.apply({"kind": "join", "user": "eve"}))
        await reader.expect("subscribed", address="inbox/eve")


class GapTest(InboxTest):
    argv = ("--keep", "5")

    async def test_a_reader_that_fell_off_the_history_is_told_how_much_it_missed(self) -> None:
        reader = await self.reader(window=2)
        await self.fill(12)
        await self.fill(10)
        await self.assertGets(reader, [1, 2])
        for acked, missed, last in ((2, 15, 22), (19, 8, 32)):
            reader.send({"op": "credit", "address": "inbox/ark3", "serial": acked})
            gap, *messages = await reader.before_pong()
            self.assertEqual(gap, {"op": "gap", "address": "inbox/ark3", "missed": missed})
            self.assertEqual(self.ids(messages), [last - 4, last - 3])
            await self.fill(10)
            await self.assertGets(reader, [])

    async def test_a_reader_that_keeps_up_misses_nothing_however_much_comes_at_once(self) -> None:
        reader = await self.reader(window=1000)
        await self.fill(700)  # many times what is kept
        await self.assertGets(reader, range(1, 701))

    async def test_a_reader_that_comes_back_too_late_is_told_so(self) -> None:
        await self.fill(20)
        reader = await self.reader(epoch=epoch_of(self.inbox), after=3)
        gap, *messages = await reader.before_pong()
        self.assertEqual((gap["op"], gap["missed"]), ("gap", 12))
        self.assertEqual(self.ids(messages), [16, 17, 18, 19, 20])

    async def test_a_new_reader_misses_nothing(self) -> None:
        await self.fill(20)
        await self.assertGets(await self.reader(history=100), [16, 17, 18, 19, 20])
        await self.assertGets(await self.reader(epoch="cd" * 8, after=3), [16, 17, 18, 19, 20])


class KeepTest(unittest.TestCase):
    def test_promise_5_keep_has_a_limit_and_more_is_a_usage_error(self) -> None:
        parser = service_parser(Inbox, "inbox", "")
        self.assertEqual(parser.parse_args(["--keep", str(MAX_KEEP)]).keep, MAX_KEEP)
        for count in (str(MAX_KEEP + 1), "9" * 5000, "-1", "x"):
            said = io.StringIO()
            with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as ended:
                parser.parse_args(["--keep", count])
            self.assertEqual(ended.exception.code, 2)
            self.assertIn("argument --keep", said.getvalue())


class KeepNothingTest(InboxTest):
    argv = ("--keep", "0")

    async def test_without_a_history_a_reader_gets_what_comes_and_hears_of_gaps(self) -> None:
        quick, slow = await self.reader(), await self.reader(window=1)
        await self.fill(3)
        await self.assertGets(quick, [1, 2, 3])
        await self.assertGets(slow, [1])
        slow.send({"op": "credit", "address": "inbox/ark3", "serial": 1})
        gap = {"op": "gap", "address": "inbox/ark3", "missed": 2}
        self.assertEqual(await slow.before_pong(), [gap])
        await self.fill(1)
        await self.assertGets(slow, [4])
        await self.assertGets(await self.reader(history=100), [])


class PutTest(InboxTest):
    async def test_one_put_reaches_every_inbox_it_names(self) -> None:
        await self.fill(2, "ark3", "rdl", "rhs")
        for user in ("ark3", "rdl", "rhs"):
            reader = await self.open(self.inbox.port)
            await self.subscribe(reader, address=f"inbox/{user}")
            await self.assertGets(reader, [1, 2])

    async def test_a_bark_is_shown_once_in_an_inbox_whatever_brings_it(self) -> None:
        one, two = await self.reader(), await self.open(self.inbox.port)
        await self.subscribe(two, address="inbox/rdl")
        body = bark("rhs", "7")
        self.source.send(
            put(1, ["inbox/ark3"], body, origin=ORIGIN, n=1),
            put(2, ["inbox/ark3"], body, origin=ORIGIN, n=1),
            put(3, ["inbox/ark3", "inbox/rdl"], body, origin=ORIGIN, n=1),
            put(4, ["inbox/rdl"], body, origin="cd" * 8, n=9),  # through another outbox
        )
        await self.source.expect("ack", seq=4)
        await self.assertGets(one, [7])
        await self.assertGets(two, [7])

    async def test_what_a_thawed_bizlogic_sends_again_is_dropped_however_old_it_is(self) -> None:
        reader = await self.reader()
        window = 3 * protocol.UNACKED_WINDOW
        self.source.send(
            put(1, ["inbox/ark3"], bark("rhs", "1", at=1), origin=ORIGIN, n=2),
            put(2, ["inbox/ark3"], bark("rhs", "2", at=2), origin=ORIGIN, n=window + 2),
            put(3, ["inbox/ark3"], bark("rhs", "1", at=1), origin=ORIGIN, n=2),
        )
        await self.source.expect("ack", seq=3)
        await self.assertGets(reader, [1, 2])

    async def test_promise_1_what_waited_for_thousands_of_others_is_accepted_and_late(self) -> None:
        """By its counter alone, in a line of its own or behind them in one."""
        window = 3 * protocol.UNACKED_WINDOW
        barks = [bark("rhs", "2"), bark("rdl", "1")]
        to = [["inbox/ark3"]]
        self.source.send(
            *(
                puts(seq, to, [body], origin=ORIGIN, n=[n])
                for seq, body, n in zip((1, 2), barks, (window + 2, 2), strict=True)
            ),
            puts(3, to, [bark("rhs", "4"), bark("rdl", "3")], origin="cd" * 8, n=[window + 2, 2]),
        )
        await self.source.expect("ack", seq=4)
        shown = await (await self.reader()).before_pong()
        self.assertEqual(
            [(m["body"]["id"], m.get("late")) for m in shown],
            [("2", None), ("1", True), ("4", None), ("3", True)],
        )

    async def test_what_comes_late_but_was_never_here_is_shown_and_marked(self) -> None:
        reader = await self.reader()
        self.source.send(
            put(1, ["inbox/ark3"], bark("rhs", "2", at=2), origin=ORIGIN, n=12),
            put(2, ["inbox/ark3"], bark("rhs", "1", at=1), origin=ORIGIN, n=11),
        )
        await self.source.expect("ack", seq=2)
        first, second = await reader.before_pong()
        self.assertNotIn("late", first)
        self.assertIs(second.get("late"), True)
        self.assertEqual(self.inbox.late, 1)

    async def test_a_sample_has_the_delays_of_what_was_shown_and_not_of_what_is_known(self) -> None:
        now = inbox.now_ms()
        self.source.send(
            puts(
                1,
                [["inbox/ark3", "inbox/rdl"]],
                [bark("rhs", "1", at=now - 5000), bark("rhs", "2", at=now - 3000)],
                origin=ORIGIN,
                n=[1, 2],
            ),
            # It comes again; a former owner hands it over; another author's was kept for an hour.
            put(3, ["inbox/ark3"], bark("rhs", "1", at=now - 5000), origin=ORIGIN, n=1),
            put(
                4, ["inbox/ark3"], bark("toto", "3", at=now - 9000), origin="cd" * 8, n=1, old=True
            ),
            put(5, ["inbox/ark3"], bark("rdl", "4", at=now - 3_600_000), origin=ORIGIN, n=3),
        )
        await self.source.expect("ack", seq=5)
        found, passed = self.inbox.gauges(), inbox.now_ms() - now
        self.assertAlmostEqual(found["delay_ms"], 4000 + passed / 2, delta=passed / 2 + 1)
        self.assertAlmostEqual(found["delay_max_ms"], 5000 + passed / 2, delta=passed / 2 + 1)
        self.assertEqual(found["delay_over"], 1)
        self.inbox.sampled()
        self.assertIsNone(self.inbox.gauges()["delay_ms"])

    async def test_a_reader_that_keeps_up_is_told_what_is_followed(self) -> None:
        reader = await self.reader()
        await self.fill(1)
        await self.assertGets(reader, [1])
        barks = [bark("rdl", id_) for id_ in ("x", "y")]
        stamp: dict[str, object] = {"origin": ORIGIN, "n": [100, 101], "trace": ["", "my-trace"]}
        self.source.send(puts(2, [["inbox/ark3"]], barks, **stamp))
        line = await reader.heard_line()
        assert line
        self.assertEqual(line["trace"], ["", "my-trace"])
        self.assertEqual([trace for trace, _ in self.inbox.traces], ["my-trace"])

    async def test_a_body_that_is_no_bark_is_refused(self) -> None:
        unfit: list[object] = [None, 1, [], {}, {"user": "ark3"}, {"user": 1, "id": "x"}]
        unfit += [{"user": "ark3", "id": "x"}, {"user": "ark3", "id": "x", "at": "noon"}]
        for seq, body in enumerate(unfit, start=1):
            self.source.send(put(seq, ["inbox/ark3"], body))
            await self.source.expect("refuse", seq=seq, code=protocol.BAD_MESSAGE)
            await self.source.expect("ack", seq=seq)

    async def test_promise_5_what_is_refused_leaves_no_stream_behind(self) -> None:
        await self.fill(1, "ark3")
        known = dict(timelines_of(self.inbox))
        to = [f"inbox/user{i}" for i in range(100)]
        body = bark("rdl", "2")
        with mock.patch.object(journal_of(self.inbox), "append", side_effect=OSError(28, "full")):
            self.source.send(put(2, ["inbox/ark3", *to], body, origin=ORIGIN, n=2))
            await self.source.expect("refuse", seq=2, code=protocol.FULL)
            await self.source.expect("ack", seq=2)
        self.assertEqual(timelines_of(self.inbox), known)
        self.source.send({"op": "pong"}, put(3, ["inbox/ark3", *to], body, origin=ORIGIN, n=2))
        await self.source.expect("ack", seq=3)
        self.assertEqual(timelines_of(self.inbox).keys(), {"inbox/ark3", *to})
        await self.assertGets(await self.reader(), [1, 2])

    async def test_a_put_that_can_t_be_kept_for_all_is_refused_for_all(self) -> None:
        """One refusal settles a put, so a second one for its other addresses would be lost."""
        self.patch(store, "MAX_STREAMS", 1)
        await self.fill(1, "ark3")
        self.source.send(put(2, ["inbox/ark3", "inbox/rdl"], bark("rdl", "2"), origin=ORIGIN, n=2))
        refusal = await self.source.expect("refuse", seq=2, code=protocol.FULL)
        self.assertEqual(set(refusal["addresses"]), {"inbox/ark3", "inbox/rdl"})
        await self.source.expect("ack", seq=2)
        await self.assertGets(await self.reader(), [1])


class BusyLinkTest(InboxTest):
    """Promise 5: the memory that a reader costs is bounded; also of one that reads everything."""

    async def subscribe_all(self, reader: Wire) -> None:
        reader.stop_reading()
        reader.send(
            *(
                {"op": "subscribe", "address": f"inbox/{u}", "history": 1000, "window": 200}
                for u in MANY
            )
        )

    async def test_a_busy_link_with_many_histories_gets_everything_and_is_not_cut_off(self) -> None:
        self.patch(link, "BUSY_BYTES", 64 * 1024)
        self.patch(connection_module, "MAX_WAITING_BYTES", 256 * 1024)
        await self.fill(150, *MANY, size=200)  # 2 MB in all
        async with await Wire.connect(self.inbox.port, 4096) as reader:
            await reader.greet(self.secret)
            await reader.before_pong()
            for each in self.inbox.links:
                channel = each._connection._writer.get_extra_info("socket")
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await self.subscribe_all(reader)
            await until(lambda: readers_of(self.inbox).held, "the link is busy")
            reader.read_on()
            await self.read_all(reader, 150)
        await until(
            lambda: not readers_of(self.inbox).held, "nothing is held for a link that is gone"
        )

    async def test_a_slow_link_with_many_streams_is_held_and_gets_each_message_once(self) -> None:
        """While it does not read, the same bark comes for all of them, again and again."""
        self.patch(link, "BUSY_BYTES", 8 * 1024)
        async with (
            await Wire.connect(self.inbox.port, 4096) as reader,
            await Wire.open(self.inbox.port, self.secret) as quick,
        ):
            await reader.greet(self.secret)
            await self.subscribe_all(reader)
            await self.subscribe(quick, address=f"inbox/{MANY[0]}", window=1000)
            await until(lambda: len(readers_of(self.inbox).links) == 2, "both have asked")
            for each in readers_of(self.inbox).links:  # what the kernel takes is not what we count
                writer = each._connection._writer
                channel = writer.get_extra_info("socket")
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                writer.transport.set_write_buffer_limits(link.BUSY_BYTES)
            for _ in range(12):
                await self.fill(10, *MANY, size=200)
            self.assertTrue(readers_of(self.inbox).held)
            # Who reads gets it meanwhile.
            await self.assertGets(quick, range(1, 121))
            (held,) = readers_of(self.inbox).held
            self.assertLess(held.waiting_bytes(), 64 * 1024)
            reader.read_on()
            await self.read_all(reader, 120)
            self.assertEqual(await reader.before_pong(), [])
            self.assertFalse(readers_of(self.inbox).held)

    async def test_a_body_for_many_streams_of_a_link_goes_over_it_once(self) -> None:
        reader = await self.open(self.inbox.port)
        for user in MANY:
            await self.subscribe(reader, address=f"inbox/{user}")
        await self.fill(3, *MANY)
        line = await reader.heard_line()
        assert line
        self.assertEqual([body["id"] for body in line["bodies"]], ["1", "2", "3"])
        for to in line["to"]:
            self.assertEqual(to.split(" "), [f"inbox/{user}" for user in MANY])

    async def read_all(self, reader: Wire, each: int) -> None:
        got = dict.fromkeys(MANY, 0)
        async with asyncio.timeout(DEADLINE_S):
            while any(count < each for count in got.values()):
                message = await reader.heard()
                assert message, f"cut off after {sum(got.values())} messages"
                if message["op"] == "subscribed":
                    continue
                self.assertEqual(message["op"], "message")
                user = message["address"].partition("/")[2]
                got[user] += 1
                self.assertEqual(message["serial"], got[user])
                reader.send({"op": "credit", "address": message["address"], "serial": got[user]})


class InboxRingTest(WireTest):
    """A second inbox joins and leaves; it is only a name, so that nothing is ever handed to it."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.directory = await self.serve(Directory)
        self.inbox = await self.serve(Inbox, directory=self.directory.port)
        self.other = await self.enterAsyncContext(Acceptor())
        await until(lambda: self.ring() == 1, "the inbox is alone in its ring")

    def ring(self) -> int:
        return len(self.inbox.routes.route("inbox").targets)

    async def join(self) -> Wire:
        other = await self.open(self.directory.port, "another")
        other.send(register("inbox", "another", self.other.port))
        await until(lambda: self.ring() == 2, "the inbox knows the other")
        return other

    def theirs(self) -> set[str]:
        owner = self.inbox.routes.route("inbox").owner
        return {f"inbox/{u}" for u in USERS if (t := owner(u)) and t.name == "another"}

    async def test_readers_of_what_has_moved_are_told_and_hear_no_more(self) -> None:
        reader, source = await self.open(self.inbox.port), await self.open(self.inbox.port)
        reader.send(*({"op": "subscribe", "address": f"inbox/{u}"} for u in USERS))
        self.assertEqual(len(await reader.before_pong()), len(USERS))
        await self.join()
        moved = await reader.before_pong()
        self.assertEqual({m["op"] for m in moved}, {"moved"})
        self.assertEqual({m["address"] for m in moved}, self.theirs())
        source.send(put(1, [f"inbox/{u}" for u in USERS], bark("rdl", "1"), origin=ORIGIN, n=1))
        refusal = await source.expect("refuse", seq=1, code=protocol.MOVED)
        self.assertEqual(set(refusal["addresses"]), self.theirs())
        await source.expect("ack", seq=1)
        shown = {m["address"] for m in await reader.before_pong()}
        self.assertEqual(shown, {f"inbox/{u}" for u in USERS} - self.theirs())
        for address in self.theirs():
            reader.send({"op": "subscribe", "address": address})
            await reader.expect("moved", address=address)
            reader.send({"op": "credit", "address": address, "serial": 1})  # too late, and harmless
        await reader.before_pong()

    async def test_what_comes_back_is_taken_and_read_again(self) -> None:
        reader, source = await self.open(self.inbox.port), await self.open(self.inbox.port)
        other = await self.join()
        address = min(self.theirs())
        reader.send({"op": "subscribe", "address": address})
        await reader.expect("moved", address=address)
        source.send(put(1, [address], bark("rdl", "1"), origin=ORIGIN, n=1))
        await source.expect("refuse", seq=1, code=protocol.MOVED)
        await source.expect("ack", seq=1)
        other.abort()
        await until(lambda: self.ring() == 1, "it is alone again")
        source.send(put(2, [address], bark("rdl", "1"), origin=ORIGIN, n=1))
        await source.expect("ack", seq=2)
        reader.send({"op": "subscribe", "address": address})
        await reader.expect("subscribed", address=address)
        await reader.expect("message", address=address)

    async def test_a_timeline_that_has_moved_is_handed_over_with_its_first_stamps(self) -> None:
        source = await self.open(self.inbox.port)
        bodies = {f"inbox/{u}": bark("rdl", u) for u in USERS}
        for seq, (address, body) in enumerate(bodies.items(), start=1):
            source.send(put(seq, [address], body, origin=ORIGIN, n=seq))
            await source.expect("ack", seq=seq)
        await self.join()
        receiver = await self.other.next()
        await receiver.greet_back(self.secret, "another")
        received = {}
        for seq in range(1, len(self.theirs()) + 1):
            message = await receiver.expect("put", seq=seq, origin=ORIGIN, old=True)
            (address,) = message["to"]
            received[address] = message["body"]
            self.assertEqual(message["n"], list(bodies).index(address) + 1)
        self.assertEqual(received, {a: bodies[a] for a in self.theirs()})
        self.assertEqual(await receiver.before_pong(), [])
