"""The page in a browser: the way of a bark, who keeps whom, and the filter."""

import contextlib
import json
import re
import unittest

from barker.routing.ring import Ring
from tests.tools.browser import ENTER
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW
from tests.tools.page import PageTestCase

# The steps of the newest bark's way: [name, words, is it done].
STEPS = """
    return [...document.querySelectorAll(".own .way li")].slice(0, 5).map(
      (step) => [...[...step.children].map((e) => e.textContent), step.dataset.done === "true"]);
"""
WORDS = "document.querySelector('.own .way summary')?.textContent"
# Users by their keeper, as the list shows them.
SHARES = """
    return Object.fromEntries([...document.querySelectorAll("#keptlists .names")].map(
      (list) => [list.ariaLabel, [...list.children].map((item) => item.firstChild.textContent)]));
"""
MARKS = """[...document.querySelectorAll("#keptlists [data-moved]")].map(
    (item) => [item.firstChild.textContent, item.title])"""


def setUpModule() -> None:
    PageTestCase.start_for_module(Chromium)


class WayTestCase(PageTestCase):
    def bark(self, text: str = "") -> str:
        text = text or self.new_text()
        self.browser.type("#text", text + ENTER)
        self.assertShown(text, within=".own")
        return text

    def steps(self) -> list[tuple[str, str, bool]]:
        return [(name, words, done) for name, words, done in self.browser.execute(STEPS)]

    def assertWords(self, pattern: str) -> None:
        condition = f"new RegExp({json.dumps(pattern)}).test({WORDS})"
        self.browser.wait_until(condition, f"the way says {pattern}")


class WayTest(WayTestCase):
    def test_a_bark_shows_its_way_with_the_times_of_ack_and_return(self) -> None:
        self.open_connected()
        self.bark()
        self.assertWords(r"^Its way: outbox-a, inbox-a, shown after \d+ ms$")
        page, outbox, bizlogic, inbox, shown = self.steps()
        self.assertEqual(page, ("this page", "kept it until the ack", True))
        self.assertEqual(outbox[0], "outbox-a")
        self.assertRegex(outbox[1], r"^in its journal after \d+ ms$")
        self.assertRegex(bizlogic[0], "^bizlogic-")
        self.assertEqual(bizlogic[1:], ("sent it to inboxes", True))  # no monitor has timed it
        self.assertEqual(inbox, ("inbox-a", "keeps it, and sent it here", True))
        self.assertEqual(shown[0], "shown")
        acked, back = (int(re.findall(r"\d+", step[1])[0]) for step in (outbox, shown))
        self.assertLessEqual(acked, back + 1)

    def test_with_a_monitor_each_hop_has_its_own_time(self) -> None:
        monitor = self.fleet.start("monitoring.monitor")
        try:
            self.open_connected()
            self.bark()
            self.browser.wait_until(f"{WORDS} && Barker.ways.notes.dialer?.up", "frames are read")
            timed = "document.querySelectorAll('.own .way li')[3].textContent.includes(' ms later')"
            self.browser.wait_until(timed, "the inbox has its time")
            for name, words, done in self.steps()[2:4]:
                self.assertRegex(words, r"^\d+\.\d\d ms later$", name)
                self.assertTrue(done)
            self.browser.execute("Barker.ways.trails[0].backAt -= 60000")
            self.browser.wait_until("!Barker.ways.notes", "the link is ended with its purpose")
            self.assertNotIn("monitor", self.browser.text("#services"))
        finally:
            monitor.close()

    def test_without_a_bizlogic_it_waits_in_the_outbox_and_goes_on_later(self) -> None:
        self.open_connected()
        bizlogic = next(p for p in self.fleet.processes if "barker.bizlogic" in p.argv)
        bizlogic.close()
        self.assertService("bizlogic", "offline")
        self.bark()
        self.assertWords("^No bizlogic runs, so it waits in outbox-a$")
        words = [step[1:] for step in self.steps()]
        self.assertEqual(words[2:], [("none runs", False), ("not yet", False), ("not yet", False)])
        self.fleet.processes.remove(bizlogic)
        self.fleet.bizlogic()
        self.assertWords("^Its way: outbox-a, inbox-a, shown after")

    def test_without_an_outbox_it_waits_in_the_page(self) -> None:
        self.open_connected()
        PageTestCase.outbox.kill()
        try:
            self.browser.wait_until("!Barker.client.writers.get('ark3').dialer.up", "it is away")
            self.bark()
            self.assertWords("^No outbox answers, so it waits in this page$")
            self.assertEqual([done for *_, done in self.steps()], [True, *[False] * 4])
        finally:
            port = PageTestCase.outbox.port
            PageTestCase.outbox = self.fleet.outbox("--name", "outbox-a", port=port)
        self.assertWords("^Its way: outbox-a, inbox-a, shown after")

    def test_a_refused_bark_has_no_way_on(self) -> None:
        self.open(user="nosuch")
        self.assertService("outbox", "up")
        self.browser.type("#text", "x" + ENTER)
        self.assertWords("^outbox-a refused it$")
        self.assertEqual(self.browser.execute("return Barker.ways.trails.length"), 0)

    def test_a_way_folds_but_not_one_that_was_opened_by_hand(self) -> None:
        self.open_connected()
        is_open = "document.querySelector('.own .way').open"
        self.bark()
        self.browser.wait_until(is_open, "it is open")
        self.browser.execute("Barker.ways.trails[0].backAt -= 60000")
        self.browser.wait_until(f"!{is_open}", "it has folded")
        self.bark()
        # By keyboard: close, and open again.
        self.browser.execute("document.querySelector('.own .way summary').focus()")
        self.browser.press(ENTER)
        self.browser.wait_until(f"!{is_open}", "it is closed")
        self.browser.press(ENTER)
        self.browser.execute("document.activeElement.blur()")
        self.assertWords("^Its way")
        self.browser.execute("Barker.ways.trails[0].backAt -= 60000")
        self.browser.wait_until("Barker.ways.trails.length === 0", "it is followed no longer")
        self.assertTrue(self.browser.execute(f"return {is_open}"))

    def test_promise_5_no_more_than_some_are_followed(self) -> None:
        self.open_connected()
        self.browser.execute(
            """Barker.client.say = () => {};
            for (let i = 0; i < 2 * Way.MAX_FOLLOWED; i += 1) {
              Barker.say({ id: "many" + i, user: "ark3", content: "many", at: Date.now() });
            }"""
        )
        script = """const count = (way) => document.querySelectorAll(way).length;
            const { trails } = Barker.ways;
            return [Way.MAX_FOLLOWED, trails.length, count(".way"), count(".way[open]")]"""
        most, *counts = self.browser.execute(script)
        self.assertEqual(counts, [most, most, 1])


class KeepersTest(WayTestCase):
    """Who keeps whom."""

    def open_list(self) -> None:
        self.open_connected()
        self.browser.click("#kept summary")
        whole = "!document.getElementById('keptstate').textContent.includes('asked')"
        self.browser.wait_until(f"{whole} && document.querySelector('#keptlists li')", "owners")

    def test_when_an_outbox_comes_and_dies_its_users_move_and_no_other(self) -> None:
        self.open_list()
        before = self.browser.execute(SHARES)
        self.assertEqual(list(before), ["outbox-a"])
        self.assertEqual(sorted(before["outbox-a"]), sorted(self.fleet.world.names))
        self.assertEqual(self.browser.execute(f"return {MARKS}"), [])
        with contextlib.ExitStack() as stack:
            for name in ("outbox-b", "outbox-c"):
                outbox = self.fleet.outbox("--name", name)
                stack.callback(outbox.kill)
                others = {"outbox-a", "outbox-b"} - {name}
                self.assertMoved(self.owned(name, "outbox-a", "outbox-b", name), *others)
            outbox.kill()
            users = self.owned("outbox-c", "outbox-a", "outbox-b", "outbox-c")
            self.assertMoved(users, "outbox-c")
        # Of one outbox to another: with numbers, which are read out. Then the marks grow old.
        gone = self.owned("outbox-b", "outbox-a", "outbox-b")
        self.assertMoved(gone, "outbox-b")
        stayed = len(self.fleet.world.names) - len(gone)
        words = f"{len(gone)} users of outbox-b moved, and {stayed} users stayed."
        self.assertEqual(self.browser.text("#keptstate"), words)
        said = f"document.getElementById('aloud').textContent.includes({json.dumps(words)})"
        self.browser.wait_until(said, "it is read out")
        self.browser.execute("Barker.keepers.changedAt -= 60000")
        self.browser.wait_until("!document.querySelector('[data-moved]')", "marks grow old")

    def owned(self, name: str, *outboxes: str) -> set[str]:
        ring = Ring({*outboxes})
        return {user for user in self.fleet.world.names if ring.owner(user) == name}

    def assertMoved(self, users: set[str], *keepers: str) -> None:
        """Wait until just these are marked, and all of these keepers are named."""
        seen = f"[0, 1].map((i) => [...new Set({MARKS}.map((mark) => mark[i]))].sort())"
        whole = [sorted(users), sorted(f"moved from {keeper}" for keeper in keepers)]
        same = f"JSON.stringify({seen}) === JSON.stringify({json.dumps(whole)})"
        self.browser.wait_until(same, "a move")
        self.browser.execute("Barker.keepers.changedAt -= 2000; Barker.keepers.saidAt -= 2000")

    def test_without_any_outbox_the_users_have_none_and_inboxes_are_another_list(self) -> None:
        self.open_list()
        self.browser.execute("document.querySelector('#keptby [value=inbox]').click()")
        everyone = len(self.fleet.world.names)
        whole = f"document.querySelectorAll('[aria-label=inbox-a] li').length === {everyone}"
        self.browser.wait_until(whole, "all users and their inbox")
        self.browser.execute("document.querySelector('#keptby [value=outbox]').click()")
        self.browser.wait_until("document.querySelector('[aria-label=outbox-a] li')", "outboxes")
        PageTestCase.outbox.kill()
        try:
            none = "document.querySelector(\"[aria-label='no outbox'] li\")"
            self.browser.wait_until(none, "no keeper")
            self.assertIn("No outbox keeps what", self.browser.text("#keptlists"))
            self.assertIn("no outbox keeps what you bark", self.browser.text("#keeps"))
        finally:
            port = PageTestCase.outbox.port
            PageTestCase.outbox = self.fleet.outbox("--name", "outbox-a", port=port)
        self.browser.wait_until("document.querySelector('[aria-label=outbox-a] li')", "it is back")

    def test_it_asks_only_while_it_is_open(self) -> None:
        self.open_list()
        self.assertTrue(self.browser.execute("return Barker.keepers.link.dialer.up"))
        self.browser.click("#kept summary")
        self.browser.wait_until("Barker.keepers.link === null", "the link is closed")

    def test_a_move_of_one_s_own_is_a_sentence_with_its_reason(self) -> None:
        self.open_connected(user=self.mover("outbox"))
        text = self.browser.wait_until(
            "/outbox-a.*inbox-a/.test(document.getElementById('keeps').textContent)"
            " && document.getElementById('keeps').textContent",
            "the keepers are named",
        )
        self.assertEqual(text, "Now outbox-a keeps what you bark, and inbox-a what you read.")
        outbox = self.fleet.outbox("--name", "outbox-b")
        try:
            self.assertTold("outbox-b is new on the ring, so outbox-b keeps what you bark now.")
        finally:
            outbox.kill()
        self.assertTold("outbox-b has gone from the ring, so outbox-a keeps what you bark now.")
        self.browser.execute("Barker.keepers.moves.get('outbox')[1] -= 60000")
        told = "document.getElementById('keepsmoved').textContent"
        self.browser.wait_until(f"{told} === ''", "it grows old")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as with an outbox")
    def test_so_is_a_move_of_what_one_reads(self) -> None:
        self.open_connected(user=self.mover("inbox"))
        inbox = self.fleet.inbox("--name", "inbox-b")
        try:
            self.assertTold("inbox-b is new on the ring, so inbox-b keeps what you read now.")
        finally:
            inbox.kill()
        self.assertTold("inbox-b has gone from the ring, so inbox-a keeps what you read now.")

    def mover(self, role: str) -> str:
        """A user that a second instance gets."""
        ring = Ring([f"{role}-a", f"{role}-b"])
        return next(user for user in self.fleet.world.names if ring.owner(user) == f"{role}-b")

    def assertTold(self, words: str) -> None:
        for where in ("keepsmoved", "aloud"):
            condition = f"Elements.$('{where}').textContent.includes({json.dumps(words)})"
            self.browser.wait_until(condition, f"{words!r} in {where}")

    def test_without_a_directory_it_says_so(self) -> None:
        self.open_list()
        PageTestCase.directory.kill()
        try:
            away = "document.getElementById('keptstate').textContent"
            self.browser.wait_until(f"{away} === 'The directory does not answer.'", "it is away")
            self.assertEqual(len(self.browser.execute(SHARES)["outbox-a"]), 106)
        finally:
            PageTestCase.directory = self.fleet.directory()
        self.browser.wait_until(f"{away}.startsWith('The ring')", "it is back")
        self.assertEqual(self.browser.execute(f"return {MARKS}"), [])


class FilterTest(WayTestCase):
    def visible(self) -> list[str]:
        script = """return [...document.querySelectorAll("#stream .bark:not([hidden]) .text")]
            .map((e) => e.textContent)"""
        return list(self.browser.execute(script))

    def test_a_tag_shows_its_barks_and_back_leads_back(self) -> None:
        tagged, other = "About #Größe, once", self.new_text()
        self.say_elsewhere("rdl", tagged)
        self.say_elsewhere("rdl", other)
        self.open_connected()
        self.assertShown(other)
        self.browser.click("#stream .tag")
        self.browser.wait_until("location.search.includes('tag=')", "the address has it")
        self.assertEqual(self.visible(), [tagged])
        self.assertEqual(self.browser.text("#title"), "#größe for ark3")
        self.assertEqual(self.browser.execute("return document.activeElement.id"), "title")
        self.assertRegex(self.browser.text("#end"), r"^With #größe: 1 of \d+ barks here\.$")
        self.assertEqual(self.browser.texts("#filter [aria-current]"), ["#größe"])
        late = "#größe again"
        self.say_elsewhere("rdl", self.new_text())
        self.say_elsewhere("rdl", late)
        self.browser.point(1, 1)
        self.assertShown(late)
        self.assertEqual(self.visible(), [late, tagged])
        self.browser.back()
        self.browser.wait_until("!Filter.isOn()", "all barks")
        self.assertEqual(self.browser.text("#title"), "ark3’s stream")
        self.assertIn(other, self.visible())
        # The same without a click before, and the way out by a click.
        self.open_connected(tag="größe")
        self.assertShown(late)
        self.assertEqual(self.visible(), [late, tagged])
        self.browser.click("#filter a")
        self.browser.wait_until("document.querySelectorAll('#stream .bark').length > 3", "all")
        self.assertIn(other, self.visible())
        self.assertNotIn("tag", self.browser.execute("return location.search"))

    def test_one_s_own_barks_and_a_bark_that_would_be_hidden(self) -> None:
        self.say_elsewhere("rdl", self.new_text())
        self.open_connected()
        mine = self.bark()
        self.assertShown(mine)
        self.browser.click("#filter [data-own]")
        self.browser.wait_until("Filter.isOn()", "a filter")
        others = "return document.querySelectorAll('#stream .bark:not(.own, [hidden])').length"
        self.assertEqual(self.browser.execute(others), 0)
        self.assertIn(mine, self.visible())
        self.assertEqual(self.browser.text("#title"), "ark3’s own barks")
        self.browser.point(1, 1)  # off the list, which would rest
        second = self.bark()
        self.assertShown(second)
        self.assertEqual(self.visible()[0], second)
        # Of another view: what one types is shown, and so the filter goes.
        self.open_connected(tag="nothing")
        self.assertEqual(self.visible(), [])
        self.assertRegex(self.browser.text("#end"), r"^With #nothing: 0 of \d+ barks here\.$")
        self.browser.point(1, 1)
        third = self.bark()
        self.assertShown(third)
        self.assertEqual(self.browser.text("#title"), "ark3’s stream")

    def test_only_what_is_shown_counts_as_new_and_is_kept(self) -> None:
        self.open_connected(tag="seldom")
        self.browser.execute(
            """const arrive = (id, content) => (
              Barker.arrive({ id, user: "rdl", content, at: 1 }, false));
            Elements.$("pause").click();
            arrive("s", "#seldom");
            for (let i = 0; i < 150; i += 1) arrive("r" + i, "often");"""
        )
        self.browser.wait_until("!Elements.$('more').disabled", "a new bark")
        self.assertEqual(self.browser.text("#more"), "1 new bark")
        self.browser.execute("Elements.$('pause').click()")
        self.assertShown("#seldom")
        self.browser.execute(
            """for (let i = 0; i < 150; i += 1) {
              Barker.arrive({ id: "t" + i, user: "rdl", content: "often", at: 1 }, false);
            }"""
        )
        self.browser.wait_until("Barker.stream.cut", "the list is full")
        self.assertEqual(self.visible(), ["#seldom"])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: looks at odd addresses")
    def test_an_address_of_any_kind_does_no_harm(self) -> None:
        for tag in ("<img src=x onerror=window.pwned=1>", "x" * 300, "#", "%00"):
            self.open_connected(tag=tag)
            self.assertEqual(self.visible(), [])
            script = (
                "return [window.pwned ?? null, document.documentElement.scrollWidth <= innerWidth]"
            )
            self.assertEqual(self.browser.execute(script), [None, True])

    def test_both_pages_lead_to_each_other(self) -> None:
        self.open_connected()
        href = self.browser.execute("return document.querySelector('.monitor').href")
        wanted = (self.webui.parent / "monitoring" / "index.html").as_uri()
        self.assertEqual(href, wanted)


if __name__ == "__main__":
    unittest.main()
