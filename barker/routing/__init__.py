"""Routing: which instance of a service an address leads to.

The directory sends the list of instances. From that list each process decides by itself, and all
decide the same.

    table = routes.RouteTable()
    table.update("outbox", "consistent", targets)
    table.choose("outbox/ark3")       -> the target whose share of the ring has that name

* ``ring``: consistent hashing. When an instance comes or goes, only its own share moves.
* ``routes``: a table of services and the two policies over it: *consistent* (the owner on the ring)
  and *ordered* (the first that works, then the next one).

Read ``ring`` first. Pure: values in, values out. Left out: how a process learns of the instances
(`barker.process.node`), and links to them (`barker.process.peers`).
"""
