"""Launch the monitoring: the monitor as a process, the page's settings, where to click.

    python monitoring/launch.py

It finds the system that `python launch.py` starts, before or after it. `--shift-ports` moves its
own port, and selects the system that was started with the same flag. Ctrl-C stops it, and nothing
else.
"""

import barker  # noqa: F401 - it looks at Python's version, and at Ctrl-C  # isort: skip
import shlex
import sys

from barker.disk import files, keys
from barker.laboratory.steps import as_settings
from barker.launching.commands import Command
from barker.launching.launcher import (
    common_flags,
    launcher_arguments,
    launcher_parser,
    listening_flags,
    reached_by,
    run_fleet,
)
from barker.process import terminal
from barker.process.arguments import DEFAULT_HOST
from barker.wire.rights import clients_key, operators_key

FOLDER = files.ROOT / "monitoring"
MONITOR_PORT = 5700

ABOUT = """\
Start the monitor of the system that launch.py has started, or will start; with --shift-ports, of
the one that was started with the same flag. Ctrl-C stops the monitor and nothing else.
"""
EXAMPLES = ("monitoring/launch.py", "monitoring/launch.py --shift-ports 1000")

OPEN_THIS = """
{page}

The same as text, in another terminal:

  {python} -m monitoring.monitor --once{flags}
"""


def main(argv: list[str] | None = None) -> int:
    program = "monitoring/launch.py"
    args = launcher_arguments(launcher_parser(program, ABOUT, EXAMPLES), argv)
    is_moved = args.shift_ports or reached_by(args) != DEFAULT_HOST
    flags = common_flags(args, is_service=False, is_found=not is_moved)
    service_flags = common_flags(args, is_service=True, is_found=not is_moved)
    port = MONITOR_PORT + args.shift_ports
    words = ["-m", "monitoring.monitor", "--port", str(port), *listening_flags(args)]
    words += service_flags
    short = f"monitoring.monitor --port {port}"
    monitor = Command(f"monitor-{port}", words, args.host, port, short)

    def settings() -> None:
        secret = keys.secret(args.state, args.secret_file)
        files.write_page_settings(
            FOLDER / "monitor_host.js",
            host=reached_by(args),
            port=port,
            key=clients_key(secret).decode(),
            tls=args.tls_cert is not None,
            operator=operators_key(secret).decode(),
            course=as_settings(),
        )

    def announcement(pageless: str, _: bool) -> str:
        page = "Open this in a browser (a file, no web server). Ctrl-C stops the monitor.\n\n  "
        page += (FOLDER / "index.html").as_uri()
        return OPEN_THIS.format(
            python=terminal.python(),
            page=f"(no page: {pageless})" if pageless else page,
            flags=" " + shlex.join(flags) if flags else "",
        )

    try:
        return run_fleet(program, args, [monitor], settings, announcement)
    except files.StateError as fault:
        terminal.complain(program, fault)
        return 2 if isinstance(fault, files.UsageError) else 1


if __name__ == "__main__":
    sys.exit(main())
