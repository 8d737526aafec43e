"""NoJournal: what a service has that keeps nothing, with the methods of a journal and no file."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

from barker.disk.journal import Journal


class NoJournal:
    damages = size = room = current = 0
    undone = True
    trouble = ""
    is_synced = True
    fsync = False

    def __init__(self) -> None:
        self.epoch = secrets.token_hex(8)
        self.segments: dict[int, int] = {}

    def recover(self) -> Iterator[tuple[int, bytes]]:
        return iter(())

    def report_damage(self) -> None:
        pass

    def begin(self, header: Callable[[], dict[str, Any]]) -> None:
        pass

    def rotate_if_full(self) -> int:
        return 0

    def append(self, lines: Sequence[bytes]) -> int:
        return 0

    copy = append

    def has_room(self) -> bool:
        return True

    def read(self, number: int) -> Iterator[bytes | None]:
        return iter(())

    def sync(self) -> "Future[None]":
        return Future()

    def sync_from(self, number: int) -> "Future[None]":
        return Future()

    def drop(self, number: int) -> None:
        pass

    def close(self) -> None:
        pass


AnyJournal = Journal | NoJournal
