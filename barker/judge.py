"""Judge: a service of your own, in any language, in the place of one of ours: what holds?

    python -m barker.judge --with bizlogic='node docs/bizlogic.mjs'
    python -m barker.judge --conformance bizlogic='python docs/bizlogic.py'

`--with` hurts a whole system, and tells promise by promise what held (`barker.laboratory.trial`);
`--conformance` tries one rule of the protocol after the other (`barker.laboratory.conformance`).
"""

import argparse
import asyncio
import contextlib
import random
import shlex
import signal
import sys
import textwrap

from barker.disk.files import StateError
from barker.laboratory.findings import Finding
from barker.laboratory.lab import Broken
from barker.laboratory.progress import Progress, status_of
from barker.laboratory.trial import AROUND, INSTANCES, Trial, Wish
from barker.process import terminal
from barker.process.arguments import at_least_0, positive, quick_parser

ABOUT = """\
Judge a program of yours that takes the place of a service: start a system around it, hurt both, and
tell which promises held; or try the rules of the protocol one by one. A program gets the flags that
the service gets. The exit status is 1 if anything is wrong.
"""
EXAMPLES = (
    "--with bizlogic=COMMAND --seed 7",
    "--conformance bizlogic=COMMAND",
)
WIDTH = 80


def parser() -> argparse.ArgumentParser:
    result = quick_parser("judge", ABOUT, EXAMPLES)
    result.add_argument(
        "--with",
        dest="trial",
        metavar="ROLE=COMMAND",
        help=f"hurt a system in which COMMAND is {', '.join(AROUND)}",
    )
    result.add_argument(
        "--conformance",
        metavar="ROLE=COMMAND",
        help="try the rules for COMMAND as outbox, inbox, bizlogic or directory, one by one",
    )
    result.add_argument(
        "--seconds",
        type=positive,
        default=25.0,
        metavar="S",
        help="with --with: how long it is hurt (default: %(default)s)",
    )
    result.add_argument(
        "--seed",
        type=at_least_0,
        default=random.randrange(10_000),
        metavar="N",
        help="with --with: what happens when (default: any)",
    )
    result.add_argument(
        "--instances",
        type=at_least_0,
        default=INSTANCES,
        metavar="N",
        help="with --with: how many of COMMAND run (default: %(default)s; one directory or listen)",
    )
    return result


def main(argv: list[str] | None = None) -> int:
    command_line = parser()
    args = command_line.parse_args(argv)
    if bool(args.trial) == bool(args.conformance):
        command_line.error("give --with or --conformance, and one of them")
    role, _, command = (args.trial or args.conformance).partition("=")
    try:
        words = shlex.split(command)
    except ValueError as fault:
        command_line.error(f"{command!r}: {fault}")
    roles = list(AROUND)
    if role not in roles or not words:
        command_line.error(f"it takes ROLE=COMMAND, and a role is one of {', '.join(roles)}")
    if not args.instances:
        command_line.error("--instances: one at least")
    terminal.tolerate_any_text()
    wish = Wish(role, words, args.seconds, args.seed, args.instances)
    return status_of("judge", lambda: try_it(wish))


def try_it(wish: Wish) -> int:
    """Hurt a system, and tell what held; the exit status."""
    trial = Trial(wish)
    fault = ""
    try:
        asyncio.run(_watched(trial))
    except (Broken, StateError, OSError) as some:
        fault = str(some)
    lines = [] if fault else [f"{shlex.join(wish.command)} as {wish.role}, seed {wish.seed}:", ""]
    lines += map(_line, trial.findings)
    if trial.way:
        lines += ["", "The first bark of which that is so:", "", *trial.way]
    for complaint in [fault, *trial.complaints] if fault else trial.complaints:
        lines.append(f"WRONG: {complaint}")
    held = trial.held and not fault
    if held:
        trial.tidy()
    else:
        lines.append(f"What it printed is in {trial.logs}")
    return 0 if terminal.say("judge", "\n".join(lines)) and held else 1


def _line(found: Finding) -> str:
    text = f"{found.number:<5}{found.promise:<30}{found.state:<11}{found.text}"
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * 46)


async def _watched(trial: Trial) -> None:
    progress = Progress()
    task = asyncio.current_task()
    assert task

    async def show() -> None:
        while True:
            progress.say(trial.doing)
            await asyncio.sleep(0.5)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            with contextlib.suppress(NotImplementedError):  # Windows
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), task.cancel)
    shown = asyncio.create_task(show())
    try:
        await trial.go()
    finally:
        shown.cancel()
        progress.end()


if __name__ == "__main__":
    sys.exit(main())
