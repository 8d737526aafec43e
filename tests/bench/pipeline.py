"""Throughput and latency, end to end: from a producer's `put` to a reader's eyes.

2 producers, 3 outboxes, 1 bizlogic, 1 inbox, 1 listener that reads all inboxes over one link, and
besides a directory and a followers service: each a process of its own, on free ports of this
machine, as `launch.py` would have them. `ceiling` is
the same way without any of the promises (`tests/bench/ceiling.py`).
"""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from barker.streams.stream import DEFAULT_KEEP, MAX_KEEP
from tests.bench import load
from tests.bench.children import Child, Children, System, all_ready, spent
from tests.bench.figures import Bound, Figure, Section, at_least, at_most, ratios


class Load(NamedTuple):
    """How much is said: `rate` in barks a second by one producer, or None: all there is."""

    barks: int
    users: int = 100
    fan_out: int = 1
    rate: float | None = None


class Run(NamedTuple):
    """What one run came to; `cpu_s` is by process."""

    barks: int
    seconds: float
    cpu_s: dict[str, float]
    latency: dict[str, float] | None

    @property
    def per_second(self) -> float:
        return self.barks / self.seconds

    @property
    def cpu_us(self) -> float:
        """By the bark, all processes together."""
        return 1e6 * sum(self.cpu_s.values()) / self.barks


def barker(what: Load, *flags: str, profile: pathlib.Path | None = None) -> Run:
    """One run of the real thing; `flags` are for outboxes and inbox."""
    # All of it is retained: a listener who lags behind more than usual would miss some, and we
    # could not tell when it is over.
    each = what.barks * what.fan_out // what.users + 1
    keep = min(max(DEFAULT_KEEP, each), MAX_KEEP)
    with System(load.world(what.users, what.fan_out), profile) as system:
        services = system.pipeline(*flags, keep=keep)
        expect = what.barks * what.fan_out
        listener = system.listener(users=what.users, expect=expect, timed=bool(what.rate))
        producers = [
            system.producer(f"producer-{i}", users=what.users, count=count, rate=what.rate, seed=i)
            for i, count in enumerate(_shares(what))
        ]
        all_ready(services)
        listener.event("ready")
        return race(producers, listener, services, what.barks)


def ceiling(what: Load, *, parse: bool = False) -> Run:
    """The same load over four raw hops."""
    flags = ["--users", str(what.users), "--fan-out", str(what.fan_out)]
    flags += ["--parse"] * parse
    with Children() as children:

        def start(label: str, role: str, *more: str) -> Child:
            return children.start(label, "-m", "tests.bench.ceiling", role, *flags, *more)

        timed = ["--timed"] * bool(what.rate)
        expect = str(what.barks * what.fan_out)
        listener = start("listener", "listener", "--expect", expect, *timed)
        port = listener.event("ready")["port"]
        hops = []
        for label, role in (("relay-2", "relay"), ("worker", "worker"), ("relay-1", "relay")):
            hops.append(start(label, role, "--down", str(port)))
            port = hops[-1].event("ready")["port"]
        rate = ["--rate", str(what.rate)] if what.rate else []
        producers = [
            start(f"producer-{i}", "producer", "--down", str(port), "--count", str(count), *rate)
            for i, count in enumerate(_shares(what))
        ]
        return race(producers, listener, hops, what.barks)


def _shares(what: Load) -> list[int]:
    """Barks by producer."""
    return [what.barks] if what.rate else [what.barks - what.barks // 2, what.barks // 2]


def race(producers: Sequence[Child], listener: Child, others: Sequence[Child], barks: int) -> Run:
    """Say so many barks in all, until all are shown. The listener may expect more afterwards."""
    all_ready(producers)
    everybody = (*producers, listener, *others)
    before = spent(everybody)
    begun = time.monotonic()
    for producer in producers:
        producer.go()
    shown = listener.event("shown")
    seconds = time.monotonic() - begun
    # Who says a mark may be gone when we look.
    now = {listener.label: shown["cpu_s"]}
    now |= {producer.label: producer.event("said")["cpu_s"] for producer in producers}
    now |= spent(others)
    cpu_s = {child.label: now[child.label] - before[child.label] for child in everybody}
    return Run(barks, seconds, cpu_s, shown["latency"])


# --- the two points ---

FAN_OUTS = (1, 10)
# At fan-out 1 this is past Redis Streams, and the aim is past NATS core; see the table in
# docs/20-speed.rst. By fan-out, of ceiling W's.
ENOUGH = {1: at_least(0.25, aim=0.55), 10: at_least(0.5, aim=0.8)}
# What it may cost to keep what is acked, of the speed without.
KEPT = at_least(0.7)
RATES = (200, 2_000)


def in_turn(runs: int, measures: dict[str, Callable[[], Run]]) -> dict[str, list[Run]]:
    """So many runs of all measures, one after the other: a bad minute then hits them all."""
    results: dict[str, list[Run]] = {name: [] for name in measures}
    for _ in range(runs):
        for name, measure in measures.items():
            results[name].append(measure())
    return results


def throughput(scale: load.Scale) -> Section:
    """Point 1: with the journal and without, against both ceilings."""
    return Section(
        f"Throughput, {scale.barks:,} barks a run",
        "to ceiling W; of CPU, ceiling W's to ours",
        [figure for fan_out in FAN_OUTS for figure in _at_fan_out(scale, fan_out)],
    )


def _at_fan_out(scale: load.Scale, fan_out: int) -> list[Figure]:
    what = Load(scale.barks, fan_out=fan_out)
    results = in_turn(
        scale.runs,
        {
            "W": lambda: ceiling(what),
            "J": lambda: ceiling(what, parse=True),
            "kept": lambda: barker(what),
            "free": lambda: barker(what, "--no-journal"),
        },
    )
    speed = {name: [fan_out * run.per_second for run in runs] for name, runs in results.items()}
    cpu = {name: [run.cpu_us for run in runs] for name, runs in results.items()}
    unit = "barks/s" if fan_out == 1 else "deliveries/s"

    def both(
        name: str, label: str, of_speed: Bound | None = None, of_cpu: Bound | None = None
    ) -> list[Figure]:
        return [
            Figure(f"{label}, {unit}", speed[name], ratios(speed[name], speed["W"]), of_speed),
            Figure("    CPU us/bark", cpu[name], ratios(cpu["W"], cpu[name]), of_cpu),
        ]

    # A short run is judged by CPU time, which others on the machine change least.
    judged = (ENOUGH[fan_out], None) if scale.slack == 1.0 else (None, ENOUGH[fan_out])
    return [
        *both("kept", f"fan-out {fan_out}", *judged),
        Figure("    by ceiling J's speed", ratios(speed["kept"], speed["J"])),
        Figure("    by that without a journal", ratios(speed["kept"], speed["free"]), (), KEPT),
        *both("free", "  without a journal"),
        *both("J", "  ceiling J"),
        *both("W", "  ceiling W"),
    ]


def latency(scale: load.Scale) -> Section:
    """Point 2: from `put` to shown; of a run's first second, which is slower, also by itself."""
    loads = {rate: Load(int(rate * scale.latency_s), rate=rate) for rate in RATES}
    measures: dict[str, Callable[[], Run]] = {}
    for rate, what in loads.items():
        measures[f"W {rate}"] = functools.partial(ceiling, what)
        measures[f"ours {rate}"] = functools.partial(barker, what)
    results = in_turn(scale.runs, measures)
    long = scale.latency_s > 2 * load.FIRST_S  # else p99 is that of a cold start
    at_rate = {
        rate: _at_rate(rate, results[f"ours {rate}"], results[f"W {rate}"], long) for rate in RATES
    }
    slow, fast = (figures[1].runs for figures in at_rate.values())
    return Section(
        "Latency, put to shown",
        "to ceiling W at the same rate",
        [
            *(figure for figures in at_rate.values() for figure in figures),
            Figure(
                "p99 at 2,000/s by p99 at 200/s",
                ratios(fast, slow),
                (),
                at_most(2.0) if long else None,
            ),
        ],
    )


def _at_rate(rate: int, our_runs: list[Run], their_runs: list[Run], long: bool) -> list[Figure]:
    figures = []
    bounds: dict[str, Bound | None] = {"p50": at_most(1.5), "p99": at_most(2.0) if long else None}
    bounds |= {"p99.9": None, "first p99": None}
    for part, bound in bounds.items():
        ours, theirs = (
            [run.latency[part] for run in runs if run.latency] for runs in (our_runs, their_runs)
        )
        asked = bound if rate == RATES[0] else None
        figures.append(Figure(f"{rate:,}/s, {part} ms", ours, ratios(ours, theirs), asked))
    return figures
