"""Barker: a small Twitter built from microservices, to be read.

Each file directly in this folder is a command: a service (``directory``, ``outbox``, ``inbox``,
``bizlogic``, ``followers``, ``suggestions``) or a client (``bark``, ``listen``, ``follow``,
``join``, ``autobark``); or the ``judge`` of services that are yours. ``__main__.py`` lists them,
and ``barker.py`` makes them run by their path, too. Each folder is one idea, and its first page
names it. Imports point down, and never go in a circle:

    programs            directory outbox inbox bizlogic followers suggestions; bark listen ...
    laboratory          a system to hurt, and a witness
    manifold   client   what outboxes and inboxes share; what clients are made of
    delivery   graph   launching
    process             a node's life, the directory, heartbeats, flags
    links               one connection: greeting, framing, TLS
    disk                the journal, and what else lies in var/
    wire   websocket   routing   streams     pure: messages, frames, the ring, cursors

A first walk through the code: ``wire/protocol.py``, then ``outbox.py``, ``bizlogic.py`` and
``inbox.py``, which a bark passes in this order.

The check below and the line after it are the only code in a file of this kind. Python runs them
before any other module of ours, so this file is written for every Python back to 2.7. A program
that is started by its path imports `barker` before modules that take long to load.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - it is for those that do not meet our minimum
    sys.exit("Barker needs Python 3.11 or newer; this is {}.{}".format(*sys.version_info))

from barker.process import starting

starting.leave_ctrl_c_to_the_system()
