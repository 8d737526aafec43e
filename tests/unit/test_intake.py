"""Intake: a batch is kept whole or not at all, whatever fails half-way."""

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from barker.delivery.duplicates import Duplicates, Keys
from barker.delivery.poison import ATTEMPTS
from barker.inbox import Inbox
from barker.manifold.intake import RECORD_CHUNK
from barker.manifold.push import Push
from barker.manifold.readers import Parcel
from barker.manifold.store import TimelineStore
from barker.outbox import Outbox
from barker.routing.routes import CONSISTENT
from barker.wire import protocol
from tests.tools.fleet import until
from tests.tools.inside import Manifold, barks_of, journal_of
from tests.tools.wireclient import Message, bark, put, serving
from tests.unit.test_inbox import USERS, InboxTest
from tests.unit.test_outbox import OutboxTest
from tests.unit.test_recovery import KINDS, Peer, RecoveryTest


def failing(real: Callable[..., Any], call: int = 1) -> Callable[..., Any]:
    """Raises at one call, and works otherwise."""
    calls = 0

    def work(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise MemoryError("no more")
        return real(*args, **more)

    return work


class BatchTest(RecoveryTest):
    """On files, without sockets."""

    def puts(self, kind: type[Manifold], numbers: Sequence[int]) -> list[Message]:
        return self.barks(*map(str, numbers)) if kind is Outbox else self.numbered(numbers)

    def shown(self, manifold: Manifold) -> list[tuple[int, int]]:
        """Counter or serial, and id, of all that it has handed on or still has."""
        if isinstance(manifold, Outbox):
            return [(n, int(id_)) for n, id_ in self.pushed(self.bizlogic(manifold))]
        messages = self.read(manifold)
        self.assertEqual([m for m in messages if "late" in m], [])
        return [(m["serial"], int(m["body"]["id"])) for m in messages]

    def test_promise_1_an_exception_anywhere_before_the_journal_acks_nothing(self) -> None:
        """And nothing is left over: the batch after it is whole, and what comes again is new."""
        steps: list[tuple[type[Manifold], object, str, int]] = [
            *(
                (kind, None, name, 1)
                for kind in (Outbox, Inbox)
                for name in ("append", "rotate_if_full")
            ),
            (Outbox, Keys, "said", 3),  # half-way through the batch
            (Outbox, Push, "numbers", 1),
            (Inbox, Duplicates, "are_new", 1),
            (Inbox, Duplicates, "fresh", 3),
            (Inbox, TimelineStore, "serials_before", 1),
        ]
        for kind, owner, name, call in steps:
            with self.subTest(kind.__name__, name=name):
                manifold = self.begin(kind, self.new_folder())
                link, batch = Peer(), self.puts(kind, range(3, 8))
                batch += batch[-1:] if name == "fresh" else []  # which is for what may be known
                where = owner or journal_of(manifold)
                with (
                    mock.patch.object(where, name, failing(getattr(where, name), call)),
                    self.assertRaises(MemoryError),
                ):
                    self.say(manifold, *batch, link=link)
                self.assertEqual((link.committed, link.take()), (0, []))
                self.assertAcked(self.say(manifold, *self.puts(kind, [1, 2])))
                self.assertAcked(self.say(manifold, *batch))
                self.assertEqual(self.shown(manifold), [(n, n) for n in range(1, 8)])

    def test_what_the_journal_has_and_memory_lacks_ends_the_process(self) -> None:
        """Nothing more is kept or acked; the next start has what the journal has."""
        count = 2 * RECORD_CHUNK + 1
        steps: tuple[tuple[object, str], ...] = ((Push, "add"), (TimelineStore, "append"))
        for kind, (owner, name) in zip(KINDS, steps, strict=True):
            with self.subTest(kind.__name__):
                self.root = self.new_folder()
                before, link = self.begin(kind), Peer()
                before.links.add(link)  # type: ignore[arg-type]
                batch = self.puts(kind, range(1, count + 1))
                with (
                    mock.patch.object(owner, name, failing(getattr(owner, name))),
                    self.assertLogs("barker", "CRITICAL"),
                ):
                    self.assertEqual(self.say(before, *batch, link=link), [])
                self.assertEqual((link.closed, before.exit_status), (True, 1))
                after = self.again(before)
                self.assertEqual(self.shown(after), [(n, n) for n in range(1, RECORD_CHUNK + 1)])
                self.assertAcked(self.say(after, *batch))
                self.assertEqual(len({id_ for _, id_ in self.shown(after)}), count)

    def test_a_refusal_has_the_number_of_its_entry_also_far_back_in_a_long_line(self) -> None:
        manifold = self.outbox()
        barks = self.puts(Outbox, range(1, 2 * RECORD_CHUNK + 3))
        barks[-1] = put(0, ["outbox/ark3"], bark("rdl", "1"))
        refusal, ack = self.say(manifold, *barks)
        self.assertEqual((refusal["seq"], ack), (len(barks), {"op": "ack", "seq": len(barks)}))

    def test_what_has_moved_does_not_overtake_what_was_refused_as_full(self) -> None:
        """Else it would come to the new owner before what its sender is to send there again."""
        manifold, link = self.inbox(), Peer()
        self.served(manifold, "inbox", CONSISTENT, "inbox", "another")
        owner = manifold.routes.route("inbox").owner
        users = {target.name: user for user in USERS if (target := owner(user))}
        puts = self.numbered([1], users["inbox"]) + self.numbered([2], users["another"])
        with mock.patch.object(journal_of(manifold), "append", side_effect=OSError):
            said = [self.say(manifold, *puts, link=link)]
        said += [self.say(manifold, *puts, link=link, heard=heard) for heard in (False, True)]
        codes = [[m.get("code") for m in some] for some in said]
        self.assertEqual(codes, [["full", "full", None], ["full", "full", None], ["moved", None]])

    def test_a_body_that_ends_one_link_after_the_other_is_refused_and_the_rest_is_taken(
        self,
    ) -> None:
        manifold, real = self.outbox(), Keys.said

        def said(keys: Keys, key: tuple[str, str]) -> int | None:
            if key == ("ark3", "2"):
                raise MemoryError("no more")
            return real(keys, key)

        with mock.patch.object(Keys, "said", said):
            for _ in range(ATTEMPTS):
                with self.assertRaises(MemoryError):
                    self.say(manifold, *self.barks("1", "2", "3"), link=Peer())
            refusal, _ = self.say(manifold, *self.barks("1", "2", "3"))
        self.assertEqual((refusal["seq"], refusal["code"]), (2, protocol.FAILED))
        self.assertIn("no more", refusal["reason"])
        self.assertEqual(self.shown(manifold), [(1, 1), (2, 3)])


class OutboxLinkTest(OutboxTest):
    async def test_a_process_that_has_failed_ends_and_the_next_start_recovers(self) -> None:
        flags, place = ("--name", "box"), self.directory.port
        with self.assertRaisesRegex(AssertionError, "stopped by itself"):
            async with serving(Outbox, self.folder, *flags, directory=place) as outbox:
                with (
                    mock.patch.object(Push, "add", failing(Push.add)),
                    self.assertLogs("barker", "CRITICAL"),
                ):
                    client = await self.open(outbox.port)
                    client.send(put(1, ["outbox/ark3"], bark("ark3", "a")))
                    self.assertIsNone(await client.heard())
                    await until(lambda: outbox.is_stopping, "it stops")
        async with serving(Outbox, self.folder, *flags, directory=place):
            await (await self.bizlogic()).expect("put", body=bark("ark3", "a"))

    async def test_a_fault_with_what_is_pushed_stays_with_that_link(self) -> None:
        outbox = await self.outbox()
        client, pushed = await self.open(outbox.port), await self.bizlogic()
        await until(lambda: barks_of(outbox).sender.peers, "the link is up")
        with (
            mock.patch("barker.delivery.batches.put_line", side_effect=MemoryError),
            self.assertLogs("barker", "ERROR"),
        ):
            client.send(put(1, ["outbox/ark3"], bark("ark3", "a")))
            await client.expect("ack", seq=1)
            self.assertIsNone(await pushed.heard())
        await (await self.pushed()).expect("put", seq=1, body=bark("ark3", "a"))


class InboxLinkTest(InboxTest):
    async def test_a_fault_with_one_reader_stays_with_it(self) -> None:
        one, two = await self.reader(), await self.reader()
        with (
            mock.patch.object(Parcel, "write", failing(Parcel.write)),
            self.assertLogs("barker", "ERROR"),
        ):
            await self.fill(1)
        heard = [await reader.heard() for reader in (one, two)]
        self.assertEqual([m and m["op"] for m in heard].count("message"), 1)
        self.assertEqual(heard.count(None), 1)
