"""The greeting: how both ends of a connection prove that they know the secret, and neither says it.

    opener                                  acceptor
      hello  (version, name, nonce)  ----->
             <-----  hello (the same of the acceptor)
      proof  (HMAC over both nonces)  ---->          the opener proves first, so that a stranger
             <-----  proof                           learns nothing but a name and a nonce

Pure: messages go in; messages to send and a verdict come out. Left out: encryption and sessions. A
program on the way that can read a connection reads barks, and one that can change it changes barks
after the proof. Across machines that is TLS's work.
"""

import hashlib
import hmac
from typing import NamedTuple, TypeVar

from barker.wire import protocol
from barker.wire.ops import Error, Hello, Op, Proof
from barker.wire.protocol import BarkerError, ProtocolError

OPENER, ACCEPTOR = "opener", "acceptor"
# A nonce is never to come twice, however many links there ever are.
NONCE_BYTES = 16


class Identity(NamedTuple):
    """Who we are in a `hello`; `epoch` is a directory's own, or the last directory's we knew."""

    name: str
    secret: bytes
    epoch: str | None = None


class Greeting:
    """One side of it: `peer` is the verdict, the other side's `hello` once it has proved itself."""

    def __init__(self, role: str, identity: Identity, nonce: str) -> None:
        self.peer: Hello | None = None
        self._is_opener = role == OPENER
        self._identity = identity
        self._nonce = nonce
        self._hello: Hello | None = None  # the other side's

    def begin(self) -> list[Op]:
        """What to send before anything has come."""
        return [self._our_hello()] if self._is_opener else []

    def receive(self, message: Op) -> list[Op]:
        """What to send in answer to the other side's next message; nothing follows the verdict.

        Raises ProtocolError if the other side lacks the secret, BarkerError if it says no.
        """
        if self._hello is None:
            self._hello = hello = _expect(Hello, message)
            return [self._proof(OPENER, hello)] if self._is_opener else [self._our_hello()]
        role = ACCEPTOR if self._is_opener else OPENER
        claim = _expect(Proof, message).mac
        if not holds(claim, self._identity.secret, role, *self._nonces(self._hello)):
            raise ProtocolError(protocol.BAD_PROOF, "you don't know the secret of this system")
        self.peer = self._hello
        return [] if self._is_opener else [self._proof(ACCEPTOR, self._hello)]

    def _our_hello(self) -> Hello:
        return Hello(protocol.VERSION, self._identity.name, self._nonce, self._identity.epoch)

    def _proof(self, role: str, theirs: Hello) -> Proof:
        return Proof(mac(self._identity.secret, role, *self._nonces(theirs)))

    def _nonces(self, theirs: Hello) -> tuple[str, str]:
        """The opener's, then the acceptor's."""
        ours = self._nonce
        return (ours, theirs.nonce) if self._is_opener else (theirs.nonce, ours)


Expected = TypeVar("Expected", Hello, Proof)


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
