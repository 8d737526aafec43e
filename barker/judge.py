"""Judge: a service of your own, in any language, in the place of one of ours: which promises hold?

    python -m barker.judge --with bizlogic='node docs/bizlogic.mjs'
    python -m barker.judge --conformance bizlogic='python docs/bizlogic.py'
    python -m barker.judge mute --judge

`--with` hurts a whole system, and reports promise by promise what held (`barker.laboratory.trial`);
`--conformance` tries one rule of the protocol after the other (`barker.laboratory.conformance`).
A lab is a task that changes the system (`barker.laboratory.tasks`): its cases are tried like rules,
and then a whole system is hurt. Without arguments, the labs are listed.
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
from barker.laboratory.conformance import FAILED, Case, Result, conform
from barker.laboratory.findings import Finding
from barker.laboratory.lab import Broken
from barker.laboratory.progress import Progress, status_of
from barker.laboratory.task import TRIAL_S, Memory, Task, digest, row_of, text_of
from barker.laboratory.tasks import TASKS
from barker.laboratory.trial import AROUND, Trial
from barker.process import terminal
from barker.process.arguments import HELP_COLUMNS, at_least_0, positive, quick_parser

ABOUT = """\
Judge a program of yours that takes the place of a service: start a system around it, hurt both, and
tell which promises held; or try the rules of the protocol one by one. A program gets the flags that
the service gets. A LAB is a task that changes the system: without one, the labs are listed. The
exit status is 1 if anything is wrong.
"""
EXAMPLES = (
    "--with bizlogic=COMMAND --seed 7",
    "mute --judge",
)
# The seed of a lab's trial, so that a judgement can be had again.
LAB_SEED = 7
# Between two lines of progress.
LOOK_S = 0.5


def parser() -> argparse.ArgumentParser:
    result = quick_parser("judge", ABOUT, EXAMPLES)
    result.add_argument(
        "lab",
        nargs="?",
        metavar="LAB",
        help=f"print this lab's task: {', '.join(TASKS)}",
    )
    result.add_argument(
        "--judge", action="store_true", help="with LAB: judge the working tree as it is"
    )
    result.add_argument(
        "--with",
        dest="trial",
        metavar="ROLE=COMMAND",
        help=f"hurt a system in which COMMAND is {', '.join(AROUND)}; with LAB: judge COMMAND",
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
    terminal.tolerate_any_text()
    if args.lab:
        return _lab(command_line, args)
    if args.judge:
        command_line.error(f"--judge takes the name of a lab: {', '.join(TASKS)}")
    if not args.trial and not args.conformance:
        return 0 if terminal.say("judge", *_labs()) else 1
    if args.trial and args.conformance:
        command_line.error("give --with or --conformance, and one of them")
    roles = list(AROUND if args.trial else CASES)
    role, _, command = (args.trial or args.conformance).partition("=")
    words = _words(command_line, command)
    if role not in roles or not words:
        command_line.error(f"it takes ROLE=COMMAND, and ROLE is one of {', '.join(roles)}")
    if args.conformance:
        return status_of("judge", lambda: conformance(role, words))
    wish = Wish(role, words, args.seconds, args.seed, max(1, args.instances))
    return status_of("judge", lambda: trial(wish))


def _words(command_line: argparse.ArgumentParser, command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as fault:
        command_line.error(f"{command!r}: {fault}")


# --- labs ---


def _labs() -> list[str]:
    names = list(TASKS)
    lines = ["Labs: change the system, and have the change judged.", ""]
    for task, state in zip(TASKS.values(), Memory().states(names, digest()), strict=True):
        lines.append(row_of(task, state))
    judge = f"{terminal.python()} -m barker.judge"
    return [*lines, "", f"{judge} {names[0]} prints a task; with --judge it is judged."]


def _lab(command_line: argparse.ArgumentParser, args: argparse.Namespace) -> int:
    """Print a lab's task, or judge it."""
    task = TASKS.get(args.lab)
    if task is None:
        command_line.error(f"there is no lab {args.lab}; there are {', '.join(TASKS)}")
    if args.conformance or (args.judge and args.trial):
        command_line.error("a lab takes --judge or --with COMMAND")
    if args.trial and not task.replaceable:
        command_line.error(f"{task.name} is about the working tree: it takes --judge")
    if not args.judge and not args.trial:
        return 0 if terminal.say("judge", *text_of(task)) else 1
    if args.trial:
        words = _words(command_line, args.trial.removeprefix(f"{task.role}="))
        if not words:
            command_line.error("--with takes a COMMAND")
        return status_of("judge", lambda: lab(task, words))
    return status_of("judge", lambda: _lab_of_tree(task))


def _lab_of_tree(task: Task) -> int:
    tree = digest()
    status = lab(task, task.command)
    if digest() != tree:
        terminal.complain("judge", "files have changed meanwhile: this result is not remembered")
        return status
    try:
        Memory().write(task.name, tree, passed=not status)
    except OSError as fault:
        terminal.complain("judge", f"this result is not remembered: {fault.strerror or fault}")
    return status


def lab(task: Task, command: Sequence[str]) -> int:
    """Try a lab's cases, and then hurt a system with the change; the exit status."""
    status = tried(task.role, command, task.cases)
    if status:
        terminal.say("judge", f"{task.name}: not solved")
        return status
    what = "the tree" if command == task.command else ""
    status = trial(Wish(task.role, command, TRIAL_S, LAB_SEED, INSTANCES), what)
    terminal.say("judge", "", f"{task.name}: {'not solved' if status else 'solved'}")
    return status


# --- a whole system ---


def trial(wish: Wish, what: str = "") -> int:
    """Hurt a system, and print what held; the exit status. `what` is the program in words."""
    run = Trial(wish)
    try:
        fault = watched(run.go(), lambda: run.doing)
    except BaseException:  # Ctrl-C: nobody is told where the logs are
        run.tidy()
        raise
    wrong = [*([fault] if fault else []), *run.cast.complaints]
    lines = []
    if not fault:
        what = what or f"{shlex.join(wish.command)} as {wish.role}"
        lines = [f"{what}, seed {wish.seed}:", ""]
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


# --- one rule after the other ---


def conformance(role: str, command: Sequence[str]) -> int:
    """Try the rules of that role; the exit status."""
    return tried(role, command, CASES[role])


def tried(role: str, command: Sequence[str], cases: Sequence[Case]) -> int:
    """Try these cases one by one, each with a line; the exit status."""
    log = pathlib.Path(tempfile.mkdtemp(prefix="barker-judge-")) / f"{role}.log"
    results: list[Result] = []
    doing = f"judge: starting {role}"

    def tell(result: Result) -> None:
        nonlocal doing
        results.append(result)
        number = f"{len(results)} of {len(cases)}"
        doing = f"judge: {number} cases, the last one: {result.case.name}"
        progress.end()
        terminal.say("judge", *_result(result))

    progress = Progress()
    work = conform(role, command, cases, log, tell)
    try:
        fault = watched(work, lambda: doing, progress)
    except BaseException:  # Ctrl-C: nobody is told where the log is
        shutil.rmtree(log.parent, ignore_errors=True)
        raise
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
