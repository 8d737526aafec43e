"""Runs simulations, seed after seed, until one fails: then it is shrunk and told, and we exit 1.

python -m tests.simulation --setting rings --seeds 1000
"""

import argparse
import random
import runpy
import sys
import time
from collections.abc import Sequence

from barker.delivery.duplicates import Duplicates
from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from tests.simulation.runs import run, shrink, small_world, story
from tests.simulation.settings import SETTINGS

# Between two lines that say how far we have come.
PROGRESS_S = 5.0


def parser() -> argparse.ArgumentParser:
    result = Parser(
        "-m tests.simulation",
        "Run simulations, seed after seed. The first one that breaks a promise is shrunk "
        "to the few events that it takes, and told; the exit status is 1 then.",
        [
            "-m tests.simulation --setting rings --seeds 1000",
            "-m tests.simulation --setting calm --first 7 --seeds 1",
        ],
    )
    result.add_argument(
        "--setting",
        choices=SETTINGS,
        metavar="NAME",
        help=f"one of {', '.join(SETTINGS)} (default: one after the other)",
    )
    result.add_argument(
        "--seeds", type=int, default=100, metavar="N", help="runs of each (default: 100)"
    )
    result.add_argument("--first", type=int, default=0, metavar="SEED", help="(default: 0)")
    result.add_argument(
        "--steps", type=int, default=150, metavar="N", help="of each run (default: 150)"
    )
    result.add_argument(
        "--seconds",
        type=float,
        default=float("inf"),
        metavar="S",
        help="of each setting at most (default: any)",
    )
    result.add_argument(
        "--all", action="store_true", help="go on after a failure, and tell them all unshrunk"
    )
    result.add_argument(
        "--duplicates",
        metavar="FILE",
        help="have inboxes use the class Duplicates of this Python file (default: ours)",
    )
    return result


def simulate(name: str, args: argparse.Namespace) -> bool:
    """All seeds of one setting; True if none failed."""
    setting, begun, told, good = SETTINGS[name], time.monotonic(), 0.0, True
    kind = runpy.run_path(args.duplicates)["Duplicates"] if args.duplicates else Duplicates
    with small_world(kind) as state:
        for seed in range(args.first, args.first + args.seeds):
            spent = time.monotonic() - begun
            if spent > args.seconds:
                break
            if spent - told > PROGRESS_S:
                told = spent
                print(f"{name}: seed {seed} after {spent:.0f} s", file=sys.stderr, flush=True)
            outcome = run(setting, state, random.Random(seed), args.steps)
            if not outcome.failure:
                continue
            good = False
            print(f"{name}: seed {seed} failed: {outcome.failure}", file=sys.stderr, flush=True)
            if not args.all:
                print(story(name, seed, shrink(setting, state, outcome)), flush=True)
                break
    return good


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    names = [args.setting] if args.setting else [*SETTINGS]
    failed = [name for name in names if not simulate(name, args)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(status_of("simulation", main))
