"""With --fsync: an ack waits for the disk, and nothing else does."""

import os
import threading
from collections.abc import Callable
from typing import Any
from unittest import mock

from barker.disk.deadletters import DeadLetters, Letter
from barker.disk.syncing import Syncing
from barker.inbox import Inbox
from barker.manifold import parking
from barker.manifold.parking import Parking
from barker.outbox import Outbox
from barker.wire.bodies import FOLLOW
from tests.tools.fleet import DEADLINE_S, until
from tests.tools.wireclient import Wire, WireTest, bark, put
from tests.unit.test_followers import FollowersTest, event

FAULT = OSError(5, "Input/output error")


class SlowDisk:
    """Takes its time until it is `free`; then it may have a fault."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.fault: OSError | None = None
        self.asked = 0

    def fsync(self, file: int) -> None:
        os.fstat(file)
        self.asked += 1
        self.free.wait(DEADLINE_S)
        if self.fault:
            raise self.fault


class DurableTest(WireTest):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.disk = SlowDisk()
        self.enterContext(mock.patch.object(os, "fsync", self.disk.fsync))
        self.addCleanup(self.disk.free.set)

    async def filled(self) -> tuple[Inbox, Wire]:
        """An inbox that has kept one bark, which is on its way to the disk."""
        inbox = await self.serve(Inbox, "--fsync")
        peer = await self.open(inbox.port)
        peer.send(put(1, ["inbox/ark3"], bark("ark3", "1")))
        self.assertEqual(await peer.before_pong(), [])
        await until(lambda: self.disk.asked == 1, "the disk is asked")
        return inbox, peer

    async def test_the_ack_waits_and_the_loop_does_not(self) -> None:
        inbox, peer = await self.filled()
        reader = await self.open(inbox.port)
        reader.send({"op": "subscribe", "address": "inbox/ark3"})
        await reader.expect("subscribed")
        self.disk.free.set()
        await peer.expect("ack", seq=1)

    async def test_what_comes_meanwhile_is_synced_at_once(self) -> None:
        _, peer = await self.filled()
        for n in range(2, 52):
            peer.send(put(n, ["inbox/ark3"], bark("ark3", str(n))))
            self.assertEqual(await peer.before_pong(), [])
        self.disk.free.set()
        await peer.up_to_ack(51)
        self.assertEqual(self.disk.asked, 2 + 1)  # the file and its folder; then the file

    async def test_what_comes_again_is_not_acked_before_it_is_there(self) -> None:
        inbox, peer = await self.filled()
        again = await self.open(inbox.port)
        again.send(put(1, ["inbox/ark3"], bark("ark3", "1")))
        self.assertEqual(await again.before_pong(), [])
        self.disk.free.set()
        await again.expect("ack", seq=1)
        await peer.expect("ack", seq=1)

    async def test_a_fault_of_the_disk_ends_the_process_and_nothing_is_acked(self) -> None:
        inbox, peer = await self.filled()
        self.disk.fault = FAULT
        with self.assertLogs("barker.process.node", "CRITICAL"):
            self.disk.free.set()
            self.assertEqual(await peer.rest(), [])
        self.assertEqual((inbox.exit_status, inbox.failed), (1, True))
        inbox.exit_status = 0  # as this test wants it

    async def test_a_stop_waits_for_the_disk_and_then_acks(self) -> None:
        inbox, peer = await self.filled()
        inbox.stop()
        await until(lambda: inbox._intake.durable._waiting, "it stops")
        self.disk.free.set()
        self.assertEqual([(m["op"], m["seq"]) for m in await peer.rest()], [("ack", 1)])

    async def test_a_link_that_has_gone_meanwhile_is_no_fault(self) -> None:
        inbox, peer = await self.filled()
        peer.abort()
        await until(lambda: not inbox.links, "its link is down")
        other = await self.open(inbox.port)
        other.send(put(1, ["inbox/ark3"], bark("ark3", "2")))
        self.assertEqual(await other.before_pong(), [])
        self.disk.free.set()
        await other.expect("ack", seq=1)

    async def test_an_outbox_hands_on_meanwhile(self) -> None:
        outbox = await self.serve(Outbox, "--fsync")
        peer = await self.open(outbox.port)
        peer.send(put(1, ["outbox/ark3"], bark("ark3", "1")))
        self.assertEqual(await peer.before_pong(), [])
        self.assertEqual(len(outbox._barks), 1)
        self.disk.free.set()
        await peer.expect("ack", seq=1)

    async def test_a_segment_is_deleted_after_what_says_so(self) -> None:
        inbox, peer = await self.filled()
        journal = inbox._intake.journal
        first = journal.folder / "000000000001.log"  # type: ignore[union-attr]
        journal._rotate()  # type: ignore[union-attr]
        journal.drop(1)
        self.assertTrue(first.exists())
        peer.send(put(2, ["inbox/ark3"], bark("ark3", "2")))
        self.disk.free.set()
        await peer.up_to_ack(2)
        self.assertFalse(first.exists())


class FollowersDurableTest(FollowersTest):
    async def test_an_event_waits_for_the_disk_of_each_replica(self) -> None:
        first = await self.followers("--name", "f1", "--fsync")
        second = await self.followers("--name", "f2", "--fsync")
        await self.registered(2)
        await until(lambda: "f2" in first._publisher.replicas, "they replicate each other")
        for number, slow in enumerate((first, second)):
            with self.subTest(slow.name):
                disk, syncing = SlowDisk(), slow._intake.journal._syncing  # type: ignore[union-attr]
                with mock.patch.object(syncing, "_sync", self.slow(syncing, disk)):
                    outbox = await self.open(first.port, f"outbox-{number}")
                    outbox.send(event(1, FOLLOW, "ann", f"x{number}"))
                    await until(lambda disk=disk: disk.asked, "the disk is asked")  # type: ignore[misc]
                    self.assertEqual(await outbox.before_pong(), [])
                    disk.free.set()
                    await outbox.expect("ack", seq=1)

    def slow(self, syncing: Syncing, disk: SlowDisk) -> Callable[..., None]:
        real = syncing._sync

        def sync(*noted: Any) -> None:
            disk.fsync(1)
            real(*noted)

        self.addCleanup(disk.free.set)
        return sync


class LetterTest(WireTest):
    async def test_a_dead_letter_is_settled_when_the_disk_has_it(self) -> None:
        self.patch(parking, "PARK_AGAIN_S", 0.01)
        disk = SlowDisk()
        disk.fault = FAULT
        self.addCleanup(disk.free.set)
        node = await self.serve(Inbox, "--fsync")
        parks = Parking(node)
        parks.open(DeadLetters(self.folder / "letters.jsonl"))
        parked = threading.Event()
        letter = Letter(b'{"id":"a","user":"ann"}', ["bizlogic"], "failed", "no")
        with self.assertLogs("barker", "ERROR"), mock.patch.object(os, "fsync", disk.fsync):
            parks.park(letter, parked.set)
            await until(lambda: disk.asked == 1, "the disk is asked")
            self.assertFalse(parked.is_set())
            disk.free.set()
            await until(lambda: disk.asked > 2, "it is tried again after a fault")
            self.assertFalse(parked.is_set())
            disk.fault = None
            await until(parked.is_set, "it is settled")
        self.assertEqual(len((self.folder / "letters.jsonl").read_bytes().splitlines()), 1)
