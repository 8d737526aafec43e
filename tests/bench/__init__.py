"""How fast is it? The real services, against the least that the same way could cost.

`python -m tests.bench` measures; see ``tests/bench/__main__.py``. Every figure is a median of
several runs with its minimum and maximum, and a ceiling is measured in the same breath: machines
are noisy, and what one of them does in a second means little by itself.

    load       who exists, who follows whom, what is said, and how much of it
    ceiling    four raw hops: the least that the same way could cost
    people     producers and listeners, as processes
    children   processes, what they say and what they have used; the services of one system
    pipeline   throughput and latency
    times      start, failover
    costs      CPU, memory and disk by the bark, and what happens to them as things grow
    websocket  frames there and back; thousands of connections
    frames     a page while many barks come, in Chromium
    profiles   where the time goes
    figures    what was measured, as a table

Two measurements have commands of their own: `tests.bench.celebrity` (one bark for so many
followers) and `tests.bench.million` (a graph of a million edges). ``test_bench`` tests the bench.
"""
