"""Intake: a batch is applied whole or not at all, whatever fails half-way."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from unittest import mock

from barker.delivery import sender
from barker.outbox import Outbox
from barker.wire import messages
from barker.wire.ops import Put
from tests.tools.fleet import until
from tests.tools.wireclient import bark, put, serving
from tests.unit.test_inbox import ORIGIN, InboxTest
from tests.unit.test_outbox import OutboxTest


def failing(times: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """Raises `times` times, and works then."""
    left = [times]

    def work(*args: Any, **more: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise MemoryError("no more")
        return real(*args, **more)

    return work


class BatchTest(OutboxTest):
    """An exception before the journal has the batch: no ack, nothing left over, all of it again."""

    async def say(self, outbox: Outbox, *ids: str) -> list[dict[str, Any]]:
        """These barks in one write over a new link; everything up to its end or the last ack."""
        client = await self.open(outbox.port)
        client.send(*(put(seq, ["outbox/ark3"], bark("ark3", i)) for seq, i in enumerate(ids, 1)))
        said = []
        while message := await client.heard():
            said.append(message)
            if message["op"] == "ack" and message["seq"] == len(ids):
                break
        client.abort()
        return said

    def kept(self, outbox: Outbox) -> list[str]:
        folder = self.folder / "journal" / outbox.name
        return [
            item.id
            for path in sorted(folder.glob("*.log"))
            for line in path.read_bytes().splitlines()
            if isinstance(record := messages.decode_record(line[9:]), Put)
            for item in record.items()
        ]

    def running(self, *argv: str) -> AbstractAsyncContextManager[Outbox]:
        flags = [*argv]
        return serving(Outbox, self.folder, *flags, directory=self.directory.port)

    async def test_promise_1_an_exception_anywhere_before_the_journal_acks_nothing(self) -> None:
        for where, name in (
            ("journal", "append"),
            ("outbox", "record"),
            ("outbox", "take"),
            ("journal", "turn"),
        ):
            with self.subTest(name):
                async with self.running("--name", name) as outbox:
                    owner: Any = outbox.journal if where == "journal" else outbox
                    with (
                        mock.patch.object(owner, name, failing(1, getattr(owner, name))),
                        self.assertLogs("barker", "ERROR"),
                    ):
                        said = await self.say(outbox, "a", "b", "c", "d")
                        self.assertEqual([m for m in said if m["op"] == "ack"], [])
                        self.assertEqual(self.kept(outbox), [])
                    # The batch after it is whole, and what comes again is as new.
                    self.assertEqual(
                        (await self.say(outbox, "e", "f"))[-1], {"op": "ack", "seq": 2}
                    )
                    self.assertEqual(self.kept(outbox), ["e", "f"])
                    said = await self.say(outbox, "a", "b", "c", "d")
                    self.assertEqual(said[-1], {"op": "ack", "seq": 4})
                    self.assertEqual(self.kept(outbox), ["e", "f", "a", "b", "c", "d"])
                    self.assertEqual(outbox._push.n, 6)

    async def test_a_half_done_take_is_undone_with_its_batch(self) -> None:
        outbox = await self.outbox()
        real = outbox._known_keys.is_new
        calls: list[object] = []

        def is_new(key: tuple[str, str]) -> bool:
            new = real(key)
            calls.append(key)
            if len(calls) == 3:
                raise MemoryError("after it was noted")
            return new

        with mock.patch.object(outbox._known_keys, "is_new", is_new):
            with self.assertLogs("barker", "ERROR"):
                await self.say(outbox, "a", "b", "c")
            self.assertEqual((await self.say(outbox, "a", "b", "c"))[-1], {"op": "ack", "seq": 3})
        self.assertEqual(self.kept(outbox), ["a", "b", "c"])

    async def test_what_the_journal_has_and_memory_lacks_ends_the_process(self) -> None:
        with self.assertRaisesRegex(AssertionError, "stopped by itself"):
            async with self.running("--name", "box") as outbox:
                with (
                    mock.patch.object(outbox, "keep", failing(1, outbox.keep)),
                    self.assertLogs("barker", "CRITICAL"),
                ):
                    said = await self.say(outbox, "a", "b")
                    self.assertEqual([m for m in said if m["op"] == "ack"], [])
                    await until(lambda: outbox._stop.is_set(), "it stops")
                self.assertEqual(outbox.exit_status, 1)
        async with self.running("--name", "box") as outbox:
            pushed = await self.bizlogic()
            self.assertEqual([m["body"]["id"] for m in await self.puts(pushed, 2)], ["a", "b"])
            self.assertEqual((await self.say(outbox, "a", "b"))[-1], {"op": "ack", "seq": 2})

    async def test_a_fault_with_what_is_pushed_stays_with_that_link(self) -> None:
        outbox = await self.outbox()
        pushed = await self.bizlogic()
        await until(lambda: outbox._push.peers, "the link is up")
        with (
            mock.patch("barker.delivery.sender.put_lines", failing(1, sender.put_lines)),
            self.assertLogs("barker", "ERROR"),
        ):
            self.assertEqual((await self.say(outbox, "a"))[-1], {"op": "ack", "seq": 1})
            self.assertIsNone(await pushed.heard())
            pushed = await self.pushed()
            self.assertEqual((await pushed.expect("put", seq=1))["body"]["id"], "a")


class InboxBatchTest(InboxTest):
    async def test_promise_1_an_exception_before_the_journal_acks_nothing(self) -> None:
        steps = ("record", "take_all", "take")
        for where, name in (("journal", "append"), *(("inbox", step) for step in steps)):
            with self.subTest(name):
                owner: Any = self.inbox.journal if where == "journal" else self.inbox
                first = self.filled + 1
                numbers = range(first, first + 4)
                lines = [
                    put(seq, ["inbox/ark3"], bark("rdl", str(n)), origin=ORIGIN, n=n)
                    for seq, n in enumerate(numbers, 1)
                ]
                # The way one by one is for puts with something special.
                one_by_one = lambda put: None  # noqa: E731
                whole = self.inbox.take_all if name != "take" else one_by_one
                with (
                    mock.patch.object(self.inbox, "take_all", whole),
                    mock.patch.object(owner, name, failing(1, getattr(owner, name))),
                    self.assertLogs("barker", "ERROR"),
                ):
                    source = await self.open(self.inbox.port)
                    source.send(*lines)
                    self.assertIsNone(await source.heard())
                source = await self.open(self.inbox.port)
                source.send(*lines)
                self.assertEqual(await source.up_to_ack(4), [])
                self.filled += 4
                reader = await self.open(self.inbox.port)
                await self.subscribe(reader, history=1000)
                shown = await reader.before_pong()
                self.assertEqual(self.ids(shown), list(range(1, self.filled + 1)))
                self.assertEqual([m for m in shown if "late" in m], [])

    async def test_a_fault_with_one_reader_stays_with_it(self) -> None:
        one, two = await self.reader(), await self.reader()
        (mine, *_) = self.inbox._readers._parcels.values()
        with (
            mock.patch.object(type(mine), "write", failing(1, type(mine).write)),
            self.assertLogs("barker", "ERROR"),
        ):
            await self.fill(1)
        heard = [await reader.heard() for reader in (one, two)]
        self.assertEqual([m and m["op"] for m in heard].count("message"), 1)
        self.assertEqual(heard.count(None), 1)
