"""Launching: a fleet of child processes in one terminal.

``launch.py`` and ``monitoring/launch.py`` start a list of commands, label their lines, and stop all
of them together. No asyncio: a launcher waits for a signal and copies lines.

    fleet = Fleet("launch.py")
    fleet.start([Command("outbox-5800", ["-m", "barker.outbox", "--port", "5800"], ...)])
    fleet.run()

* ``child``: one process, its lines, its end. A laboratory has such children too.
* ``fleet``: several of them, their labels, their end. However a launcher ends, they end too.
* ``launcher``: the flags of a launcher, taken ports, its first lines of output.
* ``system``: the list of commands in ``launch.py``, and mistakes in it.

Left out: what the children do. A launcher loads none of their modules.
"""
