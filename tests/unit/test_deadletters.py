"""Dead letters: what is refused for good behind an ack is parked in a file."""

import errno
import json
import os
import pathlib
import tempfile
import unittest
from collections.abc import Sequence
from typing import Any
from unittest import mock

from barker.disk import deadletters
from barker.disk.deadletters import DeadLetters, Letter
from barker.outbox import Outbox
from barker.wire import protocol
from barker.wire.ops import Refuse
from barker.wire.strictjson import dumps
from tests.tools.fakes import FakeLink
from tests.tools.fleet import run_to_its_end
from tests.tools.inside import barks_of, parking_of
from tests.tools.wireclient import bark
from tests.unit.test_recovery import Peer, RecoveryTest


class DeadLetterTest(RecoveryTest):
    def refuse(self, manifold: Outbox, biz: FakeLink, code: str = protocol.FAILED) -> None:
        refusal = Refuse(1, code, "it raised", ["bizlogic"])
        barks_of(manifold).sender.on_refuse(biz, refusal)  # type: ignore[arg-type]

    def letters(self, manifold: Outbox) -> list[dict[str, Any]]:
        path = manifold.args.state / "dead-letters" / "outbox.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()]

    def test_what_was_acked_and_is_refused_for_good_is_parked_and_the_rest_goes_on(self) -> None:
        for code in (protocol.FAILED, protocol.BAD_MESSAGE, protocol.TOO_LARGE):
            with self.subTest(code):
                manifold = self.begin(Outbox, self.new_folder())
                self.assertAcked(self.say(manifold, *self.barks("b1", "b2")))
                biz = self.bizlogic(manifold)
                with self.assertLogs("barker", "ERROR"):
                    self.refuse(manifold, biz, code)
                self.settle(manifold, biz, 2)
                self.assertEqual((len(barks_of(manifold)), barks_of(manifold).noted), (0, 2))
                (letter,) = self.letters(manifold)
                del letter["at"]
                why = {"code": code, "reason": "it raised", "addresses": ["bizlogic"]}
                self.assertEqual(letter, {**why, "body": bark("ark3", "b1")})
                gauges = manifold.gauges()
                self.assertEqual(gauges["dead_letters"], 1)
                self.assertEqual(gauges["dead_letter"], f"ark3's bark b1: it raised ({code})")

    def test_what_can_not_be_parked_stays_in_its_queue(self) -> None:
        full = OSError(errno.ENOSPC, "No space left on device")
        before = self.outbox()
        self.assertAcked(self.say(before, *self.barks("b1")))
        with (
            mock.patch.object(DeadLetters, "_write", side_effect=full) as write,
            self.assertLogs("barker", "ERROR"),
        ):
            biz = self.bizlogic(before)
            self.refuse(before, biz)
            self.settle(before, biz, 1)
            self.assertEqual(write.call_count, 2, "it was tried again")
            self.assertEqual(barks_of(before).oldest_n(99), 1)
        # Nothing is noted as settled, so after a restart it goes again; then there is room.
        self.timers.clear()
        after = self.again(before)
        with self.assertLogs("barker", "ERROR"):
            self.refuse(after, self.bizlogic(after))
        self.fire()
        self.assertEqual((len(self.letters(after)), barks_of(after).noted), (1, 1))
        run_to_its_end(after.stopping())
        last = self.begin(Outbox, after.args.state)
        self.assertEqual((parking_of(last).letters.count, len(barks_of(last))), (1, 0))

    def test_promise_5_what_waits_for_the_file_of_dead_letters_counts_as_waiting(self) -> None:
        outbox = self.outbox("--max-backlog", "1")
        with (
            mock.patch.object(DeadLetters, "park", side_effect=OSError(28, "full")),
            self.assertLogs("barker", "ERROR"),
        ):
            self.assertAcked(self.say(outbox, *self.barks("a")))
            self.refuse(outbox, self.bizlogic(outbox))
            self.assertEqual(len(barks_of(outbox)), 1)
            said = self.say(outbox, *self.barks("b"), link=Peer())
            self.assertEqual(said[0]["code"], protocol.FULL)
        with self.assertLogs("barker", "ERROR"):
            self.fire()
        self.assertEqual(len(barks_of(outbox)), 0)
        self.assertAcked(self.say(outbox, *self.barks("b"), link=Peer()))


class LettersTest(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "dead" / "box.jsonl"

    def letter(self, id_: str, to: Sequence[str] = ("bizlogic",), reason: str = "no") -> Letter:
        return Letter(dumps(bark("ark3", id_)), to, "failed", reason)

    def park(self, letters: DeadLetters, *which: Letter) -> None:
        with self.assertLogs("barker.disk.deadletters", "ERROR"):
            for letter in which:
                letters.park(letter, 7)

    def test_they_are_lines_of_json_for_their_owner_s_eyes_and_counted_after_a_restart(
        self,
    ) -> None:
        letters = DeadLetters(self.path)
        self.park(letters, self.letter("a"), self.letter("b", reason="\x1b[2J"))
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        self.assertEqual([line["body"]["id"] for line in lines], ["a", "b"])
        self.assertEqual((lines[0]["at"], lines[0]["addresses"]), (7, ["bizlogic"]))
        if os.name == "posix":
            self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        again = DeadLetters(self.path)
        self.assertEqual((again.count, again.latest), (2, letters.latest))

    def test_the_same_letter_again_is_kept_once_also_after_a_restart(self) -> None:
        self.park(DeadLetters(self.path), self.letter("a"))
        again = DeadLetters(self.path)
        again.park(self.letter("a"), 8)
        self.assertEqual(len(self.path.read_bytes().splitlines()), 1)
        self.park(again, self.letter("a", to=["inbox/rdl"]))
        self.assertEqual(len(self.path.read_bytes().splitlines()), 2)

    def test_a_letter_that_a_kill_has_cut_costs_no_other(self) -> None:
        self.park(DeadLetters(self.path), self.letter("a"))
        with self.path.open("ab") as file:
            file.write(b'{"at":7,"code"')
        with self.assertLogs("barker.disk.deadletters", "WARNING"):
            again = DeadLetters(self.path)
        self.park(again, self.letter("b"))
        with self.assertLogs("barker.disk.deadletters", "WARNING"):
            self.assertEqual(DeadLetters(self.path).count, 2)

    def test_a_write_that_fails_leaves_nothing_behind_and_is_told(self) -> None:
        letters = DeadLetters(self.path)
        self.park(letters, self.letter("a"))
        before = self.path.read_bytes()
        real = os.write

        def write(file: int, data: bytes) -> int:
            return real(file, data[:5])

        with mock.patch.object(os, "write", write), self.assertRaises(OSError):
            letters.park(self.letter("b"), 7)
        self.assertEqual((self.path.read_bytes(), letters.count), (before, 1))

    def test_the_file_has_a_limit(self) -> None:
        letters = DeadLetters(self.path)
        self.park(letters, self.letter("a"))
        with (
            mock.patch.object(deadletters, "MAX_BYTES", self.path.stat().st_size + 10),
            self.assertRaisesRegex(OSError, "is full"),
        ):
            letters.park(self.letter("b"), 7)

    def test_without_a_file_the_log_has_the_whole_of_it(self) -> None:
        letters = DeadLetters(None)
        with self.assertLogs("barker.disk.deadletters", "ERROR") as logs:
            letters.park(self.letter("a"), 7)
        self.assertIn(dumps(bark("ark3", "a")).decode(), logs.output[0])
