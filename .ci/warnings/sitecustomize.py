"""Warnings of every Python of a run go to one file, also those that only a test reads.

A Python that has this folder in PYTHONPATH loads it first. BARKER_WARNINGS is the file.
"""

import os
import sys
import warnings
from typing import TextIO

_show = warnings.showwarning


def _keep(text: str) -> None:
    with open(os.environ["BARKER_WARNINGS"], "a") as file:
        file.write(f"{' '.join(sys.orig_argv[1:6])}: {text}")


def _showwarning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    _show(message, category, filename, lineno, file, line)
    _keep(warnings.formatwarning(message, category, filename, lineno, line))


if "BARKER_WARNINGS" in os.environ:
    warnings.showwarning = _showwarning
