"""Monitoring: its commands, each with a line that says what it is for.

python -m monitoring
"""

import sys

from barker.process.listing import show_commands

ABOUT = "Show the commands of the monitoring. Each of them says more with --help."


def main(argv: list[str] | None = None) -> int:
    return show_commands("monitoring", ABOUT, ["monitoring/launch.py"], argv)


if __name__ == "__main__":
    sys.exit(main())
