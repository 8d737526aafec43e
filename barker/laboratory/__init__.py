"""Laboratory: a system of one's own to hurt, and a witness that knows what became of every bark.

    async with Lab() as lab:
        inbox, _ = lab.start("inbox --port 5820")
        await inbox.until_ready()
        inbox.kill()

* ``lab``: services on free ports in a temporary folder.
* ``producer``: puts numbered barks, and knows which of them were acked or refused.
* ``audience``: reads inboxes, and remembers what each reader was shown.
* ``verdict``: holds one against the other: lost, twice, out of order, unexpected.
* ``agents``: the last sample of every service.
* ``witness``: all of these on one node, and the readers that a bark is due to.
* ``guide``: goes through experiments step by step, and checks each claim.
* ``tour``: the experiments of the laboratory chapter (``python launch.py --tour``).

A producer, an audience and agents are parts of a node: they take it in their constructor, before it
runs or while it does. The tests' own fleet (``tests/tools``) has the same parts.

Left out: judging services of your own.
"""
