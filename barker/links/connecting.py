"""Connecting: how a place, or a stranger at our port, becomes a link, or does not.

Both sides go the same way: a connection, TLS if the system has it, the framing, the greeting; and
whatever goes wrong on it ends the connection and nothing else. How a greeting goes is in
``barker.links.link``. Here it gets its deadline, because a stranger costs us something until he has
shown who he is.
"""

import asyncio
import logging
import secrets
import ssl
from collections.abc import Collection

from barker.links import greeting, hosts, tls
from barker.links.framing import LineFraming, choose_framing
from barker.links.greeting import Identity
from barker.links.link import READ_BYTES, Link
from barker.wire import protocol
from barker.wire.protocol import BarkerError, ProtocolError

log = logging.getLogger("barker.links.link")

# Two round trips and one HMAC take a millisecond; who takes this long is not one of us.
HELLO_TIMEOUT_S = 5.0
# A nonce is never to come twice, however many links there ever are.
NONCE_BYTES = 16
# A name with several addresses: when the first has not answered for this long, the next is tried,
# too (RFC 8305, 5, which has found it long enough for most of the world).
NEXT_ADDRESS_S = 0.25
# A peer with another secret is logged once in this time, however often it dials.
AGAIN_AFTER_S = 60.0
WRONG_SECRET = "a process with another secret is refused; its --state or --secret-file is not ours"
# Never on the wire: what we tell ourselves of a peer whose certificate will not do.
NOT_TRUSTED = "not-trusted"


async def open_link(
    host: str,
    port: int,
    identity: Identity,
    *,
    expect: str | None,
    timeout_s: float,
    context: ssl.SSLContext | None = None,
) -> Link:
    """Connect and greet. Raises OSError, TimeoutError, EOFError or BarkerError.

    `expect` is the name that must answer: after a restart a port may belong to somebody else. With
    a `context` it is TLS, and the peer's certificate has to be for `host`.
    """
    link = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(host, port, context)
            link = Link(reader, writer, LineFraming())
            await link.greet(greeting.as_opener(identity, secrets.token_hex(NONCE_BYTES)))
            if expect is not None and link.peer["name"] != expect:
                raise BarkerError(
                    protocol.MOVED,
                    f"{link.peer['name']} is at {hosts.spell(host, port)}, not {expect}",
                )
            return link
    except BaseException as fault:
        if link:
            await link.let_go()
        if isinstance(fault, UnicodeError):
            # What the resolver raises for a name that has no encoding as one.
            raise OSError(f"{host!r} can't be the name of a host") from None
        if isinstance(fault, ssl.SSLError):
            raise BarkerError(NOT_TRUSTED, tls.explain(fault)) from None
        raise


async def _connect(
    host: str, port: int, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to whichever address of `host` answers first."""
    names = hosts.alternatives(host)
    for name in names:
        try:
            return await asyncio.open_connection(
                name,
                port,
                limit=READ_BYTES,
                ssl=context,
                server_hostname=host if context else None,
                happy_eyeballs_delay=None if hosts.is_number(name) else NEXT_ADDRESS_S,
            )
        except OSError as fault:
            if name == names[-1] or isinstance(fault, ssl.SSLError):
                raise
    raise AssertionError("a host has at least one name")


async def accept_link(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    identity: Identity,
    *,
    allowed_hosts: Collection[str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Link | None:
    """Tell the framing by the first bytes, and greet. None if it came to nothing.

    `allowed_hosts` is what a browser may call us; with a `context` nothing but TLS is taken.
    """
    deadline = asyncio.get_running_loop().time() + HELLO_TIMEOUT_S
    if context:
        try:
            async with asyncio.timeout_at(deadline):
                reader, writer = await tls.accept(writer, context, limit=READ_BYTES)
        except OSError as fault:  # there is no language to say it in
            log.info("a stranger was refused: it does not speak TLS: %r", fault)
            writer.transport.abort()
            return None
    link = Link(reader, writer, LineFraming())  # to say no with, until the framing is known
    try:
        async with asyncio.timeout_at(deadline):
            framing, data = await choose_framing(reader, writer, allowed_hosts)
            if framing:
                link.begin(framing, data)
                await link.greet(greeting.as_acceptor(identity, secrets.token_hex(NONCE_BYTES)))
                return link
        link.close()  # an HTTP answer was the last word
    except ProtocolError as fault:
        if fault.code == protocol.BAD_PROOF:  # it dials again each second
            log.info(WRONG_SECRET, extra={"again_after_s": AGAIN_AFTER_S})
        else:
            log.info("%r refused: %s", link, fault)
        link.close(fault)
    except TimeoutError:
        link.close(BarkerError(protocol.TIMEOUT, "no hello in time"))
    except (OSError, EOFError, BarkerError) as fault:
        log.debug("%r ended in the handshake: %r", link, fault)
    except BaseException:
        link.abort()
        raise
    await link.let_go()
    return None
