"""A small Barker, step 2: put and ack.

    bark  ->  outbox  ->  bizlogic  ->  inbox  ->  listen

New: each put has a number, and is kept until the next process acks it. When a
connection breaks, what is not acked is put again.

    python docs/mini/step2.py PROGRAM

        inbox, bizlogic, outbox            each in a terminal of its own
        listen toto                        what toto reads: the barks of rex
        bark rex Hello
        experiment                         start all, kill some, count barks
"""

import asyncio
import contextlib
import json
import os
import sys
from asyncio import StreamReader, StreamWriter
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

HOST = "127.0.0.1"
PORTS = {"outbox": [7100], "bizlogic": [7200], "inbox": [7300]}
PORTS = json.loads(os.environ.get("MINI_PORTS") or json.dumps(PORTS))
FOLLOWERS = {"rex": "toto", "ella": "zoe", "milo": "max", "bella": "luna"}  # of each author
RETRY_S = 0.05

Message = dict[str, Any]
Reply = Callable[[Message], None]


def line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"


async def messages(stream: StreamReader) -> AsyncIterator[Message]:
    """What comes over a connection until it breaks. Half a line is no message."""
    with contextlib.suppress(OSError):
        async for text in stream:
            if text.endswith(b"\n"):
                yield json.loads(text)


async def connections(port: int) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
    """Connect, and connect again whenever the connection has broken."""
    while True:
        with contextlib.suppress(OSError):
            stream, writer = await asyncio.open_connection(HOST, port)
            with contextlib.closing(writer):
                print("linked to", port, flush=True)
                yield stream, writer
        await asyncio.sleep(RETRY_S)


async def serve(port: int, take: Callable[[Message, Reply], None]) -> None:
    """Let others connect. `take` is called with each message, and with what answers it."""

    async def connected(stream: StreamReader, writer: StreamWriter) -> None:
        def reply(message: Message) -> None:
            if not writer.is_closing():
                writer.write(line(message))

        with contextlib.closing(writer), contextlib.suppress(asyncio.CancelledError):  # Ctrl-C
            async for message in messages(stream):
                take(message, reply)

    server = await asyncio.start_server(connected, HOST, port)
    with contextlib.closing(server):
        print("ready", flush=True)
        await asyncio.Event().wait()  # until Ctrl-C


class Link:
    """Puts to another process. Each is kept until it is acked."""

    def __init__(self, port: int) -> None:
        self.n = 0
        self.unacked: dict[int, tuple[Message, Callable[[], None]]] = {}
        self.writer: StreamWriter | None = None
        self.task = asyncio.create_task(self.run(port))

    async def run(self, port: int) -> None:
        async for stream, self.writer in connections(port):
            self.writer.write(b"".join(line(put) for put, _ in self.unacked.values()))
            async for message in messages(stream):
                _, acked = self.unacked.pop(message["ack"])
                acked()
            self.writer = None

    def put(self, bark: Message, acked: Callable[[], None]) -> None:
        """`acked` is called when the other side is responsible for the bark."""
        self.n += 1
        put = {**bark, "n": self.n}
        self.unacked[self.n] = put, acked
        if self.writer:
            self.writer.write(line(put))


async def outbox(port: int) -> None:
    """The first hop takes barks from their authors."""
    link = Link(PORTS["bizlogic"][0])

    def take(bark: Message, reply: Reply) -> None:
        link.put(bark, lambda: None)
        reply({"ack": bark["n"]})

    await serve(port, take)


async def bizlogic(port: int) -> None:
    """The middle decides which reader gets a bark."""
    links = {inbox: Link(inbox) for inbox in PORTS["inbox"]}

    def take(bark: Message, reply: Reply) -> None:
        reader = FOLLOWERS[bark["user"]]
        links[inbox_of(reader)].put({**bark, "reader": reader}, lambda: reply({"ack": bark["n"]}))
        print("passed on", bark["text"], flush=True)

    await serve(port, take)


def inbox_of(reader: str) -> int:
    """The port of that reader's inbox."""
    return PORTS["inbox"][0]


async def inbox(port: int) -> None:
    """The last hop keeps the barks of each reader, and sends them to those who listen."""
    kept: defaultdict[str, list[Message]] = defaultdict(list)
    listeners: defaultdict[str, list[Reply]] = defaultdict(list)

    def take(message: Message, reply: Reply) -> None:
        reader = message["reader"]
        if "text" not in message:  # it is of a listener
            listeners[reader].append(reply)
            for bark in kept[reader]:
                reply(bark)
            return
        kept[reader].append(message)
        for listener in listeners[reader]:
            listener(message)
        reply({"ack": message["n"]})

    await serve(port, take)


async def listen(reader: str) -> None:
    async for stream, writer in connections(inbox_of(reader)):
        writer.write(line({"reader": reader}))
        async for bark in messages(stream):
            print(f"{bark['user']}: {bark['text']}", flush=True)


async def send(*barks: Message) -> None:
    """Return when the outbox has all of them."""
    link, acks = Link(PORTS["outbox"][0]), asyncio.Semaphore(0)
    for bark in barks:
        link.put(bark, acks.release)
    for _ in barks:
        await acks.acquire()
    link.task.cancel()


def main(program: str = "", word: str = "1", *text: str) -> None:
    services = {"outbox": outbox, "bizlogic": bizlogic, "inbox": inbox}
    if program in services:  # of several, the first or the one with that number
        work = services[program](PORTS[program][int(word) - 1])
    elif program == "listen":
        work = listen(word)
    elif program == "bark" and word in FOLLOWERS:
        work = send({"user": word, "text": " ".join(text)})
    elif program == "experiment":
        import experiment  # it is the same for all steps

        work = experiment.run(sys.modules[__name__])
    else:
        sys.exit(f"{__doc__}\nUsers who bark: {', '.join(FOLLOWERS)}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
