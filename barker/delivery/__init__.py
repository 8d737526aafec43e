"""Delivery: a put is kept until it is acked, and recognised when it comes again.

Every hop of a bark works like this: the sender keeps it in a window until the receiver has acked
it. After a break the sender sends it again, and the receiver drops what it has had already. So
nothing is lost, and nothing is there twice.

    sender.put_all(put, to, job)               keep, and place it on a link
    sender.pump()                              send what the windows allow
    duplicates.fresh(key, origin, n, addresses)    -> which of them have not had it

Read in this order:

* ``batches``: entries that travel together, as a line. Pure.
* ``window``: what was sent and is not acked, and what waits behind it. Pure.
* ``lanes``: a window and the link that it uses.
* ``placing``: which lane an entry goes to. ``sender``: what happens when links and routes change.
* ``duplicates``: has this been here before? Pure.
* ``acks``: when a receiver acks. ``poison``: a body that no attempt gets past.

Left out: the journal (`barker.disk.journal`), and what a service does with a bark.
"""
