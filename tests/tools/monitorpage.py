"""The monitor's page for tests: a copy of it, and frames that the test makes up."""

import functools
import pathlib
import shutil
import tempfile
import unittest
from typing import ClassVar

from barker.disk.files import ROOT
from tests.tools.browser import Browser
from tests.tools.chromium import Chromium

FEED = """
  // Frames of a second each, as the monitor would send them; `at` counts from a fixed moment.
  window.T0 = 1_700_000_000_000;
  window.feedFrame = (second, services, events = [], routes = {}, traces = []) => {
    const depth = services.reduce((sum, row) => sum + (row.backlog ?? 0), 0);
    const at = T0 + 1000 * second;
    Monitor.feed.receive({ op: "message", to: ["monitor"],
      bodies: [{ at, services, routes, left_out: 0, events, traces, depth }] });
  };
  window.service = (name, figures = {}) => ({
    name, up: true, gone: null, kind: name.split("-")[0], host: "127.0.0.1", port: 1,
    pid: 1, since: 1, backlog: 0, peak: 0, oldest_ms: null, streams: 1, unacked: 0, links: 3,
    rss_bytes: 2e7, in: 1, out: 1, cpu: 0.01, in_total: 1, out_total: 1, deepest: [], ...figures,
  });
  // Draw as if `second` were now; the newest frame has just come.
  window.drawAt = (second) => {
    Monitor.view.news = false;
    for (const chart of Monitor.charts) chart.stale = true;
    Monitor.clock.offset = T0 + 1000 * second;
    Monitor.draw(1e-9);
  };
"""


@functools.cache
def browser_of_this_module(kind: type[Browser]) -> Browser:
    browser = kind()
    unittest.addModuleCleanup(browser_of_this_module.cache_clear)
    unittest.addModuleCleanup(browser.close)
    return browser


class PageCase(unittest.TestCase):
    """A copy of the pages for each test, without or with settings."""

    kind: ClassVar[type[Browser]] = Chromium

    def setUp(self) -> None:
        self.browser = browser_of_this_module(self.kind)
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="a page ")))
        for name in ("monitoring", "webui"):
            shutil.copytree(
                ROOT / name,
                folder / name,
                ignore=shutil.ignore_patterns("*.py", "__pycache__", "*_host.js*"),
            )
        self.page = folder / "monitoring" / "index.html"
        self.browser.screen(1280, 1000)

    def tearDown(self) -> None:
        errors = self.browser.console_errors()
        missing = [e for e in errors if "monitor_host.js" in e]
        self.assertEqual([e for e in errors if e not in missing], [])
        self.browser.open("about:blank")

    def open(self) -> None:
        self.browser.open(self.page.as_uri())

    def open_simulated(self) -> None:
        """Without a monitor: frames come from the test."""
        self.open()
        self.browser.execute(FEED)

    def two_drawings(self) -> None:
        """Wait until the page has drawn all that it knows."""
        self.browser.execute(
            "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def cell(self, name: str, field: str) -> str:
        selector = f'#table [data-service="{name}"] [data-field="{field}"]'
        return self.browser.texts(selector)[0]

    def sum(self, field: str) -> int:
        """The sum of a column of the table over all outboxes."""
        script = """return [...document.querySelectorAll('#table [data-service^="outbox"]')].map(
            (row) => row.querySelector(`[data-field="${arguments[0]}"]`).textContent)"""
        texts = [t.replace(",", "") for t in self.browser.execute(script, field)]
        return sum(int(t) for t in texts if t.isdecimal())
