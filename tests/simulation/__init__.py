"""The whole pipeline, simulated: real logic, a made-up network, and every mishap by seed.

Outboxes, bizlogics, inboxes, followers services, a client and listeners are the real ones. What is
faked is the edge: links, dialers, clocks, timers, the directory, and what a disk does to its files.
Links are as TCP has them: in order while a connection lives, with delays, and a break loses the end
of what was on the way. A process that dies leaves exactly what its journal had been given, also in
the middle of a write. How a link handles a batch, and how a journal keeps it, is their own code.

A run is a list of named events. A seed makes it, event by event from what is possible then, and
afterwards it can be played again with any of its events left out: an event that is not possible is
passed over. So a failure is shrunk to the few events that it takes, and they are printed:

    python -m tests.simulation --setting rings --seeds 1000

    settings   who takes part, what may happen, and limits that are met within a run
    disk       journals in files, and what only a disk can do to them
    links      one end of a connection, and what dials
    parties    one process without its loop, and the steps at which it may raise
    client     what the client puts, also as other encoders would write it
    engine     one run: does events, one after the other
    dice       which event comes next
    social     who follows whom: what was said, what came of it, and who is due a bark
    losses     what a power cut, a damaged disk or an old copy takes by its own doing
    letters    the dead letters of a run
    judging    lets everything come to rest, and says what was promised and is not so
    runs       the small world; runs by seed or by events, and shrinks them
    stories    runs that failed once

Left out: an event that every replica was to have before its ack is not looked for at that moment.
A run sees it only if it is lost in the end. And exceptions come at steps (`parties.STEPS`), in
writes and in the journal, not between any two instructions.
``test_simulation`` runs a few seeds of each setting, and all stories.
"""
