"""A million edges: what the graph costs in the services that hold it.

    python -m tests.bench.million
    python -m tests.bench.million --users 10000 --each 10

The seed is a world of so many users who follow so many others each. Then follows come, as fast as
the followers service takes them. The figures: the memory of the followers service and of a bizlogic
with its copy; the processor time it takes to start with the seed, to start from the journal, and to
copy; and that of one follow, in the service and in whoever copies from it.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from typing import Any

from barker.client.speaker import new_id, now_ms
from barker.client.tracked import Outcome, TrackedSender
from barker.disk import users
from barker.disk.users import World
from barker.graph.feed import FOLLOWERS
from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from barker.wire import bodies
from barker.wire.bodies import FOLLOW, Event
from barker.wire.ops import Item
from tests.bench.celebrity import DEADLINE_S
from tests.tools.fleet import Fleet, free_port, until
from tests.tools.watcher import Watcher


def world_of(number: int, each: int) -> World:
    dice = random.Random(number)
    names = [f"user{i}" for i in range(number)]
    return World({name: dice.sample(names, each) for name in names})


class Observer(Watcher):
    """Watches, and says follows straight to the followers service."""

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.sender = TrackedSender(self, FOLLOWERS)
        self.follows = Outcome()  # all of them share it

    def follow(self, n: int, user: str, whom: str) -> None:
        body = bodies.encode_event(Event(FOLLOW, new_id(), user, now_ms(), whom))
        item = Item(body, "ab" * 8, n, user, f"{n}", n)
        self.sender.track(FOLLOWERS, item, self.follows)


async def measure(number: int, each: int, follows: int) -> dict[str, Any]:
    with Fleet() as fleet:
        world = world_of(number, each)
        fleet.world = world
        (fleet.state / "users.json").write_text(users.dump(world))
        asyncio.get_running_loop().set_debug(False)
        figures: dict[str, Any] = {"users": number, "edges": number * each}

        await asyncio.to_thread(fleet.directory)
        port = free_port()
        service = await asyncio.to_thread(lambda: fleet.followers(port=port))
        async with Observer(fleet.args()).running() as observer:
            figures["seed_cpu_s"] = await observer.figure("followers", "cpu_s")
            await asyncio.to_thread(fleet.bizlogic)
            copied = lambda: observer.latest("bizlogic").get("edges") == number * each  # noqa: E731
            await until(copied, "it has its copy", DEADLINE_S)
            figures["copy_cpu_s"] = await observer.figure("bizlogic", "cpu_s")
            roles = ("followers", "bizlogic")
            for role in roles:
                figures[f"{role}_mib"] = round(await observer.figure(role, "rss_bytes") / 2**20)
            before = {role: await observer.figure(role, "cpu_s") for role in roles}
            dice = random.Random(1)
            begun = time.monotonic()
            for n in range(1, follows + 1):
                user, whom = dice.sample(range(number), 2)
                observer.follow(n, f"user{user}", f"user{whom}")
                if n % 1000 == 0:
                    observer.sender.pump()
                    await until(lambda: observer.sender.unanswered < 4000, "acks", DEADLINE_S)
            await until(lambda: not observer.sender.unanswered, "all are answered", DEADLINE_S)
            assert not observer.follows.refused, observer.follows.reason
            figures["follows_a_second"] = round(follows / (time.monotonic() - begun))
            for role in roles:
                used = await observer.figure(role, "cpu_s") - before[role]
                figures[f"{role}_us_a_follow"] = round(1e6 * used / follows, 1)
            journal = sum(p.stat().st_size for p in fleet.state.glob("journal/followers-*/*.log"))
            figures["journal_mib"] = round(journal / 2**20)
            service.kill()
            await asyncio.to_thread(lambda: fleet.followers(port=port))
            figures["restart_cpu_s"] = await observer.figure("followers", "cpu_s")
        return figures


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        "-m tests.bench.million",
        "Measure what the graph of who follows whom costs in the services that hold it: "
        "memory, and processor time for a start, a copy and a follow.",
        ["-m tests.bench.million", "-m tests.bench.million --users 10000 --each 10"],
    )
    parser.add_argument("--users", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument(
        "--each", type=int, default=10, help="follows of one (default: %(default)s)"
    )
    parser.add_argument("--follows", type=int, default=20_000, help="(default: %(default)s)")
    args = parser.parse_args(argv)
    print(json.dumps(asyncio.run(measure(args.users, args.each, args.follows))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(status_of("million", main))
