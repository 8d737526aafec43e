"""The judge of chaos: a record that is right, and what is said of it when one thing is wrong."""

import asyncio
import pathlib
import tempfile
import time
import unittest
from collections.abc import Collection, Sequence
from typing import Any

from barker.client.speaker import new_id, now_ms
from barker.disk import files
from barker.disk.journal import Journal
from barker.laboratory.blows import Blow
from barker.laboratory.crowd import Asked, Crowd
from barker.laboratory.lab import Lab
from barker.laboratory.producer import SaidBark
from barker.manifold.timelines import Entry, record_of
from barker.wire import bodies, messages, records, strictjson
from barker.wire.bodies import Bark
from barker.wire.ops import Item, Put
from tests.chaos.journals import reports_damage, retained, unsettled
from tests.chaos.judge import MAX_WAIT_S, Record, faults
from tests.chaos.scene import Gate
from tests.tools.fleet import People, until

AUTHOR = "rdl"
HURT_NOTHING = (Blow(1.0, "kill", "bizlogic", 0, 1.0),)
HURT_INBOX = (Blow(1.0, "kill", "inbox", 0, 1.0),)


class JudgeTest(unittest.IsolatedAsyncioTestCase):
    """A record that is as it should be, and what the judge says when one thing in it is wrong."""

    async def asyncSetUp(self) -> None:
        lab = await self.enterAsyncContext(Lab())
        self.world = files.world(lab.state)
        self.people = People(lab.args(), self.world, self.world.names)
        self.audience = self.people.audience
        self.readers = sorted({AUTHOR, *self.world.followers(AUTHOR)})

    def says(self, number: int, also: Collection[str] = (), text: str = "") -> SaidBark:
        content = f"{number} {text}".strip()
        bark = Bark(new_id(), AUTHOR, content, now_ms())
        said = SaidBark(bark, number, self.people.now())
        said.acked_at = self.people.now()
        self.people.also[bark.id] = also
        return said

    def show(self, said: SaidBark, *readers: str, late: bool = False) -> None:
        for reader in readers or self.readers:
            self.audience.show(reader, said.bark._asdict(), late)

    def judge(
        self,
        *said: SaidBark,
        events: Sequence[Blow] = HURT_NOTHING,
        changes: Sequence[tuple[float, float]] = (),
        refused: Sequence[tuple[Blow, int]] = (),
        possible: Collection[str] = (),
        undone: Collection[str] = (),
        early: Collection[str] = (),
        alone: bool = False,
        damages: Sequence[str] = (),
    ) -> dict[str, list[Any]]:
        self.people.producer.said[:] = said
        record = Record(
            *(
                events,
                self.people,
                changes,
                refused,
                lambda said: possible,
                undone,
                early,
                alone,
                damages,
            )
        )
        return faults(record)

    async def test_nothing_is_wrong_with_what_is_shown_once_and_in_order(self) -> None:
        said = [self.says(n) for n in range(1, 4)]
        for each in said:
            self.show(each)
        self.assertEqual(self.judge(*said), {})

    async def test_a_journal_that_reports_damage_is_a_fault_for_nothing_damages_one(self) -> None:
        self.assertEqual(self.judge(damages=["x"]), {"damaged": [("x",)]})

    async def test_lost_is_what_was_acked_and_one_of_its_readers_was_not_shown(self) -> None:
        said = self.says(1)
        self.show(said, *self.readers[1:])
        self.assertEqual(self.judge(said), {"lost": [(self.readers[0], said.bark.id)]})

    async def test_what_was_never_acked_need_not_be_shown(self) -> None:
        said = self.says(1)
        said.acked_at = None
        self.assertEqual(self.judge(said), {})

    async def test_what_an_old_journal_took_away_is_not_lost_for_just_these_readers(self) -> None:
        said, other = self.says(1), self.says(2)
        self.people.excused.add((self.readers[0], said.bark.id))
        self.show(said, *self.readers[2:])
        self.show(other)
        self.assertEqual(self.judge(said, other), {"lost": [(self.readers[1], said.bark.id)]})

    async def test_a_follower_that_has_just_joined_is_one_of_the_readers(self) -> None:
        self.audience.shown["new0"] = []
        said = self.says(1, also={"new0"})
        self.show(said)
        self.assertEqual(self.judge(said), {"lost": [("new0", said.bark.id)]})
        self.show(said, "new0")
        self.assertEqual(self.judge(said), {})

    async def test_twice_is_what_one_reader_was_shown_again(self) -> None:
        said = self.says(1)
        self.show(said)
        self.show(said, self.readers[0])
        self.assertEqual(self.judge(said), {"twice": [(self.readers[0], said.bark.id)]})

    async def test_disorder_is_what_comes_after_something_newer_of_its_author(self) -> None:
        first, second = self.says(1), self.says(2)
        self.show(second)
        self.show(first)
        disorder = [(reader, AUTHOR, first.bark.id, 1, 2) for reader in self.readers]
        self.assertCountEqual(self.judge(first, second)["out of order"], disorder)
        found = self.judge(first, second, events=HURT_INBOX)
        self.assertCountEqual(found["out of order"], disorder)

    async def test_disorder_is_none_while_a_share_of_a_ring_is_on_its_way(self) -> None:
        first, second = self.says(1), self.says(2)
        self.show(second)
        self.show(first)
        while_it_was = [(time.monotonic() - 1, time.monotonic() + 1)]
        self.assertEqual(self.judge(first, second, events=HURT_INBOX, changes=while_it_was), {})
        before = [(time.monotonic() - 9, time.monotonic() - 5)]
        found = self.judge(first, second, events=HURT_INBOX, changes=before)
        self.assertEqual(list(found), ["out of order"])

    async def test_what_is_marked_late_is_wrong_only_if_no_manifold_is_touched(self) -> None:
        first, second = self.says(1), self.says(2)
        self.show(second)
        self.show(first, late=True)
        self.assertEqual(list(self.judge(first, second)), ["late"])
        self.assertEqual(self.judge(first, second, events=HURT_INBOX), {})

    async def test_unexpected_is_what_nobody_has_said(self) -> None:
        said = self.says(1)
        self.show(said, self.readers[0])
        found = self.judge()
        self.assertEqual(found, {"unexpected": [(self.readers[0], said.bark.id)]})

    async def test_astray_is_what_a_reader_was_shown_whom_it_was_never_for(self) -> None:
        said = self.says(1)
        self.show(said)
        stranger = next(name for name in self.world.names if name not in self.readers)
        self.show(said, stranger)
        self.assertEqual(self.judge(said), {"astray": [(stranger, said.bark.id)]})
        self.assertEqual(self.judge(said, possible={stranger}), {})

    async def test_a_refusal_is_wrong_unless_its_author_never_came_to_be(self) -> None:
        said = self.says(1)
        said.acked_at, said.refused = None, "unknown-user"
        self.assertEqual(self.judge(said), {"refused": [(said.bark.id, "unknown-user")]})
        self.assertEqual(self.judge(said, undone={AUTHOR}), {})

    async def test_what_a_newcomer_says_at_once_may_be_refused_if_an_outbox_goes_away(self) -> None:
        said = self.says(1)
        said.acked_at, said.refused = None, "unknown-user"
        early = {said.bark.id}
        hurt_outbox = [Blow(1.0, "kill", "outbox", 0, 1.0)]
        self.assertEqual(list(self.judge(said, early=early)), ["refused"])
        self.assertEqual(list(self.judge(said, events=hurt_outbox)), ["refused"])
        self.assertEqual(self.judge(said, early=early, events=hurt_outbox), {})

    async def test_a_service_that_refuses_nobody_before_it_is_read_is_blocked(self) -> None:
        unread = Blow(1.5, "unread", "outbox", 2, 5.0)
        found = self.judge(events=[unread], refused=[(unread, 1), (unread, 0)])
        self.assertEqual(found, {"blocked by its log": [("outbox 2", 1.5)]})

    async def test_a_newcomer_that_an_inbox_does_not_know_is_refused(self) -> None:
        self.audience.refused.append(("new0", "there is no user new0"))
        self.assertEqual(self.judge(), {"refused": self.audience.refused})
        self.assertEqual(self.judge(alone=True), {})

    async def test_barks_may_be_slow_only_if_something_is_hurt(self) -> None:
        said = self.says(1)
        said.said_at -= MAX_WAIT_S + 1
        self.show(said)
        unread = Blow(1.0, "unread", "outbox", 2, 5.0)
        self.assertEqual(list(self.judge(said, events=[unread])), ["slow"])
        self.assertEqual(self.judge(said, events=[unread, *HURT_NOTHING]), {})


class ExcuseTest(unittest.IsolatedAsyncioTestCase):
    """What an old journal takes away when it is put back."""

    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.journal = Journal(pathlib.Path(folder))
        self.addCleanup(self.journal.close)

    def begin(self, **header: int) -> None:
        self.journal.begin(lambda: {"n": 0, "settled": 0, "settled_events": 0, **header})

    def append(self, n: int, to: list[str], user: str, **kind: str) -> str:
        body = strictjson.dumps({"id": (id_ := new_id()), "user": user, "at": 1, **kind})
        item = Item(body, self.journal.epoch, n, user, id_, 1)
        self.journal.append([messages.encode(Put.of(0, [" ".join(to)], [item]))])
        return id_

    def test_every_damage_of_a_journal_is_seen_in_a_log(self) -> None:
        self.journal = Journal(self.journal.folder / "hurt", segment_bytes=1)
        list(self.journal.recover())
        self.begin()
        for n in range(12):
            self.append(n, ["outbox/rdl"], "rdl", content="x")
        self.journal.close()
        paths = sorted(self.journal.folder.glob("*.log"))
        contents = [path.read_bytes() for path in paths]
        paths[1].unlink()
        paths[3].write_bytes(b"")
        paths[5].write_bytes(contents[5].replace(b'"content"', b'"kontent"'))
        paths[7].write_bytes(contents[7].partition(b"\n")[2] + b"\n")
        paths[9].write_bytes(contents[8])
        with self.assertLogs("barker.disk.journal", "WARNING") as logs:
            list(Journal(self.journal.folder).recover())
        self.assertGreater(len(logs.output), 5)
        for line in logs.output:
            self.assertTrue(reports_damage(line), line)

    def test_an_outbox_loses_what_it_has_not_settled(self) -> None:
        self.begin()
        for n in (1, 2):
            self.append(n, ["bizlogic"], "rdl", content="x")
        waiting = self.append(3, ["bizlogic"], "rdl", content="x")
        self.journal.append([messages.encode(records.Settled("bizlogic", 2))])
        self.assertEqual(unsettled(self.journal.folder), {waiting})

    def test_events_are_settled_on_their_own(self) -> None:
        self.begin()
        self.append(1, ["followers"], "rdl", kind="join")
        event = self.append(2, ["followers"], "rdl", kind="join")
        bark = self.append(1, ["bizlogic"], "rdl", content="x")
        self.journal.append([messages.encode(records.Settled("followers", 1))])
        self.assertEqual(unsettled(self.journal.folder), {event, bark})
        self.begin(settled=1, settled_events=1)
        self.assertEqual(unsettled(self.journal.folder), {event})

    def test_an_inbox_loses_what_it_has_retained(self) -> None:
        self.begin()
        id_ = self.append(1, ["inbox/ark3", "inbox/rhs"], "rdl", content="x")
        old = strictjson.dumps({"id": "old", "user": "rdl", "content": "y", "at": 1})
        entry = Entry(old, self.journal.epoch, 1, False, False)
        self.journal.append([record_of("inbox/ace", 10, [entry])])
        expected = {("ark3", id_), ("rhs", id_), ("ace", "old")}
        self.assertEqual(retained(self.journal.folder), expected)

    def test_an_inbox_does_not_lose_what_it_has_handed_over_before(self) -> None:
        self.begin()
        id_ = self.append(1, ["inbox/ark3", "inbox/rhs"], "rdl", content="x")
        self.journal.append([messages.encode(records.Timeline("inbox/ark3", 1))])
        self.assertEqual(retained(self.journal.folder), {("rhs", id_)})
        again = self.append(2, ["inbox/ark3"], "rdl", content="x")
        self.assertEqual(retained(self.journal.folder), {("rhs", id_), ("ark3", again)})

    def test_half_a_record_is_none(self) -> None:
        self.begin()
        id_ = self.append(1, ["bizlogic"], "rdl", content="x")
        path = next(self.journal.folder.glob("*.log"))
        with path.open("ab") as file:
            file.write(path.read_bytes()[-60:-9])
        self.assertEqual(unsettled(self.journal.folder), {id_})

    async def test_an_excused_word_leaves_an_edge_in_doubt_until_a_later_one(self) -> None:
        async with Lab() as lab:
            crowd = Crowd(lab.args(), files.world(lab.state), 1)
        follow, unfollow = (
            Asked(bodies.Event(kind, new_id(), "ark3", at, "ace"))
            for kind, at in ((bodies.FOLLOW, 2), (bodies.UNFOLLOW, 3))
        )
        crowd.asked = [follow, unfollow]
        follow.acked_at = unfollow.acked_at = 1.0
        words, doubtful = crowd.implied()
        self.assertNotIn(("ark3", "ace"), words)
        unfollow.excused = True
        words, doubtful = crowd.implied()
        self.assertIn(("ark3", "ace"), words)
        self.assertEqual(doubtful, {("ark3", "ace")})
        follow.excused, unfollow.excused = True, False
        self.assertEqual(crowd.implied()[1], set())


class GateTest(unittest.IsolatedAsyncioTestCase):
    async def test_whoever_wants_to_be_alone_waits_and_is_waited_for(self) -> None:
        gate, seen = Gate(), []
        leave = asyncio.Event()

        async def go(name: str, alone: bool) -> None:
            async with gate.inside(alone=alone):
                seen.append(name)
                await leave.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(go("one", False))
            tasks.create_task(go("another", False))
            await until(lambda: len(seen) == 2, "both are inside")
            tasks.create_task(go("alone", True))
            await until(lambda: len(seen) == 2, "it waits")
            leave.set()
            await until(lambda: seen[2:] == ["alone"], "it is inside")
            leave.clear()
