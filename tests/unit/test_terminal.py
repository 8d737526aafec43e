"""What a command prints on its terminal."""

import sys
import unittest
from unittest import mock

from barker.process import terminal


class ComplainTest(unittest.TestCase):
    def test_complaints_are_one_line_on_stderr(self) -> None:
        with mock.patch("builtins.print") as printed:
            terminal.complain("bark", "no directory")
        printed.assert_called_once_with("bark: no directory", file=sys.stderr, flush=True)
