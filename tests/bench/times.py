"""Start and failover: how long nobody is served."""

import asyncio
import compileall
import contextlib
import itertools
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from barker.disk import files
from barker.launching.commands import Command, busy_ports
from barker.process.arguments import DEFAULT_HOST
from tests.bench.children import BenchError
from tests.bench.figures import Figure, Section, at_most, ratios
from tests.bench.load import Scale
from tests.tools.fleet import Fleet, Process, Service, free_port, until

# Barks a second while a bizlogic is killed.
RATE = 200.0
BEFORE_S, AFTER_S = 0.5, 1.5
READY_S = 30.0
# Of launch.py.
PORTS = (5672, 5680, 5690, 5695, 5800, 5801, 5802, 5820)


def times(scale: Scale) -> Section:
    """Point 3, but for recovery, which is measured where there is something to recover."""
    bare, started = [], []
    for _ in range(max(3, scale.fewer)):
        imports = [_seconds([sys.executable, "-c", "import asyncio"]) for _ in range(5)]
        bare.append(statistics.median(imports))
        started.append(first_bark_s())
    gaps = [asyncio.run(failover_gap_ms()) for _ in range(scale.fewer)]
    # What a reader who is served waits for at this rate anyway.
    usual = [1000 / RATE] * scale.fewer
    return Section(
        "Start and failover",
        'start: to `python -c "import asyncio"`; gap: to that of two barks',
        [
            Figure("launch.py to first bark, s", started, ratios(started, bare), at_most(16.0)),
            Figure("bizlogic killed to shown, ms", gaps, ratios(gaps, usual)),
        ],
    )


def _seconds(argv: list[str]) -> float:
    begun = time.monotonic()
    subprocess.run(argv, check=True)
    return time.monotonic() - begun


def first_bark_s() -> float:
    """From `python launch.py` to the first bark that is shown."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        # A copy, because launch.py writes the page's settings, and these are not for keeps.
        root = pathlib.Path(folder)
        for name in ("barker", "webui"):
            unwanted = shutil.ignore_patterns("*_host.js*")
            shutil.copytree(files.ROOT / name, root / name, ignore=unwanted)
        shutil.copy(files.ROOT / "launch.py", root)
        compileall.compile_dir(root, quiet=2)  # as after any start but the first
        shift = _free_shift()
        begun = time.monotonic()
        launcher = Process(["launch.py", "--shift-ports", str(shift)], root)
        stack.callback(launcher.close)
        stack.callback(_stop, launcher)
        launcher.wait_for(" <-- ", READY_S)
        return time.monotonic() - begun


def _free_shift() -> int:
    """A shift under which none of the launcher's ports is taken."""
    for _ in range(100):
        shift = free_port() - PORTS[0]
        if not busy_ports([Command("", [], DEFAULT_HOST, port + shift) for port in PORTS]):
            return shift
    raise BenchError("no free ports")


def _stop(launcher: Process) -> None:
    """So that it stops its children in good order."""
    launcher.popen.terminate()
    with contextlib.suppress(AssertionError):
        launcher.ended(READY_S)


async def failover_gap_ms() -> float:
    """From kill -9 of the bizlogic that works to the next bark that is shown."""
    with Fleet() as fleet:

        def start() -> Service:
            fleet.directory()
            fleet.inbox()
            fleet.outbox()
            first = fleet.bizlogic()
            fleet.bizlogic()
            return first

        first = await asyncio.to_thread(start)
        async with fleet.people(["ark3"]) as people:
            await people.ready()
            count = int(RATE * (BEFORE_S + AFTER_S))
            saying = asyncio.create_task(people.producer.say_at(RATE, count, ["ark3"]))
            enough = int(RATE * BEFORE_S)
            await until(lambda: len(people.audience.shown_at) >= enough, "barks are flowing")
            first.popen.kill()
            killed = people.now()
            await saying
            await people.all_shown()
        times = [killed, *(shown for shown in people.audience.shown_at if shown > killed)]
        if len(times) < 2:
            raise BenchError("the kill came after all barks")
        return 1000 * max(b - a for a, b in itertools.pairwise(times))
