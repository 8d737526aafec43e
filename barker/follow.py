"""Follow: have a user's barks in one's inbox from now on, or no longer; or list who follows whom.

    python -m barker.follow ark3 rdl
    python -m barker.follow ark3 rdl --unfollow
    python -m barker.follow ark3 --list

It goes to the follower's own outbox, like a bark. The output is its id, once the outbox has acked
it, and within a moment all services act by it. ``--wait`` waits for that moment, too.
Exits 1, with the reason on stderr, if it was refused or took too long.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import argparse
import sys
from typing import Any, ClassVar

from barker.client.following import Follower, List, say
from barker.client.speaker import new_id, now_ms, speaker_arguments
from barker.graph.feed import GRAPH
from barker.process import terminal
from barker.process.arguments import quick_parser
from barker.process.node import Node
from barker.process.running import run_node
from barker.wire import protocol
from barker.wire.bodies import FOLLOW, UNFOLLOW, Event

ABOUT = """\
Have one user follow another, or no longer; or show who follows whom. Prints the id of the event
once the outbox of the user has acked it.
"""
EXAMPLES = (
    "ark3 rdl",
    "ark3 --list",
)


class Lister(Node):
    """Shows one user's list, and stops."""

    kind = "follow"
    has_deadline = True
    needs: ClassVar = {GRAPH: "followers"}

    @property
    def has_job(self) -> bool:
        return True

    async def started(self) -> None:
        self._list = List(self, self.args.user, self._show)
        self._loop.call_later(self.args.timeout, self._too_late)

    def _show(self, fields: dict[str, Any]) -> None:
        user = fields["user"]
        if not fields["exists"]:
            terminal.complain(self.kind, f"there is no user {user}")
            self.stop(1)
            return
        for what, count, names in (
            ("follows", fields["following"], fields["follows"]),
            ("is followed by", fields["followed_by"], fields["followers"]),
        ):
            more = f" and {count - len(names)} more" if count > len(names) else ""
            listed = f": {', '.join(sorted(names))}{more}" if names else ""
            if not terminal.say(self.kind, f"{user} {what} {count}{listed}"):
                self.stop(1)
                return
        self.stop()

    def _too_late(self) -> None:
        missing = self.lacks() or self._list.why_waiting or "no followers service has answered"
        terminal.complain(self.kind, f"not within {self.args.timeout:g} s: {missing}")
        self.stop(1)


def parser() -> argparse.ArgumentParser:
    result = quick_parser("follow", ABOUT, EXAMPLES)
    result.add_argument("user", help="who follows")
    result.add_argument("whom", nargs="?", help="the user to follow")
    what = result.add_mutually_exclusive_group()
    what.add_argument("--unfollow", action="store_true", help="do so no longer")
    what.add_argument("--list", action="store_true", help="show whom USER follows and who USER")
    result.add_argument("--wait", action="store_true", help="wait until all services act by it")
    speaker_arguments(result)
    return result


def main(argv: list[str] | None = None) -> int:
    command = parser()
    args = command.parse_args(argv)
    if args.list:
        if args.whom or args.wait:
            command.error("--list takes one user, and waits for nothing")
        if not protocol.USER_NAME.fullmatch(args.user):
            command.error(f"{args.user!r} is no user name")
        return run_node(Lister, args)
    if not args.whom:
        command.error("follow whom?")
    kind = UNFOLLOW if args.unfollow else FOLLOW
    args.id = args.id or new_id()
    return say(args, Event(kind, args.id, args.user, now_ms(), args.whom), Follower)


if __name__ == "__main__":
    sys.exit(main())
