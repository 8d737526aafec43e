"""Wire: every message of the system, and how it becomes a line of bytes.

A process sends another one a JSON object on one line. This folder defines these objects, so that no
other folder has to check a type or encode anything by hand.

    >>> from barker.wire.messages import decode, encode
    >>> from barker.wire.ops import Watch
    >>> encode(Watch("outbox"))
    b'{"op":"watch","prefix":"outbox"}'
    >>> decode(b'{"op":"watch","prefix":"outbox"}')
    Watch(prefix='outbox')

Read in this order:

* ``protocol``: the limits, the grammar of names, the reasons for a refusal or an error.
* ``fields``: the values that a field may have.
* ``ops``: every message, as a type. ``records``: the other lines of journals.
* ``rights``: which role may send which messages, and about which addresses.
* ``table``: the fields of these types, as a table by which any message is checked.
* ``bodies``: barks and events. Messages carry them and do not look inside.
* ``strictjson``: JSON without what Python's own module lets pass; the canonical form of a body.
* ``messages``: from a message to a line and back. Bodies come last, and pass a hop as they are.

Pure: bytes and values in, values and bytes out. Left out: connections (`barker.links`), and a
service's reaction to a message.
"""
