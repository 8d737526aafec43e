"""The pages under TLS, in a real browser that trusts the certificate only when told to."""

import contextlib
import pathlib
import shutil
import unittest
from typing import ClassVar

from barker.disk import files, keys
from tests.tools.browser import Browser
from tests.tools.chromium import Chromium
from tests.tools.fleet import SLOW, TLS_FLAGS, Fleet

PAGES = {"webui": "barker_host.js", "monitoring": "monitor_host.js"}


class TlsPageTest(unittest.TestCase):
    fleet: ClassVar[Fleet]
    browser: ClassVar[Browser]
    root: ClassVar[pathlib.Path]

    @classmethod
    def setUpClass(cls) -> None:
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.browser = stack.enter_context(Chromium())
        cls.fleet = fleet = stack.enter_context(Fleet(more_flags=TLS_FLAGS))
        fleet.directory()
        fleet.inbox()
        fleet.bizlogic()
        fleet.outbox()
        cls.root = fleet.state.parent / "pages"
        for page, settings in PAGES.items():
            shutil.copytree(files.ROOT / page, cls.root / page)
            files.write_page_settings(
                cls.root / page / settings,
                host="127.0.0.1",
                port=fleet.port,
                key=keys.clients_key(fleet.state).decode(),
                users=fleet.world.names,
                tls=True,
            )

    def open(self, page: str) -> None:
        self.browser.open((self.root / page / "index.html").as_uri())

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts browsers of its own")
    def test_a_page_says_how_to_trust_the_certificate_and_then_works(self) -> None:
        browser = self.browser
        url = f"https://127.0.0.1:{self.fleet.port}/"
        for page in PAGES:  # the monitor's would show the same of its own port
            self.open(page)
            browser.wait_until("document.querySelector('#trust a')", "what to do is shown")
            self.assertEqual(browser.execute("return document.querySelector('#trust a').href"), url)
        with contextlib.suppress(AssertionError):  # the driver calls a warning page a failure
            browser.open(url)
        browser.wait_until("document.querySelector('#proceed-link')", "the browser warns")
        browser.execute("document.querySelector('#proceed-link').click()")
        browser.wait_until("document.body.innerText.includes('Go back to the page')", "an answer")
        self.open("webui")
        browser.wait_until("document.documentElement.dataset.state === 'connected'", "connected")
        self.assertTrue(browser.execute("return document.querySelector('#banner').hidden"))
        browser.type("#text", "wuff over TLS\ue007")
        browser.wait_until(
            "document.querySelector('#stream').innerText.includes('wuff over TLS')", ""
        )
        browser.console_errors()  # the refusals of the beginning
