"""Steps: the texts of the experiments, for the tour, for the laboratory chapter and for a page.

A page can't see what the tour's witness sees. It has the monitor's frames, and a step has *sights*:
what they show, one after the other, if the experiment goes as its claim has it. A sight is data,
which the page's script compares with each frame:

    event       an event with these fields; `kind` is that of the event's service
    above       so many barks wait in the outboxes, or more
    below       so many, or fewer
    instances   so many instances serve an address, or more
    idle        none of them works
    alone       the monitor has no directory, or has one again
    flow        the rates of that field, of all services of a kind, are above zero
    grows       more instances serve an address than at the sight before
    shrinks     fewer do

A step without sights is ticked by hand: `look` is what to look at. This file imports nothing of
the laboratory, since a launcher reads it for the page.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Deed(NamedTuple):
    """What to do: an act of ``controls`` on a process of a kind, and the same to type.

    In `typed`, PID and PORT stand for those of the process. An `act` of "" can only be typed. The
    process is the first of its kind; to "stop" is for all of that kind, unless it is `newest`.
    """

    words: str
    typed: str
    act: str = ""
    kind: str = ""
    newest: bool = False


class Sight(NamedTuple):
    """What a frame shows, in words and as data."""

    words: str
    shown: dict[str, Any]


class Text(NamedTuple):
    """One experiment. `right` is the place of the right answer among the choices."""

    title: str
    chapter: str
    text: str
    claim: str
    question: str
    choices: Sequence[str]
    right: int
    deeds: Sequence[Deed]
    sights: Sequence[Sight] = ()
    look: str = ""


def died(kind: str) -> Sight:
    return Sight(f"the {kind} dies", {"event": {"what": "gone", "how": "died", "kind": kind}})


def failover(words: str) -> Sight:
    return Sight(words, {"event": {"what": "failover", "service": "bizlogic"}})


EMPTY = Sight("at most two barks wait", {"below": 2})
SPARE = Deed("Start a spare", "python -m barker.bizlogic --port PORT", "more", "bizlogic")

STEPS = (
    Text(
        "Say something",
        "01-run-it.rst",
        "A client puts a bark to its author's outbox, and prints the bark's id once that outbox "
        "has it in its journal. From then on the system is responsible for the bark. The business "
        "logic looks up who follows the author, the inbox keeps the bark for each of them, and "
        "their readers are shown it.",
        "all followers of ark3 were shown it, and ark3 as well, once each.",
        "When bark prints the id, which processes are certain to have the bark on disk?",
        ("The author's outbox", "The outbox and the inbox", "One for each follower"),
        0,
        (Deed("Bark", "python -m barker.bark ark3 This is my first manual bark."),),
        look="The terminal of launch.py shows your bark in a line of listen.",
    ),
    Text(
        "See who owns whom",
        "05-the-ring.rst",
        "Three outboxes share all authors. A name is hashed to a position on a ring, and the "
        "outbox with the next point owns it. So all processes that know the three names find the "
        "same owner, and none has to ask. Only a page has no ring, and asks the directory. We ask "
        "it for every author.",
        "the directory's answers are those of the ring, and barks of ark3 are in one journal "
        "only, that of their owner.",
        "You ask the directory twice for the outbox of ark3. What does it answer?",
        ("Two outboxes, in turn", "The same outbox twice", "The least busy outbox"),
        1,
        (
            Deed(
                "Ask for ark3",
                'echo \'{"op":"resolve","address":"outbox/ark3"}\' | python docs/talk.py PORT',
                kind="directory",
            ),
        ),
        look="Each answer names one outbox, and for one author it is always the same.",
    ),
    Text(
        "Kill the first",
        "07-failover.rst",
        "Start a spare bizlogic, and kill the first one while dogs bark. The kernel closes a dead "
        "process's sockets, so the outboxes notice at once. They take the next target, and send "
        "it everything that is not acknowledged, in order, before anything new.",
        "the spare has the traffic, and no acknowledged bark was lost, shown twice or shown out "
        "of order.",
        "A spare runs, and the first bizlogic is killed. What happens to the barks that it had?",
        ("They are lost", "The spare gets them, in order", "They wait for its next start"),
        1,
        (SPARE, Deed("Kill the first", "kill -9 PID", "kill", "bizlogic")),
        (
            Sight("two bizlogics are there", {"instances": ["bizlogic", 2]}),
            died("bizlogic"),
            failover("the spare has the traffic"),
            EMPTY,
        ),
    ),
    Text(
        "Freeze the first",
        "07-failover.rst",
        "A frozen process keeps its sockets. Its peers close a link after two and a half "
        "heartbeats of silence, and it may have been silent for one of them before the freeze. "
        "Then we thaw the process. It sees that its clock has jumped, reads its links before it "
        "acts, and drops the old barks from those links that its peers have closed.",
        "it took at most about three heartbeats until barks came again; the thawed bizlogic is "
        "the first again, and of the barks that it had none was lost or shown twice.",
        "A frozen process keeps its sockets open. When do its peers give it up?",
        ("At once", "Within three heartbeats of a second each", "Never"),
        1,
        (
            SPARE,
            Deed("Freeze the first", "kill -STOP PID", "freeze", "bizlogic"),
            Deed("After four seconds, thaw it", "kill -CONT PID", "thaw", "bizlogic"),
        ),
        (
            Sight("two bizlogics are there", {"instances": ["bizlogic", 2]}),
            Sight(
                "the first is silent",
                {"event": {"what": "gone", "how": "silent", "kind": "bizlogic"}},
            ),
            failover("the spare has the traffic"),
            Sight("the thawed one is back", {"event": {"what": "back", "kind": "bizlogic"}}),
            failover("it is the first again"),
            EMPTY,
        ),
    ),
    Text(
        "Stop them all",
        "14-monitoring.rst",
        "Without a bizlogic, authors notice nothing: the outboxes keep their barks, in memory and "
        "in journals, and acknowledge them. The queues grow in a straight line, at the rate of "
        "the barking. A new bizlogic empties them in a moment.",
        "without a bizlogic every bark was acknowledged and none was shown; then all of them "
        "were, in order.",
        "No bizlogic runs. What do authors notice?",
        ("Their barks are refused", "Acks take seconds", "Nothing"),
        2,
        (
            Deed("Stop every bizlogic", "kill PID", "stop", "bizlogic"),
            Deed(
                "When ten barks wait, start one",
                "python -m barker.bizlogic --port PORT",
                "more",
                "bizlogic",
            ),
        ),
        (
            Sight("no bizlogic works", {"idle": "bizlogic"}),
            Sight("ten barks wait", {"above": 10}),
            Sight("a bizlogic is there", {"instances": ["bizlogic", 1]}),
            EMPTY,
        ),
    ),
    Text(
        "Kill the inbox",
        "08-the-journal-and-kill-9.rst",
        "Only the inbox has the timelines. Kill it in the middle of its work, and start it again. "
        "It acknowledges only what is in its journal. So it plays the journal back and is where "
        "it was; what it had not acknowledged, its senders still have.",
        "nothing was lost with the inbox; every acknowledged bark was shown, once and in order.",
        "Only the inbox has the timelines. It is killed. Which barks are lost?",
        ("All of them", "Those of the last second", "None that was acknowledged"),
        2,
        (
            Deed("Kill the inbox", "kill -9 PID", "kill", "inbox"),
            Deed(
                "When five barks wait, start it again",
                "python -m barker.inbox --port PORT",
                "start",
                "inbox",
            ),
        ),
        (
            died("inbox"),
            Sight("five barks wait in the outboxes", {"above": 5}),
            Sight("the inbox is restarted", {"event": {"what": "restarted", "kind": "inbox"}}),
            EMPTY,
        ),
    ),
    Text(
        "Kill the directory",
        "06-the-directory.rst",
        "The directory pushes routes to all processes, and they remember them. So processes that "
        "know each other need no directory. Only a newcomer has to wait until it is back, and "
        "then for two seconds more, in which it lets all services register again before it "
        "answers.",
        "barks flowed without a directory; a newcomer could not begin without one, and could when "
        "it was back.",
        "The directory is killed. Which barks still arrive?",
        ("None", "All of processes that know each other", "Those of the last route"),
        1,
        (
            Deed("Kill the directory", "kill -9 PID", "kill", "directory"),
            Deed("Start it again", "python -m barker.directory --port PORT", "start", "directory"),
        ),
        (
            died("directory"),
            Sight("the monitor has no directory", {"alone": True}),
            Sight("barks flow all the same", {"flow": ["outbox", "out"]}),
            Sight("the monitor has one again", {"alone": False}),
        ),
    ),
    Text(
        "Add an outbox",
        "05-the-ring.rst",
        "A fourth outbox puts its points on the ring, and each of them takes a part from the "
        "outbox that had it. So the newcomer gets about a quarter of all authors, and no author "
        "moves between the others.",
        "every author that moved is now the newcomer's, and no acknowledged bark was lost or "
        "shown twice.",
        "A fourth outbox joins three. Which authors move?",
        ("All: the ring is dealt anew", "About a quarter, to the newcomer", "None"),
        1,
        (
            Deed("Start one more", "python -m barker.outbox --port PORT", "more", "outbox"),
            Deed("Stop it again", "kill PID", "stop", "outbox", newest=True),
        ),
        (
            Sight("the ring has one more outbox", {"grows": "outbox"}),
            Sight("barks flow", {"flow": ["outbox", "out"]}),
            Sight("the ring has one outbox less", {"shrinks": "outbox"}),
        ),
    ),
)


def as_settings() -> list[dict[str, Any]]:
    """The same for a page, as JSON has it."""
    return [
        {
            **step._asdict(),
            "deeds": [deed._asdict() for deed in step.deeds],
            "sights": [sight._asdict() for sight in step.sights],
        }
        for step in STEPS
    ]
