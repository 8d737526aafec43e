"""The monitor as a process: real services, a page without a browser, and both commands."""

import asyncio
import contextlib
import io
import json
import logging
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from typing import Any

from barker.disk import files
from barker.links.link import Link
from barker.process.peers import Peers
from barker.wire import messages, strictjson
from barker.wire.ops import Credit, Message, Subscribe, Subscribed
from monitoring.monitor import Monitor, parser
from monitoring.table import WIDTH
from tests.system import test_launch
from tests.tools.children import at_once
from tests.tools.fleet import (
    DEADLINE_S,
    SLOW,
    Fleet,
    Guest,
    Process,
    Service,
    copy_of_the_project,
    free_shift,
    until,
)


class Page(Peers):
    """What a page does: subscribe, keep frames, ack."""

    def __init__(self, node: Guest) -> None:
        super().__init__(node, "monitor")
        self.add_handler(Subscribed, self.on_subscribed)
        self.add_handler(Message, self.on_message)
        self.frames: list[dict[str, Any]] = []
        self.epoch: str | None = None
        self.serial = 0

    def link_up(self, link: Link) -> None:
        super().link_up(link)
        link.send(messages.encode(Subscribe("monitor", self.epoch, self.serial)))

    def on_subscribed(self, link: Link, answer: Subscribed) -> None:
        self.epoch, self.serial = answer.epoch, answer.serial

    def on_message(self, link: Link, message: Message) -> None:
        self.serial += len(message.bodies)
        self.frames += map(strictjson.loads, message.bodies)
        link.send(messages.encode(Credit("monitor", self.serial)))

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {r["name"]: r for r in self.frames[-1]["services"]} if self.frames else {}

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(e["what"], e["name"]) for frame in self.frames for e in frame["events"]]


class MonitorTest(unittest.IsolatedAsyncioTestCase):
    """Real processes, and a page without a browser."""

    async def asyncSetUp(self) -> None:
        self.fleet = self.enterContext(Fleet())

    async def visit(self) -> Page:
        visitor = Guest(self.fleet.args())
        page = Page(visitor)
        await self.enterAsyncContext(visitor.running())
        return page

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by samples that come once a second")
    async def test_services_come_go_and_come_again_while_it_runs(self) -> None:
        fleet = self.fleet
        fleet.start("monitoring.monitor")  # before everybody else, the directory included
        page = await self.visit()
        _, outbox, one, two = await at_once(
            fleet.directory, fleet.outbox, fleet.bizlogic, fleet.bizlogic
        )
        name = f"outbox-{outbox.port}"
        await until(lambda: len([r for r in page.rows.values() if r["up"]]) == 6, "all are up")
        self.assertAlmostEqual(page.frames[-1]["routes"]["outbox"]["shares"][name], 1.0)
        killed = time.time() * 1000
        outbox.popen.kill()
        await until(lambda: ("gone", name) in page.events, "its end is told")
        gone = page.rows[name]["gone"]
        self.assertTrue(killed - 50 <= gone <= killed + 1000, (killed, gone))
        self.assertNotIn("backlog", page.rows[name])
        await at_once(lambda: fleet.outbox(port=outbox.port))
        await until(lambda: ("restarted", name) in page.events, "it is there again")
        await until(lambda: "in" in page.rows[name], "with figures")
        first, second = sorted((one, two), key=lambda b: page.rows[f"bizlogic-{b.port}"]["since"])
        first.popen.kill()
        await until(lambda: ("failover", f"bizlogic-{second.port}") in page.events, "the next one")
        for frame in page.frames:
            for row in frame["services"]:
                self.assertGreaterEqual(row.get("in") or 0, 0)
                self.assertLess(row.get("in") or 0, 1000)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by samples that come once a second")
    async def test_stopped_killed_and_frozen_are_told_apart_and_each_before_its_failover(
        self,
    ) -> None:
        fleet = self.fleet
        await at_once(fleet.directory, fleet.outbox)
        *dying, last = [await asyncio.to_thread(fleet.bizlogic) for _ in range(4)]
        fleet.start("monitoring.monitor")
        page = await self.visit()
        hows: list[tuple[Callable[[Service], object], str]] = [
            (lambda b: b.signal(signal.SIGTERM), "stopped"),
            (lambda b: b.kill(), "died"),
            (lambda b: b.freeze(), "silent"),
        ]
        heirs = [*dying[1:], last]
        for (end, how), service, heir in zip(hows, dying, heirs, strict=True):
            name, next_name = (f"bizlogic-{s.port}" for s in (service, heir))
            await until(lambda: page.rows.get(next_name, {}).get("in") is not None, "a spare")  # noqa: B023
            end(service)
            await until(lambda: ("failover", next_name) in page.events, "the spare has it")  # noqa: B023
            events = [e for frame in page.frames for e in frame["events"]]
            (gone,) = [e for e in events if e["what"] == "gone" and e["name"] == name]
            self.assertEqual((gone["how"], page.rows[name]["how"]), (how, how))
            self.assertLess(
                page.events.index(("gone", name)), page.events.index(("failover", next_name))
            )

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by samples that come once a second")
    async def test_it_starts_after_the_others_and_a_page_gets_its_past_at_once(self) -> None:
        fleet = self.fleet
        directory, *_ = await at_once(fleet.directory, fleet.outbox, fleet.bizlogic)
        fleet.start("monitoring.monitor")
        page = await self.visit()
        await until(lambda: len(page.frames) > 1 and len(page.rows) == 5, "frames come")
        self.assertEqual(page.events, [])  # they were there before
        later = await self.visit()
        await until(lambda: later.frames, "a second page")
        self.assertGreaterEqual(len(later.frames), 2)
        self.assertEqual(later.frames, page.frames[-len(later.frames) :])
        # A page that was away gets what it has missed, and nothing twice.
        for link in list(later.node.links):
            link.abort()
        count = len(later.frames)
        await until(lambda: len(later.frames) > count, "it is back")
        self.assertEqual(later.frames, page.frames[-len(later.frames) :])
        # Without the directory, everybody goes on as they were.
        directory.kill()
        await until(lambda: ("gone", f"directory-{directory.port}") in page.events, "it is told")
        count = len(page.frames)
        await until(lambda: len(page.frames) > count, "frames go on")
        self.assertEqual([r["up"] for r in page.rows.values()].count(True), 4)
        self.assertEqual(len(page.frames[-1]["routes"]["outbox"]["targets"]), 1)


class WaitsTest(unittest.IsolatedAsyncioTestCase):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by frames that come once a second")
    async def test_promise_9_what_a_bark_waits_for_is_seen(self) -> None:
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))  # who is READY
        with Fleet() as fleet:
            await asyncio.to_thread(fleet.directory)
            outbox = await asyncio.to_thread(fleet.outbox)
            said = fleet.run("bark", "ark3", "wuff")
            self.assertEqual(await asyncio.to_thread(said.ended), 0)
            monitor = Monitor(parser().parse_args([*fleet.flags, "--port", "0"]))
            run = asyncio.create_task(monitor.run())

            def rows() -> list[dict[str, Any]]:
                frames = map(json.loads, monitor._frames.entries)
                return [row for frame in frames for row in frame["services"] if "waits" in row]

            await until(rows, "the monitor names it")
            monitor.stop()
            await run
            self.assertEqual(rows()[0]["name"], f"outbox-{outbox.port}")
            self.assertRegex(rows()[0]["waits"], "^its queue waits for bizlogic; `.*` starts one$")


class AloneTest(unittest.IsolatedAsyncioTestCase):
    async def frames_of(self, fleet: Fleet, *flags: str) -> list[dict[str, Any]]:
        """What a monitor with these flags has made of three seconds."""
        monitor = Monitor(parser().parse_args([*fleet.flags, "--port", "0", *flags]))
        run = asyncio.create_task(monitor.run())
        await until(lambda: monitor._frames.last >= 3, "three frames")
        monitor.stop()
        await run
        return [json.loads(body) for body in monitor._frames.entries]

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: lives by frames that come once a second")
    async def test_a_monitor_that_is_turned_away_says_so(self) -> None:
        """It sees nobody, and looked as if there was nobody."""
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.enterContext(contextlib.redirect_stdout(io.StringIO()))  # who is READY
        with Fleet() as fleet:
            await asyncio.to_thread(fleet.directory)
            place = f"127.0.0.1:{fleet.port}"
            other = fleet.key_file("another secret")
            for flags, why in (
                (
                    ("--secret-file", str(other)),
                    f"{place}: bad-proof: you don't know the secret of this system",
                ),
                (("--directory", "127.0.0.1:1"), "127.0.0.1:1: it does not answer"),
                ((), None),
            ):
                frames = await self.frames_of(fleet, *flags)
                self.assertEqual([f.get("alone") for f in frames[1:]], [why] * (len(frames) - 1))


class CommandTest(unittest.TestCase):
    def run_monitor(self, fleet: Fleet, *flags: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "monitoring.monitor", "--once", *flags, *fleet.flags]
        return subprocess.run(
            argv, cwd=files.ROOT, capture_output=True, text=True, timeout=DEADLINE_S
        )

    def test_once_prints_a_table_and_json_the_same(self) -> None:
        with Fleet() as fleet:
            fleet.directory()
            followers, outbox, bizlogic = fleet.followers(), fleet.outbox(), fleet.bizlogic()
            ran = self.run_monitor(fleet)
            self.assertEqual((ran.returncode, ran.stderr), (0, ""))
            for service, state in (
                (bizlogic, "first +0 "),
                (outbox, "up +0 .* 100% "),
                (followers, "first +"),
            ):
                line = rf"(?m)-{service.port} +{service.pid} {state}"
                self.assertRegex(ran.stdout, line)
            self.assertLessEqual(max(map(len, ran.stdout.splitlines())), WIDTH)
            ran = self.run_monitor(fleet, "--json")
            frame = json.loads(ran.stdout)
            self.assertEqual(frame["depth"], 0)
            self.assertEqual(frame["routes"]["bizlogic"]["first"], f"bizlogic-{bizlogic.port}")
            self.assertEqual(len(frame["services"]), 4)
            self.assertEqual([r["in"] for r in frame["services"] if r["kind"] == "outbox"], [0.0])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for a time-out")
    def test_without_a_directory_it_says_so(self) -> None:
        with Fleet() as fleet:
            ran = self.run_monitor(fleet)
        self.assertEqual((ran.returncode, ran.stdout), (1, ""))
        self.assertIn(f"no directory at 127.0.0.1:{fleet.port}", ran.stderr)

    def test_it_runs_in_all_ways(self) -> None:
        for argv, cwd in (
            (["monitor.py"], files.ROOT / "monitoring"),
            (["launch.py"], files.ROOT / "monitoring"),
            (["-m", "monitoring.monitor"], files.ROOT),
            (["-m", "monitoring.launch"], files.ROOT),
            ([str(files.ROOT / "monitoring" / "launch.py")], pathlib.Path("/")),
        ):
            with self.subTest(argv):
                ran = subprocess.run(
                    [sys.executable, *argv, "--help"], cwd=cwd, capture_output=True, text=True
                )
                self.assertEqual((ran.returncode, ran.stderr), (0, ""))
                self.assertIn("usage:", ran.stdout)

    def test_no_module_is_loaded_under_two_names(self) -> None:
        code = (
            "import sys, runpy; sys.argv = ['monitor.py', '--help']; sys.path.insert(0, '.')\n"
            "try: runpy.run_path('monitor.py', run_name='__main__')\n"
            "except SystemExit: pass\n"
            "files = [m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)]\n"
            f"ours = [f for f in files if f.startswith({str(files.ROOT)!r})]\n"
            "assert len(ours) == len(set(ours)) > 5, ours\n"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], cwd=files.ROOT / "monitoring", capture_output=True
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, b""))


class LaunchTest(unittest.TestCase):
    """monitoring/launch.py, in a copy of the project and on ports of its own."""

    def setUp(self) -> None:
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root = copy_of_the_project(folder / "my barker")
        self.shift = free_shift(test_launch.PORTS)

    def launch(self) -> Process:
        launcher = Process(
            ["launch.py", "--shift-ports", str(self.shift)], self.root / "monitoring"
        )
        self.addCleanup(launcher.close)
        return launcher

    def test_it_starts_the_monitor_prints_where_to_click_and_stops_on_ctrl_c(self) -> None:
        launcher = self.launch()
        launcher.wait_for(rf"monitor-{5700 + self.shift} \| READY 127.0.0.1:{5700 + self.shift}")
        text = "\n".join(launcher.lines)
        self.assertRegex(text, r"(?m)^  file:///.*my%20barker/monitoring/index\.html$")
        settings = self.root / "monitoring" / "monitor_host.js"
        self.assertIn(f'"port": {5700 + self.shift}', settings.read_text())
        if os.name == "posix":
            self.assertEqual(settings.stat().st_mode & 0o777, 0o600)
        child = re.search(r"\[(\d+)\] monitoring\.monitor", text)
        assert child
        launcher.signal(signal.SIGINT)
        self.assertEqual(launcher.ended(), 0)
        self.assertNotIn("Traceback", "\n".join(launcher.lines))
        self.assertRaises(ProcessLookupError, os.kill, int(child[1]), 0)

    def test_a_busy_port_stops_it_with_a_word(self) -> None:
        with socket.create_server(("127.0.0.1", 5700 + self.shift)):
            launcher = self.launch()
            self.assertEqual(launcher.ended(), 1)
        self.assertEqual(len(launcher.lines), 1)
        self.assertIn(str(5700 + self.shift), launcher.lines[0])
        self.assertIn("--shift-ports", launcher.lines[0])
