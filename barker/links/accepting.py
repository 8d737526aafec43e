"""Accepting: how a stranger at our port becomes a link, or does not, and how many may try.

A connection takes the same way as in `barker.links.connecting`, from the other side: TLS if the
system has it, the framing, the greeting. All of it has one deadline, because a stranger costs us
something until it has proved itself. Whatever goes wrong ends that connection and nothing else.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any

from barker.links import tls
from barker.links.connection import READ_BYTES, Connection
from barker.links.framing import HttpFraming, WebSocketFraming, framing_of
from barker.links.greeting import ACCEPTOR, NONCE_BYTES, Greeting, Identity
from barker.links.life import Life, State
from barker.wire import protocol
from barker.wire.protocol import BarkerError, ProtocolError

try:
    import resource
except ImportError:  # Windows counts otherwise
    resource = None  # type: ignore[assignment]

log = logging.getLogger("barker.links.accepting")

# Links at once, if the machine lets us have as many files; a page has two, a listener one.
MAX_LINKS = 4096
# Files that are no links: journals, the loop's own, what the interpreter opens.
OTHER_FILES = 64
# Connections over the limit that are told so; more of them are closed without a word.
MAX_SURPLUS = 32
# How long one of these has to show which language it is to be told in.
SURPLUS_S = 1.0
# Connections the kernel holds for us while we are busy.
BACKLOG = 1024
# Turns of asyncio's loop between accepting a connection and handing it to us.
TURNS_TO_ACCEPT = 3
# Two round trips and one HMAC take a millisecond; a stranger that takes this long is not one of us.
HELLO_TIMEOUT_S = 5.0
# A peer with another secret is logged once in this time, however often it dials.
AGAIN_AFTER_S = 60.0
WRONG_SECRET = "a process with another secret is refused; its --state or --secret-file is not ours"


class Acceptor:
    """Listens, greets, and hands over what is up."""

    def __init__(
        self,
        *,
        identity: Callable[[], Identity],
        context: ssl.SSLContext | None,
        start: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]],
        links: Callable[[], int],
        serve: Callable[[Connection], Coroutine[Any, Any, None]],
    ) -> None:
        """`start` runs a task, `links` counts those that are up, `serve` talks over a new one.

        With a `context` nothing but TLS is taken.
        """
        self._identity = identity
        self._allowed_hosts: set[str] = set()
        self._context = context
        self._start = start
        self._links = links
        self._serve = serve
        self._servers: list[asyncio.Server] = []
        self.max_links = max(1, min(MAX_LINKS, _files_allowed() - OTHER_FILES))
        self.greeting = 0  # connections that are no links yet
        self._surplus = 0

    # --- listening ---

    async def bind(self, channels: Iterable[socket.socket], names: Collection[str]) -> None:
        """Take these sockets; nothing can connect yet. `names` is what a browser may call us."""
        self._allowed_hosts.update(names)
        for channel in channels:
            self._servers.append(
                await asyncio.start_server(
                    self._accepted,
                    sock=channel,
                    backlog=BACKLOG,
                    limit=READ_BYTES,
                    start_serving=False,
                )
            )

    async def listen(self) -> None:
        """Raises OSError if another process has bound a port, too, and listened first."""
        for server in self._servers:
            await server.start_serving()

    async def stop(self) -> None:
        """Take no new connections, but those that the loop has accepted already."""
        # Such a one is handed to us some turns of the loop later, if its server is still open then;
        # else asyncio drops it, and 3.13 with a traceback.
        for server in self._servers:
            for listening in server.sockets:
                with contextlib.suppress(NotImplementedError):  # Windows
                    asyncio.get_running_loop().remove_reader(listening.fileno())
        for _ in range(TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        self.close()

    def close(self) -> None:
        """The same at once."""
        for server in self._servers:
            server.close()

    # --- accepting ---

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._start(self._work(reader, writer), "link")
        # Also if we stop before it has begun: nobody else would close the connection.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _work(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = None
        try:
            connection = await self._greet(reader, writer)
            if connection:
                await self._serve(connection)
        except Exception:
            # One link's trouble is not the others': the fault is ours, so it is logged whole.
            log.exception("%r", connection or writer.get_extra_info("peername"))

    async def _greet(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Connection | None:
        """What a connection has become: a link to be, or None if it is closed already."""
        self.greeting += 1
        try:
            if self._links() + self.greeting > self.max_links:
                await self._refuse_surplus(reader, writer)
                return None
            deadline = asyncio.get_running_loop().time() + HELLO_TIMEOUT_S
            if self._context:
                try:
                    async with asyncio.timeout_at(deadline):
                        reader, writer = await tls.accept(writer, self._context, limit=READ_BYTES)
                except OSError as fault:  # there is no language to say it in
                    log.info("a stranger was refused: it does not speak TLS: %r", fault)
                    return None
            connection = Connection(reader, writer, Life(State.GREETING))
            return connection if await self._prove(connection, deadline) else None
        finally:
            self.greeting -= 1

    async def _prove(self, connection: Connection, deadline: float) -> bool:
        """Has it proved that it knows the secret? If not, it is closed."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._choose_framing(connection)
                nonce = secrets.token_hex(NONCE_BYTES)
                await connection.greet(Greeting(ACCEPTOR, self._identity(), nonce))
                return True
        except ProtocolError as fault:
            if fault.code == protocol.BAD_PROOF:  # it dials again each second
                log.info(WRONG_SECRET, extra={"again_after_s": AGAIN_AFTER_S})
            else:
                log.info("%r refused: %s", connection, fault)
            connection.close(fault)
        except TimeoutError:
            connection.close(BarkerError(protocol.TIMEOUT, "no hello in time"))
        except (OSError, EOFError, BarkerError) as fault:
            log.debug("%r ended in the handshake: %r", connection, fault)
        except BaseException:
            connection.abort()
            raise
        await connection.let_go()
        return False

    async def _choose_framing(self, connection: Connection) -> None:
        """Tell the framing by the first bytes. Raises EOFError after a refusal in HTTP."""
        data = await connection.read()
        # The address that was dialled is ours, too, also if we listen at all there are.
        framing = framing_of(data, {*self._allowed_hosts, connection.dialled_host})
        connection.begin(framing, data)
        if isinstance(framing, HttpFraming):
            while not framing.upgraded:
                await connection.hear_more()
            connection.answer()
            connection.begin(WebSocketFraming(), framing.rest)

    async def _refuse_surplus(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Say that there are too many, in the language of the first bytes."""
        if self._context or self._surplus >= MAX_SURPLUS:
            return  # a handshake of TLS is what there is no room for
        connection = Connection(reader, writer, Life(State.GREETING))
        fault = BarkerError(protocol.TOO_MANY, f"more than {self.max_links} links")
        self._surplus += 1
        try:
            with contextlib.suppress(TimeoutError, OSError, EOFError, ProtocolError):
                async with asyncio.timeout(SURPLUS_S):
                    data = await connection.read()
                    # So much of it tells a HEAD, and no request is accepted.
                    connection.begin(framing_of(data), data[: len(b"HEAD ")])
            connection.close(fault)
            await connection.let_go()
        finally:
            self._surplus -= 1


def _files_allowed() -> int:
    """How many files this process may have open, after asking for as many as it may ask for."""
    if resource is None:
        return MAX_LINKS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_LINKS + OTHER_FILES
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS has limits that it doesn't tell
            soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft
