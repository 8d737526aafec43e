"""Slots: what requests do to real processes, and that no other process is ever touched."""

import os
import signal
import socket
import subprocess
import sys
import time
import unittest

from barker.launching import slots as slots_module
from barker.launching.child import ChildProcess
from barker.launching.commands import Command, another
from barker.launching.slots import CAN_FREEZE, Refused, Slot, Slots
from tests.tools.children import DEADLINE_S, free_port

WAITS = "import sys; sys.stdin.read()"


def command(label: str, port: int | None = None) -> Command:
    program = label.partition("-")[0]
    words = f"{program} --port {port}" if port else program
    argv = ["-m", f"barker.{program}", *(["--port", str(port)] if port else [])]
    return Command(label, argv, "127.0.0.1", port, words, f"python -m barker.{words}")


class SlotsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.slots = Slots(self.begin)
        self.started: list[str] = []

    def begin(self, slot: Slot) -> None:
        child = ChildProcess(["-c", WAITS])
        child.read(lambda line: None)
        self.addCleanup(child.close)
        self.started.append(slot.command.label)
        slot.began(child)

    def add(self, label: str, port: int | None = None) -> Slot:
        slot = self.slots.add(command(label, port))
        self.begin(slot)
        return slot

    def end(self, slot: Slot) -> None:
        """As the launcher does when a child has ended."""
        assert slot.child
        slot.has_ended(slot.child.popen.wait(DEADLINE_S))

    def state(self, label: str) -> str:
        (row,) = (r for r in self.slots.report()["processes"] if r["process"] == label)
        return str(row["state"])

    def assertRefused(self, act: str, label: str, why: str) -> None:
        with self.assertRaisesRegex(Refused, why):
            self.slots.perform(act, label)

    def test_a_process_is_killed_and_started_again(self) -> None:
        slot = self.add("outbox-1")
        self.slots.perform("kill", "outbox-1")
        self.assertTrue(slot.is_expected)
        self.end(slot)
        self.assertEqual(self.state("outbox-1"), "ended")
        self.assertRefused("kill", "outbox-1", "does not run")
        self.assertRefused("stop", "outbox-1", "does not run")
        self.slots.perform("start", "outbox-1")
        self.assertEqual(self.started, ["outbox-1"] * 2)
        self.assertFalse(slot.is_expected)
        self.assertRefused("start", "outbox-1", "runs already")

    @unittest.skipUnless(CAN_FREEZE, "freezing")
    def test_a_frozen_process_is_thawed_or_killed_and_can_not_be_stopped(self) -> None:
        slot = self.add("outbox-1")
        self.assertRefused("thaw", "outbox-1", "is not frozen")
        self.slots.perform("freeze", "outbox-1")
        self.assertEqual(self.state("outbox-1"), "frozen")
        self.assertRefused("stop", "outbox-1", "is frozen")
        self.slots.perform("thaw", "outbox-1")
        self.slots.perform("freeze", "outbox-1")
        self.slots.perform("kill", "outbox-1")
        self.end(slot)
        self.assertEqual(self.state("outbox-1"), "ended")

    @unittest.skipUnless(CAN_FREEZE and hasattr(os, "waitid"), "waitid")
    def test_what_a_terminal_has_frozen_is_noticed_and_nothing_is_reaped(self) -> None:
        slot = self.add("outbox-1")
        assert slot.child
        for number, state in ((signal.SIGSTOP, "frozen"), (signal.SIGCONT, "running")):
            os.kill(slot.child.pid, number)
            until_s = time.monotonic() + DEADLINE_S
            while not self.slots.look():
                self.assertLess(time.monotonic(), until_s)
            self.assertEqual(self.state("outbox-1"), state)
            self.assertFalse(self.slots.look())
        slot.child.kill()
        self.slots.look()
        self.end(slot)
        self.assertEqual(slot.ended, "killed by SIGKILL")

    def test_only_a_label_of_the_list_names_a_process(self) -> None:
        other = subprocess.Popen([sys.executable, "-c", WAITS], stdin=subprocess.PIPE)
        self.addCleanup(other.communicate)
        slot = self.add("outbox-1")
        assert slot.child
        for name in (str(other.pid), str(slot.child.pid), "-1", "0", "outbox-2", "outbox", ""):
            for act in slots_module.ACTS:
                self.assertRefused(act, name, "is no process of this launcher")
        self.assertRefused("signal", "outbox-1", "there is no act")
        self.assertIsNone(other.poll())
        self.assertIsNone(slot.child.status)

    def test_controls_does_not_act_on_itself_and_a_system_has_one_directory(self) -> None:
        self.add("controls-1")
        self.add("directory-1")
        for act in slots_module.ACTS:
            self.assertRefused(act, "controls-1", "does not act on itself")
        self.assertRefused("more", "directory-1", "one directory")

    def test_one_more_gets_the_next_port_that_is_free(self) -> None:
        port = free_port()
        self.add(f"outbox-{port}", port)
        with socket.create_server(("127.0.0.1", port + 1)):
            self.slots.perform("more", f"outbox-{port}")
        self.assertEqual(self.started[-1], f"outbox-{port + 2}")
        (_, row) = self.slots.report()["processes"]
        self.assertEqual(row["start"], f"python -m barker.outbox --port {port + 2}")

    def test_promise_5_the_list_has_an_end(self) -> None:
        self.add("autobark-1")
        for _ in range(slots_module.MAX_COMMANDS - 1):
            self.slots.perform("more", "autobark-1")
        self.assertRefused("more", "autobark-1", "no more may come")
        self.assertEqual(len(self.started), slots_module.MAX_COMMANDS)
        self.assertIsNone(self.slots.report()["processes"][0]["more"])


class AnotherTest(unittest.TestCase):
    def test_it_has_the_words_of_the_first_with_a_port_of_its_own(self) -> None:
        argv = ["-m", "barker.outbox", "--port", "5801", "--state", "/5801"]
        one = Command("outbox-5801", argv, "::1", 5801, "outbox --port 5801", "py --port 5801")
        more = another(one, [one, one._replace(label="outbox-5802", port=5802)])
        self.assertEqual(more.label, "outbox-5803")
        self.assertEqual(more.argv, [*argv[:3], "5803", "--state", "/5801"])
        self.assertEqual(more[2:6], ("::1", 5803, "outbox --port 5803", "py --port 5803"))

    def test_it_passes_over_ports_of_others_and_those_that_no_browser_takes(self) -> None:
        one = Command("outbox-5999", ["-m", "barker.outbox", "--port", "5999"], port=5999)
        other = Command("inbox-6001", ["-m", "barker.inbox", "--port", "6001"], port=6001)
        self.assertEqual(another(one, [one, other]).port, 6002)
        last = Command("outbox-65535", ["-m", "barker.outbox", "--port", "65535"], port=65535)
        self.assertRaises(ValueError, another, last, [last])

    def test_labels_without_a_port_are_counted(self) -> None:
        one = Command("autobark-1", ["-m", "barker.autobark", "0.5"])
        two = another(one, [one])
        self.assertEqual(two.label, "autobark-2")
        self.assertEqual(another(one, [one, two]).label, "autobark-3")

    def test_a_name_of_its_own_is_for_one(self) -> None:
        for words in (["--name", "x"], ["--name=x"]):
            one = Command("inbox-1", ["-m", "barker.inbox", "--port", "1", *words], port=1)
            self.assertRaises(ValueError, another, one, [one])
