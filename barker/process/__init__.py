"""Process: what every program of the system is, service or client.

A *node* knows the secret and keeps a link to the directory, which tells it the routes. It sends
heartbeats, ends links that are silent, and stops cleanly. A *service* is a node that others
connect to and that registers with the directory.

    class Echo(Service):
        kind = "echo"
        async def ready(self) -> None:
            self.serve("echo", ORDERED)

Read in this order:

* ``starting``: Ctrl-C before there is anything to stop.
* ``node``: life from start to stop, heartbeats, the directory's routes.
* ``running``: a process for one node.
* ``service``: binding, accepting, registering, READY.
* ``dialing``: keeps one link up. ``peers``: a link to every instance of a service.
* ``waiting``: what is missing is logged once.
* ``agent``: the samples by which the monitor sees a service.
* ``arguments``: the flags that commands share. ``terminal``: what they print. ``listing``: which
  commands there are.
* ``logs``: log lines, through a thread that may wait. ``faults``: an exception stays where it was.
* ``slices``: long work, a little in each turn of the loop. ``garbage``: the collector's turns.
* ``health``: a service that can't do its part leaves it to others. ``stalls``: after a while in
  which this process did not run.

Left out: what a service is for. That is in the programs directly in ``barker/``.
"""
