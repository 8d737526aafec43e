"""Client: the parts of the users' commands: putting to outboxes and reading inboxes.

Clients keep nothing. A client that dies loses only entries that no outbox had acked.

    reader.Reader(node, ["ark3"], show, refused)  calls show(user, fields, late) for each bark, once
    speaker.Speaker(args, user, id, body)           puts one body, and stops with the answer

* ``reader``: follows an inbox from owner to owner, and drops barks that it has shown before.
* ``tracked``: a sender that remembers of each put whether it was acked or refused.
* ``speaker``: one body to its user's outbox; `barker.bark` is made of it.
* ``tracing``: one that follows its bark through the services, and prints its ``way``.
* ``following``: events about the graph, and when they are in force; `barker.follow` and
  `barker.join` are made of it.

Left out: printing. That is in the programs.
"""
