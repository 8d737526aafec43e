"""Connecting: dial an address, until the connection is up.

A socket, TLS if the system has it, the greeting. Left out: another try after a failure
(`barker.process.dialing`).
"""

import asyncio
import secrets
import ssl

from barker.links import hosts, tls
from barker.links.connection import READ_BYTES, Connection
from barker.links.greeting import NONCE_BYTES, OPENER, Greeting, Identity
from barker.links.life import Event, Life, State
from barker.links.sealed import Sealed, SealedTransport
from barker.wire import protocol
from barker.wire.protocol import BarkerError

# A name with several addresses: when the first has not answered for this long, the next is tried,
# too. RFC 8305, 5, found it long enough for most of the Internet.
NEXT_ADDRESS_S = 0.25
# Never on the wire: the code, in this process alone, for a peer whose certificate is not trusted.
NOT_TRUSTED = "not-trusted"


async def connect(
    host: str,
    port: int,
    identity: Identity,
    *,
    expect: str | None,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
) -> Connection:
    """Connect and greet. Raises OSError, TimeoutError, EOFError or BarkerError.

    Each step, of which there are four at most, has `timeout_s`: a peer may be far away.
    `expect` is the name that must answer: after a restart another service may have the port. With
    a `context` it is TLS, and the peer's certificate has to be for `host`.
    """
    life, connection = Life(State.CONNECTING), None
    try:
        async with asyncio.timeout(timeout_s) as limit:

            def next_step() -> None:
                limit.reschedule(asyncio.get_running_loop().time() + timeout_s)

            reader, writer = await _connect(host, port, context)
            next_step()
            life.step(Event.CONNECTED)
            connection = Connection(reader, writer, life)
            greeting = Greeting(OPENER, identity, secrets.token_hex(NONCE_BYTES))
            await connection.greet(greeting, next_step)
            if expect is not None and connection.name != expect:
                raise BarkerError(
                    protocol.MOVED,
                    f"{connection.name} is at {hosts.spell(host, port)}, not {expect}",
                )
            return connection
    except BaseException as fault:
        if connection:
            await connection.let_go()
        life.step(Event.GONE)
        if isinstance(fault, UnicodeError):
            # The resolver raises this for a name that it cannot encode.
            raise OSError(f"{host!r} can't be the name of a host") from None
        if isinstance(fault, ssl.SSLError):
            raise BarkerError(NOT_TRUSTED, tls.explain(fault)) from None
        raise


async def _connect(
    host: str, port: int, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the address of `host` that answers first."""
    names = hosts.alternatives(host)
    for name in names:
        try:
            return await _open(name, port, context, host)
        except OSError as fault:
            if name == names[-1] or isinstance(fault, ssl.SSLError):
                raise
    raise AssertionError("a host has at least one name")


async def _open(
    name: str, port: int, context: ssl.SSLContext | None, host: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Streams, over TLS if there is a context. Raises OSError or EOFError."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES)
    stream = asyncio.StreamReaderProtocol(reader)
    sealed = SealedTransport(Sealed(context, host), stream) if context else None
    below, _ = await loop.create_connection(
        lambda: sealed or stream,
        name,
        port,
        happy_eyeballs_delay=None if hosts.is_number(name) else NEXT_ADDRESS_S,
    )
    if sealed:
        try:
            await sealed.up
        except BaseException:
            below.abort()
            raise
    return reader, asyncio.StreamWriter(sealed or below, stream, reader, loop)
