"""The whole pipeline, simulated: real logic, a made-up network, and every mishap by seed.

Outboxes, bizlogics, inboxes, a client and a listener are the real ones. What is faked is the edge:
links, dialers, clocks, timers, the directory and the disk. Links are as TCP has them: in order
while a connection lives, with delays, and a break loses the end of what was on the way. A process
that dies leaves exactly what its journal had been given, also in the middle of a write.

A run is a list of named events. A seed makes it, event by event from what is possible then, and
afterwards it can be played again with any of its events left out: an event that is not possible is
passed over. So a failure is shrunk to the few events that it takes, and they are printed:

    python -m tests.simulation --setting rings --seeds 1000

    settings   who takes part, what may happen, and limits that are met within a run
    disk       a journal in memory, for as long as the simulation lasts
    links      one end of a connection, and what dials
    parties    one process, without its loop; and what a client puts
    engine     one run: does events, one after the other
    dice       which event comes next
    judging    lets everything come to rest, and says what was promised and is not so
    runs       the small world; runs by seed or by events, and shrinks them
    stories    runs that failed once
"""
