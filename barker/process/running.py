"""Running: one node is one process; how that is set up, and how it ends."""

import argparse
import asyncio
import contextlib
import pathlib
import signal
import sys
from collections.abc import Callable

from barker.disk import files
from barker.process import garbage, logs, terminal
from barker.process.node import STOP_SIGNALS, Node


def run_node(make: Callable[[argparse.Namespace], Node], args: argparse.Namespace) -> int:
    """Run a node until it stops; its exit status. What can't be used is told in one line."""
    logs.setup_logging(args.verbose)
    terminal.tolerate_any_text()
    garbage.begin()
    program = pathlib.Path(sys.argv[0]).stem
    try:
        return asyncio.run(_run(make(args)))
    except files.StateError as fault:
        logs.complain(program, fault)
        return 2 if isinstance(fault, files.UsageError) else 1
    except KeyboardInterrupt:  # Ctrl-C before the loop could take the signal
        logs.end_line()
        return 130
    finally:
        logs.flush()


async def _run(node: Node) -> int:
    status = await node.run()
    # All is done, and the loop is about to close. A second Ctrl-C, or the launcher's order after
    # that of the terminal, would find its handlers still there and what they write to closed.
    for number in STOP_SIGNALS:
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    return status
