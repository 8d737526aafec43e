"""The page in a real browser, against real services: reading, barking, failures and trust."""

import functools
import http.server
import json
import re
import socket
import threading
import unittest
from unittest import mock

from barker.disk import keys
from tests.tools.browser import ENTER, SHIFT, TAB
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW, Fleet, free_port
from tests.tools.page import MAX_SHOWN, WEBUI, PageTestCase


def setUpModule() -> None:
    PageTestCase.start_for_module(Chromium)


class ReadingTest(PageTestCase):
    def test_shows_what_was_barked_before_and_what_is_barked_now_newest_on_top(self) -> None:
        before, after = self.new_text(), self.new_text()
        self.say_elsewhere("rdl", before)
        self.open_connected()
        self.assertShownOnce(before)
        self.say_elsewhere("rdl", after)
        self.assertShownOnce(after)
        mine = [text for text in self.shown() if text in (before, after)]
        self.assertEqual(mine, [after, before])
        self.assertIn("ark3", self.browser.text("#title"))
        services = self.browser.text("#services")
        self.assertIn("inbox-a", services)
        self.assertIn("outbox-a", services)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: one of many shapes")
    def test_markup_is_text(self) -> None:
        barks = [
            "<img src=x onerror='window.pwned=1'>",
            "<script>window.pwned=1</script>",
            "</li></ol><b>&amp; bold</b> javascript:window.pwned=1",
            '"><svg onload=window.pwned=1> ${window.pwned=1} @rhs<img/src/onerror=window.pwned=1>',
        ]
        self.open_connected(user="rdl")
        for text in barks:
            self.say_elsewhere("ark3", text)
            self.assertShownOnce(text)
        script = """return [window.pwned ?? null,
            document.querySelectorAll("main :is(img, script, b, svg)").length]"""
        self.assertEqual(self.browser.execute(script), [None, 0])

    def test_no_file_of_the_page_can_make_markup_of_text(self) -> None:
        for file in WEBUI.glob("*.js"):
            text = file.read_text("utf-8")
            for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
                with self.subTest(file=file.name, way=way):
                    self.assertNotIn(way, text)

    def test_asks_nobody_but_barker(self) -> None:
        self.open_connected()
        script = "return performance.getEntriesByType('resource').map((e) => e.name)"
        for url in self.browser.execute(script):
            self.assertRegex(url, "^(file|data):")
        for file in WEBUI.iterdir():
            if file.name != "barker_host.js":
                urls = re.findall(r"https?://[^\s'\"]+", file.read_text("utf-8"))
                self.assertEqual([u for u in urls if u != "http://www.w3.org/2000/svg"], [])

    def test_each_script_makes_one_global(self) -> None:
        if not isinstance(self.browser, Chromium):
            self.skipTest("only Chromium's driver tells the names of globals")
        empty = self.webui.with_name("empty.html")
        empty.touch()
        self.browser.open(empty.as_uri())
        bare = self.browser.names()
        self.open_connected()
        files = {file.stem.capitalize() for file in self.webui.glob("*.js")}
        wanted = files - {"Barker_host"} | {"BARKER"}
        self.assertEqual(self.browser.names() - bare, wanted)

    def test_mentions_tags_and_times_are_marked(self) -> None:
        text = "@rhs and mail@rdl or @ace_ with #tag, #2 and (#Größe) @Nobody @ark3!"
        self.open_connected()
        self.say_elsewhere("rdl", text)
        self.assertShownOnce(text)
        bark = "[...document.querySelectorAll('#stream .bark')]"
        bark += f".find((b) => b.querySelector('.text').textContent === {json.dumps(text)})"
        texts = "(s) => [...bark.querySelectorAll(s)].map((e) => e.textContent)"
        script = f"const bark = {bark}, texts = {texts}; const time = bark.querySelector('time');"
        script += (
            "return [texts('.mention'), texts('.me'), texts('.tag'), time.dateTime, time.title]"
        )
        mentions, me, tags, when, title = self.browser.execute(script)
        self.assertEqual(mentions, ["@rhs", "@ace_", "@ark3"])
        self.assertEqual(me, ["@ark3"])
        self.assertEqual(tags, ["#tag", "#Größe"])
        self.assertRegex(when, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertRegex(title, r"\d")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a second to pass")
    def test_times_grow_older(self) -> None:
        self.open_connected()
        s, minute, hour, day = 1000, 60_000, 3_600_000, 86_400_000
        ages = (s, 42 * s, 3 * minute, 5 * hour, 6 * day, 40 * day, 400 * day, -30 * s)
        now = 1_750_000_000_000
        texts = self.browser.execute("return arguments[0].map((t) => Times.ago(t, arguments[1]))",
                                     [now - age for age in ages], now)  # fmt: skip
        self.assertEqual(texts[:5], ["now", "42 s", "3 min", "5 h", "6 d"])
        self.assertNotIn("2024", texts[5])
        self.assertIn("2024", texts[6])
        self.assertEqual(texts[7], "now")
        # ... and by themselves, without another bark.
        self.say_elsewhere("rdl", self.new_text())
        times = "document.querySelector('#stream time')"
        self.browser.wait_until(f"{times}?.textContent === 'now'", "a bark of now")
        self.browser.execute(f"{times}.at -= 7 * 60 * 1000")
        self.browser.wait_until(f"{times}.textContent === '7 min'", "it has grown older")

    def test_a_click_on_an_author_leads_to_that_view_and_back_leads_back(self) -> None:
        text = self.new_text()
        self.say_elsewhere("rdl", text)
        self.open_connected()
        self.assertShown(text)
        self.browser.execute("window.sameDocument = true")
        self.browser.click("#stream .author[data-user=rdl]")
        self.browser.wait_until("location.search === '?user=rdl'", "the address says so")
        self.assertIn("rdl", self.browser.text("#title"))
        self.assertState("connected")
        self.assertShownOnce(text)
        self.assertEqual(
            self.browser.execute("return document.querySelector('#user').value"), "rdl"
        )
        self.browser.back()
        self.browser.wait_until("Barker.client.user === 'ark3'", "back again")
        self.assertState("connected")
        self.assertShownOnce(text)
        self.assertTrue(self.browser.execute("return window.sameDocument"), "a reload")

    def test_the_address_says_whose_view_it_is(self) -> None:
        text = self.new_text()
        self.open_connected(user="rhs")
        self.say_elsewhere("rdl", text + " @rhs")
        self.assertShownOnce(text + " @rhs")
        self.assertIn("rhs", self.browser.execute("return document.title"))

    def test_a_user_who_does_not_exist_is_told_so(self) -> None:
        for user, what in (
            ("nobody_here", "There is no user nobody_here."),
            ("ARK3", "“ARK3” is no user name. A name is 1 to 20"),
        ):
            with self.subTest(user=user):
                self.open(user=user)
                self.browser.wait_until("!Elements.$('banner').hidden", "it says so")
                self.assertIn(what, self.browser.text("#trouble"))
                self.assertState("connected")  # all links are up
                self.assertTrue(self.browser.execute("return Elements.$('retry').hidden"))
                self.assertEqual(self.shown(), [])
        self.open(user="")
        self.assertState("connected")
        self.assertEqual(self.browser.text("#title"), "ark3’s stream")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: one of many views")
    def test_new_barks_wait_while_somebody_reads_further_down(self) -> None:
        self.browser.screen(800, 600)
        self.open_connected()
        self.browser.execute(
            """for (let i = 0; i < 30; i++) {
                 const content = "line\\n".repeat(4) + i;
                 Barker.arrive({id: "filler" + i, user: "rdl", content, at: 1});
               }"""
        )
        self.browser.wait_until("document.querySelectorAll('#stream .bark').length > 29", "barks")
        self.browser.execute("window.scrollTo(0, 900)")
        self.browser.wait_until("window.scrollY === 900", "scrolled")
        look = """const y = 300, x = 400; const e = document.elementFromPoint(x, y).closest("li");
            return [e.dataset.key, e.getBoundingClientRect().top]"""
        before = self.browser.execute(look)
        first, second = self.new_text(), self.new_text()
        self.say_elsewhere("rdl", first)
        self.browser.wait_until("more.textContent === '1 new bark'", "the button")
        self.say_elsewhere("rdl", second)
        self.browser.wait_until("more.textContent === '2 new barks'", "the button counts")
        self.assertEqual(self.browser.execute(look), before)
        self.assertNotIn(first, self.shown())
        self.assertRegex(self.browser.execute("return document.title"), r"^\(2\) ")
        self.browser.click("#more")
        self.assertEqual(self.shown()[:2], [second, first])
        self.browser.wait_until("window.scrollY === 0 && more.disabled", "at the top")

    def test_what_cannot_be_drawn_yet_stays_bounded(self) -> None:
        """A hidden tab gets messages but draws no frames; here somebody reads on and on."""
        self.open_connected()
        barks = """Barker.stream.held = () => true;
            for (let i = 0; i < 5000; i++) {
              Barker.arrive({id: "b" + i, user: "rdl", content: "bark " + i, at: i});
            }
            return [Barker.stream.waiting, Barker.stream.queue.length]"""
        held, queued = self.browser.execute(barks)
        self.assertGreaterEqual(held, 5000)
        self.assertLessEqual(queued, 2 * MAX_SHOWN)
        self.browser.execute("Barker.stream.held = Barker.isHeld; Barker.stream.soon()")
        self.assertShown("bark 4999")
        self.assertEqual(self.shown(), [f"bark {i}" for i in range(4999, 4999 - MAX_SHOWN, -1)])

    def test_a_body_of_any_shape_does_no_harm(self) -> None:
        text = self.new_text()
        self.open_connected()
        self.browser.execute(
            """const odd = [{}, {at: "yesterday"}, {at: 9e15}, {at: null, kind: {}}, {content: 7},
                {user: "x".repeat(500)}, {kind: "follow"},
                {content: "\\u202e" + "a\\n".repeat(140)}];
            const plain = {user: "rdl", content: "odd"};
            odd.forEach((o, i) => Barker.arrive({id: "odd" + i, ...plain, ...o}));"""
        )
        self.say_elsewhere("rdl", text)
        self.assertShownOnce(text)
        self.assertEqual(self.shown().count("odd"), 6)

    def test_of_many_barks_in_one_message_it_takes_those_that_are_its_own(self) -> None:
        mine, theirs, last = (self.new_text() for _ in range(3))
        self.open_connected()
        place = self.browser.execute(
            """const { serial, address } = Barker.client.reader;
            const [mine, theirs, last] = arguments;
            const id = () => Link.randomHex(12);
            const body = (content) => ({ id: id(), user: "rdl", content, at: Date.now() });
            Barker.client.reader.message({
                op: "message",
                to: ["inbox/rhs " + address, "inbox/rhs", address + " inbox/rhs"],
                bodies: [body(mine), body(theirs), body(last)],
            });
            return Barker.client.reader.serial - serial;""",
            *(mine, theirs, last),
        )
        self.assertEqual(place, 2)
        self.assertShownOnce(mine)
        self.assertShownOnce(last)
        self.assertNotIn(theirs, self.shown())

    def test_promise_2_it_remembers_as_much_as_each_inbox_says_that_it_retains(self) -> None:
        """A reader of the page's, and inboxes made of nothing but what they send."""
        self.open()
        shown, most, owners = self.browser.execute(
            """const shown = [];
            const on = { changed() {}, caughtUp() {}, bark: (body) => shown.push(body.id) };
            const reader = new Inbox.Reader("ark3", { follow() {} }, on);
            reader.dialer = { send() {} };
            let epochs = 0;
            const sends = (name, letter, count, retained) => {
              reader.target = { name };
              const epoch = String(epochs += 1).padStart(16, "0");
              reader.message({ op: "subscribed", address: "inbox/ark3", epoch, serial: 0,
                last: 0, history: 25, retained });
              for (let n = 1; n <= count; n += 1) {
                const body = { id: letter + n, user: "rdl", content: "wuff", at: n };
                reader.message({ op: "message", to: ["inbox/ark3"], bodies: [body] });
              }
            };
            sends("one", "a", 20_000, 20_000);
            sends("one", "a", 20_000, 20_000); // killed and started anew
            sends("two", "b", 30_000, 1600); // while one is dead
            sends("one", "a", 20_000, 20_000);
            sends("two", "a", 1600, 1600); // which one has handed over
            sends("two", "a", 1600, 1600);
            const result = [shown.length, new Set(shown).size];
            let most = 0;
            for (let i = 0; i < 9; i += 1) {
              sends("owner" + i, "c" + i, 12_000, i % 2 ? undefined : 1);
            }
            for (const { young, old } of reader.seen.owners.values()) {
              most = Math.max(most, young.size + old.size);
            }
            sends("liar", "d", 1, 1e15);
            const [liar] = [...reader.seen.owners.values()].slice(-1);
            return [result, [most, liar.least], [...reader.seen.owners.keys()]];"""
        )
        self.assertEqual(shown, [50_000, 50_000])
        self.assertEqual(most, [8000, 100_000])
        self.assertEqual(owners, ["owner6", "owner7", "owner8", "liar"])

    def test_a_gap_is_told_where_it_is(self) -> None:
        self.open_connected()
        self.browser.execute("Barker.client.reader.message({op: 'gap', missed: 1234})")
        self.browser.wait_until("document.querySelector('#stream .note')", "a note")
        self.assertIn("1,234 older barks", self.browser.text("#stream .note"))


class BarkingTest(PageTestCase):
    def test_a_typed_bark_is_sending_then_sent_and_comes_back(self) -> None:
        self.open_connected()
        self.browser.execute(
            """window.fates = [];
            new MutationObserver(() => {
              for (const e of document.querySelectorAll("li[data-fate]")) {
                const fate = e.dataset.fate + " in " + e.parentElement.id;
                if (fates.at(-1) !== fate) fates.push(fate);
              }
            }).observe(document.body, {subtree: true, childList: true, attributes: true});"""
        )
        text = self.new_text()
        self.browser.type("#text", text + ENTER)
        self.assertShownOnce(text)
        self.browser.wait_until("document.querySelector('[data-delivered=true]')", "it came back")
        fates = self.browser.execute("return window.fates")
        self.assertEqual(fates, ["sending in unsent", "sent in unsent", "sent in stream"])
        self.assertEqual(self.browser.execute("return document.querySelector('#text').value"), "")
        self.assertIn("own", self.browser.execute("return Barker.stream.list.firstChild.className"))
        # ... and to whom it is addressed: rdl and rhs follow ark3 in this world, or one of them.
        reader = self.fleet.world.followers("ark3")[0]
        self.open_connected(user=reader)
        self.assertShownOnce(text)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    def test_it_is_not_sent_before_the_outbox_has_said_so(self) -> None:
        self.open_connected()
        self.assertService("outbox", "up")
        self.outbox.freeze()
        try:
            text = self.new_text()
            self.browser.type("#text", text + ENTER)
            self.assertShown(text, within="#unsent [data-fate=sending]")
            # Silence, not a closed socket, has to tell: three heartbeats.
            self.assertState("reconnecting")
            self.assertShown(text, within="#unsent [data-fate=sending]")
        finally:
            self.outbox.thaw()
        self.assertShownOnce(text)
        self.assertState("connected")

    def test_characters_are_counted_as_people_count_them(self) -> None:
        self.open_connected()
        put = """const text = document.querySelector("#text"); text.value = arguments[0];
            text.dispatchEvent(new Event("input"));
            return [document.querySelector("#left").textContent, send.disabled]"""
        self.assertEqual(self.browser.execute(put, ""), ["280", True])
        self.assertEqual(self.browser.execute(put, "  woof "), ["276", False])
        dogs = "🐕" * 280
        self.assertEqual(self.browser.execute(put, dogs), ["0", False])
        self.assertEqual(self.browser.execute(put, dogs + "!"), ["1 too many", True])
        self.browser.press(TAB)
        self.browser.execute("document.querySelector('#text').focus()")
        self.browser.press(ENTER)
        self.assertEqual(self.browser.execute("return Barker.client.unsent.length"), 0)
        self.browser.execute(put, dogs)
        self.browser.press(ENTER)
        self.assertShownOnce(dogs)

    def test_half_a_character_does_not_get_stuck(self) -> None:
        self.open_connected()
        self.browser.execute(
            "document.querySelector('#text').value = 'half \\ud83d'; Barker.submit()"
        )
        self.assertShownOnce("half �")

    def test_the_keyboard_is_enough(self) -> None:
        text = self.new_text()
        self.say_elsewhere("rdl", text)
        self.open_connected()
        self.assertShown(text)
        seen = []
        focus = """const e = document.activeElement, s = getComputedStyle(e);
            const filter = e.closest("#filter") && (e.dataset.own ? "own" : "all");
            return [e.id || e.className || e.form?.className || filter,
                    s.outlineStyle !== "none" && parseFloat(s.outlineWidth)]"""
        for _ in range(20):
            self.browser.press(TAB)
            where, outline = self.browser.execute(focus)
            self.assertGreaterEqual(outline, 2, f"no visible focus at {where}")
            seen.append(where)
            if where == "author":
                break
            if where == "text":
                self.browser.press("a")
                self.browser.press(SHIFT, ENTER)
                self.browser.press("b")
        where = [name or "fold" for name in seen]
        expected = [
            "skip",
            "brand",
            "monitor",
            "user",
            "switch",
            "fold",
            "text",
            "send",
            "whom",
            "ask",
            "fold",  # the followed
            "fold",  # who keeps whom
            "fold",  # the words
            "all",
            "own",
        ]
        expected += ["pause", "skip", "author"]
        self.assertEqual(where, expected)
        self.browser.execute("document.getElementById('send').focus()")
        self.browser.press(ENTER)
        self.assertShownOnce("a\nb")
        self.browser.execute("document.querySelector('#stream .author[data-user=rdl]').focus()")
        self.browser.press(ENTER)
        self.browser.wait_until("Barker.client.user === 'rdl'", "the author's view")
        focused = self.browser.execute("return document.activeElement.id")
        self.assertEqual(focused, "title")

    def test_typed_text_survives_views_and_reloads(self) -> None:
        self.open_connected()
        self.browser.type("#text", "half a thought")
        self.browser.execute("Barker.visit('rdl')")
        value = "return document.querySelector('#text').value"
        self.assertEqual(self.browser.execute(value), "")
        self.browser.execute("Barker.visit('ark3')")
        self.assertEqual(self.browser.execute(value), "half a thought")
        self.open_connected()
        self.assertEqual(self.browser.execute(value), "half a thought")

    def test_a_refused_bark_says_why_and_can_be_edited(self) -> None:
        self.open(user="nobody")
        self.assertService("outbox", "up")
        self.browser.type("#text", "can you hear me?" + ENTER)
        # the reason makes the bark higher, so it comes with the next frame of the page
        self.browser.wait_until("document.querySelector('#unsent [data-fate=refused] .why')", "why")
        self.assertIn("There is no user nobody. ", self.browser.text("#unsent .why"))
        self.browser.click("#unsent [data-act=edit]")
        value = self.browser.execute("return document.querySelector('#text').value")
        self.assertEqual(value, "can you hear me?")
        self.assertEqual(self.browser.texts("#unsent > li"), [])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with another refusal")
    def test_nothing_overtakes_what_the_outbox_will_take_only_later(self) -> None:
        self.open_connected()
        self.browser.execute(
            """window.sent = [];
            window.settled = [];
            window.writer = Object.assign(Object.create(Outbox.Writer.prototype), {
                address: "outbox/ark3", first: 1,
                unacked: [], waiting: [], later: [], undecided: [],
                on: { settled: (bark) => settled.push(bark) },
                dialer: { up: true, send: (message) => sent.push(message.bodies[0]) },
            });
            const full = (seq) => writer.message({ op: "refuse", seq, code: "full", reason: "" });
            for (const bark of [1, 2, 3]) writer.say(bark);
            full(2);
            writer.say(4);
            writer.sayAgain(); // 3 has no answer yet
            full(3);
            writer.message({ op: "ack", seq: 3 });
            writer.say(5);"""
        )
        script = "return [sent.splice(0), settled.splice(0), writer.barks]"
        self.assertEqual(self.browser.execute(script), [[1, 2, 3], [1], [2, 3, 4, 5]])
        self.browser.wait_until("sent.length === 4", "all go again")
        self.assertEqual(self.browser.execute(script), [[2, 3, 4, 5], [], [2, 3, 4, 5]])
        # A break before they are answered changes nothing.
        self.browser.execute(
            """writer.message({ op: "refuse", seq: 4, code: "full", reason: "" });
            writer.say(6);
            writer.up();
            writer.message({ op: "ack", seq: 5 });"""
        )
        self.assertEqual(self.browser.execute(script), [[2, 3, 4, 5, 6], [2, 3, 4, 5, 6], []])


class FailureTest(PageTestCase):
    """Services die with kill -9 while the page is open; it is never loaded again."""

    def setUp(self) -> None:
        super().setUp()
        self.open_connected()
        self.browser.execute("window.sameDocument = true")

    def tearDown(self) -> None:
        self.assertTrue(self.browser.execute("return window.sameDocument"), "a reload")
        super().tearDown()

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with another victim")
    def test_the_inbox_dies_and_comes_back(self) -> None:
        before, after = self.new_text(), self.new_text()
        self.say_elsewhere("rdl", before)
        self.assertShownOnce(before)
        self.browser.type("#text", "half a thought")
        PageTestCase.inbox.kill()
        self.assertState("reconnecting")
        self.assertShownOnce(before)
        self.say_elsewhere("rdl", after)
        PageTestCase.inbox = self.fleet.inbox("--name", "inbox-a", port=PageTestCase.inbox.port)
        self.assertState("connected")
        self.assertShownOnce(after)
        self.assertShownOnce(before)
        value = self.browser.execute("return document.querySelector('#text').value")
        self.assertEqual(value, "half a thought")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with another victim")
    def test_what_comes_again_is_not_shown_again(self) -> None:
        texts = [self.new_text() for _ in range(3)]
        for text in texts:
            self.say_elsewhere("rdl", text)
            self.assertShownOnce(text)
        # As after a change of manifold: an epoch that this inbox doesn't know gets all it retains.
        self.browser.execute(
            """window.heard = 0;
            const { reader } = Barker.client, { read } = reader;
            reader.read = function (message) { heard += 1; read.call(this, message); };
            reader.epoch = "0".repeat(16);
            reader.dialer.link.end(new Link.Fault("closed", "by a test"));"""
        )
        self.browser.wait_until("heard >= 3", "it comes again")
        last = self.new_text()
        self.say_elsewhere("rdl", last)
        self.assertShownOnce(last)
        for text in texts:
            self.assertShownOnce(text)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with another victim")
    def test_the_inbox_comes_back_elsewhere(self) -> None:
        PageTestCase.inbox.kill()
        PageTestCase.inbox = self.fleet.inbox("--name", "inbox-a", port=free_port())
        text = self.new_text()
        self.say_elsewhere("rdl", text)
        self.assertShownOnce(text)
        self.assertState("connected")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for the directory to settle")
    def test_the_directory_dies_and_comes_back(self) -> None:
        PageTestCase.directory.kill()
        self.assertService("directory", "trying")
        meanwhile, after = self.new_text(), self.new_text()
        self.browser.type("#text", meanwhile + ENTER)  # everybody goes on with what they know
        self.browser.wait_until("document.querySelector('[data-delivered=true]')", "it came back")
        self.assertState("connected")
        PageTestCase.directory = self.fleet.directory()
        self.say_elsewhere("rdl", after)
        self.assertShownOnce(after)
        self.assertShownOnce(meanwhile)
        self.assertService("directory", "up")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with another victim")
    def test_what_is_typed_without_an_outbox_is_kept_and_sent_once(self) -> None:
        PageTestCase.outbox.kill()
        self.assertState("reconnecting")
        texts = [self.new_text() for _ in range(3)]
        for text in texts:
            self.browser.type("#text", text + ENTER)
            self.assertShown(text, within="#unsent [data-fate=sending]")
        self.open()  # even a reload keeps them
        self.browser.execute("window.sameDocument = true")
        for text in texts:
            self.assertShown(text, within="#unsent [data-fate=sending]")
        self.browser.execute("Barker.visit('rdl')")
        self.assertEqual(self.browser.texts("#unsent > li"), [])
        self.browser.execute("Barker.visit('ark3')")
        self.assertEqual(len(self.browser.texts("#unsent > li")), 3)
        PageTestCase.outbox = self.fleet.outbox("--name", "outbox-a", port=PageTestCase.outbox.port)
        for text in texts:
            self.assertShownOnce(text)
        self.browser.wait_until("!document.querySelector('#unsent > li')", "all are sent")
        self.open_connected()
        self.browser.execute("window.sameDocument = true")
        self.assertShown(texts[-1])
        self.assertEqual([t for t in self.shown() if t in texts], texts[::-1])


class TrustTest(PageTestCase):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts systems of its own")
    def test_with_a_wrong_key_nothing_is_shown_until_the_settings_are_right(self) -> None:
        text = self.new_text()
        self.say_elsewhere("rdl", text)
        self.write_settings(key="f" * 64)
        try:
            self.open()
            self.assertState("offline")
            self.assertIn("another key", self.browser.text("#trouble"))
            self.assertEqual(self.shown(), [])
            self.assertEqual(self.browser.execute("return Barker.client.reader.target"), None)
        finally:
            self.write_settings()
        # The launcher writes the file anew when it starts; nobody has to load the page again.
        self.assertState("connected")
        self.assertShownOnce(text)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts systems of its own")
    def test_another_host_learns_no_key_and_is_not_believed(self) -> None:
        key = keys.clients_key(self.fleet.state).decode()
        with Fleet() as stranger:
            stranger.directory()
            stranger.inbox()
            stranger.outbox()
            self.open_connected()
            self.browser.execute(
                """const [port] = arguments, send = WebSocket.prototype.send;
                window.sent = [];
                WebSocket.prototype.send = function (data) {
                  if (this.url.includes(port)) window.sent.push(data);
                  return send.call(this, data);
                };
                Barker.client.settle({ host: "127.0.0.1", port: Number(port) }, window.BARKER);""",
                str(stranger.port),
            )
            self.browser.wait_until("window.sent.length >= 2", "hello and proof")
            condition = "Barker.client.services[0].fault?.code === 'bad-proof'"
            self.browser.wait_until(condition, "the stranger has said no")
            sent = self.browser.execute("return window.sent")
        self.assertNotIn(key, "".join(sent))
        self.assertEqual({json.loads(line)["op"] for line in sent}, {"hello", "proof"})

    def test_who_cannot_prove_the_key_is_told_nothing_and_not_believed(self) -> None:
        """The other side's half of the handshake, played by a false WebSocket."""
        self.open_connected()
        self.browser.execute(
            """window.sent = [];
            window.WebSocket = class {
              static OPEN = 1;
              readyState = 1;
              constructor() { setTimeout(() => this.onopen()); }
              say(message) { setTimeout(() => this.onmessage?.({data: JSON.stringify(message)})); }
              send(data) {
                const {op} = JSON.parse(data);
                sent.push(op);
                if (op === "hello") this.say({op, v: 1, role: "service", nonce: "0".repeat(32)});
                if (op === "proof") {
                  this.say({op, mac: "0".repeat(64), name: "false"});
                  this.say({op: "target", address: "inbox/ark3", name: "x", host: "x", port: 1});
                }
              }
              close() {}
            };
            Barker.client.directory.dialer.link.end(new Link.Fault("closed", "by a test"));"""
        )
        condition = "Barker.client.services[0].fault?.code === 'bad-proof' && sent.length >= 4"
        self.browser.wait_until(condition, "it was seen through, twice")
        self.assertEqual(set(self.browser.execute("return sent")), {"hello", "proof"})
        self.assertNotEqual(self.browser.execute("return Barker.client.reader.target.name"), "x")

    def test_an_address_names_no_directory(self) -> None:
        """The page would prove its key to it, and a relay pass the proof on."""
        with socket.create_server(("127.0.0.1", 0)) as relay:
            relay.setblocking(False)
            self.open_connected(host=f"127.0.0.1:{relay.getsockname()[1]}", user="rdl")
            with self.assertRaises(BlockingIOError):
                relay.accept()

    def test_a_page_that_is_refused_for_its_host_or_origin_says_so(self) -> None:
        try:
            self.write_settings(host="page.localhost")  # which is this machine, for a browser
            self.open()
            self.assertTrouble(
                "The directory at page.localhost:.* refuses this page: .*Host header"
            )
        finally:
            self.write_settings()
        serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(self.webui))
        with (
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server,
            mock.patch.object(http.server.SimpleHTTPRequestHandler, "log_message"),
        ):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.browser.open(f"http://127.0.0.1:{server.server_port}/index.html")
            self.assertTrouble(
                "This page is refused: Services take pages from disk only, .*http://"
            )
            self.browser.open("about:blank")
            server.shutdown()
        self.browser.console_errors()

    def assertTrouble(self, pattern: str) -> None:
        condition = f"new RegExp({json.dumps(pattern)}).test(Elements.$('trouble').textContent)"
        self.browser.wait_until(condition, pattern)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts a browser of its own")
    def test_without_settings_it_says_what_to_do(self) -> None:
        (self.webui / "barker_host.js").unlink()
        try:
            self.open()
            self.assertState("offline")
            self.assertIn("python launch.py", self.browser.text("#trouble"))
            self.browser.console_errors()  # one for the file that is not there
        finally:
            self.write_settings()
        self.assertState("connected")
        self.browser.console_errors()
