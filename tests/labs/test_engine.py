"""The outbox with a Redis stream: its words on the wire, and a real server where there is one."""

import asyncio
import contextlib
import pathlib
import runpy
import signal
import socket
import sys
import tempfile
import threading
import unittest
from collections.abc import Sequence
from typing import Any

from barker.laboratory.conformance import PASSED, Case, Result, conform
from barker.laboratory.keptcases import KEPT
from barker.laboratory.outboxcases import refused, said, scene, taken
from barker.laboratory.peer import Peer
from barker.laboratory.stand import Stand
from barker.wire.ops import Ack
from barker.wire.protocol import FULL
from tests.labs.engine import ENGINE, SERVER, redis
from tests.tools.children import SLOW

MAX_LINES = 300
PARTS: dict[str, Any] = runpy.run_path(str(ENGINE))


class WireTest(unittest.TestCase):
    """RESP 2, by its specification's own examples."""

    def answered(self, reply: bytes) -> Any:
        """What comes of one command, if the server answers with these bytes and ends."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                link, _ = server.accept()
                with link:
                    link.recv(1024)
                    link.sendall(reply)

            thread = threading.Thread(target=serve)
            thread.start()
            try:
                client = PARTS["Redis"](server.getsockname()[:2])
                try:
                    (found,) = client.call(("PING",))
                finally:
                    client.close()
            finally:
                thread.join()
        return found

    def test_a_command_is_an_array_of_strings_with_their_lengths(self) -> None:
        spelled = PARTS["spelled"]
        self.assertEqual(spelled(("LLEN", "mylist")), b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n")
        self.assertEqual(spelled(("XADD", b"\xc3\xa9\r\n", 7)).count(b"$4\r\n"), 2)

    def test_replies(self) -> None:
        for reply, value in (
            (b"+OK\r\n", b"OK"),
            (b":1000\r\n", 1000),
            (b"$5\r\nhello\r\n", b"hello"),
            (b"$0\r\n\r\n", b""),
            (b"$-1\r\n", None),
            (b"*0\r\n", []),
            (b"*2\r\n*1\r\n:1\r\n$4\r\na\r\nb\r\n", [[1], b"a\r\nb"]),
        ):
            self.assertEqual(self.answered(reply), value)

    def test_faults_are_faults_of_a_disk(self) -> None:
        for reply in (b"-ERR no\r\n", b"", b"+OK", b"?\r\n", b"$x\r\n"):
            with self.assertRaises(OSError, msg=reply):
                self.answered(reply)

    def test_it_is_short(self) -> None:
        self.assertLess(ENGINE.read_bytes().count(b"\n"), MAX_LINES)


class Stream:
    """Plays Redis: one stream, which keeps ids above its last one. While `fault`, it does not."""

    def __init__(self) -> None:
        self.ids: list[tuple[int, int]] = []
        self.last = (0, 0)
        self.fault: OSError | None = None

    def call(self, *commands: Sequence[object]) -> list[Any]:
        if self.fault:
            raise self.fault
        for name, _, *words in commands:
            shown = words if name == "XDEL" else words[:1]
            ids = [tuple(map(int, str(word).split("-"))) for word in shown if word != "+"]
            if name == "XADD":
                self._add(*ids[:1])
            elif name == "XDEL":
                self.ids = [id_ for id_ in self.ids if id_ not in ids]
        return [[[b"%d-%d" % self.last, []]] if any(self.last) else []]

    def _add(self, id_: Any) -> None:
        if id_ <= self.last:
            raise PARTS["RedisError"]("the ID is equal or smaller")
        self.ids.append(id_)
        self.last = id_


class JournalTest(unittest.TestCase):
    def setUp(self) -> None:
        self.stream = Stream()

    def journal(self) -> Any:
        return PARTS["RedisJournal"](self.stream, "key", 0)

    def test_no_batch_goes_where_there_is_no_header(self) -> None:
        journal = self.journal()
        self.stream.fault = OSError("no answer")
        with self.assertLogs("barker.redis", "ERROR"), self.assertRaises(OSError):
            journal.begin(dict)
        self.stream.fault = None
        journal.append([b"a"])
        self.assertEqual(self.stream.ids, [(1, 2), (1, 3)])
        self.assertEqual(journal.current, 1)

    def test_one_that_was_replaced_undoes_nothing_of_its_successor(self) -> None:
        old = self.journal()
        old.begin(dict)
        new = self.journal()
        new.begin(dict)
        old.segments[1] = PARTS["SEGMENT_BYTES"]  # full: its next one would be 2, which the new has
        with self.assertLogs("barker.redis", "ERROR"):
            for _ in range(3):
                with self.assertRaises(OSError):
                    old.append([b"a"])
                new.append([b"b"])
        self.assertEqual(self.stream.ids, [(1, 1), (2, 1), (2, 2), (2, 3), (2, 4)])
        self.assertFalse(old.has_room())


@unittest.skipUnless(SLOW and SERVER, "BARKER_SLOW=1, and redis-server")
class ServerTest(unittest.TestCase):
    def assertPasses(self, cases: Sequence[Case], *flags: str) -> None:
        results: list[Result] = []
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ENGINE), *flags]
            log = pathlib.Path(folder) / "log"
            asyncio.run(conform("outbox", command, cases, log, results.append))
        self.assertEqual([r for r in results if r.state != PASSED], [])
        self.assertEqual(len(results), len(cases))

    def test_it_keeps_what_it_acks(self) -> None:
        with redis() as server:
            self.assertPasses(KEPT, "--redis", server.place)

    def test_while_redis_is_frozen_nothing_is_acked_and_nothing_comes_twice(self) -> None:
        with redis() as server:

            async def work(stand: Stand) -> None:
                there = await scene(stand)
                client, bizlogic = await there.begin()
                client.send(said(1, ["a1"]))
                await taken(client, 1)
                server.process.send_signal(signal.SIGSTOP)
                try:
                    await refused(client, 2, said(2, ["a2"]), FULL)
                finally:
                    server.process.send_signal(signal.SIGCONT)
                await self.put_until_taken(client, 3, "a2")
                await bizlogic.entries(2)
                stand.end()
                await stand.start()
                again = await there.bizlogic.link()
                ids = [entry.item.id for entry in await again.entries(2)]
                self.assertEqual(ids, ["a1", "a2"])
                await again.silence()

            case = Case("frozen", "nothing is acked, and nothing twice", "22", work)
            self.assertPasses([case], "--redis", server.place)

    def test_without_its_replica_nothing_is_acked(self) -> None:
        with redis() as server, contextlib.ExitStack() as stack:
            host, _, port = server.place.partition(":")
            replica = stack.enter_context(redis("everysec", "--replicaof", f"{host} {port}"))

            async def work(stand: Stand) -> None:
                there = await scene(stand)
                client, _ = await there.begin()
                await self.put_until_taken(client, 1, "a1")
                replica.process.kill()
                replica.process.wait()
                seq = 1 + self.puts
                await refused(client, seq, said(seq, ["a2"]), FULL)

            case = Case("replica", "a batch is on two machines", "22", work)
            self.assertPasses([case], "--redis", server.place, "--replicas", "1")

    async def put_until_taken(self, client: Peer, seq: int, id_: str) -> None:
        """Put it again after each refusal as full; `puts` has how often."""
        for self.puts in range(1, 50):
            client.send(said(seq, [id_]))
            answers = [await client.next()]
            if not isinstance(answers[0], Ack):
                self.assertEqual(getattr(answers[0], "code", ""), FULL)
                await taken(client, seq)
                seq += 1
                await asyncio.sleep(0.1)
            else:
                return
        self.fail(f"{id_} is never taken")
