"""Chaos: barks flow, and a crowd follows and unfollows, while processes are killed, frozen, removed
and added. Was anything lost?

    python -m tests.chaos --seconds 60 --seed 7

What happens when follows from the seed alone: a kill is kill -9, a stop is a stop in good order, at
which an inbox leaves the ring and hands over. Before judging, everything frozen is thawed and
everything that is down is started again. Then every bark is classed by what its author was told and
by what each reader was shown; the exit status is 1 if anything was lost, shown twice, out of order
or never said. Late is what comes after something newer of its author. It is no fault if the owner
of a share of the ring changed while the bark was on its way; in a run that touches no manifold
nothing may be late at all. Every followers service's graph must be the one that follows from the
events which were acked.
"""
