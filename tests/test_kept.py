"""Acknowledged means kept: exceptions in a batch, poison, dead letters, barks without readers."""

import errno
import json
import os
import pathlib
import tempfile
import unittest
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any
from unittest import mock

from barker import deadletters, delivery, keeper, poison, wire
from barker.bizlogic import Targets
from barker.deadletters import DeadLetters, Letter
from barker.outbox import Outbox
from barker.poison import ATTEMPTS, Suspects
from barker.strictjson import canonical, dumps, loads
from barker.wire import BadMessage
from tests.fleet import until
from tests.test_bizlogic import BizLogicTest
from tests.test_manifold import ORIGIN, InboxTest, OutboxTest
from tests.wireclient import Wire, bark, put, serving


class Bug(Exception):
    """What no check foresaw."""


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
            fields["id"]
            for path in sorted(folder.glob("*.log"))
            for line in path.read_bytes().splitlines()
            if b'"op":"put' in line
            for *_, fields in wire.puts_in(wire.decode(line[9:]))
        ]

    def running(self, *argv: str) -> AbstractAsyncContextManager[Outbox]:
        flags = ["outbox", "--push", "bizlogic", *argv]
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
            mock.patch("barker.delivery.put_lines", failing(1, delivery.put_lines)),
            self.assertLogs("barker", "ERROR"),
        ):
            self.assertEqual((await self.say(outbox, "a"))[-1], {"op": "ack", "seq": 1})
            self.assertIsNone(await pushed.heard())
            pushed = await self.pushed()
            self.assertEqual((await pushed.expect("put", seq=1))["body"]["id"], "a")


class InboxBatchTest(InboxTest):
    async def test_promise_1_an_exception_before_the_journal_acks_nothing(self) -> None:
        for where, name in (("journal", "append"), ("inbox", "record"), ("inbox", "take")):
            with self.subTest(name):
                owner: Any = self.inbox.journal if where == "journal" else self.inbox
                first = self.filled + 1
                numbers = range(first, first + 4)
                lines = [
                    put(seq, ["inbox/ark3"], bark("rdl", str(n)), origin=ORIGIN, n=n)
                    for seq, n in enumerate(numbers, 1)
                ]
                with (
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


class PoisonTest(BizLogicTest):
    """A bark that raises in every bizlogic that touches it."""

    @contextmanager
    def poisonous(self, text: str) -> Iterator[None]:
        real = Targets.of

        def of(targets: Targets, author: str, content: str) -> tuple[str, ...]:
            if content == text:
                raise Bug(text)
            return real(targets, author, content)

        with mock.patch.object(Targets, "of", of), self.assertLogs("barker", "ERROR"):
            yield

    async def test_after_a_few_links_it_is_refused_for_good_and_the_rest_goes_on(self) -> None:
        with self.poisonous("aargh"):
            for _ in range(ATTEMPTS):
                outbox = await self.open(self.biz.port, "outbox")
                outbox.send(self.put(1, "ann", "aargh"), self.put(2, "ann"))
                self.assertIsNone(await outbox.heard())
            outbox = await self.open(self.biz.port, "outbox")
            outbox.send(self.put(1, "ann", "aargh"), self.put(2, "ann"))
            refusal = await outbox.expect("refuse", seq=1, code=wire.FAILED)
            self.assertIn("Bug('aargh')", refusal["reason"])
            for inbox in self.links.values():
                inbox.send({"op": "ack", "seq": 1})
            self.assertEqual(await outbox.up_to_ack(2), [])

    async def test_a_bark_with_nobody_to_receive_it_is_acked_at_once(self) -> None:
        with mock.patch.object(Targets, "of", lambda *_: ()):
            self.outbox.send(self.put(1, "ann"), self.put(2, "bob"))
            self.assertEqual(await self.outbox.up_to_ack(2), [])
            self.assertEqual(len(self.biz._inboxes), 0)
        for inbox in self.links.values():
            self.assertEqual(await inbox.before_pong(), [])


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
        self.assertEqual(caught.exception.code, wire.FAILED)
        self.assertNotIn(wire.FAILED, wire.RETRYABLE)

    def test_memory_is_bounded(self) -> None:
        with mock.patch.object(poison, "MAX_SUSPECTS", 10):
            suspects = Suspects()
            for n in range(100):
                suspects.blame(b"%d" % n, Bug("x" * 1000))
                self.assertLessEqual(len(suspects._ended), 10)


class DeadLetterTest(OutboxTest):
    async def refuse(self, pushed: Wire, seq: int, code: str = wire.FAILED) -> None:
        refusal = {"op": "refuse", "seq": seq, "code": code, "reason": "it raised", "addresses": []}
        pushed.send({**refusal, "addresses": ["bizlogic"]}, {"op": "ack", "seq": seq})

    def letters(self, outbox: Outbox) -> list[dict[str, Any]]:
        path = self.folder / "dead-letters" / f"{outbox.name}.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    async def test_what_was_acked_and_is_refused_for_good_is_parked_and_the_rest_goes_on(
        self,
    ) -> None:
        for code in (wire.FAILED, wire.BAD_MESSAGE, wire.TOO_LARGE):
            flags = ["outbox", "--push", "bizlogic", "--name", code]
            place = self.directory.port
            with self.subTest(code), self.assertLogs("barker", "ERROR"):
                async with serving(Outbox, self.folder, *flags, directory=place) as outbox:
                    client, pushed = await self.open(outbox.port), await self.bizlogic()
                    client.send(*(put(i, ["outbox/ark3"], bark("ark3", f"b{i}")) for i in (1, 2)))
                    await self.puts(pushed, 2)
                    await self.refuse(pushed, 1, code)
                    pushed.send({"op": "ack", "seq": 2})
                    await until(lambda: not len(outbox._push), "the queue is empty")
                    (letter,) = self.letters(outbox)
                    self.assertEqual(letter["body"], bark("ark3", "b1"))
                    self.assertEqual(
                        (letter["code"], letter["reason"], letter["addresses"]),
                        (code, "it raised", ["bizlogic"]),
                    )
                    gauges = outbox.gauges()
                    self.assertEqual(gauges["dead_letters"], 1)
                    self.assertEqual(gauges["dead_letter"], f"ark3's bark b1: it raised ({code})")
                self.registration.abort()

    async def test_what_can_not_be_parked_stays_in_its_queue(self) -> None:
        self.enterContext(mock.patch.object(keeper, "PARK_AGAIN_S", 0.05))
        flags = ["outbox", "--push", "bizlogic", "--name", "box"]
        place = self.directory.port
        full = OSError(errno.ENOSPC, "No space left on device")
        async with serving(Outbox, self.folder, *flags, directory=place) as outbox:
            client, pushed = await self.open(outbox.port), await self.bizlogic()
            client.send(put(1, ["outbox/ark3"], bark("ark3", "b1")))
            await client.expect("ack", seq=1)
            with (
                mock.patch.object(DeadLetters, "_write", side_effect=full) as write,
                self.assertLogs("barker", "ERROR"),
            ):
                await self.puts(pushed, 1)
                await self.refuse(pushed, 1)
                await until(lambda: write.call_count > 1, "it was tried again")
                self.assertEqual(outbox._push.oldest_n(99), 1)
        # Nothing is noted as settled, so after a restart it goes again; then there is room.
        async with serving(Outbox, self.folder, *flags, directory=place) as outbox:
            pushed = await self.pushed()
            with self.assertLogs("barker", "ERROR"):
                await self.puts(pushed, 1)
                await self.refuse(pushed, 1)
                await until(lambda: outbox.dead_letters.count == 1, "it is parked")
            await until(lambda: not outbox._noting and outbox._push.noted == 1, "it is noted")
            self.assertEqual(len(self.letters(outbox)), 1)
        async with serving(Outbox, self.folder, *flags, directory=place) as outbox:
            self.assertEqual((outbox.dead_letters.count, len(outbox._push)), (1, 0))


class LettersTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "dead" / "box.jsonl"

    def letter(self, id_: str, to: Sequence[str] = ("bizlogic",), reason: str = "no") -> Letter:
        return Letter(dumps(bark("ark3", id_)), to, "failed", reason)

    def park(self, letters: DeadLetters, *which: Letter) -> None:
        with self.assertLogs("barker.deadletters", "ERROR"):
            for letter in which:
                letters.park(letter, 7)

    def test_they_are_lines_of_json_for_their_owner_s_eyes_and_counted_after_a_restart(
        self,
    ) -> None:
        letters = DeadLetters(self.path)
        self.park(letters, self.letter("a"), self.letter("b", reason="\x1b[2J"))
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        self.assertEqual([line["body"]["id"] for line in lines], ["a", "b"])
        self.assertEqual((lines[0]["at"], lines[0]["addresses"]), (7, ["bizlogic"]))
        if os.name == "posix":
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        again = DeadLetters(self.path)
        self.assertEqual((again.count, again.latest), (2, letters.latest))
        self.assertNotIn("\x1b", letters.latest or "")

    def test_the_same_letter_again_is_kept_once_also_after_a_restart(self) -> None:
        self.park(DeadLetters(self.path), self.letter("a"))
        again = DeadLetters(self.path)
        again.park(self.letter("a"), 8)
        self.assertEqual(len(self.path.read_bytes().splitlines()), 1)
        self.park(again, self.letter("a", to=["inbox/rdl"]))
        self.assertEqual(len(self.path.read_bytes().splitlines()), 2)

    def test_a_letter_that_a_kill_has_cut_costs_no_other(self) -> None:
        self.park(DeadLetters(self.path), self.letter("a"))
        with self.path.open("ab") as file:
            file.write(b'{"at":7,"code"')
        with self.assertLogs("barker.deadletters", "WARNING"):
            again = DeadLetters(self.path)
        self.park(again, self.letter("b"))
        with self.assertLogs("barker.deadletters", "WARNING"):
            self.assertEqual(DeadLetters(self.path).count, 2)

    def test_a_write_that_fails_leaves_nothing_behind_and_is_told(self) -> None:
        letters = DeadLetters(self.path)
        self.park(letters, self.letter("a"))
        before = self.path.read_bytes()
        real = os.write

        def write(file: int, data: bytes) -> int:
            return real(file, data[:5])

        with mock.patch.object(os, "write", write), self.assertRaises(OSError):
            letters.park(self.letter("b"), 7)
        self.assertEqual((self.path.read_bytes(), letters.count), (before, 1))

    def test_the_file_has_a_limit(self) -> None:
        letters = DeadLetters(self.path)
        self.park(letters, self.letter("a"))
        with (
            mock.patch.object(deadletters, "MAX_BYTES", self.path.stat().st_size + 10),
            self.assertRaisesRegex(OSError, "is full"),
        ):
            letters.park(self.letter("b"), 7)

    def test_without_a_file_the_log_has_the_whole_of_it(self) -> None:
        letters = DeadLetters(None)
        with self.assertLogs("barker.deadletters", "ERROR") as logs:
            letters.park(self.letter("a"), 7)
        self.assertIn(dumps(bark("ark3", "a")).decode(), logs.output[0])


class CanonicalTest(unittest.TestCase):
    """One form for each body, and one for the same body again; see also `tests.test_wire`."""

    def test_what_encoders_write_by_default_becomes_canonical(self) -> None:
        fields = {"b": 'é"\\/\n\x01\x7f\u2028', "a": -5, "c": True, "d": None, "é": 2**53 - 1}
        form = dumps(fields)
        for text in (
            form.decode(),
            json.dumps(fields),
            json.dumps(fields, indent="\t"),
            json.dumps(fields, ensure_ascii=False, separators=(",\t", " : ")),
            form.decode().replace("/", "\\/"),
        ):
            self.assertEqual(canonical(text.encode(), loads(text.encode())), form)

    def test_it_is_never_longer_than_what_came(self) -> None:
        for code in range(0x180):
            for text in (json.dumps({"x": chr(code)}), f'{{"x":"\\u{code:04x}"}}'):
                form = canonical(text.encode(), loads(text.encode()))
                self.assertLessEqual(len(form), len(text.encode()))
                self.assertEqual(canonical(form, loads(form)), form)

    def test_what_has_no_such_form_is_refused(self) -> None:
        for text in (
            b'{"a":1.0}',
            b'{"a":1e15}',
            b'{"a":-0.0}',
            b'{"a":9007199254740992}',
            b'{"a":-9007199254740992}',
            b'{"a":1,"a":1}',
            b'{"a":{}}',
            b'{"a":[]}',
            b'{"a":"\\ud800"}',
        ):
            with self.subTest(text), self.assertRaises(BadMessage):
                canonical(text, loads(text))


if __name__ == "__main__":
    unittest.main()
