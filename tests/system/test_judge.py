"""The judge: ours pass, each broken one fails what it should, and nothing is left running."""

import asyncio
import logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Collection

from barker.disk.files import ROOT
from barker.laboratory.cases import CASES
from barker.laboratory.conformance import FAILED, NOT_TRIED, Result, conform
from barker.laboratory.trial import AROUND
from tests import broken
from tests.tools.children import DEADLINE_S, SLOW, Process

NODE = shutil.which("node")
KITS = [[sys.executable, "docs/bizlogic.py"], *([[NODE, "docs/bizlogic.mjs"]] if NODE else [])]
SMALLEST = [sys.executable, "docs/bizlogic1.py"]
# Cases that say most in little time; the others are slow.
QUICK = ("greeting", "wrong proof", "kept", "cut", "gone", "refusals", "readers", "credit")


def ours(role: str) -> list[str]:
    return [sys.executable, "-m", f"barker.{role}"]


class ConformanceTest(unittest.TestCase):
    def setUp(self) -> None:
        log = logging.getLogger("barker")  # of which a judge wants to hear nothing
        self.addCleanup(log.setLevel, log.level)

    def results(
        self, role: str, command: list[str], only: Collection[str] = ()
    ) -> dict[str, Result]:
        cases = [case for case in CASES[role] if not only or case.name in only]
        results: list[Result] = []
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log"
            asyncio.run(conform(role, command, cases, log, results.append))
        self.assertEqual(len(results), len(cases))
        return {result.case.name: result for result in results}

    def assertFails(
        self, fails: set[str], role: str, command: list[str], only: Collection[str] = ()
    ) -> None:
        results = self.results(role, command, only)
        failed = {name: r.why for name, r in results.items() if r.state == FAILED}
        self.assertEqual(set(failed), fails, failed)

    def test_names_of_cases_and_chapters(self) -> None:
        chapters = {p.name.partition("-")[0].lstrip("0") for p in (ROOT / "docs").glob("*.rst")}
        for role, cases in CASES.items():
            names = [case.name for case in cases]
            self.assertEqual(len(names), len(set(names)), role)
            for case in cases:
                self.assertIn(case.chapter, {*chapters, "protocol"}, case.name)

    def test_ours_pass_the_quick_cases(self) -> None:
        for role in CASES:
            with self.subTest(role):
                self.assertFails(set(), role, ours(role), QUICK)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a hundred programs are started")
    def test_ours_pass_all_of_it(self) -> None:
        for role in CASES:
            with self.subTest(role):
                results = self.results(role, ours(role))
                wrong = {n: r.why for n, r in results.items() if r.state in (FAILED, NOT_TRIED)}
                self.assertEqual(wrong, {})

    def test_broken_ones_fail_quick_cases(self) -> None:
        for name in ("forgets_mentions", "keeps_the_dead", "stuffs_its_readers"):
            with self.subTest(name):
                self.assertBrokenFails(name, QUICK)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: some hundred programs are started")
    def test_broken_ones_fail_what_they_should_and_no_quick_case_besides(self) -> None:
        self.assertGreaterEqual(len(broken.names()), 10)
        for name in broken.names():
            with self.subTest(name):
                self.assertBrokenFails(name, {*QUICK, *broken.load(name).FAILS})

    def assertBrokenFails(self, name: str, only: Collection[str]) -> None:
        wrong = broken.load(name)
        fails = {case for case in wrong.FAILS if case in only}
        self.assertTrue(fails)
        command = [sys.executable, "-m", "tests.broken", name]
        self.assertFails(fails, wrong.ROLE, command, only)

    def test_kits_pass_quick_cases(self) -> None:
        for kit in KITS:
            with self.subTest(kit[-1]):
                self.assertFails(set(), "bizlogic", kit, QUICK)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: sixty programs are started")
    def test_kits_pass_all_of_it(self) -> None:
        for kit in KITS:
            with self.subTest(kit[-1]):
                results = self.results("bizlogic", kit)
                wrong = {n: r.why for n, r in results.items() if r.state == FAILED}
                self.assertEqual(wrong, {})
                left_out = {n for n, r in results.items() if r.state == NOT_TRIED}
                self.assertEqual(left_out, {"agent"})


class JudgeTest(unittest.TestCase):
    """The command, as a reader types it."""

    def judge(self, *words: str, deadline_s: float = 6 * DEADLINE_S) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "barker.judge", *words],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
        )
        self.assertNotIn("Traceback", done.stderr)
        for line in done.stdout.splitlines():
            if found := re.search(r"has printed is in (\S+)", line):
                place = pathlib.Path(found[1])
                self.assertTrue(place.exists())
                shutil.rmtree(place if place.is_dir() else place.parent)
        return done.returncode, done.stdout

    def trial(self, role: str, command: str, *flags: str) -> tuple[int, str]:
        return self.judge("--with", f"{role}={command}", *flags)

    def test_a_program_that_does_not_start_is_told_in_one_line(self) -> None:
        for how in ("--with", "--conformance"):
            with self.subTest(how):
                status, shown = self.judge(how, f"bizlogic={sys.executable} -c 1/0")
                self.assertEqual(status, 1)
                wrong, place = shown.strip().splitlines()
                self.assertRegex(wrong, r"^WRONG: bizlogic-\d+ ended with status 1 before READY")
                self.assertRegex(place, "^What it has printed is in ")

    def test_the_command_line(self) -> None:
        for words in (
            ["--with", "bizlogic=x", "--conformance", "bizlogic=x"],
            ["--with", "nobody=x"],
            ["--conformance", "listen=x"],
            ["--with", "bizlogic="],
        ):
            with self.subTest(words):
                self.assertEqual(self.judge(*words)[0], 2)

    def test_a_small_one_in_its_own_words_holds(self) -> None:
        for kit in (SMALLEST, KITS[0]):
            with self.subTest(kit[-1]):
                flags = ("--seconds", "3", "--seed", "1")
                status, shown = self.trial("bizlogic", " ".join(kit), *flags)
                self.assertEqual(status, 0, shown)
                self.assertRegex(shown, r"(?m)^1    acknowledged means kept +held ")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: systems that are hurt for a while")
    def test_the_smallest_one_holds_with_any_seed(self) -> None:
        for seed in range(2):
            with self.subTest(seed):
                flags = ("--seconds", "10", "--seed", str(seed))
                status, shown = self.trial("bizlogic", " ".join(SMALLEST), *flags)
                self.assertEqual(status, 0, shown)

    @unittest.skipUnless(os.name == "posix", "signals")
    def test_ctrl_c_leaves_no_folder(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        command = f"bizlogic={' '.join(ours('bizlogic'))}"
        for how in ("--with", "--conformance"):
            env = {**os.environ, "TMPDIR": folder.name}
            judge = Process(["-m", "barker.judge", how, command], ROOT, env=env)
            self.addCleanup(judge.close)
            judge.wait_for("judge: starting")
            judge.signal(signal.SIGINT)
            self.assertEqual(judge.ended(), 130, judge)
            self.assertEqual(list(pathlib.Path(folder.name).iterdir()), [], how)

    @unittest.skipUnless(SLOW and os.name == "posix", "BARKER_SLOW=1, and signals")
    def test_ctrl_c_leaves_nothing(self) -> None:
        words = ["-m", "barker.judge", "--with", f"bizlogic={' '.join(ours('bizlogic'))}"]
        judge = Process(words, ROOT)
        self.addCleanup(judge.close)
        judge.wait_for("of 25 s")
        place = re.search(rb"--state\0([^\0]+)", self._programs(judge.pid))
        judge.signal(signal.SIGINT)
        self.assertEqual(judge.ended(), 130, judge)
        self.assertEqual(self._programs(judge.pid), b"")
        if place:
            self.assertFalse(pathlib.Path(place[1].decode()).exists())

    def _programs(self, pid: int) -> bytes:
        """The command lines of a process's children; nothing where there is no /proc."""
        found = b""
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                found += (path / "cmdline").read_bytes() if parent == pid else b""
            except OSError:
                continue
        return found

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: systems that are hurt for a while")
    def test_ours_hold_in_every_role(self) -> None:
        for role in AROUND:
            with self.subTest(role):
                command = " ".join(ours(role))
                status, shown = self.trial(role, command, "--seconds", "10", "--seed", "7")
                self.assertEqual(status, 0, shown)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: systems that are hurt for a while")
    def test_what_loses_barks_is_found_with_one_bark_s_way(self) -> None:
        wrong = {
            "bizlogic": f"{sys.executable} -m tests.broken acks_at_once",
            "outbox": f"{' '.join(ours('outbox'))} --no-journal",
            "inbox": f"{' '.join(ours('inbox'))} --no-journal",
        }
        for role, command in wrong.items():
            with self.subTest(role):
                status, shown = self.trial(role, command, "--seconds", "15", "--seed", "7")
                self.assertEqual(status, 1, shown)
                self.assertRegex(shown, r"(?m)^1    acknowledged means kept +BROKEN +\d+ ")
                if role == "inbox":  # what was shown is gone: there is no single bark to blame
                    continue
                self.assertRegex(shown, r"The first bark of which that is so:\n\n[0-9a-f]{24}, '")
                self.assertRegex(shown, r"→ \S+: put \d+\n")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: systems that are hurt for a while")
    def test_what_keeps_nothing_is_found_with_any_seed_and_soon(self) -> None:
        for seed in (5, 6, 12):  # of four seconds, the dice alone have no death for it
            with self.subTest(seed):
                broken = f"{sys.executable} -m tests.broken keeps_nothing"
                flags = ("--seconds", "4", "--seed", str(seed))
                status, shown = self.trial("outbox", broken, *flags)
                self.assertEqual(status, 1, shown)
                self.assertRegex(shown, r"(?m)^1    acknowledged means kept +BROKEN +\d+ ")

    @unittest.skipUnless(SLOW and NODE, "BARKER_SLOW=1, and Node.js")
    def test_one_in_another_language_holds(self) -> None:
        command = " ".join(KITS[-1])
        status, shown = self.trial("bizlogic", command, "--seconds", "15", "--seed", "7")
        self.assertEqual(status, 0, shown)
