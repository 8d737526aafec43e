"""Losses: what a power cut, a damaged disk, or an old copy of a journal takes by its own doing.

That is forgiven, and nothing else: what was acked afterwards has to come, and nothing may be shown
twice, whatever was put back. A start has to report a damage that it can know of, and no other
(`tests.simulation.disk`).

* An outbox that is put back has lost what it took after the copy and had not handed on.
* An inbox has lost what it took after the copy, if no other inbox has it. A reader that had been
  shown it does not miss it; a new one does.
* A followers service has lost the words that came after the copy, if no other one has heard them.

A copy that is used by another instance takes nothing.
"""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from barker.followers import Followers
from barker.inbox import Inbox
from barker.outbox import Outbox
from tests.simulation.disk import Disk
from tests.simulation.settings import Shown

if TYPE_CHECKING:
    from tests.simulation.engine import Simulation

Held = tuple[str, str, int]  # (id, reader, 0), or (user, whom, word)


class Backup(NamedTuple):
    disk: Disk
    held: set[Held]
    lines: list[bytes]


class Losses:
    def __init__(self, world: "Simulation") -> None:
        self.world = world
        self.backups: dict[str, Backup] = {}
        self.ids: set[str] = set()  # lost to all, perhaps
        self.unshown: set[tuple[str, str]] = set()  # (id, reader): lost before it was shown
        self.unkept: set[tuple[str, str]] = set()  # (id, reader): lost from the timelines

    def blackout(self, disk: Disk, records: int) -> None:
        for _ in range(records):
            line = disk.take_last()
            if line:
                self.ids |= {s.id for s in self.world.said if _says(line, s.id)}

    def damage(self, disk: Disk, nth: int, records: int) -> None:
        for line in disk.lose(nth, records):
            self.ids |= {s.id for s in self.world.said if _says(line, s.id)}

    def backup(self, name: str) -> None:
        disk = self.world.disks[name]
        copy = Disk(self.world.folder / "backups" / name)
        disk.copy_to(copy.folder)
        self.backups[name] = Backup(copy, self.held_by(name), copy.lines)

    def copy(self, name: str, to: str) -> None:
        self.backups[name].disk.copy_to(self.world.disk_of(to).folder)

    def restore(self, name: str) -> None:
        backup, node = self.backups[name], self.world.parties[name].node
        if isinstance(node, Outbox):
            self.lose_queue(name, backup)
        else:
            self.world.social.names_restored |= isinstance(node, Followers)
            lost = self.held_by(name) - backup.held
            for other, party in self.world.parties.items():
                if other != name and type(party.node) is type(node):
                    lost -= self.held_by(other)
            for one, two, _ in lost:
                if isinstance(node, Inbox):
                    self.lose(one, two)
                else:
                    self.world.social.forgiven.add((one, two))
        backup.disk.copy_to(self.world.disks[name].folder)

    def lose_queue(self, name: str, backup: Backup) -> None:
        """What waited in an outbox, and is not in its backup."""
        inboxes = [n for n, p in self.world.parties.items() if isinstance(p.node, Inbox)]
        held = set().union(*map(self.held_by, inboxes))
        for body in self.world.waiting(name):
            fields = json.loads(body)
            if any(_says(line, fields["id"]) for line in backup.lines):
                continue
            if "kind" in fields:
                self.world.social.forgiven.add((fields["user"], fields.get("whom", "")))
                continue
            for reader in self.world.everybody:
                if (fields["id"], reader, 0) not in held:
                    self.lose(fields["id"], reader)

    def lose(self, id_: str, reader: str) -> None:
        self.unkept.add((id_, reader))
        if not _has(self.world.shown.get(reader, []), id_):
            self.unshown.add((id_, reader))

    def held_by(self, name: str) -> set[Held]:
        """What a process has in memory, or had when it died: then that is what its disk has."""
        node: Any = self.world.parties[name].node
        if isinstance(node, Inbox):
            return {
                (json.loads(entry.body)["id"], address.partition("/")[2], 0)
                for address, timeline in node._store.timelines.items()
                for entry in timeline.entries
            }
        if isinstance(node, Followers):
            words = node.graph._words
            edges = {(u, whom, word) for u, about in words.items() for whom, word in about.items()}
            return edges | {(user, "", 0) for user in words}
        return set()


def _has(shown: list[Shown], id_: str) -> bool:
    return any(seen == id_ for _, seen, _, _ in shown)


def _says(record: bytes, id_: str) -> bool:
    """Is this body in that record, by itself or within a whole timeline (with quotes escaped)?"""
    return b'"%b"' % id_.encode() in record.replace(b"\\", b"")
