"""What a bark costs: CPU, memory, disk; and what becomes of that as things grow.

Growth is told in CPU time per bark, of all processes together: on a machine with other things to do
that is steadier than any clock. Where the platform doesn't tell it (all but Linux), there are no
figures.
"""

import statistics
import time
from typing import NamedTuple

import launch
from barker.delivery.duplicates import MIN_REMEMBERED_KEYS
from barker.streams.stream import MAX_KEEP
from tests.bench import load
from tests.bench.children import System, all_ready, cpu_s, rest
from tests.bench.figures import Bound, Figure, Section, at_most, ratios
from tests.bench.load import Scale
from tests.bench.pipeline import race
from tests.tools.fleet import Fleet, Process, free_port

# Barks that one producer prepares at most, since it holds them in memory.
MOST_PREPARED = 100_000
# Authors of a backlog: so many that no reader's window is ever full, however long it is.
AUTHORS = 2_000
# A start has its last work after a second: the first suggestions.
SETTLED_S = 5.0
# Authors whose barks go to the streams that are looked at.
STREAM_AUTHORS = 1_000


# --- what is queued ---


class Backlog(NamedTuple):
    """What a queue of barks came to, by the bark."""

    taken_us: float  # CPU of the outbox
    memory_bytes: float  # above the barks' text
    disk_bytes: float
    recovery_us: float  # CPU of the outbox that was started again, above that of an empty one
    drained_us: float  # CPU of all, from the outbox to the listener

    @property
    def way_us(self) -> float:
        return self.taken_us + self.drained_us


def backlog(barks: int) -> Backlog:
    """Fill one outbox while there is no bizlogic, kill it, have it recover, and let all go."""
    with System(load.world(AUTHORS, 1)) as system:
        flags = ("--max-backlog", str(2 * barks))
        others = [system.directory(), system.followers(), system.inbox()]
        outbox = system.outbox("outbox", *flags)
        all_ready([*others, outbox])
        started = outbox.cpu_s
        # Streams are made at the first bark of each author, and are not what we look at.
        _fill(system, AUTHORS, 1)
        cpu, memory, disk = cpu_s([outbox]), outbox.rss_bytes, _on_disk(system)
        _fill(system, barks, 2)
        taken = cpu_s([outbox]) - cpu
        memory, disk = outbox.rss_bytes - memory, _on_disk(system) - disk
        outbox.kill()
        outbox = system.outbox("outbox", *flags)
        outbox.event("ready")
        recovery = outbox.cpu_s - started
        queued = barks + AUTHORS
        listener = system.listener(users=AUTHORS, expect=queued)
        listener.event("ready")
        cpu = cpu_s([*others, outbox, listener])
        bizlogic = system.bizlogic()
        bizlogic.event("ready")
        cpu += bizlogic.cpu_s
        drained = listener.event("shown")["cpu_s"] + cpu_s([*others, outbox, bizlogic]) - cpu
    return Backlog(
        taken_us=1e6 * taken / barks,
        memory_bytes=memory / barks - load.CONTENT_CHARS,
        disk_bytes=disk / barks,
        recovery_us=1e6 * recovery / queued,
        drained_us=1e6 * drained / queued,
    )


def _fill(system: System, barks: int, seed: int) -> None:
    for start in range(0, barks, MOST_PREPARED):
        count = min(MOST_PREPARED, barks - start)
        producer = system.producer(
            "producer", users=AUTHORS, count=count, seed=seed, outboxes=1, alone=True
        )
        producer.event("ready")
        producer.go()
        producer.event("said")


def _on_disk(system: System) -> int:
    files = (system.state / "journal" / "outbox").glob("*.log")
    return sum(path.stat().st_size for path in files)


def queued(scale: Scale) -> list[Figure]:
    """By the queued bark, for a short and a long backlog; and how it grows."""
    few, many = scale.backlogs
    short = [backlog(few) for _ in range(scale.fewer)]
    # A run of a million takes as long as all others together, and is its own mean.
    long = [backlog(many)]
    least = statistics.median(b.way_us for b in short)
    memory = [b.memory_bytes for b in long]
    # In a short queue most of it is the keys that an outbox remembers anyway, queued or not.
    bound = at_most(400) if many > 2 * MIN_REMEMBERED_KEYS else None
    return [
        Figure(f"{few:,} queued", [b.taken_us for b in short]),
        Figure("  and drained", [b.drained_us for b in short]),
        Figure(f"{many:,} queued", [b.taken_us for b in long]),
        Figure("  and drained", [b.drained_us for b in long]),
        Figure(
            "  both, to those of the first",
            [b.way_us for b in long],
            [b.way_us / least for b in long],
            at_most(1.2),
        ),
        Figure("  memory above text, bytes/bark", memory, (), bound),
        Figure("  disk, bytes/bark", [b.disk_bytes for b in long]),
        Figure("  recovery, CPU s/million barks", [b.recovery_us for b in long]),
    ]


# --- what grows ---


def by_users(users: int, barks: int) -> tuple[float, float]:
    """CPU us/bark: of the first bark of everybody, and of those that come afterwards."""
    with System(load.world(users, 1)) as system:
        services = system.pipeline()
        listener = system.listener(users=users, expect=[users, users + barks])
        producer = system.producer("producer", users=users, count=[users, barks])
        all_ready([*services, listener])
        first = race([producer], listener, services, users)
        return first.cpu_us, race([producer], listener, services, barks).cpu_us


def by_streams(subscriptions: int, links: int, barks: int) -> float:
    """CPU us/bark with so many subscriptions of one reader, spread over so many links."""
    warm = STREAM_AUTHORS
    with System(load.world_with_readers(STREAM_AUTHORS, subscriptions)) as system:
        # One stream has to retain all of it, or a reader who lags behind would miss some.
        services = system.pipeline(keep=min(2 * barks, MAX_KEEP))
        users = STREAM_AUTHORS + subscriptions
        marks = [warm, warm + barks]
        listener = system.listener(users=users, first=STREAM_AUTHORS, links=links, expect=marks)
        producer = system.producer("producer", users=STREAM_AUTHORS, count=[warm, barks])
        all_ready([*services, listener])
        race([producer], listener, services, warm)
        return race([producer], listener, services, barks).cpu_us


def growing(name: str, results: dict[int, list[float]], bound: Bound | None = None) -> list[Figure]:
    """CPU us/bark by size; ratios are to the smallest in the same run, the bound the largest's."""
    least, most = min(results), max(results)
    return [
        Figure(
            f"{name}: {size:,}",
            values,
            ratios(values, results[least]),
            bound if size == most else None,
        )
        for size, values in results.items()
    ]


def users(scale: Scale) -> list[Figure]:
    first: dict[int, list[float]] = {size: [] for size in scale.users}
    later: dict[int, list[float]] = {size: [] for size in scale.users}
    for _ in range(scale.fewer):
        for size in scale.users:
            first_us, later_us = by_users(size, scale.some)
            first[size].append(first_us)
            later[size].append(later_us)
    most = max(scale.users)
    each = Figure("  first bark of each", first[most], ratios(first[most], later[min(scale.users)]))
    return [*growing("users", later, at_most(1.35)), each]


def streams(scale: Scale) -> list[Figure]:
    over_one: dict[int, list[float]] = {size: [] for size in scale.streams}
    most = max(scale.streams)
    over_many: dict[int, list[float]] = {size: [] for size in scale.streams}
    over_many[1] = over_one[most]
    for _ in range(scale.fewer):
        for size in scale.streams:
            over_one[size].append(by_streams(size, 1, scale.some))
            if size > 1:
                over_many[size].append(by_streams(most, size, scale.some))
    return [
        *growing("subscriptions over a link", over_one, at_most(1.2)),
        *growing(f"links for {most:,} streams", over_many),
    ]


def idle_percent(seconds: float) -> float:
    """CPU of all that the launcher starts, without its dogs, in percent of one core."""
    with Fleet() as fleet:
        processes: list[Process] = []
        for words in launch.COMMANDS:
            module, *more = words.split()
            if module == "autobark":
                continue
            if "--port" in more:
                at = more.index("--port") + 1
                more[at] = str(fleet.port if module == "directory" else free_port())
            processes.append(fleet.run(module, *more))
            if "--port" in more:
                processes[-1].wait_for("READY")
        rest(SETTLED_S)
        before, begun = sum(p.cpu_s for p in processes), time.monotonic()
        rest(seconds)
        used = sum(p.cpu_s for p in processes) - before
        return 100 * used / (time.monotonic() - begun)


def costs(scale: Scale) -> Section:
    """Point 4."""
    idle = [idle_percent(scale.idle_s) for _ in range(scale.fewer)]
    return Section(
        "Costs and growth, CPU us/bark where nothing else is said",
        "to the smallest of its kind in the same run",
        [
            *queued(scale),
            *users(scale),
            *streams(scale),
            Figure("idle, % of one core", idle, (), at_most(2.0)),
        ],
    )
