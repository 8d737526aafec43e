"""Monitoring: its commands, each with a line about its purpose.

python -m monitoring
"""

import sys

from barker.process.listing import show_commands

ABOUT = "Show the commands of the monitoring. Each of them has --help."


def main(argv: list[str] | None = None) -> int:
    return show_commands("monitoring", ABOUT, ["monitoring/launch.py"], argv)


if __name__ == "__main__":
    sys.exit(main())
