"""Window: a memory of duplicates, written from its docstring; the simulation judges it, too."""

import asyncio
import functools
import sys
from collections.abc import Sequence

from barker.disk.files import ROOT
from barker.laboratory.conformance import Case
from barker.laboratory.lab import PATIENT_S, SHOWN_CHARS, Broken
from barker.laboratory.stand import Stand
from barker.laboratory.task import Task

FILE = "docs/labs/window.py"
SETTINGS, SEEDS = ("rings", "counters"), 25
SIMULATION_S = 90.0
# Run by a process of its own, since it runs the reader's code.
SCRIPT = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
from barker.laboratory.windowrules import RULES
sys.exit(RULES[sys.argv[3]](runpy.run_path(sys.argv[2])["Duplicates"]) or 0)
"""


async def _run(words: Sequence[str], within_s: float = PATIENT_S) -> tuple[int | None, str, str]:
    """Status, output and errors of a process of our Python, in the project's folder."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *words),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(within_s):
            out, errors = await process.communicate()
    except TimeoutError:
        raise Broken(f"it takes more than {within_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(errors="replace"), errors.decode(errors="replace")


async def keeps(stand: Stand, rule: str) -> None:
    status, _, errors = await _run(["-c", SCRIPT, str(ROOT), str(ROOT / FILE), rule])
    if status:
        raise Broken(errors.strip().rpartition("\n")[2])


async def is_simulated(stand: Stand) -> None:
    for setting in SETTINGS:
        flags = ["--setting", setting, "--seeds", str(SEEDS), "--duplicates", FILE]
        status, out, errors = await _run(["-m", "tests.simulation", *flags], SIMULATION_S)
        if status:
            first = (out.strip() or errors.strip().rpartition("\n")[2]).partition("\n")[0]
            raise Broken(
                f"{first[: 2 * SHOWN_CHARS]} (python -m tests.simulation {' '.join(flags)})"
            )


def _case(name: str, rule: str, what: str) -> Case:
    return Case(name, what, "9", functools.partial(keeps, rule=rule))


WINDOW = Task(
    name="window",
    title="Your own window",
    chapter="09-the-manifold",
    about=f"""
    An inbox knows which barks it has had, though it can't remember all. {FILE} is an inbox whose
    memory lacks two methods: fresh and add. Write them from the class's docstring, and look at
    barker/delivery/duplicates.py only afterwards. Mind the bound: tables that never shrink pass all
    rules but the last one.

    The judge tries the rules one by one, with small windows. Then the simulation of tests/ runs
    with your class in its inboxes: barks come again, late, and by other ways. The last line of a
    failed rule is the reason; the simulation prints the few events that it takes.
    """,
    where=(
        (FILE, "the class Duplicates"),
        ("barker/manifold/reception.py", "its caller: check, accept, recover"),
        ("docs/09-the-manifold.rst", "the memory of duplicates"),
    ),
    role="inbox",
    cases=(
        _case("rule 1", "rule_1", "promise 2: once for each address"),
        _case("rule 2", "rule_2", "promise 2: within the window, the counter decides"),
        _case("rule 3", "rule_3", "promise 1: further back the key decides, and late is not lost"),
        _case("rule 4", "rule_4", "a question changes nothing"),
        _case("bound", "bound", "promise 5: memory has a bound"),
        Case("simulation", f"{' and '.join(SETTINGS)}, {SEEDS} seeds each", "9", is_simulated),
    ),
    program=FILE,
    replaceable=False,
)
