"""Soak: a system under load for long, services restarted all the while. Does anything grow?

    python -m tests.soak --seconds 600 --rate 1000

Dogs bark at that rate, some users read, and `tests.churn` does the rest that users and peers may
do. Every few seconds one service after the other is killed or stopped and started again, now and
then with a damaged journal, and one is frozen for a while. Once a second each process's memory,
open files and journal are looked at. At first things fill up that stay: timelines, journals, and
the barks by which a bark is known again. Of the time after that, no process may need more in the
second half than in the first, but for a margin. The exit status is 1 if one does, if a process ends
by itself, if there is a traceback in what any of them prints, or if a bark is not acked in the end.
Linux only.
"""

import contextlib
import functools
import itertools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from barker.delivery.duplicates import MIN_REMEMBERED_KEYS
from barker.disk.files import ROOT
from barker.laboratory.progress import Progress, status_of
from barker.process import terminal
from barker.process.arguments import Parser
from tests.churn import Churn
from tests.tools.fleet import Fleet, Process, Service, free_port

# An inbox remembers up to this many barks (see `Duplicates`); until then it has to grow.
FILLING_BARKS = 2 * MIN_REMEMBERED_KEYS
# What the second half may have more than the first one: noise of allocators and of restarts.
MARGIN_BYTES = 8 * 1024 * 1024
MARGIN_SHARE = 0.10
MARGIN_FILES = 4
# Journals: what a cleaner lets grow before it looks, and a snapshot while it is written.
MARGIN_DISK_BYTES = 24 * 1024 * 1024
# Between two restarts, and how long a service is away.
RESTART_EVERY_S = 5.0
AWAY_S = 0.5
# Between two freezes, and how long they last: some longer than peers wait, some not.
FREEZE_EVERY_S = 13.0
FROZEN_S = (1.5, 4.0)
# Every third restart finds a damaged journal; so many bytes of it.
DAMAGED_EVERY = 3
DAMAGED_BYTES = 200
# How long the last barks may take to be acked at the end.
REST_S = 120.0
READERS = 5
# Of each kind so many; the first is never restarted.
KINDS = (("followers", 2), ("inbox", 2), ("bizlogic", 2), ("outbox", 3))


class Sample(NamedTuple):
    at_s: float
    resident: int
    files: int
    disk: int


class Slot:
    """One place in the system: whatever process is there now, and what all of them have needed."""

    def __init__(
        self, name: str, start: Callable[[], Process], journals: pathlib.Path | None = None
    ) -> None:
        """`journals` is the folder of all of them; None for what has none."""
        self.name = name
        self._journals = journals
        self.lives = 0
        self.samples: list[Sample] = []
        self._start = start
        self.start()

    def start(self) -> None:
        self.process = self._start()
        self.lives += 1

    def restart(self, *, kill: bool, damage: bool = False) -> None:
        """End it one way or the other, and start it again a moment later."""
        if kill:
            self.process.kill()
        else:
            self.process.popen.terminate()
            self.process.ended()
        self.process.close()
        time.sleep(AWAY_S)
        if damage:
            self._damage()
        self.start()

    @property
    def segments(self) -> list[pathlib.Path]:
        """Of its journal, the oldest first."""
        if self._journals is None or not isinstance(self.process, Service):
            return []
        return sorted((self._journals / self.name).glob("*.log"))

    def _damage(self) -> None:
        for path in self.segments[:1]:
            with open(path, "r+b") as file:
                file.seek(path.stat().st_size // 2)
                file.write(b"?" * DAMAGED_BYTES)

    def look(self, at_s: float) -> None:
        folder = pathlib.Path(f"/proc/{self.process.pid}")
        try:
            pages = int((folder / "statm").read_text().split()[1])
            files = len(list((folder / "fd").iterdir()))
        except (OSError, IndexError):
            return  # it has just ended; `Soak.run` will see whether it should have
        disk = 0
        for path in self.segments:
            with contextlib.suppress(FileNotFoundError):  # dropped just now
                disk += path.stat().st_size
        self.samples.append(Sample(at_s, pages * os.sysconf("SC_PAGE_SIZE"), files, disk))

    def most(self, begin_s: float, end_s: float) -> Sample:
        """The most memory, files and bytes on disk in that time."""
        some = [s for s in self.samples if begin_s <= s.at_s < end_s]
        columns = list(zip(*some, strict=True))
        return Sample(*map(max, columns)) if columns else Sample(0.0, 0, 0, 0)


class Soak:
    """One run; `faults` says what was wrong with it."""

    def __init__(
        self, seconds: float, rate: float, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """`tell` is called once a second with how far it has come."""
        self.seconds = seconds
        self._tell = tell
        self.rate = rate
        filled = min(seconds, FILLING_BARKS / rate)
        self.phases = (0.0, filled, (filled + seconds) / 2, seconds)
        self.faults: list[str] = []
        self.slots: list[Slot] = []
        self.backlog: int | None = None  # barks in all outboxes at the end of the load

    def run(self) -> None:
        with Fleet() as fleet:
            self._tell("soak: starting")
            self._start(fleet)
            count = int(self.rate * self.seconds)
            barking = (f"{self.rate:g}", "--count", f"{count}")
            dogs = self._slot("autobark", lambda: fleet.run("autobark", *barking))
            readers = fleet.world.names[:READERS]
            self._slot("listen", lambda: fleet.run("listen", *readers, "--history", "0"))
            inbox = next(slot for slot in self.slots if slot.name == "inbox-1")
            self.churn = Churn(fleet.args(), fleet.world, lambda: _port(inbox))
            self.churn.start()
            try:
                self._load(dogs)
            finally:
                self.churn.stop()
            if self.churn.fault:
                self.faults.append(self.churn.fault)
            self._tell("soak: waiting until every bark is acked")
            self.backlog = _backlog(fleet)
            if dogs.process.ended(REST_S):
                self.faults.append(f"not every bark was acked: {dogs.process!r}")
            for process in fleet.processes:
                if any("Traceback" in line for line in process.lines):
                    self.faults.append(f"a traceback: {process!r}")
        self._judge()

    def _load(self, dogs: Slot) -> None:
        begun = time.monotonic()
        victims = [slot for slot in self.slots if slot.name in self.victims]
        restarted = itertools.cycle(itertools.product((True, False), victims))
        frozen: tuple[Slot, float] | None = None
        freezes = itertools.cycle(itertools.product(FROZEN_S, victims))
        next_restart, next_freeze = RESTART_EVERY_S, FREEZE_EVERY_S
        while (now := time.monotonic() - begun) < self.seconds:
            for slot in self.slots:
                slot.look(now)
                if slot.process.popen.poll() is not None and slot is not dogs:
                    self.faults.append(f"{slot.name} has ended by itself: {slot.process!r}")
                    return
            lives = sum(slot.lives - 1 for slot in self.slots)
            self._tell(f"soak: {now:.0f} of {self.seconds:.0f} s, {lives} restarts")
            if frozen and now > frozen[1]:
                frozen[0].process.thaw()
                frozen = None
            elif not frozen and now > next_freeze:
                for_s, slot = next(freezes)
                slot.process.freeze()
                frozen = slot, now + for_s
                next_freeze += FREEZE_EVERY_S
            if now > next_restart:
                kill, slot = next(restarted)
                if not (frozen and frozen[0] is slot):
                    slot.restart(kill=kill, damage=lives % DAMAGED_EVERY == 0)
                next_restart += RESTART_EVERY_S
            time.sleep(max(0.0, 1.0 - (time.monotonic() - begun - now)))
        if frozen:
            frozen[0].process.thaw()

    def _start(self, fleet: Fleet) -> None:
        """Two or more of each kind but the directory; the first of each is never restarted."""
        journals = fleet.state / "journal"
        self._slot("directory", fleet.directory)
        for kind, count in KINDS:
            for i in range(count):
                start: Callable[..., Service] = getattr(fleet, kind)
                # With these names each has the same share, and all are filled at the same time.
                name = f"{kind}-{i}"
                begin = functools.partial(start, "--name", name, port=free_port())
                self._slot(name, begin, journals)
        self.victims = [slot.name for slot in self.slots if not slot.name.endswith("-0")]

    def _slot(
        self, name: str, start: Callable[[], Process], journals: pathlib.Path | None = None
    ) -> Slot:
        self.slots.append(Slot(name, start, journals))
        return self.slots[-1]

    def _judge(self) -> None:
        for slot in self.slots:
            _, before, after = self._phases_of(slot)
            if after.resident > before.resident * (1 + MARGIN_SHARE) + MARGIN_BYTES:
                self.faults.append(
                    f"{slot.name} grows: {before.resident} bytes, then {after.resident}"
                )
            if after.files > before.files + MARGIN_FILES:
                self.faults.append(
                    f"{slot.name} has more files: {before.files}, then {after.files}"
                )
            if after.disk > before.disk * (1 + MARGIN_SHARE) + MARGIN_DISK_BYTES:
                self.faults.append(
                    f"{slot.name} has a longer journal: {before.disk} bytes, then {after.disk}"
                )

    def table(self) -> str:
        """The most of each slot, in MiB and files: while filling up, 1st half, 2nd half."""
        head = f"{'':<12} {'lives':>5}  {'memory':^23}  {'journal':^23}  files"
        lines = [head]
        for slot in self.slots:
            phases = self._phases_of(slot)
            memory = " ".join(f"{s.resident / 2**20:7.1f}" for s in phases)
            disk = " ".join(f"{s.disk / 2**20:7.1f}" for s in phases)
            files = " ".join(f"{s.files:4}" for s in phases)
            lines.append(f"{slot.name:<12} {slot.lives:>5}  {memory}  {disk} {files}")
        return "\n".join(lines)

    def _phases_of(self, slot: Slot) -> list[Sample]:
        return [slot.most(a, b) for a, b in itertools.pairwise(self.phases)]


def _port(slot: Slot) -> int:
    assert isinstance(slot.process, Service)
    return slot.process.port


def _backlog(fleet: Fleet) -> int | None:
    """If this is more than a moment's barks, the machine is too slow for the rate, and outboxes
    grow because they do what they are for.
    """
    glance = Process(["-m", "monitoring.monitor", "--once", "--json", *fleet.flags], ROOT)
    fleet.processes.append(glance)
    if glance.ended():
        return None
    depth: int | None = json.loads(glance.lines[-1])["depth"]
    return depth


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        "-m tests.soak",
        "Keep a system under load while its services are killed and started again. The "
        "exit status is 1 if the memory or the open files of a process go on growing. "
        "Linux only.",
        ["-m tests.soak --seconds 600 --rate 1000", "-m tests.soak --seconds 300 --rate 2000"],
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1000.0, help="barks a second (%(default)s)")
    args = parser.parse_args(argv)
    if not pathlib.Path("/proc/self/statm").exists():
        terminal.complain("soak", "this system does not tell how much memory a process has")
        return 2
    if args.seconds < 2 * FILLING_BARKS / args.rate:
        enough = 2 * FILLING_BARKS / args.rate
        parser.error(f"at that rate, nothing can be judged in less than {enough:.0f} seconds")
    progress = Progress()
    soak = Soak(args.seconds, args.rate, progress.say)
    try:
        soak.run()
    except AssertionError as fault:
        soak.faults.append(str(fault))
    finally:
        progress.end()
    print(soak.table())
    figures = {"seconds": args.seconds, "rate": args.rate, "backlog": soak.backlog}
    print(json.dumps({**figures, "faults": soak.faults}))
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(status_of("soak", main))
