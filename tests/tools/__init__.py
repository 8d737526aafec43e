"""What tests are made with. Nothing here is a test, but for ``test_children``.

Processes: ``children`` has ports, deadlines and child processes; ``fleet`` a whole system of them.
Nodes inside a test: a ``fleet.Guest`` runs for as long as its block. ``fleet.People`` are one that
has the laboratory's producer and audience, and ``watcher`` is one that has its agents. Parts that a
test needs alone come from the product: `barker.client.tracked`, `barker.laboratory`.
Other sides of a link: ``wireclient`` (a peer by hand over a socket, and the base of tests that have
one), ``wsclient`` (a WebSocket client by hand), ``fakes`` (links, a node and its dialers, without
any socket).
Browsers: ``browser``, ``chromium``, ``firefox``; ``picture`` is a command that saves a page as PNG.
``certificates`` holds keys for tests of TLS.
"""
