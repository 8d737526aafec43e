"""The page in a real browser, by keyboard, by ear, enlarged, and with a slow hand."""

import json
import unittest

from tests.tools.browser import ENTER, SHIFT, TAB
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW
from tests.tools.page import PageTestCase

DOWN, END = "\ue015", "\ue010"
# Barks of two dogs, as if they had just come.
ARRIVE = """
    const [first, count] = arguments;
    for (let i = first; i < first + count; i += 1) {
      const user = i % 2 ? "rdl" : "rhs";
      Barker.arrive({ id: "arrive" + i, user, content: "arrived " + i, at: Date.now() }, false);
    }
"""
# A bark that is on its way, for minutes: the longest words for a time.
OWN_BARK = """
    const at = Date.now() - 123400;
    window.own = (i) => ({ id: "own" + i, user: "ark3", content: "own " + i, at });
    Barker.say(own(arguments[0]));
"""
FOLLOWS_CHANGE = """
    const { list } = Barker.panel, follows = list.follows.filter((name) => name !== "rdl");
    Barker.panel.show({ ...list, follows });
"""
# The barks of a test of its own, newest first; more of others may be below them.
TALL = """[...document.querySelectorAll("#stream [data-key^='rdl/tall']")]"""
TOP = """
    const element = document.querySelector(arguments[0]);
    return element && element.getBoundingClientRect().top;
"""


def setUpModule() -> None:
    PageTestCase.start_for_module(Chromium)


class ReachTestCase(PageTestCase):
    def arrive(self, first: int, count: int) -> None:
        self.browser.execute(ARRIVE, first, count)

    def open_with_barks(self, count: int = 12, **query: str) -> None:
        self.open_connected(**query)
        self.browser.wait_until("Barker.panel.list", "whom the user follows")
        self.arrive(0, count)
        self.assertShown(f"arrived {count - 1}")  # the past alone may be as many barks

    def point_at(self, selector: str) -> None:
        middle = """const box = document.querySelector(arguments[0]).getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2]"""
        self.browser.point(*self.browser.execute(middle, selector))

    def focused(self) -> str:
        script = "const e = document.activeElement; return e.id || e.className || e.tagName"
        return str(self.browser.execute(script))

    def said(self) -> list[str]:
        return self.browser.texts("#aloud p")

    def assertSaid(self, text: str) -> None:
        condition = f"Elements.$('aloud').textContent.includes({json.dumps(text)})"
        self.browser.wait_until(condition, f"{text!r} is said")

    def frames(self) -> None:
        """Wait until what was to be drawn has been drawn."""
        self.browser.execute(
            "return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )


class StillTest(ReachTestCase):
    """Nothing moves under the pointer or the focus."""

    def test_what_one_points_at_stays_and_a_click_hits_it(self) -> None:
        self.open_with_barks()
        target = "#stream .bark:nth-child(2) button.follow"
        x, y, whom = self.browser.execute(
            f"""const button = document.querySelector("{target}");
            const {{ left, top, width, height }} = button.getBoundingClientRect();
            return [left + width / 2, top + height / 2, button.dataset.follow]"""
        )
        self.browser.point(x, y)
        for i in range(8):
            self.arrive(100 + i, 1)
            self.frames()
            there = self.browser.execute(
                "return document.elementFromPoint(...arguments).dataset.follow", x, y
            )
            self.assertEqual(there, whom)
        self.assertEqual(self.browser.text("#more"), "8 new barks")
        self.browser.execute("Barker.client.say = (event) => { window.asked = event; }")
        self.browser.point(x, y, click=True)
        self.browser.wait_until("window.asked", "a click is heard")
        self.assertEqual(self.browser.execute("return asked.whom"), whom)
        self.browser.point(1, 1)
        self.assertShown("arrived 107")

    def test_nothing_that_becomes_of_acts_moves_the_list_that_is_pointed_at(self) -> None:
        for width in (320, 545, 640, 760, 900, 920, 1440):
            self.browser.screen(width, 1400)
            self.open_with_barks(6)
            self.browser.execute("Barker.client.say = () => {}")
            for i in (1, 2):
                self.browser.execute(OWN_BARK, i)
            self.point_at("#stream .bark:nth-child(2)")
            tops = """return [...document.querySelectorAll("#stream .bark")].slice(0, 3)
                .map((e) => e.getBoundingClientRect().top)"""
            before = self.browser.execute(tops)
            for act in (
                "Barker.refused(own(1), 'why '.repeat(30))",
                "Barker.client.on.settled(own(2))",
                "Barker.arrive(own(2), false)",
                "Barker.panel.toggle('rdl')",
                "Barker.panel.settled(Barker.panel.asked.get('rdl'))",
                FOLLOWS_CHANGE,
                "Barker.panel.suggestion({ whom: 'toto', common: 3 })",
                "Barker.panel.joined('newcomer')",
                "for (const time of document.querySelectorAll('time')) time.at -= 7e6; "
                "Times.age(document)",
                "for (let i = 0; i < 2000; i += 1) "
                "Barker.arrive({ id: 'b' + i, user: 'rdl', content: 'b', at: 1 }, false)",
                "for (const item of document.querySelectorAll('#services .name')) "
                "item.textContent = 'a-long-name'.repeat(5)",
            ):
                self.browser.execute(act.replace("own(", "window.own("))
                self.frames()
                with self.subTest(width=width, act=act):
                    self.assertEqual(self.browser.execute(tops), before)
            self.browser.point(1, 1)
            self.browser.wait_until("document.querySelector('#unsent .why')", "why it was refused")
        self.browser.screen(1000, 800)

    def test_a_click_in_the_list_of_the_followed_moves_none_of_them(self) -> None:
        for width in (320, 1000):
            with self.subTest(width=width):
                self.browser.screen(width, 800)
                self.open_connected()
                self.browser.wait_until("Barker.panel.list?.follows.length > 1", "the followed")
                self.browser.execute("document.querySelector('#following details').open = true")
                button = "#follows li:nth-child(4) button"
                self.browser.execute(f"document.querySelector('{button}').scrollIntoView()")
                self.browser.execute("Barker.client.say = (event) => { window.asked = event; }")
                self.point_at(button)
                before = self.browser.execute(TOP, button)
                self.browser.click(button)
                for act in ("Barker.panel.settled(asked)", "Barker.panel.refused(asked, 'why')"):
                    self.browser.execute(act)
                    self.frames()
                    self.assertEqual(self.browser.execute(TOP, button), before, act)
                self.assertSaid(" no longer. The outbox has it")
                self.assertSaid("Why.")
                self.browser.point(1, 1)
                self.browser.execute("Elements.$('whom').scrollIntoView()")
                told = "Elements.$('followtold').textContent === 'Why.'"
                self.browser.wait_until(told, "it is written as soon as it moves nothing")

    def test_suggestions_stay_while_one_points_at_them(self) -> None:
        self.open_with_barks(2)
        suggest = """Barker.panel.follows.clear();
            for (const [whom, common] of arguments[0]) Barker.panel.suggestion({ whom, common });"""
        self.browser.execute(suggest, [["toto", 3], ["lassie", 2]])
        self.browser.wait_until("Elements.$('suggestions').childElementCount === 2", "two rows")
        rows = "return [...document.querySelectorAll('#suggestions .author')].map((e) => e.text)"
        before = self.browser.execute(rows)
        x, y = self.browser.execute(
            """const {left, top} = document.querySelector("#suggestions button")
                .getBoundingClientRect(); return [left + 5, top + 5]"""
        )
        self.browser.point(x, y)
        self.browser.execute(suggest, [["rover", 9]])
        self.frames()
        self.assertEqual(self.browser.execute(rows), before)
        self.browser.point(1, 1)
        first = "document.querySelector('#suggestions .author').textContent === 'rover'"
        self.browser.wait_until(first, "the best comes first as soon as the mouse is away")

    def test_what_has_the_focus_stays_and_new_barks_are_reached_by_keyboard(self) -> None:
        self.open_with_barks()
        self.browser.execute("document.querySelector('#stream .author').focus()")
        before = self.browser.execute(TOP, "#stream .author:focus")
        self.arrive(100, 3)
        self.browser.wait_until("!Elements.$('more').disabled", "the button")
        self.assertEqual(self.browser.execute(TOP, "#stream .author:focus"), before)
        for _ in range(4):
            self.browser.press(SHIFT, TAB)
            self.frames()
            if self.focused() == "more":
                break
        self.assertEqual(self.focused(), "more")
        self.browser.press(ENTER)
        self.assertShown("arrived 102")
        self.assertEqual(self.focused(), "title")

    def test_the_focus_is_not_lost_when_new_barks_are_no_longer_offered(self) -> None:
        self.open_with_barks(30)
        self.browser.execute("window.scrollTo(0, 400)")
        self.browser.wait_until("window.scrollY > 0", "scrolled")
        self.arrive(100, 3)
        self.browser.wait_until("!Elements.$('more').disabled", "the button")
        self.browser.execute("Elements.$('more').focus(); Barker.stream.waiting = 0;")
        self.browser.execute("Barker.stream.soon()")
        self.browser.wait_until("Elements.$('more').disabled", "nothing waits")
        self.assertEqual(self.focused(), "title")

    def test_trouble_moves_nothing_and_is_seen_wherever_one_is(self) -> None:
        self.browser.screen(1000, 600)
        self.open_with_barks(30)
        self.browser.execute("window.scrollTo(0, 300)")
        before = self.browser.execute(TOP, "#stream")
        PageTestCase.inbox.freeze()
        try:
            self.browser.wait_until("!Elements.$('banner').hidden", "the page says so")
            self.assertEqual(self.browser.execute(TOP, "#stream"), before)
            top = self.browser.execute(TOP, "#banner")
            self.assertTrue(0 < top < 600, top)
        finally:
            PageTestCase.inbox.thaw()
        self.browser.wait_until("Elements.$('banner').hidden", "all is well")
        self.assertEqual(self.browser.execute(TOP, "#stream"), before)
        self.browser.screen(1000, 800)

    def test_pause_holds_the_list_and_hushes_it_until_one_goes_on(self) -> None:
        self.open_with_barks()
        self.browser.click("#pause")
        self.browser.point(1, 1)
        self.assertEqual(
            self.browser.execute("return Elements.$('pause').getAttribute('aria-pressed')"), "true"
        )
        self.arrive(100, 5)
        self.browser.wait_until("Elements.$('more').textContent === '5 new barks'", "they wait")
        self.assertNotIn("arrived 104", self.shown())
        self.browser.click("#more")
        self.browser.point(1, 1)
        self.assertShown("arrived 104")
        self.arrive(200, 1)
        self.browser.wait_until("Elements.$('more').textContent === '1 new bark'", "still paused")
        self.open()  # it is a wish of the person's, and holds
        pressed = "Elements.$('pause').getAttribute('aria-pressed') === 'true'"
        self.browser.wait_until(pressed, "still paused")
        self.browser.click("#pause")
        self.browser.point(1, 1)
        self.arrive(300, 1)
        self.assertShown("arrived 300")

    def test_back_leads_to_the_place_and_the_link_that_one_has_left(self) -> None:
        self.browser.screen(1000, 600)
        self.open_with_barks(60)
        self.browser.execute(
            """const link = document.querySelectorAll("#stream .author")[40];
            link.focus();
            link.scrollIntoView({ block: "center" });"""
        )
        self.browser.wait_until("window.scrollY > 500", "scrolled")
        place = "return [scrollY, document.activeElement.closest('li')?.dataset.key]"
        before = self.browser.execute(place)
        self.browser.press(ENTER)
        self.browser.wait_until("Barker.client.user !== 'ark3'", "another view")
        self.assertState("connected")
        self.browser.back()
        self.browser.wait_until("Barker.client.user === 'ark3'", "back")
        self.assertEqual(self.browser.execute(place), before)
        text = self.new_text()
        self.say_elsewhere("rdl", text)
        self.browser.wait_until("!Elements.$('more').disabled", "it goes on where it was")
        self.browser.click("#more")
        self.browser.point(1, 1)
        self.assertShownOnce(text)
        self.assertEqual(self.shown().count("arrived 59"), 1)
        self.browser.screen(1000, 800)


class KeyboardTest(ReachTestCase):
    def test_arrow_keys_in_the_user_menu_only_choose(self) -> None:
        self.open_connected()
        self.browser.execute("Elements.$('user').focus()")
        self.browser.press(DOWN)
        self.browser.press(DOWN)
        chosen = self.browser.execute("return Elements.$('user').value")
        self.assertNotEqual(chosen, "ark3")
        self.assertEqual(self.browser.execute("return Barker.client.user"), "ark3")
        self.browser.press(TAB)
        self.browser.press(ENTER)
        self.browser.wait_until(f"Barker.client.user === '{chosen}'", "the button switches")

    def test_links_skip_what_is_long(self) -> None:
        self.open_with_barks()
        self.browser.execute("document.body.tabIndex = -1; document.body.focus()")
        self.browser.press(TAB)
        self.assertEqual(self.focused(), "skip")
        self.assertGreater(self.browser.execute(
            "return document.activeElement.getBoundingClientRect().height"), 20)  # fmt: skip
        self.browser.press(ENTER)
        self.assertEqual(self.focused(), "title")
        for _ in range(6):  # "new barks", Pause, and the next link
            self.browser.press(TAB)
            if self.focused() == "skip":
                break
        self.browser.press(ENTER)
        self.assertEqual(self.focused(), "end")
        self.assertEqual(self.browser.execute("return Barker.client.user"), "ark3")

    def test_targets_are_large_enough(self) -> None:
        """WCAG 2.2, 2.5.8: 24 pixels. Links in a line of text are exempt."""
        self.open_with_barks()
        self.browser.execute(
            """document.querySelectorAll("details").forEach((e) => { e.open = true; });
            Barker.panel.follows.clear();
            Barker.panel.suggestion({ whom: "toto", common: 3 });
            Barker.panel.drawLists();
            Barker.say({ id: "refused", user: "ark3", content: "x", at: 1 });
            Barker.refused({ id: "refused", user: "ark3" }, "because");"""
        )
        small = self.browser.execute(
            """return [...document.querySelectorAll("button, select, input, summary, .brand")]
              .map((e) => [e.id || e.className || e.textContent, e.getBoundingClientRect()])
              .filter(([, { width, height }]) => width && (width < 24 || height < 24))
              .map(([name, { width, height }]) => [name, width, height])"""
        )
        self.assertEqual(small, [])


class EarTest(ReachTestCase):
    """What a screen reader says by itself."""

    def test_what_becomes_of_a_bark_is_said(self) -> None:
        self.open_connected()
        self.browser.type("#text", self.new_text() + ENTER)
        self.assertSaid("Sent")
        self.open(user="nobody_here")
        self.assertService("outbox", "up")
        self.browser.type("#text", "hello?" + ENTER)
        self.assertSaid("Not sent: There is no user nobody_here.")

    def test_trouble_is_said(self) -> None:
        self.open(user="nobody_here")
        self.assertSaid("There is no user nobody_here.")
        region = "return [Elements.$('aloud').getAttribute('role'), Elements.$('aloud').hidden]"
        self.assertEqual(self.browser.execute(region), ["log", False])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for summaries")
    def test_new_barks_are_said_in_summary_but_not_the_past_and_not_while_paused(self) -> None:
        self.say_elsewhere("rdl", self.new_text())
        self.open_connected()
        self.browser.execute("window.asked = setTimeout; window.times = [];")
        self.assertEqual(self.said(), [])
        self.arrive(0, 44)
        self.assertSaid("44 new barks, the latest by rdl")
        self.browser.click("#pause")
        self.browser.point(1, 1)
        self.arrive(100, 44)
        text = self.new_text()
        self.browser.type("#text", text + ENTER)
        self.assertSaid("Sent")
        self.browser.click("#pause")
        self.browser.point(1, 1)
        self.arrive(200, 2)
        self.assertSaid("2 new barks, the latest by rdl")
        said = [line for line in self.said() if "new barks" in line]
        self.assertEqual(
            said, ["44 new barks, the latest by rdl", "2 new barks, the latest by rdl"]
        )

    def test_how_much_fits_in_is_no_bare_number(self) -> None:
        self.open_connected()
        self.browser.type("#text", "wuff")
        described = """return Elements.$("text").getAttribute("aria-describedby").split(" ")
            .map((id) => Elements.$(id)).filter((e) => !e.ariaHidden)
            .map((e) => e.textContent).join(" ")"""
        self.assertIn("276 characters left", self.browser.execute(described))

    def test_what_is_said_about_a_field_goes_with_its_text(self) -> None:
        self.open_connected()
        self.browser.wait_until("!Elements.$('following').hidden", "the form")
        self.browser.execute("document.querySelector('.joining').open = true")
        for field, told in (("whom", "followtold"), ("newcomer", "jointold")):
            look = f"""return [Elements.$("{field}").getAttribute("aria-invalid"),
                Elements.$("{told}").textContent]"""
            self.assertEqual(self.browser.execute(look), [None, ""])
            self.browser.type(f"#{field}", "No Name" + ENTER)
            invalid, text = self.browser.execute(look)
            self.assertEqual(invalid, "true")
            self.assertIn("“No Name” is no user name.", text)
            self.browser.type(f"#{field}", "x")
            self.assertEqual(self.browser.execute(look), [None, ""])
        invalid = "return Elements.$('text').hasAttribute('aria-invalid')"
        self.assertFalse(self.browser.execute(invalid))


class EyeTest(ReachTestCase):
    def test_one_s_own_size_of_letters_is_the_page_s(self) -> None:
        if not isinstance(self.browser, Chromium):
            self.skipTest("only Chromium can be told so")
        self.open_with_barks(2)
        sizes = """return ["body", "#text", "#stream .text", "#stream .at", "#send", "#user", "h1",
            "#services", ".hint"].map((s) => getComputedStyle(document.querySelector(s)).fontSize)
            .map(parseFloat)"""
        before = self.browser.execute(sizes)
        try:
            self.browser.devtools("Page.setFontSizes", fontSizes={"standard": 24, "fixed": 20})
            after = self.browser.execute(sizes)
            self.assertEqual(
                [round(b / a, 2) for a, b in zip(before, after, strict=True)], [1.5] * 9
            )
            width = "return document.documentElement.scrollWidth"
            self.assertLessEqual(self.browser.execute(width), 1000)
        finally:
            self.browser.devtools("Page.setFontSizes", fontSizes={"standard": 16, "fixed": 13})

    def test_the_services_are_in_sight(self) -> None:
        for width, height in ((320, 640), (768, 900), (1440, 700)):
            self.browser.screen(width, height)
            self.open_with_barks(2)
            self.browser.execute(
                """Barker.panel.follows.clear();
                for (const whom of ["toto", "lassie", "rover"]) {
                  Barker.panel.suggestion({ whom, common: 3 });
                }
                document.querySelector("#following details").open = true;"""
            )
            places = """return [...document.querySelectorAll("#services li")]
                .map((e) => e.getBoundingClientRect())
                .map((r) => [r.left, r.top, r.right, r.bottom])"""
            boxes = self.browser.execute(places)
            self.assertEqual(len(boxes), 5)
            for left, top, right, bottom in boxes:
                self.assertTrue(0 <= left < right <= width and 0 <= top < bottom <= height)
        self.browser.screen(1000, 800)

    def test_a_mention_in_a_text_from_right_to_left_is_not_turned_round(self) -> None:
        self.open_connected()
        self.browser.execute(
            """Barker.arrive({ id: "rtl", user: "rdl", at: Date.now(),
                content: "שלום @rhs ו #bone ברוכים" }, false)"""
        )
        self.browser.wait_until("document.querySelector('#stream .mention')", "the bark")
        order = """const places = [];
            for (const mark of document.querySelectorAll("#stream .mention, #stream .tag")) {
              const [first, last] = [0, mark.textContent.length - 1].map((i) => {
                const range = document.createRange();
                range.setStart(mark.firstChild, i);
                range.setEnd(mark.firstChild, i + 1);
                return range.getBoundingClientRect().left;
              });
              places.push(first < last);
            }
            return places"""
        self.assertEqual(self.browser.execute(order), [True, True])

    def test_no_bark_is_higher_than_a_screen_before_one_wants_it(self) -> None:
        self.browser.screen(320, 640)
        self.open_connected()
        self.browser.execute(
            """const tall = ["x\\n".repeat(139) + "x", "W".repeat(280), "short"];
            tall.forEach((content, i) => Barker.arrive(
                { id: "tall" + i, user: "rdl", content, at: Date.now() }, false));"""
        )
        self.assertShown("short")
        heights = f"return {TALL}.map((e) => e.offsetHeight)"
        self.assertLess(max(self.browser.execute(heights)), 400)
        buttons = f"return {TALL}.map((e) => e.querySelectorAll('[data-act=unfold]').length)"
        self.assertEqual(self.browser.execute(buttons), [0, 1, 1])
        self.browser.click("#stream [data-act=unfold]")
        self.browser.point(1, 1)
        self.assertGreater(max(self.browser.execute(heights)), 400)
        open_ = "return document.querySelector('[data-act=unfold]').getAttribute('aria-expanded')"
        self.assertEqual(self.browser.execute(open_), "true")
        self.browser.screen(1000, 800)

    def test_a_bark_is_folded_too_when_the_window_gets_narrow(self) -> None:
        self.open_connected()
        self.browser.execute(
            """Barker.arrive({ id: "tall", user: "rdl", content: "W".repeat(280), at: 1 }, false)"""
        )
        self.browser.wait_until(f"{TALL}.length", "the bark")
        folded = f"{TALL}[0].querySelectorAll('[data-act=unfold]').length"
        self.assertEqual(self.browser.execute(f"return {folded}"), 0)
        for width in (320, 360):
            self.browser.screen(width, 640)
            self.browser.wait_until(
                f"{folded} === 1 && {TALL}[0].offsetHeight < 400", "it is folded"
            )
        self.browser.screen(1000, 800)
