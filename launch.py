"""Launch: the whole of Barker on this machine, in one terminal.

    python launch.py

Starts every command of the list below at once (they find each other in any order), shows their
output, and stops them all on Ctrl-C. `barker/launching/system.py` does it.

Python compiles this file before it runs the first line of it. So there is no syntax in it that
Python 2.7 does not have; then the import below comes to `barker/__init__.py`, which names the
Python that is needed.
"""

import sys

from barker.launching import system

# One line, one process. Comment a line out, copy one with another port, and see what happens.
COMMANDS = [
    "directory --port 5672",
    "inbox --history 25 --port 5820",
    "bizlogic --port 5680",
    "outbox --port 5800",
    "outbox --port 5801",
    "outbox --port 5802",
    "listen ark3",
    "autobark 0.5",
    "autobark 0.5",
    "autobark 0.5",
    "autobark 0.5",
    "autobark 0.5",
    "followers --port 5690",
    "suggestions --port 5695",
]


def main(argv=None):
    # type: (list[str] | None) -> int
    args = system.arguments(argv)
    if args.tour:
        from barker.laboratory import tour  # only here: a launcher loads nothing of what it starts

        return tour.take(wait=not args.no_wait)
    return system.launch(COMMANDS, args)


if __name__ == "__main__":
    sys.exit(main())
