"""A client in another language, written from the protocol chapter alone, puts and reads barks."""

import shutil
import subprocess
import unittest

from barker.disk.files import ROOT
from tests.tools.fleet import DEADLINE_S, Fleet

CLIENT = ROOT / ".ci" / "client.mjs"
NODE = shutil.which("node")


@unittest.skipUnless(NODE and CLIENT.exists(), "Node.js is not there")
class OtherLanguageTest(unittest.TestCase):
    def test_it_puts_barks_and_reads_them_within_its_window(self) -> None:
        with Fleet() as fleet:
            directory = fleet.directory()
            fleet.inbox()
            fleet.bizlogic()
            fleet.outbox()
            texts = [f"Bark {i}, in JavaScript: é 🐕" for i in range(6)]
            for count, text in enumerate(texts, start=1):
                words = [str(directory.port), str(fleet.state / "secret.clients"), "ark3", text]
                done = subprocess.run(
                    [str(NODE), str(CLIENT), *words],
                    capture_output=True,
                    text=True,
                    encoding="utf-8",
                    timeout=DEADLINE_S,
                    check=False,
                )
                acked, *shown = done.stdout.splitlines()
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertRegex(acked, r"^acked [0-9a-f]{24}$")
                self.assertEqual(shown, [f"shown {text}" for text in texts[:count]])
