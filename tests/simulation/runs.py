"""Runs: the small world, runs by seed or by a list of events, and how they are shrunk."""

import contextlib
import functools
import json
import logging
import os
import pathlib
import random
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from unittest import mock

from barker import followers, inbox, outbox
from barker.bizlogic import Recipients
from barker.client import reader
from barker.delivery import acks, batches, lanes, placing
from barker.delivery.duplicates import Duplicates
from barker.disk import files, journal, keys
from barker.disk.users import World
from barker.manifold import (
    cleaning,
    handover,
    intake,
    owed,
    readers,
    reception,
    retained,
    store,
)
from barker.process import health, peers, slices
from barker.process.node import Node
from barker.process.service import Service
from barker.routing import routes
from barker.routing.ring import Ring
from barker.wire import protocol
from tests.simulation import client
from tests.simulation.dice import choose
from tests.simulation.disk import EPOCHS, FILES
from tests.simulation.engine import Simulation
from tests.simulation.judging import finish
from tests.simulation.links import SimDialer, Unforeseen, note_borne
from tests.simulation.settings import (
    FOLLOWS,
    HANDFUL,
    KEPT_BYTES,
    POISON,
    READER_WINDOW,
    REMEMBERED,
    WINDOW,
    Event,
    Failure,
    Setting,
)


@contextlib.contextmanager
def small_world(kind: Callable[..., Any] = Duplicates) -> Iterator[pathlib.Path]:
    """Limits that are met within a run; and nothing real: no dialer, no clock, no file.

    `kind` is the class that recognises duplicates.
    """
    with contextlib.ExitStack() as stack:

        def patch(where: object, name: str, value: object) -> None:
            stack.enter_context(mock.patch.object(where, name, value))

        state = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (state / "users.json").write_text(json.dumps(FOLLOWS))
        duplicates = functools.partial(kind, window=2 * WINDOW)
        patch(protocol, "UNACKED_WINDOW", WINDOW)
        patch(acks, "AT_ONCE", WINDOW // 2)
        patch(reception, "Duplicates", duplicates)
        patch(reader, "WINDOW", READER_WINDOW)
        patch(lanes, "SEND_CHUNK", HANDFUL)
        patch(batches, "MAX_BATCH", HANDFUL)
        patch(intake, "RECORD_CHUNK", HANDFUL)
        for kept in (inbox, outbox):
            patch(kept, "KEPT_BYTES", KEPT_BYTES)
        patch(followers, "ROOM_BYTES", KEPT_BYTES)
        patch(cleaning, "JOURNAL_FACTOR", 0)  # all is written anew, again and again
        patch(cleaning, "WORK_AT_ONCE", HANDFUL)
        for copied in (owed, retained):
            patch(copied, "COPIED_AT_ONCE", HANDFUL)
        patch(retained, "LOOKED_AT_ONCE", HANDFUL)
        patch(readers, "HANDFUL", HANDFUL)
        patch(placing, "REMEMBERED_ADDRESSES", REMEMBERED)
        patch(store, "REMEMBERED_ADDRESSES", REMEMBERED)
        patch(lanes, "_source", client.source)
        patch(Recipients, "of", _poisoned)
        patch(slices, "SLICE_S", 0.0)
        patch(health, "SPREAD_HEARTBEATS", 0.0)  # no other dice than ours
        patch(placing, "PLACED_AT_ONCE_CHARS", 4 * len("inbox/ann "))
        patch(placing, "KNOWN_AT_ONCE_CHARS", 8 * len("inbox/ann "))
        patch(placing, "ADDRESSES_AT_ONCE", 2)
        patch(placing, "FIRST_AT_ONCE", 2)
        patch(handover, "HANDED_OVER_AT_ONCE", 4)
        patch(peers, "Dialer", SimDialer)
        patch(routes, "Ring", lambda names: _ring(tuple(names)))
        patch(Node, "now", staticmethod(lambda: 0.0))
        patch(Service, "stopping", _nothing)
        patch(Node, "has_directory", property(_has_directory))
        patch(journal, "secrets", EPOCHS)
        patch(journal, "os", FILES)
        patch(os, "fsync", lambda descriptor: None)
        world, secret = World(FOLLOWS), b"x" * 64
        patch(files, "world", lambda state: world)
        patch(keys, "secret", lambda *_: secret)
        patch(keys, "clients_key", lambda *_: secret)
        for level in ("exception", "critical"):
            patch(logging.Logger, level, note_borne)
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        yield state


def _poisoned(self: Recipients, author: str, named: str = "") -> str:
    if POISON in named.split(" "):
        raise Unforeseen(POISON)
    return _of(self, author, named)


_of = Recipients.of


def _has_directory(node: Any) -> bool:
    there: bool = node.party.world.directory_is_there
    return there


async def _nothing(self: Service) -> None:
    pass


@functools.lru_cache
def _ring(names: tuple[str, ...]) -> Ring:
    return Ring(names, 32)


class Outcome(NamedTuple):
    events: list[Event]
    failure: str


def run(
    setting: Setting,
    state: pathlib.Path,
    dice: random.Random | None = None,
    steps: int = 0,
    events: Sequence[Event] = (),
) -> Outcome:
    """By dice or by a list of events; the failure is empty if there is none."""
    done: list[Event] = []
    simulation = None
    try:
        simulation = Simulation(setting, state)
        for _ in range(steps) if dice else ():
            assert dice
            done.append(choose(simulation, dice))
            simulation.play(done[-1])
        for event in events:
            done.append(event)
            simulation.play(event)
        finish(simulation)
    except Failure as failure:
        return Outcome(done, str(failure))
    except Exception as failure:
        where = traceback.extract_tb(failure.__traceback__)[-1]
        return Outcome(done, f"{type(failure).__name__}: {failure} ({where.name})")
    finally:
        if simulation:
            simulation.end()
    return Outcome(done, "")


def shrink(setting: Setting, state: pathlib.Path, outcome: Outcome) -> Outcome:
    """Leave out what it does not take: halves, quarters, ... single events, until nothing gives."""
    kind = outcome.failure.partition(":")[0]
    size = len(outcome.events) // 2
    while size:
        at, shorter = 0, False
        while at < len(outcome.events):
            less = outcome.events[:at] + outcome.events[at + size :]
            again = run(setting, state, events=less)
            if again.failure.partition(":")[0] == kind:
                outcome, shorter = again, True
            else:
                at += size
        size = size if shorter and size == 1 else size // 2
    return outcome


def story(setting: str, seed: int, outcome: Outcome) -> str:
    lines = [f"{setting}, seed {seed}: {outcome.failure}"]
    lines += [f"    {action:<8} {' '.join(map(str, more))}" for action, *more in outcome.events]
    return "\n".join([*lines, "    and then everybody comes back and all is delivered"])
