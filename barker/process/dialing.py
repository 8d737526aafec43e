"""Dialing: open a link that is wanted, and open it again whenever it breaks.

The pause between two attempts doubles up to a limit, with jitter. After a link that was stable it
begins anew. Any fault of an attempt leads to another one. Left out: which links are wanted
(`barker.process.node`, `barker.process.peers`).
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

# Back-off of a dialer: short at first, because components of one launch come up within a second;
# never over a second, so that all nodes are back in a directory's settling time (2 s).
BACKOFF_FIRST_S = 0.02
BACKOFF_MAX_S = 1.0
# A link that lived for less than this was no success: the back-off goes on where it was.
STABLE_S = 2.0
# Without an answer, for each step of connecting and greeting: a peer may be far away.
CONNECT_TIMEOUT_S = 2.0
# The reason if a peer accepts the connection, and then closes it without a byte.
WANTS_TLS = "it hangs up without a word; does it want TLS (--tls-ca)?"


class Dialling(Protocol):
    """What a dialer needs of its node."""

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
        self._hang_ups = 0  # consecutive connections that were closed without a byte
        self._reason = ""  # the last that was logged
        self._node = node
        self._conversation = conversation
        self._expect = expect
        self._task = node.start(self._keep(), name=f"dial {expect or 'directory'}")

    def close(self) -> None:
        """Stop dialling and close the link; `link_down` follows."""
        self._task.cancel()

    def why(self, fault: Exception) -> str:
        """The reason in such a fault; "" if nothing listens there."""
        if isinstance(fault, BarkerError):
            return str(fault)
        if isinstance(fault, TimeoutError):
            return f"no answer within {CONNECT_TIMEOUT_S:g} s"
        # One alone may have come from a peer that was stopping.
        return WANTS_TLS if self._hang_ups > 1 and not self._node.tls.opening else ""

    def is_news(self, reason: str) -> bool:
        """Does the reason differ from the last one since the last link? It is kept as the last."""
        is_news, self._reason = reason != self._reason, reason
        return is_news

    async def _keep(self) -> None:
        delay = BACKOFF_FIRST_S
        node = self._node
        while True:
            since = math.inf
            # A fault of ours is logged whole; other links go on, and this one is dialled again.
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
            # Jitter, so that the nodes that lost a peer together do not all come back together.
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(BACKOFF_MAX_S, 2 * delay)
