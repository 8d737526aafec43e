"""Cases for an inbox: which barks it keeps, and how it is read."""

from collections.abc import Sequence

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.peer import Peer, shown
from barker.laboratory.stand import Stand, bark, of_kind
from barker.wire import protocol
from barker.wire.ops import (
    Ack,
    Credit,
    Gap,
    Item,
    Message,
    Moved,
    Put,
    Refuse,
    Subscribe,
    Subscribed,
    Unreadable,
)
from barker.wire.protocol import BAD_MESSAGE, MOVED, UNKNOWN_USER

ORIGIN = "d02a2615274dde4f"
READER = "rdl"
AT = f"inbox/{READER}"
# An inbox may wait for a join before it refuses a reader.
UNKNOWN_S = 4.0


def put(seq: int, ids: Sequence[str], n: int = 0, to: str = AT, at: int = 1000) -> Put:
    """Barks of ark3, stamped with counters from `n` on (`seq` if it is 0)."""
    first = n or seq
    rows = [
        Item(bark("ark3", id_, at=at + i), ORIGIN, first + i, "ark3", id_, at + i)
        for i, id_ in enumerate(ids)
    ]
    return Put.of(seq, [to] * len(rows), rows)


async def acked(peer: Peer, seq: int) -> None:
    while (ack := await peer.expect(Ack)).seq < seq:
        pass
    if ack.seq > seq:
        raise Broken(f"{seq} entries were put, and it acks {ack.seq}")


class Reading:
    """A reader of one inbox, that counts as readers do."""

    def __init__(self, peer: Peer, answer: Subscribed) -> None:
        self.peer = peer
        self.answer = answer
        self.serial = answer.serial
        self.late: list[str] = []

    @classmethod
    async def begin(cls, stand: Stand, wish: Subscribe | None = None) -> "Reading":
        peer = await stand.open("reader")
        peer.send(wish or Subscribe(AT, history=100))
        return cls(peer, await peer.expect(Subscribed))

    async def ids(self, count: int) -> list[str]:
        """The ids of so many next barks."""
        result: list[str] = []
        while len(result) < count:
            result += self._taken(await self.peer.expect(Message))
        return result

    def _taken(self, message: Message) -> list[str]:
        result = []
        for i, (to, body) in enumerate(zip(message.entries(), message.bodies, strict=True)):
            if AT in to.split(" "):
                self.serial += 1
                id_ = body.split(b'"id":"')[1].split(b'"')[0].decode()
                result.append(id_)
                self.late += [id_] if i in message.late else []
        return result

    async def expect(self, *ids: str) -> None:
        """The next barks are these, and none comes behind them."""
        came = await self.ids(len(ids)) if ids else []
        for message in await self.peer.rest():
            if not isinstance(message, Message):
                raise Broken(f"a reader is sent {shown(message)}")
            came += self._taken(message)
        if came != list(ids):
            raise Broken(f"a reader gets {' '.join(came) or 'nothing'}, not {' '.join(ids)}")

    def credit(self) -> None:
        self.peer.send(Credit(AT, self.serial))


async def shows(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, ["a1", "a2"]))
    await acked(bizlogic, 2)
    reader = await Reading.begin(stand)
    await reader.expect("a1", "a2")
    bizlogic.send(put(3, ["a3"], to=f"{AT} inbox/toto"), put(4, ["a4"], to="inbox/toto"))
    await acked(bizlogic, 4)
    await reader.expect("a3")
    if (reader.answer.last, reader.serial) != (2, 3):
        raise Broken(f"last was {reader.answer.last} with two entries there")
    many = await Reading.begin(stand)
    many.peer.send(Subscribe("inbox/toto", history=100))
    await many.ids(3)
    await many.peer.expect(Subscribed)
    bodies = sum(len(m.bodies) for m in of_kind(await many.peer.rest(), Message))
    if bodies != 2:
        raise Broken(f"toto is shown {bodies} barks, and 2 are for him")


async def gives_history(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, [f"a{i}" for i in range(1, 6)]))
    await acked(bizlogic, 5)
    reader = await Reading.begin(stand, Subscribe(AT, history=2))
    if (reader.answer.serial, reader.answer.last) != (3, 5):
        raise Broken(f"subscribed says {reader.answer.serial} to {reader.answer.last}, not 3 to 5")
    await reader.expect("a4", "a5")
    await (await Reading.begin(stand, Subscribe(AT, history=0))).expect()


async def has_windows(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, [f"a{i}" for i in range(1, 7)]))
    await acked(bizlogic, 6)
    reader = await Reading.begin(stand, Subscribe(AT, history=100, window=2))
    await reader.expect("a1", "a2")
    reader.peer.send(Credit(AT, 1))
    await reader.expect("a3")
    reader.peer.send(Credit(AT, 0))  # older than the last: it has no effect
    await reader.expect()
    reader.peer.send(Credit(AT, 1000))  # beyond the last that was sent
    await reader.expect("a4", "a5")
    reader.credit()
    await reader.expect("a6")


async def goes_on(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, ["a1", "a2", "a3"]))
    await acked(bizlogic, 3)
    epoch = (await Reading.begin(stand)).answer.epoch
    again = await Reading.begin(stand, Subscribe(AT, epoch, 2))
    await again.expect("a3")
    other = await Reading.begin(stand, Subscribe(AT, "f" * 16, 2))
    await other.expect("a1", "a2", "a3")  # which of them were seen can't be known


async def knows_what_comes_again(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    reader = await Reading.begin(stand)
    bizlogic.send(put(1, ["a1", "a2"]))
    await acked(bizlogic, 2)
    bizlogic.abort()
    bizlogic = await stand.open("bizlogic-2")
    bizlogic.send(put(1, ["a2", "a3"], n=2))
    await acked(bizlogic, 2)
    await reader.expect("a1", "a2", "a3")
    bizlogic.send(put(3, ["a1"], n=1, to=f"{AT} inbox/toto"))  # new to one of the two
    await acked(bizlogic, 3)
    await reader.expect()


async def keeps_what_it_acks(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    ids = [f"a{i}" for i in range(1, 51)]
    bizlogic.send(put(1, ids))
    await acked(bizlogic, 50)
    stand.end()
    await stand.start()
    await (await Reading.begin(stand)).expect(*ids)
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, ["a50", "b1"], n=50))
    await acked(bizlogic, 2)
    await (await Reading.begin(stand)).expect(*ids, "b1")


async def begins_an_epoch(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, ["a1"]))
    await acked(bizlogic, 1)
    before = (await Reading.begin(stand)).answer
    if (await Reading.begin(stand)).answer.epoch != before.epoch:
        raise Broken("two readers at once are sent two epochs")
    stand.end()
    await stand.start()
    after = await Reading.begin(stand, Subscribe(AT, before.epoch, before.last))
    if after.answer.epoch == before.epoch:
        raise Broken("after a start its epoch is the one before")


async def tells_of_gaps(stand: Stand) -> None:
    await stand.begin("--keep", "2")
    bizlogic = await stand.open("bizlogic-1")
    epoch = (await Reading.begin(stand)).answer.epoch
    bizlogic.send(put(1, [f"a{i}" for i in range(1, 7)]))
    await acked(bizlogic, 6)
    reader = await Reading.begin(stand, Subscribe(AT, epoch, 0))
    missed = (await reader.peer.expect(Gap)).missed
    if not 2 <= missed <= 4:
        raise Broken(f"of 6 entries it retains 2 (--keep 2), and a gap says {missed}")
    await reader.expect(*[f"a{i}" for i in range(missed + 1, 7)])


async def marks_what_is_late(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(1, ["a1"], at=5000), put(2, ["a2"], at=4000), put(3, ["a3"], at=6000))
    await acked(bizlogic, 3)
    reader = await Reading.begin(stand)
    await reader.expect("a1", "a2", "a3")
    if reader.late != ["a2"]:
        raise Broken(f"late is {reader.late}, and a2 is older than its author's bark before it")


async def counts(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.send(put(7, ["a1"]))
    await bizlogic.is_over(protocol.PROTOCOL)
    bizlogic = await stand.open("bizlogic-1")
    bizlogic.write(b'{"op":"put","seq":1,"to":["inbox/rdl"],"origin":"d02a2615274dde4f","n":[1],')
    bizlogic.write(b'"bodies":[{"id":"a","user":"ark3","content":"y","at":1}]}\n')
    await bizlogic.is_over(protocol.PROTOCOL)
    await (await Reading.begin(stand)).expect()


async def has_a_share(stand: Stand) -> None:
    await stand.begin()
    names = (stand.name, "inbox-other")
    owned = stand.owned(names)
    bizlogic = await stand.open("bizlogic-1")
    mine = f"inbox/{owned[names[0]][0]}"
    other = f"inbox/{owned[names[1]][0]}"
    reader = await stand.open("reader")
    reader.send(Subscribe(other))
    await reader.expect(Subscribed)
    await stand.play("inbox", names[1])
    if (await reader.expect(Moved)).address != other:
        raise Broken("a reader of a moved timeline is sent another address")
    reader.send(Subscribe(other))
    await reader.expect(Moved)
    bizlogic.send(put(1, ["a1"], to=f"{mine} {other}"))
    refusal = await bizlogic.expect(Refuse)
    if (refusal.code, list(refusal.addresses)) != (MOVED, [other]):
        raise Broken(f"{refusal.code} of {refusal.addresses} comes, and moved of {other} is right")
    await acked(bizlogic, 1)
    reader.send(Subscribe(mine, history=5))
    await reader.expect(Subscribed)
    await reader.expect(Message)


async def knows_its_users(stand: Stand) -> None:
    await stand.begin()
    assert stand.graph
    await stand.graph.until_credited()
    reader = await stand.open("reader")
    for address, code in (("outbox/rdl", BAD_MESSAGE), ("inbox/ghost", UNKNOWN_USER)):
        reader.send(Subscribe(address))
        answer = await reader.expect(Unreadable, UNKNOWN_S)
        if (answer.address, answer.code) != (address, code):
            raise Broken(f"{address} is {answer.code}, and {code} is right")
    reader.send(Subscribe("inbox/newcomer", history=0))
    stand.graph.say("join", "newcomer")
    await reader.expect(Subscribed, UNKNOWN_S)


async def pongs_in_a_long_batch(stand: Stand) -> None:
    await stand.begin()
    bizlogic = await stand.open("bizlogic-1")
    reader = await Reading.begin(stand, Subscribe(AT, history=0, window=4096))
    number, each = 2000, 100
    for seq in range(1, number, each):
        bizlogic.send(put(seq, [f"a{seq + i}" for i in range(each)]))
        bizlogic.write(b'{"op":"ping"}\n')
    await bizlogic.until_pongs(number // each)
    await acked(bizlogic, number)
    if len(set(await reader.ids(number))) != number:
        raise Broken(f"of {number} barks its reader does not get each once")


INBOX = [
    Case("reading", "what was, then what comes, each a serial", "9", shows),
    Case("history", "a new reader gets the last so many", "protocol", gives_history),
    Case("credit", "no more than the window without it", "9", has_windows),
    Case("going on", "behind after in its epoch, else all", "9", goes_on),
    Case("duplicates", "promise 2: shown once", "9", knows_what_comes_again),
    Case(
        "kept",
        "promise 1: acked is kept, whatever is killed",
        "8",
        keeps_what_it_acks,
    ),
    Case("epochs", "a start has another epoch", "2", begins_an_epoch),
    Case("gap", "what is no longer retained is counted", "9", tells_of_gaps),
    Case("late", "older than what its author said before", "9", marks_what_is_late),
    Case("numbers", "a hole, or half a stamp, is the end", "protocol", counts),
    Case("moved", "another's share is refused, and readers told", "5", has_a_share),
    Case("users", "unreadable, unless a join is on its way", "protocol", knows_its_users),
    Case(
        "long batch",
        "pongs in the middle of 2000 entries",
        "4",
        pongs_in_a_long_batch,
    ),
]
