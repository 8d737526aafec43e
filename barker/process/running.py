"""Running: one node is one process; how that is set up, and how it ends."""

import argparse
import asyncio
import contextlib
import gc
import pathlib
import signal
import sys
from collections.abc import Callable

from barker.disk import files
from barker.process import logs, terminal
from barker.process.node import STOP_SIGNALS, Node

# New objects between two looks of the garbage collector at the young ones; Python's own is 700, or
# 2000. No bark makes anything cyclic, so it finds nothing, and it looks several times in a batch of
# a thousand barks. Measured: a fifth of an inbox's time. What has survived that is looked at with
# every fifth time: with more it takes so long that it can be seen in a latency.
YOUNG_OBJECTS = 50_000
YOUNG_LOOKS = 5


def run_node(make: Callable[[argparse.Namespace], Node], args: argparse.Namespace) -> int:
    """Run a node until it stops; its exit status. What can't be used is told in one line."""
    logs.setup_logging(args.verbose)
    terminal.tolerate_any_text()
    gc.freeze()  # modules and classes: they stay
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_LOOKS)
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
