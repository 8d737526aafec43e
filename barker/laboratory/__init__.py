"""Laboratory: a system of one's own to hurt, and a witness that says what became of every bark.

    async with Lab() as lab:
        inbox = await lab.start("inbox --port 5820")
        ...
        inbox.kill()

* ``lab``: services on free ports in a temporary folder.
* ``witness``: says numbered barks, reads every inbox, and compares: lost, twice, out of order.
* ``guide``: goes through experiments step by step, and checks each claim.
* ``tour``: the experiments of the laboratory chapter (``python launch.py --tour``).

Left out: judging services of your own; and the tests' own fleet, which is in ``tests/tools``.
"""
