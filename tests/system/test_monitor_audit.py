"""The monitoring page before axe-core, in every state, at all widths and in all schemes.

    BARKER_AXE=node_modules/axe-core/axe.min.js python -m unittest tests.system.test_monitor_audit

axe-core is a script of 500 KB that looks through a page for what keeps people from using it. It is
not part of this project, so this runs where the variable names a copy of it, as it does in CI.
"""

import os
import pathlib
import unittest
from typing import Any, ClassVar

from tests.tools.chromium import Chromium
from tests.tools.monitorpage import PageCase

AXE = os.environ.get("BARKER_AXE")
WIDTHS = (320, 360, 640, 768, 1280, 1600)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SCHEMES = {
    "light": {"prefers-color-scheme": "light"},
    "dark": {"prefers-color-scheme": "dark"},
    "forced": {"forced-colors": "active"},
    "still": {"prefers-reduced-motion": "reduce"},
}
# Two minutes of a system in which a service stopped, another died and a third one froze.
SYSTEM = """
  window.drawNow = () => Monitor.draw(performance.now());
  window.linkUp = () => {
    Monitor.feed.dialer = { up: true, send() {}, close() {}, hurry() {} };
    Monitor.feed.show();
  };
  window.linkDown = (code) => {
    window.BARKER = { secret: "x" };
    Monitor.feed.dialer = { up: false, offline: true, fault: { code }, send() {}, close() {},
      hurry() {},
      place: { host: "127.0.0.1", port: 5700 } };
    Monitor.feed.show();
  };
  window.twoMinutes = () => {
    const names = ["outbox-1", "outbox-2", "bizlogic-1", "bizlogic-2", "inbox-1", "inbox-2"];
    const gone = {
      "inbox-2": [40, "stopped"], "bizlogic-1": [60, "silent"], "outbox-2": [80, "died"] };
    for (let second = 0; second < 120; second += 1) {
      const events = [];
      const rows = names.map((name) => {
        const [at, how] = gone[name] ?? [Infinity];
        const event = { at: T0 + 1000 * at, what: "gone", how, name };
        if (second === at) events.push(event);
        const letters = { dead_letters: 1, dead_letter: "why" };
        return service(name, second < at ? { oldest_ms: 3000, backlog: 5, ...letters }
          : { up: false, gone: event.at, how, backlog: undefined });
      });
      const targets = names.filter((name) => name.startsWith("inbox"));
      const first = names[second < 60 ? 2 : 3];
      feedFrame(second, rows, events, {
        bizlogic: { policy: "ordered", targets: names.slice(2, 4), first },
        inbox: { policy: "consistent", targets, shares: { "inbox-1": 0.6, "inbox-2": 0.4 } },
      });
    }
  };
"""
STATES = {
    "empty": "linkUp()",
    "live": "linkUp(); twoMinutes()",
    "paused": "linkUp(); twoMinutes(); drawNow(); Monitor.setPaused(true)",
    "pointed at": "linkUp(); twoMinutes(); Monitor.view.cursor = 70",
    "a line hidden": "twoMinutes(); drawNow(); document.querySelector('.legend button').click()",
    "offline": "twoMinutes(); linkDown('closed')",
    "wrong secret": "linkDown('bad-proof')",
}
LOOK = """
  const runOnly = { type: "tag", values: arguments[0] };
  return axe.run(document, { runOnly, preload: false, resultTypes: ["violations"] })
    .then(({ violations }) => violations.flatMap((fault) => fault.nodes.map(
      (node) => `${fault.id}: ${node.target.join(" ")}: ${node.failureSummary}`)));
"""


@unittest.skipUnless(AXE, "BARKER_AXE: names a copy of axe-core")
class AuditTest(PageCase):
    kind: ClassVar[type[Chromium]] = Chromium

    def test_axe_finds_nothing_in_any_state_at_any_width_in_any_scheme(self) -> None:
        browser: Any = self.browser
        script = pathlib.Path(AXE or "").read_text(encoding="utf-8")
        for state, make in STATES.items():
            self.open_simulated()
            browser.execute(SYSTEM + make)
            browser.execute(f"{script}; window.axe = axe")
            for width in WIDTHS:
                for scheme, features in SCHEMES.items():
                    browser.screen(width, 900)
                    told = [{"name": name, "value": value} for name, value in features.items()]
                    browser.devtools("Emulation.setEmulatedMedia", features=told)
                    with self.subTest(state, width=width, scheme=scheme):
                        self.assertEqual(browser.execute(LOOK, RULES), [])
