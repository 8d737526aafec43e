"""A manifold: one service that holds the streams of many addresses, its share of a ring.

    python -m barker.manifold outbox --push bizlogic     takes barks in, pushes them on
    python -m barker.manifold inbox --history 25         keeps timelines, serves readers

What differs between the two is who empties the streams: with ``--push`` a manifold does so itself
(`barker.outbox`), and without, readers do as they like (`barker.inbox`). What they have in common
is in `barker.keeper`. Here is only the command.
"""

import argparse
import sys

from barker.inbox import Inbox
from barker.keeper import Keeper
from barker.outbox import Outbox
from barker.service import run_service


def manifold(args: argparse.Namespace) -> Inbox | Outbox:
    """The kind that the arguments ask for."""
    return Outbox(args) if args.push else Inbox(args)


def main(argv: list[str] | None = None) -> int:
    return run_service(Keeper, "manifold", __doc__, argv, make=manifold)


if __name__ == "__main__":
    sys.exit(main())
