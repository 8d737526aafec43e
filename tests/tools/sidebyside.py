"""A suite that runs on all cores: what prints, counts and ends is as if one test followed another.

Most tests wait for processes of ours, so one test after another leaves a core idle. `SideBySide` is
the suite that ``python -m unittest`` runs (`load_tests`). It forks a worker for each core
once all tests are loaded. A worker is given a unit at a time, runs it with a `TestResult` of its
own, and sends what that was told, test by test; the suite repeats it to the result that the runner
prints from. A unit is one test. Where a class has a ``setUpClass``, or a module a ``setUpModule``,
it is the whole class or module: tests that share a system stay together. Classes that say
``alone = True`` run afterwards, one test after another: they measure this machine, or fill it.

Where there is one core, or no Linux, all run in this process (macOS has system libraries that
can't be forked). ``BARKER_JOBS`` is how many workers there are, 1 for none.
"""

import contextlib
import multiprocessing
import os
import pathlib
import signal
import sys
import unittest
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

ENDED_S = 60.0  # how long a worker may clean up after Ctrl-C

# What a result was told: the method, of what (a number is which of the unit's tests), what else.
Told = tuple[str, Any, tuple[Any, ...]]
Unit = list[unittest.TestCase]


class Described(NamedTuple):
    """What prints as something that only the worker has: a sub-test, or a fixture that failed."""

    name: str
    text: str
    short: str | None

    @property
    def failureException(self) -> type[Exception]:
        return AssertionError

    def id(self) -> str:
        return self.name

    def __str__(self) -> str:
        return self.text

    def shortDescription(self) -> str | None:
        return self.short


class SubTest(unittest.case._SubTest):  # type: ignore[name-defined, misc]
    """A sub-test that ran elsewhere. The runner sets apart what is of this type."""

    def __init__(self, test: unittest.TestCase, told: Described) -> None:
        super().__init__(test, "", {})
        self._told = told

    def id(self) -> str:
        return self._told.id()

    def __str__(self) -> str:
        return str(self._told)

    def shortDescription(self) -> str | None:
        return self._told.shortDescription()


def jobs() -> int:
    """How many workers to fork; 1 is none."""
    if wanted := os.environ.get("BARKER_JOBS"):
        return int(wanted)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def load_tests(
    loader: unittest.TestLoader, _: unittest.TestSuite, pattern: str | None
) -> unittest.TestSuite:
    """What discovery asks for the package `tests`: all there is, in a suite that uses all cores."""
    here = pathlib.Path(__file__).resolve().parents[1]
    found = loader.discover(str(here), pattern or "test*.py", str(here.parent))
    return SideBySide([found])


class SideBySide(unittest.TestSuite):
    """Tests of which several run at the same time."""

    def run(self, result: unittest.TestResult, debug: bool = False) -> unittest.TestResult:
        together, alone = units(self)
        if debug or jobs() == 1 or len(together) < 2:
            return super().run(result, debug)
        with workers(together, result) as connections:
            # What a test prints is kept by its worker, if at all.
            buffer, result.buffer = result.buffer, False
            for index, told in heard(connections, together, result):
                repeat(told, together[index], result)
            result.buffer = buffer
        return unittest.TestSuite(map(unittest.TestSuite, alone)).run(result)


def units(suite: unittest.TestSuite) -> tuple[list[Unit], list[Unit]]:
    """What may run beside others, and what may not, in the order of `suite`."""
    found: dict[object, Unit] = {}
    for test in flat(suite):
        found.setdefault(shared_by(test), []).append(test)
    alone = [unit for unit in found.values() if getattr(unit[0], "alone", False)]
    return [unit for unit in found.values() if unit not in alone], alone


def shared_by(test: unittest.TestCase) -> object:
    """The module or class that this test has a fixture of, or the test itself."""
    kind = type(test)
    module = sys.modules[kind.__module__]
    if hasattr(module, "setUpModule"):
        return module
    ours = kind.mro()[: kind.mro().index(unittest.TestCase)]
    return kind if any("setUpClass" in vars(each) for each in ours) else test


def flat(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


# --- the suite ---


@contextlib.contextmanager
def workers(given: list[Unit], result: unittest.TestResult) -> Iterator[list[Connection]]:
    """A connection to each worker. They have ended afterwards, cleaned up after themselves."""
    fork = multiprocessing.get_context("fork")
    ours: list[Connection] = []
    started = []
    for _ in range(min(jobs(), len(given))):
        here, there = fork.Pipe()
        worker = fork.Process(target=work, args=(there, [*ours, here], given, result))
        worker.start()
        there.close()
        started.append(worker)
        ours.append(here)
    try:
        yield ours
    except BaseException:
        for worker in started:
            if worker.pid and worker.is_alive():
                os.kill(worker.pid, signal.SIGINT)
        raise
    finally:
        for connection in ours:
            connection.close()
        for worker in started:
            worker.join(ENDED_S)
            worker.kill()  # it may have gone to sleep in the moment that Ctrl-C came
            worker.join()


def heard(
    connections: list[Connection], given: list[Unit], result: unittest.TestResult
) -> Iterator[tuple[int, list[Told]]]:
    """Give all units to the workers; what they say of each test, with the number of its unit."""
    left = iter(range(len(given)))
    doing: dict[Connection, int] = {}

    def give(connection: Connection) -> None:
        if not result.shouldStop and (index := next(left, None)) is not None:
            doing[connection] = index
            connection.send(index)

    for connection in connections:
        give(connection)
    stopping = False
    while doing:
        for each in wait(list(doing)):
            assert isinstance(each, Connection)
            index = doing[each]
            try:
                told = each.recv()
            except EOFError:
                del doing[each]
                lost = Described("worker", f"the worker that ran {given[index][0]}", None)
                yield index, [("addError", lost, ("Its process has ended.\n",))]
                continue
            if told is None:
                del doing[each]
                give(each)
            else:
                yield index, told
        if result.shouldStop and not stopping:
            stopping = True
            for each in doing:
                each.send(None)


def repeat(told: list[Told], unit: Unit, result: unittest.TestResult) -> None:
    """Tell `result` what a worker's was told."""
    lists = {
        "addError": result.errors,
        "addFailure": result.failures,
        "addExpectedFailure": result.expectedFailures,
    }
    for method, which, rest in told:
        test: Any = unit[which] if isinstance(which, int) else which
        if method == "addSubTest":
            parent, failure, text = unit[rest[0]], *rest[1:]
            subtest = SubTest(parent, test)
            result.addSubTest(parent, subtest, failed(failure) if text else None)
            if text:
                (result.failures if failure else result.errors)[-1] = (subtest, text)
        elif method in lists:
            getattr(result, method)(test, failed(method == "addFailure"))
            lists[method][-1] = (test, rest[0])  # the traceback is the worker's
        elif hasattr(result, method):
            getattr(result, method)(test, *rest)


def failed(is_failure: bool) -> Any:
    """What a result takes for a test that failed, until its text is put in its place."""
    error = AssertionError() if is_failure else Exception()
    return type(error), error, None


# --- a worker ---


def work(
    connection: Connection, others: list[Connection], given: list[Unit], like: unittest.TestResult
) -> None:
    """Run the units that are asked for, until there are no more, or the suite has ended."""
    for other in others:
        other.close()
    os.setpgid(0, 0)  # Ctrl-C is for the suite, which says it to us, once
    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while (index := connection.recv()) is not None:  # it is None after a failure, with -f
            recorder = Recorder(given[index], connection)
            recorder.buffer, recorder.tb_locals = like.buffer, like.tb_locals
            unittest.TestSuite(given[index]).run(recorder)
            recorder.send()
            connection.send(None)


class Recorder(unittest.TestResult):
    """Sends what it is told: all of a test at once, and what is between two tests with the next."""

    def __init__(self, unit: Unit, connection: Connection) -> None:
        super().__init__()
        self._index = {id(test): i for i, test in enumerate(unit)}
        self._connection = connection
        self._told: list[Told] = []

    def send(self) -> None:
        sys.stdout.flush()
        self._connection.send(self._told)
        self._told = []

    def _tell(self, method: str, test: Any, *rest: object) -> None:
        which = self._index.get(id(test))
        self._told.append((method, described(test) if which is None else which, rest))

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self._tell("startTest", test)

    def stopTest(self, test: unittest.TestCase) -> None:
        super().stopTest(test)
        self._tell("stopTest", test)
        self.send()
        if self._connection.poll():  # no more are wanted
            self.stop()

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._tell("addSuccess", test)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._tell("addError", test, self.errors[-1][1])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._tell("addFailure", test, self.failures[-1][1])

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._tell("addExpectedFailure", test, self.expectedFailures[-1][1])

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._tell("addUnexpectedSuccess", test)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._tell("addSkip", test, reason)

    def addDuration(self, test: unittest.TestCase, elapsed: float) -> None:
        if sys.version_info >= (3, 12):
            super().addDuration(test, elapsed)
            self._tell("addDuration", test, elapsed)

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        failure = err is not None and issubclass(err[0], test.failureException)
        text = "" if err is None else (self.failures if failure else self.errors)[-1][1]
        self._tell("addSubTest", subtest, self._index[id(test)], failure, text)


def described(test: Any) -> Described:
    return Described(test.id(), str(test), test.shortDescription())
