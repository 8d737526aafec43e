"""Judge: a service of your own, in any language, in the place of one of ours: which promises hold?

    python -m barker.judge --with bizlogic='node docs/bizlogic.mjs'
    python -m barker.judge --conformance bizlogic='python docs/bizlogic.py'

`--with` hurts a whole system, and reports promise by promise what held (`barker.laboratory.trial`);
`--conformance` tries one rule of the protocol after the other (`barker.laboratory.conformance`).
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import asyncio
import contextlib
import pathlib
import random
import shlex
import shutil
import signal
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from barker.disk.files import StateError
from barker.laboratory.cases import CASES
from barker.laboratory.cast import INSTANCES, Wish
from barker.laboratory.conformance import FAILED, Result, conform
from barker.laboratory.findings import Finding
from barker.laboratory.lab import Broken
from barker.laboratory.progress import Progress, status_of
from barker.laboratory.trial import AROUND, Trial
from barker.process import terminal
from barker.process.arguments import HELP_COLUMNS, at_least_0, positive, quick_parser

ABOUT = """\
Judge a program of yours that takes the place of a service: start a system around it, hurt both, and
tell which promises held; or try the rules of the protocol one by one. A program gets the flags that
the service gets. The exit status is 1 if anything is wrong.
"""
EXAMPLES = (
    "--with bizlogic=COMMAND --seed 7",
    "--conformance bizlogic=COMMAND",
)
# Between two lines of progress.
LOOK_S = 0.5


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
    roles = list(AROUND if args.trial else CASES)
    role, _, command = (args.trial or args.conformance).partition("=")
    try:
        words = shlex.split(command)
    except ValueError as fault:
        command_line.error(f"{command!r}: {fault}")
    if role not in roles or not words:
        command_line.error(f"it takes ROLE=COMMAND, and ROLE is one of {', '.join(roles)}")
    terminal.tolerate_any_text()
    if args.conformance:
        return status_of("judge", lambda: conformance(role, words))
    wish = Wish(role, words, args.seconds, args.seed, max(1, args.instances))
    return status_of("judge", lambda: trial(wish))


def trial(wish: Wish) -> int:
    """Hurt a system, and print what held; the exit status."""
    run = Trial(wish)
    fault = watched(run.go(), lambda: run.doing)
    wrong = [*([fault] if fault else []), *run.cast.complaints]
    lines = []
    if not fault:
        lines = [f"{shlex.join(wish.command)} as {wish.role}, seed {wish.seed}:", ""]
        lines += [line for found in run.findings for line in _finding(found)]
    if run.way:
        lines += ["", "The first bark of which that is so:", "", *run.way]
    lines += [f"WRONG: {text}" for text in wrong]
    held = run.held and not fault
    if held:
        run.tidy()
    else:
        lines.append(f"What it has printed is in {run.cast.logs}")
    return 0 if terminal.say("judge", *lines) and held else 1


def _finding(found: Finding) -> list[str]:
    text = f"{found.number:<5}{found.promise:<30}{found.state:<11}{found.text}"
    return textwrap.wrap(text, HELP_COLUMNS, subsequent_indent=" " * 46)


def conformance(role: str, command: Sequence[str]) -> int:
    """Try the rules one by one, each with a line; the exit status."""
    log = pathlib.Path(tempfile.mkdtemp(prefix="barker-judge-")) / f"{role}.log"
    results: list[Result] = []
    doing = f"judge: starting {role}"

    def tell(result: Result) -> None:
        nonlocal doing
        results.append(result)
        number = f"{len(results)} of {len(CASES[role])}"
        doing = f"judge: {number} cases, the last one: {result.case.name}"
        progress.end()
        terminal.say("judge", *_result(result))

    progress = Progress()
    work = conform(role, command, CASES[role], log, tell)
    fault = watched(work, lambda: doing, progress)
    counts = Counter(result.state for result in results)
    lines = [f"WRONG: {fault}"] if fault else []
    if results:
        lines += ["", ", ".join(f"{n} {state.lower()}" for state, n in counts.items())]
    held = not fault and not counts[FAILED]
    if held:
        shutil.rmtree(log.parent, ignore_errors=True)
    else:
        lines.append(f"What it has printed is in {log}")
    return 0 if terminal.say("judge", *lines) and held else 1


def _result(result: Result) -> list[str]:
    case = result.case
    place = f"chapter {case.chapter}" if case.chapter[0].isdecimal() else case.chapter
    text = f"{result.state:<11}{case.name:<22}{case.rule} ({place})"
    if result.why:
        text += f": {result.why}"
    return textwrap.wrap(text, HELP_COLUMNS, subsequent_indent=" " * 33, break_long_words=False)


def watched(
    work: Coroutine[Any, Any, None], doing: Callable[[], str], progress: Progress | None = None
) -> str:
    """Do the work, and show its progress; returns why it could not be done, or ""."""
    progress = progress or Progress()

    async def show() -> None:
        while True:
            progress.say(doing())
            await asyncio.sleep(LOOK_S)

    async def both() -> None:
        task = asyncio.current_task()
        assert task
        for name in ("SIGTERM", "SIGHUP"):  # as Ctrl-C, which is the loop's
            with contextlib.suppress(AttributeError, NotImplementedError):  # Windows
                number = getattr(signal, name)
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        shown = asyncio.create_task(show())
        try:
            await work
        finally:
            shown.cancel()
            progress.end()

    try:
        asyncio.run(both())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except (Broken, StateError, OSError) as fault:
        return str(fault)
    return ""


if __name__ == "__main__":
    sys.exit(main())
