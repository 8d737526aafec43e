"""Barker: all its commands, each with a line about its purpose.

python -m barker
"""

import sys

from barker.process.listing import show_commands

ABOUT = "Show the commands that there are. Each of them has --help."


def main(argv: list[str] | None = None) -> int:
    return show_commands("barker", ABOUT, ["launch.py", "monitoring/launch.py"], argv)


if __name__ == "__main__":
    sys.exit(main())
