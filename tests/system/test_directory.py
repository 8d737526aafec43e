"""The directory with processes that die and freeze."""

import asyncio
import contextlib
import unittest

from barker.disk import keys
from tests.tools.fleet import DEADLINE_S, SLOW, Fleet, until
from tests.tools.wireclient import Wire, WireTest, register
from tests.unit.test_directory import names


class ProcessesTest(WireTest):
    """The same with processes that die and freeze."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.fleet = self.enterContext(Fleet())
        self.secret = keys.secret(self.fleet.state)

    async def watch(self, port: int, prefix: str) -> Wire:
        watcher = await self.open(port, "watcher")
        watcher.send({"op": "watch", "prefix": prefix})
        return watcher

    async def told(self, watcher: Wire, count: int) -> list[str]:
        """The names, as soon as there are `count` of them."""
        async with asyncio.timeout(DEADLINE_S):
            while len(told := names(await watcher.expect("routes"))) != count:
                pass
        return told

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for the directory to settle")
    async def test_promise_4_after_a_kill_9_the_order_is_what_it_was(self) -> None:
        first = self.fleet.directory()
        services = [self.fleet.bizlogic() for _ in range(3)]
        order = [f"bizlogic-{s.port}" for s in services]
        self.assertEqual(await self.told(await self.watch(first.port, "bizlogic"), 3), order)
        first.kill()
        second = self.fleet.directory()
        watcher = await self.watch(second.port, "bizlogic")
        heard = names(await watcher.expect("routes"))
        if heard == []:  # nobody who remembers had come back before we asked
            heard = names(await watcher.expect("routes"))
        self.assertEqual(heard, order, "the first answer that names anybody names all of them")

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: waits for heartbeats")
    async def test_a_stall_that_either_side_takes_for_death_begins_a_new_epoch(self) -> None:
        """A link may have been idle for a heartbeat when the directory stalls. So a stall of 1.7 is
        2.65 of silence, for which one of them will give the other up; but nobody has died."""
        heartbeat_s = 0.6
        self.fleet.heartbeat_s = heartbeat_s
        process = self.fleet.directory()
        service = await self.open(process.port, "service")
        watcher = await self.watch(process.port, "inbox")
        service.send(register("inbox", "a"))
        await self.told(watcher, 1)
        loop = asyncio.get_running_loop()

        async def wait(heartbeats: float) -> None:
            end = loop.time() + heartbeats * heartbeat_s
            await until(lambda: loop.time() > end, "the time")

        await service.before_pong()
        await wait(0.95)
        await watcher.before_pong()
        process.freeze()
        await wait(1.0)
        service.send({"op": "ping"})
        await wait(0.7)
        process.thaw()
        with contextlib.suppress(OSError):
            while message := await watcher.heard():
                self.assertEqual(names(message), ["a"])
                await service.before_pong()
        process.wait_for("was frozen")
