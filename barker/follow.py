"""Follow: have somebody's barks in one's inbox from now on, or no longer; or see who follows whom.

    python -m barker.follow ark3 rdl
    python -m barker.follow ark3 rdl --unfollow
    python -m barker.follow ark3 --list

It goes to the follower's own outbox, like a bark: what is printed is its id, once the outbox has
acked it, and within a moment everybody acts by it. With ``--wait`` that moment is waited for, too.
Exits 1, with the reason on stderr, if it was refused or took too long.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any

from barker import events, state, wire
from barker.arguments import quick_parser
from barker.bark import Speaker, new_id, now_ms, speaker_arguments
from barker.events import FOLLOW, UNFOLLOW, Event
from barker.feed import GRAPH
from barker.link import Link, Message
from barker.node import Node, run_node
from barker.peers import Peers
from barker.wire import BarkerError


class List(Peers):
    """The list of one user, and again whenever it changes; `show` is called with its fields.

    What it says holds: everybody who decides by the graph knows it.
    """

    def __init__(self, node: Node, user: str, show: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(node, GRAPH)
        self._user = user
        self._show = show
        self._asked: Link | None = None

    def peers_changed(self) -> None:
        first = self.route.first(lambda t: t.name in self.peers)
        link = self.peers[first.name] if first else None
        if link is not self._asked:
            self._asked = link
            if link:
                link.send(wire.encode("subscribe", address=f"{GRAPH}/{self._user}"))

    def on_message(self, link: Link, message: Message) -> None:
        if link is self._asked:
            self._show(message["parsed"])


class Follower(Speaker):
    """Says one event; with ``--wait``, until it holds."""

    kind = "follow"

    def __init__(self, args: argparse.Namespace, event: Event) -> None:
        super().__init__(args, event.user, event.id, events.encode_event(event))
        self._event = event
        self._holds = asyncio.Event()

    async def started(self) -> None:
        if self.args.wait:
            self._list = List(self, self.user, self._look)
        await super().started()

    def _look(self, fields: dict[str, Any]) -> None:
        self._holds.set() if self.in_force(fields) else self._holds.clear()

    def in_force(self, fields: dict[str, Any]) -> bool:
        """Is what we said so, by this list of our user?"""
        return (self._event.whom in fields["follows"]) == (self._event.kind == FOLLOW)

    async def taken(self) -> None:
        if self.args.wait:
            await self._holds.wait()

    def too_late(self, acked: bool) -> str:
        if acked:
            return f"the outbox has taken it; it is not in force within {self.args.timeout:g} s"
        return super().too_late(acked)


class Lister(Node):
    """Shows one user's list, and stops."""

    kind = "follow"

    async def started(self) -> None:
        self._list = List(self, self.args.user, self._show)
        self._loop.call_later(self.args.timeout, self._too_late)

    def _show(self, fields: dict[str, Any]) -> None:
        user = fields["user"]
        if not fields["exists"]:
            state.complain(self.kind, f"there is no user {user}")
            self.stop(1)
            return
        for what, count, names in (
            ("follows", fields["following"], fields["follows"]),
            ("is followed by", fields["followed_by"], fields["followers"]),
        ):
            more = f" and {count - len(names)} more" if count > len(names) else ""
            listed = f": {', '.join(sorted(names))}{more}" if names else ""
            state.say(f"{user} {what} {count}{listed}")
        self.stop()

    def _too_late(self) -> None:
        state.complain(self.kind, f"no followers service within {self.args.timeout:g} s")
        self.stop(1)


def parser() -> argparse.ArgumentParser:
    result = quick_parser("follow", __doc__)
    result.add_argument("user", help="who follows")
    result.add_argument("whom", nargs="?", help="who is followed")
    what = result.add_mutually_exclusive_group()
    what.add_argument("--unfollow", action="store_true", help="do so no longer")
    what.add_argument("--list", action="store_true", help="show whom USER follows and who USER")
    result.add_argument("--wait", action="store_true", help="wait until everybody acts by it")
    speaker_arguments(result)
    return result


def main(argv: list[str] | None = None) -> int:
    command = parser()
    args = command.parse_args(argv)
    if args.list:
        if args.whom or args.wait:
            command.error("--list takes one user, and waits for nothing")
        if not wire.USER_NAME.fullmatch(args.user):
            command.error(f"{args.user!r} is no user name")
        return run_node(Lister, args)
    if not args.whom:
        command.error("follow whom?")
    kind = UNFOLLOW if args.unfollow else FOLLOW
    args.id = args.id or new_id()
    return say(args, Event(kind, args.id, args.user, now_ms(), args.whom), Follower)


def say(
    args: argparse.Namespace,
    event: Event,
    speaker: Callable[[argparse.Namespace, Event], Node],
) -> int:
    """Have one event said; the exit status. What an outbox would refuse for its form, we refuse."""
    try:
        body = events.encode_event(event)
        events.check_event(wire.loads(body))
    except BarkerError as fault:
        state.complain(event.kind, fault.reason)
        return 1
    return run_node(lambda args: speaker(args, event), args)


if __name__ == "__main__":
    sys.exit(main())
