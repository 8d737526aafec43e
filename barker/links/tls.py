"""TLS: what `--tls-cert`, `--tls-key` and `--tls-ca` make of a connection.

A system has it everywhere or nowhere: a service with a certificate takes nothing else, and whoever
has a `--tls-ca` says nothing to a peer whose certificate that authority has not signed, or signed
for another name. The secret still decides who may come in; TLS sees to it that nobody on the way
reads or changes what is said after that. Left out: letting peers in by certificate alone.
"""

import argparse
import asyncio
import pathlib
import ssl
from typing import NamedTuple

from barker.disk.files import StateError, UsageError


class Contexts(NamedTuple):
    """For connections that others open, and for those that we open; None: without TLS."""

    accepting: ssl.SSLContext | None = None
    opening: ssl.SSLContext | None = None


def contexts(args: argparse.Namespace, *, is_service: bool) -> Contexts:
    """What a node's arguments ask for. Raises StateError if a file will not do."""
    cert, key, authority = args.tls_cert, args.tls_key, args.tls_ca
    if not (cert or key or authority):
        return Contexts()
    if bool(cert) != bool(key):
        raise UsageError("--tls-cert and --tls-key go together")
    if not authority:
        raise UsageError("--tls-cert needs --tls-ca, too: our peers' certificates, or who signed")
    if is_service and not cert:
        raise UsageError("a service with --tls-ca needs --tls-cert and --tls-key, too")
    accepting = None
    try:
        opening = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=authority)
    except OSError as fault:
        raise _unusable(authority, fault) from None
    if cert:
        accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for context in (accepting, opening):  # a client shows its own to whoever asks for one
            try:
                # Without a password, a key that needs one is an error and not a question.
                context.load_cert_chain(cert, key, password="")
            except OSError as fault:
                raise _unusable(key if cert.exists() else cert, fault) from None
    return Contexts(accepting, opening)


def _unusable(path: pathlib.Path, fault: OSError) -> StateError:
    if not isinstance(fault, ssl.SSLError):
        return StateError(f"{path}: {fault.strerror or fault}")
    return StateError(f"{path}: not a certificate and its key that TLS can use ({fault.reason})")


class _Upper(asyncio.StreamReaderProtocol):
    """Holds on to the writer below it, which would close the connection when it is forgotten."""

    def __init__(self, reader: asyncio.StreamReader, below: asyncio.StreamWriter) -> None:
        super().__init__(reader)
        self._below: asyncio.StreamWriter | None = below

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._below = None


async def accept(
    writer: asyncio.StreamWriter, context: ssl.SSLContext, *, limit: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The acceptor's half of TLS's own handshake, on a connection of which nothing was read yet.

    That is so in the first step of the task that looks after it; later, the reader that came with
    `writer` may have taken the first bytes. The caller sets the deadline; raises OSError.
    `start_server` could do this before it calls us; then nobody would count those who connect and
    say nothing, and they would have a minute.
    """
    reader = asyncio.StreamReader(limit=limit)
    protocol = _Upper(reader, writer)
    loop = asyncio.get_running_loop()
    transport = await loop.start_tls(writer.transport, protocol, context, server_side=True)
    if transport is None:  # the peer hung up just then
        raise ConnectionResetError
    protocol.connection_made(transport)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def explain(fault: ssl.SSLError) -> str:
    """What was wrong with a peer's certificate, in words."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {fault.verify_message}"
    return f"it does not speak TLS as we do ({fault.reason})"
