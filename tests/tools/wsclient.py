"""A blocking WebSocket client that sends whatever it is told to."""

import socket
from typing import Self

from barker.websocket.frames import encode_frame

# Nothing here waits this long unless something is broken.
TIMEOUT_S = 60.0
MASK = b"\x37\xfa\x21\x3d"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it: masked."""
    return encode_frame(opcode, payload, fin=fin, mask=MASK)


def upgrade_request(host: str = "localhost", path: str = "/") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class Client:
    """One connection to a port of this machine; a context manager."""

    def __init__(self, port: int, *, upgrade: bool = True, path: str = "/") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.file = self.socket.makefile("rb")
        if upgrade:
            self.send(upgrade_request(f"localhost:{port}", path))
            head = b"".join(iter(self.file.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 101 "), head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def receive(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, which has to be whole, unmasked and minimal.

        Raises ConnectionError if the server has gone without one.
        """
        head = self.file.read(2)
        if len(head) < 2:
            raise ConnectionError("the server has closed the connection")
        first, size = head
        if size == 126:
            size = int.from_bytes(self.file.read(2), "big")
        elif size == 127:
            size = int.from_bytes(self.file.read(8), "big")
        payload = self.file.read(size)
        assert encode_frame(first & 15, payload)[0] == first, hex(first)
        return first & 15, payload

    def rest(self) -> bytes:
        """All that comes until the server closes; ConnectionResetError if it doesn't do it well."""
        return self.file.read()
