"""Cases for every role: greeting, strangers, limits, heartbeats, the end."""

import asyncio

from barker.laboratory.bizlogiccases import BIZLOGIC
from barker.laboratory.conformance import Case, NotTried
from barker.laboratory.directorycases import DIRECTORY
from barker.laboratory.graphcases import READERS
from barker.laboratory.inboxcases import INBOX
from barker.laboratory.keptcases import KEPT
from barker.laboratory.lab import Broken, until
from barker.laboratory.outboxcases import OUTBOX
from barker.laboratory.peer import NONCE
from barker.laboratory.stand import Stand
from barker.laboratory.strangers import NONSENSE, WRONG_SECRET
from barker.links import greeting
from barker.wire import protocol
from barker.wire.ops import Hello, Proof, Routes, Sample, Subscribe, Watch
from barker.wire.rights import SERVICE

# Until a ping comes after a heartbeat's silence, and until a link is closed after two and a half.
PING_S = 2.0
CLOSED_S = 4.5
PINGS = 200


async def greets(stand: Stand) -> None:
    await stand.begin(waits=False)
    peer = await stand.open()
    if peer.name != stand.name:
        raise Broken(f"its proof has the name {peer.name}, and it was given --name {stand.name}")
    other = await stand.open()
    assert peer.hello and other.hello
    if peer.hello.nonce == other.hello.nonce:
        raise Broken("two of its hellos have one nonce")


async def registers(stand: Stand) -> None:
    await stand.begin()
    routes = await stand.registered()
    place = [(t.host, t.port) for t in routes.targets if t.name == stand.name]
    if place[0][1] != stand.port:
        raise Broken(f"it registers port {place[0][1]}, and was given --port {stand.port}")


async def refuses_a_wrong_proof(stand: Stand) -> None:
    await stand.begin(waits=False)
    peer = await stand.connect()
    peer.send(Hello(protocol.VERSION, SERVICE, NONCE))
    hello = await peer.expect(Hello)
    nonces = NONCE, hello.nonce
    wrong = greeting.mac(WRONG_SECRET, greeting.OPENER, SERVICE, *nonces)
    peer.send(Proof(wrong, "stranger"))
    await peer.is_over(protocol.BAD_PROOF)
    # Its own proof, sent back to it, is worth nothing.
    peer = await stand.connect()
    peer.send(Hello(protocol.VERSION, SERVICE, NONCE))
    hello = await peer.expect(Hello)
    own = greeting.mac(stand.secret, greeting.ACCEPTOR, SERVICE, NONCE, hello.nonce)
    peer.send(Proof(own, "stranger"))
    await peer.is_over(protocol.BAD_PROOF)


async def refuses_another_version(stand: Stand) -> None:
    await stand.begin(waits=False)
    peer = await stand.connect()
    peer.send(Hello(protocol.VERSION + 1, SERVICE, NONCE))
    await peer.is_over(protocol.BAD_VERSION)


async def is_none_the_worse_for_strangers(stand: Stand) -> None:
    await stand.begin(waits=False)
    good = await stand.open()
    for nonsense in NONSENSE:
        peer = await stand.connect()
        peer.write(nonsense)
        await peer.is_over("")
    before_proof = await stand.connect()
    before_proof.send(Hello(protocol.VERSION, SERVICE, NONCE), Watch("bizlogic"))
    await before_proof.is_over(protocol.PROTOCOL)
    good.write(b'{"op":"ping"}\n')
    await good.until_pongs(1)
    await stand.open()


async def takes_what_it_does_not_know(stand: Stand) -> None:
    await stand.begin(waits=False)
    peer = await stand.open()
    peer.write(b' {"new": {"a": [1, null]}, "op" : "ping"} \n{"op":"pong","x":1}\n{"op":"ping"}\n')
    await peer.until_pongs(2)
    peer.write(b'{"op":"dance"}\n')
    await peer.is_over(protocol.PROTOCOL)


async def has_a_longest_line(stand: Stand) -> None:
    await stand.begin(waits=False)
    peer = await stand.open()
    short = b'{"op":"ping","x":"%b"}'
    room = protocol.MAX_LINE_BYTES - len(short) + 2
    peer.write(short % (b"x" * room) + b"\n")
    await peer.until_pongs(1)
    peer.write(short % (b"x" * (room + 1)) + b"\n")
    await peer.is_over(protocol.TOO_LARGE)


async def answers_each_ping(stand: Stand) -> None:
    await stand.begin(waits=False)
    peer = await stand.open()
    peer.write(b'{"op":"ping"}\n' * PINGS)
    await peer.until_pongs(PINGS)


async def notices_silence(stand: Stand) -> None:
    await stand.begin(waits=False)
    talks, mute = await stand.open("talks"), await stand.open("mute")
    mute.fall_silent()
    await until(lambda: mute.pings, "it pings a peer that is silent for a heartbeat", PING_S)
    await mute.is_over("", CLOSED_S)
    talks.write(b'{"op":"ping"}\n')
    await talks.until_pongs(1)


async def stops(stand: Stand) -> None:
    await stand.begin()
    peer = await stand.open()
    watcher = await stand.directory("watcher")
    status = await stand.stop()
    if status:
        raise Broken(f"it ends with status {status} after SIGTERM")
    await peer.is_over("")
    if stand.role != "directory":
        watcher.send(Watch(stand.role))
        routes = await watcher.expect(Routes)
        if any(target.name == stand.name for target in routes.targets):
            raise Broken("the directory still lists it after its end")


async def has_an_agent(stand: Stand) -> None:
    await stand.begin()
    try:
        async with asyncio.timeout(1.0):
            await stand.registered("agent")
    except TimeoutError:
        raise NotTried("it registers no agent: the monitor does not see it") from None
    peer = await stand.open()
    peer.send(Subscribe(f"agent/{stand.name}"))
    await peer.expect(Sample)


async def speaks_websocket(stand: Stand) -> None:
    await stand.begin(waits=False)
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Origin: null\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    try:
        async with asyncio.timeout(6.0):
            answer = await reader.read(1024)
    except (OSError, TimeoutError):
        answer = b""
    writer.transport.abort()
    if b" 101 " not in answer:
        raise NotTried("it leaves WebSocket out: pages can't reach it")
    if b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" not in answer:
        raise Broken("its Sec-WebSocket-Accept is wrong")


PROTOCOL = "protocol"
EVERY = [
    Case("greeting", "hello for hello, proof for proof, with a new nonce", PROTOCOL, greets),
    Case("wrong proof", "promise 8: bad-proof, and no proof", "19", refuses_a_wrong_proof),
    Case("other version", "bad-version", PROTOCOL, refuses_another_version),
    Case(
        "strangers",
        "promise 7: they hurt themselves",
        "19",
        is_none_the_worse_for_strangers,
    ),
    Case("unknown", "a field is ignored, an op is the end", PROTOCOL, takes_what_it_does_not_know),
    Case("longest line", "64 KiB, and no more", PROTOCOL, has_a_longest_line),
    Case("pings", "each has its pong", PROTOCOL, answers_each_ping),
    Case(
        "silence",
        "promise 6: a ping after 1 heartbeat, the end before 3",
        "4",
        notices_silence,
    ),
    Case("stop", "SIGTERM is the end, in good order", "6", stops),
    Case("agent", "it sends samples", "14", has_an_agent),
]
REGISTERING = Case("registering", "the directory lists it by its name", "6", registers)
WEBSOCKET = Case("WebSocket", "pages can connect to it", "12", speaks_websocket)

CASES = {
    "outbox": [*EVERY, REGISTERING, WEBSOCKET, *OUTBOX, *KEPT],
    "inbox": [*EVERY, REGISTERING, WEBSOCKET, *INBOX],
    "bizlogic": [*EVERY, REGISTERING, *READERS, *BIZLOGIC],
    "directory": [*EVERY, WEBSOCKET, *DIRECTORY],
}
