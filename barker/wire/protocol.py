"""The protocol's limits, the grammar of its names, and every reason for a refusal or an error.

The messages themselves are the types of `barker.wire.ops`.

* A *bad message* is one message's fault (``BadMessage``: refuse it and go on). A *protocol error*
  means that we no longer know what the peer is talking about (``ProtocolError``: say why, close).
"""

import re

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
# A number that one process gives away, one after the other, stays below this: at a million a second
# it would take eight years. A larger one is none that was counted, and is refused: kept, it would
# leave no room for those that come after it.
MAX_NUMBER = 2**48
# A put is unacked on one link at most this many times. It is part of the protocol because a
# receiver of stamped puts relies on it: whatever lies further back than this was settled long ago.
UNACKED_WINDOW = 4096

# Names and addresses that are remembered to be good. One costs some 200 bytes.
REMEMBERED_NAMES = 150_000
# The same for epochs, of which a few are there again and again.
REMEMBERED_EPOCHS = 1000
# The same of entries of ``to``, in bytes that they and their addresses take.
REMEMBERED_BYTES = 100_000_000

USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BARK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
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
FORBIDDEN = "forbidden"

RETRYABLE = frozenset({FULL, MOVED})
# The same for an `unreadable`: what can't be read now may be read later.
READABLE_LATER = frozenset({FULL, TOO_MANY})


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
