"""TLS through the whole system, and from both launchers."""

import json
import shlex
import unittest
from typing import Any

from tests.system.test_launch import ProjectTest
from tests.tools.fleet import CERTIFICATES, SLOW, TLS_FLAGS, Fleet, Process


class SystemTest(unittest.TestCase):
    def test_a_command_that_lacks_some_of_the_flags_says_so_and_exits_with_2(self) -> None:
        with Fleet() as fleet:
            said = fleet.run("directory", "--port", "0", *TLS_FLAGS[:4])
            self.assertEqual(said.ended(), 2)
            self.assertEqual(len(said.lines), 1)
            self.assertIn("--tls-ca", said.lines[0])

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_a_whole_system_under_tls(self) -> None:
        with Fleet(more_flags=TLS_FLAGS) as fleet:
            fleet.directory()
            fleet.inbox()
            fleet.bizlogic()
            fleet.outbox()
            reader = fleet.run("listen", "ark3", "--count", "1")
            said = fleet.run("bark", "ark3", "Nobody", "listens", "in.")
            self.assertEqual(said.ended(), 0, said)
            reader.wait_for("ark3 <-- ark3: +Nobody listens in.")
            self.assertEqual(reader.ended(), 0)
            fleet.more_flags = ()
            plain = fleet.run("bark", "ark3", "--timeout", "0.5", "in", "the", "clear")
            self.assertEqual(plain.ended(), 1)
            self.assertRegex(plain.lines[-1], "no directory at .*--tls-ca")
            deaf = fleet.run("listen", "ark3")
            deaf.wait_for(rf"127.0.0.1:{fleet.port}: it hangs up .*--tls-ca")
            fleet.more_flags = ("--tls-ca", str(CERTIFICATES / "stranger.pem"))
            fooled = fleet.run("bark", "ark3", "--timeout", "0.5", "to", "whom?")
            self.assertEqual(fooled.ended(), 1)
            self.assertRegex(fooled.lines[-1], "no directory at .*not to be trusted")
            for process in fleet.processes:
                process.popen.terminate()
            for process in fleet.processes:
                process.ended()
                self.assertNotIn("Traceback", "\n".join(process.lines))


class LauncherTest(ProjectTest):
    """`launch.py` hands the flags on, and the page learns of it."""

    def launch(self, *args: str, script: str = "launch.py") -> Process:
        return super().launch(*TLS_FLAGS, *args, script=script)

    @unittest.skipUnless(SLOW, "BARKER_SLOW=1: a whole system")
    def test_the_launchers_hand_it_on_and_tell_the_pages(self) -> None:
        launcher = self.launch()
        launcher.wait_for(r"\d\d:\d\d:\d\d ark3 <-- \w+: +\S")
        self.assertIs(self.settings("webui/barker_host.js")["tls"], True)
        monitor = self.launch(script="monitoring/launch.py")
        monitor.wait_for("READY")
        self.assertIs(self.settings("monitoring/monitor_host.js")["tls"], True)
        glance = next(x for x in monitor.lines if "--once" in x)
        shown = self.run_command(*shlex.split(glance)[1:], "--json")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("bizlogic", {row["kind"] for row in json.loads(shown.stdout)["services"]})
        self.end(monitor)
        self.end(launcher)

    def settings(self, path: str) -> Any:
        text = (self.root / path).read_text()
        return json.loads(text.removeprefix("window.BARKER = ").removesuffix(";\n"))
