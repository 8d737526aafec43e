"""The people of this small world, and whom they follow.

Pure: a world is made from a seed, becomes text, and comes from text. Left out: the file of that
text.
"""

import json
import random
from collections.abc import Mapping

from barker.wire.protocol import USER_NAME

# Three people, whom all dogs know; they write their barks themselves.
PEOPLE = ("ark3", "rdl", "rhs")

DOGS = tuple(
    """
    ace apollo archie asta axel bagel balto bandit baxter bear beethoven bella benji biscuit blue
    bolt bonnie boomer boots bosco bruno buddy buster buttons champ charlie chase chester chewie
    chip clifford coco cody cookie cooper daisy dash diesel digby dixie dodger duke ella fang fido
    fifi finn frank ginger gizmo gromit gus hachi harley hazel hector hooch hunter jack jasper
    jerry juno koda lady laika lassie lola lucky lulu max milo moose muttley nana odie oreo otis
    otto patch pepper piper pluto pongo poppy rex riley rolf rover rufus rusty sadie scout shadow
    slink snoopy spike toby toto trixie tucker winston ziggy zorro
    """.split()
)

# Of the dogs each one follows; with the three people that makes a mean of about ten followers.
_DOGS_FOLLOWED = (4, 12)


class World:
    """The users and whom they follow, as of one moment."""

    def __init__(self, follows: Mapping[str, list[str]]) -> None:
        """`follows` maps every user to those whose barks that user wants to see."""
        self.follows = {user: tuple(followed) for user, followed in follows.items()}
        followers: dict[str, list[str]] = {user: [] for user in self.follows}
        for user, followed in self.follows.items():
            for author in followed:
                followers[author].append(user)
        self._followers = {author: tuple(readers) for author, readers in followers.items()}

    def __contains__(self, user: object) -> bool:
        return user in self.follows

    @property
    def names(self) -> list[str]:
        return list(self.follows)

    def followers(self, author: str) -> tuple[str, ...]:
        """The users that follow `author`; none, if there is no such user."""
        return self._followers.get(author, ())


def generate(seed: int = 3) -> World:
    """A world of about a hundred dogs and the three people.

    Everyone follows at least two of the three, and at least two of the three follow every dog, so
    that each of them has something to read.
    """
    dice = random.Random(seed)
    follows: dict[str, list[str]] = {}
    for user in (*PEOPLE, *DOGS):
        others = [p for p in PEOPLE if p != user]
        known = sorted(dice.sample(others, dice.randint(2, len(others))))
        if user in PEOPLE:
            follows[user] = known
        else:
            dogs = [d for d in DOGS if d != user]
            follows[user] = known + sorted(dice.sample(dogs, dice.randint(*_DOGS_FOLLOWED)))
    for dog in DOGS:
        for person in dice.sample(PEOPLE, dice.randint(2, 3)):
            follows[person].append(dog)
    return World(follows)


def dump(world: World) -> str:
    """As JSON: one line for each user, for people to read and edit."""
    lines = [
        f"  {json.dumps(user)}: {json.dumps(list(followed))}"
        for user, followed in world.follows.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def parse(text: str) -> World:
    """The inverse of `dump`. Raises ValueError saying which entry is wrong."""
    try:
        follows = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if type(follows) is not dict:
        raise ValueError("the users are one JSON object: name -> list of names")
    for user, followed in follows.items():
        if not USER_NAME.fullmatch(user):
            raise ValueError(f"{user!r} is no user name")
        if type(followed) is not list or any(type(f) is not str for f in followed):
            raise ValueError(f"what {user} follows is not a list of names")
        if not all(f in follows for f in followed):
            raise ValueError(f"{user} follows a user that does not exist")
        if len(set(followed)) != len(followed):
            raise ValueError(f"{user} follows a user twice")
    return World(follows)
