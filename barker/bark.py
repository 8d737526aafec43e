"""Bark: say one thing as one user.

    python -m barker.bark ark3 This is my first manual bark.

Prints the bark's id and exits 0 once the author's outbox has acked it; from then on it is the
system's to lose, and the system doesn't. Exits 1, with the reason on stderr, if it was refused or
if nobody has taken it within the time-out. After a time-out nobody knows whether it was taken: say
it again with the same ``--id``, and it is shown once all the same.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence

from barker import barks, hosts, state, wire
from barker.arguments import common_arguments, positive, quick_parser
from barker.barks import Bark
from barker.delivery import Delivery, Job, Put
from barker.node import WANTS_TLS, Node, run_node
from barker.routing import Target
from barker.wire import BarkerError


def new_id() -> str:
    """An id for a bark: 96 random bits, which nobody else will ever draw."""
    return secrets.token_hex(12)


def now_ms() -> int:
    """Milliseconds since 1970, for a bark's `at`."""
    return time.time_ns() // 1_000_000


class Speaker(Node):
    """Puts one body, a bark or an event, and stops when its outbox has answered."""

    kind = "bark"

    def __init__(self, args: argparse.Namespace, user: str, id_: str, body: bytes) -> None:
        super().__init__(args)
        self.user = user
        self.id = id_
        self.body = body
        self.fault: Exception | None = None

    async def started(self) -> None:
        self.start(self._say(), name=self.kind)

    async def taken(self) -> None:
        """An outbox has acked it; what else is there to be done before we print its id?"""

    async def _say(self) -> None:
        said = Saying(self, self.user, self.body)
        try:
            async with asyncio.timeout(self.args.timeout):
                await said.answered.wait()
                if said.refusal:
                    raise said.refusal
                await self.taken()
        except TimeoutError:
            state.complain(self.kind, self.too_late(said.answered.is_set()))
            self.stop(1)
        except BarkerError as refusal:
            state.complain(self.kind, refusal.reason)
            self.stop(1)
        else:
            self.stop(0 if state.say(self.id) else 1)

    def too_late(self, acked: bool) -> str:
        """What to say when the time is over."""
        where = hosts.spell(*self.args.directory)
        why = f": {self.fault}" if self.fault else ""
        if self.directory_epoch is None:
            return f"no directory at {where} within {self.args.timeout:g} s{why}"
        return f"no outbox has taken it within {self.args.timeout:g} s{why}"

    def interrupted(self) -> None:
        self.stop(1)  # nobody has acked it

    def dial_failed(self, dialer: object, fault: Exception) -> None:
        if isinstance(fault, BarkerError):  # "connection refused" says less than the time-out does
            self.fault = fault
        elif isinstance(fault, EOFError) and not self.tls.opening:
            self.fault = EOFError(WANTS_TLS)


class Saying(Delivery):
    """One body on its way to its user's outbox; its own `Job`, too."""

    void = False

    def __init__(self, node: Node, user: str, body: bytes) -> None:
        super().__init__(node, "outbox")
        self.pending = 0
        self.answered = asyncio.Event()
        self.refusal: BarkerError | None = None
        self._user = user
        self.put((f"outbox/{user}",), wire.unstamped(body), self)

    def wanted(self, target: Target) -> bool:
        return target == self.route.owner(self._user)

    def settled(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self.answered.set()

    def refused(self, put: Put, code: str, reason: str, addresses: Sequence[str]) -> None:
        self.refusal = BarkerError(code, reason)
        self.answered.set()


def parser() -> argparse.ArgumentParser:
    result = quick_parser("bark", __doc__)
    result.add_argument("user", help="who says it")
    result.add_argument("text", nargs="+", help="what is said")
    speaker_arguments(result)
    return result


def speaker_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that says one thing."""
    parser.add_argument("--id", default=None, help="the id of what is said (default: a new one)")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=10.0,
        metavar="SECONDS",
        help="give up after this (default: %(default)s)",
    )
    common_arguments(parser)


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.id = args.id or new_id()
    text = " ".join(args.text)
    try:
        # The outbox would say the same; but this needs no outbox, and knows what was typed.
        if len(text) > barks.MAX_CONTENT_CHARS:
            raise BarkerError(
                wire.TOO_LARGE,
                f"{len(text)} characters; at most {barks.MAX_CONTENT_CHARS} are allowed",
            )
        if not wire.USER_NAME.fullmatch(args.user):
            raise BarkerError(wire.BAD_MESSAGE, f"{args.user!r} is no user name")
        body = barks.encode_bark(Bark(args.id, args.user, text, now_ms()))
        barks.parse_bark(body)
    except BarkerError as fault:
        state.complain("bark", fault.reason)
        return 1
    return run_node(lambda args: Speaker(args, args.user, args.id, body), args)


if __name__ == "__main__":
    sys.exit(main())
