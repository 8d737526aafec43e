"""Rights: which role may send which messages, and about which addresses.

A peer shows its role by the key with which it proves itself (`barker.links.greeting`). A service
may send everything. One table lists what a client and an operator may send, and the rest is
refused. `require` is the only check. A link calls it before it hands a message to a handler.
"""

import functools
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from barker.wire.ops import (
    Credit,
    Error,
    Op,
    Ping,
    Pong,
    Put,
    Resolve,
    Subscribe,
    Watch,
)
from barker.wire.protocol import FORBIDDEN, ProtocolError

# Services register, stamp, put to all manifolds and keep copies; clients put to outboxes and read.
# An operator kills and starts processes by way of `controls`, and does nothing else.
CLIENT, OPERATOR, SERVICE = "client", "operator", "service"
ANY = frozenset({CLIENT, OPERATOR, SERVICE})
_CLIENTS = frozenset({CLIENT, SERVICE})
_OPERATORS = frozenset({OPERATOR, SERVICE})
_SERVICES = frozenset({SERVICE})
# The address of the service that passes requests to a launcher.
CONTROLS = "controls"
# Each derived key is the HMAC of a label of its own. It begins with a word, so that no file of one
# key is taken for a file of the other.
CLIENTS_LABEL = b"barker clients' key"
CLIENTS_PREFIX = b"clients-"
OPERATORS_LABEL = b"barker operator's key"
OPERATORS_PREFIX = b"operator-"

# Addresses whose form is remembered, of some 200 bytes.
REMEMBERED_FORMS = 10_000

# (op, form of address) -> roles. A form is an address with a star for its key. A message without a
# row is for services alone.
RIGHTS: Mapping[tuple[type, str], frozenset[str]] = {
    (Ping, "*"): ANY,
    (Pong, "*"): ANY,
    (Error, "*"): ANY,
    (Credit, "*"): ANY,
    (Watch, "*"): _CLIENTS,
    (Resolve, "*"): _CLIENTS,
    (Put, "outbox/*"): _CLIENTS,
    (Subscribe, "inbox/*"): _CLIENTS,
    (Subscribe, "graph/*"): _CLIENTS,
    (Subscribe, "monitor"): _CLIENTS,
    (Subscribe, "agent/*"): _CLIENTS,
    (Put, CONTROLS): _OPERATORS,
    (Subscribe, CONTROLS): _OPERATORS,
}


@functools.lru_cache(maxsize=4)
def clients_key(secret: bytes) -> bytes:
    """The clients' key, which does not reveal the services' key that it is derived from."""
    return CLIENTS_PREFIX + hmac.new(secret, CLIENTS_LABEL, hashlib.sha256).hexdigest().encode()


@functools.lru_cache(maxsize=4)
def operators_key(secret: bytes) -> bytes:
    """The operator's key. Neither it nor the clients' key reveals the other."""
    return OPERATORS_PREFIX + hmac.new(secret, OPERATORS_LABEL, hashlib.sha256).hexdigest().encode()


@functools.lru_cache(maxsize=REMEMBERED_FORMS)
def form_of(address: str) -> str:
    """``inbox/ark3`` -> ``inbox/*``; ``bizlogic`` -> ``bizlogic``."""
    service, slash, _ = address.partition("/")
    return f"{service}/*" if slash else service


def require(role: str, message: Op) -> None:
    """Raises ProtocolError if a peer in this role may not send that."""
    if role != SERVICE and not may(role, message):
        raise ProtocolError(FORBIDDEN, f"the role {role} may not send that")


def may(role: str, message: Op) -> bool:
    """May a peer in this role send that? Of a put, every address counts, and a stamp is no form."""
    kind: Any = type(message)
    if isinstance(message, Put):
        stamped = message.origin is not None
        forms = {"stamped"} if stamped else {*map(form_of, " ".join(message.to).split(" "))}
    elif isinstance(message, Subscribe):
        forms = {form_of(message.address)}
    else:
        forms = {"*"}
    return all(role in RIGHTS.get((kind, form), _SERVICES) for form in forms)
