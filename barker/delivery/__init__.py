"""Delivery: a put is kept until it is acked, and recognised when it comes again.

Every hop of a bark works like this: the sender keeps it in a window until the receiver has acked
it. After a break the sender sends it again, and the receiver drops what it has had already. So
nothing is lost, and nothing is there twice.

    sender.put(("inbox/ark3",), load, job)     keep, and place it on a link
    sender.pump()                              send what the windows allow
    duplicates.admit(key, origin, n, addresses)    -> which of them have not had it

Read in this order:

* ``window``: what was sent and is not acked, and what waits behind it. Pure.
* ``sender``: windows by target; what happens when links and routes change.
* ``duplicates``: has this been here before? Pure.
* ``streams``: numbered entries, and readers' places in them. Pure.
* ``acks``: when a receiver acks. ``poison``: a body that no attempt gets past.

Left out: the journal (`barker.disk.journal`), and what a service does with a bark.
"""
