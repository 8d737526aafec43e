"""The walk of one bark: what a person who follows it through the code has to read.

    python -m tests.walk            how many calls, and how many moves between files
    python -m tests.walk --list     the calls, one a line, in their order

A directory, a followers service, an inbox, a bizlogic and an outbox run in this process, with
journals, and so do a client and a reader. The author's only reader is the author. All links are up,
and another bark has gone the same way before. Then one bark goes from the client's `put` to the
reader's `show`, under `sys.setprofile`.

What is counted: a *call* is one of a function of ours (below ``barker/``), on the bark's way or
because of its acks. A *move* is a call of a function that is in another file than the one called
before it. Left out: what Python's own modules do in between, and calls of functions in C.
"""

import argparse
import asyncio
import pathlib
import sys
import tempfile
from types import FrameType
from typing import Any, NamedTuple

from barker.bizlogic import BizLogic
from barker.client.reader import Reader
from barker.client.speaker import new_id, now_ms
from barker.client.tracked import Outcome, TrackedSender
from barker.directory import Directory
from barker.followers import Followers
from barker.inbox import Inbox
from barker.outbox import Outbox
from barker.process.arguments import Parser, common_arguments
from barker.wire.bodies import Bark, encode_bark
from barker.wire.ops import Item
from tests.tools.fleet import Guest, until
from tests.tools.wireclient import serving

OURS = str(pathlib.Path(__file__).resolve().parent.parent / "barker") + "/"
# How long the loop is left to itself before and after, so that acks and notes are not cut off.
QUIET_S = 0.2


class Call(NamedTuple):
    file: str
    function: str


class Walk:
    """The calls of one bark's way, in their order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(OURS):
            self.calls.append(Call(code.co_filename.removeprefix(OURS), code.co_qualname))

    @property
    def moves(self) -> int:
        return sum(a.file != b.file for a, b in zip(self.calls, self.calls[1:], strict=False))


async def walk() -> Walk:
    """Start everything, send one bark to warm up, and watch the next one."""
    asyncio.get_running_loop().set_debug(False)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "users.json").write_text('{"ark3": []}')
        async with serving(Directory, folder) as directory:
            port = directory.port
            async with (
                serving(Followers, folder, directory=port),
                serving(Inbox, folder, directory=port),
                serving(BizLogic, folder, directory=port),
                serving(Outbox, folder, directory=port),
            ):
                return await _watched(folder, port)


async def _watched(folder: pathlib.Path, port: int) -> Walk:
    parser = argparse.ArgumentParser()
    common_arguments(parser)
    flags = ["--state", str(folder), "--directory", f"127.0.0.1:{port}", "--heartbeat", "60"]
    shown: list[str] = []
    walked = Walk()
    async with Guest(parser.parse_args(flags)).running() as node:
        sender = TrackedSender(node)
        reader = Reader(node, ["ark3"], lambda _, fields, late: shown.append(fields["id"]), print)
        for peers in (sender.sender, reader):
            peers.dial()
        await until(lambda: sender.sender.peers and reader.peers, "the links are up")
        for profile in (None, walked):
            bark = Bark(new_id(), "ark3", "This is my first manual bark.", now_ms())
            item, outcome = Item(encode_bark(bark)), Outcome()
            await asyncio.sleep(QUIET_S)
            sys.setprofile(profile)
            sender.track("outbox/ark3", item, outcome)
            sender.pump()
            while not (outcome.acked and bark.id in shown):
                await asyncio.sleep(0)
            await asyncio.sleep(QUIET_S)
            sys.setprofile(None)
    return walked


def main(argv: list[str] | None = None) -> int:
    parser = Parser(
        "-m tests.walk",
        "Count the calls of one bark's way through the code, and the moves between files.",
        ["-m tests.walk", "-m tests.walk --list"],
    )
    parser.add_argument("--list", action="store_true", help="print the calls")
    args = parser.parse_args(argv)
    walked = asyncio.run(walk())
    if args.list:
        print("\n".join(f"{call.file:28} {call.function}" for call in walked.calls))
    print(f"{len(walked.calls)} calls, {walked.moves} moves between files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
