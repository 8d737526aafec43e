"""What it costs to wait: the whole system, with nobody saying anything."""

import sys
import time
import unittest

import launch
from tests.tools.fleet import DEADLINE_S, SLOW, Fleet, Process, free_port

SECONDS = 10.0
LOOK_S = 2.0  # a start has its last work after a second: the first suggestions
MOST = 0.02  # of one core, all services together


@unittest.skipUnless(SLOW and sys.platform == "linux", "BARKER_SLOW=1, on Linux: takes ten seconds")
class IdleTest(unittest.TestCase):
    alone = True  # it measures what is used while nothing happens

    def test_an_idle_system_uses_less_than_a_fiftieth_of_a_core(self) -> None:
        fleet = self.enterContext(Fleet())
        processes: list[Process] = []
        for line in launch.COMMANDS:
            module, *words = line.split()
            if module == "autobark":
                continue
            if "--port" in words:
                at = words.index("--port") + 1
                words[at] = str(fleet.port if module == "directory" else free_port())
            processes.append(fleet.run(module, *words))
            if "--port" in words:
                processes[-1].wait_for("READY")
        listener = fleet.run("listen", "ark3", "--count", "1")
        fleet.run("bark", "ark3", "Is everybody there?")
        listener.ended()
        end = time.monotonic() + DEADLINE_S
        while self.used(processes, LOOK_S) > MOST:
            self.assertLess(time.monotonic(), end, "it does not come to rest")
        used = self.used(processes, SECONDS)
        print(f"idle: {len(processes)} processes use {100 * used:.2f} % of a core", file=sys.stderr)
        self.assertLess(used, MOST)

    @staticmethod
    def used(processes: list[Process], seconds: float) -> float:
        """The part of a core that they use. To measure over a span takes that span."""
        before = sum(p.cpu_s for p in processes)
        begun = time.monotonic()
        time.sleep(seconds)
        return (sum(p.cpu_s for p in processes) - before) / (time.monotonic() - begun)
