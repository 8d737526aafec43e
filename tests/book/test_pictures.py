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
from barker.links import greeting
from barker.links.framing import LineFraming
from barker.links.greeting import Identity
from barker.links.link import LIFE, Conversation, Link
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
    """Whatever the table says happens, and nothing else does."""

    async def asyncSetUp(self) -> None:
        patched = mock.patch(
            "barker.links.link.LINGER_S", 0.05
        )  # for whom it waits, no more is said
        self.enterContext(patched)
        self.seen: set[tuple[str, str]] = set()
        self.accepted: asyncio.Queue[Link] = asyncio.Queue()
        self.us = Identity("us", b"0" * 64)
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        self.addCleanup(self.server.close)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted.put_nowait(Link(reader, writer, LineFraming()))

    async def pair(self) -> tuple[Link, Link]:
        """An opener's link, whose life is watched, and an acceptor's; both are greeting."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        ours, theirs = Link(reader, writer, LineFraming()), await self.accepted.get()
        for link in (ours, theirs):
            self.addCleanup(link.abort)
        self.seen.add(("connecting", ours.state))
        self.watch(ours, ours.state)
        return ours, theirs

    async def pair_up(self) -> tuple[Link, Link]:
        ours, theirs = await self.pair()
        they = Identity("they", self.us.secret)
        await asyncio.gather(
            ours.greet(greeting.as_opener(self.us, "a" * 32)),
            theirs.greet(greeting.as_acceptor(they, "b" * 32)),
        )
        await until(lambda: ("greeting", "up") in self.seen, "it was seen")
        return ours, theirs

    def watch(self, link: Link, before: str) -> None:
        """Note each change of state, looking once in every turn of the loop."""
        if link.state != before:
            self.seen.add((before, link.state))
        if link.state != "closed":
            asyncio.get_running_loop().call_soon(self.watch, link, link.state)

    async def until_closed(self, link: Link) -> None:
        await until(lambda: link.state == "closed", "it is closed", DEADLINE_S)
        await asyncio.sleep(0)  # the watch has seen it, too

    async def test_the_table_is_all_that_happens_in_the_life_of_a_link(self) -> None:
        with self.assertRaises(OSError):  # nobody there: there never is a link
            await asyncio.open_connection("127.0.0.1", free_port())
        self.seen.add(("connecting", "closed"))

        ours, theirs = await self.pair()  # a wrong proof
        wrong = greeting.as_opener(Identity("they", b"1" * 64), "a" * 32)
        greets = asyncio.create_task(theirs.greet(wrong))
        with self.assertRaises(ProtocolError) as caught:
            await ours.greet(greeting.as_acceptor(self.us, "b" * 32))
        ours.close(caught.exception)
        await ours.let_go()
        await self.until_closed(ours)
        with self.assertRaises(BarkerError):
            await greets

        ours, theirs = await self.pair()  # gone while greeting
        ours.abort()
        await self.until_closed(ours)

        ours, theirs = await self.pair_up()  # nonsense
        talk = asyncio.create_task(ours.run(Conversation()))
        theirs.send(b"nonsense\n")
        with self.assertLogs("barker.links.link", "WARNING"):
            await talk
        await self.until_closed(ours)

        ours, theirs = await self.pair_up()  # gone
        talk = asyncio.create_task(ours.run(Conversation()))
        theirs.abort()
        await talk
        await self.until_closed(ours)

        self.assertEqual(self.seen, {(before, after) for (before, _), after in LIFE.items()})
        self.assertEqual(ours.peer and ours.peer.v, protocol.VERSION)
