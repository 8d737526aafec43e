"""Disk: what lies in ``var/``, and in what order it is written.

    var/secret                     the key that all services of one system share
    var/secret.clients             the key of its clients, which is made of the secret
    var/users.json                 the first users and who follows whom, made once
    var/journal/outbox-5801/       what a service has acked: segments of records
    var/dead-letters/NAME.jsonl    what was acked and then refused for good
    var/ran/                       the launcher that runs here, and marks of earlier services

Read in this order:

* ``journal``: a record is in a file before its ack is on the wire. Most promises rest on it.
* ``syncing``: a thread that waits for the disk itself.
* ``nojournal``: the same of a service that keeps nothing.
* ``segments``: the files of a journal, what is in them, and what lies beside them.
* ``locks``: one process has a folder, and the next one finds what it noted there.
* ``deadletters``: bodies that a person has to look at.
* ``files``: the users, the settings of the pages; ten processes may start at once.
* ``keys``: the secret, and the clients' key.
* ``claims``: what one process has for as long as it lives; where the launcher's directory is.
* ``users``: the first users, made from a seed. Pure.

Blocking calls, each of them short but for those in the thread. Left out: what the records mean;
their owner replays them.
"""
