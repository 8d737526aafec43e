"""How the page looks in a real browser, and how it keeps up with many barks."""

import unittest

from barker.routing.ring import Ring
from tests.tools.browser import ENTER
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW
from tests.tools.page import MAX_SHOWN, PageTestCase


def setUpModule() -> None:
    PageTestCase.start_for_module(Chromium)


class LooksTest(PageTestCase):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: looks at every element")
    def test_every_text_has_contrast_in_both_schemes(self) -> None:
        self.say_elsewhere("rdl", "@ark3 looks at #contrast with @rhs")
        for dark in (False, True):
            self.browser.screen(1000, 900, dark=dark)
            self.open_connected()
            self.browser.wait_until("document.querySelector('#stream .bark')", "a bark")
            self.browser.execute("Barker.arrive({id: 'c', user: 'ark3', content: 'own', at: 1})")
            self.browser.execute(
                """Barker.say({id: "d", user: "nobody", content: "x", at: 1});
                const entry = Barker.mine.get("nobody/d");
                document.querySelector("#unsent").append(Barker.stream.item(entry));
                Barker.refused(entry.bark, "because"); Barker.stream.add({note: "a note"});
                for (const user of BARKER.users) {
                  const face = Stream.paintFace(Elements.make("span", "face"), user);
                  document.querySelector("#end").append(face);
                }
                document.querySelector("#left").dataset.level = "over";
                document.querySelector("#banner").hidden = false;
                document.querySelector("#more").textContent = "44 new barks";
                document.querySelector("#more").disabled = false;"""
            )
            kinds = "document.querySelector('.own') && document.querySelector('.note')"
            self.browser.wait_until(kinds, "all kinds of text")
            low = self.browser.execute(CONTRAST)
            self.assertEqual(low, [], "dark" if dark else "light")

    def test_nothing_sticks_out_at_any_width(self) -> None:
        self.open(user="x" * 20)  # is nobody, so there are a banner and what is refused
        self.assertService("outbox", "up")
        self.browser.type("#text", "x" * 280 + ENTER)
        self.browser.wait_until("document.querySelector('#unsent .why')", "refused")
        self.browser.execute(
            """Barker.arrive({id: "w", user: "y".repeat(20), content: "x".repeat(280), at: 1});
            const follows = ["z".repeat(20)];
            Barker.panel.show({ exists: true, follows, following: 1, followed_by: 9 });
            Barker.panel.suggestion({ whom: "w".repeat(20), common: 15 });
            Barker.panel.drawLists();
            document.querySelectorAll("details").forEach((e) => { e.open = true; });
            Elements.$("more").textContent = "1,234 new barks";
            Elements.$("more").disabled = false;"""
        )
        self.browser.type("#newcomer", "No Name" + ENTER)
        self.browser.wait_until("document.querySelector('#stream .bark')", "a bark")
        self.assertAllFits()

    def test_names_of_64_characters_fit(self) -> None:
        name = "outbox-" + "5" * 57
        ring = Ring(["outbox-a", name])
        user = next(user for user in self.fleet.world.names if ring.owner(user) == name)
        self.open_connected(user=user)
        outbox = self.fleet.outbox("--name", name)
        try:
            told = "document.querySelector('#keepsmoved').textContent"
            self.browser.wait_until(f"{told}.includes('{name} is new')", "it is told")
            self.browser.type("#text", self.new_text() + ENTER)
            shown = f"document.querySelector('.own .way')?.textContent.includes('way: {name}')"
            self.browser.wait_until(shown, "its way")
            self.browser.execute("kept.open = true")
            named = f"document.querySelector('[aria-label={name}] li')"
            self.browser.wait_until(named, "it is among the keepers")
            self.assertAllFits()
        finally:
            outbox.kill()

    def assertAllFits(self) -> None:
        for width in (320, 360, 480, 640, 768, 800, 900, 1280, 1600):
            self.browser.screen(width, 700)
            with self.subTest(width=width):
                script = "return document.documentElement.scrollWidth"
                self.assertLessEqual(self.browser.execute(script), width)
                script = """return [...document.querySelectorAll(".top *, main *")]
                    .filter((e) => !e.matches(".aloud, .face") && e.scrollWidth > e.clientWidth + 1
                                   && getComputedStyle(e).textOverflow !== "ellipsis"
                                   && e.clientWidth > 0).map((e) => e.outerHTML.slice(0, 60))"""
                self.assertEqual(self.browser.execute(script), [])
        self.browser.screen(1000, 800)


class LoadTest(PageTestCase):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: takes ten seconds")
    def test_200_barks_a_second_leave_the_page_small_and_quiet(self) -> None:
        """How smooth it stays is measured by ``tests.bench.frames``."""
        seconds = 10
        self.browser.screen(1280, 900)
        self.open_connected(user="rdl")
        # Two of three dogs bark for rdl: this makes some 240 a second.
        autobark = self.fleet.run("autobark", "280", "--seed", "1")
        try:
            full = f"Barker.stream.list.childElementCount >= {MAX_SHOWN}"
            self.browser.wait_until(full, "a full list")
            self.browser.execute(MEASURE, seconds * 1000)
            found = self.browser.wait_until("window.measured", "a measure", 2 * seconds + 20)
        finally:
            autobark.close()
        self.assertGreater(found["barks"], MAX_SHOWN)
        self.assertLess(found["nodes"], 20 * MAX_SHOWN)
        self.assertLessEqual(found["aloud"], 1 + seconds / 10, "the live region floods")
        self.browser.wait_until("!Barker.stream.frame", "all is drawn")
        self.assertEqual(len(self.shown()), MAX_SHOWN)


# Contrast by WCAG 2.2 (1.4.3) of every element that has text of its own; the ones below 4.5:1.
CONTRAST = """
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const rgba = (color) => {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
    const ground = (e) => {
      if (!e) return [255, 255, 255];
      const own = rgba(getComputedStyle(e).backgroundColor);
      return own[3] === 1 ? own.slice(0, 3) : over(own, ground(e.parentElement));
    };
    const light = (rgb) => {
      const [r, g, b] = rgb.map((v) => v / 255).map(
        (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const low = [];
    for (const e of document.body.querySelectorAll("*")) {
      const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
      if (!own && e.id !== "text" || e.matches(":disabled") || !e.getClientRects().length) continue;
      const below = ground(e), style = getComputedStyle(e);
      const a = light(over(rgba(style.color), below)), b = light(below);
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) low.push([e.id || e.className, e.textContent.slice(0, 20), ratio]);
    }
    return low;
"""

# For so many milliseconds: how long each frame took, barks that came, what was said aloud.
MEASURE = """
    const found = {frames: [], aloud: 0, barks: -Barker.client.reader.serial};
    new MutationObserver(() => { found.aloud += 1; })
      .observe(document.querySelector("#aloud"), {childList: true});
    const end = performance.now() + arguments[0];
    let last = null;
    const frame = () => {
      const now = performance.now();
      if (last !== null) found.frames.push(now - last);
      last = now;
      if (now < end) return requestAnimationFrame(frame);
      found.barks += Barker.client.reader.serial;
      found.nodes = document.getElementsByTagName("*").length;
      window.measured = found;
    };
    window.measured = null;
    requestAnimationFrame(frame);
"""
