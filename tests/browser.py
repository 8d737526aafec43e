"""A real browser for tests: headless Chromium, spoken to over WebDriver (W3C) with `urllib`.

    with Browser() as browser:
        browser.open("file:///tmp/page.html")
        browser.type("#text", "hello" + ENTER)
        browser.wait_until("document.querySelector('.bark')", "a bark")

or, for a picture of a page (the README's are made like this):

    python -m tests.browser webui/index.html page.png --until 'stream.list.firstChild'

``chromedriver`` is the server of that protocol: one HTTP request for each thing to do. Left out:
everything these tests don't need, which is most of it.

Raises `unittest.SkipTest` where there is no Chromium, so that a machine without it still runs the
suite; with BARKER_REQUIRE_BROWSER=1 (as CI has it) that is a failure instead.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from typing import Any

# One variable scales every deadline, for machines that are slow or busy.
SCALE = float(os.environ.get("BARKER_TEST_SCALE", "1"))
DEADLINE_S = 15.0 * SCALE
START_DEADLINE_S = 30.0 * SCALE
# How often a condition is looked at. It costs the page about a tenth of a millisecond.
LOOK_EVERY_S = 0.02

# Keys that have no character (WebDriver, section 17.4.2).
TAB, ENTER, SHIFT, ESCAPE = "\ue004", "\ue007", "\ue008", "\ue00c"

# A browser of our own that talks to nobody: no sandbox because tests may run as root in a
# container, no background networking because what is not loopback is none of its business.
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --no-proxy-server
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions
    --disable-dev-shm-usage --hide-scrollbars --window-size=1000,800
""".split()

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key that WebDriver chose for a reference


class WebDriverError(AssertionError):
    """The browser says that it could not do something."""


def find_browser() -> tuple[str, str]:
    """Paths of the browser and its driver. Raises SkipTest, or AssertionError for CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    if os.environ.get("BARKER_REQUIRE_BROWSER") == "1":
        raise AssertionError("BARKER_REQUIRE_BROWSER=1, but there is no chromium with chromedriver")
    raise unittest.SkipTest("no chromium with chromedriver on this machine")


class Browser:
    """One browser with one tab and a profile of its own; nothing of it is left after `close`."""

    def __init__(self, *flags: str) -> None:
        browser, driver = find_browser()
        # Never through a proxy, whatever the environment says: both ends are on this machine.
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._folder = tempfile.TemporaryDirectory(
            prefix="barker-browser-", ignore_cleanup_errors=True
        )
        self._base = ""
        # A session of its own, so that `close` can end the driver with all of its children.
        self._driver = subprocess.Popen(
            [driver, "--port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "HOME": self._folder.name},
        )
        try:
            self._base = f"http://127.0.0.1:{self._port()}/session"
            self._base += "/" + self._new_session(browser, flags)["sessionId"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _port(self) -> int:
        """The port that the driver took; a thread reads on, so that its pipe never fills up."""
        assert self._driver.stdout
        watchdog = threading.Timer(START_DEADLINE_S, self._driver.kill)
        watchdog.start()
        try:
            for line in self._driver.stdout:
                found = re.search(r"started successfully on port (\d+)", line)
                if found:
                    threading.Thread(target=self._driver.stdout.read, daemon=True).start()
                    return int(found[1])
        finally:
            watchdog.cancel()
        raise WebDriverError(f"chromedriver did not start (status {self._driver.wait()})")

    def _new_session(self, browser: str, flags: tuple[str, ...]) -> Any:
        profile = pathlib.Path(self._folder.name, "profile")
        profile.mkdir()
        options = {"binary": browser, "args": [*FLAGS, f"--user-data-dir={profile}", *flags]}
        wish = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        return self._ask("POST", "", {"capabilities": {"alwaysMatch": wish}}, START_DEADLINE_S)

    def close(self) -> None:
        """End the browser and its driver, and remove what they have written. Harmless twice."""
        with contextlib.suppress(OSError, WebDriverError):
            if self._base.count("/") > 3:
                self._ask("DELETE", "", deadline_s=5.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._driver.pid, signal.SIGKILL)
        self._driver.wait()
        self._folder.cleanup()

    def _ask(
        self, method: str, path: str, body: Any = None, deadline_s: float = DEADLINE_S + 5
    ) -> Any:
        """One command. Raises WebDriverError with the browser's own words."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with self._http.open(request, timeout=deadline_s) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as fault:
            with fault:
                value = json.load(fault)["value"]
            raise WebDriverError(f"{value['error']}: {value['message'].splitlines()[0]}") from None

    # --- going somewhere ---

    def open(self, url: str) -> None:
        """Load a page and wait until its scripts have run."""
        self._ask("POST", "/url", {"url": url})

    def back(self) -> None:
        self._ask("POST", "/back", {})

    @property
    def url(self) -> str:
        return str(self._ask("GET", "/url"))

    # --- looking ---

    def execute(self, script: str, *args: Any) -> Any:
        """Run the body of a JavaScript function in the page; what it returns."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": args})

    def find(self, selector: str) -> str:
        """A reference to the first element that a CSS selector matches, for the methods below."""
        wish = {"using": "css selector", "value": selector}
        return str(self._ask("POST", "/element", wish)[_ELEMENT])

    def text(self, selector: str) -> str:
        """What a person can read in the first match."""
        return str(self._ask("GET", f"/element/{self.find(selector)}/text"))

    def texts(self, selector: str) -> list[str]:
        """The text of every match, visible or not."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        return list(self.execute(script, selector))

    def wait_until(self, condition: str, what: str, deadline_s: float = DEADLINE_S) -> Any:
        """Wait until a JavaScript expression is true; its value. AssertionError at the deadline."""
        end = time.monotonic() + deadline_s
        while True:
            value = self.execute(f"return ({condition})")
            if value:
                return value
            if time.monotonic() > end:
                body = self.execute("return document.body.innerText")
                raise AssertionError(
                    f"not within {deadline_s:g} s: {what}\n--- page:\n{body[:1500]}"
                )
            time.sleep(LOOK_EVERY_S)

    def console_errors(self) -> list[str]:
        """What the console has called an error since the last call, but for failed connections.

        Those are the browser's own lines, no script can keep them away, and tests kill services.
        """
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        lines = [e["message"] for e in entries if e["level"] == "SEVERE"]
        return [line for line in lines if "WebSocket connection to" not in line]

    def screenshot(self, path: pathlib.Path | str) -> None:
        """What the window shows, as a PNG file."""
        pathlib.Path(path).write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    # --- doing ---

    def click(self, selector: str) -> None:
        self._ask("POST", f"/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element, as a person does: focus, then key after key."""
        self._ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Keys to whatever has the focus; several in one call are pressed as one chord."""
        downs = [{"type": "keyDown", "value": key} for key in keys]
        ups = [{"type": "keyUp", "value": key} for key in reversed(keys)]
        source = {"type": "key", "id": "keyboard", "actions": downs + ups}
        self._ask("POST", "/actions", {"actions": [source]})

    # --- pretending ---

    def devtools(self, command: str, **params: Any) -> Any:
        """A command of the DevTools protocol, for what WebDriver has no word for."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def screen(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        """Be a window of this size; 360 pixels are fewer than a real one can have."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])


def main(argv: list[str] | None = None) -> int:
    """Save a picture of a page."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser", description=main.__doc__)
    parser.add_argument("page", help="a file or a URL")
    parser.add_argument("picture", help="the PNG file to write")
    parser.add_argument("--size", default="1280x800", help="of the window (default: %(default)s)")
    parser.add_argument("--dark", action="store_true", help="as who prefers dark pages sees it")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels for each CSS pixel")
    parser.add_argument("--until", default="true", help="a JavaScript condition to wait for first")
    args = parser.parse_args(argv)
    width, height = map(int, args.size.split("x"))
    url = args.page if ":" in args.page else pathlib.Path(args.page).resolve().as_uri()
    with Browser() as browser:
        browser.screen(width, height, dark=args.dark, scale=args.scale)
        browser.open(url)
        browser.wait_until(args.until, args.until, 4 * DEADLINE_S)
        browser.screenshot(args.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
