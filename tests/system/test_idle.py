"""What it costs to wait: the whole system, with nobody saying anything."""

import sys
import time
import unittest

import launch
from tests.tools.fleet import SLOW, Fleet, Process

SECONDS = 10.0
MOST = 0.02  # of one core, all services together


@unittest.skipUnless(SLOW and sys.platform == "linux", "BARKER_SLOW=1, on Linux: takes ten seconds")
class IdleTest(unittest.TestCase):
    def test_an_idle_system_uses_less_than_a_fiftieth_of_a_core(self) -> None:
        fleet = self.enterContext(Fleet())
        processes: list[Process] = []
        for line in launch.COMMANDS:
            module, *words = line.split()
            if module == "autobark":
                continue
            if "--port" in words:
                at = words.index("--port") + 1
                words[at] = str(fleet.port) if module == "directory" else "0"
            processes.append(fleet.run(module, *words))
            if "--port" in words:
                processes[-1].wait_for("READY")
        self.wait(2.0)  # everybody finds everybody
        before = sum(p.cpu_s for p in processes)
        begun = time.monotonic()
        self.wait(SECONDS)
        used = (sum(p.cpu_s for p in processes) - before) / (time.monotonic() - begun)
        print(f"idle: {len(processes)} processes use {100 * used:.2f} % of a core", file=sys.stderr)
        self.assertLess(used, MOST)

    @staticmethod
    def wait(seconds: float) -> None:
        """The one sleep of all tests: what is measured is that nothing happens."""
        time.sleep(seconds)
