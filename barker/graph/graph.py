"""The graph: who exists, and who follows whom, whatever order the news comes in.

* About one edge (`user` follows `whom`) the *last word* counts: that with the greatest `at`, and
  of a follow and an unfollow in the same millisecond, the unfollow.
* So a graph depends on which events have come, and not on their order, nor on how often. Whoever
  has had the same events has the same graph: after a repetition, a failover, a meeting of two that
  were apart. (A *last-writer-wins element set*: Shapiro, Preguiça, Baquero and Zawirski,
  "Conflict-free Replicated Data Types", 2011.)
* An unfollow leaves a *tombstone*, so that an older follow that comes late finds it. `forget`
  drops tombstones when nothing that old can come any more.
* A snapshot is the graph in pieces, each of which can be taken over like an event. It need not be
  of one moment: what changes while it is read comes as an event besides.

Left out: leaving. A name stays taken, since barks under it are in other people's timelines.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from barker.disk.users import World
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW
from barker.wire.protocol import BAD_MESSAGE, USER_NAME, BadMessage
from barker.wire.strictjson import dumps

# The kind of a body that is a piece of a snapshot.
PIECE = "graph"
# Edges and users in one piece: of 40 bytes at most each, they fit a line.
PIECE_SIZE = 1000
# Users and words between two slices of `forget`.
LOOKED_AT_ONCE = 20_000

_is_name = USER_NAME.fullmatch

# A word about an edge is one number, so that the greater one counts: 2 * at, and 1 more for an
# unfollow. One number takes a third of the memory of a pair.
_NEVER = -1


# Of a user's words, so many are looked at for each edge that is asked for: others are tombstones.
WORDS_FOR_ONE = 4


class Change(NamedTuple):
    """An edge that is there now, or is not any more; without `whom`, a new user."""

    user: str
    whom: str
    follows: bool


class Graph:
    """Every user's last words about others, and the index of them by whom they are about."""

    def __init__(self) -> None:
        self._words: dict[str, dict[str, int]] = {}
        self._followers: dict[str, dict[str, None]] = {}
        # One string object for a name, however often it comes over the wire.
        self._names: dict[str, str] = {}
        self.edges = 0
        self.tombstones = 0
        self.newest = 0  # the greatest `at`

    @classmethod
    def of(cls, world: World) -> "Graph":
        """The graph of a seed."""
        graph = cls()
        graph.sow(world)
        return graph

    def sow(self, world: World) -> None:
        """Take over a seed: any word that anybody says about its edges is later."""
        changes: list[Change] = []
        for user in world.names:
            self._join(user, changes)
        for user, followed in world.follows.items():
            for whom in followed:
                self._say(user, whom, 0, changes)

    # --- asking ---

    def __contains__(self, user: object) -> bool:
        return user in self._words

    def __len__(self) -> int:
        """How many users there are."""
        return len(self._words)

    @property
    def names(self) -> Collection[str]:
        return self._words.keys()

    def follows(self, user: str) -> list[str]:
        """Whom `user` follows; nobody, if there is no such user."""
        return [whom for whom, word in self._words.get(user, {}).items() if not word & 1]

    def latest(self, user: str, most: int) -> list[str]:
        """At most so many of those whom `user` follows, the latest ones, in order.

        It may be fewer for users who have unfollowed most: only their last words are looked at.
        """
        words = self._words.get(user, {})
        last = [(whom, words[whom]) for whom in islice(reversed(words), WORDS_FOR_ONE * most)]
        return [whom for whom, word in last if not word & 1][:most][::-1]

    def knows(self, user: str, whom: str) -> bool:
        """Has `user` said something of that other one, and not long ago?"""
        return whom in self._words.get(user, ())

    def words_of(self, user: str) -> int:
        """Of how many others this user has said something."""
        return len(self._words.get(user, ()))

    def followers(self, author: str) -> Collection[str]:
        """Everybody who follows `author`; nobody, if there is no such user."""
        return self._followers.get(author, {}).keys()

    def has(self, user: str, whom: str) -> bool:
        return user in self._followers.get(whom, ())

    # --- taking over ---

    def is_news(self, fields: Mapping[str, Any]) -> bool:
        """Would `apply` remember anything of this?"""
        return any(
            word > self._words.get(user, {}).get(whom, _NEVER) if whom else user not in self
            for user, whom, word in _words_in(fields)
        )

    def growth(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        """How many more users, and how many more words, `apply` would have this remember."""
        users: set[str] = set()
        words = 0
        for user, whom, _ in _words_in(fields):
            users |= {name for name in (user, whom) if name and name not in self}
            words += bool(whom) and whom not in self._words.get(user, {})
        return len(users), words

    def apply(self, fields: Mapping[str, Any]) -> list[Change]:
        """Take over an event or a piece of a snapshot; returns what is different now.

        The same one again changes nothing. Raises BadMessage, and then nothing has changed.
        """
        changes: list[Change] = []
        for user, whom, word in _words_in(fields):
            if whom:
                self._say(user, whom, word, changes)
            else:
                self._join(user, changes)
        return changes

    def _join(self, user: str, changes: list[Change]) -> None:
        if user not in self._names:
            self._names[user] = user
            self._words[user] = {}
            self._followers[user] = {}
            changes.append(Change(user, "", True))

    def _say(self, user: str, whom: str, word: int, changes: list[Change]) -> None:
        names = self._names
        for name in (user, whom):
            if name not in names:
                self._join(name, changes)
        user, whom = names[user], names[whom]
        words = self._words[user]
        before = words.get(whom, _NEVER)
        if word <= before:
            return
        words[whom] = word
        if word >> 1 > self.newest:
            self.newest = word >> 1
        followed, follows = before != _NEVER and not before & 1, not word & 1
        self.tombstones += (not follows) - (before != _NEVER and not followed)
        self.edges += follows - followed
        if follows != followed:
            if follows:
                self._followers[whom][user] = None
            else:
                del self._followers[whom][user]
            changes.append(Change(user, whom, follows))

    def forget(self, before: int) -> Iterator[None]:
        """Drop the tombstones of what was unfollowed before that time (as `at`), in slices.

        Others may change the graph between two of them.
        """
        looked_at = 0
        for words in list(self._words.values()):
            old = [whom for whom, word in words.items() if word & 1 and word >> 1 < before]
            for whom in old:
                del words[whom]
            self.tombstones -= len(old)
            looked_at += 1 + len(words)
            if looked_at >= LOOKED_AT_ONCE:
                looked_at = 0
                yield

    # --- in pieces ---

    def pieces(self) -> Iterator[tuple[bytes, bool]]:
        """Bodies that make this graph of an empty one, and whether more of them follow.

        The graph may change between two of them. What was said before the first one is in them;
        of what is said later, some is.
        """
        piece: dict[str, dict[str, int]] = {}
        size = 0
        for user in list(self._words):
            words = iter(list(self._words[user].items()))
            while True:
                some = dict(islice(words, PIECE_SIZE - size - 1))
                piece[user] = some
                size += 1 + len(some)
                if size < PIECE_SIZE:
                    break
                yield _piece(piece, more=True), True
                piece, size = {}, 0
        yield _piece(piece, more=False), False


def _piece(users: dict[str, dict[str, int]], *, more: bool) -> bytes:
    return dumps({"kind": PIECE, "more": more, "users": users})


def _words_in(fields: Mapping[str, Any]) -> list[tuple[str, str, int]]:
    """(user, whom, word) for each thing that a body says; a user alone, without whom, exists."""
    try:
        kind = fields["kind"]
        if kind == PIECE:
            words = []
            for user, about in fields["users"].items():
                words.append((user, "", 0))
                words += [(user, whom, word) for whom, word in about.items()]
        elif kind == JOIN:
            words = [(fields["user"], "", 0)]
        elif kind in (FOLLOW, UNFOLLOW):
            words = [(fields["user"], fields["whom"], 2 * fields["at"] + (kind == UNFOLLOW))]
        else:
            raise BadMessage(BAD_MESSAGE, f"the graph knows nothing of {kind!r}")
        for user, whom, word in words:
            if type(word) is not int or not (_is_name(user) and (not whom or _is_name(whom))):
                raise BadMessage(BAD_MESSAGE, f"{word!r} of {user!r} about {whom!r}")
    except (AttributeError, KeyError, TypeError) as fault:
        raise BadMessage(BAD_MESSAGE, f"not a change of the graph: {fault!r}") from None
    return words


class Names:
    """Of all that a graph says, who exists: enough for whoever only asks that."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __contains__(self, user: object) -> bool:
        return user in self._names

    def __len__(self) -> int:
        return len(self._names)

    def apply(self, fields: Mapping[str, Any]) -> list[Change]:
        names = {name for user, whom, _ in _words_in(fields) for name in (user, whom) if name}
        names -= self._names
        self._names |= names
        return [Change(name, "", True) for name in names]
