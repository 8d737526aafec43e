"""Rights: which role may send what, and about which addresses.

One table, and `require` is the only check. A link calls it before it hands a message to a
handler. What the table does not have is for the receiver to refuse. Left out: how a peer shows
which role it has. As long as all know the same secret, each is a service, and every role may send
all.
"""

import functools
from collections.abc import Mapping
from typing import Any

from barker.wire.ops import Op, Put, Register, Subscribe, Unregister
from barker.wire.protocol import FORBIDDEN, ProtocolError

# Services put, stamp, register and keep copies; clients put to outboxes and read.
CLIENT, SERVICE = "client", "service"
ALL = frozenset({CLIENT, SERVICE})

# (op, form of address) -> roles. A form is an address with a star for its key.
RIGHTS: Mapping[tuple[type, str], frozenset[str]] = {
    (Put, "outbox/*"): ALL,
    (Put, "inbox/*"): ALL,
    (Put, "bizlogic"): ALL,
    (Put, "followers"): ALL,
    (Subscribe, "inbox/*"): ALL,
    (Subscribe, "graph/*"): ALL,
    (Subscribe, "graph"): ALL,
    (Subscribe, "followers"): ALL,
    (Subscribe, "monitor"): ALL,
    (Subscribe, "agent/*"): ALL,
    (Register, "*"): ALL,
    (Unregister, "*"): ALL,
}


@functools.lru_cache(maxsize=10_000)
def form_of(address: str) -> str:
    """``inbox/ark3`` -> ``inbox/*``; ``bizlogic`` -> ``bizlogic``."""
    service, slash, _ = address.partition("/")
    return f"{service}/*" if slash else service


def require(role: str, message: Op) -> None:
    """Raises ProtocolError if a peer in this role may not send that."""
    if not may(role, message):
        raise ProtocolError(FORBIDDEN, f"a {role} may not send that")


def may(role: str, message: Op) -> bool:
    """May a peer in this role send that? Of a put, the first address tells its form."""
    kind: Any = type(message)
    if isinstance(message, Put):
        form = form_of(message.to[0].partition(" ")[0])
    elif isinstance(message, Subscribe):
        form = form_of(message.address)
    else:
        form = "*"
    return role in RIGHTS.get((kind, form), ALL)
