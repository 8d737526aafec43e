"""Cases for a directory: the instances of services, sent to all watchers while they live."""

import asyncio

from barker.laboratory.conformance import Case
from barker.laboratory.lab import Broken
from barker.laboratory.peer import QUIET_S, Peer
from barker.laboratory.stand import USERS, Stand, of_kind
from barker.routing.ring import Ring
from barker.routing.routes import CONSISTENT, ORDERED
from barker.wire import protocol
from barker.wire.ops import Register, Resolve, Routes, Target, Unregister, Watch

# A directory that comes back waits for all to register again before it answers: it answers within
# this, and not in half of that.
SETTLED_S = 6.0
TOO_SOON_S = 0.5


def register(name: str, port: int = 9, *, policy: str = ORDERED, since: int = 1) -> Register:
    return Register("parrot", name, "127.0.0.1", port, policy, "parrot", since)


async def routes_are(peer: Peer, *names: str) -> Routes:
    """The next routes are to these, in this order."""
    routes = await peer.expect(Routes)
    came = [target.name for target in routes.targets]
    if came != list(names):
        raise Broken(f"{routes.address} is routed to {came}, and {list(names)} is right")
    return routes


async def tells_watchers(stand: Stand) -> None:
    await stand.begin()
    watcher, service = await stand.open("watcher"), await stand.open("parrot-1")
    watcher.send(Watch("parrot"))
    await routes_are(watcher)
    service.send(register("parrot-1", 7))
    (target,) = (await routes_are(watcher, "parrot-1")).targets
    if tuple(target) != ("parrot-1", "127.0.0.1", 7, 1, "parrot"):
        raise Broken(f"it chooses {tuple(target)}")
    late = await stand.open("late")
    late.send(Watch("parrot"))
    await routes_are(late, "parrot-1")
    service.send(register("parrot-1", 7))  # again: nothing has changed, or the same is sent
    for again in of_kind(await watcher.rest(), Routes):
        if [t.name for t in again.targets] != ["parrot-1"]:
            raise Broken("a second registration of one instance changes the routes")


async def forgets_who_has_gone(stand: Stand) -> None:
    await stand.begin()
    watcher, service = await stand.open("watcher"), await stand.open("parrot-1")
    service.send(register("parrot-1"))
    watcher.send(Watch("parrot"))
    await watcher.expect(Routes)
    await watcher.rest()
    service.abort()
    await routes_are(watcher)


async def orders_by_since(stand: Stand) -> None:
    await stand.begin()
    watcher, service = await stand.open("watcher"), await stand.open("parrots")
    for name, since in (("parrot-b", 5), ("parrot-c", 3), ("parrot-a", 5)):
        service.send(register(name, since=since))
    await watcher.rest(0.2)
    watcher.send(Watch("parrot"))
    await routes_are(watcher, "parrot-c", "parrot-a", "parrot-b")


async def takes_back(stand: Stand) -> None:
    await stand.begin()
    watcher, service = await stand.open("watcher"), await stand.open("parrots")
    service.send(register("parrot-1"), register("parrot-2"), Unregister("parrot", "parrot-1"))
    service.send(Unregister("parrot", "ghost"))
    await service.silence()
    other = await stand.open("other")
    other.send(Unregister("parrot", "parrot-2"))  # it is not registered over this link
    await other.silence()
    watcher.send(Watch("parrot"))
    await routes_are(watcher, "parrot-2")


async def watches_what_is_below(stand: Stand) -> None:
    await stand.begin()
    watcher, service = await stand.open("watcher"), await stand.open("parrots")
    watcher.send(Watch("parrot"))
    await routes_are(watcher)
    below = register("parrot-1")._replace(address="parrot/green")
    service.send(below, below._replace(address="parrots"))
    told = {r.address for r in of_kind(await watcher.rest(), Routes)}
    if told != {"parrot/green"}:
        raise Broken(f"a watcher of parrot is sent {told}, and parrot/green is right")
    every = await stand.open("every")
    every.send(Watch(""))
    told = {r.address for r in of_kind(await every.rest(), Routes)}
    if not {"parrot/green", "parrots"} <= told:
        raise Broken(f"a watcher of all is sent {told}")


async def chooses_the_first(stand: Stand) -> None:
    await stand.begin()
    client, first, second = [await stand.open(name) for name in ("client", "p1", "p2")]
    client.send(Resolve("parrot"))
    if (await client.expect(Target)).name is not None:
        raise Broken("an instance is chosen where none serves")
    second.send(register("parrot-2", since=2))
    await chosen(client, "parrot", "parrot-2")
    first.send(register("parrot-1", since=1))
    await chosen(client, "parrot", "parrot-1")
    first.abort()
    await chosen(client, "parrot", "parrot-2")
    second.abort()
    await chosen(client, "parrot", None)


async def chosen(client: Peer, address: str, name: str | None) -> None:
    target = await client.expect(Target)
    if (target.address, target.name) != (address, name):
        raise Broken(f"{target.name} is chosen for {target.address}, not {name} for {address}")


async def has_the_ring(stand: Stand) -> None:
    await stand.begin()
    service, client = await stand.open("parrots"), await stand.open("client")
    names = ("parrot-1", "parrot-2", "parrot-3")
    for name in names:
        service.send(register(name, policy=CONSISTENT))
    await service.silence()
    ring = Ring(names)
    for user in USERS:
        client.send(Resolve(f"parrot/{user}"))
        await chosen(client, f"parrot/{user}", ring.owner(user))


async def refuses_a_second_place(stand: Stand) -> None:
    await stand.begin()
    one, other = await stand.open("one"), await stand.open("other")
    one.send(register("parrot-1", 7))
    await one.silence()
    other.send(register("parrot-1", 8))
    await other.is_over(protocol.NAME_TAKEN)
    watcher = await stand.open("watcher")
    watcher.send(Watch("parrot"))
    if (await routes_are(watcher, "parrot-1")).targets[0].port != 7:
        raise Broken("the refused instance has the route")


async def has_one_policy(stand: Stand) -> None:
    await stand.begin()
    one, other = await stand.open("one"), await stand.open("other")
    one.send(register("parrot-1"))
    await one.silence()
    other.send(register("parrot-2", policy=CONSISTENT))
    await other.is_over(protocol.PROTOCOL)


async def begins_an_epoch(stand: Stand) -> None:
    await stand.begin()
    first = await stand.open("one")
    other = await stand.open("other")
    assert first.proof and other.proof
    epoch = first.proof.epoch
    if not epoch or epoch != other.proof.epoch:
        raise Broken("its proof has no epoch, or two in one life")
    stand.end()
    await stand.start()
    again = await stand.open("one")
    if again.proof and again.proof.epoch == epoch:
        raise Broken("after a start its epoch is the one before")


async def settles(stand: Stand) -> None:
    await stand.begin()
    one, two = await stand.open("parrot-1"), await stand.open("parrot-2")
    one.send(register("parrot-1"))
    two.send(register("parrot-2"))
    epoch = one.proof.epoch if one.proof else None
    await one.silence()
    stand.end()
    await stand.start()
    one = await stand.open("parrot-1", epoch)
    one.send(Watch("parrot"), register("parrot-1"))
    newcomer = await stand.open("newcomer")
    newcomer.send(Watch("parrot"), Resolve("parrot"))
    await asyncio.sleep(TOO_SOON_S)
    two = await stand.open("parrot-2", epoch)
    two.send(register("parrot-2"))
    for peer in (one, newcomer):
        came = await peer.expect(Routes, SETTLED_S)
        if len(came.targets) != 2:
            raise Broken("after a restart it lists one before the other could come back")


async def has_no_other_ops(stand: Stand) -> None:
    await stand.begin()
    peer = await stand.open()
    peer.write(b'{"op":"ack","seq":1}\n')
    await peer.is_over(protocol.PROTOCOL, 2.0 + QUIET_S)


DIRECTORY = [
    Case("watch", "all there is now, and each change", "6", tells_watchers),
    Case(
        "gone",
        "a registration lives as long as its link",
        "6",
        forgets_who_has_gone,
    ),
    Case("order", "by since, then by name", "protocol", orders_by_since),
    Case("unregister", "over the link that has registered", "protocol", takes_back),
    Case("prefixes", "an address and what is below it", "protocol", watches_what_is_below),
    Case("ordered", "the first is chosen, and the next one then", "7", chooses_the_first),
    Case("ring", "an owner for each key", "5", has_the_ring),
    Case("one place", "a name has one: name-taken", "6", refuses_a_second_place),
    Case("one policy", "another one is an error", "protocol", has_one_policy),
    Case("epochs", "a start has another epoch", "6", begins_an_epoch),
    Case("settling", "promise 4: after a restart all come back first", "6", settles),
    Case("other ops", "an ack has no meaning here", "protocol", has_no_other_ops),
]
