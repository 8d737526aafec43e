"""Recovery of real processes, after real kills."""

import argparse
import asyncio
import contextlib
import json
import shlex
import shutil
import signal
import unittest
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from barker.client.reader import REMEMBERED_IDS, Reader
from barker.disk.journal import Journal
from barker.disk.segments import record
from barker.streams.stream import DEFAULT_KEEP
from barker.wire.messages import encode
from barker.wire.ops import Item, Put
from tests.tools.fleet import SLOW, Fleet, Guest, Service, until
from tests.tools.wireclient import Wire, bark, put, puts

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]
from tests.unit.test_recovery import ORIGIN


class OneReader(Guest):
    """Reads ark3's inbox, and counts how often each bark was shown, by id."""

    kind = "reader"

    def __init__(self, args: argparse.Namespace) -> None:
        super().__init__(args)
        self.shown: Counter[str] = Counter()
        self.reader = Reader(self, ["ark3"], self._show, self._refused, history=0)

    def _show(self, reader: str, body: dict[str, Any], late: bool) -> None:
        self.shown[body["id"]] += 1

    def _refused(self, user: str, reason: str) -> None:
        raise AssertionError(f"{user}: {reason}")

    def owners(self) -> int:
        """Instances in the ring."""
        return len(self.routes.route("inbox").targets)

    def owner(self) -> str:
        """The instance that has answered, if it is the one that the ring names."""
        target = self.routes.choose("inbox/ark3")
        asked = self.reader.served_by("ark3")
        return asked if target and target.name == asked else ""

    def twice(self) -> list[str]:
        return [id_ for id_, times in self.shown.items() if times > 1]


@contextlib.asynccontextmanager
async def one_reader(fleet: Fleet) -> AsyncIterator[OneReader]:
    """A reader that runs in this loop; an inbox has answered it."""
    async with OneReader(fleet.args()).running() as node:
        await until(node.owner, "an inbox has answered")
        yield node


class Processes(unittest.IsolatedAsyncioTestCase):
    """Real processes, really killed."""

    async def asyncSetUp(self) -> None:
        asyncio.get_running_loop().set_debug(False)
        self.fleet = self.enterContext(Fleet())

    async def start(self, *argv: str) -> Service:
        return await asyncio.to_thread(lambda: self.fleet.start(*argv))

    async def open(self, service: Service) -> Wire:
        secret = (self.fleet.state / "secret").read_bytes().strip()
        return await self.enterAsyncContext(await Wire.open(service.port, secret))

    async def test_a_journal_in_use_is_refused_in_one_line_and_with_status_1(self) -> None:
        await self.start("inbox", "--name", "mine")
        second = self.fleet.run("inbox", "--name", "mine", "--port", "0")
        self.assertEqual(second.ended(), 1)
        self.assertEqual(len(second.lines), 1, second)
        self.assertRegex(second.lines[0], r"journal/mine is in use by another process")

    async def test_a_journal_of_another_format_is_refused_in_one_line_and_with_status_1(
        self,
    ) -> None:
        for service in ("inbox", "outbox", "followers"):
            folder = self.fleet.state / "journal" / service
            folder.mkdir(parents=True)
            (folder / "000000000001.log").write_bytes(record(b'{"op":"segment","epoch":"x"}'))
            process = self.fleet.run(service, "--name", service, "--port", "0")
            self.assertEqual(await asyncio.to_thread(process.ended), 1)
            self.assertEqual(len(process.lines), 1, process)
            aside = f"{self.fleet.state / service}-aside"
            self.assertIn(shlex.join(["mv", str(folder), aside]), process.lines[0])
            self.assertEqual([p.name for p in folder.iterdir()], ["000000000001.log"])

    async def test_promise_1_nothing_is_acked_into_a_folder_that_was_deleted(self) -> None:
        await asyncio.to_thread(self.fleet.directory)
        for kind, to in (("inbox", "inbox/ark3"), ("outbox", "outbox/ark3")):
            service = await self.start(kind, "--name", kind)
            source = await self.open(service)
            stamp: dict[str, Any] = {"origin": ORIGIN, "n": 1} if kind == "inbox" else {}
            source.send(put(1, [to], bark("ark3", "1"), **stamp))
            self.assertEqual(await source.up_to_ack(1), [])
            shutil.rmtree(self.fleet.state / "journal" / kind)
            source.send(
                *(
                    put(n, [to], bark("ark3", str(n)), **stamp | {"n": n} if stamp else {})
                    for n in (2, 3)
                )
            )
            refused = await source.up_to_ack(3)
            self.assertEqual([(m["seq"], m["code"]) for m in refused], [(2, "full"), (3, "full")])
            source.send(
                {"op": "pong"}, put(4, [to], bark("ark3", "4"), **stamp | {"n": 4} if stamp else {})
            )
            self.assertEqual([m["code"] for m in await source.up_to_ack(4)], ["full"])
            await asyncio.to_thread(service.wait_for, "deleted, moved or replaced")
            said = [line for line in service.lines if "deleted, moved or replaced" in line]
            self.assertEqual(len(said), 1, service)
            if kind == "inbox":  # what it has it still shows
                reader = await self.open(service)
                reader.send({"op": "subscribe", "address": "inbox/ark3"})
                await reader.expect("subscribed", serial=0)
                await reader.expect("message", serial=1)

    async def test_promise_1_kill_9_at_any_moment_under_load_loses_nothing_acked(self) -> None:
        acked, rounds = 0, 12 if SLOW else 2
        for round_ in range(rounds):
            inbox_ = await self.start("inbox", "--name", "mine", "--keep", "50000")
            wire_ = await self.open(inbox_)
            first = round_ * 100_000 + 1
            for n in range(first, first + 6000):
                wire_.send(
                    put(n - first + 1, ["inbox/ark3"], bark("rdl", str(n)), origin=ORIGIN, n=n)
                )
            said = await wire_.heard()
            assert said and said["op"] == "ack"
            inbox_.popen.kill()  # in the middle of the rest
            with contextlib.suppress(ConnectionError):
                while said := await wire_.heard():
                    acked_here = said["seq"]
                    acked = first + acked_here - 1
            inbox_.ended()
            inbox_.close()
            wire_.abort()
            self.fleet.processes.remove(inbox_)
            again = await self.start("inbox", "--name", "mine", "--keep", "50000")
            reader = await self.open(again)
            reader.send(
                {"op": "subscribe", "address": "inbox/ark3", "history": 10**6, "window": 4096}
            )
            await reader.expect("subscribed")
            ids: list[int] = []
            while not ids or ids[-1] < acked:
                message = await reader.expect("message")
                ids.append(int(message["body"]["id"]))
                if len(ids) % 1000 == 0:
                    ack = {"op": "credit", "address": "inbox/ark3", "serial": message["serial"]}
                    reader.send(ack)
            mine = [i for i in ids if i >= first]
            self.assertEqual(mine[: acked - first + 1], list(range(first, acked + 1)))
            self.assertEqual(ids, sorted(set(ids)))
            again.kill()
            again.close()

    async def put_and_shown(self, service: Service, reader: "OneReader", numbers: range) -> None:
        """Put these barks to ark3's inbox, in steps that the reader can follow without a gap."""
        source = await self.open(service)
        for begin in numbers[::250]:
            some = range(begin, min(begin + 250, numbers.stop))
            bodies = [bark("rdl", str(n), at=n) for n in some]
            seq = begin - numbers.start + 1
            source.send(puts(seq, [["inbox/ark3"]], bodies, origin=ORIGIN, n=list(some)))
            await source.up_to_ack(seq + len(some) - 1)
            last = str(some[-1])
            await until(lambda: last in reader.shown, "all of them are shown")  # noqa: B023

    async def test_promise_2_nothing_is_shown_twice_after_kill_9_however_much_is_retained(
        self,
    ) -> None:
        await asyncio.to_thread(self.fleet.directory)
        argv = ("inbox", "--name", "mine", "--keep", "20000")
        before = await self.start(*argv)
        async with one_reader(self.fleet) as reader:
            await self.put_and_shown(before, reader, range(1, 20_001))
            before.kill()
            # Behind all that comes again.
            await self.put_and_shown(await self.start(*argv), reader, range(20_001, 20_002))
            self.assertEqual(reader.twice(), [])
            self.assertEqual(len(reader.shown), 20_001)

    async def test_promise_2_what_an_owner_holds_that_was_dead_for_long_is_not_shown_twice(
        self,
    ) -> None:
        await asyncio.to_thread(self.fleet.directory)
        names = ("one", "two")
        services = {name: await self.start("inbox", "--name", name) for name in names}
        many = 2 * REMEMBERED_IDS + DEFAULT_KEEP
        async with one_reader(self.fleet) as reader:
            await until(lambda: reader.owners() == 2, "both are in the ring")
            dead = reader.owner()
            (other,) = {*names} - {dead}
            await self.put_and_shown(services[dead], reader, range(1, 1001))
            services[dead].kill()
            await until(lambda: reader.owner() == other, "the other one takes over")
            await self.put_and_shown(services[other], reader, range(1001, 1001 + many))
            back = await self.start("inbox", "--name", dead)
            await until(lambda: reader.owner() == dead, "its share is its own again")
            await self.put_and_shown(back, reader, range(1001 + many, 1002 + many))
            self.assertEqual(reader.twice(), [])
            self.assertEqual(len(reader.shown), 1001 + many)

    @unittest.skipUnless(resource and hasattr(resource, "prlimit"), "needs Linux's prlimit")
    async def test_a_full_disk_is_refused_as_full_while_reads_go_on_until_there_is_room(
        self,
    ) -> None:
        inbox_ = await self.start("inbox", "--name", "mine")
        source, reader = await self.open(inbox_), await self.open(inbox_)
        source.send(put(1, ["inbox/ark3"], bark("rdl", "1"), origin=ORIGIN, n=1))
        self.assertEqual(await source.up_to_ack(1), [])
        (path,) = (self.fleet.state / "journal" / "mine").glob("*.log")
        size = path.stat().st_size
        resource.prlimit(inbox_.pid, resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
        later = [put(n, ["inbox/ark3"], bark("rdl", str(n)), origin=ORIGIN, n=n) for n in (2, 3)]
        source.send(*later)
        refused = await source.up_to_ack(3)
        self.assertEqual([(m["seq"], m["code"]) for m in refused], [(2, "full"), (3, "full")])
        reader.send({"op": "subscribe", "address": "inbox/ark3"})
        await reader.expect("subscribed", serial=0)
        await reader.expect("message", serial=1)
        self.assertEqual(path.stat().st_size, size)
        infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(inbox_.pid, resource.RLIMIT_FSIZE, infinite)
        source.send({"op": "pong"}, *({**m, "seq": m["seq"] + 2} for m in later))
        self.assertEqual(await source.up_to_ack(5), [])
        for serial in (2, 3):
            message = await reader.expect("message", serial=serial)
            self.assertEqual(message["body"]["id"], str(serial))

    @unittest.skipUnless(resource and hasattr(resource, "prlimit"), "needs Linux's prlimit")
    async def test_it_starts_on_a_full_disk_serves_reads_and_takes_puts_when_there_is_room(
        self,
    ) -> None:
        before = await self.start("inbox", "--name", "mine")
        source = await self.open(before)
        source.send(put(1, ["inbox/ark3"], bark("rdl", "1"), origin=ORIGIN, n=1))
        await source.up_to_ack(1)
        before.kill()

        def no_room() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))

        process = await asyncio.to_thread(
            self.fleet.start, "inbox", "--name", "mine", preexec_fn=no_room
        )
        source = await self.open(process)
        source.send({"op": "subscribe", "address": "inbox/ark3"})
        await source.expect("subscribed")
        await source.expect("message", serial=1)
        message = put(1, ["inbox/ark3"], bark("rdl", "2"), origin=ORIGIN, n=2)
        source.send(message)
        refused = await source.up_to_ack(1)
        self.assertEqual([m["code"] for m in refused], ["full"])
        infinite = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, infinite)
        source.send({"op": "pong"}, {**message, "seq": 2})
        heard = [await source.heard(), await source.heard()]
        self.assertEqual({m["op"] for m in heard if m}, {"ack", "message"})

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: makes a long journal")
    async def test_a_stop_during_a_long_recovery_is_heard(self) -> None:
        folder = self.fleet.state / "journal" / "mine"
        journal = Journal(folder)
        list(journal.recover())
        journal.begin(lambda: {"n": 0, "settled": 0})
        item = Item(json.dumps(bark("ark3", "x")).encode(), "0" * 16, 1, "ark3", "x", 1000)
        journal.append([encode(Put.of(0, ["bizlogic"], [item]))] * 300_000)
        journal.close()
        flags = ["--name", "mine", "--port", "0", "--verbose"]
        process = self.fleet.run("outbox", *flags)
        await asyncio.to_thread(process.wait_for, "recovering from")
        process.signal(signal.SIGTERM)
        self.assertEqual(await asyncio.to_thread(process.ended), 0)
        self.assertFalse([line for line in process.lines if "READY" in line], process)
