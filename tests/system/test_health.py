"""Services that can't do their part, in a whole system: others wait a moment, and go on."""

import asyncio
import itertools
import os
import unittest

from barker.disk import keys
from tests.system.test_machine import MachineTest, limited
from tests.tools.children import at_once
from tests.tools.fleet import DEADLINE_S, SLOW, Fleet, until
from tests.tools.wireclient import Wire, register

HEARTBEAT_S = 0.5


class HealthTest(MachineTest):
    def setUp(self) -> None:
        self.fleet = self.enterContext(Fleet(heartbeat_s=HEARTBEAT_S))
        self.secret = keys.secret(self.fleet.state)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    @unittest.skipUnless(os.name == "posix", "such limits are Unix's")
    async def test_promise_9_an_inbox_whose_disk_is_full_holds_up_readers_for_a_moment(
        self,
    ) -> None:
        fleet = self.fleet
        await at_once(fleet.directory, fleet.inbox, fleet.bizlogic, fleet.outbox)
        limit = limited("RLIMIT_FSIZE", 150_000)
        ill = await asyncio.to_thread(fleet.start, "inbox", preexec_fn=limit)
        async with fleet.people() as people:
            await until(lambda: len(people.routes.route("inbox").targets) == 2, "two inboxes")
            await people.ready()
            await people.producer.say_at(200, 1000, fleet.world.names[3:23])
            await people.all_acked(2 * DEADLINE_S)
            await people.all_shown(2 * DEADLINE_S)
            shown = sorted(people.audience.shown_at)
            gaps = [after - before for before, after in itertools.pairwise(shown)]
            verdict = people.verdict()
        self.assertEqual((verdict.lost, verdict.twice), ([], []))
        ill.wait_for("nothing can be kept: File too large; leaving inbox to others meanwhile")
        self.assertLess(max(gaps), 3 * HEARTBEAT_S + DEADLINE_S / 20)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    async def test_a_bizlogic_that_reaches_an_inbox_no_more_leaves_it_to_another(self) -> None:
        fleet = self.fleet
        await at_once(fleet.directory, fleet.inbox, fleet.bizlogic, fleet.outbox)
        await asyncio.to_thread(fleet.bizlogic)
        async with await Wire.open(fleet.port, self.secret, "deaf") as deaf:
            deaf.send({"op": "watch", "prefix": "bizlogic"})
            names: list[str] = []
            for count in (2, 1):
                while len(names) != count:  # heartbeats are answered meanwhile
                    told = await deaf.expect("routes", address="bizlogic")
                    names = [target["name"] for target in told["targets"]]
                if count == 2:
                    deaf.send(register("inbox", "deaf", 9))
        logics = [p for p in fleet.processes if "barker.bizlogic" in p.argv]
        (left,) = (
            p for p in logics if f"bizlogic-{p.argv[p.argv.index('--port') + 1]}" not in names
        )
        left.wait_for("no link to deaf; leaving bizlogic to others meanwhile")
