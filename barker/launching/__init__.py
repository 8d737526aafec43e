"""Launching: a fleet of child processes in one terminal.

``launch.py`` and ``monitoring/launch.py`` start a list of commands, label their lines, and stop all
of them together. No asyncio: a launcher waits for a signal and copies lines.

    fleet = Fleet("launch.py")
    fleet.start([Command("outbox-5800", ["-m", "barker.outbox", "--port", "5800"], ...)])
    fleet.run()

* ``child``: one process, its lines, its end. A laboratory has such children too.
* ``commands``: what to start, with its label, port and words.
* ``slots``: the list of commands, and which of them run; requests to kill, freeze and start.
* ``talk``: the lines between a launcher and ``controls``, from which such requests come.
* ``fleet``: several children, their labels, their end. However a launcher ends, they end too.
* ``launcher``: the flags of a launcher, taken ports, its first lines of output.
* ``system``: the list of commands in ``launch.py``, and mistakes in it.

Left out: what the children do. A launcher loads none of their modules.
"""
