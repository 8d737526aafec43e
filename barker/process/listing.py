"""Listing: the commands of a folder, for a reader without their names.

Each file with a `main` is a command, and the first sentence of its docstring is its purpose.
"""

import argparse
import ast
import re
import textwrap
from collections.abc import Iterator, Sequence

from barker.disk.files import ROOT
from barker.process import terminal
from barker.process.arguments import HELP_COLUMNS, Parser


def show_commands(
    package: str, about: str, scripts: Sequence[str], argv: Sequence[str] | None
) -> int:
    """Show the scripts, and the modules of a package that are commands; the exit status."""
    python = terminal.python()
    parser = Parser(f"-m {package}", about)
    parser.add_argument("command", nargs="*", metavar="NAME", help=argparse.SUPPRESS)
    words = parser.parse_args(argv).command
    modules = _modules(package, scripts)
    if words and words[0] in modules:
        parser.error(f"a command has its whole name: {python} -m {package}.{words[0]}")
    if words:
        parser.error(f"there is no command {words[0]!r}; without it, all are listed")
    shown = "\n".join(
        [
            *_table({f"{python} {path}": path for path in scripts}),
            "",
            f"{python} -m {package}.NAME, where NAME is one of these (each has --help):",
            "",
            *_table({f"  {name}": path for name, path in modules.items()}),
        ]
    )
    return 0 if terminal.say(package, *shown.split("\n")) else 1


def _modules(package: str, scripts: Sequence[str]) -> dict[str, str]:
    """The modules that are commands, each with its file."""
    paths = {path.stem: f"{package}/{path.name}" for path in (ROOT / package).glob("[a-z]*.py")}
    return {
        name: path
        for name, path in sorted(paths.items())
        if path not in scripts and re.search(r"(?m)^def main\(", _text(path))
    }


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _table(commands: dict[str, str]) -> Iterator[str]:
    """Commands in one column, their purposes in the next."""
    width = max(map(len, commands)) + 3
    for command, path in commands.items():
        about = ast.get_docstring(ast.parse(_text(path))) or ""
        sentence = " ".join(about.partition("\n\n")[0].split()).removesuffix(".")
        yield textwrap.fill(
            sentence.partition(": ")[2],
            HELP_COLUMNS - 1,
            initial_indent=f"{command:<{width}}",
            subsequent_indent=" " * width,
            break_on_hyphens=False,
            break_long_words=False,
        )
