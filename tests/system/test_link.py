"""Links of a process that is frozen for a while."""

import asyncio
import signal
import unittest

from barker.disk import keys
from tests.tools.fleet import SLOW, Fleet, until
from tests.tools.wireclient import Wire, WireTest, bark, put
from tests.unit.test_link import HEARTBEAT_S


@unittest.skipUnless(hasattr(signal, "SIGSTOP"), "only Unix freezes processes")
class FrostTest(WireTest):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    async def test_a_process_that_was_frozen_drops_what_came_over_links_that_have_ended(
        self,
    ) -> None:
        fleet = self.enterContext(Fleet(heartbeat_s=HEARTBEAT_S))
        inbox = fleet.inbox()
        secret = keys.secret(fleet.state)
        loop = asyncio.get_running_loop()
        gone, stays, silent = [await Wire.open(inbox.port, secret) for _ in range(3)]
        for connection in (gone, stays, silent):
            self.addCleanup(connection.abort)
            await connection.before_pong()
        inbox.freeze()
        frozen = loop.time()
        for n in range(1, 401):  # several reads of it
            gone.send(put(n, ["inbox/ark3"], bark("ark3", f"gone-{n}", "x" * 200)))
        gone.end()
        stays.send(put(1, ["inbox/ark3"], bark("ark3", "stays")))
        # Peers may take it for dead after that; these are patient.
        await until(lambda: loop.time() > frozen + 1.6 * HEARTBEAT_S, "it was frozen for long")
        inbox.thaw()
        self.assertNotIn("ack", [m["op"] for m in await gone.rest()])
        await stays.expect("ack", seq=1)
        await silent.before_pong()
        inbox.wait_for("was frozen for")
        async with await Wire.open(inbox.port, secret) as connection:
            connection.send({"op": "subscribe", "address": "inbox/ark3"})
            await connection.expect("subscribed", serial=0)
            message = await connection.expect("message")
            self.assertEqual(message["body"]["id"], "stays")
            self.assertEqual(await connection.before_pong(), [])
