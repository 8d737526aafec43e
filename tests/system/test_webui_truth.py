"""What the page says and keeps, in a real browser, while services are away or clocks differ."""

import json
import time
import unittest

from tests.tools.browser import ENTER
from tests.tools.children import SCALE
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW, Service
from tests.tools.page import PageTestCase

# Behind the system's clock by so much.
SLOW_CLOCK_MS = 120_000
# Promised: after an outage of any length, a page is back so soon after its service.
BACK_WITHIN_S = 10.0


def setUpModule() -> None:
    PageTestCase.start_for_module(Chromium)


class TruthTestCase(PageTestCase):
    def trouble(self) -> str:
        self.browser.wait_until("!Elements.$('banner').hidden", "the page says something")
        return self.browser.text("#trouble")

    def assertTrouble(self, words: str) -> None:
        condition = f"Elements.$('trouble').textContent.includes({json.dumps(words)})"
        self.browser.wait_until(condition, words)

    def one(self, module: str) -> Service:
        """The process of that service."""
        (found,) = (p for p in self.fleet.processes
                    if f"barker.{module}" in p.argv and p.popen.poll() is None)  # fmt: skip
        assert isinstance(found, Service)
        return found


class LinksTest(TruthTestCase):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    def test_a_frozen_inbox_is_said_not_to_answer(self) -> None:
        self.open_connected()
        PageTestCase.inbox.freeze()
        try:
            self.assertTrouble(
                "The inbox inbox-a does not answer, and the directory knows no other."
            )
            self.assertNotIn("running", self.trouble())
            self.assertState("partly")  # not "Reconnecting" for ever
        finally:
            PageTestCase.inbox.thaw()
        self.assertState("connected")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for the directory to settle")
    def test_of_the_directory_alone_it_is_said_that_it_is_away(self) -> None:
        PageTestCase.directory.kill()
        try:
            self.open()
            self.assertTrouble(f"The directory at 127.0.0.1:{self.fleet.port} does not answer")
            self.assertNotIn("Is the system running", self.trouble())
        finally:
            PageTestCase.directory = self.fleet.directory()
        self.assertState("connected")
        self.browser.wait_until("Elements.$('banner').hidden", "nothing is wrong")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits until a dead outbox is offline")
    def test_without_an_outbox_it_is_partly_connected_and_says_what_becomes_of_barks(self) -> None:
        self.open_connected()
        PageTestCase.outbox.kill()
        try:
            self.assertTrouble("What you bark is kept here and sent later.")
            self.assertState("partly")
            self.assertEqual(self.browser.text("#state"), "Partly connected")
        finally:
            port = PageTestCase.outbox.port
            PageTestCase.outbox = self.fleet.outbox("--name", "outbox-a", port=port)
        self.assertState("connected")

    def test_without_a_bizlogic_barks_are_taken_and_it_is_said_that_they_wait(self) -> None:
        self.open_connected()
        bizlogic = self.one("bizlogic")
        bizlogic.freeze()  # and others take it for dead
        try:
            self.assertTrouble("No bizlogic is registered: barks are taken, and not delivered")
            self.assertState("partly")
            text = self.new_text()
            self.browser.type("#text", text + ENTER)
            self.assertShownOnce(text)
            fate = self.browser.text("#stream .own .fate")
            self.assertEqual(fate, "Sent, not delivered yet")
            self.assertTrouble("Outbox-a: its queue waits for bizlogic")
        finally:
            bizlogic.thaw()
        self.browser.wait_until("document.querySelector('[data-delivered=true]')", "it came back")
        self.assertState("connected")

    def test_a_place_of_ipv6_is_written_with_brackets(self) -> None:
        self.open()
        places = [{"host": "::1", "port": 7}, {"host": "localhost", "port": 7}]
        written = self.browser.execute("return arguments[0].map(Link.written)", places)
        self.assertEqual(written, ["[::1]:7", "localhost:7"])

    def test_an_outbox_that_has_no_room_says_why(self) -> None:
        self.open_connected()
        self.browser.execute(
            """const writer = Barker.client.writers.get(Barker.client.user);
            writer.unacked.push({ id: "x", user: Barker.client.user, content: "wuff", at: 1 });
            writer.sayAgain = () => {};
            writer.message({ op: "refuse", seq: writer.first, code: "full", reason: "no disk" });
            Barker.client.on.changed()"""
        )
        self.assertTrouble("The outbox outbox-a has no room: No disk. It is asked again.")
        self.browser.execute("const writer = Barker.client.writers.get(Barker.client.user);"
                             "writer.message({ op: 'ack', seq: writer.first });"
                             "Barker.client.on.changed()")  # fmt: skip
        self.browser.wait_until("Elements.$('banner').hidden", "it has room again")

    def test_a_reason_is_a_sentence_with_one_full_stop(self) -> None:
        self.open()
        script = "return arguments[0].map(Elements.sentence)"
        reasons = ["the name is invalid.", "there is no user x", "full. "]
        wanted = ["The name is invalid.", "There is no user x.", "Full."]
        self.assertEqual(self.browser.execute(script, reasons), wanted)


class OutageTest(TruthTestCase):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: an outage of half a minute")
    def test_the_page_is_back_soon_after_its_services_are(self) -> None:
        """Browsers delay connects that have failed before, Firefox up to a minute."""
        self.open_connected()
        ports = [PageTestCase.inbox.port, PageTestCase.outbox.port]
        for service in (PageTestCase.directory, PageTestCase.inbox, PageTestCase.outbox):
            service.kill()
        self.browser.wait_until(
            "Barker.client.directory.dialer.downSince < performance.now() - 30000",
            "half a minute without them",
            40.0 * SCALE,
        )
        PageTestCase.directory = self.fleet.directory()
        PageTestCase.inbox = self.fleet.inbox("--name", "inbox-a", port=ports[0])
        PageTestCase.outbox = self.fleet.outbox("--name", "outbox-a", port=ports[1])
        begun = time.monotonic()
        self.browser.wait_until(
            "Barker.client.services.slice(0, 3).every((s) => s.state === 'up')",
            "all are back",
            60.0,
        )
        self.assertLess(time.monotonic() - begun, BACK_WITHIN_S * SCALE)
        self.assertState("connected")


class ClockTest(TruthTestCase):
    def test_a_slow_clock_dates_nothing_wrong_and_loses_nothing_on_reload(self) -> None:
        if not isinstance(self.browser, Chromium):
            self.skipTest("only Chromium can be told so")
        slow = f"const now = Date.now; Date.now = () => now() - {SLOW_CLOCK_MS};"
        added = self.browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=slow)
        try:
            for user in ("rdl", "rhs"):
                self.say_elsewhere(user, self.new_text())
            self.open_connected()
            self.browser.wait_until("document.querySelectorAll('#stream .bark').length > 1", "two")
            times = self.browser.texts("#stream .at")
            self.assertRegex(" ".join(times[:2]), r"^(now|\d+ s) (now|\d+ s)$")
            mine = self.new_text()
            self.browser.type("#text", mine + ENTER)
            self.browser.wait_until("document.querySelector('[data-delivered=true]')", "it is back")
            behind = self.browser.execute("return Date.now() - Times.now()")
            self.assertLess(abs(behind + SLOW_CLOCK_MS), 20_000)
            self.browser.execute(
                """for (let i = 0; i < 20; i += 1) {
                  const at = Date.now() + arguments[0];
                  const id = Link.randomHex(12), content = "later " + i;
                  Barker.client.say({ id, user: "rdl", content, at });
                }""",
                SLOW_CLOCK_MS,
            )
            self.assertShown("later 19")
            self.open_connected()
            self.assertShownOnce(mine)
        finally:
            self.browser.devtools("Page.removeScriptToEvaluateOnNewDocument", **added)

    def test_the_past_is_in_the_order_of_the_stream_whatever_its_clocks_say(self) -> None:
        self.open()
        shown = self.browser.execute(
            """const shown = [];
            const on = { changed() {}, caughtUp() {}, bark: (body) => shown.push(body.id) };
            const reader = new Inbox.Reader("ark3", { follow() {} }, on);
            reader.dialer = { send() {} };
            reader.target = { name: "one" };
            const hour = 3_600_000, epoch = "0".repeat(16), address = "inbox/ark3";
            // The clock of b is slow; c and d were handed over by a former owner.
            const nine = 9 * hour;
            const ats = { a: nine, b: nine - 120_000, c: 2 * hour, d: 3 * hour, e: nine };
            reader.message({ op: "subscribed", address, epoch, serial: 0, last: 5, history: 25 });
            Object.entries(ats).forEach(([id, at]) => reader.message({
              op: "message", to: [address], bodies: [{ id, user: "rdl", content: "x", at }],
            }));
            return shown.join("")"""
        )
        self.assertEqual(shown, "abcde")

    def test_one_author_with_a_wrong_clock_changes_nothing(self) -> None:
        self.open()
        script = """Times.learn("rdl", Date.now() + 3_600_000); Times.learn("rhs", Date.now());
            const alone = Times.now() - Date.now();
            Times.learn("toto", Date.now() + 60_000);
            return [alone, Math.round((Times.now() - Date.now()) / 1000), Times.ago(9e7, 8.9e7)]"""
        self.assertEqual(self.browser.execute(script), [0, 60, "now"])


class KeptTest(TruthTestCase):
    """What a person has typed, or was told, is not lost."""

    def test_to_edit_a_refused_bark_keeps_the_draft(self) -> None:
        self.open(user="nobody_here")
        self.assertService("outbox", "up")
        self.browser.type("#text", "refused" + ENTER)
        self.browser.wait_until("document.querySelector('#unsent .why')", "refused")
        self.browser.type("#text", "half a thought")
        self.open(user="nobody_here")  # both outlive a reload
        self.browser.wait_until("document.querySelector('#unsent .why')", "refused")
        self.browser.click("#unsent [data-act=edit]")
        value = (
            "const { value, selectionStart } = Elements.$('text'); return [value, selectionStart]"
        )
        self.assertEqual(self.browser.execute(value), ["refused\n\nhalf a thought", 7])
        self.assertEqual(self.browser.texts("#unsent > li"), [])
        self.open(user="nobody_here")
        self.assertEqual(self.browser.execute(value)[0], "refused\n\nhalf a thought")

    def test_suggestions_outlive_what_the_inbox_keeps(self) -> None:
        self.open_connected()
        self.browser.execute(
            """Barker.panel.follows.clear();
            for (const whom of ["lassie", "rover"]) Barker.panel.suggestion({ whom, common: 2 });"""
        )
        self.browser.execute("sessionStorage.clear()")  # as in another tab, later
        self.open_connected()
        kept = self.browser.execute("return [...Barker.panel.suggested]")
        self.assertEqual(kept, [["lassie", 2], ["rover", 2]])
        self.browser.execute("localStorage.setItem(localStorage.key(0), '{\"suggested\": [7]}')")
        self.open_connected()
        self.assertEqual(self.browser.execute("return [...Barker.panel.suggested]"), [])

    def test_a_bark_of_one_s_own_is_there_again_after_a_look_at_another_view(self) -> None:
        self.open_connected()
        text = self.new_text()
        self.browser.type("#text", text + ENTER)
        self.browser.wait_until("document.querySelector('[data-delivered=true]')", "it came back")
        self.browser.execute("Barker.visit('rdl'); Barker.visit('ark3')")
        self.assertShownOnce(text)


class PeopleTest(TruthTestCase):
    def join_form(self, user: str) -> None:
        self.browser.execute("document.querySelector('.joining').open = true")
        self.browser.type("#newcomer", user + ENTER)

    def users(self) -> list[str]:
        return list(
            self.browser.execute("return [...Elements.$('user').options].map((o) => o.value)")
        )

    def test_a_new_user_reads_that_there_are_no_barks_yet(self) -> None:
        self.open_connected()
        self.join_form("truth_ann")
        self.browser.wait_until("Barker.client.user === 'truth_ann'", "the newcomer's view")
        condition = "Elements.$('end').textContent.startsWith('No barks yet.')"
        self.browser.wait_until(condition, "the empty state")
        self.open_connected(user="truth_ann")
        self.browser.wait_until(condition, "the empty state")

    def test_a_name_that_joined_stays_among_those_that_one_can_be(self) -> None:
        self.open_connected()
        self.join_form("truth_bob")
        self.browser.wait_until("Barker.client.user === 'truth_bob'", "the newcomer's view")
        self.browser.execute("Barker.visit('rdl')")
        self.assertIn("truth_bob", self.users())
        self.open_connected()
        self.assertIn("truth_bob", self.users())
        self.assertEqual(len(self.users()), len(set(self.users())))

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a frozen outbox")
    def test_a_join_that_takes_long_does_not_steal_the_page(self) -> None:
        self.open_connected()
        self.assertService("outbox", "up")
        PageTestCase.outbox.freeze()
        try:
            self.join_form("truth_cid")
            self.browser.execute("Elements.$('text').focus()")
            self.browser.type("#text", "half a thought")
        finally:
            PageTestCase.outbox.thaw()
        link = "document.querySelector('#jointold a')"
        self.browser.wait_until(link, "it has joined")
        self.assertEqual(self.browser.execute("return Barker.client.user"), "ark3")
        self.assertEqual(self.browser.execute("return document.activeElement.id"), "text")
        self.browser.click("#jointold a")
        self.browser.wait_until("Barker.client.user === 'truth_cid'", "one goes when one wants to")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts a system of its own")
    def test_a_follow_is_said_to_be_done_when_the_followers_service_says_so(self) -> None:
        self.open_connected()
        self.browser.wait_until("!Elements.$('following').hidden", "the form")
        followed = self.browser.execute("return [...Barker.panel.follows, 'ark3']")
        whom = next(user for user in self.fleet.world.names if user not in followed)
        followers = next(p for p in self.fleet.processes if "barker.followers" in p.argv)
        followers.freeze()
        told = "Elements.$('followtold').textContent"
        try:
            self.browser.type("#whom", whom + ENTER)
            self.browser.wait_until(f"{told}.includes('has to confirm it')", "the outbox has it")
            self.assertTrouble("followers service")
            self.assertNotIn("now", self.browser.text("#followtold"))
            self.assertTrouble("Outbox-a: its queue waits for followers")
        finally:
            followers.thaw()
        self.browser.wait_until(f"{told} === 'You follow {whom} now.'", "it is done")


class StrangerTest(TruthTestCase):
    def test_suggestions_say_what_their_number_counts(self) -> None:
        self.open_connected()
        self.browser.execute(
            """Barker.panel.follows.clear();
            Barker.panel.suggestion({ whom: "toto", common: 15 }); Barker.panel.drawLists()"""
        )
        self.assertEqual(self.browser.texts("#suggestions .common"), ["followed by 15 you follow"])
