"""Headless Firefox, spoken to over WebDriver BiDi: JSON over a WebSocket, served by Firefox.

The WebSocket is our own (`wsclient` over `barker.websocket.frames`), so there is no driver between.
A command has an `id`, and so has its answer; what comes without one is an event.
"""

import base64
import contextlib
import itertools
import json
import pathlib
import re
import tempfile
from typing import Any

from barker.websocket.frames import Opcode
from tests.tools.browser import DEADLINE_S, Browser, BrowserError, Program, find_programs
from tests.tools.wsclient import Client, frame

# A browser of our own that talks to nobody but us. (Firefox itself sets some fifty more like these
# when it is remote-controlled.)
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage": "about:blank",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "extensions.update.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "messaging-system.rsexperimentloader.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.proxy.type": 0,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "",
}
# Values of this preference: what a page is told that its reader prefers.
SCHEME = "layout.css.prefers-color-scheme.content-override"
DARK, LIGHT = 0, 1


class Firefox(Browser):
    """Firefox 140 or newer: what BiDi needs for these tests has been there since."""

    def __init__(self) -> None:
        (browser,) = find_programs(("firefox-esr", "firefox"))
        self._folder = tempfile.TemporaryDirectory(
            prefix="barker-firefox-", ignore_cleanup_errors=True
        )
        profile = pathlib.Path(self._folder.name, "profile")
        profile.mkdir()
        lines = [f"user_pref({json.dumps(k)}, {json.dumps(v)});" for k, v in PREFERENCES.items()]
        (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
        self._ids = itertools.count(1)
        self._errors: list[str] = []
        self._client: Client | None = None
        argv = [browser, "--headless", "--no-remote", "--profile", str(profile)]
        argv += ["--remote-debugging-port=0", "--remote-allow-system-access"]
        self._process = Program(argv, self._folder.name, MOZ_CRASHREPORTER_DISABLE="1")
        try:
            port = self._process.port(r"WebDriver BiDi listening on ws://127\.0\.0\.1:(\d+)")
            self._client = Client(port, path="/session")
            self._ask("session.new", capabilities={})
            self._ask("session.subscribe", events=["log.entryAdded"])
            self._tab = self._ask("browsingContext.getTree")["contexts"][0]["context"]
            window = self._ask("browsingContext.getTree", **{"moz:scope": "chrome"})
            self._chrome = window["contexts"][0]["context"]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._client:
            with contextlib.suppress(OSError, BrowserError):
                self._ask("browser.close")
            self._client.close()
            self._client = None
        self._process.close()
        self._folder.cleanup()

    def _ask(self, method: str, **params: Any) -> Any:
        """One command. Raises BrowserError with the browser's own words."""
        assert self._client
        number = next(self._ids)
        command = {"id": number, "method": method, "params": params}
        self._client.send(frame(Opcode.TEXT, json.dumps(command).encode()))
        while True:
            opcode, payload = self._client.receive()
            if opcode != Opcode.TEXT:
                raise BrowserError(f"{method}: Firefox ended the session: {payload!r}")
            message = json.loads(payload)
            if message.get("id") == number:
                if message["type"] == "error":
                    raise BrowserError(f"{message['error']}: {message['message']}")
                return message["result"]
            self._happened(message)

    def _happened(self, event: dict[str, Any]) -> None:
        if event.get("method") != "log.entryAdded":
            return
        entry = event["params"]
        if entry["level"] == "error":
            where = (entry.get("stackTrace") or {}).get("callFrames") or [{}]
            self._errors.append(f"{where[0].get('url', '')} {entry['text']}")

    def open(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self._tab, url=url, wait="complete")
        # From the address bar, where it is in a new window.
        self._execute(self._chrome, "gBrowser.selectedBrowser.focus()", ())
        self.wait_until("document.hasFocus()", "the page has the focus")

    def back(self) -> None:
        self._ask("browsingContext.traverseHistory", context=self._tab, delta=-1)

    def execute(self, script: str, *args: Any) -> Any:
        return self._execute(self._tab, script, args)

    def _execute(self, context: str, script: str, args: Any) -> Any:
        # As JSON there and back: BiDi's own way to write values wraps each of them in its type.
        answer = self._ask(
            "script.callFunction",
            target={"context": context},
            awaitPromise=True,
            functionDeclaration=f"""async (args) => {{
                const value = await (function () {{ {script} }}).apply(null, JSON.parse(args));
                return JSON.stringify(value) ?? "null";
            }}""",
            arguments=[{"type": "string", "value": json.dumps(args)}],
        )
        if answer["type"] == "exception":
            raise BrowserError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def console_errors(self) -> list[str]:
        # Events and answers come in order: after this one, all that was said before has come.
        self._ask("session.status")
        lines, self._errors = self._errors, []
        return [line for line in lines if not re.search("connection to.* ws://", line)]

    def screenshot(self, path: pathlib.Path | str) -> None:
        answer = self._ask("browsingContext.captureScreenshot", context=self._tab)
        pathlib.Path(path).write_bytes(base64.b64decode(answer["data"]))

    def act(self, source: dict[str, Any]) -> None:
        self._ask("input.performActions", context=self._tab, actions=[source])

    def screen(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        self._ask(
            "browsingContext.setViewport",
            context=self._tab,
            viewport={"width": width, "height": height},
            devicePixelRatio=scale,
        )
        setting = "Services.prefs.setIntPref(...arguments)"
        self._execute(self._chrome, setting, (SCHEME, DARK if dark else LIGHT))
        self.wait_until(
            f"matchMedia('(prefers-color-scheme: dark)').matches === {json.dumps(dark)}",
            "the page has another scheme",
            DEADLINE_S,
        )
