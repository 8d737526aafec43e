"""WebSocket: RFC 6455 by hand, as much of it as a server needs. It is independent of Barker.

A browser opens a connection with an HTTP request. The answer turns it into a WebSocket, and from
then on both sides send frames.

    handshake.parse_request(head) -> Request
    handshake.answer(request) -> (response, upgraded)
    socket = frames.WebSocket(max_message_bytes)
    socket.feed(data) -> [(opcode, message), ...]      socket.take_output() -> bytes to write

Read ``handshake`` first (section 4 of the RFC), then ``frames`` (sections 5 to 7).

Sans-I/O: bytes in, messages out, and bytes to write; no socket, no clock. The caller reads and
writes. Left out: extensions, subprotocols, and the client's side of the handshake.
"""
