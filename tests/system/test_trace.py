"""`bark --trace`: the way of a bark as a person at a terminal reads it."""

import signal
import subprocess
import sys
import unittest

from barker.client.tracing import TRACE_WAIT_S
from barker.disk import files
from tests.tools.fleet import DEADLINE_S, Fleet


class TraceTest(unittest.TestCase):
    def setUp(self) -> None:
        self.fleet = self.enterContext(Fleet())
        self.fleet.directory()
        self.fleet.outbox("--name", "outbox-a")

    def traced(self) -> list[str]:
        """The lines behind the id of a bark that was acked."""
        argv = [sys.executable, "-m", "barker.bark", *self.fleet.flags]
        run = subprocess.run(
            [*argv, "ark3", "--trace", "--id", "x", "Where do I go?"],
            cwd=files.ROOT,
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
        )
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        id_, acked, *lines = run.stdout.splitlines()
        self.assertEqual(id_, "x")
        self.assertRegex(acked, r"^outbox-a acked it after \d+\.\d\d ms: it is in its journal\.$")
        self.assertLessEqual(max(map(len, run.stdout.splitlines())), 80)
        return lines

    def test_each_hop_has_its_time_and_its_bar(self) -> None:
        self.fleet.inbox("--name", "inbox-a")
        self.fleet.inbox("--name", "inbox-b")
        self.fleet.bizlogic("--name", "bizlogic-a")
        self.fleet.start("monitoring.monitor")
        whole, *bars = self.traced()
        self.assertRegex(whole, r"took \d+\.\d\d ms\.")
        for bar in bars:
            self.assertRegex(bar, r"^\S+ +\d+\.\d\d ms +=+$")
        names = [bar.split()[0] for bar in bars]
        self.assertEqual(names[:2], ["outbox-a", "bizlogic-a"])
        self.assertEqual(sorted(names[2:]), ["inbox-a", "inbox-b"])
        times = [float(bar.split()[1]) for bar in bars]
        self.assertGreater(sum(times[:2]), 0)

    def test_without_a_monitor_and_a_bizlogic_it_says_so(self) -> None:
        self.assertEqual(
            self.traced(),
            [
                "No monitor runs, so nothing times the later hops.",
                "No bizlogic runs, so it waits in outbox-a.",
            ],
        )

    def test_with_a_monitor_and_no_bizlogic_it_waits_in_the_outbox(self) -> None:
        self.fleet.start("monitoring.monitor")
        _, bar, end = self.traced()
        self.assertEqual(bar.split()[0], "outbox-a")
        self.assertEqual(end, "No bizlogic runs, so it waits in outbox-a.")

    def test_without_an_inbox_it_says_where_it_was_seen_last(self) -> None:
        self.fleet.start("monitoring.monitor")
        self.fleet.bizlogic("--name", "bizlogic-a")
        *bars, end = self.traced()
        self.assertEqual([bar.split()[0] for bar in bars[1:]], ["outbox-a", "bizlogic-a"])
        self.assertEqual(end, f"It was seen in no inbox within {TRACE_WAIT_S:g} s.")

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "freezes a process")
    def test_a_frozen_monitor_costs_a_wait_that_ctrl_c_ends(self) -> None:
        monitor = self.fleet.start("monitoring.monitor")
        self.assertEqual(len(self.traced()), 3)  # it is registered
        monitor.signal(signal.SIGSTOP)
        try:
            waiting = self.fleet.run("bark", "ark3", "--trace", "x")
            waiting.wait_for("acked it after")
            waiting.signal(signal.SIGINT)
            self.assertEqual(waiting.ended(), 0)
            first, _ = self.traced()
            self.assertEqual(first, f"The monitor showed no hop of it within {TRACE_WAIT_S:g} s.")
        finally:
            monitor.signal(signal.SIGCONT)


if __name__ == "__main__":
    unittest.main()
