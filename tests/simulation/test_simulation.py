"""Acked is kept, shown once, in order: by simulations (`tests.simulation`), a few of each setting.

More of them: BARKER_SLOW=1, or `python -m tests.simulation`.
"""

import random
import unittest
from collections import deque
from typing import Any
from unittest import mock

from barker.delivery.batches import Batch
from barker.delivery.duplicates import Duplicates
from barker.delivery.window import Window
from barker.streams.cursor import Cursor
from barker.streams.stream import Stream
from barker.wire.ops import Item, Put
from tests.simulation.runs import run, shrink, small_world, story
from tests.simulation.settings import SETTINGS, Event
from tests.simulation.stories import STORIES, parsed
from tests.tools.fleet import SLOW


class SimulationTest(unittest.TestCase):
    """Acked is kept, shown once, in order; and everything comes to rest."""

    RUNS = 40 if SLOW else 2
    STEPS = 150

    def assertAllGood(self, name: str, runs: int = RUNS) -> None:
        setting = SETTINGS[name]
        with small_world() as state:
            for seed in range(runs):
                outcome = run(setting, state, random.Random(seed), self.STEPS)
                if outcome.failure:
                    self.fail(story(name, seed, shrink(setting, state, outcome)))

    def test_nothing_is_lost_late_or_twice_whatever_becomes_of_links_and_bizlogics(self) -> None:
        self.assertAllGood("calm")

    def test_an_only_owner_keeps_the_order_however_often_it_dies(self) -> None:
        self.assertAllGood("alone")

    def test_nothing_is_lost_or_twice_whatever_becomes_of_the_rings(self) -> None:
        self.assertAllGood("rings")

    def test_nothing_is_lost_or_twice_when_disks_fill_up(self) -> None:
        self.assertAllGood("disks")

    def test_promise_3_what_a_full_disk_refuses_comes_in_its_order_all_the_same(self) -> None:
        self.assertAllGood("full")

    def test_nothing_else_is_lost_with_what_a_power_cut_takes(self) -> None:
        self.assertAllGood("power")

    def test_a_damaged_journal_takes_nothing_but_what_was_there_and_says_so(self) -> None:
        self.assertAllGood("damage")

    def test_nothing_is_lost_when_many_events_pass_a_bark_that_waits(self) -> None:
        self.assertAllGood("counters")

    def test_every_graph_is_what_was_acked_and_barks_go_by_it(self) -> None:
        self.assertAllGood("events")
        self.assertAllGood("replicas")

    def test_promise_4_the_directory_may_come_back_knowing_nothing(self) -> None:
        self.assertAllGood("directory")

    def test_an_old_copy_of_a_journal_takes_nothing_but_what_it_lacks(self) -> None:
        self.assertAllGood("restored")
        self.assertAllGood("backups")
        self.assertAllGood("graphs")

    def test_promise_1_an_exception_at_any_step_loses_nothing_that_was_acked(self) -> None:
        self.assertAllGood("faults")

    def test_a_bark_that_bizlogic_can_not_bear_is_a_dead_letter_and_nothing_waits(self) -> None:
        self.assertAllGood("poison")

    def test_a_body_is_refused_or_arrives_with_its_meaning_whoever_has_encoded_it(self) -> None:
        self.assertAllGood("odd")

    def test_promises_1_and_2_hold_when_all_of_it_happens(self) -> None:
        self.assertAllGood("all")

    def test_what_failed_once_does_not_fail_again(self) -> None:
        for name, events in STORIES.items():
            with self.subTest(name), small_world() as state:
                outcome = run(SETTINGS[name.partition(":")[0]], state, events=parsed(events))
                self.assertEqual(outcome.failure, "")

    def test_a_run_can_be_played_again_and_is_the_same(self) -> None:
        with small_world() as state:
            first = run(SETTINGS["rings"], state, random.Random(1), 100)
            again = run(SETTINGS["rings"], state, events=first.events)
            self.assertEqual(again, first)
            self.assertEqual(parsed(";".join(map(_words, first.events))), first.events)

    def test_a_failure_is_shrunk_to_what_it_takes(self) -> None:
        with small_world() as state, mock.patch.multiple(Duplicates, **_FORGETFUL):
            outcomes = (
                run(SETTINGS["alone"], state, random.Random(seed), self.STEPS) for seed in range(20)
            )
            outcome = next(o for o in outcomes if o.failure.startswith("twice"))
            shrunk = shrink(SETTINGS["alone"], state, outcome)
            self.assertIn("twice", shrunk.failure)
            self.assertLess(len(shrunk.events), 20)
            self.assertIn("say", story("alone", 0, shrunk))


def _words(event: Event) -> str:
    return " ".join(map(str, event))


# Nothing is known again.
_FORGETFUL: Any = {
    "fresh": lambda self, key, origin, n, addresses: (addresses, False),
    "are_new": lambda self, keys, origin, numbers: True,
}


class Hop:
    """One hop alone, without anything around it: a window, two relays, duplicates, a cursor.

    The sender's link breaks as it likes, and whatever the relays held then may come at any time
    later, as from a process that was frozen. A reader's link breaks, too.
    """

    LIMIT = 5

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.window: Window[int] = Window(self.LIMIT)
        self.said = 0
        self.sent: deque[tuple[int, int]] = deque()  # on the living link: number, counter
        self.held: list[deque[tuple[int, int]]] = []  # by relays whose links have broken
        self.duplicates = Duplicates(window=2 * self.LIMIT, min_keys=10_000)
        self.stream: Stream[int] = Stream(10_000)
        self.cursor = Cursor(0, 3)
        self.coming: deque[tuple[int, int]] = deque()  # to the reader: serial, counter
        self.place = 0
        self.shown: list[int] = []
        self.late = 0

    def step(self) -> None:
        match self.dice.randrange(12):
            case 0 | 1 | 2:
                numbers = range(self.said + 1, self.said + 1 + self.dice.choice((1, 1, 2, 4)))
                self.said = numbers[-1]
                put = Put.of(0, ["x"], [Item(b"{}")] * len(numbers))
                self.window.add(Batch.of(put, numbers))
            case 3 | 4:
                self.send()
            case 5 | 6 if self.sent:
                self.receive(self.sent, answers=True)
            case 7:  # another link; the old one is with a relay that still has some of it
                for _ in range(self.dice.randint(0, 3)):
                    self.sent and self.sent.pop()
                self.held.append(self.sent)
                self.sent = deque()
                self.window.rewind()
            case 8 if self.held:
                self.receive(self.dice.choice(self.held), answers=False)
            case 9 | 10:
                self.read()
            case 11:
                self.coming.clear()
                self.cursor = Cursor.start(
                    self.stream,
                    same_epoch=True,
                    new_reader=False,
                    after=self.place,
                    history=0,
                    window=3,
                )

    def send(self) -> None:
        for seq, batch in self.window.send(3):
            self.sent += enumerate(batch.jobs, seq)

    def receive(self, link: deque[tuple[int, int]], answers: bool) -> None:
        seq = 0
        for _ in range(min(len(link), self.dice.randint(1, 4))):
            seq, n = link.popleft()
            of = (("ann", str(n)), "origin", n)
            fresh, late = self.duplicates.fresh(*of, ["inbox/bob"])
            self.late += bool(fresh) and late
            if fresh:
                self.duplicates.add(*of, fresh)
                self.stream.append(n)
        if answers and seq and self.dice.random() < 0.8:
            self.window.ack(seq)

    def read(self) -> None:
        _, serial, entries = self.cursor.take(self.stream)
        self.coming += enumerate(entries, serial)
        for _ in range(min(len(self.coming), self.dice.randint(0, 3))):
            self.place, n = self.coming.popleft()
            self.shown.append(n)
            self.cursor.ack(self.place)

    def finish(self) -> None:
        for _ in range(2 * self.said + 20):
            self.send()
            while self.sent:
                self.receive(self.sent, answers=True)
            for link in self.held:
                while link:
                    self.receive(link, answers=False)
            if len(self.window):
                self.window.rewind()  # an ack was lost
            self.read()


class HopTest(unittest.TestCase):
    RUNS = 8000 if SLOW else 1000

    def test_each_is_shown_once_and_in_order_however_links_break(self) -> None:
        for seed in range(self.RUNS):
            hop = Hop(random.Random(seed))
            for _ in range(60):
                hop.step()
            hop.finish()
            everything = list(range(1, hop.said + 1))
            if (len(hop.window), hop.shown, hop.late) != (0, everything, 0):
                self.fail(f"seed {seed}: {hop.shown} instead of 1 to {hop.said}; {hop.late} late")
