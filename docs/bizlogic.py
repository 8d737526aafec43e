"""A bizlogic that passes each case, written from docs/protocol.rst: it knows nothing of ``barker``.

    python docs/bizlogic.py --port 5680 --directory 127.0.0.1:5672 --state var

Left out: an agent (the monitor does not see it), clients, WebSocket, TLS, many entries in one put.
"""

import asyncio
import bisect
import hashlib
import hmac
import json
import pathlib
import secrets
import signal
import struct
import sys
import time
from collections import deque

FLAGS = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
PORT, HEARTBEAT_S = int(FLAGS["--port"]), float(FLAGS.get("--heartbeat", 1))
NAME = FLAGS.get("--name", f"bizlogic-{PORT}")
SECRET = (pathlib.Path(FLAGS["--state"]) / "secret").read_bytes().strip()
SINCE = time.time_ns() // 1_000_000
MAX_LINE, WINDOW, AGAIN_S = 64 * 1024, 4096, 0.1
STAMP = ("origin", "old", "n", "users", "ids", "at", "named", "trace")


class Wrong(Exception):
    """The other side has broken a rule: code and reason of an `error`."""


class Link:
    """One connection: greeted by `greet`, then its messages are `read`."""

    def __init__(self, reader, writer):
        self.reader, self.writer, self.heard = reader, writer, time.monotonic()
        self.is_up = False
        self.watch = asyncio.create_task(self.beat())

    def send(self, op, **fields):
        if not self.writer.is_closing():
            line = json.dumps({"op": op, **fields}, ensure_ascii=False, separators=(",", ":"))
            self.writer.write(line.encode() + b"\n")

    async def beat(self):
        while (silent_s := time.monotonic() - self.heard) < 2.5 * HEARTBEAT_S:
            if silent_s > HEARTBEAT_S and self.is_up:
                self.send("ping")
            await asyncio.sleep(HEARTBEAT_S / 4)
        self.writer.transport.abort()

    async def read(self):
        """Messages, but for pings and pongs, until the end."""
        try:
            while line := await self.reader.readline():
                self.heard = time.monotonic()
                message = json.loads(line)
                if message["op"] == "ping":
                    self.send("pong")
                elif message["op"] != "pong":
                    yield message
        except ValueError as fault:  # no JSON, or no end of the line
            code = "protocol" if isinstance(fault, json.JSONDecodeError) else "too-large"
            raise Wrong(code, "no message of this protocol") from None
        except (KeyError, TypeError, RecursionError):
            raise Wrong("protocol", "no message of this protocol") from None

    async def greet(self, messages, is_opener, epoch=None):
        def mac(end):
            text = f"barker 1 {end} service {nonces[is_opener]} {nonces[not is_opener]}"
            return hmac.new(SECRET, text.encode(), "sha256").hexdigest()

        async def expect(op):
            message = await anext(messages, {"op": "error"})
            if message["op"] != op:
                raise Wrong("protocol", f"say {op} first")
            return message

        us, them = ("opener", "acceptor") if is_opener else ("acceptor", "opener")
        nonces = {False: "", True: secrets.token_hex(16)}  # by: is it ours?
        hello = {"v": 1, "role": "service", "nonce": nonces[True]}
        who = {"name": NAME, **({"epoch": epoch} if epoch else {})}
        if is_opener:
            self.send("hello", **hello)
        theirs = await expect("hello")
        nonces[False] = theirs["nonce"]
        if theirs["v"] != 1:
            raise Wrong("bad-version", "this is version 1")
        if is_opener:
            self.send("proof", mac=mac(us), **who)
        else:
            self.send("hello", **hello)
        proof = await expect("proof")
        if not hmac.compare_digest(proof["mac"], mac(them)):
            raise Wrong("bad-proof", "you don't know the secret")
        if not is_opener:
            self.send("proof", mac=mac(us), **who)
        self.is_up = True
        return proof


async def talk(reader, writer, party, is_opener, epoch=None):
    """A connection, from its first byte to its last; `party` has up, take and down."""
    link = Link(reader, writer)
    try:
        messages = link.read()
        async with asyncio.timeout(5):
            proof = await link.greet(messages, is_opener, epoch)
        party.up(link, proof)
        async for message in messages:
            party.take(message)
    except (Wrong, LookupError, TypeError, ValueError) as fault:
        code, reason = fault.args if isinstance(fault, Wrong) else ("protocol", repr(fault))
        link.send("error", code=code, reason=reason[:500])
    except (OSError, TimeoutError):
        pass
    finally:
        party.down()
        link.watch.cancel()
        writer.close()


async def keep(host, port, party):
    """Connect, and connect again, for as long as it is wanted."""
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=MAX_LINE)
            await talk(reader, writer, party, True, directory.epoch)
        except OSError:
            pass
        await asyncio.sleep(AGAIN_S)


class Outbox:
    """An outbox that puts to us. An entry is acked once all inboxes have it, and all before it."""

    def up(self, link, proof):
        self.link, self.received, self.jobs = link, 0, deque()  # jobs: [seq, pending]

    def take(self, put):
        if put["op"] != "put" or put["seq"] != self.received + 1:
            raise Wrong("protocol", f"{put['op']} has no meaning here, or not this seq")
        count = len(put["bodies"])
        if len(self.jobs) + count > WINDOW:
            raise Wrong("protocol", f"over {WINDOW} puts are unacked")
        for i, body in enumerate(put["bodies"]):
            self.received += 1
            job = [self.received, 0, self]
            self.jobs.append(job)
            if "origin" not in put:
                self.refuse(job, "bad-message", "barks come through an outbox, which stamps them")
                continue
            if any(isinstance(value, dict | list) for value in body.values()):
                raise Wrong("protocol", "a body with a stamp that is not canonical")
            stamp = {k: [put[k][i]] if type(put[k]) is list else put[k] for k in STAMP if k in put}
            graph.hand_over(job, {**stamp, "bodies": [body]})
        self.settle()

    def settle(self):
        done = 0
        while self.jobs and not self.jobs[0][1]:
            done = self.jobs.popleft()[0]
        if done and self.link:
            self.link.send("ack", seq=done)

    def refuse(self, job, code, reason):
        if self.link:
            fields = {"code": code, "reason": reason[:500], "addresses": ["bizlogic"]}
            self.link.send("refuse", seq=job[0], **fields)

    def down(self):
        self.link = None  # what it has brought is sent again by it, here or elsewhere


class Inbox:
    """The way to one inbox: what it has not acked is sent again over the next link."""

    def __init__(self, name, host, port):
        self.name, self.link, self.waiting, self.sent, self.again = name, None, deque(), deque(), []
        self.place = (host, port)
        self.task = asyncio.create_task(keep(host, port, self))

    def up(self, link, proof):
        if proof["name"] != self.name:
            raise Wrong("protocol", f"you are not {self.name}")
        self.link, self.seq, self.acked = link, 0, 0
        self.pump()

    def pump(self):
        while self.link and self.waiting and len(self.sent) < WINDOW:
            job, addresses, fields = entry = self.waiting.popleft()
            if job[2].link:
                self.seq += 1
                self.sent.append([self.seq, entry])
                self.link.send("put", seq=self.seq, to=[" ".join(addresses)], **fields)

    def take(self, answer):
        seq = answer["seq"]
        if answer["op"] == "refuse":
            if not self.acked < seq <= self.seq:
                raise Wrong("protocol", f"refuse {seq} of what was not sent")
            job, _, fields = self.sent[seq - self.acked - 1][1]
            if answer["code"] in ("full", "moved"):
                if not self.again:
                    asyncio.get_running_loop().call_later(AGAIN_S, self.put_again)
                self.again.append((job, answer["addresses"], fields))
                job[1] += 1
            else:
                job[2].refuse(job, answer["code"], answer["reason"])
        elif answer["op"] == "ack":
            if seq > self.seq:
                raise Wrong("protocol", f"ack {seq} of what was not sent")
            for _ in range(seq - self.acked):
                job = self.sent.popleft()[1][0]
                job[1] -= 1
                job[2].settle()
            self.acked = max(self.acked, seq)
            self.pump()

    def put_again(self):
        again, self.again = self.again, []
        directory.place(again, first=True)

    def down(self):
        self.link = None
        self.waiting.extendleft(entry for _, entry in reversed(self.sent))
        self.sent.clear()


class Graph:
    """Who follows whom: for each (user, whom) the last word about it, 2 * at, + 1 if it ended."""

    def __init__(self):
        self.words, self.users, self.followers = {}, set(), {}
        self.epoch, self.serial, self.next, self.task, self.place = None, 0, None, None, None

    def up(self, link, proof):
        self.link = link
        link.send("subscribe", address="graph", **self.had())

    def had(self):
        return {"epoch": self.epoch, "after": self.serial} if self.epoch else {}

    def take(self, message):
        if message["op"] == "subscribed":
            place = message["epoch"], message["serial"]
            if place != (self.epoch, self.serial):
                self.next = Graph()  # a snapshot follows
            self.epoch, self.serial = place
            return
        for body in message["bodies"] if message["op"] == "message" else ():
            if body["kind"] == "graph":
                for user, words in body["users"].items():
                    self.next.users.add(user)
                    for whom, word in words.items():
                        self.next.say(user, whom, word)
                if not body["more"]:
                    new, self.next = self.next, None
                    self.words, self.users, self.followers = new.words, new.users, new.followers
                    directory.register()
            else:
                self.serial += 1
                self.users.add(body["user"])
                if body["kind"] in ("follow", "unfollow"):
                    word = 2 * body["at"] + (body["kind"] == "unfollow")
                    self.say(body["user"], body["whom"], word)
        self.link.send("credit", address="graph", serial=0 if self.next else self.serial)

    def say(self, user, whom, word):
        if word > self.words.get((user, whom), -1):
            self.words[user, whom] = word
            readers = self.followers.setdefault(whom, set())
            readers.discard(user) if word % 2 else readers.add(user)

    def down(self):
        if self.next:
            self.next, self.epoch = None, None  # half a snapshot is none

    def hand_over(self, job, fields):
        """One bark: to its author, to followers, and to whom it mentions."""
        author, named = fields["users"][0], fields.get("named", [""])[0].split()
        readers = {author, *self.followers.get(author, ()), *(set(named) & self.users)}
        job[1] += 1  # until it is placed
        directory.place([(job, [f"inbox/{reader}" for reader in readers], fields)])


class Directory:
    """Who serves what, as the directory has said last."""

    epoch = link = None

    def __init__(self):
        self.inboxes, self.points, self.homeless = {}, [], []

    def up(self, link, proof):
        self.link, self.epoch = link, proof.get("epoch")
        for prefix in ("inbox", "graph"):
            link.send("watch", prefix=prefix)
        if graph.users:
            self.register()

    def down(self):
        self.link = None

    def register(self):
        if self.link:
            place = {"name": NAME, "host": "127.0.0.1", "port": PORT}
            kind = {"policy": "ordered", "kind": "bizlogic", "since": SINCE}
            self.link.send("register", address="bizlogic", **place, **kind)

    def take(self, routes):
        if routes["op"] != "routes":
            return
        places = {t["name"]: (t["host"], t["port"]) for t in routes["targets"]}
        if routes["address"] == "graph":
            first = next(iter(places.values()), None)
            if first and first != graph.place:
                if graph.task:
                    graph.task.cancel()
                graph.place, graph.task = first, asyncio.create_task(keep(*first, graph))
        elif routes["address"] == "inbox":
            left, self.homeless = self.homeless, []
            for name, inbox in list(self.inboxes.items()):
                left += inbox.waiting
                inbox.waiting.clear()
                if places.get(name) != inbox.place:
                    left = [entry for _, entry in inbox.sent] + left
                    inbox.sent.clear()
                    self.inboxes.pop(name).task.cancel()
            for name, place in places.items():
                if name not in self.inboxes:
                    self.inboxes[name] = Inbox(name, *place)
            self.points = sorted((p, name) for name in places for p in points(name, 256))
            self.place(left)

    def place(self, entries, first=False):
        """Each entry, by the ring, to the inboxes of its addresses."""
        for job, addresses, fields in reversed(entries) if first else entries:
            parts = {}
            for address in addresses if self.points else ():
                key = points(address.partition("/")[2], 1)[0]
                at = bisect.bisect_left(self.points, (key, "")) % len(self.points)
                parts.setdefault(self.points[at][1], []).append(address)
            if not parts:
                self.homeless.append((job, addresses, fields))
                continue
            job[1] += len(parts) - 1
            for name, some in parts.items():
                waiting = self.inboxes[name].waiting
                entry = (job, some, fields)
                waiting.appendleft(entry) if first else waiting.append(entry)
        for inbox in self.inboxes.values():
            inbox.pump()


def points(text, count):
    """Places on the ring, as the protocol has them."""
    return struct.unpack(f">{count}Q", hashlib.shake_128(text.encode()).digest(8 * count))


directory, graph = Directory(), Graph()


async def main():
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def accepted(reader, writer):
        await talk(reader, writer, Outbox(), False)

    server = await asyncio.start_server(accepted, "127.0.0.1", PORT, limit=MAX_LINE)
    host, _, port = FLAGS["--directory"].rpartition(":")
    task = asyncio.create_task(keep(host, int(port), directory))
    print(f"READY 127.0.0.1:{PORT}", flush=True)
    await stop.wait()
    server.close()
    task.cancel()


asyncio.run(main())
