"""Graph: which users exist and whom they follow, kept the same in several processes.

A *followers* service accepts events (join, follow, unfollow), journals them and publishes each
change with a serial. Every process that decides by the graph has a copy, and reads the stream.

    graph.apply({"kind": "follow", "user": "ark3", "whom": "rdl", "at": 1})   -> [Change(...)]
    graph.followers("rdl")                                                    -> ark3

Read in this order:

* ``graph``: for each edge the last event counts, so their order does not matter. Pure.
* ``publisher``: the stream of changes, and how far each subscriber has come in it.
* ``feed``: a copy that follows the stream, from a snapshot on.
* ``people``: the same, for services that only need the names of users.
* ``replicas``: several followers services that read each other's streams.
* ``claims``: which event has which name; ``deciding``: which instance may give names away;
  ``upstreams``: outboxes that wait for acks of their puts; ``waited``: the acks to wait for.
* ``friends``: suggestions of users to follow.

Left out: the service itself (``barker/followers.py``), and leaving: a name stays taken.
"""
