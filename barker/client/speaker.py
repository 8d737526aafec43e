"""Speaker: a client that puts one body to its user's outbox and waits for the answer.

`bark`, `follow` and `join` are made of it. After a time-out nothing is known: the outbox may have
taken the body. So the same body with the same id can be put again, and counts once.
"""

import argparse
import asyncio
import secrets
import time
from typing import ClassVar

from barker.client.tracked import Outcome, TrackedSender
from barker.process import terminal
from barker.process.arguments import common_arguments, positive
from barker.process.node import Node
from barker.wire.ops import Item
from barker.wire.protocol import BarkerError


def new_id() -> str:
    """An id for a bark: 96 random bits, which will never be drawn again."""
    return secrets.token_hex(12)


def now_ms() -> int:
    """Milliseconds since 1970, for a bark's `at`."""
    return time.time_ns() // 1_000_000


class Speaker(Node):
    """Puts one body, a bark or an event, and stops when its outbox has answered."""

    kind = "bark"
    has_deadline = True
    needs: ClassVar = {"outbox": "outbox"}

    def __init__(
        self, args: argparse.Namespace, user: str, id_: str, body: bytes, *, trace: str = ""
    ) -> None:
        """With a `trace`, each service on the way notes when the body came there."""
        super().__init__(args)
        self.user = user
        self.id = id_
        self.body = body
        self.trace = trace

    @property
    def has_job(self) -> bool:
        return True

    async def started(self) -> None:
        self.start(self._say(), name=self.kind)

    async def before_put(self) -> None:
        """Called before the body is put."""

    async def taken(self) -> None:
        """Called when an outbox has acked the body, before its id is printed."""

    async def said(self) -> None:
        """Called when the id was printed; no time-out ends it."""

    async def linked(self) -> None:
        """Wait until a link to the outbox was up."""
        await self._sender.linked()

    @property
    def acked_at(self) -> float | None:
        """When the ack came, by the node's clock."""
        return self._outcome.acked_at

    async def _say(self) -> None:
        sender = self._sender = TrackedSender(self, only=self.user)
        outcome = self._outcome = Outcome()
        try:
            async with asyncio.timeout(self.args.timeout):
                await self.before_put()
                sender.track(f"outbox/{self.user}", Item(self.body, trace=self.trace), outcome)
                sender.pump()
                await sender.all_answered()
                if outcome.refused:
                    raise BarkerError(outcome.refused, outcome.reason)
                await self.taken()
        except TimeoutError:
            terminal.complain(self.kind, self.too_late(outcome.acked))
            self.stop(1)
        except BarkerError as refusal:
            terminal.complain(self.kind, refusal.reason)
            self.stop(1)
        else:
            # Acked is acked, also if the id can't be printed: another status invites a second try.
            terminal.say(self.kind, self.id)
            await self.said()
            self.stop()

    @property
    def why_deferred(self) -> str:
        """The reason of the last outbox that deferred it, if there is no other answer yet."""
        return self._sender.sender.why_deferred if self._sender.unanswered else ""

    def too_late(self, acked: bool) -> str:
        """The text to print when the time is over."""
        time_s = f"{self.args.timeout:g} s"
        if not self._sender.sender.had_link:
            return f"not within {time_s}: {self.lacks() or self.trouble or 'no outbox answers'}"
        why = f" ({self.why_deferred})" if self.why_deferred else ""
        return (
            f"no ack within {time_s}{why}; it may have been taken:"
            f" with --id {self.id} it can be said again, and counts once"
        )


def speaker_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of every command that puts one body."""
    parser.add_argument("--id", default=None, help="the id of what is said (default: a new one)")
    parser.add_argument(
        "--timeout",
        type=positive,
        default=10.0,
        metavar="SECONDS",
        help="give up after this (default: %(default)s)",
    )
    common_arguments(parser)
