"""Suggestions through the whole system."""

import json
import unittest

from barker.graph.friends import FEW
from barker.wire import strictjson
from barker.wire.bodies import check_body
from tests.tools.fleet import SLOW, Fleet


class ArrivalTest(unittest.TestCase):
    """With everything in between."""

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_a_new_follow_brings_suggestions_to_the_inbox_once(self) -> None:
        with Fleet() as fleet:
            fleet.directory()
            fleet.followers()
            fleet.inbox()
            fleet.outbox()
            first = fleet.start("suggestions")

            def done(*args: str) -> None:
                process = fleet.run(*args)
                self.assertEqual(process.ended(), 0, repr(process))

            done("join", "newcomer", "--wait")
            done("follow", "newcomer", "toto", "--wait")
            listener = fleet.run("listen", "newcomer", "--count", str(FEW), "--json")
            self.assertEqual(listener.ended(), 0, repr(listener))
            told = [json.loads(line) for line in listener.lines]
            toto_follows = fleet.world.follows["toto"]
            for one in told:
                self.assertEqual((one["kind"], one["user"]), ("suggestion", "suggestions"))
                self.assertIn(one["whom"], toto_follows)
                self.assertEqual(one["common"], 1)
                self.assertIn("toto, whom you follow, does", one["content"])
                body = {name: value for name, value in one.items() if name != "reader"}
                check_body(strictjson.dumps(body), body)
            # A second one, which knows of nothing, and a bark behind what it says.
            first.kill()
            fleet.start("suggestions")
            fleet.bizlogic()
            done("follow", "newcomer", told[0]["whom"], "--wait")
            listener = fleet.run("listen", "newcomer", "--count", str(FEW + 1), "--json")
            self.assertEqual(listener.ended(), 0, repr(listener))
            names = [json.loads(line)["whom"] for line in listener.lines]
            self.assertEqual(len(set(names)), FEW + 1, "what is followed makes room for one more")
