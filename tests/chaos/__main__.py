"""See ``tests/chaos/__init__.py``."""

import asyncio
import logging
import random
import shutil
import sys

from barker.laboratory.progress import Progress, status_of
from barker.process.arguments import Parser
from tests.chaos.plan import KINDS, TIMES
from tests.chaos.run import Run, report


async def watched(run: Run) -> None:
    """Do a run, and show how far it has come."""
    progress = Progress()

    async def show() -> None:
        while True:
            progress.say(run.doing)
            await asyncio.sleep(1.0)

    shown = asyncio.create_task(show())
    task = asyncio.current_task()
    try:
        await run.go()
    except AssertionError:
        if task and task.cancelling():  # Ctrl-C: there is no whole run to judge
            raise asyncio.CancelledError from None
        raise
    finally:
        shown.cancel()
        progress.end()


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        "-m tests.chaos",
        "Barks flow, and a crowd joins, follows and unfollows, while processes are "
        "killed, frozen and started again. Then every bark is judged. The exit status is "
        "1 if one was lost, shown twice, out of order or to the wrong reader.",
        ["-m tests.chaos --seconds 60 --seed 7", "-m tests.chaos --actions kill,freeze"],
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10_000), metavar="N", help="(default: any)"
    )
    parser.add_argument(
        "--rate", type=float, default=200.0, metavar="R", help="barks a second (%(default)s)"
    )
    parser.add_argument(
        "--kinds",
        default=",".join(KINDS),
        metavar="K,K",
        help="what is tortured (default: %(default)s)",
    )
    parser.add_argument(
        "--actions",
        default=",".join(TIMES),
        metavar="A,A",
        help="what is done to it, as tests/chaos/__init__.py explains (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    kinds, actions = args.kinds.split(","), args.actions.split(",")
    run = Run(args.seed, args.seconds, args.rate, kinds, actions)
    if sys.stderr.isatty():  # a line of the log covers all of the progress in its place
        columns = shutil.get_terminal_size().columns - 1
        logging.basicConfig(format=f"%(message)-{columns}s")
    try:
        asyncio.run(watched(run))
    except AssertionError as fault:
        print(fault, file=sys.stderr)
        print(report(run))
        return 1
    print(report(run))
    return 1 if run.faults else 0


if __name__ == "__main__":
    sys.exit(status_of("chaos", main))
