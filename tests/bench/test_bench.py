"""The bench: what it says is measured right. Its bounds are judged by ``--check``, and not here."""

import asyncio
import contextlib
import cProfile
import io
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections import Counter
from collections.abc import Callable
from unittest import mock

from barker.bizlogic import Recipients
from barker.disk import files
from barker.wire import bodies
from tests.bench import __main__ as bench
from tests.bench import load, profiles
from tests.bench.children import BenchError, Children, cpu_s
from tests.bench.figures import WIDTH, Figure, Section, at_least, at_most, number, ratios, table
from tests.bench.pipeline import Load, barker, ceiling
from tests.tools.fleet import DEADLINE_S, SLOW

LINUX = sys.platform == "linux"


class LoadTest(unittest.TestCase):
    def test_every_bark_goes_to_as_many_inboxes_as_the_fan_out_says(self) -> None:
        for fan_out in (1, 2, 10):
            world = load.world(100, fan_out)
            recipients = Recipients(world)
            reached: Counter[str] = Counter()
            for user in world.names:
                addresses = recipients.of(user).split(" ")
                self.assertIn(f"inbox/{user}", addresses)
                self.assertEqual(len(addresses), fan_out)
                reached.update(addresses)
            self.assertEqual(set(reached.values()), {fan_out})  # nobody gets more than others

    def test_with_readers_every_bark_goes_to_its_author_and_one_reader(self) -> None:
        for readers in (1, 7, 10):
            recipients = Recipients(load.world_with_readers(20, readers))
            reached: Counter[str] = Counter()
            for author in load.names(20):
                own, *others = recipients.of(author).split(" ")
                self.assertEqual(own, f"inbox/{author}")
                self.assertEqual(len(others), 1)
                reached.update(others)
            self.assertEqual(set(reached), {f"inbox/user{20 + i}" for i in range(readers)})
            self.assertLessEqual(max(reached.values()) - min(reached.values()), 1)

    def test_everybody_barks_in_turn_under_an_id_of_their_own(self) -> None:
        said = list(load.bodies(20, 5, seed=3))
        parsed = [bodies.parse_bark(body) for _, body in said]
        self.assertEqual([bark.user for bark in parsed], [author for author, _ in said])
        self.assertEqual(set(Counter(author for author, _ in said).values()), {4})
        self.assertEqual(len({bark.id for bark in parsed}), 20)
        self.assertEqual({len(bark.content) for bark in parsed}, {load.CONTENT_CHARS})
        others = {bodies.parse_bark(body).id for _, body in load.bodies(20, 5, seed=3)}
        self.assertFalse(others & {bark.id for bark in parsed})

    def test_all_that_is_due_is_said_and_no_more(self) -> None:
        self.assertEqual([load.due(5, 1000, at) for at in (0, 0.0011, 0.0039, 9.0)], [1, 2, 4, 5])

    def test_a_timed_bark_tells_when_it_was_put(self) -> None:
        bark = bodies.parse_bark(load.timed_body("rdl", 1, 123_456_789_012))
        self.assertEqual(load.said_at_ns(bark.content), 123_456_789_012)

    def test_percentiles_are_values_that_were_measured(self) -> None:
        hundred = list(range(1, 101))
        self.assertEqual(
            [load.percentile(hundred, part) for part in (0, 0.5, 0.99, 0.999, 1)],
            [1, 50, 99, 100, 100],
        )
        self.assertEqual(load.percentile([7.0], 0.5), 7.0)

    def test_the_first_second_counts_and_is_told_by_itself(self) -> None:
        latencies, begun = load.Latencies(), 1_700_000_000 * 10**9

        def shown(said_s: float, took_ms: int) -> None:
            said = begun + round(said_s * 1e9)
            latencies.add(f"{said} woof", said + took_ms * 1_000_000)

        self.assertIsNone(latencies.figures())
        for n in range(991, 1001):
            shown((n - 991) / 10, n)
        for n in reversed(range(1, 991)):
            shown(1.0 + n / 500, n)
        expected = {"p50": 500, "p99": 990, "p99.9": 999, "first p99": 1000}
        self.assertEqual(latencies.figures(), expected)


class FigureTest(unittest.TestCase):
    def test_ratios_are_taken_run_by_run(self) -> None:
        # Twice in a bad minute that hits both, and the ratio does not notice.
        self.assertEqual(ratios([10, 5, 10], [20, 10, 20]), [0.5, 0.5, 0.5])
        self.assertTrue(math.isnan(ratios([1], [0])[0]))

    def test_a_figure_is_the_median_and_the_bound_is_for_the_ratio(self) -> None:
        figure = Figure("speed", [10, 30, 20], [0.2, 0.6, 0.4], at_least(0.3))
        self.assertEqual((figure.value, figure.ratio, figure.missed), (20, 0.4, False))
        self.assertTrue(figure._replace(bound=at_least(0.5)).missed)
        self.assertTrue(figure._replace(ratios=(), bound=at_most(19)).missed)
        self.assertFalse(figure._replace(ratios=(), bound=at_most(20)).missed)
        self.assertFalse(figure._replace(bound=None).missed)

    def test_what_is_not_known_misses_nothing_and_says_so(self) -> None:
        figure = Figure("memory", [math.nan], (), at_most(400))
        self.assertFalse(figure.missed)
        self.assertTrue(figure.line().endswith("<= 400 ?"), figure.line())
        self.assertIsNone(figure.json()["median"])

    def test_numbers_are_as_long_as_they_say_something(self) -> None:
        shown = [number(n) for n in (0.123, 1.234, 12.34, 123.4, 123456.7, math.nan)]
        self.assertEqual(shown, ["0.12", "1.23", "12.3", "123", "123,457", "?"])

    def test_the_table(self) -> None:
        figures = [
            Figure("fan-out 1, barks/s", [30000, 10000, 20000], [0.3, 0.1, 0.2], at_least(0.25)),
            Figure("memory", [100], (), at_most(400)),
        ]
        section = Section("Throughput", "to ceiling W", figures)
        self.assertEqual(
            table(["a machine"], [section]).splitlines(),
            [
                "a machine",
                "",
                "Throughput",
                "  ratio: to ceiling W",
                "                                   median         min - max ratio          bound",
                "-" * WIDTH,
                "fan-out 1, barks/s                 20,000   10,000 - 30,000  0.20 >= 0.25 MISSED",
                "memory                                100                              <= 400 ok",
                "",
                "2 bounds, 1 missed, 0 that could not be judged",
            ],
        )


class ProfileTest(unittest.TestCase):
    def test_a_profile_shows_who_worked_and_not_who_waited(self) -> None:
        def work() -> int:
            total = 0
            for i in range(300_000):
                total += i * i
            return total

        profiler = cProfile.Profile()
        with profiler, contextlib.closing(asyncio.new_event_loop()) as loop:
            work()
            loop.run_until_complete(asyncio.sleep(0.5))
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        profiler.dump_stats(folder / "some.prof")
        rows = profiles.rows(folder / "some.prof")
        self.assertRegex(rows[0].name, r"^tests/bench/test_bench.py:\d+ work$")
        self.assertLess(sum(row.seconds for row in rows), 0.5)
        head, *lines = profiles.lines("some", rows, top=3)
        self.assertRegex(head, r"^some: 0\.\d\d s in [\d,]+ calls$")
        self.assertEqual(len(lines), 3)


class CommandTest(unittest.TestCase):
    """`python -m tests.bench`, with one point that takes no time."""

    def run_bench(self, *argv: str, value: float = 1.0) -> tuple[int, str]:
        def point(scale: load.Scale) -> Section:
            runs = [value * scale.barks] * scale.runs
            return Section("Speed", "to nothing", [Figure("speed", runs, (), at_most(20_000))])

        output = io.StringIO()
        with (
            mock.patch.dict(bench.POINTS, {"throughput": point}),
            mock.patch.object(signal, "signal"),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            return bench.main(["throughput", *argv]), output.getvalue()

    def test_bounds_decide_only_if_they_are_asked_to(self) -> None:
        self.assertEqual(self.run_bench("--quick", "--check")[0], 0)
        self.assertEqual(self.run_bench("--quick", "--check", value=4)[0], 1)
        status, text = self.run_bench("--quick", value=4)
        self.assertEqual(status, 0)
        self.assertIn("<= 30000 MISSED", text)

    def test_a_short_run_that_misses_a_bound_is_measured_again(self) -> None:
        measured: list[int] = []

        def point(scale: load.Scale) -> Section:
            measured.append(1)
            runs = [1.0 if len(measured) == 2 else 9.0]
            return Section("Speed", "to nothing", [Figure("speed", runs, (), at_most(2))])

        for flags, status, times in ((["--quick"], 0, 2), ([], 1, 1)):
            measured.clear()
            with (
                mock.patch.dict(bench.POINTS, {"throughput": point}),
                mock.patch.object(signal, "signal"),
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                self.assertEqual(bench.main(["throughput", "--check", *flags]), status)
            self.assertEqual(len(measured), times)

    def test_a_short_run_gives_bounds_some_room(self) -> None:
        self.assertIn("<= 30000 ok", self.run_bench("--quick", value=2.9)[1])
        self.assertIn("<= 20000 MISSED", self.run_bench(value=2.9)[1])
        section = Section("", "", [Figure("", [1], (), at_least(3)), Figure("", [1])])
        least, none = section.relaxed(1.5).figures
        self.assertEqual((least.bound, none.bound), (at_least(2), None))

    def test_json_is_one_document(self) -> None:
        document = json.loads(self.run_bench("--json", "--runs", "3")[1])
        self.assertEqual(document["quick"], False)
        self.assertIn("python", document["machine"])
        (section,) = document["sections"]
        (figure,) = section["figures"]
        self.assertEqual(figure["runs"], [100_000.0] * 3)
        self.assertTrue(figure["missed"])

    def test_a_point_that_does_not_exist_is_a_usage_error(self) -> None:
        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(SystemExit) as end:
            bench.main(["thruput"])
        self.assertEqual(end.exception.code, 2)
        self.assertIn("throughput", said.getvalue())


class ChildrenTest(unittest.TestCase):
    def test_a_child_that_fails_is_told_with_what_it_said(self) -> None:
        with Children() as children:
            child = children.start("bad", "-c", "import sys; sys.exit('no such luck')")
            with self.assertRaisesRegex(BenchError, "(?s)bad: ended without .*ready.*no such luck"):
                child.event("ready")

    @unittest.skipUnless(hasattr(signal, "sigwait"), "only Unix asks a process to end by a signal")
    def test_who_is_stopping_is_not_asked_again(self) -> None:
        """It would end in the middle of what it still has to write, a profile say."""
        # No handler: it would run in the middle of a `print`, or not while a read waits.
        program = """if True:
            import signal, sys

            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            print('{"event": "ready"}', flush=True)
            signal.sigwait({signal.SIGTERM})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            print('{"event": "stopping"}', flush=True)
            sys.stdin.read()
        """
        with Children() as children:
            child = children.start("slow", "-c", program)
            child.event("ready")
            child.ask_to_stop()
            child.event("stopping")
            child.ask_to_stop()
            child.hang_up()
            self.assertEqual(child.ended(), 0)

    def test_nothing_is_left_running_when_something_goes_wrong(self) -> None:
        with self.assertRaises(ZeroDivisionError), Children() as children:
            child = children.start("relay", "-m", "tests.bench.ceiling", "relay")
            child.event("ready")
            raise ZeroDivisionError
        self.assertIsNotNone(child.popen.poll())

    def test_a_child_ends_with_the_bench_whatever_becomes_of_that(self) -> None:
        with Children() as children:
            child = children.start("relay", "-m", "tests.bench.ceiling", "relay")
            child.event("ready")
            child.hang_up()
            self.assertEqual(child.ended(), 1)

    @unittest.skipUnless(LINUX, "no other platform tells the CPU time of a child")
    def test_the_cpu_time_of_a_child_is_its_own_count_of_it(self) -> None:
        work = "import time; x = [str(i) for i in range(300_000)]; c = time.process_time(); "
        tell = 'print(\'{"event": "done", "cpu_s": %f}\' % c, flush=True); input()'
        with Children() as children:
            child = children.start("worker", "-c", work + tell)
            own = child.event("done")["cpu_s"]
            self.assertAlmostEqual(cpu_s([child]), own, delta=0.02)


class SmokeTest(unittest.TestCase):
    """The real services and the ceiling, with a few thousand barks."""

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_all_barks_come_through_both(self) -> None:
        for run in (ceiling(Load(2_000, fan_out=2)), barker(Load(2_000, fan_out=2))):
            self.assertEqual(run.barks, 2_000)
            self.assertGreater(run.per_second, 100)
            self.assertIsNone(run.latency)
            if LINUX:
                self.assertGreater(run.cpu_us, 1)
                self.assertLess(run.cpu_us, 10_000)


def group(leader: int) -> list[int]:
    """Who lives of a process group."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state_, _, pgrp = path.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == leader and state_ != "Z":
                found.append(int(path.parent.name))
    return found


@unittest.skipUnless(SLOW and LINUX, "BARKER_SLOW=1, on Linux")
class EndTest(unittest.TestCase):
    """However a bench ends, nothing of it goes on."""

    def setUp(self) -> None:
        # Else a suite that a shell had started in the background would hand on that it ignores it.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)

    def assertEnds(self, number: int) -> None:
        argv = [sys.executable, "-m", "tests.bench", "throughput", "--quick", "--runs", "100"]
        child = subprocess.Popen(
            argv,
            cwd=files.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self.until(lambda: len(group(child.pid)) > 4, "a run is going on")
            child.send_signal(number)
            child.wait(DEADLINE_S)
            self.until(lambda: not group(child.pid), "all have ended")
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def test_ctrl_c(self) -> None:
        self.assertEnds(signal.SIGINT)

    def test_being_asked_to_end(self) -> None:
        self.assertEnds(signal.SIGTERM)

    def test_kill_9(self) -> None:
        self.assertEnds(signal.SIGKILL)
