"""The intake: how outbox, inbox and followers take puts. They keep what they ack.

    check each entry -> keep the batch in the journal -> apply it -> ack it

A batch is one line. `Intake.take` holds all that is known of it while it is handled:

* `check` looks at the entries and changes nothing. Entries that it refuses are refused.
* The rest is written to the journal in one piece. If that fails, the batch is refused as ``full``,
  as if it had never come.
* `apply` brings memory up to the journal, and forwards the entries. If it raises, the two
  differ: the process ends, and the next start recovers from the journal.
* Any other exception closes the link, and it is as if the batch had never come.
* The number up to which entries are kept or refused is the link's `committed`, and an ack goes up
  to there at most: once for all lines of a read, or for several reads (`barker.delivery.acks`).
  With `--fsync` it is raised when the disk has them (`barker.manifold.durable`).

After a ``full``, every entry over the same link is refused, too, until the sender can know of it:
else later entries would overtake the one that it will send again. A ping goes with the refusal, and
an entry that comes before its pong was sent before.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from barker.delivery.poison import Suspects
from barker.disk.nojournal import AnyJournal
from barker.links.link import Link
from barker.manifold.durable import Durable
from barker.manifold.share import Ours
from barker.process.service import Service
from barker.wire import messages, protocol
from barker.wire.fields import addresses_in
from barker.wire.ops import Put, Refuse
from barker.wire.protocol import FULL, MOVED, BadMessage

# Entries in one record of the journal: they share its cost, and all are lost if it is damaged. A
# line with more is taken in several batches.
RECORD_CHUNK = 128

BEHIND_FULL = BadMessage(FULL, "something before it was refused as full")
ANOTHERS = BadMessage(MOVED, "another one's share of the ring")

# The type of a checked batch, and of one that is ready for the journal.
Checked = TypeVar("Checked")
Kept = TypeVar("Kept")
# Refused entries: the place of each, and the reason.
Faults = Sequence[tuple[int, BadMessage]]


def all_of(put: Put) -> Ours:
    """For a service whose instances have no shares."""
    return Ours(put, None, {}, [])


class Intake(Generic[Checked, Kept]):
    """The handling of puts in one service."""

    def __init__(
        self,
        service: Service,
        check: Callable[[Put], tuple[Checked | None, Faults]],
        record: Callable[[Checked, int], tuple[Sequence[bytes], Kept]],
        apply: Callable[[Kept, int], None],
        ours: Callable[[Put], Ours] = all_of,
        *,
        in_order: bool = True,
    ) -> None:
        """`check` returns the entries of a put to keep, if there are any, and those to refuse.

        Known entries are neither: they are acked again. `record` returns the lines for a segment of
        the journal, and the argument for `apply`, which is called when that segment has them.
        `ours` returns the entries for this instance. `in_order`: no entry may overtake one that was
        refused as ``full``.
        """
        self._service = service
        self._in_order = in_order
        self._check = check
        self._record = record
        self._apply = apply
        self._ours = ours
        self.durable = Durable(service)
        self._full: dict[Link, int] = {}  # pongs to come until its peer knows of a full
        self._suspects = Suspects()

    def open(self, journal: AnyJournal) -> None:
        """Keep batches there from now on."""
        self.durable.journal = journal

    @property
    def journal(self) -> AnyJournal:
        """The journal that keeps batches."""
        return self.durable.journal

    def link_down(self, link: Link) -> None:
        """A link is closed."""
        self._full.pop(link, None)

    def illness(self, *, is_out: bool) -> str:
        """Why no entry can be kept now; "" if it can. `is_out`: no puts come to us, so try it."""
        if self.journal.trouble and is_out:
            self.journal.has_room()
        return f"nothing can be kept: {self.journal.trouble}" if self.journal.trouble else ""

    # --- puts ---

    def take(self, link: Link, put: Put) -> None:
        """Check a line's entries, keep them, apply them."""
        link.count_puts(put.seq, len(put.bodies))
        if put.trace:
            self._service.note_traces(put.trace)
        if len(put.bodies) <= RECORD_CHUNK:
            self._take(link, put)
        else:
            for first in range(0, len(put.bodies), RECORD_CHUNK):
                if self._service.failed:
                    break
                places = range(first, min(first + RECORD_CHUNK, len(put.bodies)))
                self._take(link, put.select(places)._replace(seq=put.seq + first))
        if self.durable.is_all:
            link.commit(link.received)
        else:
            self.durable.then(functools.partial(self._commit, link, link.received))

    def _commit(self, link: Link, seq: int) -> None:
        """All entries up to that number are on the disk now, or were refused."""
        if not link.closed:
            link.commit(seq)
            self._service.batch_end(link)

    def _take(self, link: Link, put: Put) -> None:
        if self._in_order and self._full and self._is_full(link):
            self._refuse_all(link, put, dict.fromkeys(range(len(put.bodies)), BEHIND_FULL), {})
            return
        ours = self._ours(put)
        refused = dict(ours.faults)
        if ours.put is not None and (faults := self._take_ours(ours.put)):
            places = range(len(put.bodies)) if ours.places is None else ours.places
            refused.update((places[i], fault) for i, fault in faults)
        if refused or ours.moved:
            self._refuse_all(link, put, refused, ours.moved)

    def _take_ours(self, put: Put) -> Faults:
        """Check, keep and apply; returns the refusals."""
        checked, faults = self._checked(put)
        if checked is None:
            return faults
        trouble = self.keep(checked)
        if trouble is None:
            return faults
        # All of it: a repetition of an entry in this batch must not be acked before it is kept.
        reason = f"the journal can't be written: {trouble.strerror or trouble}"
        full = dict.fromkeys(range(len(put.bodies)), BadMessage(FULL, reason))
        return list({**full, **dict(faults)}.items())

    def keep(self, checked: Checked) -> OSError | None:
        """Write a batch to the journal, and apply it; or why the journal doesn't have it."""
        try:
            segment = self.journal.rotate_if_full()
            lines, kept = self._record(checked, segment)
            self.journal.append(lines)
        except OSError as fault:
            return fault
        try:
            self._apply(kept, segment)
        except Exception:
            self._service.fail("the journal has a batch that could not be applied")
        return None

    def _checked(self, put: Put) -> tuple[Checked | None, Faults]:
        """`check` of all entries but those that have ended several links before."""
        faults: list[tuple[int, BadMessage]] = []
        places: Sequence[int] = range(len(put.bodies))
        if self._suspects:
            for place, body in enumerate(put.bodies):
                try:
                    self._suspects.check(body)
                except BadMessage as fault:
                    faults.append((place, fault))
            if faults:
                places = [i for i in places if i not in dict(faults)]
                if not places:
                    return None, faults
                put = put.select(places)
        try:
            checked, more = self._check(put)
        except Exception:
            self._blame(put)
            raise
        if not faults:
            return checked, more
        return checked, [*faults, *((places[i], fault) for i, fault in more)]

    def _blame(self, put: Put) -> None:
        """Find the entry at which `check` raises an unforeseen exception: it changes nothing."""
        for place, body in enumerate(put.bodies):
            try:
                self._check(put.select([place]))
            except Exception as fault:
                self._suspects.blame(body, fault)

    # --- refusals ---

    def _is_full(self, link: Link) -> bool:
        """Was an entry of this link refused as full, and may its peer not know it yet?"""
        if link in self._full and link.pongs >= self._full[link]:
            del self._full[link]
        return link in self._full

    def _refuse_all(
        self, link: Link, put: Put, refused: dict[int, BadMessage], moved: dict[int, list[str]]
    ) -> None:
        """An entry can be refused only once; so one fault counts for all its addresses."""
        entries = put.entries()
        addresses: Sequence[str]
        for place in sorted({*refused, *moved}):
            if place in refused or link in self._full:
                fault, addresses = refused.get(place, BEHIND_FULL), addresses_in(entries[place])
            else:
                fault, addresses = ANOTHERS, moved[place]
            self._refuse(link, Refuse(put.seq + place, fault.code, fault.reason, addresses))

    def _refuse(self, link: Link, refusal: Refuse) -> None:
        link.send(messages.encode(refusal))
        if refusal.code == protocol.FULL and link not in self._full:
            link.ping()
            self._full[link] = link.pings
