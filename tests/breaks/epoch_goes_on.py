"""A journal that was closed in good order goes on in the same epoch.

A copy of such a journal goes on there, too, when it is put back later or used by another instance.
Then counters and serials are given away a second time: inboxes drop what is new as known, and
readers skip what they have not seen.
"""

from tests.breaks import Change

SETTING = "restored"
KINDS = ("lost",)
FIRST = 1200
CHANGES = (
    Change(
        "barker/disk/journal.py",
        "from barker.disk.segments import End, Header, Stray\n",
        "from barker.disk.segments import End, Header, Stray\nfrom barker.wire import strictjson\n",
    ),
    Change(
        "barker/disk/journal.py",
        "        for number in list(self.segments):\n"
        "            for line in self._read(number):\n"
        "                yield number, line\n",
        '        epoch, closed = "", False\n'
        "        for number in list(self.segments):\n"
        "            for line in self._read(number):\n"
        '                closed = line == b\'{"op":"closed"}\'\n'
        """                if line.startswith(b'{"op":"segment",'):\n"""
        '                    epoch = strictjson.loads(line)["epoch"]\n'
        "                if not closed:\n"
        "                    yield number, line\n"
        "        if closed and not self.damages:\n"
        "            self.epoch = epoch\n",
    ),
    Change(
        "barker/disk/journal.py",
        "                segments.sync_all(map(self._path, self.segments))\n",
        "                segments.sync_all(map(self._path, self.segments))\n"
        '                self._write(self.current, [b\'{"op":"closed"}\'])\n',
    ),
    Change(
        "barker/outbox.py",
        "            push.take_recovered()\n",
        "            self._epoch = journal.epoch\n            push.take_recovered()\n",
    ),
    Change(
        "barker/inbox.py",
        "            self._parts.clear()\n",
        "            self._parts.clear()\n            self._epoch = self._intake.journal.epoch\n",
    ),
)
