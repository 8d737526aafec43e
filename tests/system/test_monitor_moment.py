"""The monitoring page in a real browser: which second it shows, and what it says of it."""

import unittest
from typing import Any

from barker.disk.files import write_page_settings
from barker.disk.keys import clients_key
from monitoring import picture
from tests.tools.browser import ESCAPE, TAB
from tests.tools.fleet import SLOW, Fleet
from tests.tools.monitorpage import PageCase

LEFT, PAGE_UP, HOME, END = "\ue012", "\ue00e", "\ue011", "\ue010"
SPACE = " "
PARTS = """
  // What each part of the page says: of which second it is, and what was then.
  window.parts = () => {
    const text = (id) => Elements.$(id).textContent;
    const row = (name) => document.querySelector(`#table [data-service=${name}]`);
    const outbox = document.querySelector("#map [data-service=outbox-1]");
    const first = document.querySelector("#map [data-service=bizlogic-1]");
    return {
      pill: text("state"), second: text("second"), map: text("map-title"),
      table: text("table-when"), events: text("events-when"),
      tile: document.querySelector(".tile .when").textContent,
      depths: [text("depth"), outbox?.querySelector(".depth").textContent,
        row("outbox-1")?.querySelector("[data-field=backlog]").textContent],
      up: [first?.dataset.up, row("bizlogic-1")?.dataset.up],
      happened: [...document.querySelectorAll("#events li")].filter((item) => !item.hidden).length,
    };
  };
  // As if there were a link.
  window.linkUp = () => {
    Monitor.feed.dialer = { up: true, send() {}, close() {}, hurry() {} };
    Monitor.feed.show();
  };
  window.clockAt = (second) => Words.clockText(T0 + 1000 * second);
"""
HUNDRED_SECONDS = """
  for (let second = 0; second < 100; second += 1) {
    const gone = { up: false, gone: T0 + 50_000, how: "died", backlog: undefined };
    const event = { at: T0 + 50_000, what: "gone", how: "died", name: "bizlogic-1" };
    const rows = [service("outbox-1", { backlog: second }),
      service("bizlogic-1", second < 50 ? {} : gone)];
    feedFrame(second, rows, second === 50 ? [event] : []);
  }
"""


class MomentTest(PageCase):
    def open_simulated(self) -> None:
        super().open_simulated()
        self.browser.execute(PARTS)

    def parts(self) -> dict[str, Any]:
        self.two_drawings()
        return dict(self.browser.execute("return parts()"))

    def assert_shows(self, second: int, pill: str) -> None:
        """All parts show that second, and say so."""
        said = self.parts()
        time = self.browser.execute("return clockAt(arguments[0])", second)
        self.assertEqual(said["pill"], pill)
        self.assertRegex(said["second"], rf"^at {time}, \d+ s ago$")
        self.assertEqual(said["map"], f"The system at {time}")
        self.assertEqual((said["table"], said["tile"]), 2 * (f"at {time}",))
        self.assertEqual(said["events"], f"until {time}")
        self.assertEqual(said["depths"], 3 * [str(second)])
        self.assertEqual(said["up"], 2 * ["true" if second < 50 else "false"])
        self.assertEqual(said["happened"], 0 if second < 50 else 1)

    def point_at(self, second: int) -> None:
        place = self.browser.execute(
            """
            const { depthChart } = Monitor, box = depthChart.canvas.getBoundingClientRect();
            return [box.left + depthChart.x(T0 + 1000 * arguments[0]), box.top + 120];
            """,
            second,
        )
        self.browser.point(*place)

    def test_all_parts_show_the_second_that_is_pointed_at_or_paused_at(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.execute("linkUp()" + HUNDRED_SECONDS)
        said = self.parts()
        now = browser.execute("return clockAt(99)")
        self.assertEqual((said["pill"], said["second"]), ("Live", now))
        self.assertEqual(said["map"], "The system now")
        self.assertEqual((said["table"], said["tile"], said["events"]), ("", "", ""))
        self.assertEqual(said["depths"], 3 * ["99"])
        browser.execute("Monitor.setPaused(true); Monitor.view.pausedAt = T0 + 99_000")
        self.assert_shows(99, "Paused")
        self.point_at(40)
        self.assert_shows(40, "Looking back")
        browser.execute("feedFrame(100, [service('outbox-1', { backlog: 100 })])")
        self.assert_shows(40, "Looking back")
        browser.point(2, 2)
        self.assert_shows(99, "Paused")
        browser.execute("Monitor.setPaused(false)")
        said = self.parts()
        self.assertEqual((said["pill"], said["map"]), ("Live", "The system now"))
        self.assertEqual(said["depths"], 3 * ["100"])

    def test_before_the_first_frame_the_page_claims_nothing(self) -> None:
        """An empty map said "none" of every role, as if a monitor had looked."""
        self.open_simulated()
        browser = self.browser
        said = """
            const after = (selector) => (
              getComputedStyle(document.querySelector(selector), "::after").content);
            return [after(".cards"), after("#depth-plot"), Elements.$("second").textContent,
              Elements.$("map-title").textContent, Elements.$("no-events").checkVisibility()];
        """
        nothing = ['"not known yet"', '"no figures yet"', "no figures yet", "The system", False]
        self.two_drawings()
        self.assertEqual(browser.execute(said), nothing)
        browser.execute("feedFrame(1, [])")
        self.two_drawings()
        time = browser.execute("return clockAt(1)")
        none = ['"none"', "none", time, "The system now", True]
        self.assertEqual(browser.execute(said), none)

    def test_figures_of_a_monitor_that_is_silent_look_old(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.execute("linkUp()" + HUNDRED_SECONDS)
        self.two_drawings()
        looks = """return [getComputedStyle(Elements.$("depth")).color,
            getComputedStyle(Elements.$("map")).filter]"""
        fresh = browser.execute(looks)
        browser.wait_until("document.documentElement.dataset.view === 'old'", "no news for long")
        self.assert_shows(99, "No news")
        old = browser.execute(looks)
        self.assertTrue(all(one != other for one, other in zip(fresh, old, strict=True)), old)
        browser.execute("feedFrame(104, [service('outbox-1', { backlog: 3 })])")
        self.assertEqual(self.parts()["pill"], "Live")
        self.assertEqual(browser.execute(looks), fresh)

    def test_the_depth_is_red_from_two_seconds_of_waiting_until_one_and_does_not_flicker(
        self,
    ) -> None:
        self.open_simulated()
        levels = self.browser.execute("""
            const seen = [];
            const feed = (figures) => {
              feedFrame(seen.length, [service("outbox-1", figures)]);
              drawAt(seen.length);
              seen.push(Elements.$("depth").parentNode.dataset.level === "bad" ? 1 : 0);
            };
            for (const oldest of [5, 1990, 2010, 1500, 1900, 1010, 990, 1500, 1990, 2500]) {
              feed({ backlog: 30, oldest_ms: oldest });
            }
            feed({ backlog: 0, oldest_ms: null });
            // A busy system: what is on its way goes up and down, and waits for nothing.
            for (let i = 0; i < 30; i += 1) {
              feed({ backlog: (i * 37) % 60, oldest_ms: (i * 37) % 60 });
            }
            return seen;
        """)
        self.assertEqual(levels[:11], [0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0])
        self.assertEqual(set(levels[11:]), {0})

    def test_every_event_has_its_words_in_the_list(self) -> None:
        self.open_simulated()
        events = self.browser.execute("""
            for (let second = 0; second < 70; second += 1) {
              const event = { at: T0 + 1000 * second, what: "appeared", name: `outbox-${second}` };
              feedFrame(second, [service("outbox-1")], second < 63 ? [event] : []);
            }
            drawAt(69);
            return [...Elements.$("events").children].map(
              (item) => [item.children[2].textContent, item.checkVisibility()]);
        """)
        self.assertEqual(events, [[f"outbox-{n} appeared", True] for n in reversed(range(63))])
        # More than the list has room for: a keyboard has to be able to scroll it.
        self.assertTrue(
            self.browser.execute("""
                const list = Elements.$("event-log");
                return list.scrollHeight > list.clientHeight && list.tabIndex === 0;
            """)
        )

    def test_the_list_says_when_it_may_have_lost_events(self) -> None:
        self.open_simulated()
        said = self.browser.execute("""
            const seen = [];
            for (let second = 0; second < 12; second += 1) {
              feedFrame(second, [], Array.from({ length: second < 10 ? 20 : 1 },
                (_, i) => ({ at: T0 + 1000 * second, what: "appeared", name: `x-${i}` })));
              drawAt(second);
              const { textContent, hidden } = Elements.$("no-events");
              seen.push(hidden ? "" : textContent);
            }
            return seen;
        """)
        self.assertEqual(said, 9 * [""] + 3 * ["No more than the latest 200 are kept."])

    def test_every_kind_of_event_that_the_monitor_sends_has_a_glyph_a_colour_and_words(
        self,
    ) -> None:
        self.open_simulated()
        kinds: list[dict[str, Any]] = [{"what": what} for what in picture.KINDS if what != "gone"]
        kinds += [{"what": "gone", "how": how} for how in picture.HOWS]
        more = {
            "was": "bizlogic-2",
            "service": "bizlogic",
            "letters": 2,
            "latest": "why",
            "others": 7,
        }
        events = [{"at": 0, "name": "bizlogic-1", **more, **kind} for kind in kinds]
        told = self.browser.execute(
            """
            return arguments[0].map((event) => [Words.glyphOf(event), Words.eventText(event),
              Words.eventSentence(event), Monitor.view.ink[Words.kindOf(event)] ?? ""]);
            """,
            events,
        )
        for event, (glyph, text, sentence, ink) in zip(events, told, strict=True):
            with self.subTest(event["what"], how=event.get("how")):
                self.assertEqual(len(glyph), 1)
                self.assertNotEqual(glyph, "•")
                self.assertIn("bizlogic-1", text)
                self.assertIn("bizlogic-1", sentence)
                self.assertNotIn("undefined", text + sentence)
                self.assertRegex(ink, "^#")
        self.assertEqual(len({sentence for _, _, sentence, _ in told}), len(kinds))
        self.assertEqual(
            len({glyph for glyph, text, *_ in told if "appeared" not in text}), len(kinds) - 1
        )
        # A monitor of another version may know more.
        other = "return Words.eventSentence({ what: 'moulted', name: 'x' })"
        self.assertEqual(self.browser.execute(other), "x: moulted")

    def test_a_pointed_second_names_what_happened_in_it(self) -> None:
        self.open_simulated()
        self.browser.execute(HUNDRED_SECONDS + "Monitor.setPaused(true)")
        self.browser.execute("Monitor.view.pausedAt = T0 + 99_000")
        self.two_drawings()
        for second, words in ((50, "bizlogic-1 died"), (60, "")):
            self.point_at(second)
            self.two_drawings()
            said = self.browser.execute(
                "return document.querySelector('.tip .happened').textContent"
            )
            self.assertEqual(said[9:], words)

    def test_a_graph_is_a_slider_that_tells_each_second(self) -> None:
        """A screen reader passes arrow keys on to a slider, and reads its value text."""
        self.open_simulated()
        browser = self.browser
        browser.execute(HUNDRED_SECONDS + "Elements.$('depth-plot').focus()")
        self.two_drawings()
        slider = """
            const { role, ariaLabel, ariaValueText, ariaValueNow, ariaValueMin, ariaValueMax }
              = document.activeElement;
            const values = [ariaValueMin, ariaValueNow, ariaValueMax].map(Number);
            return [role, ariaLabel, ariaValueText, values];
        """
        browser.press(SPACE)
        browser.execute("Monitor.view.pausedAt = T0 + 99_000")
        for key, second in ((END, 99), (LEFT, 98), (PAGE_UP, 99), (HOME, 0), (PAGE_UP, 10)):
            browser.press(key)
            role, label, words, (low, now, high) = browser.execute(slider)
            time = browser.execute("return clockAt(arguments[0])", second)
            self.assertEqual((role, label[:6]), ("slider", "Graph:"))
            self.assertEqual(words, f"{time}: outbox-1 {second}")
            self.assertEqual((low, now, high), (-120, second - 99, 0))
        # Paused, the second stays while one goes to the table and reads its figures.
        browser.press(TAB)
        self.two_drawings()
        self.assertEqual(self.parts()["depths"], 3 * ["10"])
        browser.execute("Elements.$('depth-plot').focus()")
        browser.press(ESCAPE)
        self.assertEqual(self.parts()["depths"], 3 * ["99"])

    def test_the_span_that_is_chosen_is_the_one_that_is_drawn_also_after_a_reload(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.click('#window input[value="600"]')
        browser.execute("window.old = true; setTimeout(() => location.reload())")
        browser.wait_until("!window.old && document.readyState === 'complete'", "loaded anew")
        chosen, drawn, low = browser.execute("""
            const { value } = document.querySelector("#window :checked");
            const low = Elements.$("depth-plot").ariaValueMin;
            return [Number(value), Monitor.view.span / 1000, -low];
        """)
        self.assertEqual((drawn, low), (chosen, chosen))


@unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a monitor that is silent")
class LinkTest(PageCase):
    """With a real monitor, which needs nothing else."""

    def write_settings(self, port: int, key: str) -> None:
        settings = self.page.with_name("monitor_host.js")
        write_page_settings(settings, host="127.0.0.1", port=port, key=key)

    def test_a_wrong_key_is_called_that_and_a_right_one_read_later(self) -> None:
        browser = self.browser
        with Fleet() as fleet:
            monitor = fleet.start("monitoring.monitor")
            self.write_settings(monitor.port, "ab" * 32)
            self.open()
            pill = "document.getElementById('state').textContent"
            browser.wait_until(f"{pill} === 'Wrong key'", "it is told")
            # In every try, and not only between two.
            seen = browser.execute(f"""
                const seen = new Set(), end = performance.now() + 2500;
                return new Promise((done) => {{
                  const look = () => {{
                    seen.add({pill});
                    if (performance.now() < end) setTimeout(look, 5);
                    else done([...seen]);
                  }};
                  look();
                }});
            """)
            self.assertEqual(seen, ["Wrong key"])
            self.assertRegex(browser.text("#words"), "has another key than .*monitor_host.js")
            self.write_settings(monitor.port, clients_key(fleet.state).decode())
            browser.wait_until(f"{pill} === 'Live'", "the right one is read")
            browser.wait_until("Monitor.model.next > 0", "frames come")

            monitor.freeze()
            browser.wait_until(f"{pill} !== 'Live'", "no sign of life")
            browser.wait_until("document.documentElement.dataset.view === 'old'", "old figures")
            self.assertRegex(browser.text("#map-title"), r"^The system at \d\d:\d\d:\d\d$")
            words = "document.getElementById('words').textContent"
            browser.wait_until(f"{words}.includes('is silent: it is frozen')", "why")
            monitor.thaw()
            browser.wait_until(f"{pill} === 'Live'", "it is back")
            browser.wait_until("document.documentElement.dataset.view === 'live'", "new figures")
            monitor.kill()
            browser.wait_until(f"{words}.startsWith('No monitor answers at')", "it has gone")
            browser.wait_until(f"{pill} === 'Offline'", "for good")
            self.assertRegex(browser.text("#second"), r"^at \d\d:\d\d:\d\d, \d+ s ago$")
