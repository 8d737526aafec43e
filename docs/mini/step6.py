"""A small Barker, step 6: a ring of inboxes.

    bark  ->  outbox  ->  bizlogic  ->  inbox  ->  listen

New: there are two inboxes. Each process works out by itself, from a ring, which
of them has a reader.

    python docs/mini/step6.py PROGRAM

        inbox [2], bizlogic [2], outbox    each in a terminal of its own
        listen toto                        what toto reads: the barks of rex
        bark rex Hello
        experiment                         start all, kill some, count barks
"""

import asyncio
import bisect
import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import sys
from asyncio import StreamReader, StreamWriter
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from typing import Any

HOST = "127.0.0.1"
PORTS = {"outbox": [7100], "bizlogic": [7200, 7201], "inbox": [7300, 7301]}
PORTS = json.loads(os.environ.get("MINI_PORTS") or json.dumps(PORTS))
FOLLOWERS = {"rex": "toto", "ella": "zoe", "milo": "max", "bella": "luna"}  # of each author
RETRY_S = 0.05
STATE = pathlib.Path(os.environ.get("MINI_STATE") or "var/mini")
WINDOW = 1_000  # so many stamps an inbox knows again
POINTS = 100  # of each inbox on the ring

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
    """Puts to the first process that there is of several. Each is kept until it is acked."""

    def __init__(self, *ports: int) -> None:
        self.n = 0
        self.unacked: dict[int, tuple[Message, Callable[[], None]]] = {}
        self.writer: StreamWriter | None = None
        self.writers: dict[int, StreamWriter | None] = dict.fromkeys(ports)
        self.tasks = [asyncio.create_task(self.run(port)) for port in ports]

    async def run(self, port: int) -> None:
        async for stream, writer in connections(port):
            self.change(port, writer)
            async for message in messages(stream):
                _, acked = self.unacked.pop(message["ack"], (None, lambda: None))
                acked()
            self.change(port, None)

    def change(self, port: int, writer: StreamWriter | None) -> None:
        """Of the connections there are now, use the first. If that is a new one, put all again."""
        self.writers[port] = writer
        first = next(filter(None, self.writers.values()), None)
        if first and first is not self.writer:
            first.write(b"".join(line(put) for put, _ in self.unacked.values()))
        self.writer = first

    def put(self, bark: Message, acked: Callable[[], None]) -> None:
        """`acked` is called when the other side is responsible for the bark."""
        self.n += 1
        put = {**bark, "n": self.n}
        self.unacked[self.n] = put, acked
        if self.writer:
            self.writer.write(line(put))


class Journal:
    """A file. What is owed of a stamp is the bark in its last line; none if it was passed on."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read it, and begin a new one with what is owed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        last = {}
        for text in path.read_bytes().splitlines(keepends=True):
            if text.endswith(b"\n"):  # kill -9 may have come in the middle of a line
                last.update(json.loads(text))
        self.owed = {stamp: bark for stamp, bark in last.items() if bark}
        draft = path.with_suffix(".draft")
        draft.write_bytes(line(self.owed))
        draft.replace(path)
        self.file = path.open("ab", buffering=0)

    def write(self, stamp: str, bark: Message | None) -> None:
        self.file.write(line({stamp: bark}))


async def outbox(port: int) -> None:
    """The first hop takes barks from their authors."""
    link = Link(*PORTS["bizlogic"])
    journal = Journal(STATE / f"outbox-{port}.journal")

    def take(bark: Message, reply: Reply) -> None:
        journal.write(bark["stamp"], bark)
        pass_on(bark)
        reply({"ack": bark["n"]})

    def pass_on(bark: Message) -> None:
        link.put(bark, lambda: journal.write(bark["stamp"], None))

    for bark in journal.owed.values():
        pass_on(bark)
    await serve(port, take)


async def bizlogic(port: int) -> None:
    """The middle decides which reader gets a bark."""
    links = {inbox: Link(inbox) for inbox in PORTS["inbox"]}

    def take(bark: Message, reply: Reply) -> None:
        reader = FOLLOWERS[bark["user"]]
        links[inbox_of(reader)].put({**bark, "reader": reader}, lambda: reply({"ack": bark["n"]}))
        print("passed on", bark["text"], flush=True)

    await serve(port, take)


def position(text: str) -> int:
    """A place on the ring, the same in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def ring(inboxes: int) -> list[tuple[int, int]]:
    """Points of so many inboxes in the order of their positions, each with its inbox."""
    return sorted((position(f"{i}.{k}"), i) for i in range(inboxes) for k in range(POINTS))


RING = ring(len(PORTS["inbox"]))


def inbox_of(reader: str) -> int:
    """The port of the inbox that has the next point behind the reader's position."""
    _, inbox = RING[bisect.bisect(RING, (position(reader),)) % len(RING)]
    return PORTS["inbox"][inbox]


async def inbox(port: int) -> None:
    """The last hop keeps the barks of each reader, and sends them to those who listen."""
    kept: defaultdict[str, list[Message]] = defaultdict(list)
    listeners: defaultdict[str, list[Reply]] = defaultdict(list)
    window: deque[str] = deque(maxlen=WINDOW)

    def take(message: Message, reply: Reply) -> None:
        reader = message["reader"]
        if "text" not in message:  # it is of a listener
            listeners[reader].append(reply)
            for bark in kept[reader]:
                reply(bark)
            return
        if message["stamp"] not in window:
            window.append(message["stamp"])
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
        link.put({**bark, "stamp": secrets.token_hex(8)}, acks.release)
    for _ in barks:
        await acks.acquire()
    for task in link.tasks:
        task.cancel()


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
