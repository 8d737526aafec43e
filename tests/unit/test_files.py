"""The state folder: whoever comes first makes a file, and all agree on it."""

import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from barker.disk import users
from barker.disk.files import ROOT, StateError, make_folder, make_once, world, write_page_settings
from barker.disk.keys import secret

CHILD = """
import pathlib, sys
from barker.disk import files, keys
print(flush=True)
sys.stdin.read()
path = pathlib.Path(sys.argv[1])
print(keys.secret(path).decode(), len(files.world(path).names), flush=True)
"""


class StateCase(unittest.TestCase):
    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory(prefix="barker état "))
        self.state = pathlib.Path(folder) / "not there yet" / "var"

    def write(self, name: str, content: bytes) -> pathlib.Path:
        self.state.mkdir(parents=True, exist_ok=True)
        path = self.state / name
        path.write_bytes(content)
        return path

    def files(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir())

    def assertMode(self, path: pathlib.Path, mode: int) -> None:
        if os.name == "posix":
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)


# A disk without hard links refuses them; a system without any has no such function.
REFUSED = """
import errno, os
def link(*_): raise OSError(errno.EPERM, os.strerror(errno.EPERM))
os.link = link
"""
ABSENT = """
import os
del os.link
"""


class MakeOnceTest(StateCase):
    def test_ten_processes_at_once_agree(self) -> None:
        self.assertAgree("")
        self.assertEqual(self.files(), ["secret", "secret.clients", "users.json"])

    def test_ten_agree_where_hard_links_are_refused(self) -> None:
        self.assertAgree(REFUSED)

    def test_ten_agree_where_there_are_no_hard_links(self) -> None:
        self.assertAgree(ABSENT)

    def test_a_lock_that_its_owner_died_with_holds_nobody_up(self) -> None:
        self.write("x.lock", b"")
        with mock.patch.object(os, "link", side_effect=PermissionError):
            self.assertEqual(make_once(self.state / "x", lambda: b"mine", 0o600), b"mine")
        self.assertEqual(self.files(), ["x", "x.lock"])

    def assertAgree(self, first: str) -> None:
        children = [
            subprocess.Popen(
                [sys.executable, "-S", "-c", first + CHILD, str(self.state)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(10)
        ]
        for child in children:
            assert child.stdout
            child.stdout.readline()  # all have started: now go
        for child in children:
            assert child.stdin
            child.stdin.close()
        said = set()
        for child in children:
            assert child.stdout
            said.add(child.stdout.read())
            child.stdout.close()
            self.assertEqual(child.wait(), 0)
        names = len(users.generate().names)
        self.assertEqual(said, {f"{secret(self.state).decode()} {names}\n"})

    def test_a_file_that_is_there_is_read_and_not_made(self) -> None:
        path = self.write("x", b"old")
        self.assertEqual(make_once(path, lambda: self.fail("made"), 0o600), b"old")

    def test_who_comes_second_takes_the_first_one_s(self) -> None:
        path = self.state / "x"

        def meanwhile() -> bytes:
            self.write("x", b"theirs")
            return b"mine"

        self.assertEqual(make_once(path, meanwhile, 0o600), b"theirs")
        self.assertEqual(self.files(), ["x"])

    def test_nothing_is_left_behind_if_making_fails(self) -> None:
        with self.assertRaises(ZeroDivisionError):
            make_once(self.state / "x", lambda: b"%d" % (1 // 0), 0o600)
        self.assertEqual(self.files(), [])

    def test_what_can_not_be_made_or_read_is_told_with_its_path(self) -> None:
        file = self.write("file", b"")
        for path in (self.state, file / "below", self.state / ("x" * 1000)):
            with self.assertRaises(StateError) as caught:
                make_once(path, lambda: b"x", 0o600)
            self.assertTrue(str(caught.exception).startswith(f"{path}: "), caught.exception)

    @unittest.skipIf(not hasattr(os, "geteuid") or os.geteuid() == 0, "root may read everything")
    def test_a_file_that_we_may_not_read_is_told(self) -> None:
        path = self.write("secret", b"ab" * 32)
        path.chmod(0)
        with self.assertRaises(StateError) as caught:
            secret(self.state)
        self.assertIn("Permission denied", str(caught.exception))


class FolderTest(StateCase):
    def test_the_state_folder_is_for_our_eyes_only_whatever_the_umask(self) -> None:
        for i, umask in enumerate((0, 0o777)):
            folder = self.state / str(i) / "var"
            old = os.umask(umask)
            try:
                make_folder(folder)
            finally:
                os.umask(old)
            self.assertMode(folder, 0o700)
        (self.state / "file").touch()
        with self.assertRaises(OSError):
            make_folder(self.state / "file")


class WorldTest(StateCase):
    def test_it_is_generated_once_and_then_read(self) -> None:
        self.assertEqual(world(self.state).follows, users.generate().follows)
        self.write("users.json", b'{"ark3": []}')
        self.assertEqual(world(self.state).names, ["ark3"])

    def test_what_is_wrong_with_it_is_told_with_its_path(self) -> None:
        for content in (b"", b"\xff", b"[]", b'{"ark3": ["nobody"]}', b"[" * 100_000):
            path = self.write("users.json", content)
            with self.assertRaises(StateError, msg=content[:20]) as caught:
                world(self.state)
            self.assertTrue(str(caught.exception).startswith(f"{path}: "), caught.exception)


class PageSettingsTest(StateCase):
    def write_settings(self, path: pathlib.Path) -> None:
        write_page_settings(path, host="::1", port=1, key='"</', users=["é", "\u2028"])

    def test_they_are_a_script_for_our_eyes_only(self) -> None:
        path = self.write("host.js", b"old, and readable for all")
        path.chmod(0o644)
        self.write_settings(path)
        text = path.read_text("ascii")
        value = text.removeprefix("window.BARKER = ").removesuffix(";\n")
        settings = {
            "host": "::1",
            "port": 1,
            "tls": False,
            "key": '"</',
            "users": ["é", "\u2028"],
        }
        self.assertEqual(json.loads(value), settings)
        self.assertMode(path, 0o600)
        self.assertEqual(self.files(), ["host.js"])

    def test_a_draft_that_somebody_left_readable_does_not_leak_the_key(self) -> None:
        draft = self.write(f"host.js.{os.getpid()}", b"left behind by an earlier process")
        draft.chmod(0o644)
        self.write_settings(self.state / "host.js")
        self.assertMode(self.state / "host.js", 0o600)

    def test_what_can_not_be_written_is_told_with_its_path(self) -> None:
        path = self.state / "missing" / "host.js"
        with self.assertRaises(StateError) as caught:
            self.write_settings(path)
        self.assertTrue(str(caught.exception).startswith(f"{path}: "), caught.exception)
