"""Streams: numbered entries, and how far each reader of them has come.

Timelines of an inbox, changes of the graph and frames of the monitor are all read like this: a
reader subscribes with its place, is sent the later entries as far as its credit goes, and acks.
Reading settles nothing.

    stream.append(entry)                       -> its serial
    cursor = Cursor.start(stream, ...)         where a reader begins
    missed, serial, entries = cursor.take(stream)
    cursor.ack(serial)                         it has shown them: there is room for more

Read in this order:

* ``stream``: entries with serials, of which the last are retained. Pure.
* ``cursor``: one reader's place: credit and gaps. Pure.

Left out: links. The owners of streams decide when to send which entries.
"""
