"""The labs: each is a task that can be read; answers are judged as they should be."""

import collections
import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest
from collections.abc import Collection, Sequence
from unittest import mock

from barker import judge
from barker.delivery.duplicates import Duplicates
from barker.disk.files import ROOT
from barker.laboratory import task
from barker.laboratory.task import CHANGED, FAILED, OPEN, SOLVED, Memory
from barker.laboratory.tasks import TASKS
from barker.laboratory.windowrules import RULES
from tests.labs import HERE, Answer, Judged, answers, fault, judged, labs
from tests.labs.patching import patched
from tests.tools.children import DEADLINE_S, SLOW
from tests.tools.fleet import copy_of_the_project

COLUMNS = 80


class TasksTest(unittest.TestCase):
    def test_each_names_what_is_there(self) -> None:
        for lab in TASKS.values():
            with self.subTest(lab.name):
                self.assertTrue((ROOT / task.page_of(lab)).exists())
                for file, _ in lab.where:
                    self.assertTrue((ROOT / file).exists(), file)
                names = [case.name for case in lab.cases]
                self.assertEqual(len(names), len(set(names)))
                for case in lab.cases:
                    self.assertTrue(lab.chapter.startswith(case.chapter.zfill(2)), case.name)

    def test_its_text_fits_a_terminal(self) -> None:
        for lab in TASKS.values():
            with self.subTest(lab.name):
                lines = task.text_of(lab)
                self.assertEqual([line for line in lines if len(line) > COLUMNS], [])
                self.assertTrue(any(line.endswith("--judge") for line in lines))

    def test_each_has_its_paragraph_in_its_chapter(self) -> None:
        for lab in TASKS.values():
            text = (ROOT / task.page_of(lab)).read_text(encoding="utf-8")
            self.assertIn(f"barker.judge {lab.name}``", text, lab.name)


class KeysOnly(Duplicates):
    """Forgets the counters of an origin."""

    def fresh(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        return super().fresh(key, None, n, addresses)


class Highest(Duplicates):
    """Takes all that is late for known."""

    def fresh(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        fresh, late = super().fresh(key, origin, n, addresses)
        return ([] if late else fresh), late


class Asked(Duplicates):
    """Remembers what it is asked."""

    def fresh(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        fresh = super().fresh(key, origin, n, addresses)
        if fresh[0]:
            super().add(key, origin, n, fresh[0])
        return fresh


class Endless:
    """A perfect memory, without a bound."""

    def __init__(self, window: int, min_keys: int) -> None:
        self._had: set[tuple[tuple[str, str], str]] = set()
        self._highest: dict[str, int] = {}

    def fresh(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        late = origin is not None and n < self._highest.get(origin, -1)
        return [a for a in addresses if (key, a) not in self._had], late

    def add(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> None:
        self._had.update((key, address) for address in addresses)
        if origin is not None:
            self._highest[origin] = max(n, self._highest.get(origin, -1))


class Holder:
    """A part of a window, with what no copy can be made of."""

    __slots__ = ("bits", "counts")

    def __init__(self) -> None:
        self.bits = bytearray(8)
        self.counts: dict[int, int] = collections.defaultdict(lambda: 0)


class Parts(Duplicates):
    """Right, and made of parts; its bound holds unless `step` is above 0."""

    step = 0

    def __init__(self, window: int, min_keys: int) -> None:
        super().__init__(window, min_keys)
        self.parts = [Holder()]

    def add(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> None:
        super().add(key, origin, n, addresses)
        self.parts[0].counts[0] += 1
        self.parts[0].bits += bytes(self.step)


class Growing(Parts):
    step = 8


class AskedInside(Parts):
    """Counts in a part of it what it is asked."""

    def fresh(
        self, key: tuple[str, str], origin: str | None, n: int, addresses: Sequence[str]
    ) -> tuple[Sequence[str], bool]:
        self.parts[0].counts[n] += 1
        return super().fresh(key, origin, n, addresses)


class WindowRulesTest(unittest.TestCase):
    def test_a_window_may_be_made_of_anything(self) -> None:
        for rule in ("rule_4", "bound"):
            self.assertEqual(RULES[rule](Parts), "", rule)
        self.assertIn("`fresh` changes", RULES["rule_4"](AskedInside))
        self.assertIn("entries, for a window", RULES["bound"](Growing))

    def test_ours_keeps_them(self) -> None:
        self.assertEqual(
            {name: rule(Duplicates) for name, rule in RULES.items()}, dict.fromkeys(RULES, "")
        )

    def test_each_finds_the_window_that_breaks_it(self) -> None:
        for rule, kind in (("rule_2", KeysOnly), ("rule_3", Highest), ("rule_4", Asked)):
            self.assertTrue(RULES[rule](kind), rule)
        broken = [rule for rule, check in RULES.items() if check(Endless)]
        self.assertEqual(broken, ["bound"])


class MemoryTest(unittest.TestCase):
    """A task is solved if this very tree was judged."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = pathlib.Path(folder.name) / "var" / "labs.json"
        self.memory = Memory(self.path)

    def states(self, tree: str) -> list[str]:
        return list(self.memory.states(["mute", "ring"], tree))

    def test_what_was_not_judged_is_open(self) -> None:
        self.assertEqual(self.states("a"), [OPEN, OPEN])

    def test_a_judgement_counts_for_its_tree_alone(self) -> None:
        self.memory.write("mute", "a", passed=True)
        self.memory.write("ring", "b", passed=False)
        self.assertEqual(self.states("a"), [SOLVED, CHANGED])
        self.assertEqual(self.states("b"), [CHANGED, FAILED])
        self.memory.write("mute", "b", passed=False)
        self.assertEqual(self.states("b"), [FAILED, FAILED])

    def test_a_damaged_file_is_as_none(self) -> None:
        self.memory.write("mute", "a", passed=True)
        for text in ("", "[", "[1]", '{"mute": 1}'):
            self.path.write_text(text, encoding="utf-8")
            self.assertEqual(self.states("a"), [OPEN, OPEN], text)

    def test_the_digest_changes_with_any_file_that_counts(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            found = {task.digest(root)}
            for name in ("barker/x.py", "barker/y/z.py", "docs/labs/l.py"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text("a", encoding="utf-8")
                found.add(task.digest(root))
            (root / "barker/x.py").write_text("b", encoding="utf-8")
            found.add(task.digest(root))
            (root / "docs/x.rst").write_text("b", encoding="utf-8")
            found.add(task.digest(root))
            if os.name == "posix":  # Emacs locks a file by such a link
                (root / "barker/.#x.py").symlink_to("user@machine.1")
                found.add(task.digest(root))
            self.assertEqual(len(found), 5)


class PatchingTest(unittest.TestCase):
    def patched(self, text: str, patch: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "f").write_text(text, encoding="utf-8")
            return patched(pathlib.Path(folder), patch)["f"]

    def test_a_hunk_is_found_though_lines_have_moved(self) -> None:
        patch = "About it.\n\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
        self.assertEqual(self.patched("x\ny\na\nb\nc\n", patch), "x\ny\na\nB\nc\n")

    def test_of_several_places_the_nearest_counts(self) -> None:
        patch = "--- a/f\n+++ b/f\n@@ -4,1 +4,2 @@\n b\n+new\n"
        self.assertEqual(self.patched("b\na\na\nb\n", patch), "b\na\na\nb\nnew\n")

    def test_a_patch_that_does_not_fit_is_an_error(self) -> None:
        patch = "--- a/f\n+++ b/f\n@@ -1,1 +1,1 @@\n-b\n+c\n"
        for text, wrong in (("a\n", patch), ("a\n", "no patch at all\n")):
            with self.assertRaises(ValueError):
                self.patched(text, wrong)


class AnswersTest(unittest.TestCase):
    def assertJudgedRight(self, some: Collection[Answer]) -> None:
        for answer in some:
            with self.subTest(str(answer)):
                found = judged(answer)
                self.assertEqual(fault(answer, found), "", found.shown)

    def test_each_lab_has_a_model_and_two_wrong_answers(self) -> None:
        for lab in labs():
            some = answers(lab)
            self.assertGreaterEqual(len(some), 4, lab)
            for wrong in some[2:]:
                names = [case.name for case in TASKS[lab].cases]
                self.assertIn(wrong.fails, names, wrong)
                self.assertTrue(wrong.about.endswith("."), wrong)

    def test_a_wrong_judgement_is_told_from_a_right_one(self) -> None:
        model, wrong = Answer("x", (HERE,)), Answer("x", (HERE, HERE), "", "one way", "to ark3")
        said = "passed hides it is (chapter 7) FAILED one way it is not (chapter 7): not to\nark3"
        for answer, status, shown, right in (
            (Answer("x", ()), 1, "", True),
            (Answer("x", ()), 0, "", False),
            (Answer("x", ()), 2, "", False),
            (model, 0, "", True),
            (model, 1, "", False),
            (wrong, 1, said, True),
            (wrong, 0, said, False),
            (wrong, 1, said.replace("ark3", "rdl"), False),
            (wrong, 1, said.replace("FAILED one way", "passed one way"), False),
        ):
            with self.subTest(status=status, shown=shown):
                self.assertEqual(fault(answer, Judged(status, shown)) == "", right)

    def test_each_patch_belongs_to_a_lab_and_applies(self) -> None:
        found = {patch for lab in labs() for answer in answers(lab) for patch in answer.patches}
        self.assertEqual(found, {*HERE.glob("*.patch")})
        with tempfile.TemporaryDirectory() as folder:
            root = copy_of_the_project(pathlib.Path(folder) / "tree")
            for lab in labs():
                _, model, *wrong = answers(lab)
                before: dict[pathlib.Path, str | None] = {}
                for name, text in patched(root, model.patches[0].read_text("utf-8")).items():
                    path = root / name
                    before[path] = path.read_text("utf-8") if path.exists() else None
                    path.write_text(text, encoding="utf-8")
                for answer in wrong:
                    self.assertTrue(patched(root, answer.patches[1].read_text("utf-8")))
                for path, old in before.items():
                    path.unlink() if old is None else path.write_text(old, encoding="utf-8")

    def test_a_model_passes_and_a_wrong_answer_fails_for_its_reason(self) -> None:
        _, model, _, wrong = answers("mute")
        self.assertJudgedRight([wrong])
        found = judged(model)
        self.assertEqual(fault(model, found), "", found.shown)
        shown = (ROOT / "README.rst").read_text(encoding="utf-8").partition("\nAfter it:")[2]
        shown = textwrap.dedent(shown.partition("::\n")[2].partition("\n\nHow")[0])
        command, *lines = shown.strip("\n").split("\n")
        self.assertEqual(command, "$ python -m barker.judge mute --judge")
        parts = [part for part in "\n".join(lines).split("...\n") if part]
        self.assertEqual(len(parts), 2)
        for part in parts:
            self.assertIn(f"\n{part.rstrip()}\n", f"{found.shown}\n")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: copies are judged; .ci/labs judges all")
    def test_some_labs_are_judged_right_both_ways(self) -> None:
        for lab in ("mute", "burst", "ring"):
            self.assertJudgedRight(answers(lab))


class CommandTest(unittest.TestCase):
    def judge(self, *words: str) -> tuple[int, str, str]:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        done = subprocess.run(
            [sys.executable, "-m", "barker.judge", *words],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder.name},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )
        return done.returncode, done.stdout, done.stderr

    def test_alone_it_lists_the_labs(self) -> None:
        status, shown, _ = self.judge()
        self.assertEqual(status, 0)
        for lab in TASKS.values():
            self.assertRegex(shown, rf"(?m)^{lab.name} +{lab.title} +chapter \d\d +\w")
        self.assertLessEqual(max(map(len, shown.splitlines())), COLUMNS)

    def test_a_name_prints_the_task(self) -> None:
        status, shown, _ = self.judge("mute")
        self.assertEqual((status, shown.splitlines()), (0, task.text_of(TASKS["mute"])))

    def test_the_command_line(self) -> None:
        for words, why in (
            (["nothing"], "there is no lab nothing"),
            (["--judge"], "--judge takes the name of a lab"),
            (["ring", "--with", "x"], "ring is about the working tree"),
            (["mute", "--judge", "--with", "x"], "a lab takes --judge or --with"),
            (["mute", "--conformance", "bizlogic=x"], "a lab takes --judge or --with"),
            (["mute", "--with", "bizlogic="], "--with takes a COMMAND"),
        ):
            with self.subTest(words):
                status, _, errors = self.judge(*words)
                self.assertEqual(status, 2)
                self.assertIn(why, errors)

    def test_what_changes_while_it_is_judged_is_not_remembered(self) -> None:
        for after, times in (("a", 1), ("b", 0)):
            with (
                mock.patch.object(judge, "digest", side_effect=["a", after]),
                mock.patch.object(judge, "lab", return_value=0),
                mock.patch.object(Memory, "write") as write,
                contextlib.redirect_stderr(io.StringIO()) as errors,
            ):
                self.assertEqual(judge.main(["mute", "--judge"]), 0)
            self.assertEqual(write.call_count, times)
            self.assertEqual("changed meanwhile" in errors.getvalue(), not times)

    def test_a_program_is_judged_in_the_tree_s_place(self) -> None:
        status, shown, _ = self.judge("mute", "--with", f"bizlogic={sys.executable} -c 1/0")
        self.assertEqual(status, 1)
        self.assertIn("WRONG: bizlogic-", shown)
