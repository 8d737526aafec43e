"""Segments: what is missing is missed, what is not ours is left alone, and a kill is no damage."""

import contextlib
import errno
import logging
import os
import pathlib
import shutil
import tempfile
import time
import unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from barker.disk import journal, segments
from barker.disk.files import StateError
from barker.disk.journal import Journal, forget
from barker.disk.segments import record
from tests.tools.fleet import SLOW

LINE = b'{"n":%d,"text":"of such a length that two of them make a segment full"}'
SMALL = 240  # bytes: less than a header and two lines, and more than a header and one


class SegmentsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="a b ")))
        self.folder = self.root / "journal" / "outbox-5800"

    def open(self, **more: Any) -> Journal:
        journal = Journal(self.folder, **more)
        self.addCleanup(journal.close)
        return journal

    def started(self, **more: Any) -> Journal:
        journal = self.open(**more)
        list(journal.recover())
        journal.begin(lambda: {"m": 0})
        return journal

    def write(self, *lines: int, killed: bool = False, dropped: int = 0) -> None:
        """These lines, two of them in each segment."""
        journal = self.started(segment_bytes=SMALL)
        for n in lines:
            journal.append([LINE % n])
        for number in range(1, dropped + 1):
            journal.drop(number)
        if killed:
            release(journal)
        journal.close()

    def path(self, number: int) -> pathlib.Path:
        return segments.path_of(self.folder, number)

    def read(self) -> tuple[list[int], list[str]]:
        """The lines that a start finds, and its warnings."""
        handler = Warnings(logging.WARNING)
        logger = logging.getLogger("barker.disk.journal")
        logger.addHandler(handler)
        journal = self.open()
        with mock.patch.object(logger, "propagate", False):
            lines = [line for _, line in journal.recover() if line is not None]
        logger.removeHandler(handler)
        journal.close()
        self.damages = journal.damages
        return numbers(lines), handler.texts

    def assertReported(self, lines: list[int], *said: str) -> None:
        """A start finds these lines, and reports so many damages in these words."""
        found, warnings = self.read()
        self.assertEqual(found, lines)
        self.assertEqual(len(warnings), len(said), warnings)
        for warning, text in zip(warnings, said, strict=True):
            self.assertIn(text, warning)
        self.assertEqual(self.damages, len(said))

    def cut(self, number: int, records: int) -> None:
        """A segment loses its last records."""
        lines = self.path(number).read_bytes().splitlines(keepends=True)
        self.path(number).write_bytes(b"".join(lines[: len(lines) - records]))


class Warnings(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def numbers(lines: list[bytes]) -> list[int]:
    return [int(line[5:].split(b",")[0]) for line in lines if line.startswith(b'{"n":')]


def release(journal: Journal) -> None:
    """What kill -9 does: nothing more is written."""
    journal._leave()
    journal._lock.close()


class MissingTest(SegmentsTest):
    """Segments 1 to 3 have two lines each, the last one has one."""

    def setUp(self) -> None:
        super().setUp()
        self.write(1, 2, 3, 4, 5)
        self.assertReported([1, 2, 3, 4, 5])

    def test_a_missing_segment_is_reported_wherever_it_was(self) -> None:
        for number, left in ((1, [3, 4, 5]), (2, [1, 2, 5]), (3, [1, 2, 3, 4])):
            with self.subTest(number):
                content = self.path(number).read_bytes()
                self.path(number).unlink()
                self.assertReported(left, f"{self.path(number)} is missing: what was acked in it")
                self.path(number).write_bytes(content)

    def test_a_segment_that_is_emptied_or_cut_at_the_end_of_a_record_is_reported(self) -> None:
        for number, size, left in (
            *((1, 3, [3, 4, 5]), (1, 2, [3, 4, 5]), (1, 1, [1, 3, 4, 5])),
            *((2, 3, [1, 2, 5]), (2, 2, [1, 2, 5]), (2, 1, [1, 2, 3, 5])),
            *((3, 2, [1, 2, 3, 4]), (3, 1, [1, 2, 3, 4])),
        ):
            with self.subTest(number=number, records=size):
                content = self.path(number).read_bytes()
                self.cut(number, size)
                ends = self.path(number).stat().st_size
                text = f"{self.path(number)} ends at byte {ends}, and was written up to byte"
                self.assertReported(left, text)
                self.path(number).write_bytes(content)

    def test_the_last_segment_is_missed_after_kill_9_too(self) -> None:
        self.write(6, 7, 8, killed=True)
        content = self.path(5).read_bytes()
        self.path(5).unlink()
        self.assertReported([1, 2, 3, 4, 5, 6, 7], "is missing")
        self.path(5).write_bytes(b"")
        self.assertReported([1, 2, 3, 4, 5, 6, 7], "ends at byte 0")
        # Cut at the end of a record: kill -9 before the next write leaves the same.
        self.path(5).write_bytes(content[: content.index(b"\n") + 1])
        self.assertReported([1, 2, 3, 4, 5, 6, 7])

    def test_a_number_is_not_given_a_second_time_when_the_last_segment_is_missing(self) -> None:
        self.path(3).unlink()
        self.write(6)
        self.assertTrue(self.path(4).exists())
        self.assertReported([1, 2, 3, 4, 6])

    def test_another_file_of_the_same_size_in_a_segments_place_is_reported(self) -> None:
        content = self.path(2).read_bytes()
        other = content.replace(record(LINE % 4), record(LINE % 7))
        self.assertEqual(len(other), len(content))
        self.path(2).write_bytes(other)
        self.assertReported([1, 2, 3, 7, 5], "was replaced")

    def test_a_segment_without_its_first_records_is_reported(self) -> None:
        content = self.path(2).read_bytes()
        self.path(2).write_bytes(content[content.index(b"\n") + 1 :])
        found, warnings = self.read()
        self.assertEqual(found, [1, 2, 3, 4, 5])
        self.assertIn("what came before its first record is missing", warnings[0])

    def test_what_was_dropped_in_good_order_is_not_missed(self) -> None:
        self.write(6, 7, 8, 9, dropped=2)
        self.assertReported([5, 6, 7, 8, 9])
        self.path(3).unlink()
        self.assertReported([6, 7, 8, 9], "000000000003.log is missing")

    def test_every_header_knows_what_was_dropped_before(self) -> None:
        self.write(6, dropped=2)
        self.write(7)
        self.path(4).unlink()  # which had the record that says so
        self.assertReported([5, 7], "000000000004.log is missing")

    def test_a_segment_that_could_not_be_dropped_is_there_and_no_damage(self) -> None:
        journal = self.started(segment_bytes=SMALL)
        with mock.patch.object(pathlib.Path, "unlink", side_effect=PermissionError):
            for _ in range(2):
                self.assertRaises(PermissionError, journal.drop, 1)
        self.assertIn(1, journal.segments)
        journal.close()
        self.assertReported([1, 2, 3, 4, 5])

    def full_disk(self) -> Any:
        """What is written in the place of something else has room, as the note of the lock."""
        real, lock = os.write, (self.folder / "lock").stat().st_ino

        def write(file: int, data: bytes) -> int:
            if os.fstat(file).st_ino != lock:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(file, data)

        return mock.patch.object(os, "write", write)

    def test_on_a_full_disk_a_segment_is_dropped_and_not_missed(self) -> None:
        for first, left in ((1, [3, 4, 5]), (2, [5])):
            with self.full_disk(), self.assertLogs("barker.disk.journal", "ERROR"):
                journal = self.open(segment_bytes=SMALL)
                list(journal.recover())
                self.assertRaises(OSError, journal.begin, dict)
                journal.drop(first)
                self.assertNotIn(first, journal.segments)
                release(journal)  # nothing more is noted
            self.assertFalse(self.path(first).exists())
            self.assertReported(left)


class Killed(BaseException):
    """kill -9: not even what undoes a failed write is done."""


class Budget:
    """So many bytes and deletions a process has left, and then it is killed."""

    def __init__(self, left: int, fault: BaseException | None = None) -> None:
        self.left = left
        self.fault = fault or Killed()
        self.calls = {f: getattr(os, f) for f in ("write", "ftruncate", "unlink")}

    def spend(self, most: int) -> int:
        if not self.left:
            raise self.fault
        spent = min(most, self.left)
        self.left -= spent
        return spent

    def write(self, file: int, data: bytes) -> int:
        spent = self.spend(len(data))
        size = int(self.calls["write"](file, data[:spent]))
        if size < len(data):
            raise self.fault
        return size

    def __call__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            self.spend(1)
            return self.calls[name](*args, **more)

        return call

    def patched(self) -> contextlib.ExitStack:
        stack = contextlib.ExitStack()
        stack.enter_context(mock.patch.object(os, "write", self.write))
        for name in ("ftruncate", "unlink"):
            stack.enter_context(mock.patch.object(os, name, self(name)))
        return stack


class KillTest(SegmentsTest):
    def live(self, budget: int) -> tuple[list[int], int, bool]:
        """Start, write, drop, stop. What was acked, up to where drops were begun, and the end."""
        acked, dropping = [], 0
        journal = self.open(segment_bytes=SMALL)
        list(journal.recover())
        with Budget(budget).patched():
            try:
                journal.begin(lambda: {"m": 0})
                for n in range(1, 7):
                    journal.append([LINE % n])
                    acked.append(n)
                    if n % 3 == 0:
                        dropping = n // 3
                        journal.drop(dropping)
                journal.close()
            except Killed:
                release(journal)
                return acked, dropping, False
        return acked, dropping, True

    def test_promise_1_a_kill_at_any_byte_is_no_damage_and_loses_nothing_acked(self) -> None:
        self.enterContext(mock.patch.object(os, "fsync"))  # slow, and nothing to a kill
        budget, alive = 0, False
        while not alive:
            acked, dropping, alive = self.live(budget)
            with self.subTest(budget):
                found, warnings = self.read()
                self.assertEqual((warnings, self.damages), ([], 0))
                may_be_gone = set(range(1, 2 * dropping + 1))
                self.assertLessEqual(set(acked) - may_be_gone, set(found))
                self.write(100)
                self.assertReported([*found, 100])
            shutil.rmtree(self.folder)
            budget += 1 if SLOW else 7
        self.assertGreater(budget, 1000)


class FormatTest(SegmentsTest):
    """A journal of another format may hold what was acked: a person has to move it."""

    HEADS = (
        b'{"op":"segment","epoch":"d02a2615274dde4f","n":0,"settled":0}',
        b'{"op":"segment","format":2,"epoch":"d02a2615274dde4f","number":1}',
        b'{"op":"segment","format":"1"}',
    )

    def test_another_format_is_refused_in_one_line_and_nothing_is_written(self) -> None:
        for head in self.HEADS:
            with self.subTest(head):
                self.folder.mkdir(parents=True)
                self.path(1).write_bytes(record(head) + record(LINE % 1))
                with self.assertRaises(StateError) as refused:
                    Journal(self.folder)
                text = str(refused.exception)
                self.assertNotIn("\n", text)
                # In the shell's words, and not where `launch.py --fresh` deletes it.
                self.assertIn(f"mv '{self.folder}' '{self.root}/outbox-5800-aside'", text)
                self.assertEqual([p.name for p in self.folder.iterdir()], [self.path(1).name])
                shutil.rmtree(self.folder)

    def test_one_segment_of_another_format_among_ours_is_refused(self) -> None:
        self.write(1, 2, 3)
        before = self.path(1).read_bytes()
        self.path(3).write_bytes(record(self.HEADS[0]))
        with self.assertRaises(StateError):
            Journal(self.folder)
        self.path(3).unlink()
        self.assertEqual(self.path(1).read_bytes(), before)
        self.assertReported([1, 2, 3])  # the folder is free

    def test_forget_deletes_a_journal_of_any_format(self) -> None:
        self.folder.mkdir(parents=True)
        self.path(1).write_bytes(record(self.HEADS[0]))
        forget(self.folder.parent)
        self.assertFalse(self.folder.exists())


class StrayTest(SegmentsTest):
    """What is not ours is named, and that is all."""

    def assertStray(self, name: str, why: str) -> None:
        found, warnings = self.read()
        self.assertEqual((found, self.damages), ([1, 2, 3], 0))
        self.assertEqual(len(warnings), 1, warnings)
        self.assertIn(f"{name!r}: {why}", warnings[0])

    def setUp(self) -> None:
        super().setUp()
        self.write(1, 2, 3)

    def test_names_that_no_journal_gives(self) -> None:
        content = self.path(1).read_bytes()
        for name in (
            *("3.log", "٣.log", "00000000000٣.log", "0000000000003.log", "000000000000.log"),
            *("-00000000003.log", "000000000003.log.bak", "000000000003", " 3.log", ".log", "x\n"),
        ):
            with self.subTest(name):
                path = self.folder / name
                path.write_bytes(content)
                self.assertStray(name, "a journal gives no such name")
                self.assertEqual(path.read_bytes(), content)
                path.unlink()

    def test_folders_links_and_fifos(self) -> None:
        def link(path: pathlib.Path) -> None:
            path.symlink_to(self.path(1))

        for make in (pathlib.Path.mkdir, link, os.mkfifo):
            with self.subTest(make):
                make(self.path(3))
                self.assertStray("000000000003.log", "this is no plain file")
                # Its name is taken.
                self.write(4)
                self.assertTrue(self.path(4).exists())
                self.path(4).unlink()
                self.path(3).rmdir() if self.path(3).is_dir() else self.path(3).unlink()
                (self.folder / "lock").write_bytes(b"")

    def test_a_file_becomes_another_kind_between_two_looks(self) -> None:
        journal = self.open()
        self.path(2).unlink()
        os.mkfifo(self.path(2))
        with self.assertRaisesRegex(StateError, "no plain file"):
            list(journal.recover())

    def test_what_has_taken_the_place_of_a_segment_is_not_cut(self) -> None:
        """Between reading a segment and cutting its torn end, a link takes its place."""
        victim = self.root / "victim"
        victim.write_bytes(b"not ours" * 1000)
        last = max(self.folder.glob("*.log"))
        with last.open("ab") as file:
            file.write(b"half a record")
        for number, _ in self.open().recover():
            if self.path(number) == last and not last.is_symlink():
                last.unlink()
                last.symlink_to(victim)
        self.assertTrue(last.is_symlink())
        self.assertEqual(victim.stat().st_size, 8000)

    def test_files_that_are_no_segments_are_neither_read_whole_nor_cut(self) -> None:
        begun = time.monotonic()
        for size, content in (
            (60 * 2**30, b""),
            (60 * 2**30, b"a log\n" * 1000),
            (6, b"a log\n"),
            (5, b"hello"),
            (60 * 2**30, b"x" * 100),
        ):
            with self.subTest(content[:9], size=size):
                self.path(3).write_bytes(content)
                os.truncate(self.path(3), size)
                self.assertStray("000000000003.log", "it has no record of ours")
                self.write()
                self.assertEqual(self.path(3).stat().st_size, size)
                self.path(4).unlink()
                (self.folder / "lock").write_bytes(b"")
        self.assertLess(time.monotonic() - begun, 10)

    def test_a_copy_under_another_number(self) -> None:
        shutil.copy(self.path(1), self.path(3))
        self.assertStray("000000000003.log", "it is a copy of segment 1")

    def test_a_copy_in_the_place_of_a_segment_leaves_that_one_missing(self) -> None:
        self.write(4)
        shutil.copy(self.path(1), self.path(2))
        found, warnings = self.read()
        self.assertEqual((found, self.damages), ([1, 2, 4], 1))
        self.assertIn("it is a copy of segment 1", warnings[0])
        self.assertIn("000000000002.log is missing", warnings[1])

    def test_zeros_behind_the_records_of_a_segment_are_not_read_whole(self) -> None:
        for number in (1, 2):
            content = self.path(number).read_bytes()
            os.truncate(self.path(number), 60 * 2**30)
            begun = time.monotonic()
            found, warnings = self.read()
            self.assertEqual((found, self.damages), ([1, 2, 3], 1))
            self.assertIn("is damaged", warnings[0])
            self.assertLess(time.monotonic() - begun, 10)
            self.path(number).write_bytes(content)

    def test_very_much_damage_is_told_in_a_few_lines_and_read_in_pieces(self) -> None:
        with self.path(1).open("ab") as file:
            file.write(b"nothing\n" * 5500 + record(LINE % 9))
        logger = logging.getLogger("barker.disk.journal")
        with self.assertLogs(logger, logging.WARNING) as said:
            opened = self.open()
            lines = [line for _, line in opened.recover()]
        opened.close()
        self.assertEqual(lines.count(None), 5)
        self.assertEqual(numbers([line for line in lines if line]), [1, 2, 9, 3])
        self.assertEqual(len(said.output), journal.TOLD_DAMAGES + 1)
        self.assertIn("5500 records", said.output[-1])

    def test_what_follows_a_hole_is_read(self) -> None:
        content = self.path(1).read_bytes()
        with self.path(1).open("ab") as file:
            file.seek(3_000_000, os.SEEK_CUR)
            file.write(b"\n" + record(LINE % 9))
        found, warnings = self.read()
        self.assertEqual((found, self.damages, len(warnings)), ([1, 2, 9, 3], 1, 1))
        self.path(1).write_bytes(content)

    def test_a_lock_that_is_a_link_is_not_followed(self) -> None:
        victim = self.root / "victim"
        victim.write_bytes(b"precious")
        (self.folder / "lock").unlink()
        (self.folder / "lock").symlink_to(victim)
        with self.assertRaises(StateError):
            Journal(self.folder)
        self.assertEqual(victim.read_bytes(), b"precious")

    def test_a_note_that_is_damaged_says_nothing(self) -> None:
        lock = self.folder / "lock"
        whole = lock.read_bytes()
        for at in range(len(whole)):
            damaged = bytearray(whole)
            damaged[at] ^= 0x04
            lock.write_bytes(damaged)
            self.assertReported([1, 2, 3])

    def test_a_note_that_is_sound_and_makes_no_sense_says_nothing(self) -> None:
        lock = self.folder / "lock"
        for line in (
            b"[1]",
            b"7",
            b'{"before":null,"bytes":0,"checksum":""}',
            b'{"before":%d,"bytes":0,"checksum":""}' % 2**53,
            b'{"before":1,"bytes":0,"checksum":"\\ud800"}',
            b'{"before":1,"bytes":0,"checksum":[]}',
        ):
            with self.subTest(line):
                lock.write_bytes(segments.record(line))
                self.assertReported([1, 2, 3])


class GoneTest(SegmentsTest):
    """A folder that is deleted, moved or replaced under a running service."""

    def setUp(self) -> None:
        super().setUp()
        self.journal = self.started()
        self.journal.append([LINE % 1])
        self.aside = self.root / "aside"

    def delete(self) -> None:
        shutil.rmtree(self.folder)

    def delete_files(self) -> None:
        for path in self.folder.glob("*.log"):
            path.unlink()

    def move(self) -> None:
        self.folder.rename(self.aside)

    def move_parent(self) -> None:
        self.folder.parent.rename(self.aside)

    def replace(self) -> None:
        shutil.copytree(self.folder, self.aside)
        shutil.rmtree(self.folder)
        self.aside.rename(self.folder)

    def make_anew(self) -> None:
        self.delete()
        self.folder.mkdir()

    def test_nothing_more_is_kept_in_it_and_the_log_says_so_once(self) -> None:
        for change in (
            *(self.delete, self.delete_files, self.move, self.move_parent),
            *(self.replace, self.make_anew),
        ):
            with self.subTest(change.__name__):
                change()
                with self.assertLogs("barker.disk.journal", "ERROR") as logs:
                    for _ in range(3):
                        with self.assertRaisesRegex(OSError, "deleted, moved or replaced"):
                            self.journal.append([LINE % 2])
                self.assertEqual(len(logs.output), 1)
                self.assertIn("nothing is acked", logs.output[0])
                self.journal.close()
                shutil.rmtree(self.aside, ignore_errors=True)
                shutil.rmtree(self.folder, ignore_errors=True)
                self.journal = self.started()
                self.journal.append([LINE % 1])

    def test_no_segment_is_begun_in_another_folder(self) -> None:
        self.journal.close()
        for change in (self.delete, self.move, self.replace, self.make_anew):
            with self.subTest(change.__name__):
                journal = self.started(segment_bytes=1)
                change()
                before = sorted(self.folder.glob("*")) if self.folder.exists() else []
                with self.assertRaises(OSError), self.assertLogs("barker.disk.journal", "ERROR"):
                    journal.append([LINE % 2])
                after = sorted(self.folder.glob("*")) if self.folder.exists() else []
                self.assertEqual(after, before)
                journal.close()
                shutil.rmtree(self.aside, ignore_errors=True)

    def test_nothing_is_dropped_in_another_folder(self) -> None:
        self.replace()
        self.assertRaises(OSError, self.journal.drop, 1)
        self.assertTrue(self.path(1).exists())

    def test_a_folder_that_is_put_back_is_written_again(self) -> None:
        self.move()
        with self.assertRaises(OSError), self.assertLogs("barker.disk.journal", "ERROR"):
            self.journal.append([LINE % 2])
        self.aside.rename(self.folder)
        with self.assertLogs("barker.disk.journal", "INFO") as logs:
            self.journal.append([LINE % 3])
        self.assertIn("can be written again", logs.output[0])
        self.journal.close()
        self.assertReported([1, 3])


class FailureTest(SegmentsTest):
    def test_a_segment_that_could_not_be_begun_is_not_missed(self) -> None:
        journal = self.started(segment_bytes=SMALL)
        journal.append([LINE % 1])
        fault = OSError(5, "Input/output error")
        for room in (0, 1, 50):
            with (
                self.subTest(room),
                mock.patch.object(os, "write", Budget(room, fault).write),
                self.assertRaises(OSError),
                self.assertLogs("barker.disk.journal"),
            ):
                for _ in range(3):
                    journal.append([LINE % 2])
            journal.append([LINE % 3])
        journal.close()
        self.assertEqual(self.read()[1], [])

    def test_a_full_disk_is_logged_once_until_it_changes(self) -> None:
        journal = self.started()
        full = OSError(28, "No space left on device")
        for _ in range(2):
            with (
                self.assertLogs("barker.disk.journal", "ERROR") as logs,
                mock.patch.object(os, "write", side_effect=full),
            ):
                for _ in range(3):
                    with self.assertRaises(OSError):
                        journal.append([LINE % 1])
            self.assertEqual(len(logs.output), 1)
            journal.append([LINE % 2])
