"""axe-core over both pages: all its rules, at six widths and four sets of colours, in every state.

    AXE=.../axe.min.js PYTHONPATH=. python .ci/pages/axe.py [STATE...]

`.ci/pages/check` calls it. Prints each finding once, with the state, width and colours it was first
seen in; exits with 1 if there is one.
"""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any

from barker.disk import files
from barker.laboratory.steps import as_settings
from tests.tools.browser import ENTER
from tests.tools.chromium import Chromium
from tests.tools.monitorpage import FEED
from tests.tools.page import PageTestCase

WIDTHS = (320, 360, 640, 768, 1280, 1600)
HEIGHT = 800
# Two minutes of a system in which a service stopped, another died and a third one froze.
SYSTEM = """
  window.drawNow = () => Monitor.draw(performance.now());
  window.linkUp = () => {
    Monitor.feed.dialer = { up: true, send() {}, close() {}, hurry() {} };
    Monitor.feed.show();
  };
  window.linkDown = (code) => {
    window.BARKER = { key: "x" };
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
        return service(name, second < at ? { oldest_ms: 3000, backlog: 5, delay_ms: 9, ...letters }
          : { up: false, gone: event.at, how, backlog: undefined });
      });
      const targets = names.filter((name) => name.startsWith("inbox"));
      const first = names[second < 60 ? 2 : 3];
      const hops = { 100: ["outbox-1"], 119: ["outbox-1", "bizlogic-2", "inbox-1"] }[second] ?? [];
      feedFrame(second, rows, events, {
        bizlogic: { policy: "ordered", targets: names.slice(2, 4), first },
        inbox: { policy: "consistent", targets, shares: { "inbox-1": 0.6, "inbox-2": 0.4 } },
      }, hops.map((name, i) => [`bark${second}`, name, T0 + 1000 * second - 50 + i]));
    }
  };
"""
# What `controls` runs, and a course of which a step is done.
CONTROLS = """
  window.controlsOn = () => {
    Monitor.desk.see = () => {};
    Monitor.desk.why = "";
    Monitor.desk.dialer = { up: true, send() {}, close() {} };
    const processes = ["outbox-1", "bizlogic-1", "autobark-1"].map((process, i) => ({
      process, program: process.split("-")[0], pid: i || null, state: i ? "running" : "ended",
      ended: i ? "" : "killed by SIGKILL", start: `python -m barker.${process}`, more: "python" }));
    const typed = { kill: "kill -9", freeze: "kill -STOP", thaw: "kill -CONT", stop: "kill" };
    Monitor.desk.receive({ op: "message", bodies: [{ typed, processes }] });
  };
  window.courseAt = (step) => {
    window.BARKER = { course: COURSE };
    Monitor.course.show();
    document.querySelector("#course-open").click();
    document.querySelector(`[data-place="step ${step}"]`).click();
    document.querySelector("[data-place='choice 0']").click();
  };
""".replace("COURSE", json.dumps(as_settings()))
# States of the monitor's page, in which frames come from here.
MONITOR_STATES = {
    "monitor_empty": "linkUp()",
    "monitor_live": "linkUp(); twoMinutes()",
    "monitor_paused": "linkUp(); twoMinutes(); drawNow(); Monitor.setPaused(true)",
    "monitor_pointed_at": "linkUp(); twoMinutes(); Monitor.view.cursor = 70",
    "monitor_line_hidden": """twoMinutes(); drawNow();
        document.querySelector('.legend button').click()""",
    "monitor_many": """linkUp(); twoMinutes();
        const kinds = ["outbox", "inbox", "sheep"];
        const names = Array.from({ length: 22 }, (_, i) => `${kinds[i % 3]}-${i}`);
        feedFrame(120, names.map((name) => service(name)))""",
    "monitor_offline": "twoMinutes(); linkDown('closed')",
    "monitor_controls": """linkUp(); twoMinutes(); drawNow(); controlsOn();
        document.querySelector('[data-service=bizlogic-1] .open').click()""",
    "monitor_more": """linkUp(); twoMinutes(); drawNow(); controlsOn();
        document.querySelector('#controls-note .open').click()""",
    "monitor_course": "linkUp(); twoMinutes(); controlsOn(); courseAt(3)",
    "monitor_course_done": """linkUp(); twoMinutes(); courseAt(0);
        document.querySelector('[data-place=hand]').click()""",
    "monitor_wrong_key": "linkDown('bad-proof')",
}
COLOURS: dict[str, dict[str, str]] = {
    "light": {"prefers-color-scheme": "light"},
    "dark": {"prefers-color-scheme": "dark"},
    "forced": {"forced-colors": "active", "prefers-color-scheme": "light"},
    "still": {"prefers-reduced-motion": "reduce", "prefers-color-scheme": "light"},
}
RUN = """
    return axe.run(document, {
      resultTypes: ["violations"],
      rules: { "target-size": { enabled: true } },
    }).then(({ violations }) => violations.flatMap(({ id, help, nodes }) =>
        nodes.map(({ html, any, all, none }) => [id, help, html.slice(0, 140),
            [...any, ...all, ...none].map((check) => check.message).join("; ").slice(0, 200)])));
"""


class Pages(PageTestCase):
    """The web page with a system, and a copy of the monitor's page without one."""

    def runTest(self) -> None:
        """There is none: this is for its tools."""

    def monitor(self) -> pathlib.Path:
        folder = self.webui.parent / "with monitor"
        if not folder.exists():
            for name in ("monitoring", "webui"):
                unwanted = shutil.ignore_patterns("*.py", "__pycache__", "*_host.js*")
                shutil.copytree(files.ROOT / name, folder / name, ignore=unwanted)
        return folder / "monitoring" / "index.html"

    # --- states of the web page ---

    def full(self) -> None:
        self.open_connected()
        self.browser.execute(
            """const texts = ["@ark3 looks at #bones with @rhs", "שלום @rhs", "x\\n".repeat(100)];
            texts.forEach((content, i) => Barker.arrive(
                { id: "axe" + i, user: "rdl", content, at: Date.now() - i * 1000 }, false));
            Barker.arrive({ id: "own", user: "ark3", content: "my own", at: 1 }, false);
            Barker.stream.add({ note: "3 older barks are no longer kept" });"""
        )
        self.browser.wait_until("document.querySelector('#stream .note')", "a full list")

    def empty(self) -> None:
        self.open_connected()
        self.browser.execute("Barker.stream.clear('ark3'); Barker.stream.soon()")
        self.browser.wait_until("Elements.$('end').textContent.startsWith('No barks')", "empty")

    def details(self) -> None:
        self.full()
        self.browser.execute(
            """Barker.panel.follows.clear();
            for (const whom of ["toto", "lassie", "rover"]) {
              Barker.panel.suggestion({ whom, common: 3 });
            }
            Barker.panel.drawLists();
            document.querySelectorAll("details").forEach((e) => { e.open = true; });"""
        )
        self.browser.type("#newcomer", "No Name" + ENTER)
        self.browser.type("#whom", "No Name" + ENTER)
        self.browser.type("#text", "x" * 300)

    def way(self) -> None:
        """The way of a bark, and who keeps whom, with a user that has moved."""
        self.full()
        self.browser.type("#text", "where am I?" + ENTER)
        self.browser.wait_until("document.querySelector('[data-delivered=true]')", "it came back")
        self.browser.execute("Elements.$('kept').open = true")
        self.browser.wait_until("document.querySelector('#keptlists li')", "owners")
        self.browser.execute(
            """Barker.keepers.found("rdl", "outbox-b");
            Barker.keepers.moved("outbox", "outbox-b", "outbox-a");"""
        )
        self.browser.wait_until("document.querySelector('[data-moved]')", "a move")

    def filtered(self) -> None:
        self.full()
        self.browser.execute("document.querySelector('.tag').click()")
        self.browser.wait_until("Filter.isOn()", "a filter")

    def scrolled(self) -> None:
        self.full()
        self.browser.execute(
            """for (let i = 0; i < 40; i += 1) {
              Barker.arrive({ id: "more" + i, user: "rhs", content: "wuff " + i, at: i }, false);
            }"""
        )
        self.browser.wait_until("document.querySelectorAll('#stream .bark').length > 40", "many")
        # To the top of a bark, since half a name under the heading is too small a target.
        some = "document.querySelectorAll('#stream .bark')[4]"
        self.browser.execute(f"{some}.scrollIntoView({{ behavior: 'instant' }})")
        self.browser.wait_until("window.scrollY > 100", "scrolled")
        self.browser.execute(
            "Barker.arrive({ id: 'last', user: 'rhs', content: 'wuff', at: 1 }, false)"
        )
        self.browser.wait_until("!Elements.$('more').disabled", "new barks")

    def paused(self) -> None:
        self.full()
        self.browser.execute("Elements.$('pause').click()")
        self.browser.execute(
            "Barker.arrive({ id: 'last', user: 'rhs', content: 'wuff', at: 1 }, false)"
        )
        self.browser.wait_until("!Elements.$('more').disabled", "new barks")

    def refused(self) -> None:
        self.open(user="nobody_here")
        self.assertService("outbox", "up")
        self.browser.type("#text", "can you hear me?" + ENTER)
        self.browser.wait_until("document.querySelector('#unsent .why')", "refused")

    def offline(self) -> None:
        """With barks that wait; the system is not asked to die for it."""
        self.full()
        self.browser.execute(
            """window.WebSocket = class { close() {} static OPEN = 1; };
            const { directory, reader, following } = Barker.client;
            for (const peer of [directory, reader, following, Barker.client.writer("ark3")]) {
              peer.dialer.link.end(new Link.Fault("closed", "gone"));
            }"""
        )
        self.browser.type("#text", "kept" + ENTER)
        self.assertState("offline")
        self.browser.wait_until("!Elements.$('banner').hidden", "the page says so")

    def no_settings(self) -> None:
        (self.webui / "barker_host.js").unlink()
        try:
            self.open()
            self.assertState("offline")
        finally:
            self.write_settings()

    # --- states of the monitor's page ---

    def monitor_no_settings(self) -> None:
        self.browser.open(self.monitor().as_uri())

    def monitor_with(self, script: str) -> None:
        self.monitor_no_settings()
        self.browser.execute(FEED + SYSTEM + CONTROLS + script)
        self.browser.execute("return new Promise((done) => requestAnimationFrame(done))")


STATES: dict[str, Callable[[Pages], None]] = {
    state.__name__: state
    for state in (
        Pages.full,
        Pages.empty,
        Pages.details,
        Pages.way,
        Pages.filtered,
        Pages.scrolled,
        Pages.paused,
        Pages.refused,
        Pages.offline,
        Pages.no_settings,
        Pages.monitor_no_settings,
    )
}
STATES |= {
    name: functools.partial(Pages.monitor_with, script=script)
    for name, script in MONITOR_STATES.items()
}


def main() -> int:
    axe = pathlib.Path(os.environ["AXE"]).read_text("utf-8")
    wanted = sys.argv[1:]
    found: dict[tuple[str, str], list[Any]] = {}
    runs = 0
    with contextlib.ExitStack() as stack:
        Pages.start(stack, Chromium)
        pages = Pages()
        browser = Pages.browser
        assert isinstance(browser, Chromium)
        for name in wanted or STATES:
            browser.screen(1280, HEIGHT)
            browser.point(1, 1)
            STATES[name](pages)
            browser.execute(axe + ";window.axe = axe;")
            for width, colours in itertools.product(WIDTHS, COLOURS):
                browser.screen(width, HEIGHT)
                features = [{"name": k, "value": v} for k, v in COLOURS[colours].items()]
                browser.devtools("Emulation.setEmulatedMedia", features=features)
                runs += 1
                for rule, help_, html, why in browser.execute(RUN):
                    where = f"{name}, {width} px, {colours}"
                    found.setdefault((rule, html), [where, help_, why])
            if browser.url.startswith("file:"):
                browser.execute("sessionStorage.clear(); localStorage.clear()")
    for (rule, html), (where, help_, why) in found.items():
        print(f"{rule}: {help_}\n    {html}\n    {why}\n    first in: {where}")
    print(f"axe-core: {len(found)} findings in {runs} runs")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
