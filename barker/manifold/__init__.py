"""Manifold: what outbox and inbox have in common, and the parts that they are made of.

A manifold holds the streams of many users, its share of a ring. It checks what is put to it, keeps
the whole batch in its journal in one write, applies it, hands it on, and acks it.

    check each put -> keep the batch -> apply it -> hand it on -> ack

Read in this order:

* ``intake``: that sentence as code; refusals, the share of the ring, recovery at the start.
* ``push``: an outbox's queue towards the service behind it.
* ``timelines``: what an inbox holds for one reader. ``readers``: what is sent to readers, and when.
* ``handover``: a timeline goes to its new owner when the ring changes.
* ``cleaning``: an inbox's journal is kept small.

The two services are ``barker/outbox.py`` and ``barker/inbox.py``.
"""
