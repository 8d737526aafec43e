"""The monitor's page with controls: its buttons and the course, in a system that they hurt."""

import itertools
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import ClassVar

from barker.launching.slots import CAN_FREEZE
from tests.system.test_launch import PORTS
from tests.tools.browser import ENTER, ESCAPE, TAB, Browser
from tests.tools.chromium import Chromium
from tests.tools.fleet import DEADLINE_S, Process, copy_of_the_project, free_shift
from tests.tools.monitorpage import PageCase, browser_of_this_module

TICKS = "[...document.querySelectorAll('#course .sights li')].map((e) => e.textContent)"


class SystemCase(unittest.TestCase):
    """A whole system with its monitor, and the page in a browser, for all tests of a class."""

    kind: ClassVar[type[Browser]] = Chromium
    flags: ClassVar[list[str]] = ["--controls"]
    root: ClassVar[Path]
    shift: ClassVar[int]
    launcher: ClassVar[Process]
    browser: ClassVar[Browser]

    @classmethod
    def setUpClass(cls) -> None:
        cls.browser = browser_of_this_module(cls.kind)
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="a lab ")))
        cls.root = copy_of_the_project(folder / "barker")
        cls.shift = free_shift(PORTS)
        cls.launcher = cls.launch("launch.py", *cls.flags)
        cls.launcher.wait_for("^Ready")
        cls.launch("monitoring/launch.py").wait_for("READY")

    @classmethod
    def launch(cls, script: str, *flags: str) -> Process:
        launcher = Process([script, "--shift-ports", str(cls.shift), *flags], cls.root)

        def end() -> None:
            launcher.stop()
            launcher.close(DEADLINE_S)

        cls.addClassCleanup(end)
        return launcher

    def setUp(self) -> None:
        self.browser.screen(1440, 900)
        self.browser.open((self.root / "monitoring" / "index.html").as_uri())
        self.browser.execute("sessionStorage.clear()")
        self.browser.open((self.root / "monitoring" / "index.html").as_uri())
        # Once its words stand, nothing on top moves any more under the mouse.
        live = "document.documentElement.dataset.view === 'live'"
        self.browser.wait_until(f"Monitor.model.next > 2 && {live}", "frames are shown")
        self.browser.console_errors()  # those of the test before

    def tearDown(self) -> None:
        self.assertEqual(self.browser.console_errors(), [])

    def name(self, kind: str, port: int) -> str:
        return f"{kind}-{port + self.shift}"

    def until_on(self) -> None:
        self.browser.wait_until("Monitor.desk.on", "the link to controls is up")

    # --- cards ---

    def press(self, name: str, act: str) -> str:
        """Open the card's buttons and press one; what the page says then."""
        card = f"[data-service={name}]"
        self.browser.wait_until(f"document.querySelector('{card} .open')", f"{name} has a card")
        for _ in range(3):  # a card may move while the mouse is on its way
            self.browser.click(f"{card} .open")
            if self.browser.execute(f"return !!document.querySelector('{card} :popover-open')"):
                break
        self.browser.click(f"{card} [data-act={act}]")
        said = f"document.querySelector('{card} .said').textContent"
        text = str(self.browser.wait_until(f"!{said}.endsWith('…') && {said}", "it is done"))
        self.browser.press(ESCAPE)
        return text

    def until_state(self, name: str, state: str) -> int:
        """The process id, or 0."""
        self.browser.wait_until(f"Monitor.desk.stateOf('{name}') === '{state}'", f"{name} {state}")
        return int(self.browser.execute(f"return Monitor.desk.processes.get('{name}').pid ?? 0"))

    # --- the course ---

    def begin(self, step: int, choice: int = 1) -> None:
        if self.browser.execute("return document.querySelector('#course').hidden"):
            self.browser.click("#course-open")
            self.browser.wait_until("!document.querySelector('#course').hidden", "it is open")
        self.browser.click(f"[data-place='step {step - 1}']")
        self.assertEqual(self.browser.texts("#course .deeds"), [])  # before the prediction
        self.browser.click(f"[data-place='choice {choice}']")

    def do(self, deed: int) -> None:
        self.browser.click(f"[data-place='deed {deed - 1}']")

    def until_ticked(self, *words: str) -> None:
        """Wait until the first of the sights are ticked, which are these."""
        for place, word in enumerate(words):
            self.browser.wait_until(f"{TICKS}[{place}]?.startsWith('✓')", word, DEADLINE_S)
            self.assertIn(word, self.browser.execute(f"return {TICKS}[{place}]"))

    def assertDone(self) -> None:
        self.browser.wait_until("document.querySelector('#course .end')", "the claim is shown")
        self.assertIn("The claim: ", self.browser.text("#course .end"))


class CardsTest(SystemCase):
    def test_a_button_kills_and_starts_again_and_shows_its_command(self) -> None:
        self.until_on()
        outbox = self.name("outbox", 5801)
        pid = self.until_state(outbox, "running")
        self.assertEqual(self.press(outbox, "kill"), f"Done: kill -9 {pid}")
        self.launcher.wait_for(rf"\[{pid}\] {outbox} ended: killed by SIGKILL")
        self.until_state(outbox, "ended")
        self.assertRegex(self.press(outbox, "start"), r"^Done: python\S* -m barker\.outbox --port")
        self.assertNotEqual(self.until_state(outbox, "running"), pid)

    def test_keys_alone_do_it_too(self) -> None:
        self.until_on()
        name = self.name("suggestions", 5695)
        pid = self.until_state(name, "running")
        card = f"[data-service={name}]"
        self.browser.execute(f"document.querySelector('{card} .open').focus()")
        self.browser.press(ENTER)
        box = f"document.querySelector('{card} .box')"
        self.browser.wait_until(f"{box}.matches(':popover-open')", "its buttons are there")
        for act in ("kill", "freeze", "stop"):
            self.browser.press(TAB)
            focus = "return document.activeElement.getAttribute('aria-label')"
            self.assertEqual(self.browser.execute(focus), f"{act.capitalize()} {name}")
        self.browser.press(ENTER)
        self.until_state(name, "ended")
        said = f"document.querySelector('{card} .said').textContent"
        self.browser.wait_until(f"{said} === 'Done: kill {pid}'", "it says so")
        self.assertEqual(
            self.browser.execute("return document.activeElement.className"), "acts"
        )  # its button has gone, and the focus is still there
        self.browser.press(ESCAPE)
        self.assertIn("started", self.run_start(name))

    def test_a_card_has_its_buttons_from_the_first(self) -> None:
        self.until_on()
        script = """const card = Monitor.desk.extras({ name: "autobark-1" });
            return [...card.querySelectorAll(".box .act")].map((button) => button.textContent)"""
        self.assertIn("Kill", self.browser.execute(script))

    def run_start(self, name: str) -> str:
        self.press(name, "start")
        self.until_state(name, "running")
        return self.launcher.wait_for(rf"{name}: started again").string

    @unittest.skipUnless(CAN_FREEZE, "freezing")
    def test_a_refusal_is_told_in_words(self) -> None:
        self.until_on()
        inbox = self.name("inbox", 5820)
        self.press(inbox, "freeze")
        self.until_state(inbox, "frozen")
        why = "Monitor.desk.request('stop', arguments[0])"
        told = self.browser.execute(f"return {why}", inbox)
        self.assertIn("is frozen, and would stop once it is thawed", told)
        self.press(inbox, "thaw")
        self.until_state(inbox, "running")
        told = self.browser.execute(f"return {why}", "monitor-5700")
        self.assertIn("is no process of this launcher", told)

    def test_processes_without_a_card_have_buttons_too(self) -> None:
        self.until_on()
        self.browser.click("#controls-note .open")
        self.assertIn("autobark-1: running", self.browser.texts("#controls-note .acts .note"))
        place = self.browser.execute("""const rows = [...document.querySelectorAll(".others > li")];
            return 1 + rows.findIndex((li) => li.textContent.startsWith("autobark-1"))""")
        self.browser.click(f".others > li:nth-child({place}) [data-act=more]")
        self.until_state("autobark-6", "running")

    def test_a_service_of_another_launcher_has_no_buttons(self) -> None:
        self.until_on()
        for name in (self.name("monitor", 5700), self.name("controls", 5701)):
            card = f"[data-service={name}]"
            self.browser.wait_until(f"document.querySelector('{card}')", name)
            hidden = f"return document.querySelector('{card} .extras').hidden"
            self.assertTrue(self.browser.execute(hidden), name)


class WithoutTest(SystemCase):
    flags: ClassVar[list[str]] = []

    def test_one_line_says_how_to_get_them(self) -> None:
        note = self.browser.text("#controls-note")
        self.assertEqual(
            note, "Start with “python launch.py --controls” to kill and start services from here."
        )
        shown = "return [...document.querySelectorAll('.extras')].filter((e) => !e.hidden).length"
        self.assertEqual(self.browser.execute(shown), 0)

    def test_the_course_shows_what_to_type(self) -> None:
        pid = self.browser.wait_until(
            "Monitor.model.latest.services.find((row) => row.kind === 'bizlogic')?.pid", "its pid"
        )
        self.begin(3)
        shown = self.browser.texts("#course .deeds code")
        self.assertEqual(shown[1], f"kill -9 {pid}")
        self.assertIn(f"python -m barker.bizlogic --port {5681 + self.shift}", shown[0])
        buttons = "[...document.querySelectorAll('#course .deeds button')]"
        self.assertTrue(self.browser.execute(f"return {buttons}.every((b) => b.hidden)"))


class CourseTest(SystemCase):
    def test_the_walk_with_the_page_s_buttons_alone(self) -> None:
        """Failover, freeze, backlog, the inbox, the directory, and a change of the ring."""
        self.until_on()
        self.begin(3)
        self.do(1)
        self.until_ticked("two bizlogics")
        self.do(2)
        self.until_ticked("two", "the bizlogic dies", "the spare has the traffic", "at most two")
        self.assertDone()
        self.assertIn("As you predicted", self.browser.text("#course .end"))
        if CAN_FREEZE:
            self.begin(4, choice=2)
            self.do(1)
            self.until_ticked("two bizlogics")
            self.do(2)
            self.until_ticked("two", "the first is silent", "the spare has the traffic")
            self.do(3)
            self.until_ticked("two", "the first", "the spare", "is back", "the first again", "two")
            self.assertDone()
            self.assertIn("You predicted: Never.", self.browser.text("#course .end"))
        self.begin(5)
        self.do(1)
        self.until_ticked("no bizlogic works", "ten barks wait")
        self.do(2)
        self.until_ticked("no bizlogic works", "ten barks", "a bizlogic is there", "at most two")
        self.assertDone()
        self.begin(6)
        self.do(1)
        self.until_ticked("the inbox dies", "five barks wait")
        self.do(2)
        self.until_ticked("the inbox dies", "five", "the inbox is restarted", "at most two")
        self.assertDone()
        self.begin(7)
        self.do(1)
        self.until_ticked("the directory dies", "has no directory", "barks flow")
        self.do(2)
        self.until_ticked("the directory dies", "has no", "barks flow", "has one again")
        self.assertDone()
        self.begin(8)
        self.do(1)
        self.until_ticked("one more outbox", "barks flow")
        self.do(2)
        self.until_ticked("one more outbox", "barks flow", "one outbox less")
        self.assertDone()
        self.assertEqual(
            self.browser.texts("#course .steps [aria-current]"), ["✓ 8. Add an outbox"]
        )

    def test_what_no_frame_shows_is_ticked_by_hand_and_says_so(self) -> None:
        self.begin(1)
        self.assertIn("The monitor does not show this.", self.browser.text("#course .sights"))
        typed = self.browser.texts("#course .deeds code")[0]
        ran = subprocess.run(
            [sys.executable, *typed.split()[1:]],
            cwd=self.root,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.launcher.wait_for("listen .*This is my first manual bark")
        self.browser.click("[data-place=hand]")
        self.assertIn("ticked by hand", self.browser.text("#course .sights"))
        self.browser.click("[data-place=next]")
        self.assertIn("You ask the directory twice", self.browser.text("#course .ask"))

    def test_a_reload_keeps_the_progress(self) -> None:
        self.begin(1, choice=2)
        self.browser.click("[data-place=hand]")
        self.browser.open((self.root / "monitoring" / "index.html").as_uri())
        self.browser.wait_until("document.querySelector('#course .end')", "it is there again")
        self.assertIn("You predicted: One for each follower", self.browser.text("#course .end"))


class ClaimsTest(PageCase):
    """No line ticks without a frame that shows it. Frames come from the test."""

    def open_course(self, step: int) -> None:
        settings = self.page.parent / "monitor_host.js"
        code = "import json; from barker.laboratory.steps import as_settings; "
        code += "print('window.BARKER = ' + json.dumps({'course': as_settings()}))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        settings.write_text(done.stdout)
        self.open_simulated()
        self.browser.execute("sessionStorage.clear()")
        self.open_simulated()
        self.browser.click("#course-open")
        self.browser.click(f"[data-place='step {step - 1}']")

    def feed(self, second: int, events: str = "[]", depth: int = 0, routes: str = "{}") -> None:
        rows = f"[service('outbox-1', {{backlog: {depth}}})]"
        self.browser.execute(f"feedFrame({second}, {rows}, {events}, {routes})")

    def ticked(self) -> int:
        return sum(t.startswith("✓") for t in self.browser.texts("#course .sights li"))

    def test_only_what_comes_after_the_prediction_counts_and_in_order(self) -> None:
        two = "{bizlogic: {policy: 'ordered', targets: ['bizlogic-1', 'bizlogic-2'], first: 'x'}}"
        died = "{what: 'gone', how: 'died', name: 'bizlogic-1', at: 1}"
        over = "{what: 'failover', service: 'bizlogic', name: 'bizlogic-2', was: 'x', at: 1}"
        self.open_course(3)
        self.feed(1, f"[{died}, {over}]", routes=two)
        self.browser.click("[data-place='choice 0']")
        self.assertEqual(self.ticked(), 0)
        self.feed(2, f"[{died}]")
        self.assertEqual(self.ticked(), 0)  # two have to be there first
        self.feed(3, routes=two)
        self.assertEqual(self.ticked(), 1)
        self.feed(4, f"[{over}]", routes=two)
        self.assertEqual(self.ticked(), 1)
        stopped = died.replace("died", "stopped")
        others = died.replace("bizlogic-1", "outbox-1")
        self.feed(5, f"[{stopped}, {others}]", routes=two)
        self.assertEqual(self.ticked(), 1)
        self.feed(6, f"[{over}, {died}]", depth=9, routes=two)
        self.assertEqual(self.ticked(), 2)  # the failover was before
        self.feed(7, f"[{over}]", depth=9, routes=two)
        self.assertEqual(self.ticked(), 3)
        self.assertFalse(self.browser.execute("return !!document.querySelector('#course .end')"))
        self.feed(7, depth=0)  # a frame that came already
        self.assertEqual(self.ticked(), 3)
        self.feed(8, depth=2)
        self.assertEqual(self.ticked(), 4)
        self.assertTrue(self.browser.execute("return !!document.querySelector('#course .end')"))

    def test_a_change_counts_from_the_frame_before_the_prediction(self) -> None:
        """A quick hand has started one more before the next frame comes."""
        self.open_course(8)
        three, four = (
            f"{{outbox: {{policy: 'consistent', targets: {list('abcd')[:n]}, shares: {{}}}}}}"
            for n in (3, 4)
        )
        self.feed(1, routes=three)
        self.browser.click("[data-place='choice 1']")
        self.feed(2, routes=four)
        self.assertEqual(self.ticked(), 2)
        self.feed(3, routes=three)
        self.assertEqual(self.ticked(), 3)

    def test_every_condition_of_a_step_is_known_to_the_page(self) -> None:
        from barker.laboratory.steps import STEPS

        source = (self.page.parent / "page" / "course.js").read_text()
        known = set(re.findall(r"^    (\w+): \(", source, re.MULTILINE)) | {"event"}
        used = {key for step in STEPS for sight in step.sights for key in sight.shown}
        self.assertEqual(used - known, set())
        self.assertTrue(all(bool(step.sights) != bool(step.look) for step in STEPS))

    def test_the_key_goes_to_no_other_machine(self) -> None:
        settings = self.page.parent / "monitor_host.js"
        settings.write_text("window.BARKER = {operator: 'operator-1'};")
        self.open_simulated()
        seconds = itertools.count(1)
        for host, place in (("10.0.0.1", None), ("evil.example", None), ("127.0.0.1", 1)):
            row = f"service('controls-1', {{host: '{host}'}})"
            route = "{controls: {policy: 'ordered', targets: ['controls-1'], first: 'controls-1'}}"
            self.browser.execute(f"feedFrame({next(seconds)}, [{row}], [], {route})")
            said = (
                f"controls-1 is on {host}, and takes requests from there alone."
                if not place
                else ""
            )
            self.browser.wait_until(f"Monitor.desk.why === {said!r}", f"it has seen {host}")
            dialed = self.browser.execute("return Monitor.desk.dialer?.place?.port ?? null")
            self.assertEqual(dialed, place, host)
