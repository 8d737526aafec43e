"""The monitor: no wrong numbers, no missed events, and the same picture for everybody."""

import pathlib
import random
import re
import unittest
from typing import Any

from barker.disk import files
from barker.routing import routes
from barker.routing.routes import CONSISTENT, ORDERED, RouteTable, Target
from barker.wire import protocol, strictjson
from monitoring import picture
from monitoring.picture import (
    KINDS,
    MAX_CHARS,
    MAX_EVENTS,
    MAX_SERVICES,
    REMEMBER_MS,
    BadSample,
    Picture,
    letters_file,
    without_details,
)
from monitoring.rates import MAX_SAMPLES, Meter, Run
from monitoring.table import WIDTH, table
from monitoring.traces import FRESH_MS, MAX_TRACES_IN_FRAME, MAX_TRACES_IN_SAMPLE

OLD = Run(pid=1, since_ms=0)
NOW = 1_000_000


class MeterTest(unittest.TestCase):
    def feed(self, meter: Meter, run: Run, *samples: tuple[int, float]) -> list[float | None]:
        return [meter.add(run, at, [count])[0] for at, count in samples]

    def test_a_steady_counter_has_its_rate_from_the_second_sample_on(self) -> None:
        rates = self.feed(Meter(), OLD, *((NOW + 1000 * i, 50 * i) for i in range(30)))
        self.assertEqual(rates, [None, *([50.0] * 29)])

    def test_the_mean_slides_over_ten_seconds(self) -> None:
        meter = Meter()
        self.feed(meter, OLD, *((NOW + 1000 * i, 0) for i in range(20)))
        rates = self.feed(meter, OLD, *((NOW + 20_000 + 1000 * i, 100) for i in range(12)))
        self.assertEqual(rates, [*([10.0] * 10), 0.0, 0.0])

    def test_promise_5_samples_that_come_too_often_are_not_all_remembered(self) -> None:
        meter = Meter()
        rates = self.feed(meter, OLD, *((NOW + 11 * i, 11 * i) for i in range(5000)))
        self.assertLessEqual(len(meter._samples), MAX_SAMPLES)
        self.assertEqual({round(rate) for rate in rates if rate is not None}, {1000})

    def test_samples_that_are_early_or_late_bend_nothing(self) -> None:
        dice, meter, at = random.Random(1), Meter(), NOW
        for _ in range(200):
            at += dice.randint(600, 1400)
            rate = meter.add(OLD, at, [7 * at / 1000])[0]
            if rate is not None:
                self.assertAlmostEqual(rate, 7.0)

    def test_a_partial_second_has_no_rate(self) -> None:
        self.assertEqual(self.feed(Meter(), OLD, (NOW, 5), (NOW + 400, 6)), [None, None])

    def test_a_young_process_had_counted_nothing_before_it_was_there(self) -> None:
        run = Run(2, NOW - 300)
        rates = self.feed(Meter(), run, (NOW, 1000), (NOW + 1000, 1100), (NOW + 20_000, 3000))
        self.assertEqual(rates, [100.0, 110.0, None])

    def test_a_restart_is_no_negative_and_no_spike(self) -> None:
        meter = Meter()
        self.feed(meter, OLD, *((NOW + 1000 * i, 1_000_000 + 100 * i) for i in range(15)))
        again = NOW + 15_000
        rates = self.feed(
            meter, Run(9, again), *((again + 1000 * i, 100 * i) for i in range(1, 20))
        )
        self.assertEqual(rates[:3], [10.0, 20.0, 30.0])
        self.assertEqual(rates[9:], [100.0] * 10)

    def test_a_counter_that_falls_begins_anew_even_if_nobody_says_so(self) -> None:
        samples = (NOW, 900), (NOW + 1000, 1000), (NOW + 2000, 10), (NOW + 3000, 20)
        self.assertEqual(self.feed(Meter(), OLD, *samples), [None, 100.0, None, 10.0])

    def test_a_clock_that_is_put_back_begins_anew(self) -> None:
        samples = (NOW, 0), (NOW + 1000, 10), (NOW - 5000, 20), (NOW - 4000, 30)
        self.assertEqual(self.feed(Meter(), OLD, *samples), [None, 10.0, None, 10.0])

    def test_lost_samples_lose_nothing_and_a_long_silence_begins_anew(self) -> None:
        samples = (NOW, 0), (NOW + 6000, 60), (NOW + 20_000, 200), (NOW + 21_000, 260)
        self.assertEqual(self.feed(Meter(), OLD, *samples), [None, 10.0, None, 60.0])

    def test_whatever_happens_no_rate_is_negative_or_above_what_was_ever_done(self) -> None:
        for seed in range(50):
            dice, meter, at, count, run = random.Random(seed), Meter(), NOW, 0.0, Run(1, NOW)
            for _ in range(300):
                passed = dice.choice((900, 1000, 1000, 1000, 1100, 3000, 15_000))
                at += passed
                if dice.random() < 0.03:
                    run, count = Run(run.pid + 1, at - dice.randint(0, passed)), 0.0
                    count = dice.random() * (at - run.since_ms)  # up to 1000 a second
                else:
                    count += dice.random() * passed
                rate = meter.add(run, at, [count])[0]
                if rate is not None:
                    self.assertTrue(0 <= rate <= 1000, (seed, rate))


def sample(name: str, at: int, run: Run = OLD, **figures: Any) -> dict[str, Any]:
    role = name.rpartition("-")[0]
    base = {"at": at, "kind": role, "pid": run.pid, "since": run.since_ms}
    return {**base, "in": 0, "out": 0, "cpu_s": 0, **figures}


class PictureTest(unittest.TestCase):
    def setUp(self) -> None:
        self.routes = RouteTable()
        self.picture = Picture(self.routes)

    def route(self, service: str, policy: str, *names: str) -> None:
        targets = [Target(name, "h", 1, i) for i, name in enumerate(names)]
        self.routes.update(service, policy, targets)
        self.picture.routes_changed(NOW)

    def say(self, name: str, at: int = NOW, run: Run = OLD, **figures: Any) -> None:
        self.picture.sampled(name, sample(name, at, run, **figures), at)

    def events(self, at: int = NOW) -> list[tuple[Any, ...]]:
        return [tuple(e.values())[1:] for e in self.picture.frame(at)["events"]]

    def test_who_was_there_before_us_did_not_appear(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1")
        self.route("agent", ORDERED, "outbox-1", "outbox-2")
        self.say("outbox-2")
        self.assertEqual(self.events(), [("appeared", "outbox-2")])

    def test_gone_with_its_time_then_back_or_restarted(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1")
        self.picture.lost("outbox-1", NOW + 1)
        self.picture.lost("outbox-1", NOW + 2)
        frame = self.picture.frame(NOW + 500)
        self.assertEqual(
            frame["events"], [{"at": NOW + 1, "what": "gone", "name": "outbox-1", "how": "died"}]
        )
        self.assertEqual(frame["services"][0]["gone"], NOW + 1)
        self.assertFalse(frame["services"][0]["up"])
        self.say("outbox-1", NOW + 1000)
        self.assertEqual(self.events(), [("back", "outbox-1")])
        self.picture.lost("outbox-1", NOW + 2000)
        self.say("outbox-1", NOW + 3000, Run(2, NOW + 2500))
        self.assertEqual(self.events(), [("gone", "outbox-1", "died"), ("restarted", "outbox-1")])

    def test_how_it_went_a_goodbye_a_death_or_a_silence(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        for how, goodbye, silent in (
            ("died", False, False),
            ("silent", False, True),
            ("stopped", True, False),
            ("stopped", True, True),
        ):
            with self.subTest(how):
                self.say("outbox-1")
                self.picture.frame(NOW)
                self.say("outbox-1", stopping=goodbye)
                self.picture.lost("outbox-1", NOW + 1, silent=silent)
                frame = self.picture.frame(NOW)
                (event,), (row,) = frame["events"], frame["services"]
                self.assertEqual((event["how"], row["how"], row["gone"]), (how, how, NOW + 1))
        self.say("outbox-1")
        (row,) = self.picture.frame(NOW)["services"]
        self.assertNotIn("how", row)
        oddities: list[Any] = [None, 1, "yes", []]
        for odd in oddities:
            self.say("outbox-1", stopping=odd)
            self.picture.lost("outbox-1", NOW)
            self.assertEqual(self.picture.frame(NOW)["services"][0]["how"], "died")

    def test_all_that_happens_is_of_a_kind_that_has_a_name(self) -> None:
        self.assertEqual(
            sorted(re.findall(r"(?m)^    ([a-z-]+) ", picture.__doc__ or "")), sorted(KINDS)
        )
        source = pathlib.Path(picture.__file__).read_text(encoding="utf-8")
        said = re.findall(r"(?:_happened|Event)\(now_ms, (.*?), (?:first\.)?name", source)
        self.assertEqual(set(re.findall(r'"([a-z-]+)"', " ".join(said))), set(KINDS))

    def test_of_a_freeze_gone_comes_before_failover_whoever_notices_first(self) -> None:
        """The directory drops a frozen service, and only then does our link to it end."""
        names = "bizlogic-1", "bizlogic-2"
        for service in ("agent", "bizlogic"):
            self.route(service, ORDERED, *names)
        for name in names:
            self.say(name)
        self.route("agent", ORDERED, names[1])
        self.route("bizlogic", ORDERED, names[1])
        self.say(names[1])  # in the same turn, perhaps
        self.assertEqual(self.events(), [])
        self.picture.lost(names[0], NOW + 1, silent=True)
        self.assertEqual(
            self.events(),
            [("gone", names[0], "silent"), ("failover", names[1], names[0], "bizlogic")],
        )

    def test_our_own_frost_is_nobody_elses_news(self) -> None:
        self.route("agent", ORDERED, "outbox-1", "outbox-2")
        self.say("outbox-1")
        self.say("outbox-2")
        self.picture.blind("outbox-1", NOW)
        self.picture.blind("outbox-2", NOW)
        self.picture.lost("outbox-1", NOW + 1)
        self.say("outbox-1", NOW + 9000)
        self.say("outbox-2", NOW + 9000, Run(2, NOW + 5000))
        self.assertEqual(self.events(), [("restarted", "outbox-2")])

    def test_failover_from_the_last_who_had_the_traffic(self) -> None:
        names = "bizlogic-1", "bizlogic-2", "bizlogic-3"
        self.route("agent", ORDERED, *names[:2])
        self.route("bizlogic", ORDERED, *names[:2])
        self.say(names[0])
        self.say(names[1])
        self.assertEqual(self.picture.frame(NOW)["routes"]["bizlogic"]["first"], names[0])
        self.picture.lost(names[0], NOW)
        one_gone = ("gone", names[0], "died"), ("failover", names[1], names[0], "bizlogic")
        self.assertEqual(self.events(), list(one_gone))
        self.picture.lost(names[1], NOW)
        self.route("bizlogic", ORDERED)
        frame = self.picture.frame(NOW)
        self.assertIsNone(frame["routes"]["bizlogic"]["first"])
        self.assertEqual([e["what"] for e in frame["events"]], ["gone"])
        self.route("agent", ORDERED, names[2])
        self.route("bizlogic", ORDERED, names[2])
        self.say(names[2])
        self.assertEqual(
            self.events(), [("appeared", names[2]), ("failover", names[2], names[1], "bizlogic")]
        )

    def test_reaching_the_second_before_the_first_is_no_failover(self) -> None:
        for name in ("agent", "bizlogic"):
            self.route(name, ORDERED, "bizlogic-1", "bizlogic-2")
        self.say("bizlogic-2")
        self.assertEqual(self.picture.frame(NOW)["routes"]["bizlogic"]["first"], "bizlogic-1")
        self.say("bizlogic-1")
        self.assertEqual(self.events(), [])
        # One that doesn't answer for long, however, takes no traffic.
        self.picture.blind("bizlogic-1", NOW)
        self.picture.blind("bizlogic-2", NOW)
        self.say("bizlogic-2", NOW + 100)
        self.assertEqual(self.events(NOW + 4000), [])
        frost = ("failover", "bizlogic-2", "bizlogic-1", "bizlogic")
        self.assertEqual(self.events(NOW + 6000), [frost])

    def test_a_second_without_a_sample_has_no_figures(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1", backlog=3)
        first, second = self.picture.frame(NOW), self.picture.frame(NOW + 1000)
        self.assertEqual((first["services"][0]["backlog"], first["depth"]), (3, 3))
        self.assertNotIn("backlog", second["services"][0])
        self.assertTrue(second["services"][0]["up"])
        self.assertIsNone(second["depth"])

    def test_what_was_sent_again_is_told_once_in_the_second_in_which_it_was(self) -> None:
        self.route("agent", ORDERED, "outbox-1")

        def told(second: int, *counts: int | None, run: Run = OLD) -> Any:
            for count in counts:
                self.say("outbox-1", NOW + 1000 * second, run, again=count)
            return self.picture.frame(NOW + 1000 * second)["services"][0].get("again", "no row")

        self.assertIsNone(told(0, 70))  # since when, nobody knows
        self.assertEqual([told(1, 70), told(2, 75), told(3, 75)], [0, 5, 0])
        self.assertEqual([told(4), told(5, 79), told(6, 80, 82)], ["no row", 4, 3])
        self.assertEqual([told(7, None), told(8, 90), told(9, 91)], [None, None, 1])
        young = Run(9, NOW)
        self.assertEqual([told(10, 95, run=young), told(11, 95, run=young)], [None, 0])
        self.assertIsNone(told(12, 3, run=young))

    def test_a_new_dead_letter_is_an_event_with_its_reason(self) -> None:
        why = "ann's bark x1: it could not be processed (failed)"
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1", dead_letters=0, dead_letter=None)
        self.assertEqual(self.events(), [])
        self.say("outbox-1", NOW + 1, dead_letters=1, dead_letter=why)
        self.say("outbox-1", NOW + 2, dead_letters=1, dead_letter=why)
        self.assertEqual(
            self.picture.frame(NOW)["events"],
            [
                {
                    "at": NOW + 1,
                    "what": "dead-letter",
                    "name": "outbox-1",
                    "letters": 1,
                    "latest": why,
                }
            ],
        )
        # It keeps them through a restart, and what it has parked meanwhile is news.
        self.picture.lost("outbox-1", NOW + 3)
        young = Run(2, NOW)
        self.say("outbox-1", NOW + 4, young, dead_letters=1, dead_letter=why)
        self.assertEqual(self.events(), [("gone", "outbox-1", "died"), ("restarted", "outbox-1")])
        self.say("outbox-1", NOW + 5, young, dead_letters=3, dead_letter="another")
        self.assertEqual(self.events(), [("dead-letter", "outbox-1", 2, "another")])
        # A person has moved the file away, and the next letter is the first one again.
        self.say("outbox-1", NOW + 6, Run(3, NOW), dead_letters=0, dead_letter=None)
        self.say("outbox-1", NOW + 7, Run(3, NOW), dead_letters=1, dead_letter=None)
        self.assertEqual(self.events(), [("dead-letter", "outbox-1", 1)])

    def test_a_row_has_the_delays_of_its_second_if_there_are_any(self) -> None:
        names = ("delay_ms", "delay_max_ms", "delay_over")

        def told() -> list[Any]:
            (row,) = self.picture.frame(NOW)["services"]
            return [row.get(name) for name in names]

        self.route("agent", ORDERED, "inbox-1")
        self.say("inbox-1", delay_ms=2.5, delay_max_ms=7, delay_over=0)
        self.assertEqual([told(), told()], [[2.5, 7, 0], 3 * [None]])
        self.say("inbox-1", NOW + 1, delay_ms=None, delay_max_ms=None, delay_over=1)
        self.assertEqual(told(), [None, None, 1])
        self.say("inbox-1", NOW + 2, delay_ms="2", delay_max_ms=-1, delay_over=[])
        self.assertEqual(told(), 3 * [None])

    def test_dead_letters_stand_in_the_row_with_or_without_a_sample(self) -> None:
        def told() -> list[Any]:
            (row,) = self.picture.frame(NOW)["services"]
            return [row.get("dead_letters"), row.get("dead_letter")]

        self.route("agent", ORDERED, "outbox-1")
        self.assertEqual(told(), [None, None])
        # They were there before us: that is no event.
        self.say("outbox-1", dead_letters=2, dead_letter="an old one")
        self.assertEqual(self.events(), [])
        self.assertEqual([told(), told()], 2 * [[2, "an old one"]])
        self.picture.lost("outbox-1", NOW)
        self.assertEqual(told(), [2, "an old one"])
        self.say("outbox-1", dead_letters=0, dead_letter="none")
        self.assertEqual(told(), [0, None])
        not_numbers: list[Any] = [None, "2", -1, [], True]
        for odd in not_numbers:
            self.say("outbox-1", dead_letters=odd, dead_letter="x")
            self.assertEqual(told(), [None, None], odd)
        no_words: list[Any] = [None, 7, {}, ""]
        for odd in no_words:
            self.say("outbox-1", dead_letters=1, dead_letter=odd)
            self.assertEqual(told(), [1, None], odd)

    def test_what_a_service_waits_for_is_an_event_and_stands_in_its_row(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1")
        self.events()
        why = "its queue waits for bizlogic"
        self.say("outbox-1", NOW + 1, waits=why)
        self.say("outbox-1", NOW + 2, waits=why)
        frame = self.picture.frame(NOW + 2)
        event = {"at": NOW + 1, "what": "waits", "name": "outbox-1", "why": why}
        self.assertEqual(frame["events"], [event])
        self.assertEqual(frame["services"][0]["waits"], why)
        lines = "\n".join(table(frame))
        self.assertIn(f"outbox-1: {why}", lines)
        self.assertRegex(lines, r"outbox-1 +\d+ waits")
        self.say("outbox-1", NOW + 3, waits="another")
        self.say("outbox-1", NOW + 4)
        self.assertEqual(self.events(), [("waits", "outbox-1", "another")])
        self.assertNotIn("waits", self.picture.frame(NOW + 5)["services"][0])
        self.say("outbox-1", NOW + 6, waits=why)
        self.assertEqual(self.events(), [("waits", "outbox-1", why)])
        self.picture.lost("outbox-1", NOW + 7)
        self.assertNotIn("waits", self.picture.frame(NOW + 8)["services"][0])
        for odd in (7, None, ["x"]):
            self.say("outbox-1", NOW + 9, waits=odd)
            self.assertNotIn("waits", self.picture.frame(NOW + 9)["services"][0])

    def test_the_words_of_a_dead_letter_are_bounded_and_printable(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1", dead_letters=0)
        self.say("outbox-1", dead_letters=1, dead_letter="\x1b[2J\u202e\ud800" + "x" * 10**6)
        frame = self.picture.frame(NOW)
        for said in (frame["services"][0]["dead_letter"], frame["events"][0]["latest"]):
            self.assertEqual(said[:20], r"\x1b[2J\u202e\ud800x")
            self.assertEqual(len(said), MAX_CHARS)

    def test_shares_of_the_ring_are_in_every_frame(self) -> None:
        self.route("outbox", CONSISTENT, "outbox-1", "outbox-2")
        shares = self.picture.frame(NOW)["routes"]["outbox"]["shares"]
        self.assertAlmostEqual(sum(shares.values()), 1.0, 3)
        self.assertEqual(sorted(shares), ["outbox-1", "outbox-2"])

    def test_the_number_of_services_is_bounded_and_the_gone_are_forgotten(self) -> None:
        for i in range(3 * MAX_SERVICES):
            self.route("agent", ORDERED, f"outbox-{i}")
            self.say(f"outbox-{i}")
            self.picture.lost(f"outbox-{i}", NOW + i)
            self.picture.frame(NOW + i)
        rows = self.picture.frame(NOW + i)["services"]
        self.assertEqual(len(rows), MAX_SERVICES)
        self.assertIn(f"outbox-{i}", [row["name"] for row in rows])
        self.route("agent", ORDERED)
        self.assertEqual(self.picture.frame(NOW + i + REMEMBER_MS + 1)["services"], [])
        self.route("agent", ORDERED, *(f"outbox-{i}" for i in range(MAX_SERVICES + 7)))
        frame = self.picture.frame(NOW)
        self.assertEqual((len(frame["services"]), frame["left_out"]), (MAX_SERVICES, 7))

    def test_a_bad_sample_changes_nothing(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        good = sample("outbox-1", NOW)
        bad: list[Any] = [None, [], "x", 7, {}, {**good, "in": -1}, {**good, "out": "9"}]
        bad += [{**good, "pid": None}, {**good, "kind": "x" * 65}, {**good, "at": True}]
        for case in bad:
            with self.subTest(case), self.assertRaises(BadSample):
                self.picture.sampled("outbox-1", case, NOW)
        self.assertFalse(self.picture.frame(NOW)["services"][0]["up"])
        for deepest in (None, 5, [["x"]], [["x", "y"]], [[1, 2]]):
            self.picture.sampled("outbox-1", {**good, "deepest": deepest}, NOW)
            self.assertEqual(self.picture.frame(NOW)["services"][0]["deepest"], [])

    def test_of_too_many_events_a_frame_says_how_many_it_leaves_out(self) -> None:
        for count, left_out in ((MAX_EVENTS, None), (MAX_EVENTS + 7, 7)):
            names = [f"outbox-{i}" for i in range(count)]
            self.route("agent", ORDERED, *names)
            for name in names:
                self.say(name)
            self.picture.frame(NOW)
            for name in names:
                self.picture.lost(name, NOW + 1)
            *events, last = self.picture.frame(NOW + 1)["events"]
            if left_out is None:
                self.assertEqual((len(events) + 1, last["what"]), (MAX_EVENTS, "gone"))
                continue
            self.assertEqual([event["name"] for event in events], names[:MAX_EVENTS])
            wanted = {"at": NOW + 1, "what": "left-out", "name": names[-1], "others": left_out}
            self.assertEqual(last, wanted)

    def test_a_full_frame_fits_a_line(self) -> None:
        names = [f"{'outbox' * 9}-{i}"[:64] for i in range(MAX_SERVICES)]
        for service in ("agent", "bizlogic"):
            self.route(service, ORDERED, *names)
        figures: dict[str, Any] = {
            "backlog": 2**40,
            "peak": 2**40,
            "oldest_ms": 2**40,
            "rss_bytes": 2**40,
        }
        for count in (0, 2**40):
            for name in names:
                letters: dict[str, Any] = {
                    "dead_letters": count,
                    "dead_letter": "\N{DOG FACE}" * 300,
                }
                self.say(name, **figures, **letters, deepest=5 * [["x" * 99, 2**40]])
        frame = self.picture.frame(NOW)
        self.assertEqual(len(frame["events"]), MAX_EVENTS + 1)
        self.assertGreater(len(strictjson.dumps(frame)), protocol.MAX_LINE_BYTES)
        most = protocol.MAX_LINE_BYTES - 200
        without_details(frame, most)
        self.assertLess(len(strictjson.dumps(frame)), most)
        self.assertEqual({row["dead_letters"] for row in frame["services"]}, {2**40})
        self.assertEqual(frame["routes"].keys(), {"bizlogic"})
        for count in range(900):
            self.route(f"sheep{count}", CONSISTENT, "s" * 60)
            self.say(names[count % len(names)], deepest=5 * [["x" * 99, 2**40]])
        role = "outbox" * 9
        self.route(role, CONSISTENT, *("o" * 60 + str(i) for i in range(40)))
        frame = without_details(self.picture.frame(NOW), most)
        self.assertLessEqual(len(strictjson.dumps(frame)), most)
        self.assertTrue(role in frame["routes"] and len(frame["routes"]) < 900)

    def traces_of(self, at: int = NOW) -> list[list[Any]]:
        traces = strictjson.loads(strictjson.dumps(self.picture.frame(at))).get("traces")
        self.assertNotEqual(traces, [])  # absent if there are none
        return traces or []

    def test_a_trace_is_in_one_frame_though_each_sample_has_it_again(self) -> None:
        self.route("agent", ORDERED, "outbox-1", "inbox-1")
        self.say("inbox-1", traces=[["t", NOW + 2.25]])
        self.say("outbox-1", traces=[["t", NOW + 1.5]])
        noted = [["t", "outbox-1", NOW + 1.5], ["t", "inbox-1", NOW + 2.25]]
        self.assertEqual(self.traces_of(), noted)
        self.say("outbox-1", NOW + 1000, traces=[["t", NOW + 1.5], ["t", NOW + 900.75]])
        self.assertEqual(self.traces_of(), [["t", "outbox-1", NOW + 900.75]])
        self.say("outbox-1", NOW + 2000, traces=[["t", NOW + 1.5], ["t", NOW + 900.75]])
        self.assertEqual(self.traces_of(), [])

    def test_a_trace_from_before_we_looked_is_no_news(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        self.say("outbox-1", traces=[["old", NOW - FRESH_MS - 1], ["new", NOW - FRESH_MS]])
        self.assertEqual(self.traces_of(), [["new", "outbox-1", NOW - FRESH_MS]])

    def test_promise_5_of_many_traces_the_newest_are_in_a_frame(self) -> None:
        names = [f"outbox-{i}" for i in range(MAX_SERVICES)]
        self.route("agent", ORDERED, *names)
        for i, name in enumerate(names):
            traces = [["t" * 64, NOW + i + n / 100] for n in range(MAX_TRACES_IN_SAMPLE)]
            self.say(name, NOW, traces=traces)
            self.assertLessEqual(len(self.picture._traces._news), MAX_TRACES_IN_FRAME)
        frame = self.picture.frame(NOW)
        traces = frame["traces"]
        self.assertEqual(len(traces), MAX_TRACES_IN_FRAME)
        self.assertEqual({service for _, service, _ in traces}, {names[-1]})
        self.assertEqual(traces, sorted(traces, key=lambda t: t.at_ms))
        deepest = frame["services"][0]["deepest"]
        size = len(strictjson.dumps(frame))
        self.assertNotIn("traces", without_details(frame, size - 1))
        self.assertIs(frame["services"][0]["deepest"], deepest)  # they alone had to go

    def test_promise_7_traces_of_a_wrong_shape_are_none(self) -> None:
        self.route("agent", ORDERED, "outbox-1")
        wrong: list[Any] = [
            {"t": NOW},
            ["t", NOW],
            [["t"]],
            [["t", NOW, 1]],
            [["", NOW]],
            [["t" * 65, NOW]],
            [["t", "NOW"]],
            [["t", True]],
            [["t", -1]],
            [["t", 2**53]],
            [[[], NOW]],
            [["t", NOW]] * (MAX_TRACES_IN_SAMPLE + 1),
        ]
        for traces in wrong:
            self.say("outbox-1", traces=traces)
            self.assertEqual(self.traces_of(), [], traces)
        self.say("outbox-1", traces=[["t", NOW]])
        self.assertEqual(len(self.traces_of()), 1)

    def test_promise_5_names_that_come_and_go_are_not_remembered_until_a_frame(self) -> None:
        for i in range(5 * MAX_SERVICES):
            self.route("agent", ORDERED, f"outbox-{i}")
            self.assertLessEqual(len(self.picture._known), 2 * MAX_SERVICES)

    def test_promise_5_of_services_that_are_known_no_more_nothing_is_remembered(self) -> None:
        self.route("agent", ORDERED, "a-1")
        self.say("a-1")
        for i in range(3 * routes.MAX_ROUTES):
            self.route(f"sheep{i}", ORDERED, "a-1")
            self.route(f"sheep{i}", ORDERED)
        self.picture.frame(NOW)
        self.assertLessEqual(len(self.picture._firsts), routes.MAX_ROUTES)


class TableTest(unittest.TestCase):
    def test_it_fits_a_terminal_and_says_what_the_page_says(self) -> None:
        routes = RouteTable()
        seen = Picture(routes)
        names = ["bizlogic-5680", "inbox-5820", "outbox-5800", "o" * 60]
        targets = [Target(name, "h", 1, 1) for name in names]
        routes.update("agent", ORDERED, targets)
        routes.update("bizlogic", ORDERED, targets[:1])
        routes.update("outbox", CONSISTENT, targets[2:3])
        seen.routes_changed(NOW)
        for name in names:
            figures: dict[str, Any] = {"backlog": 123456789, "oldest_ms": 4 * 10**7}
            seen.sampled(name, sample(name, NOW, rss_bytes=2**35, **figures), NOW)
        seen.lost("inbox-5820", NOW)
        seen.lost("o" * 60, NOW, silent=True)
        lines = table(seen.frame(NOW))
        self.assertLessEqual(max(map(len, lines)), WIDTH)
        text = "\n".join(lines)
        self.assertRegex(lines[0], r"queue depth 123456789$")
        self.assertEqual(lines[1], "bizlogic-5680 takes the traffic of bizlogic")
        self.assertRegex(text, r"(?m)^bizlogic-5680 +1 first ")
        self.assertRegex(text, r"(?m)^outbox-5800 +1 up +123.5M +11 h .* 100% ")
        self.assertRegex(text, r"(?m)^inbox-5820 +1 died at \d\d:\d\d:\d\d$")
        self.assertRegex(text, r"(?m)^o{17} +1 silent since \d\d:\d\d:\d\d$")
        self.assertNotIn("dead letter", text)

    def test_it_names_dead_letters_in_full_and_where_they_are(self) -> None:
        routes = RouteTable()
        seen = Picture(routes)
        names = ["outbox-5800", "outbox-5801", "o" * 60]
        routes.update("agent", ORDERED, [Target(name, "h", 1, 1) for name in names])
        seen.routes_changed(NOW)
        why = "ann's bark x1: it could not be processed, because its text can't be read (failed)"
        for name, count in zip(names, (2, 0, 1), strict=True):
            letters: dict[str, Any] = {"dead_letters": count, "dead_letter": why if count else None}
            seen.sampled(name, sample(name, NOW, **letters), NOW)
        lines = table(seen.frame(NOW))
        self.assertLessEqual(max(map(len, lines)), WIDTH)
        text = " ".join("\n".join(lines).split())
        where = "var/dead-letters/outbox-5800.jsonl"
        self.assertIn(f"outbox-5800 has 2 dead letters, in {where}. The latest: {why}", text)
        self.assertNotIn("outbox-5801 has", text)
        self.assertIn("o has 1 dead letter, in", text)
        self.assertIn(f"{files.DEFAULT_STATE.name}/", letters_file("x"))
