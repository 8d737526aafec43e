"""The protocol: every message with its fields, every limit and every reason for a no.

A message is one JSON object with an ``op``. ``OPS`` is the whole protocol: what
`barker.wire.messages` lets through has passed the checks in this table, so that no handler has to
check a type. Left out: how a message becomes bytes, which is `barker.wire.messages`'s.

* A *bad message* is one message's fault (``BadMessage``: refuse it and go on). A *protocol error*
  means that we no longer know what the peer is talking about (``ProtocolError``: say why, close).
"""

import functools
import re
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

VERSION = 1

# A longer line closes the link, because after it nobody can say where the next message begins.
MAX_LINE_BYTES = 64 * 1024
# One `put` names at most this many addresses: of 88 bytes at most, with quotes and comma, they and
# a body fit a line.
MAX_ADDRESSES = 500
# The longest that `ADDRESS` lets through. Looked at before the pattern, whose answers are
# remembered: what is must not be as long as a stranger likes.
MAX_ADDRESS_CHARS = 85
# A bark of 280 characters, every one escaped, is under 4 KiB. A first manifold that took a larger
# body could not hand it on: with stamp and addresses it has to fit a line at every later hop.
MAX_BODY_BYTES = 8 * 1024
# Objects and lists in one another, the message itself included. A parser pays for each level with
# stack, and how many it has depends on who reads; ours go three deep, a monitor's frames six.
# Beyond it, the line is not one of this protocol: error.
MAX_NESTING = 16
# Counters travel through browsers, whose numbers are exact up to here (Number.MAX_SAFE_INTEGER).
MAX_COUNT = 2**53 - 1
# A put is unacked on one link at most this many times. It is part of the protocol because a
# receiver of stamped puts relies on it: whatever lies further back than this was settled long ago.
UNACKED_WINDOW = 4096

USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ADDRESS = re.compile(r"[a-z][a-z0-9-]{0,19}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")

# Reasons for a `refuse` (one put) ...
FULL = "full"  # ask again later: the queue or the disk has no room
MOVED = "moved"  # ask again elsewhere: the ring says that this share is another's
UNKNOWN_USER = "unknown-user"
TOO_LARGE = "too-large"
BAD_MESSAGE = "bad-message"
FAILED = "failed"  # it was tried, and raised what no check foresaw, several times
# ... and for an `error` (the whole link).
BAD_VERSION = "bad-version"
BAD_PROOF = "bad-proof"
PROTOCOL = "protocol"
TOO_MANY = "too-many"
NAME_TAKEN = "name-taken"
TIMEOUT = "timeout"

RETRYABLE = frozenset({FULL, MOVED})


class BarkerError(Exception):
    """Something a peer should be told; `code` is what goes on the wire."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class BadMessage(BarkerError):
    """One message is at fault: refuse it, go on with the link."""


class ProtocolError(BarkerError):
    """The link is at fault: send `error`, close it."""


# --- The protocol as a table -------------------------------------------------------------------

Check = Callable[[Any], bool]


class Field(NamedTuple):
    name: str
    check: Check
    required: bool = True


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def is_text(value: Any) -> bool:
    return type(value) is str and len(value) <= 500


# So many are remembered to be good, since a pattern takes longer than all the rest of a check. One
# costs some 200 bytes.
REMEMBERED_NAMES = 150_000


@functools.lru_cache(maxsize=REMEMBERED_NAMES)
def _address_ok(value: str) -> bool:
    return ADDRESS.fullmatch(value) is not None


def is_address(value: Any) -> bool:
    return type(value) is str and len(value) <= MAX_ADDRESS_CHARS and _address_ok(value)


def is_addresses(value: Any) -> bool:
    if type(value) is list and len(value) == 1:  # by far the most
        return is_address(value[0])
    return (
        type(value) is list
        and 0 < len(value) <= MAX_ADDRESSES
        and set(map(type, value)) == {str}
        and max(map(len, value)) <= MAX_ADDRESS_CHARS
        and all(map(_address_ok, value))
        and len(set(value)) == len(value)
    )


def is_prefix(value: Any) -> bool:
    return value == "" or is_address(value)


def is_name(value: Any) -> bool:
    return type(value) is str and INSTANCE_NAME.fullmatch(value) is not None


def is_host(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 255 and value.isprintable()


def is_port(value: Any) -> bool:
    return type(value) is int and 0 < value < 65536


def or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def is_policy(value: Any) -> bool:
    return value in ("consistent", "ordered")


_is_hex = re.compile(r"[0-9a-f]{16,64}").fullmatch


def is_hex(value: Any) -> bool:
    return type(value) is str and _is_hex(value) is not None


def is_targets(value: Any) -> bool:
    return type(value) is list and all(
        type(t) is dict
        and is_name(t.get("name"))
        and is_host(t.get("host"))
        and is_port(t.get("port"))
        and is_count(t.get("since"))
        for t in value
    )


def is_raw(value: Any) -> bool:
    return type(value) is bytes


def is_true(value: Any) -> bool:
    return value is True


# Of `puts` and `messages`. These see every bark, so they ask sets and `map` instead of looping.


def is_raws(value: Any) -> bool:
    return (
        type(value) is list
        and set(map(type, value)) == {bytes}
        and max(map(len, value)) <= MAX_BODY_BYTES
    )


def is_counts(value: Any) -> bool:
    return (
        type(value) is list
        and set(map(type, value)) == {int}
        and min(value) >= 0
        and max(value) <= MAX_COUNT
    )


def is_address_lists(value: Any) -> bool:
    """One list of addresses for each body, or a single one for all of them."""
    if type(value) is not list or set(map(type, value)) != {list}:
        return False
    addresses = list(chain.from_iterable(value))
    return (
        min(map(len, value)) > 0
        and max(map(len, value)) <= MAX_ADDRESSES
        and set(map(type, addresses)) == {str}
        and max(map(len, addresses)) <= MAX_ADDRESS_CHARS
        and all(map(_address_ok, set(addresses)))
        and (len(addresses) == len(value) or all(len(set(some)) == len(some) for some in value))
    )


def is_serials(value: Any) -> bool:
    """For each body an object: address -> serial."""
    return (
        type(value) is list
        and set(map(type, value)) == {dict}
        and all(value)
        and max(map(len, chain.from_iterable(value))) <= MAX_ADDRESS_CHARS
        and all(map(_address_ok, set(chain.from_iterable(value))))
        and is_counts(list(chain.from_iterable(map(dict.values, value))))
    )


def _op(*fields: Field) -> tuple[Field, ...]:
    return fields


# Every op with its fields, in the order in which they are written.
OPS: dict[str, tuple[Field, ...]] = {
    "hello": _op(
        Field("v", is_count),
        Field("name", is_name),
        Field("nonce", is_hex),
        Field("epoch", or_null(is_hex), False),  # directory: its own; others: the last they knew
    ),
    "proof": _op(Field("mac", is_hex)),
    "register": _op(
        Field("address", is_address),
        Field("name", is_name),
        Field("host", is_host),
        Field("port", is_port),
        Field("policy", is_policy),
        Field("kind", is_name),
        Field("since", is_count),
    ),
    "unregister": _op(Field("address", is_address), Field("name", is_name)),
    "watch": _op(Field("prefix", is_prefix)),
    "routes": _op(
        Field("address", is_address), Field("policy", is_policy), Field("targets", is_targets)
    ),
    "resolve": _op(Field("address", is_address)),
    "target": _op(
        Field("address", is_address),
        Field("name", or_null(is_name)),
        Field("host", or_null(is_host)),
        Field("port", or_null(is_port)),
    ),
    "put": _op(
        Field("seq", is_count),
        Field("to", is_addresses),
        Field("origin", is_hex, False),
        Field("n", is_count, False),
        Field("old", is_true, False),  # handed over by a former owner, with the first stamp
        Field("body", is_raw),
    ),
    "puts": _op(  # many of them, numbered from `seq` on
        Field("seq", is_count),
        Field("to", is_address_lists),
        Field("origin", is_hex, False),
        Field("n", is_counts, False),
        Field("old", is_true, False),
        Field("bodies", is_raws),
    ),
    "ack": _op(
        Field("seq", is_count, False),  # settles puts, or
        Field("address", is_address, False),  # reopens a reader's window
        Field("serial", is_count, False),
    ),
    "refuse": _op(
        Field("seq", is_count, False),  # absent: what was refused is a subscribe
        Field("code", is_name),
        Field("reason", is_text),
        Field("addresses", is_addresses),
    ),
    "subscribe": _op(
        Field("address", is_address),
        Field("epoch", or_null(is_hex), False),
        Field("after", is_count, False),
        Field("history", is_count, False),
        Field("window", is_count, False),
    ),
    "subscribed": _op(  # the first answer
        Field("address", is_address),
        Field("epoch", is_hex),  # whose serials they will be
        Field("serial", is_count),  # the one before the first that is sent
        Field("last", is_count),  # what comes after this one is not the past
        Field("history", is_count),  # how much of the past to show who has no wish
        # How many entries the stream may hold at most: so many may come again to a reader.
        Field("retained", is_count, False),
    ),
    "message": _op(
        Field("address", is_address),
        Field("epoch", is_hex),
        Field("serial", is_count),
        Field("late", is_true, False),  # something newer of the same author was here before
        Field("body", is_raw),
    ),
    "messages": _op(  # many of them; a body that goes to several streams is there once
        Field("epoch", is_hex),
        Field("late", is_true, False),
        Field("to", is_serials),
        Field("bodies", is_raws),
    ),
    "moved": _op(Field("address", is_address)),
    "gap": _op(Field("address", is_address), Field("missed", is_count)),
    "ping": _op(),
    "pong": _op(),
    "sample": _op(Field("body", is_raw)),
    "error": _op(Field("code", is_name), Field("reason", is_text)),
}
