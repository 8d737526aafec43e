"""Settings: who takes part, what may happen to whom, and limits that are met within a run."""

from typing import Any, NamedTuple

# Who follows whom. Of these names every instance below owns some, and every change moves some.
FOLLOWS = {
    "ann": ["dan", "lea", "ned"],
    "dan": ["ann"],
    "lea": ["ann", "ned"],
    "ned": ["lea"],
    "fay": ["ann", "dan"],
}
# Who may join, where there are events.
NEWCOMERS = ("kim", "max")
# Whom a bark mentions with which bizlogic raises what no check foresees, each time.
POISON = "poison"
# Small, so that every limit is met within a run.
WINDOW = 6
READER_WINDOW = 8
BUSY_MESSAGES = 5  # of which one line may have many
HEARTBEAT_S = 0.01  # ten events
EVENT_S = 0.001  # how long each event takes, so that some acks are due at once and some later
HANDFUL = 3  # of puts in a line, in a record, of messages to one reader
REMEMBERED = 30  # addresses whose way is remembered
BACKLOG = 7
KEEP = 200  # far more than are said: what is retained is a limit of its own
SEGMENT_BYTES = 2000
KEPT_BYTES = 3000

Event = tuple[Any, ...]
Shown = tuple[str, str, int, bool]  # author, id, number, whether it was marked late


class Setting(NamedTuple):
    """Who there is, and what may happen to whom."""

    names: tuple[str, ...]
    at_first: tuple[str, ...]
    mortal: tuple[str, ...]  # kinds that are killed, stopped, frozen
    disks: bool = False  # disks fill up
    power: bool = False  # power cuts take the end of a journal
    damage: bool = False  # segments are lost, or cut at the end of a record
    ordered: bool = True  # owners never change: every author's order holds
    punctual: bool = False  # and nothing is ever late
    events: float = 0.0  # how often users join, follow and unfollow
    joins: float = 0.15  # ... and how much of that is joining
    directory: bool = False  # the directory is started anew
    backups: bool = False  # journals are copied, and copies are used
    faults: bool = False  # exceptions at any step
    poison: bool = False  # barks that no bizlogic gets past
    odd: bool = False  # bodies as other encoders write them


OUTBOXES, INBOXES = ("outbox-a", "outbox-b"), ("inbox-a", "inbox-b")
WORKERS, GRAPHS = ("bizlogic-a", "bizlogic-b"), ("followers-a", "followers-b")
LINE = (*OUTBOXES, *WORKERS, *INBOXES)
MANIFOLDS = ("bizlogic", "outbox", "inbox")
ALL = (*MANIFOLDS, "followers")

# Everything comes and goes, and shares of the rings change their owners.
_RINGS = Setting(
    names=(*LINE, "inbox-c"), at_first=LINE, mortal=("bizlogic", "outbox", "inbox"), ordered=False
)
# The same, and users change the graph.
_EVENTS = _RINGS._replace(
    names=("followers-a", *LINE, "inbox-c"), at_first=("followers-a", *LINE), events=0.05
)
# One of each, but for bizlogic: there is only one owner, ever.
_ALONE = Setting(
    names=("outbox-a", *WORKERS, "inbox-a"),
    at_first=("outbox-a", *WORKERS, "inbox-a"),
    mortal=MANIFOLDS,
    punctual=True,
)

SETTINGS = {
    # Nothing but links, bizlogics and the directory's word come and go.
    "calm": Setting(names=LINE, at_first=LINE, mortal=("bizlogic",), punctual=True),
    "alone": _ALONE,
    "full": _ALONE._replace(disks=True),
    "rings": _RINGS,
    "disks": _RINGS._replace(disks=True),
    "power": _RINGS._replace(power=True),  # without --fsync
    "damage": _RINGS._replace(damage=True),
    "events": _EVENTS,
    # Many events go through one outbox, while barks wait for an inbox that is away.
    "counters": _EVENTS._replace(
        names=("followers-a", "outbox-a", "bizlogic-a", *INBOXES),
        at_first=("followers-a", "outbox-a", "bizlogic-a", *INBOXES),
        mortal=("inbox",),
        events=0.12,
    ),
    "replicas": _EVENTS._replace(
        names=(*GRAPHS, *LINE, "inbox-c"), at_first=(*GRAPHS, *LINE), mortal=ALL
    ),
    "directory": _EVENTS._replace(
        names=(*GRAPHS, *LINE, "inbox-c"), at_first=(*GRAPHS, *LINE), mortal=ALL, directory=True
    ),
    # Many want the same few names, while those who give them away come and go.
    "names": _EVENTS._replace(
        names=(*GRAPHS, *OUTBOXES, "bizlogic-a", "inbox-a"),
        at_first=(*GRAPHS, *OUTBOXES, "bizlogic-a", "inbox-a"),
        mortal=("followers", "outbox"),
        events=0.15,
        joins=0.8,
    ),
    # Old copies are put back, and there is only one owner, ever.
    "restored": _ALONE._replace(backups=True, punctual=False, ordered=False),
    "backups": _RINGS._replace(names=(*LINE, "outbox-c", "inbox-c"), backups=True),
    "graphs": _EVENTS._replace(
        names=(*GRAPHS, *LINE), at_first=(*GRAPHS, *LINE), mortal=ALL, backups=True
    ),
    "faults": _EVENTS._replace(
        names=(*GRAPHS, *LINE, "inbox-c"), at_first=(*GRAPHS, *LINE), mortal=ALL, faults=True
    ),
    "poison": _ALONE._replace(poison=True, punctual=False),
    "odd": _RINGS._replace(odd=True),
    "all": _EVENTS._replace(
        names=(*GRAPHS, *LINE, "outbox-c", "inbox-c"),
        at_first=(*GRAPHS, *LINE),
        mortal=ALL,
        disks=True,
        directory=True,
        backups=True,
        faults=True,
        poison=True,
        odd=True,
    ),
}


class Failure(Exception):
    """A promise was broken."""
