"""Delivery: a put is kept until it is acked, and recognised when it comes again.

Every hop of a bark works like this: the sender keeps it in a window until the receiver has acked
it. After a break the sender sends it again, and the receiver drops the entries that it has already.
So no entry is lost, and none is kept twice.

    sender.put_all(put, to, job)               keep, and place it on a link
    sender.pump()                              send as many as the windows allow
    duplicates.fresh(key, origin, n, addresses)    -> those of the addresses that lack it

Read in this order:

* ``batches``: entries that travel together, as a line. Pure.
* ``window``: entries that were sent and are not acked, and those that wait behind them. Pure.
* ``lanes``: a window and the link that it uses.
* ``placing``: the lane of each entry. ``sender``: the effect of changed links and routes.
* ``duplicates``: has this entry been here before? Pure.
* ``acks``: when a receiver acks. ``poison``: a body that fails at every attempt.

Left out: the journal (`barker.disk.journal`), and a service's work with a bark.
"""
