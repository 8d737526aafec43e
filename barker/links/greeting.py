"""The greeting: how both ends of a connection prove that they know the secret, and neither says it.

    opener                                  acceptor
      hello  (version, name, nonce)  ----->
             <-----  hello (the same of the acceptor)
      proof  (HMAC over both nonces)  ---->          the opener proves first, so that a stranger
             <-----  proof                           learns nothing but a name and a nonce

Pure: each side is a generator. It yields the messages to send, is sent the next message of the
other side, and returns what it has learned. Left out: encryption and sessions. A program on the way
that can read a connection reads barks, and one that can change it changes barks after the proof.
Across machines that is TLS's work.
"""

import hashlib
import hmac
from collections.abc import Generator
from typing import NamedTuple, TypeVar

from barker.wire import messages, protocol
from barker.wire.ops import Error, Hello, Op, Proof
from barker.wire.protocol import BarkerError, ProtocolError

OPENER, ACCEPTOR = "opener", "acceptor"


class Identity(NamedTuple):
    """Who we are in a `hello`; `epoch` is a directory's own, or the last directory's we knew."""

    name: str
    secret: bytes
    epoch: str | None = None


class Greeted(NamedTuple):
    """The outcome: what is to be sent as the last of it, and the other side's `hello`."""

    last: list[bytes]
    hello: Hello


Greeting = Generator[list[bytes], Op, Greeted]
Expected = TypeVar("Expected", Hello, Proof)


def as_opener(identity: Identity, nonce: str) -> Greeting:
    """Raises ProtocolError if the other side lacks the secret, BarkerError if it says no."""
    hello = _expect(Hello, (yield [_hello(identity, nonce)]))
    theirs = hello.nonce
    proof = _expect(Proof, (yield [_proof(identity, OPENER, nonce, theirs)]))
    _check(proof, identity, ACCEPTOR, nonce, theirs)
    return Greeted([], hello)


def as_acceptor(identity: Identity, nonce: str) -> Greeting:
    """The other side of it: a stranger gets our `hello` and an `error`, nothing else."""
    hello = _expect(Hello, (yield []))
    theirs = hello.nonce
    proof = _expect(Proof, (yield [_hello(identity, nonce)]))
    _check(proof, identity, OPENER, theirs, nonce)
    return Greeted([_proof(identity, ACCEPTOR, theirs, nonce)], hello)


def _hello(identity: Identity, nonce: str) -> bytes:
    return messages.encode(Hello(protocol.VERSION, identity.name, nonce, identity.epoch))


def _proof(identity: Identity, role: str, opener: str, acceptor: str) -> bytes:
    return messages.encode(Proof(mac(identity.secret, role, opener, acceptor)))


def _check(proof: Proof, identity: Identity, role: str, opener: str, acceptor: str) -> None:
    if not holds(proof.mac, identity.secret, role, opener, acceptor):
        raise ProtocolError(protocol.BAD_PROOF, "you don't know the secret of this system")


def _expect(kind: type[Expected], message: Op) -> Expected:
    if isinstance(message, Error):
        raise BarkerError(message.code, message.reason)
    if not isinstance(message, kind):
        raise ProtocolError(protocol.PROTOCOL, f"say {kind.__name__.lower()} first")
    if isinstance(message, Hello) and message.v != protocol.VERSION:
        raise ProtocolError(
            protocol.BAD_VERSION, f"this is version {protocol.VERSION}, not {message.v}"
        )
    return message


def mac(secret: bytes, role: str, opener_nonce: str, acceptor_nonce: str) -> str:
    """HMAC-SHA-256 (RFC 2104) in hex over role and both nonces.

    Fresh nonces of both sides make a recorded proof worthless; the role in it makes our own proof,
    sent back to us, worthless too.
    """
    text = f"barker {protocol.VERSION} {role} {opener_nonce} {acceptor_nonce}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def holds(claim: str, secret: bytes, role: str, opener_nonce: str, acceptor_nonce: str) -> bool:
    """Compare in constant time, so that a wrong guess doesn't tell how far it was right."""
    return hmac.compare_digest(claim, mac(secret, role, opener_nonce, acceptor_nonce))
