"""The greeting: how both ends of a connection prove that they know a key, and neither sends it.

    opener                                  acceptor
      hello  (version, role, nonce)  ----->
             <-----  hello (version, role, nonce)
      proof  (HMAC, name)  --------------->          the opener proves first, so that a stranger
             <-----  proof (HMAC, name)              learns nothing but a version and a nonce

There are three keys, and the opener's role selects the one that both sides use. A service proves
itself with the services' key. A client proves itself with the clients' key, and an operator with
the operator's. Both are derived from the services' key. The acceptor answers with the key of that
role, so that the opener needs no other.

Pure: messages go in; messages to send and a verdict come out. Left out: encryption and sessions. A
program between the ends that can read a connection reads barks; one that can change it changes
barks after the proof. Across machines TLS prevents that.
"""

import hashlib
import hmac
from typing import NamedTuple, TypeVar

from barker.wire import protocol
from barker.wire.ops import Error, Hello, Op, Proof
from barker.wire.protocol import BarkerError, ProtocolError
from barker.wire.rights import OPERATOR, SERVICE, clients_key, operators_key

OPENER, ACCEPTOR = "opener", "acceptor"
# A nonce must never repeat, however many links there ever are.
NONCE_BYTES = 16


class Identity(NamedTuple):
    """This end: its name, and the key of its role.

    `epoch` is a directory's own, or that of the last directory that we knew.
    """

    name: str
    key: bytes
    epoch: str | None = None
    role: str = SERVICE

    def key_for(self, role: str) -> bytes:
        """The key by which an opener in that role is known."""
        if role == self.role:
            return self.key
        return operators_key(self.key) if role == OPERATOR else clients_key(self.key)


class Peer(NamedTuple):
    """The other side, once it has proved itself."""

    name: str
    role: str
    epoch: str | None = None


class Greeting:
    """One end of the greeting. `peer` is the verdict: the other end once it has proved itself."""

    def __init__(self, end: str, identity: Identity, nonce: str) -> None:
        self.peer: Peer | None = None
        self._is_opener = end == OPENER
        self._identity = identity
        self._nonce = nonce
        self._hello: Hello | None = None  # the other end's

    def begin(self) -> list[Op]:
        """The messages to send before any has come."""
        return [self._our_hello()] if self._is_opener else []

    def receive(self, message: Op) -> list[Op]:
        """The answers to the other end's next message. After the verdict no message may follow.

        Raises ProtocolError if the other end lacks the key, BarkerError if it refuses us.
        """
        if self._hello is None:
            self._hello = hello = _expect(Hello, message)
            return [self._proof(OPENER, hello)] if self._is_opener else [self._our_hello()]
        proof, hello = _expect(Proof, message), self._hello
        end = ACCEPTOR if self._is_opener else OPENER
        if not holds(proof.mac, *self._mac_of(end, hello)):
            raise ProtocolError(protocol.BAD_PROOF, "you don't know the secret of this system")
        self.peer = Peer(proof.name, hello.role, proof.epoch)
        return [] if self._is_opener else [self._proof(ACCEPTOR, hello)]

    def _our_hello(self) -> Hello:
        return Hello(protocol.VERSION, self._identity.role, self._nonce)

    def _proof(self, end: str, theirs: Hello) -> Proof:
        return Proof(mac(*self._mac_of(end, theirs)), self._identity.name, self._identity.epoch)

    def _opener_role(self, theirs: Hello) -> str:
        return self._identity.role if self._is_opener else theirs.role

    def _mac_of(self, end: str, theirs: Hello) -> tuple[bytes, str, str, str, str]:
        """The five inputs of that end's proof."""
        role, ours = self._opener_role(theirs), self._nonce
        nonces = (ours, theirs.nonce) if self._is_opener else (theirs.nonce, ours)
        return self._identity.key_for(role), end, role, *nonces


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


def mac(key: bytes, end: str, role: str, opener_nonce: str, acceptor_nonce: str) -> str:
    """HMAC-SHA-256 (RFC 2104) in hex over version, end, the opener's role, and both nonces.

    Fresh nonces of both sides make a recorded proof worthless. The end is in it, so that our own
    proof, sent back to us, is worthless, too.
    """
    text = f"barker {protocol.VERSION} {end} {role} {opener_nonce} {acceptor_nonce}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def holds(
    claim: str, key: bytes, end: str, role: str, opener_nonce: str, acceptor_nonce: str
) -> bool:
    """Compare in constant time: a wrong guess must not show how much of it was right."""
    return hmac.compare_digest(claim, mac(key, end, role, opener_nonce, acceptor_nonce))
