"""The page in a browser, opened from disk in a folder with a space, and a system that it talks to.

One system and one browser serve all tests of a module, since starting them is what costs. Every
test opens the page anew, forgets what the page has kept, and says barks that no other test says.
"""

import contextlib
import itertools
import json
import pathlib
import shutil
import unittest
from typing import Any, ClassVar
from urllib.parse import urlencode

from barker.disk import files, keys
from tests.tools.browser import Browser
from tests.tools.fleet import Fleet, Service, free_port

WEBUI = files.ROOT / "webui"
MAX_SHOWN = 200  # of stream.js

_numbers = itertools.count(1)


class PageTestCase(unittest.TestCase):
    """What all of the tests share."""

    fleet: ClassVar[Fleet]
    browser: ClassVar[Browser]
    inbox: ClassVar[Service]
    outbox: ClassVar[Service]
    directory: ClassVar[Service]
    webui: ClassVar[pathlib.Path]

    @classmethod
    def start_for_module(cls, kind: type[Browser]) -> None:
        """What `setUpModule` calls."""
        stack = contextlib.ExitStack()
        unittest.addModuleCleanup(stack.close)
        cls.start(stack, kind)

    @classmethod
    def start(cls, stack: contextlib.ExitStack, kind: type[Browser]) -> None:
        cls.browser = stack.enter_context(kind())
        cls.fleet = fleet = stack.enter_context(Fleet())
        cls.directory = fleet.directory()
        cls.inbox = fleet.inbox("--name", "inbox-a", port=free_port())
        cls.outbox = fleet.outbox("--name", "outbox-a", port=free_port())
        fleet.bizlogic()
        cls.webui = fleet.state.parent / "web ui"
        shutil.copytree(WEBUI, cls.webui, ignore=shutil.ignore_patterns("barker_host.js"))
        cls.write_settings()

    @classmethod
    def write_settings(cls, **other: Any) -> None:
        settings = {
            "host": "127.0.0.1",
            "port": cls.fleet.port,
            "key": keys.clients_key(cls.fleet.state).decode(),
            "users": cls.fleet.world.names,
            **other,
        }
        text = f"window.BARKER = {json.dumps(settings)};\n"
        (cls.webui / "barker_host.js").write_text(text, encoding="utf-8")

    def setUp(self) -> None:
        self.browser.open("about:blank")
        self.browser.point(1, 1)  # while the mouse rests on the list, the list rests too
        self.browser.console_errors()

    def tearDown(self) -> None:
        self.assertEqual(self.browser.console_errors(), [])
        # Drafts and unsent barks live as long as the tab; no test inherits another's.
        if self.browser.url.startswith("file:"):
            self.browser.execute("sessionStorage.clear(); localStorage.clear()")

    # --- doing ---

    def open(self, **query: str) -> None:
        """Load the page; `query` is the part of its address behind the question mark."""
        self.assertIn(" ", str(self.webui))
        self.browser.open(f"{(self.webui / 'index.html').as_uri()}?{urlencode(query)}")

    def open_connected(self, **query: str) -> None:
        self.open(**query)
        self.assertState("connected")
        self.browser.wait_until(
            "Barker.client.reader.caughtUp",
            "its past has been shown",
        )

    def say_elsewhere(self, user: str, content: str) -> None:
        """Bark from the command line."""
        self.assertEqual(self.fleet.run("bark", user, content).ended(), 0)

    @staticmethod
    def new_text() -> str:
        return f"Never said before: {next(_numbers)}."

    # --- looking ---

    def shown(self, user: str = "") -> list[str]:
        """The texts in the stream, newest first; of one author or of all."""
        script = """return [...document.querySelectorAll("#stream .bark")]
            .filter((b) => !arguments[0] || b.querySelector(".author").textContent === arguments[0])
            .map((b) => b.querySelector(".text").textContent)"""
        return list(self.browser.execute(script, user))

    def assertState(self, wanted: str) -> None:
        condition = f"document.documentElement.dataset.state === '{wanted}'"
        self.browser.wait_until(condition, f"the page is {wanted}")

    def assertShown(self, text: str, *, within: str = "#stream .bark") -> None:
        """Wait until a bark with just this text is in a list."""
        condition = f"""[...document.querySelectorAll({json.dumps(within + " .text")})]
            .some((e) => e.textContent === {json.dumps(text)})"""
        self.browser.wait_until(condition, f"{text!r} in {within}")

    def assertShownOnce(self, text: str) -> None:
        self.assertShown(text)
        self.assertEqual(self.shown().count(text), 1)

    def assertService(self, role: str, wanted: str) -> None:
        condition = f"Barker.client.services.find((s) => s.role === '{role}').state === '{wanted}'"
        self.browser.wait_until(condition, f"the {role} is {wanted}")
