"""Accepting: how a connection to our port becomes a link, and how many there may be.

A connection takes the same steps as in `barker.links.connecting`, from the other side: TLS if the
system has it, the framing, the greeting. The porch does these (`barker.links.porch`). A stranger
that has proved itself there gets streams and a task of its own here. A fault ends its connection
and no other.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from barker.links.connection import READ_BYTES, Connection
from barker.links.greeting import ACCEPTOR, NONCE_BYTES, Greeting, Identity
from barker.links.porch import Guest, Porch
from barker.links.sealed import SealedTransport
from barker.links.stranger import Stranger
from barker.wire import protocol
from barker.wire.protocol import BarkerError

try:
    import resource
except ImportError:  # Windows counts otherwise
    resource = None  # type: ignore[assignment]

log = logging.getLogger("barker.links.accepting")

# Links at once, if the machine allows as many files; a page has two, a listener one.
MAX_LINKS = 4096
# Strangers at once, or a quarter of the files that we may have. Links do not need their room.
MAX_STRANGERS = 1024
# Other files: journals, the loop's own, those that the interpreter opens. Half of all, if that is
# less.
OTHER_FILES = 64
# A process that may open fewer logs that, and how many links it takes.
FEW_FILES = 1024
# A peer with another secret is logged once in this time, however often it dials.
AGAIN_AFTER_S = 60.0
WRONG_SECRET = "a process with another secret is refused; its --state or --secret-file is not ours"


class Acceptor:
    """Listens, greets, and hands over connections that are up."""

    def __init__(
        self,
        *,
        identity: Callable[[], Identity],
        context: ssl.SSLContext | None,
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        links: Callable[[], int],
        serve: Callable[[Connection], Coroutine[Any, Any, None]],
    ) -> None:
        """`start` runs a task, `links` counts the links that are up, `serve` runs a new one.

        With a `context`, connections without TLS are refused.
        """
        self._identity = identity
        self._allowed_hosts: set[str] = set()
        self._start = start
        self._links = links
        self._serve = serve
        self._sockets: list[socket.socket] = []
        self._admitted = 0  # connections that have proved themselves, and are no links yet
        files = _files_allowed()
        room = files - min(OTHER_FILES, files // 2)
        strangers = min(MAX_STRANGERS, room // 4)
        self.max_links = min(MAX_LINKS, room - strangers)
        if files < FEW_FILES:
            log.warning(
                "the system allows this process %d files, so it takes %d links at most;"
                " `ulimit -n` raises that",
                files,
                self.max_links,
            )
        self._porch = Porch(
            most=strangers,
            context=context,
            meet=self._meet,
            admit=self._admit,
            refused=_log_refusal,
        )

    @property
    def greeting(self) -> int:
        """Connections that are no links yet."""
        return len(self._porch) + self._admitted

    # --- listening ---

    def bind(self, channels: Iterable[socket.socket], names: Collection[str]) -> None:
        """Take these sockets; nothing can connect yet. A browser may call us by `names`."""
        self._allowed_hosts.update(names)
        self._sockets += channels

    def listen(self) -> None:
        """Raises OSError if another process has bound a port, too, and listened first."""
        self._porch.open(self._sockets)

    def close(self) -> None:
        """Take no new connections, and drop those that are no links yet."""
        self._porch.close()
        for channel in self._sockets:
            channel.close()

    # --- accepting ---

    def _meet(self, dialled_host: str) -> Stranger:
        # The dialled address counts as ours, too, also if we listen at all addresses.
        greeting = Greeting(ACCEPTOR, self._identity(), secrets.token_hex(NONCE_BYTES))
        return Stranger(greeting, {*self._allowed_hosts, dialled_host})

    def _admit(self, guest: Guest) -> None:
        self._admitted += 1
        task = self._start(self._work(guest), "link")
        # Also if we stop before it has begun: nothing else would close the connection.
        task.add_done_callback(lambda _: guest.channel.close())

    async def _work(self, guest: Guest) -> None:
        connection = None
        try:
            try:
                connection = await _connection(guest)
                if self._links() >= self.max_links:
                    fault = BarkerError(protocol.TOO_MANY, f"more than {self.max_links} links")
                    connection.close(fault)
                    await connection.let_go()
                    return
            finally:
                self._admitted -= 1
            await self._serve(connection)
        except OSError as fault:
            log.debug("%r ended before it was up: %r", connection, fault)
        except Exception:
            # The fault is ours, and other links go on: so it is logged whole.
            log.exception("%r", connection or guest.stranger.peer)
        finally:
            if connection:
                connection.abort()


async def _connection(guest: Guest) -> Connection:
    """Streams over the socket of a stranger that has proved itself."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES)
    stream = asyncio.StreamReaderProtocol(reader)
    sealed = SealedTransport(guest.sealed, stream) if guest.sealed else None
    below, _ = await loop.connect_accepted_socket(lambda: sealed or stream, guest.channel)
    if guest.unsent:
        below.write(guest.unsent)
    writer = asyncio.StreamWriter(sealed or below, stream, reader, loop)
    connection = Connection(reader, writer, guest.stranger.life)
    connection.take_over(guest.stranger)
    return connection


def _log_refusal(stranger: Stranger) -> None:
    fault = stranger.fault
    if fault is None:
        return  # it was refused in HTTP, as most that connect by mistake speak that
    if fault.code == protocol.BAD_PROOF:  # it dials again each second
        log.info(WRONG_SECRET, extra={"again_after_s": AGAIN_AFTER_S})
    else:
        log.info("a stranger was refused (%s): %s", stranger.framing.name, fault)


def _files_allowed() -> int:
    """How many files this process may have open, after raising that to its limit."""
    wanted = MAX_LINKS + MAX_STRANGERS + OTHER_FILES
    if resource is None:
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has limits that it doesn't report
            soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft
