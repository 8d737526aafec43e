"""Commands: what a launcher starts, with the label, the port and the words of each process."""

import errno
import shlex
from collections.abc import Collection, Sequence
from typing import NamedTuple

from barker.links import hosts
from barker.process import terminal

# Ports of other protocols to which no browser connects: the "bad ports" of the Fetch standard, of
# those above ours.
NO_BROWSER = frozenset({6000, 6566, *range(6665, 6670), 6679, 6697, 10080})

MAX_PORT = 65535


class Command(NamedTuple):
    """A process to run: arguments for this Python, a label for its lines, the port it will want.

    `short` is the launcher's line for it in its list, without the flags that all have. `typed` is
    the whole command, as a reader types it in the project's folder. `first` are flags for a start
    together with all others; a later start is without them.
    """

    label: str
    argv: list[str]
    host: str = ""
    port: int | None = None
    short: str = ""
    typed: str = ""
    first: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{terminal.python()} {shlex.join(self.argv)}"

    @property
    def program(self) -> str:
        """``outbox`` for ``-m barker.outbox``."""
        return self.argv[1].rpartition(".")[2]


def another(command: Command, others: Collection[Command]) -> Command:
    """One more of the same program: behind the last of its ports, and with a label like theirs.

    `others` are all commands, and none of their ports is chosen. Raises ValueError if there can't
    be one more.
    """
    if any(word.partition("=")[0] == "--name" for word in command.argv):
        raise ValueError(f"{command.label} has a name of its own, which no other can have")
    labels = {other.label for other in others}
    if not command.port:
        label = next(
            name
            for n in range(2, len(labels) + 3)
            if (name := f"{command.program}-{n}") not in labels
        )
        return command._replace(label=label)
    taken = {other.port for other in others} | NO_BROWSER
    port = max(c.port or 0 for c in others if c.program == command.program) + 1
    while port in taken:
        port += 1
    if port > MAX_PORT:
        raise ValueError(f"ports end at {MAX_PORT}")
    argv = [*command.argv]
    argv[argv.index("--port") + 1] = str(port)
    old, new = f"--port {command.port}", f"--port {port}"
    return Command(
        f"{command.program}-{port}",
        argv,
        command.host,
        port,
        command.short.replace(old, new),
        command.typed.replace(old, new),
    )


def busy_ports(commands: Sequence[Command]) -> list[Command]:
    """The commands whose port another process has.

    Raises OSError or UnicodeError if the host itself can't be listened at.
    """
    return [c for c in commands if c.port and not _is_free(c.host, c.port)]


def _is_free(host: str, port: int) -> bool:
    try:
        sockets = hosts.bind(hosts.addresses(host, port))
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        return False
    for probe in sockets:
        probe.close()
    return True
