"""Wire: every message of the system, and how it becomes a line of bytes.

A process says something to another one as one JSON object on one line. This folder fixes what such
an object may be, so that no other folder has to check a type or encode anything by hand.

    >>> from barker.wire.messages import decode, encode
    >>> from barker.wire.ops import Watch
    >>> encode(Watch("outbox"))
    b'{"op":"watch","prefix":"outbox"}'
    >>> decode(b'{"op":"watch","prefix":"outbox"}')
    Watch(prefix='outbox')

Read in this order:

* ``protocol``: the limits, the grammar of names, the reasons for a refusal or an error.
* ``fields``: what the value of a field may be.
* ``ops``: every message, as a type. ``records``: what stands in journals besides puts.
* ``rights``: which role may send what, and about which addresses.
* ``table``: what these types say, in a form by which any message is checked.
* ``bodies``: what a bark is, and what an event is. Messages carry them and do not look inside.
* ``strictjson``: JSON without what Python's own module lets pass; the canonical form of a body.
* ``messages``: from a message to a line and back. Bodies come last, and pass a hop as they are.

Pure: bytes and values in, values and bytes out. Left out: connections (`barker.links`), and what a
service does because of a message.
"""
