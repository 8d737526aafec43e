"""Celebrities: what one bark costs when so many follow its author.

    python -m tests.bench.celebrity
    python -m tests.bench.celebrity --followers 100000 --barks 5

One system for each number of followers, with one inbox. An author says barks, one after the other,
each when the last follower has been shown the one before. The figures are per bark: how long until
its author had the outbox's ack, until the first follower was shown it and until the last one was;
the processor time it took; and for each timeline that it is in, by how much the inbox's memory and
its journal have grown.
"""

import asyncio
import json
import statistics
import sys
from typing import Any

from barker.disk import users
from barker.disk.users import World
from barker.laboratory.progress import status_of
from barker.process.arguments import Parser
from tests.tools.fleet import Fleet, until
from tests.tools.watcher import Watcher

AUTHOR = "celeb"
DEADLINE_S = 600.0


def world_of(followers: int) -> World:
    names = {f"fan{i}": [AUTHOR] for i in range(followers)}
    return World({AUTHOR: [], **names})


async def measure(followers: int, barks: int) -> dict[str, Any]:
    with Fleet() as fleet:
        fleet.world = world_of(followers)
        (fleet.state / "users.json").write_text(users.dump(fleet.world))
        for start in (fleet.directory, fleet.followers, fleet.inbox, fleet.outbox, fleet.bizlogic):
            await asyncio.to_thread(start)
        first, last = "fan0", f"fan{followers - 1}"
        async with (
            Watcher(fleet.args()).running() as watcher,
            fleet.people([first, last]) as people,
        ):
            await people.ready()
            took: dict[str, list[float]] = {"acked": [], "first": [], "last": []}
            for i in range(barks + 1):
                if i == 1:  # the first one makes the timelines
                    rss = await watcher.figure("inbox", "rss_bytes")
                    cpu = {r: await watcher.figure(r, "cpu_s") for r in ("inbox", "bizlogic")}
                begun = people.now()
                people.producer.say([AUTHOR])
                said = people.producer.said[-1]
                for name, done in (
                    ("acked", lambda s=said: s.acked),
                    ("first", lambda n=i: len(people.audience.shown[first]) > n),
                    ("last", lambda n=i: len(people.audience.shown[last]) > n),
                ):
                    await until(done, name, DEADLINE_S)
                    took[name].append(people.now() - begun)
            grown = await watcher.figure("inbox", "rss_bytes") - rss
            used = {r: await watcher.figure(r, "cpu_s") - cpu[r] for r in ("inbox", "bizlogic")}
        journal = sum(p.stat().st_size for p in fleet.state.glob("journal/inbox-*/*.log"))
        medians = {name: statistics.median(some[1:]) for name, some in took.items()}
        return {
            "followers": followers,
            **{f"{name}_ms": round(1000 * s, 1) for name, s in medians.items()},
            **{f"{role}_cpu_ms": round(1000 * s / barks, 1) for role, s in used.items()},
            "inbox_bytes_per_entry": round(grown / barks / (followers + 1), 1),
            "journal_bytes_per_entry": round(journal / (barks + 1) / (followers + 1), 1),
        }


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        "-m tests.bench.celebrity",
        "Measure what one bark costs when so many users follow its author: time, "
        "processor, memory and journal.",
        ["-m tests.bench.celebrity", "-m tests.bench.celebrity --followers 100000 --barks 5"],
    )
    parser.add_argument(
        "--followers", type=int, nargs="+", default=[10, 1000, 100_000], metavar="N"
    )
    parser.add_argument("--barks", type=int, default=5, help="of the author (default: %(default)s)")
    args = parser.parse_args(argv)
    for followers in args.followers:
        print(json.dumps(asyncio.run(measure(followers, args.barks))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(status_of("celebrity", main))
