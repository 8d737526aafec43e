"""Stories: runs that failed once, shrunk."""

from tests.simulation.settings import Event

# Runs that failed once, shrunk: the setting, what was wrong, and the events that it took.
STORIES = {
    "disks: a counter that the disk refused made an old bark look settled": """
        say ned 2 0; hear outbox-a client 2; hear bizlogic-a outbox-a 2; full outbox-a True;
        trap inbox-b torn; say ned 2 0; say ann 1 0; hear client outbox-a 3; hear outbox-a client 3;
        hear client outbox-a 2; hear client outbox-a 1; fire client; hear inbox-b bizlogic-a 1;
        say ann 2 1; hear client outbox-a 1; hear outbox-a client 2; hear outbox-a client 3""",
    "rings: a former owner forgot a timeline before all of it was handed over": """
        say dan 2 1; say ned 5 0; freeze inbox-b; hear outbox-b client 2; hear outbox-a client 9;
        gone inbox-b; told inbox-a; told bizlogic-a; told bizlogic-b; hear bizlogic-a outbox-b 9;
        hear inbox-a bizlogic-a 3; kill bizlogic-a 3; hear outbox-a bizlogic-a 3;
        hear bizlogic-b outbox-a 3; start inbox-c; hear inbox-a bizlogic-b 9; register inbox-c;
        told inbox-a; told inbox-c; told inbox-c; told inbox-c; dial inbox-a inbox-c; told inbox-c;
        hear inbox-c inbox-a 3; hear inbox-a inbox-c 3""",
    "rings: void puts held the place of timelines that were to be handed over": """
        say ann 1 1; trap inbox-b after; kill inbox-b 0; gone inbox-b; told bizlogic-a;
        told inbox-a; say ann 1 1; hear outbox-a client 2; hear client outbox-a 2;
        hear bizlogic-a outbox-a 9; say ann 5 0; hear outbox-a client 3; hear inbox-a bizlogic-a 1;
        hear bizlogic-a inbox-a 2; hear outbox-a bizlogic-a 1; hear outbox-a client 3;
        hear bizlogic-a outbox-a 9; hear inbox-a bizlogic-a 3; start inbox-b;
        hear inbox-a bizlogic-a 3; told inbox-b; register inbox-b; told inbox-a;
        dial inbox-a inbox-b; told inbox-b; told inbox-b; hear inbox-b inbox-a 9; told inbox-b;
        hear inbox-a inbox-b 9; hear inbox-b inbox-a 3""",
    "alone: a reader took for old what its inbox had never sent it": """
        say ned 5 1; trap inbox-a torn; hear outbox-a client 3; hear bizlogic-a outbox-a 9;
        hear inbox-a bizlogic-a 9""",
    "counters: a bark that had waited was taken for settled, for events had used its counters": """
        say dan 1 1; follow ann ned 16; say lea 1 0; hear outbox-a client 3; kill inbox-a 2;
        hear outbox-a client 2; hear outbox-a client 1; hear bizlogic-a outbox-a 2""",
    "faults: what a batch had staged before an exception was acked": """
        say fay 2 0; fault outbox-b Intake._record 2; hear outbox-b client 2; say fay 1 0;
        hear outbox-b client 2""",
    "faults: a reader was sent what the journal lacked, and it came again": """
        say lea 1 1; hear outbox-a client 1; hear bizlogic-a outbox-a 9; fault inbox-a journal+ 1;
        hear inbox-a bizlogic-a 2""",
    "backups: an outbox that was put back gave its counters away a second time": """
        backup outbox-a True; told outbox-a; told outbox-a; told outbox-a; dial outbox-a bizlogic-b;
        hear client outbox-a 9; say ned 2 1; dial client outbox-a; say lea 1 0;
        hear outbox-a client 2; say ann 2 0; freeze bizlogic-a; restore outbox-a; say ann 2 1""",
    "backups: an inbox that was put back gave its serials away a second time": """
        say ann 1 1; hear outbox-a client 3; hear bizlogic-a outbox-a 9; backup inbox-b True;
        hear listener inbox-b 3; hear bizlogic-a inbox-b 9; dial bizlogic-a inbox-b;
        dial listener inbox-b; say ned 1 0; hear inbox-b listener 1; hear inbox-b bizlogic-a 9;
        restore inbox-b; start inbox-b; hear bizlogic-a inbox-b 2; hear bizlogic-a inbox-b 2""",
    "odd: a body grew at a later hop": "odd lea 12",
    "odd: a body with a tab was cut in two": "odd lea 0; odd lea 0",
    "poison: all waited behind a bark that bizlogic could not bear": "poison lea; say lea 2 1",
    "rings: a reader forgot what it was sent before its second question was answered": """
        say ned 5 1; kill inbox-a 0; say dan 2 0; gone inbox-a; told inbox-b; hear outbox-b
        client 3; listen listener-b; told bizlogic-a; start inbox-a; told listener-b; told
        listener-b; told listener-b; told listener-b; told listener-b; hear bizlogic-a
        outbox-b 1; hear outbox-a client 3; dial listener-b inbox-b; hear bizlogic-a
        outbox-a 2; stop outbox-b; gone outbox-b; register inbox-a; told listener-b; leave
        inbox-a; kill bizlogic-a 4; hear outbox-a bizlogic-a 1; hear bizlogic-b outbox-a 9;
        hear inbox-b bizlogic-b 3; hear inbox-b bizlogic-a 2; hear inbox-b listener-b 1;
        told listener-b; told listener-b; hear listener-b inbox-b 3""",
    "all: what an inbox had acked was settled with nobody after an exception": """
        odd ned 0; hear outbox-a client 9; fault bizlogic-a Sender._on_done 1;
        hear bizlogic-a outbox-a 3; hear inbox-b bizlogic-a 2; say lea 5 0; say ann 5 1;
        hear bizlogic-a inbox-b 3""",
    "faults: a replica that had gone was waited for, after an exception on its way out": """
        follow fay ned 1; kill followers-a 2; fault followers-b Followers.link_down 1;
        hear followers-b followers-a 1""",
    "disks: an inbox that was back kept an entry for itself, in a lane without a link": """
        say ann 1 1; hear outbox-a client 3; hear bizlogic-a outbox-a 1; hear inbox-a bizlogic-a 3;
        say ann 5 1; hear outbox-a client 2; hear bizlogic-a outbox-a 3; hear inbox-a bizlogic-a 1;
        hear outbox-a client 9; full inbox-a True; hear bizlogic-a outbox-a 1;
        hear inbox-a bizlogic-a 2""",
    "events: a bizlogic that had been given up decided by the graph of before its frost": """
        freeze bizlogic-a; gone bizlogic-a; told outbox-a; told followers-a; follow dan lea 1;
        hear outbox-b client 9; hear followers-a outbox-b 9; fire followers-a; fire followers-a;
        fire followers-a; fire followers-a; fire followers-a; hear bizlogic-b followers-a 9;
        hear outbox-b followers-a 9; hear inbox-a followers-a 9; hear inbox-b followers-a 9;
        hear outbox-a followers-a 9; hear outbox-b followers-a 9; hear client outbox-b 9;
        hear followers-a bizlogic-b 9; hear followers-a outbox-a 9; hear followers-a outbox-b 9;
        hear followers-a inbox-a 9; hear followers-a inbox-b 9; hear followers-a bizlogic-a 9;
        thaw bizlogic-a True; register bizlogic-a; told outbox-a; dial outbox-a bizlogic-a;
        say lea 1 0; hear outbox-a client 9""",
    "names: two had begun the same reign, and neither began another when both were together": """
        freeze followers-a; gone followers-a; told followers-b; join kim""",
}


def parsed(text: str) -> list[Event]:
    """The events of a story, as `story` prints them."""
    return [tuple(map(_value, line.split())) for line in text.split(";")]


def _value(word: str) -> object:
    return int(word) if word.isdecimal() else {"True": True, "False": False}.get(word, word)
