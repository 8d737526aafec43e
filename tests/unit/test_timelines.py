"""Timelines: what is in them survives a journal."""

import unittest

from barker.manifold.timelines import Entry, Timeline, entries_of, record_of
from barker.wire import messages, records

EPOCH = "0123456789abcdef"


class EntryTest(unittest.TestCase):
    def test_it_survives_a_journal_to_the_last_byte(self) -> None:
        for body in (b"{}", '{"a": 1.50,"é":"\\u00e9\\t"}'.encode(), b'{"x":"\\ud800,{["}'):
            for late in (False, True):
                for old in (False, True):
                    entry = Entry(body, EPOCH, 7, late, old, 3)
                    timeline = Timeline("inbox/ark3", 10)
                    record = messages.decode_record(record_of(timeline.address, 1, [entry]))
                    assert isinstance(record, records.Timeline)
                    (again,) = entries_of(record, 9)
                    self.assertEqual(self.fields(again), {**self.fields(entry), "segment": 9})
                    copied = entry.copied_to(5)
                    self.assertEqual(self.fields(copied), {**self.fields(entry), "segment": 5})

    def fields(self, entry: Entry) -> dict[str, object]:
        return {name: getattr(entry, name) for name in entry.__slots__}
