"""Running: one node is one process; its set-up, its stop signals, its end.

Two events stop it: a signal, and the end of its *leash*. The leash is a pipe from the launcher that
has started it; it ends with the launcher, however that ends.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Callable

from barker.disk import files
from barker.process import garbage, logs, terminal
from barker.process.arguments import LEASH
from barker.process.node import Node
from barker.wire.protocol import MAX_LINE_BYTES

# Signals that ask a program to stop.
STOP_SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def run_node(make: Callable[[argparse.Namespace], Node], args: argparse.Namespace) -> int:
    """Run a node until it stops; its exit status. Prints one line for a fault of its set-up."""
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
    catch_signals(node)
    if os.environ.get(LEASH):
        # A thread, because not every platform's loop can wait for a pipe; a daemon, because
        # nothing can interrupt its read.
        loop = asyncio.get_running_loop()
        threading.Thread(target=_hold_leash, args=(node, loop), name="leash", daemon=True).start()
    status = await node.run()
    # All is done, and the loop is about to close. A second Ctrl-C, or the launcher's signal after
    # the terminal's, would find its handlers still there and the pipe that they write to closed.
    for number in STOP_SIGNALS:
        with contextlib.suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    return status


def catch_signals(node: Node) -> None:
    """Have signals interrupt this node, which runs in the running loop."""
    loop = asyncio.get_running_loop()

    def caught(number: int) -> None:
        if number == signal.SIGINT:
            logs.end_line()
        node.interrupted(number)

    for number in STOP_SIGNALS:
        if terminal.is_nohup(number):
            continue
        try:
            loop.add_signal_handler(number, caught, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda n, _: loop.call_soon_threadsafe(caught, n))


def _hold_leash(node: Node, loop: asyncio.AbstractEventLoop) -> None:
    try:
        with contextlib.suppress(OSError):
            rest = b""
            while data := os.read(0, 64 * 1024):
                *lines, rest = (rest + data).split(b"\n")
                rest = rest[-MAX_LINE_BYTES:]
                for line in lines:
                    loop.call_soon_threadsafe(node.launcher_said, line)
        loop.call_soon_threadsafe(node.interrupted)
    except RuntimeError:
        pass  # the loop is closed: the node was stopping anyway
