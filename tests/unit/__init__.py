"""Unit tests: one process, which is the test's own.

Half of them are about values: rings, windows, messages, frames, timelines. They open no socket and
need a few milliseconds each. The other half run services, links or whole manifolds inside the
test's event loop; the far end of each link is either an object of ``tests/tools/fakes.py`` or a
connection of ``tests/tools/wireclient.py``, and does only what the test tells it.

``test_ring`` tests ``barker/routing/ring.py``, and so on: a file has the name of its module. A few
have a subject instead: ``test_layout`` and ``test_page_layout`` (what the project's files may
import), ``test_recovery`` (manifolds on damaged files), ``test_faults`` (bugs that must stay where
they are), ``test_fuzz`` and ``test_security`` (hostile input).
"""
