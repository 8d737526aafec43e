"""Process: what every program of the system has in common, service or client.

A *node* knows the secret and keeps a link to the directory, which sends it the routes. It sends
heartbeats, closes silent links, and stops cleanly. A *service* is a node that listens for
connections and registers with the directory.

    class Echo(Service):
        kind = "echo"
        async def ready(self) -> None:
            self.serve("echo", ORDERED)

Read in this order:

* ``starting``: Ctrl-C before a command has loaded.
* ``node``: life from start to stop, heartbeats, the directory's routes.
* ``running``: a process for one node.
* ``service``: binding, accepting, registering, READY.
* ``dialing``: keeps one link up. ``peers``: a link to every instance of a service.
* ``waiting``: the log line about a missing service, once.
* ``agent``: the samples by which the monitor sees a service.
* ``arguments``: the flags that commands share. ``terminal``: their output. ``listing``: the list
  of commands.
* ``logs``: log lines, through a thread that may wait. ``faults``: an exception stays where it was.
* ``slices``: long work, a little in each turn of the loop. ``garbage``: the collector's turns.
* ``health``: a service that can't do its part leaves it to others. ``stalls``: after a time in
  which this process did not run.

Left out: the purpose of a service. That is in the programs directly in ``barker/``.
"""
