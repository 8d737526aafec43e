"""A suite on all cores tells its result what a suite on one core does."""

import os
import signal
import subprocess
import sys
import threading
import time
import unittest
from typing import Any
from unittest import mock

from tests.tools import sidebyside
from tests.tools.children import DEADLINE_S


def cases() -> list[type[unittest.TestCase]]:
    """One of each thing that can become of a test. They are no tests of ours, so none is found."""

    class Outcomes(unittest.TestCase):
        def test_error(self) -> None:
            raise ZeroDivisionError("no such thing")

        def test_failure(self) -> None:
            self.assertEqual(1, 2, "they differ")

        @unittest.expectedFailure
        def test_expected(self) -> None:
            self.fail("as expected")

        @unittest.expectedFailure
        def test_unexpected(self) -> None:
            pass

        def test_skip(self) -> None:
            self.skipTest("there is no reason")

        def test_subtests(self) -> None:
            for i in range(3):
                with self.subTest("one of three", i=i, what=print):
                    self.assertEqual(i, 1)
            with self.subTest():
                raise ValueError

        def test_success(self) -> None:
            """It has a first line."""
            print("printed")

    class Broken(unittest.TestCase):
        @classmethod
        def setUpClass(cls) -> None:
            raise ZeroDivisionError("a fixture")

        def test_never(self) -> None:
            pass

    class Unwanted(unittest.TestCase):
        @classmethod
        def setUpClass(cls) -> None:
            raise unittest.SkipTest("not here")

        def test_never(self) -> None:
            pass

    class Untidy(unittest.TestCase):
        def test_it(self) -> None:
            self.addCleanup(lambda: 1 / 0)

    return [Outcomes, Broken, Unwanted, Untidy]


class Noted(unittest.TestResult):
    """Everything that it is told, as text."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, ...]] = []

    def _note(self, *what: object) -> None:
        self.told.append(tuple(map(str, what)))

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._note("start", test.id(), test, test.shortDescription())

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self._note("stop", test)

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._note("success", test)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._note("skip", test.id(), test, reason)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        self._note("subtest", test, subtest.id(), subtest, err is None)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._note("unexpected", test)

    def everything(self) -> list[tuple[str, ...]]:
        ends = {"error": self.errors, "failure": self.failures, "expected": self.expectedFailures}
        for name, ended in ends.items():
            for test, text in ended:
                self._note(name, test.id(), test, without_places(text))
        return sorted(self.told)


def without_places(traceback: str) -> str:
    """Frames of unittest itself differ with how it was called."""
    return "\n".join(line for line in traceback.splitlines() if not line.startswith(" "))


def suite(*classes: type[unittest.TestCase]) -> unittest.TestSuite:
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    return unittest.TestSuite(map(load, classes))


class SideBySideTest(unittest.TestCase):
    def setUp(self) -> None:
        if sys.platform != "linux":
            self.skipTest("tests run one after another here")
        self.enterContext(mock.patch.object(sidebyside, "jobs", lambda: 2))

    def run_both(self, **settings: bool) -> tuple[Noted, Noted]:
        results = Noted(), Noted()
        for result, kind in zip(results, (unittest.TestSuite, sidebyside.SideBySide), strict=True):
            vars(result).update(settings)
            with open(os.devnull, "w") as nowhere, mock.patch("sys.stdout", nowhere):
                kind([suite(*cases())]).run(result)
        return results

    def test_the_result_is_told_what_a_serial_suite_tells_it(self) -> None:
        serial, parallel = self.run_both()
        self.assertEqual(parallel.everything(), serial.everything())
        self.assertEqual(parallel.testsRun, serial.testsRun)
        self.assertEqual(len(parallel.errors), 4)

    def test_so_it_is_with_what_tests_print(self) -> None:
        serial, parallel = self.run_both(buffer=True)
        self.assertEqual(parallel.everything(), serial.everything())
        self.assertTrue(parallel.buffer)

    def test_after_the_first_failure_no_more_begin_if_that_is_wished(self) -> None:
        begun = self.enterContext(mock.patch.object(sidebyside, "repeat"))
        begun.side_effect = lambda told, unit, result: result.stop()
        classes = [
            type(f"Case{i}", (unittest.TestCase,), {"test": lambda _: None}) for i in range(9)
        ]
        sidebyside.SideBySide([suite(*classes)]).run(Noted())
        self.assertLessEqual(begun.call_count, 4)

    def test_a_worker_that_dies_is_an_error_and_the_others_go_on(self) -> None:
        class Deadly(unittest.TestCase):
            def test_it(self) -> None:
                os._exit(3)

        class Fine(unittest.TestCase):
            def test_it(self) -> None:
                pass

        result = Noted()
        sidebyside.SideBySide([suite(Deadly, Fine)]).run(result)
        self.assertEqual(result.testsRun, 1)
        [(who, text)] = result.errors
        self.assertIn("Deadly", str(who))
        self.assertIn("has ended", text)

    def test_what_is_to_be_alone_runs_last_in_this_process(self) -> None:
        order: list[int] = []

        class Alone(unittest.TestCase):
            alone = True

            def test_it(self) -> None:
                order.append(os.getpid())

        class Beside(unittest.TestCase):
            def test_it(self) -> None:
                order.append(0)  # in another process, so nothing is to be seen of it

        class Another(Beside):
            pass

        result = Noted()
        sidebyside.SideBySide([suite(Alone, Beside, Another)]).run(result)
        self.assertEqual(order, [os.getpid()])
        self.assertEqual(result.testsRun, 3)
        self.assertIn("Alone", result.told[-1][1])

    def test_what_shares_a_fixture_of_its_module_stays_together(self) -> None:
        one, two, three = (
            type(name, (unittest.TestCase,), {"test": lambda _: None}) for name in ("A", "B", "C")
        )
        together, alone = sidebyside.units(suite(one, two, three))
        self.assertEqual((len(together), len(alone)), (3, 0))
        with mock.patch.object(sys.modules[__name__], "setUpModule", print, create=True):
            together, alone = sidebyside.units(suite(one, two, three))
        self.assertEqual([len(unit) for unit in together], [3])


SLEEPERS = """
import sys, time, unittest
from tests.tools import sidebyside

def say(word):
    sys.stdout.write(word + "\\n")  # in one piece, since two processes write
    sys.stdout.flush()

class One(unittest.TestCase):
    def test(self):
        try:
            say("begun")
            for _ in range(1000):  # a signal that comes just before a sleep is seen after it
                time.sleep(0.1)
        finally:
            say("tidied")

class Two(One):
    pass

load = unittest.defaultTestLoader.loadTestsFromTestCase
sidebyside.jobs = lambda: 2
suite = sidebyside.SideBySide([load(One), load(Two)])
unittest.TextTestRunner().run(suite)
"""


class InterruptedTest(unittest.TestCase):
    def test_it_ends_all_workers_and_they_tidy_up(self) -> None:
        if sys.platform != "linux":
            self.skipTest("tests run one after another here")
        argv = [sys.executable, "-c", SLEEPERS]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            late = threading.Timer(DEADLINE_S, child.kill)
            late.start()
            assert child.stdout is not None and child.stderr is not None
            begun = [child.stdout.readline(), child.stdout.readline()]
            asked = time.monotonic()
            child.send_signal(signal.SIGINT)
            rest, complaint = child.stdout.read(), child.stderr.read()
            late.cancel()
        self.assertEqual(begun, ["begun\n"] * 2)
        self.assertEqual(rest, "tidied\n" * 2)
        self.assertLess(time.monotonic() - asked, DEADLINE_S)
        self.assertEqual(complaint.count("Traceback"), 1, complaint)
        self.assertIn("KeyboardInterrupt", complaint)
