"""The journal: sound records survive, whatever becomes of the rest."""

import errno
import os
import pathlib
import shutil
import tempfile
import unittest
from collections.abc import Sequence
from typing import Any
from unittest import mock

from barker.disk import segments
from barker.disk.files import StateError
from barker.disk.journal import Journal, forget


class JournalTest(unittest.TestCase):
    def setUp(self) -> None:
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="a b ")))
        self.folder = self.root / "outbox-5800"

    def open(self, **more: Any) -> Journal:
        journal = Journal(self.folder, **more)
        self.addCleanup(journal.close)
        return journal

    def started(self, **more: Any) -> Journal:
        """A journal that has been recovered and begun."""
        journal = self.open(**more)
        list(journal.recover())
        journal.begin(dict)
        return journal

    def recovered(self) -> tuple[Journal, list[bytes]]:
        """What a process started now would find, headers aside; the journal is free again."""
        journal = self.open()
        with self.assertNoWarnings():
            lines = [line for _, line in journal.recover() if line is not None]
        journal.close()
        return journal, [line for line in lines if b'"op":"segment"' not in line]

    def assertNoWarnings(self) -> Any:
        return self.assertLogs() if self.damaged else mock.patch.object(self, "damaged", False)

    damaged = False

    def written(self, lines: Sequence[bytes], **more: Any) -> str:
        """Keep each line in a write of its own; the epoch under which that was done."""
        journal = self.started(**more)
        for line in lines:
            journal.append([line])
        journal.close()
        return journal.epoch

    def segment(self) -> pathlib.Path:
        (path,) = self.folder.glob("*.log")
        return path

    LINES = (b'{"n":1}', b'{"n":2,"text":"\xc3\xa4"}', b'{"n":3}')


class Recovery(JournalTest):
    def test_what_was_appended_is_there_in_order(self) -> None:
        self.written(self.LINES)
        self.assertEqual(tuple(self.recovered()[1]), self.LINES)

    def test_every_start_is_an_epoch_of_its_own_however_the_one_before_ended(self) -> None:
        epochs = {self.written(self.LINES)}
        whole = self.segment().read_bytes()
        for end in [i + 1 for i, byte in enumerate(whole) if byte == 0x0A]:
            self.segment().write_bytes(whole[:end])
            epochs.add(self.recovered()[0].epoch)
        self.assertEqual(len(epochs), 5)  # a header and three lines, and the one that wrote them

    def test_a_copy_of_a_folder_is_an_epoch_of_its_own(self) -> None:
        self.written(self.LINES)
        copy = self.folder.with_name("copy")
        shutil.copytree(self.folder, copy)
        first, second = self.open(), Journal(copy)
        self.assertEqual([*first.recover()], [*second.recover()])
        self.assertNotEqual(first.epoch, second.epoch)
        first.close()
        second.close()

    def test_an_empty_folder_begins_an_epoch_of_its_own(self) -> None:
        epochs = {self.recovered()[0].epoch for _ in range(3)}
        self.assertEqual(len(epochs), 3)

    def test_every_start_begins_a_segment_and_never_writes_to_an_old_one(self) -> None:
        self.written(self.LINES[:1])
        before = self.segment().read_bytes()
        self.written(self.LINES[1:])
        first, second = sorted(self.folder.glob("*.log"))
        self.assertEqual(first.read_bytes(), before)
        self.assertEqual(tuple(self.recovered()[1]), self.LINES)
        self.assertGreater(second.name, first.name)

    def test_a_torn_tail_is_cut_wherever_it_was_torn(self) -> None:
        self.written(self.LINES)
        whole = self.segment().read_bytes()
        last = whole.rindex(b"\n", 0, -1) + 1
        self.damaged = True
        for end in range(last + 1, len(whole)):
            self.segment().write_bytes(whole[:end])
            lines = self.recovered()[1]
            self.assertEqual(tuple(lines), self.LINES[:2])
            self.assertEqual(self.segment().read_bytes(), whole[:last])

    def test_a_flipped_bit_anywhere_costs_one_record(self) -> None:
        self.written(self.LINES)
        whole = bytearray(self.segment().read_bytes())
        header = whole.index(b"\n") + 1
        self.damaged = True
        for at in range(header, len(whole)):
            damaged = bytearray(whole)
            damaged[at] ^= 0x04
            self.segment().write_bytes(damaged)
            lines = self.recovered()[1]
            self.assertGreaterEqual(len(lines), 1, at)  # a newline that is gone joins two records
            self.assertLess(len(lines), 3, at)
            self.assertLessEqual(set(lines), set(self.LINES))

    def test_damage_in_the_middle_leaves_what_follows(self) -> None:
        self.written(self.LINES)
        content = self.segment().read_bytes()
        self.segment().write_bytes(content.replace(b'"n":2', b'"n":7'))
        self.damaged = True
        self.assertEqual(self.recovered()[1], [self.LINES[0], self.LINES[2]])

    def test_a_damaged_header_costs_nothing_else(self) -> None:
        self.written(self.LINES)
        content = self.segment().read_bytes()
        self.segment().write_bytes(content.replace(b'"epoch":"', b'"epoch";"', 1))
        self.damaged = True
        self.assertEqual(tuple(self.recovered()[1]), self.LINES)


class Segments(JournalTest):
    def test_a_full_segment_is_followed_by_another_with_a_header(self) -> None:
        journal = self.started(segment_bytes=200)
        numbers = [journal.append([b'{"n":%d}' % i]) for i in range(40)]
        self.assertEqual(numbers, sorted(numbers))
        self.assertGreater(len(set(numbers)), 3)
        # The record with which a segment is full is still in it.
        self.assertTrue(all(size < 200 + 20 for size in journal.segments.values()))
        self.assertEqual(journal.size, sum(p.stat().st_size for p in self.folder.glob("*.log")))
        for path in self.folder.glob("*.log"):
            self.assertIn(b'"op":"segment"', path.read_bytes().split(b"\n")[0])

    def test_a_dropped_segment_is_gone_and_its_successors_header_speaks_for_it(self) -> None:
        counted = 0

        def header() -> dict[str, Any]:
            return {"n": counted}

        journal = self.open(segment_bytes=200)
        list(journal.recover())
        journal.begin(header)
        for counted in range(40):
            journal.append([b'{"op":"x","i":%d}' % counted])
        for number in list(journal.segments)[:-1]:
            journal.drop(number)
        journal.close()
        again = self.open()
        first = next(iter(again.recover()))[1]
        self.assertIn(b'"n":', first or b"")
        self.assertEqual(len(list(self.folder.glob("*.log"))), 1)

    def test_a_batch_is_one_write(self) -> None:
        journal = self.started()
        with mock.patch.object(os, "write", wraps=os.write) as write:
            journal.append(list(self.LINES))
        self.assertEqual(write.call_count, 1)

    def test_what_was_written_is_synced_at_once_and_by_a_thread(self) -> None:
        journal = self.started(fsync=True)
        journal.sync().result()
        with mock.patch.object(os, "fsync", wraps=os.fsync) as fsync:
            self.assertTrue(journal.is_synced)
            for line in self.LINES:
                journal.append([line])
            self.assertEqual((journal.is_synced, fsync.call_count), (False, 0))
            journal.sync().result()
            self.assertEqual((journal.is_synced, fsync.call_count), (True, 1))
        self.assertEqual(tuple(self.recovered_after(journal)), self.LINES)

    def test_a_new_segment_is_synced_with_its_name_and_the_one_before_it(self) -> None:
        journal = self.started(fsync=True, segment_bytes=200)
        journal.sync().result()
        with mock.patch.object(os, "fsync", wraps=os.fsync) as fsync:
            for _ in range(9):
                journal.append([b'{"n":1,"text":"of such a length that it takes several"}'])
            journal.sync().result()
            self.assertEqual(fsync.call_count, len(journal.segments) + 1)
        journal.close()

    def test_a_stop_in_good_order_has_everything_on_the_disk(self) -> None:
        synced: list[str] = []
        real_open, real_fsync, names = os.open, os.fsync, {}

        def open_(path: Any, *more: Any) -> int:
            descriptor = real_open(path, *more)
            names[descriptor] = pathlib.Path(path).name
            return descriptor

        def fsync(descriptor: int) -> None:
            synced.append(names[descriptor])
            real_fsync(descriptor)

        with mock.patch.object(os, "open", open_), mock.patch.object(os, "fsync", fsync):
            journal = self.started(segment_bytes=200)
            for _ in range(9):
                journal.append([b'{"n":1,"text":"of such a length that it takes several"}'])
            self.assertEqual(synced, [])
            segments = [f"{number:012d}.log" for number in journal.segments]
            self.assertGreater(len(segments), 2)
            journal.close()
        self.assertEqual(synced, segments)

    def recovered_after(self, journal: Journal) -> list[bytes]:
        journal.close()
        return self.recovered()[1]


class Failures(JournalTest):
    def test_room_is_tried_and_taken_back(self) -> None:
        journal = self.started()
        journal.append(list(self.LINES))
        (path,) = self.folder.glob("*.log")
        before = path.read_bytes()
        with self.full_disk_after(0), self.assertLogs("barker.disk.journal", "ERROR"):
            self.assertFalse(journal.has_room())
        for room in (1, segments.PROBE_BYTES - 1):
            with self.full_disk_after(room):
                self.assertFalse(journal.has_room())
            self.assertEqual(path.read_bytes(), before)
        self.assertIn("space", journal.trouble)
        with self.assertLogs("barker.disk.journal", "INFO"):
            self.assertTrue(journal.has_room())
        self.assertEqual((path.read_bytes(), journal.trouble), (before, ""))
        journal.close()

    def full_disk_after(self, room: int) -> Any:
        """os.write as it is on a disk that has `room` bytes left."""
        left = room

        def write(file: int, data: bytes) -> int:
            nonlocal left
            if not left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = real(file, data[:left])
            left -= written
            return written

        real = os.write
        return mock.patch.object(os, "write", write)

    def test_a_write_that_fails_half_way_leaves_nothing_and_the_next_one_works(self) -> None:
        for room in (0, 1, 20):
            with self.subTest(room):
                journal = self.started()
                journal.append(self.LINES[:1])
                with self.full_disk_after(room), self.assertRaises(OSError):
                    journal.append(self.LINES[1:2])
                journal.append(self.LINES[2:])
                journal.close()
                self.assertEqual(self.recovered()[1][-2:], [self.LINES[0], self.LINES[2]])

    def test_a_disk_that_stays_full_is_not_filled_with_empty_segments(self) -> None:
        journal = self.started(segment_bytes=100)
        with self.full_disk_after(0):
            for _ in range(20):
                with self.assertRaises(OSError):
                    journal.append([b"x" * 90])
        self.assertEqual(len(list(self.folder.glob("*.log"))), 1)
        journal.append([b'{"n":1}'])

    def test_if_it_cannot_be_cut_back_it_is_left_alone_and_reported_later(self) -> None:
        journal = self.started()
        journal.append(self.LINES[:1])
        cannot = mock.patch.object(os, "ftruncate", side_effect=OSError)
        with self.full_disk_after(12), cannot, self.assertRaises(OSError):
            journal.append(self.LINES[1:2])
        journal.append(self.LINES[2:])
        journal.close()
        self.damaged = True
        self.assertEqual(self.recovered()[1], [self.LINES[0], self.LINES[2]])

    def test_a_folder_in_use_is_refused(self) -> None:
        self.started()
        with self.assertRaisesRegex(StateError, "in use by another process"):
            Journal(self.folder)

    def test_a_closed_journal_takes_nothing(self) -> None:
        journal = self.started()
        journal.close()
        with self.assertRaises(OSError):
            journal.append([b"{}"])
        self.assertEqual(self.recovered()[1], [])

    def test_forget_deletes_all_or_none(self) -> None:
        self.written(self.LINES)
        other = Journal(self.root / "inbox-5820")
        with self.assertRaises(StateError):
            forget(self.root)
        self.assertTrue(self.segment().exists())
        other.close()
        forget(self.root)
        self.assertEqual(list(self.root.iterdir()), [])
