"""Dialing: a link that is wanted is opened, and opened again whenever it breaks.

The pause between two attempts doubles up to a limit, with jitter, and begins anew after a link that
was stable. Whatever goes wrong with one attempt is followed by another one. Left out: which links
are wanted; that is for `barker.process.node` and `barker.process.peers` to say.
"""

import asyncio
import math
import random
from collections.abc import Coroutine
from typing import Any, Protocol

from barker.links.connecting import connect
from barker.links.connection import Connection
from barker.links.greeting import Identity
from barker.links.link import Conversation
from barker.links.tls import Contexts
from barker.process.faults import contained
from barker.wire.protocol import BarkerError

# Back-off of a dialer: quick at first, because components of one launch come up within a second;
# never slower than a second, so that a directory's settling time (2 s) sees everybody again.
BACKOFF_FIRST_S = 0.02
BACKOFF_MAX_S = 1.0
# A link that lived for less than this was no success: the back-off goes on where it was.
STABLE_S = 2.0
# Without an answer; each step of connecting and greeting has so long, as a peer may be far away.
CONNECT_TIMEOUT_S = 2.0
# What it means if a peer accepts the connection, and then closes it without a word.
WANTS_TLS = "it hangs up without a word; does it want TLS (--tls-ca)?"


class Dialling(Protocol):
    """What a dialer asks of its node."""

    @property
    def identity(self) -> Identity: ...
    @property
    def tls(self) -> Contexts: ...
    def now(self) -> float: ...
    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...
    async def attend(self, connection: Connection, conversation: Conversation) -> None: ...
    def dial_failed(self, dialer: "Dialer", fault: Exception) -> None: ...


class Dialer:
    """Keeps one link up for as long as it is wanted: connect, greet, talk, and again."""

    def __init__(
        self, node: Dialling, host: str, port: int, conversation: Conversation, expect: str | None
    ) -> None:
        self.place = (host, port)
        self._hang_ups = 0  # one after the other, each without a word
        self._reason = ""  # the last one that was logged
        self._node = node
        self._conversation = conversation
        self._expect = expect
        self._task = node.start(self._keep(), name=f"dial {expect or 'directory'}")

    def close(self) -> None:
        """Give the link up; `link_down` follows."""
        self._task.cancel()

    def why(self, fault: Exception) -> str:
        """The reason in such a fault; "" if it is only that nothing is there."""
        if isinstance(fault, BarkerError):
            return str(fault)
        if isinstance(fault, TimeoutError):
            return f"no answer within {CONNECT_TIMEOUT_S:g} s"
        # Once, it may have been stopping.
        return WANTS_TLS if self._hang_ups > 1 and not self._node.tls.opening else ""

    def is_news(self, reason: str) -> bool:
        """Is this reason another than the last one since the last link? It is the last from now."""
        is_news, self._reason = reason != self._reason, reason
        return is_news

    async def _keep(self) -> None:
        delay = BACKOFF_FIRST_S
        node = self._node
        while True:
            since = math.inf
            # A fault of ours is logged whole; the other links are none the worse, and we try again.
            with contained(f"link to {self._expect or 'the directory'}"):
                try:
                    connection = await connect(
                        *self.place,
                        node.identity,
                        expect=self._expect,
                        timeout_s=CONNECT_TIMEOUT_S,
                        context=node.tls.opening,
                    )
                except (OSError, TimeoutError, EOFError, BarkerError) as fault:
                    self._hang_ups = self._hang_ups + 1 if isinstance(fault, EOFError) else 0
                    node.dial_failed(self, fault)
                else:
                    self._hang_ups = 0
                    self._reason = ""
                    since = node.now()
                    await node.attend(connection, self._conversation)
            if node.now() - since > STABLE_S:
                delay = BACKOFF_FIRST_S
            # Jitter, so that those who lost a peer together do not all come back together.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(BACKOFF_MAX_S, 2 * delay)
