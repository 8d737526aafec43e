"""Settings: who takes part, what may happen to whom, and limits that are met within a run."""

from typing import Any, NamedTuple

from barker.routing import CONSISTENT, ORDERED

# Who follows whom. Of these names every instance below owns some, and every change moves some.
FOLLOWS = {
    "ann": ["dan", "lea", "ned"],
    "dan": ["ann"],
    "lea": ["ann", "ned"],
    "ned": ["lea"],
    "fay": ["ann", "dan"],
}
# Small, so that every limit is met within a run.
WINDOW = 6
READER_WINDOW = 8
BUSY_MESSAGES = 5  # of which one line may have many
EVENT_S = 0.001  # how long each event takes, so that some acks are due at once and some later
HANDFUL = 3  # of puts in a line, in a record, of messages to one reader
BACKLOG = 7
KEEP = 200  # far more than are said: what is retained is a limit of its own
SEGMENT_BYTES = 2000

Event = tuple[Any, ...]
Shown = tuple[str, str, int, bool]  # author, id, number, whether it was marked late


class Setting(NamedTuple):
    """Who there is, and what may happen to whom."""

    names: tuple[str, ...]
    at_first: tuple[str, ...]
    mortal: tuple[str, ...]  # kinds that are killed, stopped, frozen
    disks: bool = False  # disks fill up
    power: bool = False  # power cuts take the end of a journal
    ordered: bool = True  # owners never change: every author's order holds
    punctual: bool = False  # and nothing is ever late


WORKERS = ("bizlogic-a", "bizlogic-b")
SETTINGS = {
    # Nothing but links, bizlogics and the directory's word come and go.
    "calm": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic",),
        punctual=True,
    ),
    # Everything dies, but there is only one owner, ever.
    "alone": Setting(
        names=("outbox-a", *WORKERS, "inbox-a"),
        at_first=("outbox-a", *WORKERS, "inbox-a"),
        mortal=("bizlogic", "outbox", "inbox"),
        punctual=True,
    ),
    # Disks fill up, and nobody's share ever changes its owner.
    "full": Setting(
        names=("outbox-a", *WORKERS, "inbox-a"),
        at_first=("outbox-a", *WORKERS, "inbox-a"),
        mortal=("bizlogic", "outbox", "inbox"),
        disks=True,
        punctual=True,
    ),
    # Rings change.
    "rings": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b", "inbox-c"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic", "outbox", "inbox"),
        ordered=False,
    ),
    # The same with disks that fill up.
    "disks": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b", "inbox-c"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic", "outbox", "inbox"),
        disks=True,
        ordered=False,
    ),
    # The same, and without --fsync.
    "power": Setting(
        names=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b", "inbox-c"),
        at_first=("outbox-a", "outbox-b", *WORKERS, "inbox-a", "inbox-b"),
        mortal=("bizlogic", "outbox", "inbox"),
        power=True,
        ordered=False,
    ),
}
POLICIES = {"outbox": CONSISTENT, "inbox": CONSISTENT, "bizlogic": ORDERED}


class Failure(Exception):
    """A promise was broken."""
