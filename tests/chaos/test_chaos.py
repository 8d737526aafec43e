"""Chaos in small doses; more of it by `python -m tests.chaos`, and here under BARKER_SLOW=1."""

import asyncio
import json
import random
import time
import unittest
from collections.abc import Collection
from itertools import pairwise

from barker.disk import files
from barker.laboratory.crowd import Crowd
from barker.laboratory.lab import Lab
from tests.chaos.actions import victim
from tests.chaos.plan import BETWEEN_BURSTS_S, KINDS, PEOPLE, TO_ALL, command, count, plan
from tests.chaos.run import Run, report
from tests.tools.fleet import DEADLINE_S, GOOD, SLOW, populated, until

ALL = list(KINDS)
# Those of which barks are the proof; followers have a crowd of their own.
DEATHS = ("kill", "freeze", "stop")
MORTAL = [kind for kind in ALL if kind != "followers"]
KILLS = 20
HASTE = ("--heartbeat", "0.5")


class PlanTest(unittest.TestCase):
    def test_what_happens_follows_from_the_seed(self) -> None:
        self.assertEqual(plan(7, 60, ALL), plan(7, 60, ALL))
        self.assertNotEqual(plan(7, 60, ALL), plan(8, 60, ALL))

    def test_every_kind_suffers_everything(self) -> None:
        events = [e for seed in range(20) for e in plan(seed, 60, ALL)]
        suffered = {(e.kind, e.action) for e in events}
        possible = {(k, a) for k in ALL for a in TO_ALL + KINDS[k].more}
        self.assertEqual(suffered, {*possible, (PEOPLE, "join")})
        self.assertIn(("outbox", "restore"), possible)
        self.assertIn(("inbox", "burst"), possible)

    def test_only_those_suffer_who_shall_and_only_that(self) -> None:
        self.assertEqual({e.kind for e in plan(1, 60, ["bizlogic"])}, {"bizlogic", PEOPLE})
        few = plan(1, 60, ALL, ["restore"])
        self.assertEqual({e.action for e in few}, {"restore", "join"})
        self.assertEqual({e.kind for e in plan(1, 60, ALL, ["burst"])}, {"inbox", PEOPLE})
        self.assertEqual({e.kind for e in plan(1, 60, ["bizlogic"], ["burst"])}, {PEOPLE})

    def test_there_is_time_for_the_events_of_a_burst_before_the_next_one(self) -> None:
        for seed in range(20):
            bursts = [e.at_s for e in plan(seed, 60, ALL, ["burst"]) if e.action == "burst"]
            self.assertGreater(len(bursts), 2)
            for one, next_one in pairwise(bursts):
                self.assertGreaterEqual(next_one - one, BETWEEN_BURSTS_S - 0.01)


class ChaosTest(unittest.TestCase):
    def chaos(self, seed: int, seconds: float, kinds: list[str], actions: Collection[str]) -> Run:
        run = Run(seed, seconds, 200, kinds, actions)
        try:
            asyncio.run(run.go())
        except AssertionError as fault:
            self.fail(f"{fault}\n{report(run)}")
        self.assertEqual(run.faults, {}, report(run))
        self.assertGreater(run.figures["acked"], 100 * seconds)
        self.assertEqual(run.figures["acked"], run.figures["barks"])
        self.assertGreater(run.figures["joins"], 0)
        return run

    def test_promises_1_to_3_hold_whatever_dies(self) -> None:
        self.chaos(96366, 3, ALL, DEATHS)  # somebody of each kind, and all three deaths

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with other victims")
    def test_promise_1_every_graph_is_what_was_acked_whatever_dies(self) -> None:
        run = self.chaos(57533, 2.5, ["followers", "outbox", "directory"], DEATHS)
        self.assertGreater(run.figures["events"], 100)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: as the others, with other victims")
    def test_promise_3_nothing_is_late_if_no_manifold_is_touched(self) -> None:
        run = self.chaos(35927, 2.5, ["directory", "bizlogic"], DEATHS)
        self.assertEqual(run.figures["late"], 0, report(run))

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: old journals are put back")
    def test_promise_2_no_number_is_given_twice_if_an_old_journal_is_put_back(self) -> None:
        run = self.chaos(4, 10, ["outbox"], ["restore"])
        self.assertGreater(run.figures["restore"], 2)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: old journals are put back")
    def test_promise_1_what_is_acked_after_an_old_journal_was_put_back_is_kept(self) -> None:
        run = self.chaos(2, 10, ["inbox", "followers"], ["restore"])
        self.assertGreater(run.figures["restore"], 2)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: 10,000 events while barks wait")
    def test_promise_1_thousands_of_events_while_a_bark_waits_do_not_lose_it(self) -> None:
        run = self.chaos(2, 10, ALL, ["burst"])
        self.assertGreater(run.figures["events"], 10_000)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: nobody reads what services log")
    def test_promise_6_no_service_waits_for_somebody_to_read_its_log(self) -> None:
        run = self.chaos(1, 10, ["inbox", "outbox", "bizlogic"], ["unread"])
        self.assertGreater(run.figures["unread"], 2)


@unittest.skipUnless(SLOW, "BARKER_SLOW=1: kills each kind of service 20 times")
class KillTest(unittest.IsolatedAsyncioTestCase):
    """kill -9, start anew, as fast as that goes, while barks flow."""

    async def torture(self, kind: str) -> None:
        asyncio.get_running_loop().set_debug(False)
        dice = random.Random(kind)
        async with Lab(HASTE) as lab:
            places = [(k, i) for k in MORTAL for i in range(min(2, count(k)))]
            lab.find_ports([command(*place) for place in [*places, ("followers", 0)]])
            world = files.world(lab.state)
            await victim(lab, "followers", 0, "--no-journal").start()
            all_ = [victim(lab, *place) for place in places]
            await asyncio.gather(*(each.start() for each in all_))
            victims = [each for each in all_ if each.kind == kind]
            begun = time.monotonic()
            async with populated(lab.args(), world, world.names, 2) as people:
                await people.ready()
                load = asyncio.create_task(people.producer.say_at(200, 10**6, world.names))
                for i in range(KILLS):
                    # Something gets through before the next blow, and then it comes at any moment.
                    if i % 5 == 0:
                        seen = len(people.audience.shown_at)
                        await until(lambda: len(people.audience.shown_at) > seen, "barks flow")  # noqa: B023
                    at = people.now() + dice.uniform(0, 0.1)
                    await until(lambda: people.now() >= at, "its moment has come")  # noqa: B023
                    hurt = dice.choice(victims)
                    await hurt.end("kill")
                    await hurt.start()
                load.cancel()
                took = time.monotonic() - begun
                await people.all_acked(3 * DEADLINE_S)
                await people.all_shown(3 * DEADLINE_S)
                settled = people.now() + 1
                await until(lambda: people.now() > settled, "nothing comes twice later on")
                verdict = people.verdict()
                if kind in ("inbox", "outbox"):
                    # While a share of the ring moves, what was on its way may be out of step.
                    verdict = verdict._replace(out_of_order=[])
                else:
                    self.assertEqual(people.audience.late, set())
                figures = {
                    "killed": f"{kind} {KILLS} times",
                    "seconds": round(took, 1),
                    "barks": len(people.producer.said),
                    "shown": len(people.audience.shown_at),
                    "late": len(people.audience.late),
                    **{name: len(some) for name, some in verdict._asdict().items()},
                }
                print(json.dumps(figures))
                self.assertEqual(verdict, GOOD)

    async def test_promise_1_kill_9_of_the_directory(self) -> None:
        await self.torture("directory")

    async def test_promise_1_kill_9_of_inboxes(self) -> None:
        await self.torture("inbox")

    async def test_promise_1_kill_9_of_bizlogics(self) -> None:
        await self.torture("bizlogic")

    async def test_promise_1_kill_9_of_outboxes(self) -> None:
        await self.torture("outbox")


@unittest.skipUnless(SLOW, "BARKER_SLOW=1: kills followers services 30 times")
class KillFollowersTest(unittest.IsolatedAsyncioTestCase):
    async def test_promise_1_kill_9_of_followers_loses_no_acked_follow(self) -> None:
        asyncio.get_running_loop().set_debug(False)
        dice = random.Random("followers")
        async with Lab(HASTE) as lab:
            places = [("directory", 0), ("followers", 0), ("followers", 1)]
            places += [("outbox", 0), ("outbox", 1), ("inbox", 0), ("bizlogic", 0)]
            lab.find_ports([command(*place) for place in places])
            all_ = [victim(lab, *place) for place in places]
            await asyncio.gather(*(each.start() for each in all_))
            victims = [each for each in all_ if each.kind == "followers"]
            crowd = Crowd(lab.args(), files.world(lab.state), 1)
            async with crowd.running():
                await crowd.join()
                mingling = asyncio.create_task(crowd.mingle(100, 3600))
                for _ in range(30):
                    at = crowd.now() + dice.uniform(0, 0.5)
                    await until(lambda: crowd.now() >= at, "its moment has come")  # noqa: B023
                    hurt = dice.choice(victims)
                    await hurt.end("kill")
                    await hurt.start()
                mingling.cancel()
                await crowd.agree(3 * DEADLINE_S)
                self.assertEqual([a.refused for a in crowd.asked if a.refused], [])
                self.assertGreater(len(crowd.asked), 500)
