"""Durable: what is done when that which was written is on the disk, as `--fsync` has it.

Acks are: of batches, and of what one replica of followers has of another. The loop goes on
meanwhile, and so what was written may be handed on before it is on the disk; it is not acked. If
the disk has a fault, what it has is not known any more: the process ends, and the next start reads
it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future

from barker.disk.nojournal import AnyJournal, NoJournal
from barker.process.faults import contained
from barker.process.service import Service

Work = Callable[[], None]


class Durable:
    """Of one service and its journal."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.journal: AnyJournal = NoJournal()
        self._waiting: list[Work] = []  # for the next sync
        self._syncing: Future[None] | None = None

    @property
    def is_all(self) -> bool:
        """Is all that was written on the disk, or need not be?"""
        return not self.journal.fsync or (self.journal.is_synced and self._syncing is None)

    def then(self, work: Work) -> None:
        """Call `work` when all that is written by now is on the disk: at once, if it is."""
        if self.is_all:
            work()
            return
        self._waiting.append(work)
        if self._syncing is None:
            self._sync()

    def _sync(self) -> None:
        works, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()

        def done(syncing: "Future[None]") -> None:  # called by the thread
            with contextlib.suppress(RuntimeError):  # the loop is closed: this came too late
                loop.call_soon_threadsafe(self._synced, works, syncing)

        self._syncing = self.journal.sync()
        self._syncing.add_done_callback(done)

    def _synced(self, works: list[Work], done: "Future[None]") -> None:
        self._syncing = None
        try:
            done.result()
        except OSError as fault:
            self._service.fail(f"the disk may not have what was written ({fault.strerror})")
            return
        for work in works:
            with contained(work):
                work()
        if self._waiting:
            self._sync()

    async def close(self) -> None:
        """What waits for the disk is done; the journal is closed."""
        if not self.is_all and not self._service.failed:
            done = asyncio.Event()
            self.then(done.set)
            await done.wait()
        self.journal.close()
