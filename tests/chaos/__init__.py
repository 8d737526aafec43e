"""Chaos: barks flow, and a crowd follows and unfollows, while processes are killed, frozen, removed
and added, and users join. Was anything lost?

    python -m tests.chaos --seconds 60 --seed 7

What happens when follows from the seed alone:

    kill     kill -9; started again a moment later
    stop     a stop in good order, at which an inbox leaves the ring and hands over
    freeze   it does not run for some seconds
    restore  it is stopped, its journal is copied, it goes on for some seconds, it is stopped, and
             starts again from the copy
    burst    an inbox is frozen, and while barks wait for it their outbox gets 10,000 events
    unread   nobody reads what it logs, and 1,200 strangers have it log something
    join     up to four users join, bark, follow, and are followed and mentioned

Before judging, everything frozen is thawed and everything that is down is started again. Then every
bark is classed by what its author was told and by what each reader was shown; the exit status is 1
if anything was lost, shown twice, out of order, to the wrong reader, or never said. Late is what
comes after something newer of its author. It is no fault if the owner of a share of the ring
changed while the bark was on its way; in a run that touches no manifold nothing may be late at all.
Every followers service's graph must be the one that follows from the events which were acked. A
service whose log is not read must go on. What an old journal that was put back has taken away is
excused, and nothing else: `tests.chaos.journals` says what that is. What newcomers are due rests on
what holds. If the only followers service that has all events goes away, one that lacks some of them
may take over until it is back; so from then on less is due to newcomers (`alone` in the report).

`plan` makes the events from the seed, `actions` do them, `crowd` and `newcomers` are the users,
`strangers` those whom a service has to refuse; `run` is one run, and `judge` judges it.
``test_judge`` tests the judge with records in which one thing is wrong, ``test_chaos`` has short
runs and longer ones.
"""
