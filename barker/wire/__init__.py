"""Wire: every message of the system, and how it becomes a line of bytes.

A process says something to another one as one JSON object on one line. This folder fixes what such
an object may be, so that no other folder has to check a type or encode anything by hand.

    >>> from barker.wire import messages
    >>> messages.encode("watch", prefix="outbox")
    b'{"op":"watch","prefix":"outbox"}'
    >>> messages.decode(b'{"op":"watch","prefix":"outbox"}')
    {'op': 'watch', 'prefix': 'outbox'}

Read in this order:

* ``protocol``: the table of all messages and their fields, the limits, the reasons for a refusal.
* ``bodies``: what a bark is, and what an event is. Messages carry them and do not look inside.
* ``strictjson``: JSON without what Python's own module lets pass; the canonical form of a body.
* ``messages``: from a message to a line and back. Bodies come last, and pass a hop as they are.
* ``quick``: the lines of which there are most, read by one pattern.

Pure: bytes and values in, values and bytes out. Left out: connections (`barker.links`), and what a
service does because of a message.
"""
