"""launch.py --controls: requests that kill and start the launcher's own children, and its end."""

import asyncio
import contextlib
import io
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import unittest
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

from barker.disk import keys
from barker.launching.commands import Command
from barker.launching.fleet import Fleet
from barker.launching.slots import CAN_FREEZE
from barker.process.arguments import CONTROLLED, LEASH
from barker.wire.rights import OPERATOR, operators_key
from tests.system.test_launch import ProjectTest
from tests.tools.fleet import DEADLINE_S, Process
from tests.tools.wireclient import Wire, put

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A system that is small, and quick to start and to end.
SMALL = """
import sys
from barker.launching import system
COMMANDS = ["directory --port 5672", "bizlogic --port 5680", *["autobark 0.1"] * 6]
if __name__ == "__main__":
    sys.exit(system.launch(COMMANDS, system.arguments(None)))
"""


class Operator:
    """A page's link to `controls`, as far as these tests need it."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.seq = 0
        self.state: dict[str, Any] = {}

    def row(self, label: str) -> dict[str, Any]:
        rows = self.state.get("processes", ())
        return next((row for row in rows if row["process"] == label), {})

    async def until(self, label: str, state: str) -> dict[str, Any]:
        """Wait until that process is in this state; its row."""
        while self.row(label).get("state") != state:
            self.state = (await self.wire.expect("message"))["body"]
        return self.row(label)

    async def request(self, act: str, label: str) -> str:
        """ "" once it is done, or the reason why not."""
        self.seq += 1
        wish = {"id": f"{os.getpid()}-{time.time_ns()}", "act": act, "process": label}
        self.wire.send(put(self.seq, ["controls"], wish))
        why = ""
        while message := await self.wire.heard():
            if message["op"] == "message":
                self.state = message["body"]
            elif message["op"] == "refuse":
                why = message["reason"]
            elif message["op"] == "ack":
                return str(why)
        raise AssertionError("the link is down")


class ControlsTest(ProjectTest, unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        super().setUp()
        (self.root / "launch-small.py").write_text(SMALL)

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)  # its complaints are about this test's waits

    def start(self) -> Process:
        launcher = self.launch("--controls", script="launch-small.py")
        launcher.wait_for("^Ready: 3 services")
        return launcher

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        key = operators_key(keys.secret(self.root / "var"))
        async with await Wire.open(5701 + self.shift, key, "page", role=OPERATOR) as wire:
            wire.send({"op": "subscribe", "address": "controls"})
            await wire.expect("subscribed")
            yield Operator(wire)

    @property
    def bizlogic(self) -> str:
        return f"bizlogic-{5680 + self.shift}"

    async def test_the_launcher_kills_starts_and_adds_its_own_children_and_goes_on(self) -> None:
        launcher = self.start()
        async with self.operator() as page:
            begun = await page.until(self.bizlogic, "running")
            self.assertEqual(await page.request("kill", self.bizlogic), "")
            ended = await page.until(self.bizlogic, "ended")
            self.assertEqual((ended["pid"], ended["ended"]), (None, "killed by SIGKILL"))
            self.assertGone([begun["pid"]])
            self.assertIn("does not run", await page.request("kill", self.bizlogic))
            self.assertEqual(await page.request("start", self.bizlogic), "")
            launcher.wait_for(rf"{self.bizlogic} \| READY")
            self.assertEqual(await page.request("more", self.bizlogic), "")
            launcher.wait_for(rf"bizlogic-{5681 + self.shift} \| READY")
            typed = (await page.until(f"bizlogic-{5681 + self.shift}", "running"))["start"]
            self.assertIn(f"-m barker.bizlogic --port {5681 + self.shift} --directory", typed)
            self.assertEqual(await page.request("more", "autobark-1"), "")
            await page.until("autobark-7", "running")
            self.assertEqual(await page.request("stop", "autobark-7"), "")
            await page.until("autobark-7", "ended")
        self.end(launcher)

    async def test_the_monitor_that_another_launcher_started_is_left_alone(self) -> None:
        self.start()
        monitor = self.launch(script="monitoring/launch.py")
        monitor.wait_for("READY")
        (pid,) = self.children(monitor.lines)
        async with self.operator() as page:
            for name in (f"monitor-{5700 + self.shift}", str(pid)):
                for act in ("kill", "stop", "freeze"):
                    self.assertIn("is no process of this", await page.request(act, name))
        os.kill(pid, 0)
        settings = (self.root / "monitoring" / "monitor_host.js").read_text()
        key = operators_key(keys.secret(self.root / "var")).decode()
        self.assertIn(key, settings)
        others = [p for p in self.root.rglob("*") if p.is_file() and p.suffix != ".pyc"]
        having = {p.name for p in others if key.encode() in p.read_bytes()}
        self.assertEqual(having, {"monitor_host.js"})

    @unittest.skipUnless(CAN_FREEZE, "freezing")
    async def test_frozen_children_end_with_the_launcher_too(self) -> None:
        launcher = self.start()
        async with self.operator() as page:
            self.assertEqual(await page.request("freeze", self.bizlogic), "")
            await page.until(self.bizlogic, "frozen")
        begun = time.monotonic()
        launcher.signal(signal.SIGINT)
        self.assertEqual(launcher.ended(), 0)
        self.assertLess(time.monotonic() - begun, 5.0)  # it was thawed, and not waited for

    @unittest.skipUnless(CAN_FREEZE, "freezing")
    async def test_nothing_is_left_when_the_launcher_is_killed_with_9(self) -> None:
        launcher = self.start()
        async with self.operator() as page:
            await page.request("freeze", self.bizlogic)
            await page.request("more", "autobark-1")
        launcher.kill()
        self.assertGone(self.children(launcher.lines))

    @unittest.skipUnless(fcntl and hasattr(fcntl, "F_SETPIPE_SZ"), "pipes of Linux")
    async def test_a_frozen_controls_stops_no_launcher(self) -> None:
        """Its pipe fills, and the launcher still looks after the others, and ends."""
        launcher = self.start()
        (pid,) = self.children(launcher.lines, "controls")
        async with self.operator() as page:
            await page.until(self.bizlogic, "running")
            os.kill(pid, signal.SIGSTOP)
            with open(f"/proc/{pid}/fd/0", "rb") as pipe:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
            for child in self.children(launcher.lines, "autobark"):  # each is a state of 2 KB
                os.kill(child, signal.SIGKILL)
                launcher.wait_for(rf"\[{child}\] autobark-\d ended: killed by SIGKILL")
        begun = time.monotonic()
        launcher.signal(signal.SIGINT)
        self.assertEqual(launcher.ended(), 0)
        self.assertLess(time.monotonic() - begun, 5.0)

    async def test_a_controls_that_dies_is_reported_and_the_rest_goes_on(self) -> None:
        launcher = self.start()
        (pid,) = self.children(launcher.lines, "controls")
        os.kill(pid, signal.SIGKILL)
        launcher.wait_for(rf"\[{pid}\] controls-\d+ ended")
        (child,) = self.children(launcher.lines, "bizlogic")
        os.kill(child, signal.SIGTERM)
        launcher.wait_for(rf"\[{child}\] {self.bizlogic} ended: status 0")
        self.end(launcher)

    async def test_without_the_flag_there_is_no_such_service(self) -> None:
        launcher = self.launch(script="launch-small.py")
        launcher.wait_for("^Ready: 2 services")
        table = self.run_command("-m", "monitoring.monitor", "--once", "--json")
        self.assertNotIn("controls", json.loads(table.stdout)["routes"])
        self.end(launcher)

    async def test_nothing_is_started_where_other_machines_could_use_it(self) -> None:
        secret = self.root / "secret"
        secret.write_text("ab" * 32)
        secret.chmod(0o600)
        own = ("--secret-file", str(secret), "--shift-ports", str(self.shift))
        for flags in (("--host", "0.0.0.0"), ("--advertise", "one.lan")):
            ran = self.run_command("launch.py", "--controls", *own, *flags)
            self.assertEqual((ran.returncode, ran.stdout), (2, ""))
            self.assertRegex(ran.stderr, r"^launch.py: --controls is for this machine alone.*\n$")

    async def test_by_hand_it_says_in_one_line_how_it_is_started(self) -> None:
        for leash in ("", "1"):
            ran = subprocess.run(
                [sys.executable, "-m", "barker.controls"],
                cwd=self.root,
                env={**os.environ, LEASH: leash},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            self.assertEqual((ran.returncode, ran.stdout), (2, ""))
            self.assertRegex(ran.stderr, r"^controls: `python launch.py --controls`.*\n$")

    async def test_with_a_pipe_it_refuses_to_listen_for_others(self) -> None:
        secret = self.root / "secret"
        secret.write_text("ab" * 32)
        secret.chmod(0o600)
        argv = ["-m", "barker.controls", "--host", "0.0.0.0", "--advertise", "one.lan"]
        env = {**os.environ, LEASH: CONTROLLED}
        alone = Process([*argv, "--secret-file", str(secret), "--port", "0"], self.root, env=env)
        self.addCleanup(alone.close)
        self.assertEqual(alone.ended(), 2)
        self.assertTrue(re.match("controls: it is for this machine alone", alone.lines[-1]))
        self.assertEqual(len(alone.lines), 1)


# A `controls` that freezes a process as a terminal does, and then has a request refused.
FREEZES = """
import json, os, pathlib, signal, sys
def said():
    while (line := sys.stdin.readline()) == "ready\\n": pass
    return json.loads(line)
def request(n, act):
    print(f'REQUEST {{"n":{n},"act":"{act}","process":"victim"}}', flush=True)
    while "state" in (line := said()): seen.append(line["state"]["processes"][0])
    return line["why"]
try:
    seen = [said()["state"]["processes"][0]]
    os.kill(seen[0]["pid"], signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{seen[0]['pid']}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "T": pass
    print("1:", request(1, "stop"), flush=True)
    print("2:", request(2, "start"), seen[-1]["state"], flush=True)
finally:
    request(3, "kill")
# as if it were barker.controls"""


class FleetTest(unittest.TestCase):
    """A fleet whose `controls` is played by a few lines."""

    @unittest.skipUnless(pathlib.Path("/proc/self/stat").exists(), "/proc")
    def test_a_freeze_that_a_refused_request_finds_is_shown(self) -> None:
        waits = ["-c", "import sys; sys.stdin.read()"]
        with (
            contextlib.redirect_stdout(io.StringIO()) as shown,
            mock.patch("barker.launching.fleet.LOOK_S", DEADLINE_S),
        ):
            fleet = Fleet("test")
            controls = Command("controls", ["-c", FREEZES], short="plays")
            fleet.start([Command("victim", waits, short="waits"), controls])
            self.addCleanup(fleet.stop)
            fleet.run()
        self.assertIn("| 1: victim is frozen, and would stop", shown.getvalue())
        self.assertIn("| 2: victim runs already frozen\n", shown.getvalue())

    def test_a_process_that_a_request_has_killed_is_no_failure(self) -> None:
        plays = """
import sys
print('REQUEST {"n":7,"act":"kill","process":"victim"}', flush=True)
print("REQUEST nonsense, a line like others", flush=True)
while '"n":7' not in (line := sys.stdin.readline()): pass
print("answered", line, flush=True)
print("a log line", file=sys.stderr)
# as if it were barker.controls"""
        waits = "import sys; sys.stdin.read()"
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            fleet = Fleet("test")
            fleet.start(
                [
                    Command("victim", ["-c", waits], short="waits"),
                    Command("controls", ["-c", plays], short="plays"),
                ]
            )
            self.addCleanup(fleet.stop)
            status = fleet.run()
        self.assertEqual(status, 0, shown.getvalue())
        self.assertIn('| answered {"n":7,"why":""}', shown.getvalue())
        self.assertIn("| REQUEST nonsense, a line like others", shown.getvalue())
        self.assertIn("| a log line", shown.getvalue())
        self.assertIn("victim ended: killed by SIGKILL", shown.getvalue())
