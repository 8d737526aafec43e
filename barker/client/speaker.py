"""Speaker: a client that puts one body to its user's outbox and waits for the answer.

`bark`, `follow` and `join` are made of it. After a time-out nothing is known: the outbox may have
taken the body. So the same body with the same id can be put again, and counts once.
"""

import argparse
import asyncio
import secrets
import time
from collections.abc import Sequence

from barker.delivery.sender import Delivery, Job, Queued
from barker.links import hosts
from barker.process import terminal
from barker.process.arguments import common_arguments, positive
from barker.process.node import WANTS_TLS, Node
from barker.routing.routes import Target
from barker.wire.ops import Item, Refuse
from barker.wire.protocol import BarkerError


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
            terminal.complain(self.kind, self.too_late(said.answered.is_set()))
            self.stop(1)
        except BarkerError as refusal:
            terminal.complain(self.kind, refusal.reason)
            self.stop(1)
        else:
            self.stop(0 if terminal.say(self.id) else 1)

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
        self.put((f"outbox/{user}",), Item(body), self)

    def wanted(self, target: Target) -> bool:
        return target == self.route.owner(self._user)

    def settled(self, jobs: Sequence[Job]) -> None:
        if jobs:
            self.answered.set()

    def refused(self, queued: Queued, refusal: Refuse) -> None:
        self.refusal = BarkerError(refusal.code, refusal.reason)
        self.answered.set()


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
