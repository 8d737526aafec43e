"""The machine fails us: no file left, a full disk, a clock that jumps, output that nobody reads."""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from barker.disk import files, keys
from barker.wire import protocol
from tests.system.test_launch import ProjectTest
from tests.tools.fleet import DEADLINE_S, GOOD, SLOW, Fleet, Process, until
from tests.tools.wireclient import Wire, bark, put

# Under it, a process sees its clock jump by up to a day, back and forth, whenever it looks.
JUMPING_CLOCK = """
import random, time
_dice, _time, _time_ns = random.Random(7), time.time, time.time_ns
time.time = lambda: _time() + _dice.uniform(-86400, 86400)
time.time_ns = lambda: _time_ns() + _dice.randrange(-86400 * 10**9, 86400 * 10**9)
"""


def limited(name: str, count: int) -> Callable[[], None]:
    """For `preexec_fn`: a limit of this process alone."""

    def limit() -> None:
        import resource

        resource.setrlimit(getattr(resource, name), (count, count))

    return limit


class MachineTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)

    def setUp(self) -> None:
        self.fleet = self.enterContext(Fleet())
        self.secret = keys.secret(self.fleet.state)

    def tearDown(self) -> None:
        for process in self.fleet.processes:
            self.assertNotIn("Traceback", "\n".join(process.lines))


@unittest.skipUnless(os.name == "posix", "such limits are Unix's")
class LimitTest(MachineTest):
    def setUp(self) -> None:
        super().setUp()
        # A module of which only the first part was written would be of no use to anybody else.
        self.enterContext(mock.patch.dict(os.environ, PYTHONDONTWRITEBYTECODE="1"))

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for time-outs")
    async def test_without_a_free_file_others_wait_and_friends_go_on(self) -> None:
        """Strangers give their files to those that come after them."""
        limit = limited("RLIMIT_NOFILE", 24)
        directory = self.fleet.start("directory", preexec_fn=limit)
        async with await Wire.open(directory.port, self.secret) as friend:
            strangers = await asyncio.gather(*(Wire.connect(directory.port) for _ in range(60)))
            await friend.before_pong()
            async with await Wire.open(directory.port, self.secret) as other:
                await other.before_pong()
            for stranger in strangers:
                stranger.abort()
        end = asyncio.get_running_loop().time() + DEADLINE_S
        while asyncio.get_running_loop().time() < end:
            with contextlib.suppress(AssertionError, OSError):
                async with await Wire.open(directory.port, self.secret) as friend:
                    await friend.before_pong()
                    return
            await asyncio.sleep(0.05)
        self.fail("nobody is let in any more")

    async def test_with_few_files_a_process_says_how_many_links_it_takes_and_takes_them(
        self,
    ) -> None:
        directory = self.fleet.start("directory", preexec_fn=limited("RLIMIT_NOFILE", 64))
        told = "allows this process 64 files, so it takes 24 links at most"
        self.assertIn(told, "\n".join(directory.lines))
        async with contextlib.AsyncExitStack() as links:
            for _ in range(24):
                link = await links.enter_async_context(await Wire.open(directory.port, self.secret))
                await link.before_pong()
            surplus = await Wire.connect(directory.port)
            await surplus.greet(self.secret)
            await surplus.expect("error", code=protocol.TOO_MANY)
            surplus.abort()

    async def test_with_few_files_strangers_keep_no_member_out(self) -> None:
        inbox = self.fleet.start("inbox", preexec_fn=limited("RLIMIT_NOFILE", 160))
        async with await Wire.open(inbox.port, self.secret) as friend:
            for stranger in [await Wire.connect(inbox.port) for _ in range(300)]:
                self.addCleanup(stranger.abort)
                stranger.write(b"{")
            await friend.before_pong()
            async with await Wire.open(inbox.port, self.secret) as other:
                await other.before_pong()

    async def test_on_a_full_disk_a_manifold_refuses_and_what_it_has_acked_is_kept(self) -> None:
        limit = limited("RLIMIT_FSIZE", 100_000)
        inbox = self.fleet.start("inbox", "--name", "i", preexec_fn=limit)
        acked, seq = 0, 0
        async with await Wire.open(inbox.port, self.secret) as connection:
            refused = ""
            while not refused:
                seq += 1
                said = bark("ark3", f"b{seq}", "x" * 280)
                connection.send(put(seq, ["inbox/ark3"], said))
                messages = await connection.up_to_ack(seq)
                refused = messages[0]["code"] if messages else ""
                acked += not messages
            self.assertEqual(refused, protocol.FULL)
            self.assertGreater(acked, 100)
            connection.send({"op": "subscribe", "address": "inbox/ark3", "history": 1})
            await connection.expect("subscribed", serial=acked - 1)
        inbox.kill()
        inbox = self.fleet.inbox("--name", "i")
        async with await Wire.open(inbox.port, self.secret) as connection:
            connection.send({"op": "subscribe", "address": "inbox/ark3", "history": 1})
            await connection.expect("subscribed", serial=acked - 1, last=acked)

    def test_a_secret_that_there_is_no_room_for_is_told_in_one_line(self) -> None:
        flags = ["--state", str(self.fleet.state.parent / "other"), "--port", "0"]
        directory = Process(
            ["-m", "barker.directory", *flags],
            files.ROOT,
            preexec_fn=limited("RLIMIT_FSIZE", 10),
        )
        self.addCleanup(directory.close)
        self.assertEqual(directory.ended(), 1)
        self.assertEqual(len(directory.lines), 1, directory)
        self.assertRegex(directory.lines[0], "^directory: .*secret: File too large")
        self.assertEqual(list((self.fleet.state.parent / "other").iterdir()), [])


@unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
class ClockTest(MachineTest):
    async def test_a_clock_that_jumps_by_days_loses_nothing_and_stops_nobody(self) -> None:
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "sitecustomize.py").write_text(JUMPING_CLOCK)
        with mock.patch.dict(os.environ, PYTHONPATH=str(folder)):
            fleet = self.fleet
            fleet.directory()
            fleet.inbox()
            fleet.inbox()
            fleet.bizlogic()
            fleet.bizlogic()
            fleet.outbox()
            monitor = fleet.start("monitoring.monitor")
            reader = fleet.run("listen", *fleet.world.names[:5])
            barker = fleet.run("autobark", "50")
            async with fleet.people() as people:
                await people.ready()
                await people.producer.say_at(600, 400, fleet.world.names)
                await people.all_acked()
                await people.all_shown()
                # What autobark has said is unexpected.
                self.assertEqual(people.verdict()._replace(unexpected=[]), GOOD)
            async with await Wire.open(monitor.port, self.secret) as page:
                page.send({"op": "subscribe", "address": "monitor", "history": 0})
                await page.expect("subscribed")
                frames = [await page.expect("message") for _ in range(2)]
                seen = {row["kind"] for row in frames[-1]["body"]["services"]}
                self.assertLessEqual({"directory", "inbox", "outbox", "bizlogic"}, seen)
        await until(lambda: any("<--" in x for x in reader.lines), "the reader has shown a bark")
        for process in (barker, reader, monitor):
            self.assertIsNone(process.popen.poll(), process)


class OutputTest(MachineTest):
    """Standard output is a pipe that nobody reads any more, or a disk with no room."""

    def run_command(self, *argv: str, stdout: Any) -> "tuple[int, str]":
        run = subprocess.run(
            [sys.executable, "-m", *argv, *self.fleet.flags],
            cwd=files.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE_S,
        )
        return run.returncode, run.stderr

    def outputs(self) -> dict[Any, str]:
        """File objects that can't be written to, each with what stderr gets of it."""
        reader, writer = os.pipe()
        os.close(reader)
        broken = {self.enterContext(open(writer, "wb", buffering=0)): ""}
        if pathlib.Path("/dev/full").exists():
            full = self.enterContext(open("/dev/full", "wb", buffering=0))
            broken[full] = "standard output can't be written: No space left on device"
        return broken

    def assertTold(self, errors: str, why: str) -> None:
        """One line with the reason, or nothing if it is only that the reader has gone."""
        self.assertIn(why, errors)
        self.assertEqual(errors.count("\n"), 1 if why else 0, errors)

    async def test_a_service_has_more_to_do_than_to_say_that_it_is_ready(self) -> None:
        flags = ("--port", str(self.fleet.port), "--state", str(self.fleet.state))
        for output, why in self.outputs().items():
            directory = subprocess.Popen(
                [sys.executable, "-m", "barker.directory", "--no-settle", *flags],
                cwd=files.ROOT,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                end = asyncio.get_running_loop().time() + DEADLINE_S
                while True:
                    try:
                        async with await Wire.open(self.fleet.port, self.secret) as friend:
                            await friend.before_pong()
                        break
                    except OSError:
                        self.assertLess(asyncio.get_running_loop().time(), end)
                        await asyncio.sleep(0.02)
            finally:
                directory.terminate()
                _, errors = await asyncio.to_thread(directory.communicate, timeout=DEADLINE_S)
            self.assertEqual(directory.returncode, 0)
            self.assertTold(errors, why)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_clients_end_with_the_reason_at_most(self) -> None:
        self.fleet.directory()
        self.fleet.inbox()
        self.fleet.bizlogic()
        self.fleet.outbox()
        for output, why in self.outputs().items():
            for argv, status in (
                (("barker.bark", "ark3", "wuff"), 0),  # it is acked all the same
                (("barker.listen", "ark3"), 1),
                (("monitoring.monitor", "--once"), 1),
            ):
                with self.subTest(argv[0], output=output.name):
                    ended, errors = self.run_command(*argv, stdout=output)
                    self.assertEqual(ended, status)
                    self.assertTold(errors, why)


@unittest.skipUnless(hasattr(signal, "SIGHUP"), "terminals hang up on Unix")
class HangUpTest(ProjectTest):
    def setUp(self) -> None:
        super().setUp()
        # Else a suite that was started with nohup would hand it on.
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def test_a_terminal_that_goes_away_ends_a_service(self) -> None:
        with Fleet() as fleet:
            directory = fleet.directory()
            directory.signal(signal.SIGHUP)
            self.assertEqual(directory.ended(), 0)

    def test_who_is_being_accepted_as_it_stops_is_no_trouble(self) -> None:
        for _ in range(6 if SLOW else 2):
            with Fleet() as fleet:
                directory = fleet.directory()
                enough, stopped = threading.Event(), threading.Event()
                thread = threading.Thread(
                    target=self.connect_on_and_on, args=(directory.port, enough, stopped)
                )
                thread.start()
                enough.wait(DEADLINE_S)
                directory.signal(signal.SIGTERM)
                status = directory.ended()
                stopped.set()
                thread.join(DEADLINE_S)
                self.assertEqual(status, 0)
                self.assertNotIn("Traceback", "\n".join(directory.lines))

    def connect_on_and_on(
        self, port: int, enough: threading.Event, stopped: threading.Event
    ) -> None:
        some: list[socket.socket] = []
        for i in range(100_000):
            with contextlib.suppress(OSError):
                some.append(socket.create_connection(("127.0.0.1", port), 1.0))
            if i == 300:
                enough.set()
            if len(some) > 30 or stopped.is_set():
                some.pop(0).close() if some else None
            if stopped.is_set() and not some:
                return

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_a_terminal_that_goes_away_ends_a_launcher_and_all_it_has_started(self) -> None:
        launcher = self.launch()
        launcher.wait_for("<--")
        launcher.signal(signal.SIGHUP)
        self.assertEqual(launcher.ended(), 0)
        self.assertGone(self.children(launcher.lines))

    def test_what_was_started_with_nohup_goes_on(self) -> None:
        ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
        with Fleet() as fleet:
            directory = fleet.start("directory", preexec_fn=ignore)
            directory.signal(signal.SIGHUP)
            directory.signal(signal.SIGHUP)
            self.assertRaises(subprocess.TimeoutExpired, directory.popen.wait, 0.3)
            directory.signal(signal.SIGINT)
            self.assertEqual(directory.ended(), 0)
