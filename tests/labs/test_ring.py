"""The lab of the ring: whatever a reader's ring does, the judge measures it or tells why not."""

import asyncio
import os
import pathlib
import tempfile
import textwrap
import unittest
from unittest import mock

from barker.laboratory import ringtask
from barker.laboratory.lab import Broken
from tests.tools.fleet import until

RING = """
class Ring:
    def __init__(self, nodes):
        self.nodes = sorted(nodes)

    def owner(self, key):
        return self.nodes[len(key) % len(self.nodes)]

    def shares(self):
        return dict.fromkeys(self.nodes, 1 / len(self.nodes))
"""


class MeasuredTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        patch = mock.patch.object(ringtask, "ROOT", self.root)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, ring: str) -> None:
        path = self.root / "barker" / "routing" / "ring.py"
        path.parent.mkdir(parents=True)
        for folder in (path.parent, path.parent.parent):
            (folder / "__init__.py").touch()
        path.write_text(textwrap.dedent(ring), encoding="utf-8")

    async def test_a_ring_may_print(self) -> None:
        self.write(
            RING.replace("self.nodes = sorted", 'print("nodes", nodes); self.nodes = sorted')
        )
        found = await ringtask.measured([["a", "b"]], 3)
        self.assertEqual(found["owners"], [["b", "b", "b"]])

    async def test_shares_that_are_not_written_yet_are_a_reason(self) -> None:
        self.write(RING.replace("return dict.", "dict."))
        with self.assertRaisesRegex(Broken, "ring.py raises TypeError"):
            await ringtask.measured([["a", "b"]], 3)

    @unittest.skipUnless(os.name == "posix", "signals")
    async def test_an_endless_one_ends_with_the_judge(self) -> None:
        pid = self.root / "pid"
        begin = f"import os, pathlib\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))"
        self.write(f"{begin}\nwhile True: pass\n")
        work = asyncio.create_task(ringtask.measured([["a"]], 1))
        await until(lambda: pid.exists() and pid.read_text(), "the ring is asked")
        work.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await work
        with self.assertRaises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)
