"""Links of a process that is frozen for a while."""

import asyncio
import contextlib
import signal
import unittest

from barker.disk import keys
from tests.tools.fleet import SLOW, Fleet, until
from tests.tools.wireclient import Wire, WireTest, bark, put
from tests.unit.test_link import HEARTBEAT_S


@unittest.skipUnless(hasattr(signal, "SIGSTOP"), "only Unix freezes processes")
class FrostTest(WireTest):
    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    async def test_a_frozen_process_begins_anew_with_everybody_when_it_is_thawed(self) -> None:
        fleet = self.enterContext(Fleet(heartbeat_s=HEARTBEAT_S))
        inbox = fleet.inbox()
        secret = keys.secret(fleet.state)
        loop = asyncio.get_running_loop()
        connections = [await Wire.open(inbox.port, secret) for _ in range(3)]
        for connection in connections:
            self.addCleanup(connection.abort)
        for connection in connections:
            await connection.before_pong()
        inbox.freeze()
        frozen = loop.time()
        connections[0].send(put(1, ["inbox/ark3"], bark("ark3", "1")))
        # Too short for anybody to be called silent; long enough that peers may have thought so.
        await until(lambda: loop.time() > frozen + 1.6 * HEARTBEAT_S, "it was frozen for long")
        inbox.thaw()
        for connection in connections:
            with contextlib.suppress(OSError):
                # What arrived during the frost was not handled: somebody else may have.
                self.assertNotIn("ack", [m["op"] for m in await connection.rest()])
        inbox.wait_for("was frozen for")
        async with await Wire.open(inbox.port, secret) as connection:
            connection.send({"op": "subscribe", "address": "inbox/ark3"})
            await connection.expect("subscribed", serial=0)
            self.assertEqual(await connection.before_pong(), [])
