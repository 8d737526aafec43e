"""Following, joining and suggestions on the page, in a real browser."""

import asyncio
import json
import unittest

from barker.disk import keys
from tests.tools.browser import ENTER
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW
from tests.tools.page import PageTestCase
from tests.tools.wireclient import Wire, put

RULES = "A name is 1 to 20 of a–z, 0–9 and _, and begins with a letter."


def setUpModule() -> None:
    PageTestCase.start_for_module(Chromium)


class FollowTest(PageTestCase):
    """Who follows whom, from the page; each test as somebody who has just joined."""

    def join(self, user: str) -> None:
        """By the page's own form."""
        self.browser.execute("document.querySelector('.joining').open = true")
        self.browser.type("#newcomer", user)
        self.browser.press(ENTER)
        self.browser.wait_until(f"Barker.client.user === '{user}'", "the view is the newcomer's")
        self.assertFollows()

    def assertFollows(self, *names: str) -> None:
        wanted = json.dumps(sorted(names))
        follows = f"JSON.stringify([...Barker.panel.follows].sort()) === '{wanted}'"
        condition = f"{follows} && Barker.panel.list?.exists"
        self.browser.wait_until(condition.replace(" ", ""), f"{names} are followed")

    def click_on(self, label: str, within: str) -> None:
        self.browser.click(f'{within} button[aria-label="{label}"]')

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: one of many views")
    def test_follow_and_their_next_bark_arrives_unfollow_and_it_does_not(self) -> None:
        self.open_connected()
        self.join("page_ann")
        before, during, after, own = (self.new_text() for _ in range(4))
        self.say_elsewhere("rdl", before)
        self.browser.type("#whom", "@rdl")
        self.browser.press(ENTER)
        self.assertFollows("rdl")
        self.assertEqual(self.browser.text("#followcount"), "You follow 1")
        self.say_elsewhere("rdl", during)
        self.assertShownOnce(during)
        self.click_on("Unfollow rdl", "#stream")
        self.browser.point(1, 1)  # the list rests while the mouse rests on it
        self.assertFollows()
        self.say_elsewhere("rdl", after)
        self.browser.type("#text", own)
        self.browser.press(ENTER)
        self.browser.wait_until(
            "document.querySelector('#stream .own')?.dataset.delivered === 'true'",
            "our own is back",
        )
        self.assertEqual(self.shown(), [own, during])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: one of many views")
    def test_a_suggestion_is_followed_with_one_key_and_goes_when_the_focus_does(self) -> None:
        self.open_connected()
        self.join("page_bob")

        async def suggest() -> None:
            async with await Wire.open(self.inbox.port, keys.secret(self.fleet.state)) as link:
                body = {"kind": "suggestion", "user": "suggestions", "at": 1, "content": "Follow!"}
                for i, whom in enumerate(("toto", "lassie", "<b>", "page_bob"), start=1):
                    more = {"id": f"s{i}", "whom": whom, "common": i}
                    link.send(put(i, ["inbox/page_bob"], {**body, **more}))
                await link.expect("ack")

        asyncio.run(suggest())
        self.browser.wait_until(
            "Elements.$('suggestions').childElementCount === 2", "two are suggested"
        )
        self.assertEqual(
            self.browser.texts("#suggestions .author"), ["lassie", "toto"], "the best first"
        )
        self.assertEqual(self.shown(), [], "a suggestion is no bark")
        focus = "document.querySelector('#suggestions button[data-follow=lassie]').focus()"
        self.browser.execute(focus)
        self.browser.press(ENTER)
        self.assertFollows("lassie")
        focused = """const e = document.activeElement;
            return [e.ariaLabel, Elements.$("suggestions").childElementCount]"""
        self.assertEqual(self.browser.execute(focused), ["Unfollow lassie", 2], "nothing has moved")
        self.browser.execute("Elements.$('text').focus()")
        self.browser.wait_until("Elements.$('suggestions').childElementCount === 1", "one is left")
        self.open_connected(user="page_bob")  # it is in the history, and followed already
        self.assertFollows("lassie")
        self.browser.wait_until(
            "Elements.$('suggestions').childElementCount === 1", "one is suggested"
        )

    def test_a_join_says_that_it_waits_for_followers_and_holds_up_no_bark(self) -> None:
        self.open_connected()
        self.browser.execute(
            """const { on } = Barker.client;
            window.sent = [];
            window.writer = Object.assign(Object.create(Outbox.Writer.prototype), {
                address: "outbox/page_dan", first: 1, on,
                unacked: [], waiting: [], later: [], undecided: [],
                dialer: { up: true, send: (message) => sent.push(message.bodies[0].id) },
            });
            const { panel } = Barker;
            panel.joining = { user: "page_dan", since: performance.now() - 2000 };
            window.writer.say(panel.event("join", "page_dan"));
            const refusal = { op: "refuse", seq: 1, code: "undecided" };
            window.writer.message({ ...refusal, reason: "waiting for followers" });
            window.writer.say({ id: "behind", user: "page_dan" });"""
        )
        told = "Waiting for followers. It has to say whether page_dan is free."
        self.browser.wait_until(f"Elements.$('jointold').textContent === '{told}'", "it says so")
        self.browser.wait_until("sent.length === 3 && sent[1] === 'behind'", "it is asked again")
        self.assertIs(self.browser.execute("return sent[0] === sent[2]"), True)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with another refusal")
    def test_refusals_are_clear(self) -> None:
        self.open_connected()
        self.browser.execute("document.querySelector('.joining').open = true")
        for field, told, name, reason in (
            ("newcomer", "jointold", "R2D2", "“R2D2” is no user name."),
            ("newcomer", "jointold", "rdl", "There is a user rdl already."),
            ("newcomer", "jointold", "suggestions", "Suggestions is the name of a service."),
            ("whom", "followtold", "Rdl", f"“Rdl” is no user name. {RULES}"),
            ("whom", "followtold", "nobody", "There is no user nobody."),
            ("whom", "followtold", "ark3", "You read your own barks anyway."),
        ):
            self.browser.execute("Elements.$(arguments[0]).value = arguments[1]", field, name)
            self.browser.type(f"#{field}", ENTER)
            condition = f"Elements.$('{told}').textContent === {json.dumps(reason)}"
            self.browser.wait_until(condition, reason)
            script = f"const e = Elements.$('{field}'); return [e.value, e.ariaInvalid === 'true']"
            left, invalid = self.browser.execute(script)
            self.assertIs(invalid, left != "", "what is left in the field is wrong")
            self.assertIn(left, (name, ""))
        self.assertEqual(self.browser.execute("return Barker.panel.asked.size"), 0)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: one of many views")
    def test_what_is_asked_for_outlives_a_reload_and_everything_has_a_name(self) -> None:
        self.open_connected()
        self.join("page_cid")
        self.browser.type("#whom", "rhs")
        self.browser.execute("Barker.client.writer('page_cid').dialer.link.socket.send = () => {}")
        self.browser.press(ENTER)
        self.assertEqual(self.browser.execute("return [...Barker.panel.asked.keys()]"), ["rhs"])
        self.browser.execute("Barker.remember()")
        self.open_connected(user="page_cid")
        self.assertFollows("rhs")
        nameless = """return [...document.querySelectorAll("button, input, select, textarea")]
            .filter((e) => !e.hidden && !e.disabled)
            .filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length))
            .map((e) => e.outerHTML)"""
        self.assertEqual(self.browser.execute(nameless), [])
