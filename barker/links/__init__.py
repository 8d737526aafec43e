"""Links: one connection between two processes, from its first byte to its last.

    connect -> TLS, if the system has it -> framing (a line, or a WebSocket) -> greeting -> up

Once a link is up, it hands every message that arrives to a *conversation*, in batches, and sends
what it is given at the end of the loop's turn.

    link = await connecting.open_link(host, port, identity, expect=None, timeout_s=2.0)
    link.send(messages.PING)
    await link.run(conversation)

Read in this order:

* ``link``: batches, sending, closing; what a conversation is.
* ``greeting``: how both ends prove that they know the secret. Pure.
* ``framing``: newlines or WebSocket frames, told apart by the first byte.
* ``connecting``: both ways to a link: dialled, or accepted.
* ``arrivals``: how a link reads once it is up.
* ``hosts``, ``tls``: addresses behind a name; certificates.

Left out: what happens after a break. A `barker.process.dialing.Dialer` opens the next link, and a
`barker.delivery.window.Window` has what was on its way.
"""
