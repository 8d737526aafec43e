"""Headless Chromium, spoken to over WebDriver (W3C) with `urllib`.

``chromedriver`` is the server of that protocol: one HTTP request for each thing to do.
"""

import base64
import contextlib
import json
import pathlib
import tempfile
import urllib.error
import urllib.request
from typing import Any

from tests.tools.browser import (
    DEADLINE_S,
    START_DEADLINE_S,
    Browser,
    BrowserError,
    Program,
    find_programs,
)

# A browser of our own that talks to nobody: no sandbox because tests may run as root in a
# container, no background networking because what is not loopback is none of its business.
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --no-proxy-server
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions
    --disable-dev-shm-usage --hide-scrollbars --window-size=1000,800
""".split()


class Chromium(Browser):
    """Takes flags of the browser's command line, besides its own."""

    def __init__(self, *flags: str) -> None:
        browser, driver = find_programs(
            ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)
        )
        # Never through a proxy, whatever the environment says: both ends are on this machine.
        self._http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._folder = tempfile.TemporaryDirectory(
            prefix="barker-chromium-", ignore_cleanup_errors=True
        )
        self._base = ""
        self._driver = Program([driver, "--port=0"], self._folder.name)
        try:
            port = self._driver.port(r"started successfully on port (\d+)")
            self._base = f"http://127.0.0.1:{port}/session"
            self._base += "/" + self._new_session(browser, flags)["sessionId"]
        except BaseException:
            self.close()
            raise

    def _new_session(self, browser: str, flags: tuple[str, ...]) -> Any:
        profile = pathlib.Path(self._folder.name, "profile")
        profile.mkdir()
        options = {"binary": browser, "args": [*FLAGS, f"--user-data-dir={profile}", *flags]}
        wish = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        return self._ask("POST", "", {"capabilities": {"alwaysMatch": wish}}, START_DEADLINE_S)

    def close(self) -> None:
        with contextlib.suppress(OSError, BrowserError):
            if self._base.count("/") > 3:
                self._ask("DELETE", "", deadline_s=5.0)
        self._driver.close()
        self._folder.cleanup()

    def _ask(
        self, method: str, path: str, body: Any = None, deadline_s: float = DEADLINE_S + 5
    ) -> Any:
        """One command. Raises BrowserError with the browser's own words."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with self._http.open(request, timeout=deadline_s) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as fault:
            with fault:
                value = json.load(fault)["value"]
            raise BrowserError(f"{value['error']}: {value['message'].splitlines()[0]}") from None

    def devtools(self, command: str, **params: Any) -> Any:
        """A command of the DevTools protocol, for what WebDriver has no word for."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def names(self) -> set[str]:
        """Of every global: the browser's own, the driver's, and those that scripts have made."""
        self.execute("return []")  # the driver leaves a global behind when it returns a list
        own = self.execute("return Object.getOwnPropertyNames(window)")
        return {*own, *self.devtools("Runtime.globalLexicalScopeNames")["names"]}

    def open(self, url: str) -> None:
        self._ask("POST", "/url", {"url": url})

    def back(self) -> None:
        self._ask("POST", "/back", {})

    def execute(self, script: str, *args: Any) -> Any:
        return self._ask("POST", "/execute/sync", {"script": script, "args": args})

    def console_errors(self) -> list[str]:
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        lines = [e["message"] for e in entries if e["level"] == "SEVERE"]
        return [line for line in lines if "WebSocket connection to" not in line]

    def screenshot(self, path: pathlib.Path | str) -> None:
        pathlib.Path(path).write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def act(self, source: dict[str, Any]) -> None:
        self._ask("POST", "/actions", {"actions": [source]})

    def screen(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])
