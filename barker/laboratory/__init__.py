"""Laboratory: a system of one's own to hurt, and a witness that knows the fate of every bark.

    async with Lab() as lab:
        inbox, _ = lab.start("inbox --port 5820")
        await inbox.until_ready()
        inbox.kill()

* ``lab``: services on free ports in a temporary folder.
* ``producer``: puts numbered barks, and knows which of them were acked or refused.
* ``audience``: reads inboxes, and remembers the barks that each reader was shown.
* ``verdict``: compares both: lost, twice, out of order, unexpected.
* ``agents``: the last sample of every service.
* ``witness``: all of these on one node, and the readers that a bark is due to.
* ``guest``: a node in another program's process; ``crowd`` is one that follows and unfollows.
* ``guide``: goes through experiments step by step, and checks each claim.
* ``steps``: the texts of the laboratory chapter's experiments, and what a page can see of them.
* ``tour``: these experiments, done and checked (``python launch.py --tour``).
* ``blows``: the plan of faults, by a seed, and their undoing. ``progress`` shows how far it is.

The judge (`barker.judge`) has a reader's program in the place of a service:

* ``program``: the program as a process, and its faults as one.
* ``relay``: stands between it and all others, cuts its links, notes the messages.
* ``cast``, ``trial``, ``strangers``, ``findings``: a whole system around it, hurt and judged.
* ``peer``, ``stand``: its peers, played by hand. ``conformance`` tries the rules in ``cases``,
  ``bizlogiccases``, ``graphcases``, ``outboxcases``, ``keptcases``, ``inboxcases`` and
  ``directorycases``.

A *lab* is a task that changes the system, judged by cases and a trial: ``task`` is the type, with a
memory of what was judged, and ``tasks`` has all of them: ``mutetask``, ``bursttask``, ``ringtask``,
``ackstask``, ``windowtask`` with its ``windowrules``, ``sparetask``, ``copytask``.

A producer, an audience and agents are parts of a node: they take it in their constructor, before it
runs or while it does. The tests' own fleet and chaos have the same parts.

Left out: WebSocket and TLS; the judge uses neither.
"""
