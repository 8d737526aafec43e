"""Churn: what a system meets besides barks, for the soak.

Users follow and unfollow, and ask for names that are taken. Readers subscribe to users that do not
exist. A replica registers, is sent the graph, and acks nothing.
"""

import argparse
import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable

from barker.disk import keys
from barker.disk.users import World
from barker.laboratory.crowd import Crowd
from barker.laboratory.lab import Broken
from barker.wire.bodies import JOIN
from tests.tools.wireclient import Wire, register

EVENTS_PER_S = 100
# Unknown users that are asked for in a second.
UNKNOWN_PER_S = 200
# The deaf replica is there for so long, and away for as long.
DEAF_S = 8.0


class Churn(threading.Thread):
    """Runs until `stop`; `fault` is why it could not go on."""

    def __init__(
        self, args: argparse.Namespace, world: World, inbox_port: Callable[[], int]
    ) -> None:
        super().__init__(name="churn")
        self._args = args
        self._world = world
        self._inbox_port = inbox_port
        self._stops = threading.Event()
        self._secret = keys.secret(args.state)
        self.fault = ""
        self.events = self.unknown = self.deaf = 0

    def stop(self) -> None:
        self._stops.set()
        self.join()

    def run(self) -> None:
        try:
            asyncio.run(self._all())
        except (Broken, AssertionError, ExceptionGroup) as fault:
            self.fault = f"churn: {fault}"

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for part in (self._mingle, self._ask_for_unknown_users, self._be_deaf):
                group.create_task(part())

    async def _mingle(self) -> None:
        crowd = Crowd(self._args, self._world, seed=1)
        async with crowd.running():
            await crowd.join()
            while not self._stops.is_set():
                await crowd.mingle(EVENTS_PER_S, 1.0)
                crowd.ask(JOIN, self._world.names[0])  # which is taken
                crowd.pump()
                self.events += len(crowd.asked)
                crowd.asked.clear()

    async def _ask_for_unknown_users(self) -> None:
        names = (f"nobody{i}" for i in itertools.count())
        while not self._stops.is_set():
            with contextlib.suppress(OSError, AssertionError, TimeoutError):  # it is restarted
                async with await Wire.open(self._inbox_port(), self._secret, "reader") as reader:
                    for name in itertools.islice(names, UNKNOWN_PER_S):
                        reader.send({"op": "subscribe", "address": f"inbox/{name}"})
                        self.unknown += 1
                    await asyncio.sleep(1.0)  # the rate

    async def _be_deaf(self) -> None:
        while not self._stops.is_set():
            with contextlib.suppress(OSError, AssertionError, TimeoutError):
                host, port = self._args.directory
                async with await Wire.open(port, self._secret, "deaf") as place:
                    place.send({"op": "watch", "prefix": "followers"})
                    routes = await place.expect("routes", address="followers")
                    place.send(register("replica", "deaf", 9, host=host, policy="ordered"))
                    at = routes["targets"][0]["port"] if routes["targets"] else port
                    async with await Wire.open(at, self._secret, "deaf") as replica:
                        replica.send({"op": "subscribe", "address": "followers"})
                        self.deaf += 1
                        await asyncio.wait(
                            [asyncio.create_task(w.rest()) for w in (place, replica)],
                            timeout=DEAF_S,  # which answers heartbeats meanwhile
                        )
            await asyncio.sleep(DEAF_S)
