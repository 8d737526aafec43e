"""Readers: each of a link's subscriptions gets its own, in order, and a body goes once."""

import math
import random
import unittest
from collections.abc import Callable, Sequence
from unittest import mock

from barker.manifold import readers
from barker.manifold.readers import HANDFUL, Parcel, Readers, Subscription
from barker.manifold.store import Group
from barker.manifold.timelines import Entry, Timeline
from barker.streams.cursor import Cursor
from barker.wire import messages, protocol, strictjson
from barker.wire.ops import Credit, Message, Moved
from barker.wire.protocol import BadMessage
from tests.tools.fakes import FakeLink, FakeNode

EPOCH = "0123456789abcdef"
LARGE = strictjson.dumps({"a": "x" * (protocol.MAX_BODY_BYTES - 8)})
Got = tuple[str, bytes, bool]  # address, body, whether it is late


class OpenLink(FakeLink):
    free: Callable[[], None] | None = None

    def when_free(self, work: Callable[[], None]) -> None:
        self.free = work

    def set_free(self, lines: float) -> None:
        """Its peer has read, and there is room for so many more."""
        self.room = len(self.lines) + lines
        work, self.free = self.free, None
        if work:
            work()

    def abort(self, reason: str = "") -> None:
        raise AssertionError(f"nothing went wrong: {reason}")


class ParcelTest(unittest.TestCase):
    def setUp(self) -> None:
        self.link = OpenLink()
        self.parcel = Parcel(self.link)  # type: ignore[arg-type]

    def entry(self, body: bytes = b"{}", late: bool = False) -> Entry:
        return Entry(body, EPOCH, 1, late, old=False)

    def add(self, to: str, entry: Entry) -> None:
        self.parcel.rows.append((to, entry))

    def got(self) -> list[Got]:
        """What was sent since the last time, each entry alone."""
        return [
            (one["address"], strictjson.dumps(one["body"]), "late" in one)
            for one in self.link.take()
        ]

    def lines(self) -> list[Message]:
        """The messages that were sent since the last time."""
        lines = [messages.decode(line) for line in self.link.lines]
        self.link.lines.clear()
        return [line for line in lines if isinstance(line, Message)]

    def test_it_sends_all_that_was_added_once_and_nothing_if_that_was_nothing(self) -> None:
        self.parcel.send()
        self.assertEqual(self.parcel.rows, [])
        self.assertEqual(self.lines(), [])
        for entry in [self.entry(b'{"a":%d}' % i) for i in (1, 2)]:
            self.add("inbox/ann", entry)
        self.assertNotEqual(self.parcel.rows, [])
        self.parcel.send()
        self.assertEqual(self.parcel.rows, [])
        self.parcel.send()
        bodies = [b'{"a":1}', b'{"a":2}']
        self.assertEqual(self.lines(), [Message(["inbox/ann", "inbox/ann"], bodies)])

    def test_what_is_late_is_no_reason_for_another_line(self) -> None:
        lates = [False, True, True, False, True]
        for late in lates:
            self.add("inbox/ann", self.entry(late=late))
        self.parcel.send()
        self.assertEqual([late for _, _, late in self.got()], lates)
        (line,) = self.lines()
        self.assertEqual(line.late, [1, 2, 4])

    def test_no_line_is_too_long_whatever_is_in_it(self) -> None:
        address = f"{'i' * 20}/{{:05}}{'b' * 59}"
        many = [address.format(i) for i in range(2000)]
        self.assertTrue(messages.decode(messages.encode(Moved(many[0]))))
        for bodies in ([b"{}"], [LARGE], [b"{}", LARGE] * 3, [LARGE] * 9, [b"{}"] * 200):
            for some in (many[:1], many[:3], many[:150], many if len(bodies) < 9 else many[:9]):
                expected = []
                for i, body in enumerate(bodies):
                    entry = self.entry(body, late=i % 7 == 6)
                    for reader in some:
                        self.add(reader, entry)
                        expected.append((reader, body, entry.late))
                self.parcel.send()
                self.assertEqual(self.got(), expected)

    def test_a_line_is_about_as_long_as_a_reader_likes_it(self) -> None:
        body = strictjson.dumps({"a": "x" * 1000})
        for _ in range(100):
            self.add("inbox/ann", self.entry(body))
        self.parcel.send()
        counts = [len(message.bodies) for message in self.lines()]
        most = messages.MAX_GROUP_BYTES // len(body)
        self.assertEqual(sum(counts), 100)
        self.assertTrue(all(most // 2 <= count <= most for count in counts), counts)


class ReadersTest(unittest.TestCase):
    def setUp(self) -> None:
        self.node = FakeNode()
        self.readers = Readers(self.node.slices)
        self.timelines = {name: Timeline(f"inbox/{name}", 20) for name in ("ann", "bob", "cid")}
        self.groups: dict[tuple[str, ...], Group] = {}
        self.shown: dict[tuple[FakeLink, str], int] = {}
        self.n = 0

    def read(self, link: FakeLink, *names: str, window: int = 10) -> None:
        for name in names:
            timeline = self.timelines[name]
            cursor = Cursor(timeline.last, window)
            self.readers.send(self.readers.add(link, timeline, cursor))  # type: ignore[arg-type]

    def grow(self, *names: str, body: bytes = b"") -> None:
        """These have one more entry, of which the readers are told with the next `flush`."""
        self.n += 1
        timelines = [self.timelines[name] for name in names]
        group = self.groups.setdefault(names, Group(timelines))
        entry = Entry(body or b'{"n":%d}' % self.n, EPOCH, self.n, late=False, old=False)
        full = [timeline for timeline in timelines if timeline.take(entry)]
        self.readers.grown(entry, group, full)

    def test_what_has_grown_leaves_before_anybody_acks_it(self) -> None:
        link = OpenLink()
        self.read(link, "ann")
        for count in (1, 2):
            self.grow("ann")
            self.readers.flush()
            self.assertEqual((len(link.lines), link.flushed), (count, count))

    def test_a_body_that_several_streams_of_a_link_wait_for_goes_once(self) -> None:
        links = {OpenLink(): ("ann", "bob", "cid"), OpenLink(): ("cid",)}
        for link, names in links.items():
            self.read(link, *names)
        self.grow("ann", "bob", "cid")
        self.grow("ann")
        self.readers.flush()
        sent = [[messages.decode(line) for line in link.lines] for link in links]
        both = [b'{"n":1}', b'{"n":2}']
        to = ["inbox/ann inbox/bob inbox/cid", "inbox/ann"]
        self.assertEqual(sent, [[Message(to, both)], [Message(["inbox/cid"], both[:1])]])

    def test_no_line_is_too_long_however_many_streams_of_a_link_a_body_goes_to(self) -> None:
        link = OpenLink()
        names = [f"{i:04}{'b' * 60}" for i in range(1000)]
        self.timelines = {name: Timeline(f"inbox/{name}", 20) for name in names}
        self.read(link, *names)
        for count in (1, 2, 3):
            self.grow(*names, body=LARGE)
            self.readers.flush()
            self.assertEqual(len(link.sent), count * len(names))

    def test_a_reader_without_room_costs_another_nothing(self) -> None:
        slow, quick = OpenLink(), OpenLink()
        for link in (slow, quick):
            self.read(link, "ann", window=1)
        for _ in range(3):
            self.grow("ann")
            self.readers.flush()
            self.show(quick)
        self.assertEqual([self.got(link)["inbox/ann"][0] for link in (slow, quick)], [1, 3])

    def test_whoever_falls_behind_and_catches_up_gets_each_entry_once_in_order(self) -> None:
        """Or a gap that says how many; with windows that fill up, and links that are busy."""
        for seed in range(6):
            dice = random.Random(seed)
            self.setUp()
            links = [OpenLink() for _ in range(3)]
            for link in links:
                self.read(link, *dice.sample([*self.timelines], 2), window=dice.choice((1, 2, 9)))
            for _ in range(60):
                for _ in range(dice.choice((0, 1, 4, 30))):
                    self.grow(*dice.sample([*self.timelines], dice.randint(1, 3)))
                self.readers.flush()
                link = dice.choice(links)
                link.set_free(dice.choice((0, 1, math.inf)))
                self.show(link)
            for link in links * 25:
                link.set_free(math.inf)
                self.show(link)
            for link in links:
                for address, (serial, entries) in self.got(link).items():
                    timeline = self.timelines[address.partition("/")[2]]
                    self.assertEqual((serial, entries), (timeline.last, sorted({*entries})), seed)

    def show(self, link: OpenLink) -> None:
        """Its reader has taken all that it has got, and says of each entry so once."""
        for address, (serial, _) in self.got(link).items():
            if serial > self.shown.get((link, address), 0):
                self.shown[link, address] = serial
                self.readers.credit(link, Credit(address, serial))  # type: ignore[arg-type]

    def got(self, link: FakeLink) -> dict[str, tuple[int, list[int]]]:
        """By stream, the serial of the last entry that came, and which ones came."""
        got: dict[str, tuple[int, list[int]]] = {}
        for message in link.sent:
            serial, entries = got.get(message["address"], (0, []))
            if message["op"] == "gap":
                got[message["address"]] = serial + message["missed"], entries
            else:
                got[message["address"]] = serial + 1, [*entries, message["body"]["n"]]
        return got


class LimitTest(unittest.TestCase):
    def setUp(self) -> None:
        self.readers = Readers(FakeNode().slices)
        self.timelines = [Timeline(f"inbox/u{i}", 5) for i in range(8)]

    def add(self, link: OpenLink, timeline: Timeline) -> None:
        one = self.readers.add(link, timeline, Cursor(0))  # type: ignore[arg-type]
        self.readers.send(one)

    def test_promise_5_subscriptions_of_a_link_and_of_all_have_an_end(self) -> None:
        one, two = OpenLink("one"), OpenLink("two")
        with (
            mock.patch.object(readers, "MAX_SUBSCRIPTIONS", 3),
            mock.patch.object(readers, "MAX_READERS", 5),
        ):
            for link, most in ((one, 3), (two, 2)):
                for timeline in self.timelines[:most] * 2:  # the same again is no more
                    self.add(link, timeline)
                with self.assertRaises(BadMessage) as caught:
                    self.add(link, self.timelines[-1])
                self.assertEqual(caught.exception.code, protocol.TOO_MANY)
            self.readers.gone(one)  # type: ignore[arg-type]
            for _ in self.readers.move(lambda address: address != "inbox/u0"):
                pass
            self.assertEqual(self.readers.gauges()["readers"], 1)
            self.add(two, self.timelines[-1])

    def test_promise_5_the_memory_of_audiences_counts_their_streams(self) -> None:
        links = [OpenLink(str(i)) for i in range(3)]
        for link in links:
            for timeline in self.timelines:
                self.add(link, timeline)
        held = self.readers._audiences
        entry = Entry(b"{}", EPOCH, 1, late=False, old=False)
        with mock.patch.object(readers, "MAX_AUDIENCES", 60):
            for i in range(40):
                some = self.timelines[i % 8 :]
                for timeline in some:
                    timeline.take(entry)
                self.readers.grown(entry, Group(some), [])
                self.readers.flush()
                streams = sum(part.readers for parts in held.values() for part in parts)
                self.assertEqual(len(held) + streams, self.readers._remembered)
                self.assertLessEqual(len(held) + streams, 60)
        self.assertEqual(len(links[0].take()), sum(len(self.timelines[i % 8 :]) for i in range(40)))


class SubscriptionTest(unittest.TestCase):
    def timeline(self, count: int, keep: int = 800) -> Timeline:
        timeline = Timeline("inbox/ann", keep)
        for n in range(1, count + 1):
            timeline.append(Entry(b'{"n":%d}' % n, EPOCH, n, late=False, old=False))
        return timeline

    def said(self, link: FakeLink) -> Sequence[int | str]:
        """Serials, and what else there was between them."""
        said: list[int | str] = []
        for message in link.sent:
            if message["op"] == "message":
                said.append(message["body"]["n"])
            else:
                said.append(f"gap of {message['missed']}")
        return said

    def send(self, timeline: Timeline, link: FakeLink, cursor: Cursor) -> bool:
        parcel = Parcel(link)  # type: ignore[arg-type]
        return Subscription(parcel, timeline, cursor).send()

    def test_it_sends_all_that_the_window_allows(self) -> None:
        for window in (1, HANDFUL, HANDFUL + 1, 300):
            link, cursor = OpenLink(), Cursor(0, window)
            self.assertTrue(self.send(self.timeline(200), link, cursor))
            self.assertEqual(self.said(link), [*range(1, min(window, 200) + 1)])
            cursor.ack(cursor.sent)
            self.assertTrue(self.send(self.timeline(200), link, cursor))
            self.assertEqual(self.said(link), [*range(1, min(2 * window, 200) + 1)])

    def test_a_gap_comes_between_what_was_before_it_and_what_is_behind_it(self) -> None:
        link, cursor, timeline = OpenLink(), Cursor(0, 2), self.timeline(3, keep=5)
        self.send(timeline, link, cursor)
        for n in range(4, 21):
            timeline.append(Entry(b'{"n":%d}' % n, EPOCH, n, late=False, old=False))
        self.send(timeline, link, cursor)
        self.assertEqual(self.said(link), [1, 2])
        cursor.ack(2)
        self.send(timeline, link, cursor)
        self.assertEqual(self.said(link), [1, 2, "gap of 13", 16, 17])

    def test_a_gap_comes_behind_what_other_streams_wait_for(self) -> None:
        link = OpenLink()
        parcel = Parcel(link)  # type: ignore[arg-type]
        parcel.rows.append(("inbox/bob", Entry(b'{"n":1}', EPOCH, 1, late=False, old=False)))
        timeline = self.timeline(9, keep=5)
        Subscription(parcel, timeline, Cursor(0, 5)).send()
        self.assertEqual(self.said(link), [1, "gap of 4", 5, 6, 7, 8, 9])

    def test_a_busy_link_gets_the_rest_when_it_is_not_any_more(self) -> None:
        link, cursor, timeline = OpenLink(room=2), Cursor(0, 1000), self.timeline(500)
        self.assertFalse(self.send(timeline, link, cursor))
        self.assertEqual(self.said(link), [*range(1, 2 * HANDFUL + 1)])
        self.assertFalse(self.send(timeline, link, cursor))
        self.assertEqual(len(link.lines), 2)
        link.room = math.inf
        self.assertTrue(self.send(timeline, link, cursor))
        self.assertEqual(self.said(link), [*range(1, 501)])
