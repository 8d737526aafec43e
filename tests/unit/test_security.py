"""Every bound from both sides, with somebody beside who does not notice; and the table of attacks.

What has a test of its own elsewhere is not here: lines and frames, links, waiting bytes, silence
(test_link), heads (test_handshake), queues (test_outbox). The table of ``docs/attacks.rst`` has
them all.
"""

import asyncio
import contextlib
import importlib
import io
import logging
import re
import shutil
import time
import unittest

from barker.bizlogic import BizLogic, Recipients
from barker.disk import files
from barker.disk.journal import Journal
from barker.inbox import Inbox
from barker.manifold import readers
from barker.outbox import Outbox
from barker.process import logs
from barker.process.service import Service
from barker.wire import bodies, fields, messages, ops, protocol, records, strictjson
from barker.wire.records import Record, Settled
from tests.book.test_docs import DOCS, ROOT, sections, tables
from tests.tools.fleet import until
from tests.tools.inside import journal_of
from tests.tools.wireclient import Message, Wire, WireTest, bark, put


class BoundsTest(WireTest):
    async def assertBound(
        self, service: Service, within: list[Message], beyond: Message, code: str
    ) -> None:
        """What is within is taken; one step beyond is an `error` with that code, and a close."""
        bystander = await self.open(service.port, "bystander")
        connection = await self.open(service.port)
        connection.send(*within)
        self.assertNotIn("error", [m["op"] for m in await connection.before_pong()])
        connection.send(beyond)
        heard = await connection.rest()
        self.assertEqual((heard[-1]["op"], heard[-1]["code"]), ("error", code))
        await bystander.before_pong()

    async def assertRefused(
        self, service: Service, within: list[Message], beyond: Message, code: str
    ) -> None:
        """The same for what is one message's fault only: the link goes on."""
        bystander = await self.open(service.port, "bystander")
        connection = await self.open(service.port)
        connection.send(*within)
        self.assertNotIn("refuse", [m["op"] for m in await connection.before_pong()])
        connection.send(beyond)
        said = [m for m in [await connection.heard(), *await connection.before_pong()] if m]
        said_no = [m.get("code") for m in said if m["op"] in ("refuse", "unreadable")]
        self.assertIn(code, said_no)
        await connection.before_pong()
        await bystander.before_pong()

    async def test_addresses_of_one_put_and_their_length(self) -> None:
        service = await self.serve(Inbox)
        many = [f"inbox/u{i}" for i in range(protocol.MAX_ADDRESSES + 1)]
        await self.assertBound(
            service,
            [put(1, many[1:], bark("ark3", "1"))],
            put(2, many, bark("ark3", "2")),
            protocol.PROTOCOL,
        )
        longest = f"{'a' * 20}/{'b' * 64}"
        self.assertEqual(len(longest), protocol.MAX_ADDRESS_CHARS)
        await self.assertBound(
            service,
            [{"op": "subscribe", "address": longest}],
            {"op": "subscribe", "address": longest + "b"},
            protocol.PROTOCOL,
        )

    async def test_every_character_that_an_address_may_have_and_no_other(self) -> None:
        for i in range(0x300):
            good = chr(i) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
            self.assertEqual(fields.is_address(f"inbox/a{chr(i)}b"), good, i)

    async def test_the_unacked_window_of_a_link(self) -> None:
        service = await self.serve(BizLogic)
        service.recipients = Recipients(files.world(self.folder))  # else it refuses
        stamp = {"origin": "ab" * 8}
        puts = [
            put(i, ["bizlogic"], bark("ark3", f"b{i}"), **stamp, n=i)
            for i in range(1, protocol.UNACKED_WINDOW + 2)
        ]
        await self.assertBound(service, puts[:-1], puts[-1], protocol.PROTOCOL)

    async def test_content_and_body(self) -> None:
        service = await self.serve(Outbox)
        most = bodies.MAX_CONTENT_CHARS
        for full, over in (
            (bark("ark3", "1", "\U0001f415" * most), bark("ark3", "2", "x" * (most + 1))),
            ({**bark("ark3", "3"), "more": "x" * 8000}, {**bark("ark3", "4"), "more": "x" * 8200}),
        ):
            to = ["outbox/ark3"]
            await self.assertRefused(
                service, [put(1, to, full)], put(2, to, over), protocol.TOO_LARGE
            )

    async def test_subscriptions_of_a_link(self) -> None:
        self.patch(readers, "MAX_SUBSCRIPTIONS", 3)
        service = await self.serve(Inbox)
        *some, last = [
            {"op": "subscribe", "address": f"inbox/{name}"}
            for name in files.world(self.folder).names[:4]
        ]
        await self.assertRefused(service, some, last, protocol.TOO_MANY)


class FileTest(WireTest):
    async def test_records_that_make_no_sense_keep_no_manifold_from_starting(self) -> None:
        """Their checksums hold: an earlier version wrote them, or somebody with an editor."""
        values: tuple[object, ...] = (None, 1, -1, "x", [], [1], {}, {"inbox/ark3": []}, [[]], [{}])
        lines = [strictjson.dumps(value) for value in values]
        for op, spec in {**ops.OPS, **records.RECORDS}.items():
            whole = {field.name: 1 for field in spec.fields}
            for name in (*whole, "what"):
                for value in values:
                    said = {"op": op, "seq": 0, "to": ["inbox/ark3"], **whole, name: value}
                    lines.append(strictjson.dumps({**said, "bodies": [bark("ark3", "1")]}))
        kinds: tuple[tuple[type[Service], tuple[str, ...]], ...] = (
            (Inbox, ()),
            (Outbox, ()),
        )
        for kind, argv in kinds:
            journal = Journal(self.folder / "journal" / "old")
            self.assertEqual(list(journal.recover()), [])
            journal.begin(dict)
            journal.append(lines)
            journal.close()
            with self.assertLogs("barker.process.node", "WARNING"):
                service = await self.serve(kind, *argv, "--name", "old")
            async with await Wire.open(service.port, self.secret) as connection:
                await connection.before_pong()
            service.stop()
            await until(lambda s=service: not journal_of(s)._lock.is_held, "it has stopped")  # type: ignore[misc, union-attr]
            shutil.rmtree(self.folder / "journal")

    async def test_the_loop_is_looked_at_while_a_long_journal_is_played_back(self) -> None:
        """However few records it has: one may hold a hundred barks."""
        journal = Journal(self.folder / "journal" / "old")
        self.assertEqual(list(journal.recover()), [])
        journal.begin(dict)
        journal.append([messages.encode(Settled("bizlogic", 1))] * 40)
        journal.close()
        turns, seen = 0, set[int]()

        def replay(self: Inbox, segment: int, record: Record) -> None:
            time.sleep(0.01)  # what a large record takes
            seen.add(turns)

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        self.patch(Inbox, "_replay", replay)
        turning = asyncio.create_task(turn())
        await self.serve(Inbox, "--name", "old")
        turning.cancel()
        self.assertGreater(len(seen), 3)


class LogTest(unittest.TestCase):
    def test_nobody_can_forge_a_line_of_the_log(self) -> None:
        """What a peer said is quoted there; a terminal must not obey it."""
        output = io.StringIO()
        root = logging.getLogger()
        before, root.handlers = root.handlers, []
        try:
            with contextlib.redirect_stderr(output):
                logs.setup_logging(verbose=False)
                logging.getLogger("barker.links.link").warning(
                    "it said: %s", "x\n12:00 INFO \x1b[2J\x9b"
                )
                logs.flush()
        finally:
            root.handlers = before
            root.setLevel(logging.WARNING)
            logging.getLogger("asyncio").setLevel(logging.NOTSET)
        self.assertRegex(output.getvalue(), r"\A\d\d:\d\d:\d\d WARNING it said: x\\n12[^\n]*\n\Z")
        self.assertNotIn("\x1b", output.getvalue())
        self.assertNotIn("\x9b", output.getvalue())


def tests_of(module: str) -> set[str]:
    """Names of all tests in the modules of that name, whichever folders they are in."""
    folders = {path.parent.name for path in (ROOT / "tests").rglob(f"{module}.py")}
    modules = [importlib.import_module(f"tests.{folder}.{module}") for folder in folders]
    return {
        name
        for found in modules
        for case in vars(found).values()
        if isinstance(case, type) and issubclass(case, unittest.TestCase)
        for name in dir(case)
        if name.startswith("test_") and case.__module__ == found.__name__
    }


class TableTest(unittest.TestCase):
    def test_every_attack_names_a_test_that_exists(self) -> None:
        (table,) = tables(sections(DOCS / "attacks.rst")["Attacks"])
        rows = [row for row in table[1:] if not row[0].startswith("**")]
        self.assertGreater(len(rows), 40)
        for attack, outcome, named in rows:
            with self.subTest(attack):
                self.assertTrue(outcome)
                found = re.fullmatch(r"``(test_\w+): (\w+)``", named)
                assert found, named
                module, words = found.groups()
                self.assertEqual(len([t for t in tests_of(module) if words in t]), 1, named)
