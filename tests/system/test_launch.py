"""launch.py, and the commands as the seed writes them, as a newcomer would meet them."""

import contextlib
import io
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import launch
from barker.disk import files
from barker.launching import fleet
from barker.launching.commands import Command
from barker.manifold.handover import LEAVE_S
from barker.process.node import GRACE_S
from tests.tools.fleet import DEADLINE_S, SLOW, Process, copy_of_the_project, free_shift

# All that the launchers' processes listen at, and the spares that tests add.
PORTS = {int(port) for port in re.findall(r"--port (\d+)", " ".join(launch.COMMANDS))}
PORTS |= {5681, 5700, 5701, 5821, 5822}


class ProjectTest(unittest.TestCase):
    """Each test has the project to itself, on ports of its own."""

    def setUp(self) -> None:
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root = copy_of_the_project(folder / "my barker")
        self.shift = free_shift(PORTS)

    def launch(self, *args: str, script: str = "launch.py") -> Process:
        # With Python's own warnings: whoever has them on is not told of ours.
        argv = ["-X", "dev", script, "--shift-ports", str(self.shift), *args]
        launcher = Process(argv, self.root)
        self.addCleanup(self._end_all, launcher)
        return launcher

    def _end_all(self, launcher: Process) -> None:
        """However the test ends, nobody writes to the folder any more when it is removed."""
        launcher.close()
        self.assertGone(self.children(launcher.lines))
        self.assertNotIn("Warning", "\n".join(launcher.lines))

    def run_command(self, *argv: str, cwd: str = ".") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *argv],
            cwd=self.root / cwd,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    @property
    def directory(self) -> list[str]:
        return ["--directory", f"127.0.0.1:{5672 + self.shift}"]

    def children(self, lines: list[str], command: str = "") -> list[int]:
        """Process ids of what the launcher has printed that it starts."""
        found = (re.match(rf"\[(\d+)\] (?!\S+ ended){command or '[a-z]'}", line) for line in lines)
        return [int(m[1]) for m in found if m]

    def assertGone(self, pids: list[int]) -> None:
        end = time.monotonic() + DEADLINE_S
        while alive := [pid for pid in pids if _alive(pid)]:
            if time.monotonic() > end:
                self.fail(f"still running: {alive}")
            os.sched_yield()

    def end(self, launcher: Process) -> None:
        launcher.signal(signal.SIGINT)
        self.assertEqual(launcher.ended(), 0)


class LaunchTest(ProjectTest):
    def test_barks_scroll_by_and_ctrl_c_stops_everything(self) -> None:
        # All begin together, so no directory waits for services that remember another one.
        launcher = self.launch()
        launcher.wait_for(r"\d\d:\d\d:\d\d ark3 <-- \w+: +\S")
        children = self.children(launcher.lines)
        self.assertEqual(len(children), len(launch.COMMANDS))
        begun = time.monotonic()
        launcher.signal(signal.SIGINT)
        self.assertEqual(launcher.ended(), 0)
        self.assertLess(time.monotonic() - begun, 3.0)
        self.assertGone(children)
        self.assertNotIn("Traceback", "\n".join(launcher.lines))
        self.assertNotIn("ended:", "\n".join(launcher.lines))
        self.assertNotIn("settling", "\n".join(launcher.lines))

    def test_what_ended_by_itself_leaves_nothing_open(self) -> None:
        launcher = self.launch()
        launcher.wait_for("^Ready")  # by now it takes signals as its own
        (pid,) = self.children(launcher.lines, "suggestions")
        os.kill(pid, signal.SIGTERM)
        launcher.wait_for(rf"\[{pid}\] suggestions-\d+ ended: status 0")
        self.end(launcher)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_nobody_waits_for_anybody_when_three_inboxes_stop_at_once(self) -> None:
        text = (self.root / "launch.py").read_text()
        (inbox,) = re.findall(r'(?m)^    "inbox .*\n', text)
        more = [inbox.replace("5820", str(port)) for port in (5820, 5821, 5822)]
        (self.root / "launch-three.py").write_text(text.replace(inbox, "".join(more)))
        launcher = self.launch(script="launch-three.py")
        launcher.wait_for("^Ready: 10 services")
        launcher.wait_for("<--")
        begun = time.monotonic()
        launcher.signal(signal.SIGINT)
        self.assertEqual(launcher.ended(), 0)
        self.assertLess(time.monotonic() - begun, 3.0)
        self.assertNotIn("left before", "\n".join(launcher.lines))

    def test_a_child_has_time_to_leave_before_it_is_killed(self) -> None:
        self.assertGreater(fleet.PATIENCE_S, LEAVE_S + 2 * GRACE_S)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts four systems")
    def test_fresh_forgets_and_otherwise_what_was_said_is_still_there(self) -> None:
        state_flags = ["--state", str(self.root / "other var")]
        text = "That was before."
        launcher = self.launch(*state_flags)
        launcher.wait_for("<--")
        said = self.run_command("-m", "barker.bark", "ark3", text, *state_flags, *self.directory)
        self.assertEqual(said.returncode, 0, said.stderr)
        launcher.wait_for(re.escape(text))
        busy = self.launch(*state_flags, "--fresh", "--shift-ports", str(free_shift(PORTS)))
        self.assertEqual(busy.ended(), 1)
        self.assertIn("in use by another process", busy.lines[-1])
        self.end(launcher)
        launcher = self.launch(*state_flags)
        launcher.wait_for(re.escape(text))
        self.end(launcher)
        launcher = self.launch(*state_flags, "--fresh")
        launcher.wait_for("<--")
        self.assertNotIn(text, "\n".join(launcher.lines))

    def test_prints_what_to_try_next_and_it_works(self) -> None:
        launcher = self.launch()
        launcher.wait_for("<--")
        text = "\n".join(launcher.lines)
        match = re.search(r"^  \S+ (-m barker\.bark ark3 .*)$", text, re.MULTILINE)
        assert match
        said = self.run_command(*match[1].split())
        self.assertEqual(said.returncode, 0, said.stderr)
        launcher.wait_for(r"ark3 <-- ark3: +This is my first manual bark\.")
        page = re.search(r"file://\S+/webui/index.html", text)
        assert page
        self.assertIn("my%20barker", page[0])
        settings = self.root / "webui" / "barker_host.js"
        self.assertIn(f'"port": {5672 + self.shift}', settings.read_text())
        if os.name == "posix":
            self.assertEqual(settings.stat().st_mode & 0o777, 0o600)

    def test_its_screen_fits_24_lines_of_80(self) -> None:
        launcher = self.launch()
        launcher.wait_for("^Ready: 8 services")
        # Only a machine that is busy with other work has the line about a slow start.
        own = [x for x in launcher.lines if " | " not in x and not x.startswith("Not ready")]
        self.assertLess(len(own), 24, own)
        wide = [line for line in own if len(line) > 80 and "file://" not in line]
        self.assertEqual(wide, [])
        self.assertRegex(launcher.wait_for("^listen .*<--").string, r"^listen {5}\| ")

    def test_other_commands_find_a_system_whose_ports_were_shifted(self) -> None:
        launcher = self.launch()
        launcher.wait_for("^Ready")
        said = self.run_command("-m", "barker.bark", "ark3", "found")
        self.assertEqual(said.returncode, 0, said.stderr)
        table = self.run_command("-m", "monitoring.monitor", "--once")
        (pid,) = self.children(launcher.lines, "bizlogic")
        self.assertRegex(table.stdout, rf"(?m)^bizlogic-\d+ +{pid} first ")

    def test_a_second_system_in_the_folder_leaves_the_first_its_page(self) -> None:
        self.launch().wait_for("^Ready")
        settings = (self.root / "webui" / "barker_host.js").read_text()
        other = free_shift(PORTS)
        second = self.launch("--shift-ports", str(other))
        found = second.wait_for(r"^  \S+ (-m barker\.bark ark3 .*)")
        second.wait_for(rf"no page: .* 127\.0\.0\.1:{5672 + self.shift}")
        second.wait_for("^Ready")
        self.assertEqual((self.root / "webui" / "barker_host.js").read_text(), settings)
        said = self.run_command(*found[1].split())
        self.assertEqual(said.returncode, 0, said.stderr)
        second.wait_for(r"<-- ark3: +This is my first manual bark\.")

    def test_of_two_launchers_at_one_moment_one_says_no_and_starts_nothing(self) -> None:
        both = [self.launch(), self.launch()]
        until_s = time.monotonic() + DEADLINE_S
        while not (ended := [x for x in both if x.popen.poll() is not None]):
            self.assertLess(time.monotonic(), until_s, both)
            os.sched_yield()
        (loser,) = ended
        (winner,) = set(both) - {loser}
        self.assertEqual((loser.ended(), len(loser.lines)), (1, 1))
        self.assertIn("--shift-ports", loser.lines[0])
        winner.wait_for("^Ready: 8 services")
        self.assertNotIn("ended:", "\n".join(winner.lines))

    def test_a_folder_that_cannot_be_written_costs_the_page_or_stops_it_at_once(self) -> None:
        ran = self.launch("--state", str(self.root / "launch.py" / "var"))
        self.assertEqual((ran.ended(), len(ran.lines)), (1, 1))
        self.assertRegex(ran.lines[0], "launch.py/var/.*Not a directory; --state DIR takes another")
        (self.root / "webui" / "barker_host.js").mkdir()
        launcher = self.launch("--state", str(self.root / "elsewhere"))
        launcher.wait_for("no page: .*barker_host.js")
        self.assertNotIn("--directory", "\n".join(launcher.lines))  # it is found by its --state
        launcher.wait_for("<--")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    @unittest.skipUnless(hasattr(signal, "SIGKILL"), "kill -9 is Unix's")
    def test_children_go_away_when_the_launcher_is_killed_with_9(self) -> None:
        launcher = self.launch()
        launcher.wait_for("<--")
        launcher.kill()
        self.assertGone(self.children(launcher.lines))

    def test_a_port_at_which_no_page_could_ask_is_refused(self) -> None:
        for program, shift, label in (
            ("launch.py", 328, "directory-6000"),
            ("monitoring/launch.py", 300, "monitor-6000"),
            ("launch.py", 746, "inbox-6566"),
        ):
            ran = subprocess.run(
                [sys.executable, program, "--shift-ports", str(shift)],
                cwd=self.root,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            self.assertEqual((ran.returncode, ran.stdout), (1, ""), program)
            port = label.rpartition("-")[2]
            self.assertIn(
                f"no browser connects to port {port}, which would be {label}'s", ran.stderr
            )
            self.assertIn("--shift-ports", ran.stderr)

    def test_a_shift_beyond_the_last_port_is_a_wrong_command_line(self) -> None:
        for program in ("launch.py", "monitoring/launch.py"):
            for shift, why in (("60000", "ports end at 65535"), ("-1", "not a whole number, 0 or")):
                run = self.run_command(program, "--shift-ports", shift)
                self.assertEqual((run.returncode, run.stdout), (2, ""))
                self.assertIn(why, run.stderr)
                self.assertIn(f"--shift-ports{': ' if shift == '-1' else ' '}", run.stderr)

    def test_a_mistake_in_the_list_is_told_with_its_line_and_nothing_is_started(self) -> None:
        text = (self.root / "launch.py").read_text()
        for wrong in ("outbox --port fifty", "listen 'ark3", "", "outbocks --port 5801"):
            bad = text.replace('"outbox --port 5801"', repr(wrong))
            (self.root / "launch-wrong.py").write_text(bad)
            run = self.run_command("launch-wrong.py", "--shift-ports", str(self.shift))
            self.assertEqual((run.returncode, run.stdout), (2, ""))
            self.assertIn(f"launch.py: line 5 of COMMANDS, {wrong!r}: ", run.stderr)
            self.assertEqual(run.stderr.count("\n"), 1)

    def test_a_host_may_be_typed_as_the_seed_does(self) -> None:
        monitor = self.launch("localhost", script="monitoring/launch.py")
        monitor.wait_for(rf"\] monitoring\.monitor --port {5700 + self.shift}$")
        monitor.wait_for(rf"READY localhost:{5700 + self.shift}")
        settings = (self.root / "monitoring" / "monitor_host.js").read_text()
        self.assertIn('"host": "localhost"', settings)
        self.end(monitor)

    @unittest.skipUnless(pathlib.Path("/dev/full").exists(), "/dev/full is Linux's")
    def test_output_that_can_t_be_written_is_told(self) -> None:
        for script in ("launch.py", "monitoring/launch.py"):
            for where, why in ((">&-", "is closed"), (">/dev/full", "can't be written: No space")):
                line = f'exec "$0" {script} --shift-ports {self.shift} {where}'
                run = subprocess.run(
                    ["sh", "-c", line, sys.executable],
                    cwd=self.root,
                    capture_output=True,
                    text=True,
                    timeout=DEADLINE_S,
                )
                self.assertEqual(run.returncode, 1)
                self.assertIn(f"{script}: standard output {why}", run.stderr)
                self.assertEqual(run.stderr.count("\n"), 1, run.stderr)
                if where == ">&-":  # that is known before anything is started
                    self.assertEqual([*self.root.glob("*/*_host.js")], [])
            for settings in self.root.glob("*/*_host.js"):
                settings.unlink()

    def test_colours_are_asked_for_by_the_environment(self) -> None:
        for colours, environment in (
            (True, {"FORCE_COLOR": "1"}),
            (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}),
            (False, {}),
        ):
            clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
            argv = ["monitoring/launch.py", "--shift-ports", str(self.shift)]
            monitor = Process(argv, self.root, env={**clean, **environment})
            self.addCleanup(monitor.close)
            shown = monitor.wait_for("READY").string
            self.assertEqual("\033[" in shown, colours, environment)
            self.end(monitor)

    def test_a_busy_port_stops_it_before_anything_is_started_or_forgotten(self) -> None:
        journal = self.root / "var" / "journal" / "inbox-5820"
        journal.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 5801 + self.shift)):
            launcher = self.launch("--fresh")
            self.assertEqual(launcher.ended(), 1)
        self.assertTrue(journal.is_dir())
        self.assertEqual(len(launcher.lines), 1)
        self.assertIn(str(5801 + self.shift), launcher.lines[0])
        self.assertIn(f"outbox-{5801 + self.shift}", launcher.lines[0])
        self.assertIn("--shift-ports", launcher.lines[0])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for time-outs")
    def test_a_child_that_dies_is_reported_and_the_rest_goes_on(self) -> None:
        launcher = self.launch()
        launcher.wait_for("<--")
        (pid,) = self.children(launcher.lines, "bizlogic")
        os.kill(pid, signal.SIGTERM)
        launcher.wait_for(rf"\[{pid}\] bizlogic-\d+ ended: status 0")
        spare = Process(
            ["-m", "barker.bizlogic", "--port", str(5681 + self.shift), *self.directory], self.root
        )
        self.addCleanup(spare.close)
        spare.wait_for("READY")
        launcher.wait_for("<--")

    def test_output_that_nobody_reads_ends_it(self) -> None:
        argv = [sys.executable, "launch.py", "--shift-ports", str(self.shift)]
        with subprocess.Popen(argv, cwd=self.root, stdout=subprocess.PIPE, text=True) as launcher:
            assert launcher.stdout
            lines = [launcher.stdout.readline() for _ in launch.COMMANDS]
            launcher.stdout.close()
            launcher.wait(DEADLINE_S)
        self.assertEqual(len(self.children(lines)), len(launch.COMMANDS))
        self.assertGone(self.children(lines))

    def test_the_walk_through_of_the_seed(self) -> None:
        """Two bizlogics by hand; kill the first, then the second, then start a new one."""
        lines = (self.root / "launch.py").read_text().splitlines(keepends=True)
        edited = [re.sub(r'^(\s*)("bizlogic .*)', r"\1# \2", line) for line in lines]
        self.assertNotEqual(lines, edited)
        (self.root / "launch-no-bizlogic.py").write_text("".join(edited))
        launcher = self.launch(script="launch-no-bizlogic.py")

        def bizlogic(port: int) -> Process:
            argv = ["bizlogic.py", "--port", str(port + self.shift), *self.directory]
            process = Process(argv, self.root / "barker")
            self.addCleanup(process.close)
            process.wait_for("READY")
            return process

        first, second = bizlogic(5680), bizlogic(5681)
        launcher.wait_for("<--")
        first.kill()
        launcher.wait_for("<--")
        second.kill()
        before = len(launcher.lines)
        for text in ("while", "nobody", "is there"):
            said = self.run_command("bark.py", "ark3", text, *self.directory, cwd="barker")
            self.assertEqual(said.returncode, 0, said.stderr)
        self.assertEqual([x for x in launcher.lines[before:] if "<-- ark3" in x], [])
        bizlogic(5682)
        for text in ("while", "nobody", "is there"):
            launcher.wait_for(rf"<-- ark3: +{text}$")
        launcher.wait_for("<--")
        barks = [x for x in launcher.lines[before:] if "<-- ark3" in x]
        self.assertEqual(len(barks), 3)


class SlowStartTest(unittest.TestCase):
    def test_a_service_that_does_not_get_ready_is_named(self) -> None:
        quick = "import sys; print('READY here:1\\nup', flush=True); sys.stdin.read()"
        slow = "import sys; sys.stdin.read()"
        with (
            mock.patch.object(fleet, "SLOW_START_S", 0.0),
            contextlib.redirect_stdout(io.StringIO()) as shown,
        ):
            both = fleet.Fleet("test")
            both.start(
                [
                    Command("quick-1", ["-c", quick], port=1, short="quick"),
                    Command("slow-2", ["-c", slow], port=2, short="slow"),
                ]
            )
            self.addCleanup(both.stop)
            thread = threading.Thread(target=both.run, daemon=True)
            thread.start()
            until_s = time.monotonic() + DEADLINE_S
            wanted = r"(?s)(?=.*quick-1 \| up\n).*Not ready after 0 s: (quick-1, )?slow-2\n"
            while not re.match(wanted, shown.getvalue()):
                self.assertLess(time.monotonic(), until_s, shown.getvalue())
                os.sched_yield()
            for pid in re.findall(r"(?m)^\[(\d+)\] (?:quick|slow)$", shown.getvalue()):
                os.kill(int(pid), signal.SIGTERM)
            thread.join(DEADLINE_S)
        self.assertEqual(shown.getvalue().count("Not ready"), 1)
        self.assertIn("Ready: 1 services.\n", shown.getvalue())

    def test_all_are_told_when_the_last_service_is_ready(self) -> None:
        """From then on a process does not wait long before it says what it misses."""
        service = "print('READY here:1', flush=True); import sys; sys.exit(input() != 'ready')"
        client = "import sys; sys.exit(input() != 'ready')"
        for services in (0, 1, 2):
            names = [f"service-{i}" for i in range(services)]
            commands = [Command(name, ["-c", service], port=1, short="x") for name in names]
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                small = fleet.Fleet("test")
                small.start([*commands, Command("client", ["-c", client], short="x")])
                self.addCleanup(small.stop)
                thread = threading.Thread(target=small.run, daemon=True)
                thread.start()
                thread.join(DEADLINE_S)
            self.assertEqual(shown.getvalue().count(" ended: status 0"), services + 1)


@unittest.skipUnless(hasattr(os, "openpty"), "terminals are Unix's")
class InterruptTest(ProjectTest):
    """^C at a terminal: what comes next begins on a new line."""

    def shown_after(self, argv: list[str]) -> tuple[int, str]:
        """Status of a command that is interrupted once it is ready; what it shows from then."""
        ours, theirs = os.openpty()
        try:
            child = subprocess.Popen(
                [sys.executable, *argv],
                cwd=self.root,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        with child, open(ours, "rb", buffering=0) as screen:
            try:
                text = b""
                while not re.search(rb"READY [^\r]+\r\n", text):
                    text += screen.read(4096)
                child.send_signal(signal.SIGINT)
                before = len(text)
                with contextlib.suppress(OSError):  # as Linux says that the terminal is closed
                    while more := screen.read(4096):
                        text += more
                return child.wait(DEADLINE_S), text[before:].decode()
            finally:
                child.kill()

    def test_the_prompt_comes_on_a_new_line(self) -> None:
        monitor = ["monitoring/launch.py", "--shift-ports", str(self.shift)]
        status, text = self.shown_after(monitor)
        self.assertEqual((status, text[:2]), (0, "\r\n"), text)
        service = ["-m", "barker.directory", "--port", "0"]
        status, text = self.shown_after(service)
        self.assertEqual((status, text[:2]), (0, "\r\n"), text)


# What lies in barker/ and is no command.
STAND_INS = ("__init__", "barker")


class SeedCommandsTest(unittest.TestCase):
    """Every file runs in its folder, by its path from anywhere, and as a module from the root."""

    PROGRAMS = sorted(p for p in (files.ROOT / "barker").glob("*.py") if p.stem not in STAND_INS)

    def assertRuns(self, argv: list[str], cwd: pathlib.Path) -> None:
        run = subprocess.run(
            [sys.executable, *argv, "--help"],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("usage:", run.stdout)

    def test_each_runs_in_its_folder_without_site_packages(self) -> None:
        """With `-S` nothing else can be in the way, or be needed; `cd barker` is what the seed
        says.

        What lies beside a program is found before what Python brings, so a file with the name of a
        module of the standard library would end it.
        """
        for program in (*self.PROGRAMS, files.ROOT / "monitoring" / "launch.py"):
            with self.subTest(program.name):
                self.assertRuns(["-S", program.name], program.parent)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts every command twice")
    def test_each_runs_by_its_path_and_as_a_module(self) -> None:
        self.assertGreater(len(self.PROGRAMS), 10)
        for program in self.PROGRAMS:
            with self.subTest(program.name):
                self.assertRuns([f"barker/{program.name}"], files.ROOT)
                self.assertRuns(["-m", f"barker.{program.stem}"], files.ROOT)
        self.assertRuns([str(files.ROOT / "barker" / "bark.py")], pathlib.Path("/"))

    def test_a_folder_says_what_can_be_started(self) -> None:
        for argv, cwd in (
            (["-m", "barker"], files.ROOT),
            ([str(files.ROOT / "barker")], pathlib.Path("/")),
            (["-m", "monitoring"], files.ROOT),
            (["monitoring"], files.ROOT),
        ):
            run = subprocess.run(
                [sys.executable, *argv], cwd=cwd, capture_output=True, text=True, timeout=DEADLINE_S
            )
            self.assertEqual((run.returncode, run.stderr), (0, ""), argv)
            self.assertIn(" monitoring/launch.py ", run.stdout)
            names = {"monitor"} if "monitoring" in argv else {p.stem for p in self.PROGRAMS}
            shown = set(re.findall(r"(?m)^  (\w+) ", run.stdout))
            self.assertEqual(shown, names - {"__main__"})
            self.assertLessEqual(max(map(len, run.stdout.splitlines())), 80)
            self.assertLess(run.stdout.count("\n"), 24)

    def test_a_command_is_not_an_argument_of_its_folder(self) -> None:
        for word, why in (
            ("bark", "its whole name: .*-m barker.bark$"),
            ("nix", "no command 'nix'"),
        ):
            run = subprocess.run(
                [sys.executable, "-m", "barker", word, "ark3"],
                cwd=files.ROOT,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
            )
            self.assertEqual((run.returncode, run.stdout), (2, ""))
            self.assertRegex(run.stderr.splitlines()[0], why)

    def test_no_module_is_loaded_under_two_names(self) -> None:
        code = (
            "import sys, runpy; sys.argv = ['bark.py', '--help']; sys.path.insert(0, '.')\n"
            "try: runpy.run_path('bark.py', run_name='__main__')\n"
            "except SystemExit: pass\n"
            "files = [m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)]\n"
            f"ours = [f for f in files if f.startswith({str(files.ROOT)!r})]\n"
            "assert len(ours) == len(set(ours)) > 5, ours\n"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=files.ROOT / "barker", capture_output=True, text=True
        )
        self.assertEqual((run.returncode, run.stderr), (0, ""))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # a child of a killed launcher is a zombie until init has looked at it
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return True
