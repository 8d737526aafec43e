"""Manifold: what outbox and inbox have in common, and the parts that they are made of.

A manifold holds the streams of many users, its share of a ring. It checks each put, writes the
whole batch to its journal at once, applies it, forwards it, and acks it.

    check each entry -> keep the batch -> apply and forward it -> ack

Read in this order:

* ``intake``: that sentence as code, and refusals.
* ``durable``: with ``--fsync``, acks wait for the disk, and nothing else does.
* ``share``: our part of the ring. ``recovery``: the journal is played back at the start.
* ``admission``: which entries an outbox accepts. ``push``: its queue to the service behind it, and
  the age of the oldest entry in it.
* ``joining``: an outbox lets followers decide before it takes a join.
* ``parking``: an entry that is refused for good behind us is kept as a dead letter.
* ``reception``: which entries an inbox accepts. ``timelines``: the entries for one reader;
  ``store``: for all of them.
* ``readers``: when entries are sent to readers. ``broadcast``: the same for a single stream, as
  those of the monitor and of controls.
* ``delays``: how long barks took until then.
* ``newcomers``: subscriptions to users that are unknown here.
* ``handover``: a timeline goes to its new owner when the ring changes.
* ``cleaning``: a journal is kept small. ``owed`` knows the part of it that an outbox needs,
  ``retained`` the part that an inbox needs.

The two services are ``barker/outbox.py`` and ``barker/inbox.py``.
"""
