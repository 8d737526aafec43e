"""The tour: it shows what it says, believes nothing, and leaves nothing behind.

That its texts are those of the laboratory chapter is in test_docs.py.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import unittest

from barker.disk import files
from barker.laboratory.guide import SERVICES
from barker.laboratory.lab import Broken, Lab
from barker.laboratory.tour import STEPS
from barker.process.arguments import LEASH
from tests.tools.fleet import DEADLINE_S, SLOW

ROOT = files.ROOT
CHAPTER = ROOT / "docs" / "15-the-laboratory.rst"
ENV = {k: v for k, v in os.environ.items() if k != LEASH}


def commands_of(text: str) -> dict[str, list[str]]:
    """By title of a step, the commands after ``$``: ports as in the text, no process numbers."""
    shift = 0
    text = re.sub(r"\$ python[0-9.]+ ", "$ python ", text)  # a tour has the word that was typed
    if found := re.search(r"FLAGS='--directory 127.0.0.1:(\d+)", text):  # it is a tour's
        shift = int(found[1]) - 5672
    result: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if step := next(
            (s for s in STEPS if re.fullmatch(rf"(\d\. )?{s.title}( .*)?", line)), None
        ):
            title = step.title
        elif title and (command := re.match(r"  \$ (.*)", line)):
            words = command[1].replace(" $FLAGS", "")
            words = re.sub(r"(?<=--port )\d+", lambda m: str(int(m[0]) - shift), words)
            words = re.sub(r"\d+", "PID", words) if words.startswith("kill") else words
            result.setdefault(title, []).append(words)
    return result


class TourTest(unittest.TestCase):
    def tour(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run a piece of Python that takes a tour."""
        done = subprocess.run(
            [sys.executable, "-c", f"import sys\nfrom barker.laboratory import tour\n{code}"],
            cwd=ROOT,
            env=ENV,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=4 * DEADLINE_S,
        )
        self.assertNothingIsLeft(done.stdout)
        return done

    def begin(self) -> "subprocess.Popen[str]":
        tour = subprocess.Popen(
            [sys.executable, "launch.py", "--tour"],
            cwd=ROOT,
            env=ENV,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(tour.wait, DEADLINE_S)
        self.addCleanup(tour.kill)
        return tour

    def until(self, tour: "subprocess.Popen[str]", end: str) -> str:
        """What it shows up to `end`; a prompt has no newline after it."""
        shown = ""
        assert tour.stdout
        while not shown.endswith(end):
            more = tour.stdout.read(1)
            self.assertTrue(more, f"no {end!r} in:\n{shown}")
            shown += more
        return shown

    def assertNothingIsLeft(self, shown: str) -> None:
        ports = [int(port) for port in re.findall(r"--port (\d+) \$FLAGS", shown)]
        self.assertGreaterEqual(len(ports), len(SERVICES))
        for port in ports:
            with socket.socket() as probe:
                self.assertNotEqual(probe.connect_ex(("127.0.0.1", port)), 0, port)
        (folder,) = re.findall(r"--state '?([^']+?)'*\n", shown)
        self.assertFalse(pathlib.Path(folder).exists())

    def assertIsTold(self, shown: str, steps: int) -> None:
        """So many steps: each with its chapter, a claim that held, and the chapter's commands."""
        self.assertEqual(shown.count("\nTrue: "), steps)
        self.assertNotIn("FALSE", shown)
        for line in shown.splitlines():
            self.assertLessEqual(len(line), 80)
        in_chapter = commands_of(CHAPTER.read_text(encoding="utf-8"))
        typed = commands_of(shown)
        for step in STEPS[:steps]:
            self.assertIn(f"docs/{step.chapter}\n", shown)
            wanted = iter(in_chapter.get(step.title, []))
            for command in typed.get(step.title, []):
                self.assertIn(command, wanted, step.title)  # in this order

    def test_the_first_steps(self) -> None:
        done = self.tour("sys.exit(tour.take(wait=False, steps=tour.STEPS[:3]))")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIsTold(done.stdout, 3)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: the whole tour takes twelve seconds")
    def test_all_of_it(self) -> None:
        begun = {path: path.stat().st_mtime_ns for path in (ROOT / "var").glob("*")}
        argv = [sys.executable, "launch.py", "--tour", "--no-wait"]
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env=ENV,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10 * DEADLINE_S,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIsTold(done.stdout, len(STEPS))
        self.assertIn("0 lost, 0 twice, 0 out of order", " ".join(done.stdout.split()))
        self.assertNothingIsLeft(done.stdout)
        self.assertEqual({p: p.stat().st_mtime_ns for p in (ROOT / "var").glob("*")}, begun)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts systems of its own")
    def test_a_check_that_fails_is_told_and_is_the_end(self) -> None:
        code = (
            "async def lie(guide): guide.check(False, 'the moon is no cheese')\n"
            "step = tour.Step('Lie', '01-run-it.rst', 'We look.', 'it is.', lie)\n"
            "sys.exit(tour.take(wait=False, steps=[step, tour.STEPS[0]]))"
        )
        done = self.tour(code)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("\nFALSE: the moon is no cheese\n", done.stdout)
        self.assertNotIn("True:", done.stdout)
        self.assertNotIn(STEPS[0].title, done.stdout)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts systems of its own")
    def test_enter_goes_on_and_q_leaves(self) -> None:
        tour = self.begin()
        assert tour.stdin
        shown = self.until(tour, "q leaves: ")
        self.assertNotIn("True:", shown)
        tour.stdin.write("\n")
        tour.stdin.flush()
        shown += self.until(tour, "q leaves: ")
        self.assertIsTold(shown, 1)
        out, _ = tour.communicate("q\n", timeout=DEADLINE_S)
        self.assertEqual(tour.returncode, 0, out)
        self.assertIn("You have left", out)
        self.assertNothingIsLeft(shown)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: starts systems of its own")
    @unittest.skipUnless(os.name == "posix", "signals")
    def test_ctrl_c_stops_everything_at_any_moment(self) -> None:
        tour = self.begin()
        shown = self.until(tour, "q leaves: ")
        tour.send_signal(signal.SIGINT)
        out, _ = tour.communicate(timeout=DEADLINE_S)
        self.assertEqual(tour.returncode, 130, out)
        self.assertNotIn("Traceback", out)
        self.assertNothingIsLeft(shown)

    def test_it_takes_no_other_flags(self) -> None:
        for flags in (["--tour", "--fresh"], ["--tour", "--shift-ports", "1"], ["--no-wait"]):
            run = subprocess.run(
                [sys.executable, "launch.py", *flags], cwd=ROOT, capture_output=True, text=True
            )
            self.assertEqual(run.returncode, 2, flags)
            self.assertIn("--tour", run.stderr)


class LabTest(unittest.IsolatedAsyncioTestCase):
    async def test_ports_are_moved_to_where_nobody_is(self) -> None:
        async with Lab() as lab:
            for _ in range(50):
                lab.find_ports(["directory --port 5672"])
                with socket.create_server(lab.place):
                    taken = lab.shift
                    lab.find_ports(["directory --port 5672"])
                    self.assertNotEqual(lab.shift, taken)

    async def test_a_child_that_can_t_start_is_told_with_its_last_words(self) -> None:
        async with Lab() as lab:
            child, _ = lab.start("bizlogic --port 70000")
            with self.assertRaisesRegex(Broken, "bizlogic-70000 ended at once: .*not a port"):
                await child.until_ready()

    @unittest.skipUnless(os.name == "posix", "signals")
    async def test_nothing_is_left_of_it_whatever_state_its_children_are_in(self) -> None:
        async with Lab() as lab:
            lab.find_ports(["directory --port 5672", "bizlogic --port 5680"])
            running, _ = lab.start("directory --port 5672")
            frozen, _ = lab.start("bizlogic --port 5680")
            killed, _ = lab.start("bizlogic --port 5681")
            for child in lab.children:
                await child.until_ready()
            frozen.freeze()
            killed.kill()
        for child in (running, frozen, killed):
            with self.assertRaises(ProcessLookupError):
                os.kill(child.pid, 0)
        self.assertFalse(lab.state.parent.exists())
