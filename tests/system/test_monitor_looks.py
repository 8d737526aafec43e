"""The monitoring page in a real browser: how it looks, and whether all can tell its parts apart."""

import itertools
import math
import re
import unittest
from typing import Any

from barker.disk.files import ROOT
from tests.tools.chromium import Chromium
from tests.tools.monitorpage import PageCase


class LooksTest(PageCase):
    def test_services_keep_their_colour_and_marker(self) -> None:
        self.open_simulated()
        looks = """return ["outbox-1", "outbox-2", "bizlogic-1"].map(
            (name) => [Looks.colourOf(name), JSON.stringify(Looks.markerOf(name))])"""
        before = self.browser.execute(looks)
        self.assertEqual(len({tuple(look) for look in before}), 3)
        self.browser.execute("for (let i = 0; i < 40; i += 1) Looks.slotOf(`outbox-${5000 + i}`)")
        self.assertEqual(self.browser.execute(looks), before)

    def test_a_hundred_services_differ_and_sixteen_of_them_without_any_colour(self) -> None:
        """The ninth had the colour and the marker of the first."""
        self.open_simulated()
        colours, markers = self.browser.execute("""
            // Names that all wish for the same slot, and others.
            const name = (i) => (i % 2 ? `outbox-${i}` : "o".repeat(8 * i + 1));
            const names = Array.from({ length: 100 }, (_, i) => name(i));
            const marker = (name) => JSON.stringify(Looks.markerOf(name));
            return [names.map(Looks.colourOf), names.map(marker)];
        """)
        looks = list(zip(colours, markers, strict=True))
        self.assertEqual(len(set(looks)), 100)
        self.assertEqual(len(set(colours)), 8)
        browser = self.browser
        browser.execute("Looks.keepOnly(new Set())")
        few = browser.execute("""
            const names = Array.from({ length: 16 }, (_, i) => `outbox-${i}`);
            return names.map((name) => JSON.stringify(Looks.markerOf(name)));
        """)
        self.assertEqual(len(set(few)), 16)

    def test_names_come_and_go_for_ever_and_looks_still_differ(self) -> None:
        self.open_simulated()
        highest = self.browser.execute("""
            let highest = 0;
            for (let i = 0; i < 5000; i += 1) {
              Looks.keepOnly(new Set(Array.from({ length: 20 }, (_, n) => `bizlogic-${i - n}`)));
              highest = Math.max(highest, Looks.slotOf(`bizlogic-${i}`));
            }
            return highest;
        """)
        self.assertLess(highest, 128)

    def test_lines_that_lie_on_one_another_are_all_seen(self) -> None:
        """On a quiet system all depths are 0, and the last line that is drawn hid the others."""
        self.open_simulated()
        for chart, names in ((0, 3), (1, 3), (0, 8)):
            seen = self.browser.execute(
                """
                const [which, count] = arguments;
                const names = Array.from({ length: count }, (_, i) => `outbox-${i}`);
                for (let second = 0; second < 130; second += 1) {
                  feedFrame(second, names.map((name) => service(name, { in: 0, out: 0 })));
                }
                drawAt(129);
                const chart = Monitor.charts[which], { context, ratio } = chart;
                const y = Math.round(chart.y(0) * ratio), probe = document.createElement("canvas");
                const paint = probe.getContext("2d");
                const own = names.map((name) => {
                  paint.fillStyle = Monitor.view.ink[Looks.colourOf(name)];
                  paint.fillRect(0, 0, 1, 1);
                  return paint.getImageData(0, 0, 1, 1).data.join();
                });
                const counts = own.map(() => 0);
                const size = (chart.right - chart.left) * ratio;
                const { data, width } = context.getImageData(chart.left * ratio, y, size, 1);
                for (let i = 0; i < width; i += 1) {
                  const found = own.indexOf(data.slice(4 * i, 4 * i + 4).join());
                  if (found >= 0) counts[found] += 1 / width;
                }
                return counts;
                """,
                chart,
                names,
            )
            for part in seen:
                self.assertGreater(part, 0.3 / names, (chart, seen))

    def test_the_lines_of_a_service_stand_out_while_its_legend_is_pointed_at_or_focused(
        self,
    ) -> None:
        """With many services, or without colours, that tells which line is whose."""
        self.open_simulated()
        browser = self.browser
        browser.execute("""
            for (let second = 0; second < 100; second += 1) {
              feedFrame(second, [service("outbox-1", { backlog: 50, peak: 50 }),
                service("outbox-2", { backlog: 27, peak: 27 })]);
            }
            Monitor.setPaused(true);
            Monitor.view.pausedAt = T0 + 99_000;
        """)
        strength = """
            const { depthChart } = Monitor, { context, ratio } = depthChart;
            return [50, 27].map((value) => {
              const x = depthChart.left + 150, y = depthChart.y(value) - 3;
              const { data } = context.getImageData(x * ratio, y * ratio, 1, 6 * ratio);
              return Math.max(...data.filter((_, i) => i % 4 === 3));
            });
        """
        browser.execute("Monitor.depthChart.scale.eased.then = -1e6")
        self.two_drawings()
        first = '#depth-legend [data-key="outbox-1 depth"]'
        for begin, end in (
            (f"document.querySelector('{first}').focus()", "document.activeElement.blur()"),
            (None, None),
        ):
            if begin:
                browser.execute(begin)
            else:
                place = browser.execute(
                    "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
                    "return [box.left + 20, box.top + 10]",
                    first,
                )
                browser.point(*place)
            self.two_drawings()
            one, other = browser.execute(strength)
            self.assertGreater(one, 2 * other)
            if end:
                browser.execute(end)
            else:
                browser.point(2, 2)
            self.two_drawings()
            one, other = browser.execute(strength)
            self.assertLess(max(one, other), 2 * min(one, other))

    def test_a_canvas_is_never_blank_while_it_is_resized(self) -> None:
        self.open_simulated()
        inked = self.browser.execute("""
            for (let second = 0; second < 9; second += 1) feedFrame(second, [service("outbox-1")]);
            drawAt(9);
            const { root, canvas } = Monitor.depthChart, seen = [];
            // An observer that comes after the page's own, and before the browser shows anything.
            const isBlank = () => {
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              return !data.some((value) => value);
            };
            return new Promise((done) => {
              const widths = [700, 640, 611, 580];
              const step = () => {
                if (!widths.length) return done(seen);
                root.style.width = `${widths.shift()}px`;
              };
              let first = true;
              new ResizeObserver(() => {
                const width = Math.round(root.clientWidth * devicePixelRatio);
                if (!first) seen.push([canvas.width === width, isBlank()]);
                first = false;
                setTimeout(step);
              }).observe(root);
            });
        """)
        self.assertEqual(inked, [[True, False]] * 4)

    def test_words_of_events_stand_at_their_own_poles_and_on_no_others(self) -> None:
        self.open_simulated()
        for width in (320, 768, 1440):
            self.browser.screen(width, 900)
            flags, poles, edges = self.browser.execute("""
                Monitor.model.clear();
                const at = (second, what, more) => (
                  { at: T0 + 1000 * second, what, name: "bizlogic-5680", ...more });
                const over = { was: "bizlogic-5680", name: "bizlogic-5681", service: "bizlogic" };
                const all = [
                  at(19.2, "gone", { how: "died" }), at(19.201, "failover", over),
                  at(40, "gone", { how: "died" }), at(45, "restarted"), at(80, "appeared"),
                  at(100, "gone", { how: "silent" }), at(109.8, "gone", { how: "stopped" }),
                  at(110.3, "failover", over), at(117, "restarted"), at(118.1, "back"),
                  at(118.4, "dead-letter", { letters: 3 }),
                ];
                for (let second = 0; second < 120; second += 1) {
                  feedFrame(second, [service("outbox-1"), service("bizlogic-5680")],
                    all.filter((event) => Math.round((event.at - T0) / 1000) === second));
                }
                drawAt(119.5);
                const chart = Monitor.depthChart, { context } = chart;
                const poles = all.map((event) => ({ event, x: chart.x(event.at) }));
                const measure = (text) => context.measureText(text).width;
                const flags = Flags.layout(poles, measure, chart.left - 8, chart.right + 8);
                return [flags, poles.map(({ x }) => x), [chart.left, chart.right]];
            """)
            self.assertGreaterEqual(len(flags), 3)
            self.assertTrue([f for f in flags if len(f["text"]) > 5] or width == 320, width)
            flagged = [flag["x"] for flag in flags]
            bare = [x for x in poles if min(abs(x - other) for other in flagged) > 3]
            for flag in flags:
                with self.subTest(width, text=flag["text"]):
                    begin, end = flag["begin"], flag["end"]
                    self.assertTrue(begin - 1 <= flag["x"] <= end + 1)
                    if (
                        len(flag["text"]) > 1
                    ):  # the glyph stands over the pole, at one end of the words
                        self.assertLess(min(flag["x"] - begin, end - flag["x"]), 10)
                        self.assertGreaterEqual(begin, edges[0] - 8)
                        self.assertLessEqual(end, edges[1] + 8)
                        self.assertFalse([x for x in bare if begin < x < end], "a bare pole")
                    for other in flags:
                        if other is flag or abs(other["x"] - flag["x"]) < 3:
                            continue
                        if other["lane"] == flag["lane"]:
                            self.assertFalse(begin < other["end"] and other["begin"] < end)
                        elif other["lane"] < flag["lane"]:
                            self.assertFalse(begin < other["x"] < end, "another's pole")

    def test_neighbours_on_a_ring_differ_also_after_one_has_gone(self) -> None:
        self.open_simulated()
        strokes = self.browser.execute("""
            const seen = [];
            const ring = (names) => ({ inbox: { policy: "consistent", targets: names,
              shares: Object.fromEntries(names.map((name) => [name, 1 / names.length])) } });
            [[1, 2, 3], [1, 3], [1, 3, 4, 5]].forEach((numbers, second) => {
              const names = numbers.map((number) => `inbox-${number}`);
              feedFrame(second, names.map((name) => service(name)), [], ring(names));
              drawAt(second);
              const shares = [...document.querySelectorAll("[aria-label=Inboxes] circle")];
              const place = (arc) => -Number(arc.getAttribute("stroke-dashoffset"));
              seen.push(shares.sort((a, b) => place(a) - place(b)).map((arc) => arc.style.stroke));
            });
            return seen;
        """)
        for ring in strokes:
            self.assertTrue(all(one != other for one, other in itertools.pairwise(ring)), ring)

    def test_one_s_own_size_of_letters_is_the_page_s(self) -> None:
        browser = self.browser
        if not isinstance(browser, Chromium):
            self.skipTest("only Chromium can be told so")
        browser.screen(900, 1000)  # on a wider one the graphs take the room that there is
        self.open_simulated()
        browser.execute("feedFrame(0, [service('outbox-1')]); drawAt(0)")
        sizes = """return ["body", "h1", "h2", "h3", "#state", "#pause", "#depth", "table", "td",
            "#depth-legend button", ".service b", "#no-events", ".keys"]
            .map((s) => parseFloat(getComputedStyle(document.querySelector(s)).fontSize))"""
        before = browser.execute(sizes)
        height = browser.execute("return Monitor.depthChart.canvas.clientHeight")
        try:
            browser.devtools("Page.setFontSizes", fontSizes={"standard": 24, "fixed": 20})
            after = browser.execute(sizes)
            self.two_drawings()
            zoomed = browser.execute("""const { canvas, context, zoom } = Monitor.depthChart;
                drawAt(0);
                return [context.getTransform().a / devicePixelRatio, zoom, canvas.clientHeight];""")
            self.assertEqual(zoomed[:2], [1.5, 1.5], "letters in a graph")
            self.assertEqual(zoomed[2], round(1.5 * height))
            # What is pointed at is there still.
            browser.execute("for (let s = 1; s < 100; s += 1) feedFrame(s, [service('outbox-1')])")
            browser.execute("Monitor.setPaused(true); Monitor.view.pausedAt = T0 + 99_000;")
            self.two_drawings()
            browser.point(
                *browser.execute("""const { canvas, zoom } = Monitor.depthChart;
                canvas.scrollIntoView({ block: "center", behavior: "instant" });
                const { left, top } = canvas.getBoundingClientRect();
                return [left + zoom * Monitor.depthChart.x(T0 + 40_000), top + 150];""")
            )
            self.two_drawings()
            self.assertEqual(browser.execute("return Monitor.view.shown"), 40)
        finally:
            browser.devtools("Page.setFontSizes", fontSizes={"standard": 16, "fixed": 13})
        self.assertEqual([round(b / a, 2) for a, b in zip(before, after, strict=True)], [1.5] * 13)

    def test_no_width_scrolls_sideways(self) -> None:
        self.open_simulated()
        self.browser.execute("""
            for (let second = 0; second < 20; second += 1) {
              const names = ["outbox-5800", "bizlogic-5680", `inbox-${"5".repeat(40)}`];
              const gone = { at: T0 + 1000 * second, what: "gone", how: "died", name: names[2] };
              feedFrame(second, names.map((name) => service(name)), [gone]);
            }
            Monitor.setPaused(true);
        """)
        for width in (320, 360, 640, 768, 1280, 1600):
            for dark in (False, True):
                self.browser.screen(width, 900, dark=dark)
                self.two_drawings()
                wide = "return document.documentElement.scrollWidth"
                self.assertLessEqual(self.browser.execute(wide), width)


# --- Colours, computed ---

# Machado, Oliveira and Fernandes (2009): how colours look to people who lack one kind of cone.
VISIONS = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "no green": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "no blue": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
Colour = tuple[float, float, float]


def linear(code: str) -> Colour:
    parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return r, g, b


def luminance(colour: Colour) -> float:
    r, g, b = colour
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: from 1 to 21."""
    dark, light = sorted((luminance(linear(one)), luminance(linear(other))))
    return (light + 0.05) / (dark + 0.05)


def lab(colour: Colour, vision: Any) -> Colour:
    """CIELAB of a colour as that vision sees it."""
    r, g, b = (
        min(1.0, max(0.0, sum(w * c for w, c in zip(row, colour, strict=True)))) for row in vision
    )
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.95047
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


class ColourTest(unittest.TestCase):
    def setUp(self) -> None:
        css = (ROOT / "monitoring" / "page" / "colours.css").read_text()
        light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
        found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part)) for part in (light, dark)]
        self.schemes = dict(zip(("light", "dark"), found, strict=True))

    def test_text_can_be_read(self) -> None:
        pairs = "ink card, ink page, quiet card, quiet page, accent card, bad card, bad page"
        pairs += ", on-accent accent, ink tint, quiet bad-tint, bad bad-tint, ink bad-tint"
        pairs += (
            ", appeared card, died card, silent card, stopped card, failover card, dead-letter card"
        )
        for scheme, colours in self.schemes.items():
            for pair in pairs.split(", "):
                text, ground = (colours[name] for name in pair.split())
                self.assertGreaterEqual(contrast(text, ground), 4.5, (scheme, pair))

    def test_lines_and_rings_stand_out_and_no_line_is_nearly_black(self) -> None:
        for scheme, colours in self.schemes.items():
            for name in (*(f"s{i}" for i in range(8)), "bark", "good", "bad"):
                for ground in ("card", "page"):
                    found = contrast(colours[name], colours[ground])
                    self.assertGreaterEqual(found, 3.0, (scheme, name, ground))
            for i in range(8):
                lightness, _, _ = lab(linear(colours[f"s{i}"]), VISIONS["all cones"])
                self.assertGreater(lightness, 33, (scheme, i))

    def test_no_two_lines_look_alike_to_anybody(self) -> None:
        for scheme, colours in self.schemes.items():
            lines = [colours[f"s{i}"] for i in range(8)]
            for name, vision in VISIONS.items():
                for one, other in itertools.combinations(lines, 2):
                    apart = math.dist(lab(linear(one), vision), lab(linear(other), vision))
                    self.assertGreater(apart, 25, (scheme, name, one, other))
