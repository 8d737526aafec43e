"""Warnings of every process of a test run go to one file; else a test reads most of them.

For the site-packages of the Python that runs the tests. BARKER_WARNINGS is the file.
"""

import os
import sys
import warnings
from typing import TextIO


def _keep(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    text = warnings.formatwarning(message, category, filename, lineno, line)
    with open(os.environ["BARKER_WARNINGS"], "a") as kept:
        kept.write(f"{' '.join(sys.orig_argv[1:6])}: {text}")


if "BARKER_WARNINGS" in os.environ:
    warnings.simplefilter("default")
    warnings.showwarning = _keep
