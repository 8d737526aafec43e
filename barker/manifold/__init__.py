"""Manifold: what outbox and inbox have in common, and the parts that they are made of.

A manifold holds the streams of many users, its share of a ring. It checks what is put to it, keeps
the whole batch in its journal in one write, applies it, hands it on, and acks it.

    check each entry -> keep the batch -> apply it and hand it on -> ack

Read in this order:

* ``intake``: that sentence as code, and refusals.
* ``durable``: with ``--fsync``, acks wait for the disk, and nothing else does.
* ``share``: which part of the ring is ours. ``recovery``: the journal is played back at the start.
* ``admission``: what an outbox takes. ``push``: its queue towards the service behind it,
  and since when the oldest in it waits.
* ``joining``: an outbox asks followers before it takes a join.
* ``parking``: what was refused for good behind us is kept as a dead letter.
* ``reception``: what an inbox takes. ``timelines``: what it holds for one reader; ``store``: for
  all of them.
* ``readers``: what is sent to readers, and when.
* ``newcomers``: subscriptions to users that are unknown here.
* ``handover``: a timeline goes to its new owner when the ring changes.
* ``cleaning``: a journal is kept small. ``owed`` knows which part of it an outbox needs,
  ``retained`` which part an inbox needs.

The two services are ``barker/outbox.py`` and ``barker/inbox.py``.
"""
