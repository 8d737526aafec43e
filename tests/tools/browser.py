"""A real browser for tests: what a test can do with one, whichever it is.

    with Chromium() as browser:
        browser.open("file:///tmp/page.html")
        browser.type("#text", "hello" + ENTER)
        browser.wait_until("document.querySelector('.bark')", "a bark")

`chromium` and `firefox`, beside this file, each speak to their browser in its own protocol, over
sockets and with the standard library alone. Left out: everything these tests don't need, which is
most of what a browser can be told.
"""

import abc
import contextlib
import os
import pathlib
import shutil
import signal
import time
import unittest
from collections.abc import Iterable, Sequence
from typing import Any, Self

from tests.tools.children import SCALE, Process

DEADLINE_S = 15.0 * SCALE
START_DEADLINE_S = 30.0 * SCALE
# How often a condition is looked at. It costs the page about a tenth of a millisecond.
LOOK_EVERY_S = 0.02

# Keys that have no character (WebDriver, section 17.4.2).
TAB, ENTER, SHIFT, ESCAPE = "\ue004", "\ue007", "\ue008", "\ue00c"


class BrowserError(AssertionError):
    """The browser says that it could not do something."""


def find_programs(*choices: Sequence[str]) -> list[str]:
    """The path of one program for each choice of names.

    Raises `unittest.SkipTest` where one is missing, so that a machine without it still runs the
    suite; with BARKER_REQUIRE_BROWSER=1 (as CI has it) that is a failure instead.
    """
    found = [next(filter(None, map(shutil.which, names)), None) for names in choices]
    if all(found):
        return [path for path in found if path]
    wanted = " and ".join(names[0] for names in choices)
    if os.environ.get("BARKER_REQUIRE_BROWSER") == "1":
        raise AssertionError(f"BARKER_REQUIRE_BROWSER=1, but there is no {wanted}")
    raise unittest.SkipTest(f"no {wanted} on this machine")


class Program(Process):
    """A browser or its driver, in a session of its own, so that `close` ends all its children."""

    program = ()

    def __init__(self, argv: Sequence[str], home: str, **env: str) -> None:
        env = {**os.environ, "HOME": home, **env}
        super().__init__(argv, pathlib.Path(home), env=env, start_new_session=True)

    def port(self, pattern: str) -> int:
        """Where it listens, from the line in which it says so."""
        return int(self.wait_for(pattern, START_DEADLINE_S)[1])

    def close(self, patience_s: float = 0.0) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        super().close(patience_s)


class Browser(abc.ABC):
    """One browser with one tab and a profile of its own; nothing of it is left after `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abc.abstractmethod
    def close(self) -> None:
        """End the browser, and remove what it has written. Harmless twice."""

    # --- going somewhere ---

    @abc.abstractmethod
    def open(self, url: str) -> None:
        """Load a page and wait until its scripts have run."""

    @abc.abstractmethod
    def back(self) -> None:
        """As the button does; does not wait for what the page makes of it."""

    @property
    def url(self) -> str:
        return str(self.execute("return location.href"))

    # --- looking ---

    @abc.abstractmethod
    def execute(self, script: str, *args: Any) -> Any:
        """Run the body of a JavaScript function in the page; what it returns, waited for."""

    def text(self, selector: str) -> str:
        """What a person can read in the first match."""
        return str(self.execute(f"{_FIND} return element.innerText.trim()", selector))

    def texts(self, selector: str) -> list[str]:
        """The text of every match, visible or not."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return list(self.execute(script, selector))

    def wait_until(self, condition: str, what: str, deadline_s: float = DEADLINE_S) -> Any:
        """Wait until a JavaScript expression is true; its value. AssertionError at the deadline."""
        end = time.monotonic() + deadline_s
        while True:
            # In a list, because what is true in JavaScript need not be so in Python.
            if value := self.execute(f"const v = ({condition}); return v ? [v] : []"):
                return value[0]
            if time.monotonic() > end:
                body = self.execute("return document.body.innerText")
                raise AssertionError(
                    f"not within {deadline_s:g} s: {what}\n--- page:\n{body[:1500]}"
                )
            time.sleep(LOOK_EVERY_S)

    @abc.abstractmethod
    def console_errors(self) -> list[str]:
        """What the console has called an error since the last call, but for failed connections.

        Those are the browser's own lines, no script can keep them away, and tests kill services.
        """

    @abc.abstractmethod
    def screenshot(self, path: pathlib.Path | str) -> None:
        """What the window shows, as a PNG file."""

    # --- doing ---

    @abc.abstractmethod
    def act(self, source: dict[str, Any]) -> None:
        """One source of input and its actions, in the shape of WebDriver, section 17.4."""

    def click(self, selector: str) -> None:
        """Press and release the mouse in the middle of the first match, scrolled into view."""
        x, y = self.execute(f"{_FIND} {_MIDDLE}", selector)
        self.point(x, y, click=True)

    def point(self, x: float, y: float, *, click: bool = False) -> None:
        """Move the mouse to a place in the window."""
        move = {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        actions = [move, *press] if click else [move]
        self.act({"type": "pointer", "id": "mouse", "actions": actions})

    def type(self, selector: str, text: str) -> None:
        """Type behind what is in an element, as a person does: focus, then key after key."""
        self.execute(f"{_FIND} element.focus()", selector)
        self._keys((key, way) for key in text for way in ("keyDown", "keyUp"))

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus; several in one call are pressed as one chord."""
        self._keys([*((k, "keyDown") for k in keys), *((k, "keyUp") for k in reversed(keys))])

    def _keys(self, keys: Iterable[tuple[str, str]]) -> None:
        actions = [{"type": way, "value": key} for key, way in keys]
        self.act({"type": "key", "id": "keyboard", "actions": actions})

    # --- pretending ---

    @abc.abstractmethod
    def screen(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        """Be a window of this size; 360 pixels are fewer than a real one can have."""


_FIND = """
    const element = document.querySelector(arguments[0]);
    if (!element) throw new Error(`there is no ${arguments[0]}`);
"""
_MIDDLE = """
    element.scrollIntoView({block: "nearest", inline: "nearest", behavior: "instant"});
    const {left, top, width, height} = element.getBoundingClientRect();
    const place = [left + width / 2, top + height / 2];
    const there = document.elementFromPoint(...place);
    if (!width || !element.contains(there) && !there?.contains(element)) {
      throw new Error(`${arguments[0]} is under ${there?.outerHTML.slice(0, 80)}`);
    }
    return place;
"""
