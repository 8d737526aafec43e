"""The outbox with a Redis stream: its words on the wire, and a real server where there is one."""

import asyncio
import pathlib
import runpy
import socket
import sys
import tempfile
import threading
import unittest
from typing import Any

from barker.laboratory.conformance import PASSED, Result, conform
from barker.laboratory.keptcases import KEPT
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


@unittest.skipUnless(SLOW and SERVER, "BARKER_SLOW=1, and redis-server")
class ServerTest(unittest.TestCase):
    def test_it_keeps_what_it_acks(self) -> None:
        results: list[Result] = []
        with redis() as place, tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ENGINE), "--redis", place]
            log = pathlib.Path(folder) / "log"
            asyncio.run(conform("outbox", command, KEPT, log, results.append))
        self.assertEqual([r for r in results if r.state != PASSED], [])
        self.assertEqual(len(results), len(KEPT))
