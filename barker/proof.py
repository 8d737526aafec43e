"""Proof of the secret: each side shows that it knows it, and neither says it.

Left out: encryption and sessions. Who can read a connection reads barks; who can change one, after
the proof, changes barks. Across machines that is TLS's work.
"""

import hashlib
import hmac

from barker.wire import VERSION

OPENER, ACCEPTOR = "opener", "acceptor"


def mac(secret: bytes, role: str, opener_nonce: str, acceptor_nonce: str) -> str:
    """HMAC-SHA-256 (RFC 2104) in hex over role and both nonces.

    Fresh nonces of both sides make a recorded proof worthless; the role in it makes our own proof,
    sent back to us, worthless too.
    """
    text = f"barker {VERSION} {role} {opener_nonce} {acceptor_nonce}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def holds(claim: str, secret: bytes, role: str, opener_nonce: str, acceptor_nonce: str) -> bool:
    """Compare in constant time, so that a wrong guess doesn't tell how far it was right."""
    return hmac.compare_digest(claim, mac(secret, role, opener_nonce, acceptor_nonce))
