"""Claims: which event has which name, and which instance may give names away.

A join is a *claim*: its id is the proof of ownership, so the same event gets the same answer again.
One instance of the followers service gives names away at a time, under its *reign*: a number that
rises, its own name, and the names of all instances that have every claim of it.

* About one name, the claim of the later reign counts; of one reign, that with the greater id.
* Of two reigns with one number, neither counts: no instance gives names away until another begins.

So claims and reigns depend on the events, and not on their order, as the graph does. Which
instance may begin a reign is in `barker.graph.deciding`.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from barker.graph.graph import PIECE
from barker.wire.bodies import JOIN
from barker.wire.protocol import BAD_MESSAGE, BadMessage
from barker.wire.strictjson import dumps

# Claims in one piece of a snapshot: of 120 bytes at most each, they fit a line.
CLAIMS_IN_PIECE = 400

# The number of its reign, and the id of its event.
Claim = tuple[int, str]


class Reign(NamedTuple):
    n: int
    by: str  # "" if no instance rules
    names: tuple[str, ...]

    def body(self) -> bytes:
        """For the stream: a piece of the graph without users."""
        return _piece({"reign": self})

    def met(self, other: "Reign") -> "Reign":
        """The reign that counts, of both."""
        if self.n != other.n:
            return max(self, other)
        if self == other:
            return self
        names = {*self.names, *other.names}
        return Reign(self.n, self.by if self.by == other.by else "", tuple(sorted(names)))


NO_REIGN = Reign(0, "", ())


class Claims:
    """Every claim that counts, and the last reign."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self.reign = NO_REIGN

    def id_of(self, user: str) -> str | None:
        """The id of the event that has this name, if one has."""
        claim = self._claims.get(user)
        return claim and claim[1]

    def is_news(self, fields: Mapping[str, Any]) -> bool:
        """Would `apply` change anything?"""
        claims = self._claims
        return self._reign_after(fields) != self.reign or any(
            user not in claims or claim > claims[user] for user, claim in _claims_in(fields)
        )

    def contradict(self, fields: Mapping[str, Any]) -> bool:
        """Does this differ from a claim or reign that counts? Its sender must get ours first."""
        claims = self._claims
        after = self._reign_after(fields)
        return (after != self.reign and after.n == self.reign.n) or any(
            user in claims and claims[user][1] != claim[1] and claims[user] > claim
            for user, claim in _claims_in(fields)
        )

    def apply(self, fields: Mapping[str, Any]) -> None:
        """Add an event or a piece of a snapshot. Raises BadMessage, and then changes nothing."""
        self.reign = self._reign_after(fields)
        for user, claim in _claims_in(fields):
            self._claims[user] = max(claim, self._claims.get(user, claim))

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """As `Graph.pieces`, whose pieces follow."""
        yield self.reign.body(), True
        claims = iter(list(self._claims.items()))
        while some := dict(islice(claims, CLAIMS_IN_PIECE)):
            yield _piece({"claims": some}), True

    def _reign_after(self, fields: Mapping[str, Any]) -> Reign:
        if fields.get("kind") != PIECE or "reign" not in fields:
            return self.reign
        n, by, names = fields["reign"]
        return self.reign.met(Reign(n, by, tuple(names)))


def _piece(more: dict[str, Any]) -> bytes:
    return dumps({"kind": PIECE, "more": True, "users": {}, **more})


def _claims_in(fields: Mapping[str, Any]) -> list[tuple[str, Claim]]:
    try:
        if fields.get("kind") == PIECE:
            return [(user, (n, id_)) for user, (n, id_) in fields.get("claims", {}).items()]
        if fields.get("kind") == JOIN and "reign" in fields:
            return [(fields["user"], (fields["reign"], fields["id"]))]
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise BadMessage(BAD_MESSAGE, f"not a claim: {fault!r}") from None
    return []
