"""The monitoring page in a real browser: the map and its cards, delays, and barks on their way."""

import itertools
from typing import Any

from barker.disk.files import ROOT
from barker.manifold.delays import MAX_DELAY_MS
from tests.tools.browser import TAB
from tests.tools.chromium import Chromium
from tests.tools.monitorpage import PageCase

LEFT = "\ue012"
SYSTEM = """
  // The default system as services; `more` comes to it.
  window.names = (more = []) => ["outbox-5800", "outbox-5801", "outbox-5802", "bizlogic-5680",
    "inbox-5820", "directory-5672", "followers-5690", "suggestions-5695", "monitor-5700", ...more];
  window.rowsOf = (names, figures = () => ({})) => names.map((name, i) => service(name,
    { pid: 5201 + i, since: T0 - 125_000, port: 5000 + i, ...figures(name) }));
  window.routesOf = (names) => {
    const of = (kind) => names.filter((name) => name.startsWith(kind));
    const ring = (kind) => ({ policy: "consistent", targets: of(kind),
      shares: Object.fromEntries(of(kind).map((name) => [name, 1 / of(kind).length])) });
    return { outbox: ring("outbox"), inbox: ring("inbox"), bizlogic:
      { policy: "ordered", targets: of("bizlogic"), first: of("bizlogic")[0] ?? null } };
  };
  window.feedAll = (second, names, figures, events, traces) => feedFrame(second,
    rowsOf(names, figures), events, routesOf(names), traces);
  // As if there were a link: no words of trouble above.
  window.linkUp = () => {
    Monitor.feed.dialer = { up: true, send() {}, close() {}, hurry() {} };
    Monitor.feed.show();
  };
  window.cardOf = (name) => document.querySelector(`#map [data-service="${name}"]`);
"""
BOXES = """
  const seen = (element) => {
    // The part of an element that its scrolling parents show.
    let { left, top, right, bottom } = element.getBoundingClientRect();
    for (let p = element.parentElement; p; p = p.parentElement) {
      if (getComputedStyle(p).overflowY === "visible") continue;
      const box = p.getBoundingClientRect();
      [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
      [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    return [left, top, right, bottom];
  };
  return [...document.querySelectorAll(arguments[0])].map(seen)
    .filter(([left, top, right, bottom]) => right - left > 1 && bottom - top > 1);
"""


class MapCase(PageCase):
    def open_simulated(self) -> None:
        super().open_simulated()
        self.browser.execute(SYSTEM)

    def text_of(self, name: str, part: str) -> str:
        return self.browser.texts(f'#map [data-service="{name}"] {part}')[0]


class OneScreenTest(MapCase):
    def boxes(self, selector: str) -> list[list[float]]:
        return list(self.browser.execute(BOXES, selector))

    def assertApart(self, selector: str) -> None:
        """No two of these lie on one another, as far as they are seen."""
        boxes = self.boxes(selector)
        for (a, b, c, d), (left, top, right, bottom) in itertools.combinations(boxes, 2):
            apart = c <= left + 1 or right <= a + 1 or d <= top + 1 or bottom <= b + 1
            self.assertTrue(apart, (selector, [a, b, c, d], [left, top, right, bottom]))

    def test_all_is_seen_without_scrolling_at_1440_by_900(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.screen(1440, 900)
        browser.execute("""
            linkUp();
            for (let second = 0; second < 60; second += 1) feedAll(second, names());
            drawAt(59);
        """)
        self.two_drawings()
        parts = (".tile", "#map .service", ".flow", ".plot", ".legend", "#event-log")
        for part in parts:
            boxes = self.boxes(part)
            self.assertTrue(boxes, part)
            for left, top, right, bottom in boxes:
                self.assertTrue(left >= 0 and right <= 1440 and top >= 0 and bottom <= 900, part)
        plots = self.boxes(".plot")
        self.assertEqual(len({round(top) for _, top, _, _ in plots}), 1, "side by side")
        self.assertGreater(min(bottom - top for _, top, _, bottom in plots), 120)
        # From left to right, as a bark passes.
        groups = self.boxes("#map .group:not(.around)")
        self.assertTrue(all(a[2] < b[0] for a, b in itertools.pairwise(groups)), groups)
        # All cards are whole: none is cut by its group.
        heights = [bottom - top for _, top, _, bottom in self.boxes("#map .service")]
        whole = "return [...document.querySelectorAll('#map .service')].map((e) => e.clientHeight)"
        self.assertEqual(len(heights), 9)
        for seen, own in zip(heights, browser.execute(whole), strict=True):
            self.assertGreaterEqual(seen, own)

    def test_many_services_and_long_names_scroll_within_and_nothing_overlaps(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.execute("""
            const long = (kind) => `${kind}-${"5".repeat(63 - kind.length)}`;
            const all = names([long("outbox"), long("inbox"), long("oracle"), "outbox-5803",
              "bizlogic-5681", "bizlogic-5682", "inbox-5821", "inbox-5822", "controls-5697",
              "followers-5691", "oracle-7001", "oracle-7002", "sheep-7003"]);
            const far = { host: "2001:db8:1234:5678:9abc:def0:1234:5678" };
            for (let second = 0; second < 62; second += 1) {
              const restart = { at: T0 + 1000 * second, what: "restarted", name: "bizlogic-5682" };
              feedAll(second, all, (name) => (name.startsWith("oracle") ? far : {
                backlog: 123_456, waits: name === "outbox-5801" ? "x".repeat(300) : undefined,
                dead_letters: name === "outbox-5802" ? 1 : 0, dead_letter: "y".repeat(300) }),
                second % 2 ? [restart] : [{ ...restart, what: "waits", why: "x ".repeat(99) }],
                second > 50 ? [[`t${second}`, "outbox-5800", T0]] : []);
            }
            linkUp();
            drawAt(61);
            window.count = all.length;
        """)
        self.assertEqual(browser.execute("return window.count"), 22)
        for width, height in ((360, 800), (768, 1024), (1100, 760), (1440, 900), (1600, 900)):
            browser.screen(width, height)
            self.two_drawings()
            with self.subTest(width):
                wide = browser.execute("return document.documentElement.scrollWidth")
                self.assertLessEqual(wide, width)
                self.assertApart(".tile, #map .group, .flow, figure, .story, .figures")
                self.assertApart("#map .service")
                self.assertApart(".face > *, .flow")
                self.assertApart(".plot, .legend > *, figcaption, #event-log, .barks")
                # Events have all their words: the card of a service that waits may have fewer.
                cut = """return [...document.querySelectorAll("#events li")].filter(
                    (e) => e.scrollWidth > e.clientWidth).length"""
                self.assertEqual(browser.execute(cut), 0)
                # The values of a second lie within their graph.
                browser.execute("Monitor.view.cursor = 55; Monitor.setPaused(true)")
                self.two_drawings()
                out = browser.execute("""
                    return [...document.querySelectorAll(".tip:not([hidden])")].map((e) => {
                      const plot = e.parentNode.getBoundingClientRect();
                      const { left, right } = e.getBoundingClientRect();
                      return left < plot.left - 1 || right > plot.right + 1
                        || e.scrollWidth > e.clientWidth;
                    });
                """)
                self.assertEqual(out, [False] * 3)
                browser.execute("Monitor.view.cursor = -1; Monitor.setPaused(false)")
                # Nothing in a card sticks out of it.
                out = browser.execute("""
                    return [...document.querySelectorAll(".face *")].filter((e) => {
                      const card = e.closest(".service").getBoundingClientRect();
                      const { left, right, width } = e.getBoundingClientRect();
                      return width && (left < card.left - 1 || right > card.right + 1);
                    }).map((e) => e.outerHTML);
                """)
                self.assertEqual(out, [])
                if height == 900:
                    self.assertLessEqual(max(box[3] for box in self.boxes(".plot")), 900)


class CardTest(MapCase):
    def test_a_card_has_its_process_its_age_its_command_and_its_chapter(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.execute("""
            feedAll(1, names(["oracle-7001"]), (name) => (
              name === "bizlogic-5680" ? { in: 2.53, out: 27.34 } : {}));
            drawAt(1);
        """)
        self.assertEqual(self.text_of("outbox-5801", ".process .note"), "pid 5202, up 2 min")
        self.assertEqual(self.text_of("outbox-5801", ".kill"), "kill -9 5202")
        self.assertEqual(browser.texts(".flow"), ["2.5barks/s", "27.3copies/s"])
        rows = (ROOT / "docs" / "modules.rst").read_text(encoding="utf-8").splitlines()
        chapters = {row.split()[0]: row.split()[1] for row in rows if row.startswith("``")}
        links = browser.execute("""
            return [...document.querySelectorAll(".chapter")].map((link) => [
              (link.closest(".service") ?? link.closest(".group").querySelector(".service"))
                .dataset.service, link.textContent, link.getAttribute("href")])
        """)
        self.assertEqual(len(links), 7)  # of three groups, and of four services around them
        for name, words, href in links:
            with self.subTest(name):
                kind = name.split("-")[0]
                number = words.removeprefix("chapter ")
                self.assertTrue((ROOT / "monitoring" / href).resolve().is_file(), href)
                self.assertTrue(href.startswith(f"../docs/{int(number):02}-"))
                self.assertEqual(number, chapters[f"``{kind}.py``"])
        for href in browser.execute("return Object.values(Cards.CHAPTERS)"):
            self.assertTrue((ROOT / "docs" / f"{href}.rst").is_file(), href)
        page = browser.execute("return document.querySelector('.other').getAttribute('href')")
        self.assertTrue((ROOT / "monitoring" / page).resolve().is_file())

    def test_a_card_and_what_was_added_to_it_stay_the_same_elements(self) -> None:
        self.open_simulated()
        kept = self.browser.execute("""
            const made = [];
            const map = new System.SystemMap(document.createElement("div"), { extras: (row) => {
              if (row.kind === "monitor") return null;
              made.push(row.name);
              return Elements.make("button", "extra", row.name);
            } });
            const frame = (rows) => ({ at: T0, services: rows, routes: {} });
            const find = () => map.root.querySelector("[data-service=outbox-1] .extra");
            map.show(frame([service("outbox-1"), service("monitor-1")]));
            const first = find();
            map.show(frame([service("outbox-0"), service("outbox-1", { backlog: 7 })]));
            return [made, find() === first, first.parentNode.lastChild === first,
              map.root.querySelectorAll(".extra").length];
        """)
        self.assertEqual(kept, [["outbox-1", "outbox-0"], True, True, 2])

    def test_a_click_copies_the_command_or_else_selects_it(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.execute("""
            feedAll(1, names());
            drawAt(1);
            window.copied = [];
            navigator.clipboard.writeText = async (text) => {
              if (window.refused) throw new Error("not allowed");
              window.copied.push(text);
            };
        """)
        kill = '#map [data-service="outbox-5801"] .kill'
        said = "Elements.$('copied').textContent"
        browser.click(kill)
        browser.wait_until(f"{said} === 'kill -9 5202: copied'", "it is told")
        self.assertEqual(browser.execute("return window.copied"), ["kill -9 5202"])
        self.assertEqual(browser.text(kill), "copied")
        browser.wait_until(
            "cardOf('outbox-5801').querySelector('.kill').textContent === 'kill -9 5202'", "again"
        )
        browser.execute("window.refused = true")
        browser.click(kill)
        field = "document.querySelector('input.kill')"
        browser.wait_until(f"document.activeElement === {field}", "it is there")
        selected = f"""const {{ value, selectionStart, selectionEnd, ariaLabel }} = {field};
            return [value.slice(selectionStart, selectionEnd), ariaLabel];"""
        said = "The command, selected: press Ctrl+C"
        self.assertEqual(browser.execute(selected), ["kill -9 5202", said])
        browser.press(TAB)
        browser.wait_until(f"!{field}", "it goes")

    def test_a_process_elsewhere_is_named_with_its_host_and_has_no_command(self) -> None:
        self.open_simulated()
        browser = self.browser
        hosts = """
            const [own, monitor] = arguments;
            window.BARKER = { host: own, port: 1 };
            feedAll(Monitor.model.next, names(), (name) => (
              { host: name === "monitor-5700" ? monitor : name === "inbox-5820" ? "10.0.0.7"
                : name === "outbox-5801" ? "127.0.0.1" : "10.0.0.5" }));
            drawAt(Monitor.model.next - 1);
            return ["inbox-5820", "outbox-5800", "outbox-5801"].map(
              (name) => [cardOf(name).querySelector(".process .note").textContent.split(",")[0],
                !cardOf(name).querySelector(".kill").hidden]);
        """
        far = ["pid 5205 on 10.0.0.7", False]
        for own, monitor, wanted in (
            ("127.0.0.1", "10.0.0.5", [far, ["pid 5201", True], ["pid 5202", True]]),
            ("localhost", "127.0.0.1", [far, ["pid 5201 on 10.0.0.5", False], ["pid 5202", True]]),
            (
                "10.0.0.5",
                "10.0.0.5",
                [far, ["pid 5201 on 10.0.0.5", False], ["pid 5202 on 127.0.0.1", False]],
            ),
        ):
            self.assertEqual(browser.execute(hosts, own, monitor), wanted, (own, monitor))

    def test_what_has_gone_has_no_process_and_nothing_flows(self) -> None:
        self.open_simulated()
        self.browser.execute("""
            feedAll(1, names());
            feedAll(2, names(), (name) => (name === "bizlogic-5680"
              ? { up: false, gone: T0 + 1500, how: "died", in: undefined, out: undefined } : {}));
            drawAt(2);
        """)
        self.assertEqual(self.text_of("bizlogic-5680", ".process .note"), "")
        self.assertTrue(
            self.browser.execute("return cardOf('bizlogic-5680').querySelector('.kill').hidden")
        )
        self.assertEqual(self.browser.texts(".flow b"), ["0", "0"])
        self.assertEqual(len(self.browser.texts('.flow[data-flows="false"]')), 2)


class DelayTest(MapCase):
    def test_the_delay_has_a_line_a_jump_a_gap_and_words(self) -> None:
        self.open_simulated()
        browser = self.browser
        browser.execute("""
            const delays = (second) => (second === 50 ? { delay_ms: 2500, delay_max_ms: 61_000 }
              : second >= 54 && second < 58 ? { delay_ms: null, delay_max_ms: null }
              : { delay_ms: 2.5, delay_max_ms: 7, delay_over: second === 60 ? 3 : 0 });
            for (let second = 0; second < 100; second += 1) {
              feedAll(second, names(), (name) => (name === "inbox-5820" ? delays(second) : {}));
            }
            document.querySelector('#window input[value="30"]').click();
            Monitor.setPaused(true);
            Monitor.view.pausedAt = T0 + 65_000;
        """)
        self.two_drawings()
        self.assertEqual(browser.text("#delay"), "2.5 ms")
        self.assertEqual(browser.text("#delay-note"), "on average, 7 ms at most")
        at = "Monitor.view.cursor = arguments[0]; Monitor.charts[2].root.focus();"
        for second, cell, tip, tile in (
            (40, "2.5 ms", "2.5 ms (longest 7 ms)", "2.5 ms"),
            (50, "2.5 s", "2.5 s (longest 61.0 s)", "2.5 s"),
            (60, "2.5 ms", "2.5 ms (longest 7 ms); 3 over 10 min left out", "2.5 ms"),
            (55, "–", "", "–"),
        ):
            with self.subTest(second):
                browser.execute(at, second + 1)
                browser.press(LEFT)
                self.two_drawings()
                self.assertEqual(self.cell("inbox-5820", "delay"), cell)
                self.assertEqual(browser.text("#delay"), tile)
                value = browser.execute("return Elements.$('delay-plot').ariaValueText")
                self.assertEqual(value[10:], f"inbox-5820 {tip}" if tip else "nothing known")
                shown = browser.texts("#delay-plot .tip tr:not([hidden]) td")
                self.assertEqual(shown, [tip] if tip else [])
        self.assertEqual(MAX_DELAY_MS, 600_000, "the page says: over 10 min")
        note = "nothing was shown in this second"
        self.assertEqual(browser.text("#delay-note"), note)
        # It is drawn: at its value, up to the longest as a shade, and not in the gap.
        inked = browser.execute("""
            const chart = Monitor.charts[2];
            Monitor.view.cursor = -1;
            for (let i = 0; i < 30; i += 1) { chart.scale.eased.then -= 1000; drawAt(65); }
            const { context, ratio } = chart;
            const alpha = (second, value) => Math.max(...[-1, 0, 1].map((d) => context.getImageData(
              Math.floor(ratio * chart.x(T0 + 1000 * second)),
              Math.round(ratio * chart.y(value)) + d, 1, 1).data[3]));
            return [[40, 2.5], [50, 2500], [55.5, 2.5]].map((p) => alpha(...p) > 200)
              .concat([alpha(49.5, 25_000) > 20, alpha(49.5, 25_000) < 200]);
        """)
        self.assertEqual(inked, [True, True, False, True, True])


class TraceTest(MapCase):
    """Dots are looked at while they move: times in frames decide, and no clock of the test."""

    def feed(self, second: int, *traces: list[Any], live: bool = True) -> None:
        self.browser.execute(
            """
            const [second, traces] = arguments;
            const hops = traces.map(([trace, name, ms]) => [trace, name, T0 + ms]);
            feedAll(second, names(["inbox-5821"]), undefined, [], hops);
            drawAt(second);
            """,
            second,
            traces,
        )

    def dots(self) -> list[str]:
        return self.browser.texts("#map .bark")

    def barks(self) -> list[str]:
        script = """return [...document.querySelectorAll("#bark-list li")].filter((e) => !e.hidden)
            .map((e) => e.textContent.replaceAll("\\u00a0", " ").replace(/\\d\\d:\\d\\d:/g, ""))"""
        return list(self.browser.execute(script))

    def test_the_hops_of_a_bark_are_drawn_and_listed_as_they_were_measured(self) -> None:
        self.open_simulated()
        self.feed(1)
        self.assertTrue(self.browser.execute("return Elements.$('barks').hidden"))
        self.feed(
            2,
            ["t", "outbox-5801", 1100.12],
            ["t", "bizlogic-5680", 1100.92],
            ["t", "inbox-5821", 1103.5],
            ["t", "inbox-5820", 1102.8],
        )
        self.assertEqual(self.dots(), ["+0.8\u00a0ms", "+1.9\u00a0ms", "+2.6\u00a0ms"])
        way = "outbox-5801 21.100 → +0.8 ms bizlogic-5680 → +1.9 ms inbox-5820 → +2.6 ms inbox-5821"
        self.assertEqual(self.barks(), [way])
        # The dot of the first leg is between the two cards.
        place = self.browser.execute("""
            const [dot] = document.querySelectorAll("#map .bark");
            const [from, to] = ["outbox-5801", "bizlogic-5680"].map(
              (name) => cardOf(name).getBoundingClientRect());
            const { left, width } = dot.getBoundingClientRect(), x = left + width / 2;
            return [from.right - 1 <= x, x <= to.left + 1];
        """)
        self.assertEqual(place, [True, True])
        # Each leg is drawn once.
        self.feed(3)
        self.assertEqual(len(self.dots()), 3)
        self.browser.wait_until("!document.querySelector('#map .bark')", "they go")
        self.assertEqual(self.barks(), [way])

    def test_a_bark_may_come_over_two_frames_and_waits_where_it_was_seen_last(self) -> None:
        self.open_simulated()
        self.feed(10, ["t", "outbox-5800", 9900.0])
        self.assertEqual(self.dots(), [])
        self.assertEqual(self.barks(), ["outbox-5800 29.900 → not further yet"])
        self.feed(13)
        self.assertEqual(self.dots(), ["waits 3 s"])
        self.feed(20, ["u", "outbox-5800", 14_000.0])
        self.assertEqual(self.dots(), ["2 wait 10 s"])
        near = self.browser.execute("""
            const dot = document.querySelector("#map .bark").getBoundingClientRect();
            const card = cardOf("outbox-5800").getBoundingClientRect();
            return [Math.abs(dot.left + dot.width / 2 - card.right) < 2,
              card.top < dot.top && dot.bottom < card.bottom];
        """)
        self.assertEqual(near, [True, True])
        self.feed(21, ["t", "bizlogic-5680", 20_500.0], ["t", "inbox-5820", 20_502.0])
        self.assertEqual(self.dots(), ["waits 7 s", "+10.6\u00a0s", "+2\u00a0ms"])
        way = "outbox-5800 29.900 → +10.6 s bizlogic-5680 → +2 ms inbox-5820"
        self.assertEqual(self.barks(), ["outbox-5800 34.000 → not further yet", way])

    def test_a_hop_that_was_not_measured_is_not_drawn(self) -> None:
        self.open_simulated()
        self.feed(5, ["t", "inbox-5820", 4900.0])
        self.assertEqual(self.dots(), [])
        self.assertEqual(self.barks(), ["inbox-5820 24.900"])
        self.feed(6, ["u", "outbox-5800", 5900.0], ["u", "inbox-5820", 5903.0])
        self.feed(7)
        self.assertEqual(self.dots(), [], "a frame may bring the one between them yet")
        self.feed(9)
        self.assertEqual(self.dots(), ["+3\u00a0ms"])
        # The same hop once more, as after a failover, counts once; names are only text.
        odd = "<img src=x onerror=pwned>"
        self.feed(10, ["u", "outbox-5800", 9900.0], [odd, odd, 9900.0])
        self.assertEqual(self.barks()[1], "outbox-5800 25.900 → +3 ms inbox-5820")
        self.assertEqual(self.browser.execute("return document.images.length"), 0)

    def test_hops_are_drawn_in_the_order_of_the_way_whatever_frame_brings_them(self) -> None:
        """A bizlogic that has just started is sampled a second after the inbox."""
        self.open_simulated()
        self.feed(5, ["t", "outbox-5800", 4900.0], ["t", "inbox-5820", 4902.0])
        self.assertEqual(self.dots(), [])
        self.feed(6, ["t", "bizlogic-5680", 4901.0])
        self.assertEqual(self.dots(), ["+1\u00a0ms", "+1\u00a0ms"])

    def test_old_hops_and_reduced_motion_draw_no_dots_and_keep_the_list(self) -> None:
        self.open_simulated()
        browser = self.browser
        hops = ["outbox-5801", "bizlogic-5680", "inbox-5820"]
        self.feed(30, *(["old", name, 1000.0 + i] for i, name in enumerate(hops)))
        self.assertEqual(self.dots(), [])
        self.assertEqual(len(self.barks()), 1)
        if not isinstance(browser, Chromium):
            return  # only Chromium can be told to keep still
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        browser.devtools("Emulation.setEmulatedMedia", features=[still])
        self.feed(31, *(["new", name, 30_900.0 + i] for i, name in enumerate(hops)))
        self.assertEqual(self.dots(), [])
        self.assertEqual(len(self.barks()), 2)

    def test_promise_5_few_barks_hops_and_dots_are_kept(self) -> None:
        self.open_simulated()
        for second in range(1, 4):
            traces = [[f"t{second}-{i}", "outbox-5801", 1000.0 * second - i] for i in range(50)]
            traces += [[f"t{second}-{i}", "bizlogic-5680", 1000.0 * second] for i in range(50)]
            traces += [[f"t{second}-49", f"inbox-{i}", 1000.0 * second] for i in range(40)]
            self.feed(second, *traces)
            self.assertEqual(len(self.barks()), 8)
            self.assertLessEqual(max(bark.count("→") for bark in self.barks()), 12)
            self.assertLessEqual(len(self.dots()), 24)

    def test_a_second_that_is_pointed_at_shows_the_barks_until_then(self) -> None:
        self.open_simulated()
        self.feed(1, ["a", "outbox-5801", 900.0])
        self.feed(2, ["b", "outbox-5802", 1900.0])
        self.assertEqual([bark.split()[0] for bark in self.barks()], ["outbox-5802", "outbox-5801"])
        self.browser.execute("Monitor.view.cursor = 0; drawAt(2)")
        self.assertEqual([bark.split()[0] for bark in self.barks()], ["outbox-5801"])
