"""Graph: who exists, and who follows whom, kept the same in several processes.

A *followers* service takes events (join, follow, unfollow), journals them and publishes each change
with a serial. Every process that decides by the graph has a copy, and follows the stream.

    graph.apply({"kind": "follow", "user": "ark3", "whom": "rdl", "at": 1})   -> [Change(...)]
    graph.followers("rdl")                                                    -> ark3

Read in this order:

* ``graph``: the last word about an edge counts, so the order of events does not matter. Pure.
* ``publisher``: the stream of changes, and which subscriber has how much of it.
* ``feed``: a copy that follows the stream, from a snapshot on.
* ``people``: the same, for services that only ask whether a user exists.
* ``replicas``: several followers services that read each other's streams.
* ``claims``: which event has which name; ``deciding``: which instance may give names away;
  ``upstreams``: outboxes that wait for an ack of what they have put; ``waited``: for whose acks.
* ``friends``: whom a user might want to follow.

Left out: the service itself (``barker/followers.py``), and leaving: a name stays taken.
"""
