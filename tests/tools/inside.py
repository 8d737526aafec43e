"""What tests look at inside services, in one place: all that is here is private to its owner."""

import pathlib
from concurrent.futures import Future

from barker.delivery.sender import Sender
from barker.disk.journal import Journal
from barker.disk.nojournal import AnyJournal
from barker.followers import Followers
from barker.graph.people import People
from barker.inbox import Inbox
from barker.manifold.joining import Joining
from barker.manifold.parking import Parking
from barker.manifold.push import Push
from barker.manifold.readers import Readers
from barker.manifold.timelines import Timeline
from barker.outbox import Outbox

Manifold = Inbox | Outbox


def journal_of(service: Manifold | Followers) -> AnyJournal:
    return service._intake.journal


def segment_of(service: Manifold | Followers) -> pathlib.Path:
    """The file that its journal is writing to."""
    journal = journal_of(service)
    assert isinstance(journal, Journal)
    return journal._path(journal.current)


def synced(journal: Journal, number: int) -> "Future[None]":
    """Instead of `Journal.sync_from`: that is done at once, so to speak."""
    done: Future[None] = Future()
    done.set_result(None)
    return done


def epoch_of(manifold: Manifold) -> str:
    """In its stamps, or with its serials."""
    return manifold._intake.journal.epoch


def people_of(manifold: Manifold) -> People:
    return manifold._people


def barks_of(outbox: Outbox) -> Push:
    """Its queue of barks."""
    return outbox._barks


def events_of(outbox: Outbox) -> Push:
    """Its queue of events."""
    return outbox._events


def joining_of(outbox: Outbox) -> Joining:
    return outbox._joining


def deciders_of(joining: Joining) -> Sender[tuple[str, str]]:
    """How it asks followers."""
    return joining._sender


def parking_of(manifold: Manifold) -> Parking:
    return manifold._parking


def timelines_of(inbox: Inbox) -> dict[str, Timeline]:
    return inbox._store.timelines


def readers_of(inbox: Inbox) -> Readers:
    return inbox._readers
