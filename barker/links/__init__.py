"""Links: one connection between two processes, from its first byte to its last.

    connect -> TLS, if the system has it -> framing (a line, or a WebSocket) -> greeting -> up

Once a connection is up, a link hands every message that arrives to a *conversation*, in batches.
At the end of the loop's turn it writes the messages that `send` was given.

    connection = await connecting.connect(host, port, identity, expect=None, timeout_s=2.0)
    link = Link(connection, conversation, before_read, turns)
    link.send(messages.PING)
    await link.run()

Read in this order:

* ``life``: the states of a connection, and the table that it follows. Pure.
* ``greeting``: how both ends prove that they know a key, and as which role. Pure.
* ``framing``: newlines, HTTP or WebSocket frames, recognised by the first bytes. Pure.
* ``connection``: a socket as lines, its greeting, and how it ends.
* ``connecting``, ``accepting``: both ways to a connection that is up.
* ``stranger``: a connection at our port before its proof. Pure. ``porch``: all of them together,
  and their limits. ``benches``: their sockets, of which a look finds a few.
* ``link``: batches, sending; the interface of a conversation.
* ``arrivals``: how a link reads. ``turns``: how long it may handle that at a time.
* ``hosts``, ``tls``, ``sealed``: addresses behind a name; certificates; TLS below a stream.

Left out: anything after a break. A `barker.process.dialing.Dialer` opens the next link, and a
`barker.delivery.window.Window` keeps the messages without an ack.
"""
