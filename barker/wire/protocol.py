"""The protocol's limits, the grammar of its names, and every reason for a refusal or an error.

The messages themselves are the types of `barker.wire.ops`.

* A *bad message* is one message's fault (``BadMessage``: refuse it and go on). After a *protocol
  error* we no longer understand the peer (``ProtocolError``: send the reason, close).
"""

import re

VERSION = 1

# A longer line closes the link: the beginning of the next message would not be known.
MAX_LINE_BYTES = 64 * 1024
# One `put` names at most this many addresses: of 88 bytes at most, with quotes and comma, they and
# a body fit a line.
MAX_ADDRESSES = 500
# The longest that `ADDRESS` lets through. It is checked before the pattern, whose results are
# remembered: a stranger must not choose their length.
MAX_ADDRESS_CHARS = 85
# A bark of 280 characters, every one escaped, is under 4 KiB. A first manifold could not forward a
# larger body: with stamp and addresses it has to fit a line at every later hop.
MAX_BODY_BYTES = 8 * 1024
# Objects and lists in one another, the message itself included. A parser pays for each level with
# stack, and how many it can take depends on the reader; ours go three deep, a monitor's frames six.
# Beyond it, the line is not one of this protocol: error.
MAX_NESTING = 16
# Counters travel through browsers, whose numbers are exact up to here (Number.MAX_SAFE_INTEGER).
MAX_COUNT = 2**53 - 1
# A number that one process gives out, one after the other, stays below this: at a million a second
# it would take eight years. A larger one was not counted, and is refused: if it were kept, none
# would be left for the next ones.
MAX_NUMBER = 2**48
# Entries of puts that may be unacked on one link. It is part of the protocol because receivers of
# stamped puts rely on it: all that lies further back than this was settled long ago.
UNACKED_WINDOW = 4096

# Remembered valid names and addresses. One costs some 200 bytes.
REMEMBERED_NAMES = 150_000
# The same for epochs, of which a few repeat.
REMEMBERED_EPOCHS = 1000
# The same for entries of ``to``, in bytes of memory for them and their addresses.
REMEMBERED_BYTES = 100_000_000

USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BARK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
ADDRESS = re.compile(r"[a-z][a-z0-9-]{0,19}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")

# Reasons for a `refuse` (one put) ...
FULL = "full"  # retry later: the queue or the disk has no room
MOVED = "moved"  # retry elsewhere: this share of the ring is another's
UNDECIDED = "undecided"  # retry later: followers has not decided about the name
UNKNOWN_USER = "unknown-user"
TOO_LARGE = "too-large"
BAD_MESSAGE = "bad-message"
FAILED = "failed"  # it was tried several times, and raised an unforeseen exception
# ... and for an `error` (the whole link).
BAD_VERSION = "bad-version"
BAD_PROOF = "bad-proof"
PROTOCOL = "protocol"
TOO_MANY = "too-many"
NAME_TAKEN = "name-taken"
TIMEOUT = "timeout"
FORBIDDEN = "forbidden"

RETRYABLE = frozenset({FULL, MOVED, UNDECIDED})
# The same for an `unreadable`: the address may be readable later.
READABLE_LATER = frozenset({FULL, TOO_MANY})


class BarkerError(Exception):
    """An error to send to a peer; `code` is its code on the wire."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class BadMessage(BarkerError):
    """One message is at fault: refuse it, go on with the link."""


class ProtocolError(BarkerError):
    """The link is at fault: send `error`, close it."""
