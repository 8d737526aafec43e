"""Talk: greet the service at a port, send what is typed, print what comes. See chapter 3.

    python docs/talk.py 5672              as a client
    python docs/talk.py 5672 service      with the key of services

Ctrl-D ends the input, Ctrl-C ends all. Pings are answered.
"""

import hashlib
import hmac
import json
import os
import pathlib
import select
import socket
import sys

ROLE = "service" if "service" in sys.argv else "client"
FILES = {"client": "var/secret.clients", "service": "var/secret"}
KEY = pathlib.Path(FILES[ROLE]).read_bytes().strip()
OURS = "00112233445566778899aabbccddeeff"  # an honest client draws a new nonce each time


def mac(end, opener, acceptor):
    text = f"barker 1 {end} {ROLE} {opener} {acceptor}"
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def greet(peer, lines):
    def send(message):
        peer.sendall(json.dumps(message).encode() + b"\n")

    send({"op": "hello", "v": 1, "role": ROLE, "nonce": OURS})
    theirs = json.loads(lines.readline())["nonce"]
    send({"op": "proof", "mac": mac("opener", OURS, theirs), "name": "me"})
    assert json.loads(lines.readline())["mac"] == mac("acceptor", OURS, theirs)


def talk(peer):
    rest, sources = b"", [peer, sys.stdin]
    while peer in sources:
        for source in select.select(sources, [], [])[0]:
            data = peer.recv(65536) if source is peer else os.read(sys.stdin.fileno(), 65536)
            if not data:
                sources.remove(source)  # our peer has closed, or there is no more input
                if source is not peer:
                    peer.shutdown(socket.SHUT_WR)
            elif source is not peer:
                peer.sendall(data)
            else:
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    if line == b'{"op":"ping"}':
                        peer.sendall(b'{"op":"pong"}\n')
                    else:
                        print(line.decode(), flush=True)


if __name__ == "__main__":
    try:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
            greet(connection, connection.makefile("rb", buffering=0))
            talk(connection)
    except (KeyboardInterrupt, ConnectionResetError, BrokenPipeError):
        pass
