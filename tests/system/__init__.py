"""System tests: whole processes, as a user starts them.

``test_clients``, ``test_launch``, ``test_echo`` and ``test_tour`` are about commands and what they
print. ``test_pipeline``, ``test_handover``, ``test_machine`` and the files with the name of a
service kill, stop and starve real services while barks flow. ``test_webui`` and the files
whose names begin so, ``test_monitor_page`` and ``test_tls_page`` open the pages in Chromium, and
``test_firefox`` repeats them in Firefox; without a browser on the machine they are skipped.
``test_soak`` is about what a system uses while time passes.

Processes come from ``tests.tools.fleet``. A test waits for a line or a condition under a deadline
and never for a time. The slowest ones run only under BARKER_SLOW=1.
"""
