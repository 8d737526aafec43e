"""How fast is it, and what does it cost? See `tests/bench/__init__.py` for how it is measured.

python -m tests.bench                       everything: ten minutes on a quiet machine
python -m tests.bench --quick               less of everything: one minute
python -m tests.bench throughput latency    only these
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable

from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from tests.bench import profiles
from tests.bench.children import BenchError
from tests.bench.costs import costs
from tests.bench.figures import Section, table
from tests.bench.frames import frames
from tests.bench.load import FULL, QUICK, Scale
from tests.bench.pipeline import Load, barker, latency, throughput
from tests.bench.times import times
from tests.bench.websocket import websocket

POINTS: dict[str, Callable[[Scale], Section]] = {
    "throughput": throughput,
    "latency": latency,
    "times": times,
    "costs": costs,
    "websocket": websocket,
    "frames": frames,
}


def point(text: str) -> str:
    """For argparse."""
    if text not in POINTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(POINTS)}")
    return text


def machine() -> dict[str, object]:
    """What the figures are of."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.date.today().isoformat(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load": load and round(load, 1),
    }


def measure(points: list[str], scale: Scale) -> list[Section]:
    sections = []
    for name in points:
        begun = time.monotonic()
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        section = POINTS[name](scale).relaxed(scale.slack)
        for _ in range(scale.again):
            if not any(figure.missed for figure in section.figures):
                break
            section = POINTS[name](scale).relaxed(scale.slack)
        sections.append(section)
        print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return sections


def profile(folder: pathlib.Path, scale: Scale) -> None:
    """Print what each process takes, and then, of a run under cProfile, which functions take it."""
    what = Load(scale.barks)
    plain = barker(what)
    print(f"CPU us/bark, {what.barks:,} barks, fan-out 1\n")
    for label, seconds in plain.cpu_s.items():
        print(f"{label:<12}{1e6 * seconds / what.barks:8.2f}")
    print(f"{'all':<12}{plain.cpu_us:8.2f}\n\nunder cProfile\n")
    barker(what, profile=folder)
    for path in sorted(folder.glob("*.prof")):
        print("\n".join(profiles.lines(path.stem, profiles.rows(path))), end="\n\n")


def parser() -> argparse.ArgumentParser:
    result = Parser(
        "-m tests.bench",
        "Measure how fast Barker is and what it costs, against ceilings measured in the "
        "same minutes: a quarter of an hour on a quiet machine, with --quick a minute.",
        ["-m tests.bench --quick", "-m tests.bench throughput latency"],
    )
    names = ", ".join(POINTS)
    result.add_argument("points", nargs="*", type=point, metavar="POINT", help=f"{names} (all)")
    result.add_argument(
        "--quick", action="store_true", help="less of everything, and bounds with room"
    )
    result.add_argument("--runs", type=int, metavar="N", help="runs of everything")
    result.add_argument("--json", action="store_true", help="one JSON document, not a table")
    result.add_argument("--check", action="store_true", help="exit status 1 if a bound is missed")
    result.add_argument(
        "--profile",
        nargs="?",
        const="",
        metavar="DIR",
        help="not figures: where the time of a run goes; the profiles stay in DIR",
    )
    return result


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    scale = QUICK if args.quick else FULL
    if args.runs:
        scale = scale._replace(runs=args.runs, fewer=args.runs)
    # As on Ctrl-C: what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if args.profile is not None:
            with contextlib.ExitStack() as stack:
                folder = args.profile or stack.enter_context(tempfile.TemporaryDirectory())
                pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
                profile(pathlib.Path(folder).resolve(), scale)
            return 0
        where = machine()
        sections = measure(args.points or list(POINTS), scale)
    except BenchError as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 1
    if args.json:
        document = {
            "machine": where,
            "quick": args.quick,
            "sections": [
                {
                    "title": section.title,
                    "ratio": section.ratio,
                    "figures": [figure.json() for figure in section.figures],
                }
                for section in sections
            ],
        }
        print(json.dumps(document, indent=1))
    else:
        heading = [
            f"{where['date']}: {where['cores']} cores, {where['python']}, {where['platform']}",
            f"median of {scale.runs} runs, or {scale.fewer}{' (quick)' * args.quick}; "
            f"the machine's load at the start was {where['load']}",
        ]
        print(table(heading, sections))
    missed = any(figure.missed for section in sections for figure in section.figures)
    return int(args.check and missed)


if __name__ == "__main__":
    sys.exit(status_of("bench", main))
