"""An attacker: so many connections at a time to one port, none of which proves anything.

    python -m tests.tools.attacker PORT COUNT SECONDS

Each says the worst that a stranger can, and when it is closed, another one takes its place. A line
on standard output says how many came in a second. At low priority, so that what it costs its victim
is told from what it costs the machine.
"""

import contextlib
import itertools
import os
import selectors
import socket
import sys
import time
from collections.abc import Iterator

HELLO = b'{"op":"hello","v":1,"role":"service","nonce":"%b"}\n' % (b"0" * 32)
UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Origin: null\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
WORST = (
    b"",  # and nothing more, for as long as it may
    HELLO,
    HELLO + b'{"op":"proof","mac":"%b","name":"x"}\n' % (b"0" * 64),
    b'{"x":' + b"[" * 65_000,
    b"{" + b'"a":1,' * 10_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1300,
    UPGRADE + b"\x89\x80\0\0\0\0" * 40_000,
    UPGRADE + b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 40_000,
    b"what?\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
)


# So many connections are an attack that has begun.
MANY = 500


def attack(port: int, count: int, seconds: float) -> float:
    """Connections a second."""
    came = 0
    selector = selectors.DefaultSelector()
    words = itertools.cycle(WORST)
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        while len(selector.get_map()) < count and _come(selector, port, words):
            came += 1
            if came == min(count, MANY):
                print("knocking", flush=True)
            if came % 20 == 0:
                break
        for key, events in selector.select(0.005):
            _go_on(selector, key, events)
    for key in list(selector.get_map().values()):
        _hang_up(selector, key.fileobj)
    selector.close()
    return came / seconds


def _come(selector: selectors.BaseSelector, port: int, words: Iterator[bytes]) -> bool:
    channel = socket.socket()
    channel.setblocking(False)
    try:
        with contextlib.suppress(BlockingIOError):
            channel.connect(("127.0.0.1", port))
    except OSError:
        channel.close()
        return False
    selector.register(channel, selectors.EVENT_READ | selectors.EVENT_WRITE, [next(words)])
    return True


def _go_on(selector: selectors.BaseSelector, key: selectors.SelectorKey, events: int) -> None:
    channel = key.fileobj
    assert isinstance(channel, socket.socket)
    try:
        if events & selectors.EVENT_WRITE and key.data[0]:
            key.data[0] = key.data[0][channel.send(key.data[0]) :]
        if not key.data[0]:
            selector.modify(channel, selectors.EVENT_READ, key.data)
        if events & selectors.EVENT_READ and not channel.recv(65536):
            raise ConnectionResetError
    except BlockingIOError:
        pass
    except OSError:
        _hang_up(selector, channel)


def _hang_up(selector: selectors.BaseSelector, channel: object) -> None:
    assert isinstance(channel, socket.socket)
    selector.unregister(channel)
    channel.close()


if __name__ == "__main__":
    with contextlib.suppress(AttributeError, OSError):
        os.nice(19)
    print(f"{attack(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])):.0f}", flush=True)
