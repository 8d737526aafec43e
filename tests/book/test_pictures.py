"""The drawings in docs/ are those that the code makes; the table of a link's life is its life."""

import asyncio
import importlib.util
import pathlib
import re
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from typing import Any
from unittest import mock

from barker.disk import files
from barker.links.connecting import connect
from barker.links.connection import Connection
from barker.links.greeting import ACCEPTOR, Greeting, Identity
from barker.links.life import LIFE, Event, Life, State
from barker.links.link import Conversation, Link
from barker.links.turns import Turns
from barker.wire import protocol
from barker.wire.protocol import BarkerError, ProtocolError
from tests.tools.fleet import DEADLINE_S, free_port, until

DOCS = files.ROOT / "docs"


def load(path: pathlib.Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


class PictureTest(unittest.TestCase):
    def test_every_drawing_is_what_the_code_draws_today(self) -> None:
        drawn = {name: draw() for name, draw in load(DOCS / "pictures.py").PICTURES.items()}
        self.assertEqual(sorted(drawn), sorted(path.name for path in DOCS.glob("*.svg")))
        for name, text in drawn.items():
            have = (DOCS / name).read_text(encoding="utf-8")
            self.assertEqual(have, text, f"{name}: run python docs/pictures.py")
            ElementTree.fromstring(text)

    def test_every_drawing_is_in_the_book_with_a_text_for_who_does_not_see_it(self) -> None:
        book = "\n".join(p.read_text(encoding="utf-8") for p in DOCS.glob("*.rst"))
        for path in [*DOCS.glob("*.svg"), *DOCS.glob("*.png")]:
            self.assertTrue(re.search(rf"\.\. image:: {path.name}\n   :alt: \w+", book), path.name)


class LifeTest(unittest.IsolatedAsyncioTestCase):
    """The table is what connections do: each of its steps is taken, and no other."""

    async def asyncSetUp(self) -> None:
        # For whom a closing connection waits, no more is said.
        self.enterContext(mock.patch("barker.links.connection.LINGER_S", 0.05))
        self.taken: set[tuple[State, Event]] = set()
        self.accepted: asyncio.Queue[Connection] = asyncio.Queue()
        self.us, self.they = Identity("us", b"0" * 64), Identity("they", b"0" * 64)
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.addCleanup(self.server.close)
        step = Life.step

        def noted(life: Life, event: Event) -> bool:
            before = life.state
            if not step(life, event):
                self.assertIs(life.state, before)
                return False
            self.assertIs(life.state, LIFE[before, event].then)
            self.taken.add((before, event))
            return True

        self.enterContext(mock.patch.object(Life, "step", noted))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.put_nowait(Connection(reader, writer, Life(State.GREETING)))

    async def meet(self, secret: bytes = b"0" * 64) -> tuple[Connection, Connection]:
        """An opener's end and an acceptor's; raises what the opener is told."""
        us = Identity("us", secret)
        back = asyncio.create_task(self._greet_back())
        ours = await connect("127.0.0.1", self.port, us, expect=None, timeout_s=DEADLINE_S)
        theirs = await back
        self.addCleanup(ours.abort)
        self.addCleanup(theirs.abort)
        return ours, theirs

    async def _greet_back(self) -> Connection:
        theirs = await self.accepted.get()
        try:
            await theirs.greet(Greeting(ACCEPTOR, self.they, "b" * 32))
        except ProtocolError as fault:
            theirs.close(fault)
            await theirs.let_go()
        return theirs

    async def test_the_table_is_all_that_happens_in_the_life_of_a_link(self) -> None:
        with self.assertRaises(OSError):
            await connect("127.0.0.1", free_port(), self.us, expect=None, timeout_s=DEADLINE_S)
        self.assertEqual(self.taken, {(State.CONNECTING, Event.GONE)})

        with self.assertRaisesRegex(BarkerError, protocol.BAD_PROOF):
            await self.meet(b"1" * 64)
        await until(lambda: (State.CLOSING, Event.GONE) in self.taken, "the acceptor has closed")
        self.assertIn((State.GREETING, Event.CLOSE), self.taken)
        self.assertIn((State.GREETING, Event.GONE), self.taken)

        ours, theirs = await self.meet()  # nonsense
        talk = asyncio.create_task(Link(ours, Conversation(), lambda now: None, Turns()).run())
        theirs.write([b"nonsense"])
        with self.assertLogs("barker.links.link", "WARNING"):
            await talk
        self.assertIs(ours.life.state, State.CLOSED)
        self.assertEqual(self.taken, set(LIFE) - {(State.UP, Event.GONE)})

        ours, theirs = await self.meet()  # gone
        talk = asyncio.create_task(Link(ours, Conversation(), lambda now: None, Turns()).run())
        theirs.abort()
        await talk
        self.assertIs(ours.life.state, State.CLOSED)
        self.assertEqual(self.taken, set(LIFE))

    async def test_without_a_row_nothing_is_done(self) -> None:
        """It is the table that lets a connection close: its code has no states of its own."""
        ours, theirs = await self.meet()
        with mock.patch.dict(LIFE):
            del LIFE[State.UP, Event.CLOSE]
            ours.close(BarkerError("last", "words"))
        ours.write([b"more"])
        self.assertEqual(await theirs._reader.read(100), b"more\n")
