"""Conformance: one rule of the protocol after the other, each tried with a program of its own.

A case names its rule, and the chapter that has it. It *passes*, *fails* with the reason, or is *not
tried*, if the program leaves out an optional part.
"""

import logging
import pathlib
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from barker.laboratory.lab import Broken, Lab
from barker.laboratory.program import Output
from barker.laboratory.stand import Stand, prepare

PASSED, FAILED, NOT_TRIED = "passed", "FAILED", "not tried"


class NotTried(Exception):
    """This part is optional; the text has what the program lacks."""


class Case(NamedTuple):
    """One rule. `rule` is a sentence, `chapter` the page of the book that has it.

    `work` returns what it has measured, if it measures.
    """

    name: str
    rule: str
    chapter: str
    work: Callable[[Stand], Awaitable[str | None]]


class Result(NamedTuple):
    case: Case
    state: str
    why: str


async def conform(
    role: str,
    command: Sequence[str],
    cases: Sequence[Case],
    log: pathlib.Path,
    tell: Callable[[Result], None],
    doing: Callable[[str], None] = lambda text: None,
) -> None:
    """Try each case, one by one, and report its result. Raises Broken if no program starts."""
    logging.getLogger("barker").setLevel(logging.CRITICAL)
    async with Lab() as lab:
        prepare(lab)
        lab.find_ports(["directory --port 5672"])
        if role != "directory":
            directory, _ = lab.start("directory --port 5672")
            await directory.until_ready()
        complaints: list[str] = []
        output = Output(log, complaints.append)
        async with Stand(lab, role, command, output) as stand:
            await stand.start()  # a fault of that is not a case's
        for case in cases:
            doing(f"judge: {case.name}")
            tell(await _result(case, Stand(lab, role, command, output)))


async def _result(case: Case, stand: Stand) -> Result:
    try:
        async with stand:
            measured = await case.work(stand)
    except NotTried as why:
        return Result(case, NOT_TRIED, str(why))
    except (Broken, OSError, TimeoutError) as fault:
        return Result(case, FAILED, str(fault) or repr(fault))
    if stand.complaints:
        return Result(case, FAILED, f"it {stand.complaints[0]}")
    return Result(case, PASSED, measured or "")
