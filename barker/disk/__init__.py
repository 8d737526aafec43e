"""Disk: the files in ``var/``, and in what order they are written.

    var/secret                     the key that all services of one system share
    var/secret                     the key that all services of one system share
    var/secret.clients             the key of its clients, which is made of the secret
    var/users.json                 the first users and their follows, made once
    var/journal/outbox-5801/       the acked entries of a service: segments of records
    var/dead-letters/NAME.jsonl    entries that were acked and then refused for good

Read in this order:

* ``journal``: a record is in a file before its ack is on the wire. Most promises rest on it.
* ``syncing``: a thread that waits for the disk itself.
* ``nojournal``: the same for a service that keeps nothing.
* ``segments``: the files of a journal, their records, and foreign files beside them.
* ``locks``: one process has a folder, and the next one finds its note there.
* ``deadletters``: bodies that a person has to look at.
* ``files``: the users, the settings of the pages; ten processes may start at once.
* ``keys``: the secret, and the clients' key.
* ``claims``: a process's hold on a folder; the address of the launcher's directory.
* ``users``: the first users, made from a seed. Pure.

Blocking calls, each of them short but for those in the thread. Left out: the meaning of records;
their owner replays them.
"""
