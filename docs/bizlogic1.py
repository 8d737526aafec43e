"""The smallest bizlogic that keeps all promises, written from docs/protocol.rst alone.

    python docs/bizlogic1.py --port 5680 --name bizlogic-5680 --directory 127.0.0.1:5672 --state var

It keeps nothing. So when an inbox comes, goes, or refuses a bark, it closes all its links to
outboxes and inboxes and begins anew: the outboxes put unacked barks again, and the inboxes
know what they have. Left out: all that makes this rare (``docs/bizlogic.py`` has it), pings of its
own, refusals and errors in words, checks of what services say, clients, WebSocket, TLS.
"""

import asyncio
import bisect
import contextlib
import hashlib
import hmac
import json
import pathlib
import secrets
import signal
import struct
import sys
import time
from collections import defaultdict, deque

FLAGS = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
PORT, BEAT_S = int(FLAGS["--port"]), float(FLAGS.get("--heartbeat", 1))
SECRET = (pathlib.Path(FLAGS["--state"]) / "secret").read_bytes().strip()
WHO = {"name": FLAGS["--name"], "host": "127.0.0.1", "port": PORT}
SINCE, WINDOW = time.time_ns() // 1_000_000, 4096
STAMP = ("origin", "old", "n", "users", "ids", "at", "named", "trace")
followers = defaultdict(set)  # author -> readers
users, places = set(), {}  # all users; inbox -> (host, port)
inboxes, points, outboxes, anew = {}, [], set(), asyncio.Event()


class Link:
    """A connection whose other end has proved that it knows the secret."""

    async def up(self, reader, writer, us="acceptor", them="opener"):
        self.reader, self.writer = reader, writer
        hello = {"v": 1, "role": "service", "nonce": secrets.token_hex(16)}
        if us == "opener":
            self.send("hello", **hello)
        theirs = await self.read()
        if us == "acceptor":
            self.send("hello", **hello)
        nonces = {us: hello["nonce"], them: theirs["nonce"]}

        def mac(end):
            text = f"barker 1 {end} service {nonces['opener']} {nonces['acceptor']}"
            return hmac.new(SECRET, text.encode(), "sha256").hexdigest()

        if us == "opener":
            self.send("proof", mac=mac(us), name=WHO["name"])
        proof = await self.read()
        if not hmac.compare_digest(proof["mac"], mac(them)):
            raise ValueError("another secret")
        if us == "acceptor":
            self.send("proof", mac=mac(us), name=WHO["name"])
        return self

    def send(self, op, **fields):
        text = json.dumps({"op": op, **fields}, ensure_ascii=False, separators=(",", ":"))
        self.writer.write(text.encode() + b"\n")

    async def read(self):
        """The next message; pings are answered. Raises an exception when the other end is gone."""
        while True:
            async with asyncio.timeout(2.5 * BEAT_S):  # all others ping when there is nothing else
                message = json.loads(await self.reader.readuntil(b"\n"))
            if message["op"] == "ping":
                self.send("pong")
            elif message["op"] != "pong":
                return message


@contextlib.asynccontextmanager
async def opened(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield await Link().up(reader, writer, "opener", "acceptor")
    finally:
        writer.transport.abort()


async def again(work, *args):
    """Do it, and after any fault do it again."""
    while True:
        with contextlib.suppress(Exception):
            await work(*args)
        await asyncio.sleep(0.1)


async def directory(host, port):
    """The instances of each service. We register when we know all users, and not before."""
    async with opened(host, port) as link:
        link.send("watch", prefix="inbox")
        link.send("watch", prefix="graph")
        async with asyncio.TaskGroup() as tasks:
            graph = None
            while routes := await link.read():
                targets = {t["name"]: (t["host"], t["port"]) for t in routes.get("targets", ())}
                if routes.get("address") == "inbox" and targets != places:
                    places.clear()
                    places.update(targets)
                    anew.set()
                elif routes.get("address") == "graph" and targets:
                    if graph:
                        graph.cancel()
                    first = next(iter(targets.values()))
                    graph = tasks.create_task(again(learn, link, *first))


async def learn(link_to_directory, host, port):
    """The graph: all of it first, then each change."""
    async with opened(host, port) as link:
        link.send("subscribe", address="graph")
        words, serial = {}, 0  # by (user, whom): the last word, 2 * at, + 1 if it is the end
        users.clear(), followers.clear()
        while message := await link.read():
            if message["op"] == "subscribed":
                serial, is_whole = message["serial"], False
            for body in message["bodies"] if message["op"] == "message" else ():
                said = body.get("users", {})
                if not is_whole:
                    is_whole = not body["more"]
                else:
                    serial += 1
                    said = {body["user"]: {}}
                    if body["kind"] in ("follow", "unfollow"):
                        word = 2 * body["at"] + (body["kind"] == "unfollow")
                        said = {body["user"]: {body["whom"]: word}}
                users.update(said)
                for user, edges in said.items():
                    for whom, word in edges.items():
                        if word > words.get((user, whom), -1):
                            words[user, whom] = word
                            (followers[whom].discard if word % 2 else followers[whom].add)(user)
                if is_whole and body["kind"] == "graph":
                    kind = {"policy": "ordered", "kind": "bizlogic", "since": SINCE}
                    link_to_directory.send("register", address="bizlogic", **WHO, **kind)
            link.send("credit", address="graph", serial=serial if is_whole else 0)


class Outbox:
    """A link from an outbox: `jobs` has for each entry its number, and how many acks it lacks."""

    def __init__(self, link):
        self.link, self.jobs, self.received = link, deque(), 0

    async def serve(self):
        while put := await self.link.read():
            for i, body in enumerate(put["bodies"]):
                self.received += 1
                stamp = {k: put[k] for k in STAMP if k in put}
                stamp |= {k: [some[i]] for k, some in stamp.items() if type(some) is list}
                author, named = stamp["users"][0], stamp.get("named", [""])[0].split()
                to = defaultdict(list)
                for reader in {author, *followers[author], *(set(named) & users)}:
                    at = bisect.bisect_left(points, (ring(reader, 1)[0], "")) % len(points)
                    to[points[at][1]].append(f"inbox/{reader}")
                job = [self.received, len(to), self]
                self.jobs.append(job)
                for name, addresses in to.items():
                    await inboxes[name].put(job, to=[" ".join(addresses)], **stamp, bodies=[body])

    def settle(self):
        done = 0
        while self.jobs and not self.jobs[0][1]:
            done = self.jobs.popleft()[0]
        if done:
            self.link.send("ack", seq=done)


class Inbox:
    """The way to one inbox."""

    def __init__(self, link):
        self.link, self.seq, self.unacked = link, 0, deque()
        self.room = asyncio.Semaphore(WINDOW)

    async def put(self, job, **fields):
        await self.room.acquire()
        self.seq += 1
        self.unacked.append(job)
        self.link.send("put", seq=self.seq, **fields)

    async def serve(self):
        while answer := await self.link.read():
            if answer["op"] != "ack":
                raise ValueError("it has to come again")
            for _ in range(answer["seq"] - self.seq + len(self.unacked)):
                job = self.unacked.popleft()
                job[1] -= 1
                job[2].settle()
                self.room.release()


def ring(text, count):
    return struct.unpack(f">{count}Q", hashlib.shake_128(text.encode()).digest(8 * count))


async def life():
    """From the moment at which all inboxes are there until one of them is not."""
    anew.clear()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for name, place in places.items():
            inboxes[name] = Inbox(await stack.enter_async_context(opened(*place)))
            tasks.create_task(inboxes[name].serve())
        points[:] = sorted((point, name) for name in places for point in ring(name, 256))
        try:
            await anew.wait()
            raise ValueError("other inboxes")
        finally:
            points.clear()
            inboxes.clear()
            for outbox in outboxes:
                outbox.link.writer.transport.abort()


async def accepted(reader, writer):
    outbox = None
    with contextlib.suppress(Exception):
        outbox = Outbox(await Link().up(reader, writer))
        outboxes.add(outbox)
        await outbox.serve()
    outboxes.discard(outbox)
    writer.transport.abort()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(accepted, "127.0.0.1", PORT)
    host, _, port = FLAGS["--directory"].rpartition(":")
    tasks = [
        asyncio.create_task(again(directory, host, int(port))),
        asyncio.create_task(again(life)),
    ]
    print(f"READY 127.0.0.1:{PORT}", flush=True)
    await stop.wait()
    server.close()
    for task in tasks:
        task.cancel()


asyncio.run(main())
