"""Hosts and ports as the commands take them."""

import shlex
import unittest

from barker.disk import files
from barker.wire.rights import clients_key
from tests.system.test_launch import PORTS, ProjectTest
from tests.tools.fleet import SLOW, Fleet, Process, free_shift
from tests.unit.test_hosts import needs_ipv6


class CommandTest(unittest.TestCase):
    """The same as a user meets it."""

    def setUp(self) -> None:
        self.fleet = self.enterContext(Fleet())

    def start(self, *args: str) -> Process:
        return self.fleet.run("directory", "--port", "0", *args)

    def assertRefused(self, pattern: str, *args: str) -> None:
        said = self.start(*args)
        self.assertEqual((said.ended(), len(said.lines)), (2, 1), said)
        self.assertRegex(said.lines[0], pattern)

    def test_other_machines_are_let_in_by_nobody_who_has_not_seen_to_the_secret(self) -> None:
        mine = ("--secret-file", str(self.fleet.key_file("mine")))
        self.assertRefused("^directory: 0.0.0.0 can be .*--secret-file", "--host", "0.0.0.0")
        self.assertRefused("^directory: every address .*--secret-file", "--host", "")
        self.assertFalse((self.fleet.state / "secret").exists())
        self.assertRefused("--advertise", "--host", "0.0.0.0", *mine)
        open_ = self.start("--host", "0.0.0.0", "--advertise", "127.0.0.1", *mine)
        open_.wait_for("without --tls-cert")
        open_.wait_for(r"^READY 0.0.0.0:\d+$")

    def test_a_host_that_is_not_ours_or_no_host_at_all(self) -> None:
        for host, why in (("192.0.2.1", "Cannot assign|can't listen"), ("no such.host", "")):
            mine = ("--secret-file", str(self.fleet.key_file("mine")))
            said = self.start("--host", host, *mine)
            self.assertEqual((said.ended(), len(said.lines)), (1, 1), said)
            self.assertRegex(said.lines[0], f"can't listen at {host}:0: .*{why}")

    @needs_ipv6
    def test_ready_says_a_place_that_others_can_be_told(self) -> None:
        for host, spelt in (("localhost", "localhost"), ("::1", r"\[::1\]")):
            directory = self.start("--host", host)
            place_ = directory.wait_for(rf"^READY ({spelt}:\d+)$")[1]
            system = ("--state", str(self.fleet.state), "--directory", place_)
            inbox = Process(
                ["-m", "barker.inbox", "--port", "0", "--no-journal", "--host", host, *system],
                files.ROOT,
            )
            self.addCleanup(inbox.close)
            inbox.wait_for(r"^READY ")
            reader = Process(["-m", "barker.listen", "ark3", "--count", "0", *system], files.ROOT)
            self.addCleanup(reader.close)
            self.assertEqual(reader.ended(), 0, reader)


class LauncherTest(ProjectTest):
    @needs_ipv6
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: two whole systems")
    def test_the_whole_on_localhost_and_on_ipv6_alone(self) -> None:
        for host in ("localhost", "::1"):
            with self.subTest(host):
                self.shift = free_shift(PORTS)
                launcher = self.launch("--host", host)
                launcher.wait_for(r"\d\d:\d\d:\d\d ark3 <-- \w+: +\S")
                said = next(x for x in launcher.lines if "barker.bark ark3" in x)
                done = self.run_command(*shlex.split(said)[1:])
                self.assertEqual(done.returncode, 0, done.stderr)
                self.end(launcher)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: two whole systems")
    def test_a_secret_of_one_s_own_reaches_everybody(self) -> None:
        mine = self.root / "my secret"
        mine.write_text("ab" * 32)
        mine.chmod(0o600)
        launcher = self.launch("--secret-file", str(mine))
        launcher.wait_for("<--")
        key = clients_key(b"ab" * 32).decode()
        self.assertIn(key, (self.root / "webui/barker_host.js").read_text())
        self.assertFalse((self.root / "var" / "secret").exists())
        monitor = self.launch("--secret-file", str(mine), script="monitoring/launch.py")
        monitor.wait_for("READY")
        settings = (self.root / "monitoring/monitor_host.js").read_text()
        self.assertIn(key, settings)
        self.assertNotIn(mine.read_text(), settings)
        stranger = self.run_command(
            "-m", "barker.bark", "ark3", "let me in", "--timeout", "1", *self.directory
        )
        self.assertEqual(stranger.returncode, 1)
        self.assertIn("has another secret", stranger.stderr)
        self.end(monitor)
        self.end(launcher)

    def test_what_would_be_open_to_all_is_not_started(self) -> None:
        for script in ("launch.py", "monitoring/launch.py"):
            launcher = self.launch("--host", "0.0.0.0", script=script)
            self.assertEqual((launcher.ended(), len(launcher.lines)), (2, 1), launcher)
            self.assertIn("--secret-file", launcher.lines[0])
        self.assertFalse((self.root / "var" / "secret").exists())
