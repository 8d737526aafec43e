"""What a command prints on its terminal."""

import argparse
import contextlib
import errno
import io
import json
import logging
import os
import sys
import tempfile
import unittest
from collections.abc import Iterator
from unittest import mock

from barker import follow, judge, listen
from barker.laboratory import guide
from barker.laboratory.conformance import Case, Result
from barker.laboratory.findings import Finding
from barker.laboratory.progress import Progress
from barker.launching import fleet
from barker.process import logs, terminal
from monitoring.table import table


class Screen(io.StringIO):
    """A stream that is a terminal, or is none."""

    def __init__(self, *, tty: bool = True) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


class Full(io.StringIO):
    """A stream that takes nothing, for this reason."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, text: str) -> int:
        raise OSError(self._number, os.strerror(self._number))


class ComplainTest(unittest.TestCase):
    def test_complaints_are_one_line_on_stderr(self) -> None:
        with mock.patch("builtins.print") as printed:
            terminal.complain("bark", "no directory")
        printed.assert_called_once_with("bark: no directory", file=sys.stderr, flush=True)

    def test_they_never_go_to_standard_output(self) -> None:
        with (
            contextlib.redirect_stdout(io.StringIO()) as said,
            mock.patch.object(sys, "stderr", None),
        ):
            terminal.complain("bark", "no directory")
            terminal.end_line()
        self.assertEqual(said.getvalue(), "")


class SayTest(unittest.TestCase):
    def said(self, stream: io.StringIO | None) -> tuple[bool, str]:
        with (
            contextlib.redirect_stderr(io.StringIO()) as complaint,
            mock.patch.object(sys, "stdout", stream),
        ):
            return terminal.say("bark", "Woof."), complaint.getvalue()

    def test_it_is_true_if_the_line_is_written(self) -> None:
        stream = io.StringIO()
        self.assertEqual(self.said(stream), (True, ""))
        self.assertEqual(stream.getvalue(), "Woof.\n")

    def test_a_reader_that_has_gone_is_no_trouble(self) -> None:
        self.assertEqual(self.said(Full(errno.EPIPE)), (False, ""))

    def test_any_other_reason_is_told(self) -> None:
        self.assertEqual(self.said(None), (False, "bark: standard output is closed\n"))
        said, why = self.said(Full(errno.ENOSPC))
        self.assertFalse(said)
        self.assertRegex(why, "^bark: standard output can't be written: No space left.*\n$")


class EndLineTest(unittest.TestCase):
    def test_only_a_terminal_has_a_line_to_end(self) -> None:
        for tty, written in ((True, "\n"), (False, "")):
            with contextlib.redirect_stderr(Screen(tty=tty)) as screen:
                terminal.end_line()
            self.assertEqual(screen.getvalue(), written)


class ColourTest(unittest.TestCase):
    def wanted(self, *, tty: bool = True, **environment: str) -> bool:
        with mock.patch.dict(os.environ, {"TERM": "xterm", **environment}, clear=True):
            return terminal.wants_colour(Screen(tty=tty))

    def test_a_terminal_has_colours_and_a_file_has_none(self) -> None:
        self.assertTrue(self.wanted())
        self.assertFalse(self.wanted(tty=False))
        self.assertFalse(terminal.wants_colour(None))

    def test_no_color_counts_when_it_is_not_empty(self) -> None:
        self.assertTrue(self.wanted(NO_COLOR=""))
        for value in ("1", "0", "no"):
            self.assertFalse(self.wanted(NO_COLOR=value))

    def test_a_dumb_terminal_has_none(self) -> None:
        self.assertFalse(self.wanted(TERM="dumb"))

    def test_force_color_counts_when_it_is_not_empty_and_less_than_no_color(self) -> None:
        self.assertTrue(self.wanted(tty=False, FORCE_COLOR="1"))
        self.assertTrue(self.wanted(TERM="dumb", FORCE_COLOR="1"))
        self.assertFalse(self.wanted(tty=False, FORCE_COLOR=""))
        self.assertFalse(self.wanted(NO_COLOR="1", FORCE_COLOR="1"))


class PythonTest(unittest.TestCase):
    def typed(self, word: str, found: str | None) -> str:
        with (
            mock.patch.object(sys, "orig_argv", [word, "launch.py"]),
            mock.patch("shutil.which", return_value=found),
        ):
            return terminal.python()

    def test_it_is_the_word_that_was_typed(self) -> None:
        for word in ("python", "python3", "python3.12"):
            self.assertEqual(self.typed(word, f"/usr/bin/{word}"), word)

    def test_a_path_is_left_out_if_the_shell_finds_the_same_python(self) -> None:
        self.assertEqual(self.typed("/usr/bin/python3", sys.executable), "python3")

    def test_a_path_is_kept_if_the_shell_finds_another_python_or_none(self) -> None:
        for found in (os.__file__, None):
            self.assertEqual(
                self.typed("/opt/my py/bin/python3", found), "'/opt/my py/bin/python3'"
            )


class OthersTextTest(unittest.TestCase):
    """No control, C1 or bidirectional override character of anybody's comes to a terminal."""

    HOSTILE = "\x1b[2J\x9b2K\r\x00\x7f\u202e\u2066\u200f\u2028end"

    def assertHarmless(self, text: str) -> None:
        self.assertTrue(text.isprintable(), ascii(text))
        self.assertIn("end", text)

    @contextlib.contextmanager
    def printed(self, lines: int = 0, label: str = "") -> Iterator[None]:
        """What is printed in here is harmless; of it, `lines` have text of others."""
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            yield
        said = [line.removeprefix(label) for line in stdout.getvalue().split("\n")]
        for line in said:
            self.assertTrue(line.isprintable(), ascii(line))
        self.assertGreaterEqual(len([line for line in said if "end" in line]), lines)

    def args(self, command: argparse.ArgumentParser, *argv: str) -> argparse.Namespace:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        return command.parse_args([*argv, "--state", folder])

    def test_text_and_json(self) -> None:
        self.assertHarmless(terminal.printable(self.HOSTILE))
        line = terminal.printable_json(json.dumps({"a": self.HOSTILE + "é"}, ensure_ascii=False))
        self.assertHarmless(line)
        self.assertIn("é", line)
        self.assertEqual(json.loads(line), {"a": self.HOSTILE + "é"})

    def test_listen_in_both_forms(self) -> None:
        fields = {"user": self.HOSTILE, "content": self.HOSTILE, "at": 1}
        for flags in ((), ("--json",)):
            listener = listen.Listener(self.args(listen.parser(), "ark3", *flags))
            with self.printed(1):
                listener._show("ark3", fields, False)

    def test_follow_list(self) -> None:
        lister = follow.Lister(self.args(follow.parser(), "ark3", "--list"))
        answer = {"user": "ark3", "exists": True, "following": 1, "followed_by": 0}
        with self.printed(1):
            lister._show({**answer, "follows": [self.HOSTILE], "followers": []})

    def test_labels_of_a_launcher(self) -> None:
        fleet_ = fleet.Fleet("launch.py")
        with self.printed(1, label="\033[31mx | \033[0m"):
            fleet_._said(mock.Mock(), "x", "\033[31mx | \033[0m", self.HOSTILE)

    def test_the_monitor_s_table(self) -> None:
        row = {"name": "x", "kind": "inbox", "up": False, "gone": 1, "how": self.HOSTILE}
        frame = {"at": 1, "depth": 0, "left_out": 0, "routes": {}, "services": [row]}
        with self.printed(1):
            terminal.say("monitor", *table(frame))

    def test_the_tour(self) -> None:
        """Lines of services, names of owners, and reasons for which something is false."""
        tour = mock.Mock(spec=guide.Guide)
        with self.printed(2):
            guide.Guide.show(tour, self.HOSTILE)
            guide.say("\n" + guide.wrapped(f"FALSE: {self.HOSTILE}"))

    def test_the_judge(self) -> None:
        case = Case(self.HOSTILE, "a rule", "3", mock.Mock())
        with self.printed(2):
            terminal.say("judge", *judge._result(Result(case, "FAILED", self.HOSTILE)))
            found = Finding("1", "Acknowledged means kept", "BROKEN", self.HOSTILE)
            terminal.say("judge", *judge._finding(found))

    def test_progress(self) -> None:
        stream = io.StringIO()
        Progress(stream).say(self.HOSTILE)
        self.assertHarmless(stream.getvalue().removesuffix("\n"))

    def test_a_complaint_and_a_wrong_command_line(self) -> None:
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            terminal.complain("bark", self.HOSTILE)
            logs.complain("bark", self.HOSTILE)
            logs.flush()  # another test of this process may have begun the queue of lines
            with self.assertRaises(SystemExit):
                listen.parser().parse_args(["ark3", f"--{self.HOSTILE}"])
        for line in filter(None, stderr.getvalue().split("\n")):
            self.assertTrue(line.isprintable(), ascii(line))
        self.assertEqual(stderr.getvalue().count("end"), 3)

    def test_a_traceback_in_a_log(self) -> None:
        handler = logs.QueuedHandler()
        try:
            raise ValueError(self.HOSTILE)
        except ValueError:
            record = logging.LogRecord("x", logging.ERROR, "", 0, "x", (), sys.exc_info())
        for line in handler.format(record).split("\n"):
            self.assertTrue(line.isprintable(), ascii(line))
