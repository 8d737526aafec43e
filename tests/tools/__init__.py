"""What tests are made with. Nothing here is a test, but for ``test_children``.

Processes: ``children`` has ports, deadlines and child processes; ``fleet`` a whole system of them,
with a producer that knows what was acked and an audience that knows what it was shown.
Nodes inside a test: a ``fleet.Guest`` runs for as long as its block; ``mouth`` is a sender that
knows what became of each put, and ``watcher`` is told the samples of all agents.
Other sides of a link: ``wireclient`` (a peer by hand over a socket, and the base of tests that have
one), ``wsclient`` (a WebSocket client by hand), ``fakes`` (links, a node and its dialers, without
any socket).
Browsers: ``browser``, ``chromium``, ``firefox``; ``picture`` is a command that saves a page as PNG.
``certificates`` holds keys for tests of TLS.
"""
