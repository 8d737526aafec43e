"""The command lines of our commands: where options may stand, and what is said of others."""

import contextlib
import io
import unittest

from barker import bark, followers, inbox, listen, outbox
from barker.launching import launcher, system
from barker.process.arguments import VERSION, Parser, quick_parser


class ParserTest(unittest.TestCase):
    def refused(self, parser: object, *argv: str) -> str:
        """What is wrong with a command line that can't be followed, in one line."""
        assert isinstance(parser, Parser)
        with (
            contextlib.redirect_stderr(io.StringIO()) as said,
            self.assertRaises(SystemExit) as ended,
        ):
            parser.parse_args(argv)
        self.assertEqual(ended.exception.code, 2)
        self.assertIn(f"\nall options: {parser.prog} --help\n", said.getvalue())
        return said.getvalue().splitlines()[0]

    def test_options_stand_in_front_between_and_behind(self) -> None:
        for argv in (
            "--id x --timeout 3 ark3 so it is",
            "ark3 --id x so it is --timeout 3",
            "ark3 so --id x it --timeout 3 is",
            "ark3 so it is --timeout 3 --id x",
        ):
            args = bark.parser().parse_args(argv.split())
            self.assertEqual((args.user, args.text), ("ark3", ["so", "it", "is"]), argv)
            self.assertEqual((args.id, args.timeout), ("x", 3.0))
        args = listen.parser().parse_args(["ark3", "--once", "rdl"])
        self.assertEqual((args.users, args.once), (["ark3", "rdl"], True))

    def test_behind_two_dashes_nothing_is_an_option(self) -> None:
        args = bark.parser().parse_args("ark3 -- -5 degrees --id no".split())
        self.assertEqual((args.text, args.id), (["-5", "degrees", "--id", "no"], None))
        args = bark.parser().parse_args("ark3 a -- --b".split())
        self.assertEqual(args.text, ["a", "--b"])

    def test_an_unknown_option_is_told_with_the_way_out(self) -> None:
        said = self.refused(bark.parser(), *"ark3 I am --really happy".split())
        self.assertRegex(said, "^bark: there is no option --really; .* goes behind --$")
        said = self.refused(listen.parser(), *"ark3 --onec".split())
        self.assertEqual(said, "listen: there is no option --onec; --once is one")

    def test_a_wrong_option_is_told_before_what_is_missing_because_of_it(self) -> None:
        for argv in ("--text hi", "--user ark3", "-q", "ark3 -q hi", "--text=hi"):
            with self.subTest(argv):
                said = self.refused(bark.parser(), *argv.split())
                self.assertRegex(said, "^bark: (there is no option -|the following .* required)")
        self.assertIn("no option --text;", self.refused(bark.parser(), "--text", "hi"))
        self.assertEqual(
            self.refused(quick_parser("inbox", ""), "5820", "5821"),
            "inbox: one word too many: 5820",
        )

    def test_a_mistake_shows_how_it_is_written(self) -> None:
        with (
            contextlib.redirect_stderr(io.StringIO()) as said,
            self.assertRaises(SystemExit),
        ):
            bark.parser().parse_args(["ark3"])
        text = said.getvalue()
        self.assertRegex(text, r"\Abark: the following arguments are required: text\nsuch as:\n  ")
        self.assertIn("-m barker.bark ark3 This is my first manual bark.\n", text)

    def test_a_free_port_wants_a_name_for_what_is_kept(self) -> None:
        for main in (inbox.main, outbox.main, followers.main):
            with (
                contextlib.redirect_stderr(io.StringIO()) as said,
                self.assertRaises(SystemExit) as ended,
            ):
                main(["--port", "0"])
            self.assertEqual(ended.exception.code, 2)
            self.assertIn("add --name NAME", said.getvalue())

    def test_no_word_of_a_text_is_taken_for_the_beginning_of_an_option(self) -> None:
        self.assertIn("no option --i;", self.refused(bark.parser(), "ark3", "so", "--i", "think"))

    def test_version_is_a_line_on_standard_output(self) -> None:
        with (
            contextlib.redirect_stdout(io.StringIO()) as said,
            self.assertRaises(SystemExit) as ended,
        ):
            bark.main(["--version"])
        self.assertEqual((said.getvalue(), ended.exception.code), (f"{VERSION}\n", 0))
        self.assertRegex(VERSION, r"^Barker .* Python 3\.\d+\.\d+\S*$")

    def test_a_launcher_takes_its_host_with_and_without_a_flag(self) -> None:
        for argv in (["localhost"], ["--host", "localhost"], ["localhost", "--host", "localhost"]):
            args = launcher.launcher_arguments(system.parser(), argv)
            self.assertEqual(args.host, "localhost", argv)
        self.assertEqual(launcher.launcher_arguments(system.parser(), []).host, "127.0.0.1")
        with (
            contextlib.redirect_stderr(io.StringIO()) as said,
            self.assertRaises(SystemExit) as ended,
        ):
            launcher.launcher_arguments(system.parser(), ["a", "--host", "b"])
        self.assertEqual(ended.exception.code, 2)
        self.assertIn("a and --host b are two hosts", said.getvalue())

    def test_ports_are_not_moved_down(self) -> None:
        said = self.refused(system.parser(), "--shift-ports", "-1")
        self.assertIn("--shift-ports: '-1' is not a whole number, 0 or more", said)


class ListTest(unittest.TestCase):
    """The list of commands in launch.py."""

    def fleet(self, *lines: str, argv: str = "") -> list[str]:
        args = launcher.launcher_arguments(system.parser(), argv.split())
        return [f"{c.label}: {' '.join(c.argv)}" for c in system.fleet_of(lines, args)]

    def assertBad(self, why: str, *lines: str) -> None:
        """The last of the lines is bad."""
        with self.assertRaises(system.BadLine) as bad:
            self.fleet(*lines)
        said = str(bad.exception)
        self.assertRegex(said, why)
        self.assertIn(f"line {len(lines)} of COMMANDS, {lines[-1]!r}: ", said)

    def test_a_mistake_is_told_with_its_line(self) -> None:
        good = "directory --port 5672"
        self.assertBad("'fifty' is not a port", good, "bizlogic --port fifty")
        self.assertBad("'' is not a port", good, "bizlogic --port=")
        self.assertBad("'70000' is not a port", "bizlogic --port 70000")
        self.assertBad("--port needs a number", good, "bizlogic --port")
        self.assertBad("[Nn]o closing quotation", good, 'listen "ark3')
        self.assertBad("there is no command in it", good, "")
        self.assertBad("there is no command in it", "  ")
        self.assertBad("there is no barker/bizlogik.py", good, "bizlogik --port 5680")
        self.assertBad("there is no barker/", good, "../launch")
        self.assertBad("line 2 of COMMANDS has this", good, "outbox --port 1", "inbox --port 1")
        self.assertBad("there is one controls", good, "controls --port 1", "controls --port 2")
        self.assertBad("it is no text", good, 5680)  # type: ignore[arg-type]

    def test_the_line_of_controls_is_named_as_such(self) -> None:
        for own, why in [
            ("outbox --port 5701", "line 1 of COMMANDS has this port already"),
            ("controls --port 5702", "there is one controls for a launcher"),
        ]:
            with self.assertRaises(system.BadLine) as bad:
                self.fleet(own, argv="--controls")
            self.assertEqual(
                str(bad.exception), f"the line of --controls, 'controls --port 5701': {why}"
            )

    def test_a_list_without_a_line_is_a_mistake(self) -> None:
        with self.assertRaisesRegex(system.BadLine, "^COMMANDS is empty"):
            self.fleet()

    def test_a_port_may_be_joined_to_its_flag(self) -> None:
        for line in ("outbox --port=5800", "outbox --port 5800"):
            self.assertEqual(
                self.fleet(line, argv="--shift-ports 7"),
                [
                    "outbox-5807: -m barker.outbox --port 5807 --host 127.0.0.1"
                    " --directory 127.0.0.1:5679"
                ],
            )

    def test_port_0_is_any_free_one_and_is_not_moved(self) -> None:
        (outbox, _) = self.fleet("outbox --port 0", "outbox --port 0", argv="--shift-ports 7")
        self.assertRegex(outbox, "^outbox-1: -m barker.outbox --port 0 ")
