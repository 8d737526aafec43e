"""The followers service: what is acked, who is told what, and that two instances are as one."""

import contextlib
import copy
from collections.abc import Sequence
from unittest import mock

from barker import directory, followers
from barker.directory import Directory
from barker.disk import users
from barker.disk.journal import Journal
from barker.disk.users import World
from barker.followers import Followers
from barker.graph import graph, publisher, waited
from barker.graph.feed import Feed, Place
from barker.graph.graph import Graph
from barker.laboratory.guest import Member
from barker.process.node import Node
from barker.wire import bodies, ops, protocol, strictjson
from barker.wire.bodies import FOLLOW, JOIN, UNFOLLOW, Event
from barker.wire.ops import Subscribed
from tests.tools.fleet import until
from tests.tools.inside import journal_of, segment_of, synced
from tests.tools.wireclient import Message, Wire, WireTest, put, register, serving, thaw
from tests.unit.test_graph import edges

WORLD = World({"ann": ["bob"], "bob": [], "cid": ["ann", "bob"]})


def event(seq: int, kind: str, user: str, whom: str = "", at: int = 1) -> Message:
    said = Event(kind, f"id{seq}", user, at, whom)
    body = strictjson.loads(bodies.encode_event(said))
    return put(seq, ["followers"], body, origin="ab" * 8, n=seq)


class FollowersTest(WireTest):
    clock = 0.0  # of a service that is told so

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        (self.folder / "users.json").write_text(users.dump(WORLD))
        self.directory = await self.serve(Directory)

    async def followers(self, *argv: str) -> Followers:
        return await self.serve(Followers, *argv, directory=self.directory.port)

    async def registered(self, count: int = 1) -> None:
        services = self.directory._services
        await until(lambda: len(services.get("followers", {})) == count, "they have registered")

    async def two(self) -> tuple[Followers, Followers]:
        first = await self.followers("--name", "f1")
        await self.registered(1)
        second = await self.followers("--name", "f2")
        await self.registered(2)
        for service in (first, second):
            await until(lambda s=service: len(s._publisher.replicas) == 1, "they replicate")  # type: ignore[misc]
        return first, second

    async def snapshot(self, reader: Wire, address: str = "graph", **place: object) -> Message:
        """Subscribe and read a snapshot that fits one piece; the last message."""
        reader.send({"op": "subscribe", "address": address, **place})
        answer = await reader.expect("subscribed", address=address)
        message = await reader.expect("message", address=address, serial=answer["serial"])
        self.assertEqual(message["body"]["kind"], graph.PIECE)
        self.assertFalse(message["body"]["more"])
        return message

    async def is_registered(self, service: Followers, name: str) -> None:
        """The directory tells this service of an agent of that name."""
        other = await self.open(self.directory.port, name)
        other.send(register("agent", name, policy="ordered"))
        agents = service.routes
        await until(lambda: name in agents.route("agent").by_name, "it is registered")

    async def later(self, service: Followers) -> None:
        """Three heartbeats and a little are over."""
        with mock.patch.object(type(service), "now", staticmethod(lambda: self.clock)):
            service.ticked()
            self.clock += waited.WAIT_HEARTBEATS * service.heartbeat_s + 1
            service.ticked()

    async def decides(self, service: Followers) -> None:
        await until(lambda: not service._decider.why_not(), "it gives names away")

    async def take(self, service: Followers, *puts: Message) -> Wire:
        if any(put["bodies"][0]["kind"] == JOIN for put in puts):
            await self.decides(service)
        outbox = await self.open(service.port, "outbox")
        outbox.send(*puts)
        await outbox.expect("ack", seq=puts[-1]["seq"])
        return outbox


class TakeTest(FollowersTest):
    async def test_the_first_graph_is_the_seed(self) -> None:
        service = await self.followers()
        self.assertEqual(edges(service.graph), {u: set(f) for u, f in WORLD.follows.items()})

    async def test_an_event_is_acked_and_changes_the_graph_once(self) -> None:
        service = await self.followers()
        outbox = await self.take(
            service,
            event(1, JOIN, "dora"),
            event(2, FOLLOW, "dora", "ann"),
            event(3, UNFOLLOW, "ann", "bob"),
        )
        self.assertEqual(service.graph.follows("dora"), ["ann"])
        self.assertEqual(service.graph.follows("ann"), [])
        serial = service._publisher.last
        outbox.send(event(4, FOLLOW, "dora", "ann"), event(5, FOLLOW, "ann", "bob", 0))
        await outbox.expect("ack", seq=5)
        self.assertEqual(service._publisher.last, serial, "what changes nothing has no serial")

    async def test_what_is_no_event_is_refused_and_the_rest_goes_on(self) -> None:
        service = await self.followers()
        await self.decides(service)
        outbox = await self.open(service.port, "outbox")
        bad = event(1, FOLLOW, "ann", "cid")
        bad["bodies"][0]["whom"] = "ann"
        outbox.send(bad, {**event(2, JOIN, "x"), "to": ["graph"]}, event(3, JOIN, "y"))
        await outbox.expect("refuse", seq=1, code=protocol.BAD_MESSAGE)
        await outbox.expect("refuse", seq=2, code=protocol.BAD_MESSAGE)
        await outbox.expect("ack", seq=3)
        self.assertIn("y", service.graph)
        self.assertNotIn("x", service.graph)

    async def test_promise_5_what_would_be_one_edge_too_many_waits(self) -> None:
        service = await self.followers()
        self.patch(followers, "MAX_EDGES", service.graph.edges + 1)
        await self.decides(service)
        outbox = await self.open(service.port, "outbox")
        outbox.send(
            event(1, UNFOLLOW, "ann", "bob"),  # an edge becomes a tombstone: it is no more
            event(2, UNFOLLOW, "bob", "ann"),  # a tombstone where nothing was
            event(3, FOLLOW, "bob", "cid"),
            event(4, UNFOLLOW, "bob", "cid"),
            event(5, FOLLOW, "ann", "bob", at=2),
        )
        await outbox.expect("refuse", seq=3, code=protocol.FULL)
        await outbox.expect("refuse", seq=4, code=protocol.FULL)
        await outbox.expect("ack", seq=5)
        self.assertEqual(service.graph.edges + service.graph.tombstones, followers.MAX_EDGES)

    async def test_promise_5_one_user_has_so_many_followers(self) -> None:
        self.patch(followers, "MAX_FOLLOWERS", 2)
        service = await self.followers()
        outbox = await self.open(service.port, "outbox")
        for seq, user in enumerate(("bob", "cid"), 1):
            outbox.send(event(seq, FOLLOW, user, "ann"))
            await outbox.expect("ack", seq=seq)
        outbox.send(event(3, FOLLOW, "dan", "ann"), event(4, FOLLOW, "bob", "ann", at=5))
        await outbox.expect("refuse", seq=3, code=protocol.TOO_MANY)
        await outbox.expect("ack", seq=4)

    async def test_promise_5_one_user_follows_so_many(self) -> None:
        self.patch(followers, "MAX_WORDS", 3)
        service = await self.followers()
        outbox = await self.open(service.port, "outbox")
        for said, is_refused in (
            (event(1, FOLLOW, "ann", "x1"), False),  # behind the one of the seed
            (event(2, UNFOLLOW, "ann", "x2"), False),
            (event(3, FOLLOW, "ann", "x3"), True),
            (event(4, UNFOLLOW, "ann", "x4"), True),
            (event(5, UNFOLLOW, "ann", "x1", at=5), False),
            (event(6, FOLLOW, "ann", "x2", at=6), False),
        ):
            outbox.send(said)
            if is_refused:
                await outbox.expect("refuse", seq=said["seq"], code=protocol.TOO_MANY)
            await outbox.expect("ack", seq=said["seq"])
        self.assertEqual(sorted(service.graph.follows("ann")), ["bob", "x2"])

    async def test_promise_5_what_would_be_one_user_too_many_waits(self) -> None:
        service = await self.followers()
        await self.decides(service)
        self.patch(followers, "MAX_USERS", len(service.graph) + 1)
        outbox = await self.open(service.port, "outbox")
        outbox.send(
            event(1, JOIN, "dora"),
            event(2, JOIN, "eric"),
            event(3, FOLLOW, "ann", "eric"),  # nobody: it would be another one, too
        )
        await outbox.expect("refuse", seq=2, code=protocol.FULL)
        await outbox.expect("refuse", seq=3, code=protocol.FULL)
        await outbox.expect("ack", seq=3)
        outbox.send(event(4, FOLLOW, "ann", "dora"))
        await outbox.expect("ack", seq=4)
        self.assertEqual(len(service.graph), followers.MAX_USERS)

    async def test_a_full_disk_refuses_and_changes_nothing(self) -> None:
        service = await self.followers()
        await self.decides(service)
        outbox = await self.open(service.port, "outbox")
        before = edges(service.graph)
        with mock.patch.object(journal_of(service), "append", side_effect=OSError(28, "no space")):
            outbox.send(event(1, JOIN, "dora"), event(2, JOIN, "eric"))
            await outbox.expect("refuse", seq=1, code=protocol.FULL)
            await outbox.expect("refuse", seq=2, code=protocol.FULL)
            await outbox.expect("ack", seq=2)
        self.assertEqual(edges(service.graph), before)
        outbox.send(event(3, JOIN, "dora"))
        await outbox.expect("ack", seq=3)

    async def test_more_than_the_window_is_a_fault_of_the_sender(self) -> None:
        service = await self.followers()
        await self.decides(service)
        self.patch(protocol, "UNACKED_WINDOW", 2)
        outbox = await self.open(service.port, "outbox")
        outbox.send(*(event(i, JOIN, f"u{i}") for i in (1, 2, 3)))
        await outbox.expect("ack", seq=2)
        await outbox.expect("error", code=protocol.PROTOCOL)


class ReadTest(FollowersTest):
    async def followers(self, *argv: str) -> Followers:
        """One whose reign has begun, so that the next change is the test's."""
        service = await super().followers(*argv)
        await self.decides(service)
        return service

    async def test_a_reader_gets_a_snapshot_and_then_every_change(self) -> None:
        service = await self.followers()
        reader = await self.open(service.port, "reader")
        first = await self.snapshot(reader)
        self.assertEqual(first["body"]["users"]["cid"], {"ann": 0, "bob": 0})
        await self.take(service, event(1, JOIN, "dora"), event(2, FOLLOW, "dora", "ann"))
        for i, kind in enumerate((JOIN, FOLLOW), start=1):
            message = await reader.expect("message", serial=first["serial"] + i)
            self.assertEqual(message["body"]["kind"], kind)

    async def test_who_comes_back_goes_on_where_it_was(self) -> None:
        service = await self.followers()
        first = await self.snapshot(await self.open(service.port, "reader"))
        await self.take(service, event(1, JOIN, "dora"))
        again = await self.open(service.port, "reader")
        place = {"epoch": first["epoch"], "after": first["serial"]}
        again.send({"op": "subscribe", "address": "graph", **place})
        await again.expect("subscribed", serial=first["serial"], last=first["serial"] + 1)
        await again.expect("message", serial=first["serial"] + 1)

    async def test_who_has_no_place_here_gets_another_snapshot(self) -> None:
        self.patch(publisher, "CHANGES_KEPT", 3)
        service = await self.followers()
        first = await self.snapshot(await self.open(service.port, "reader"))
        await self.take(service, *(event(i, JOIN, f"u{i}") for i in range(1, 6)))
        for epoch, after in (
            ("ab" * 8, first["serial"]),  # another's
            (first["epoch"], first["serial"]),  # too far back
            (first["epoch"], 10_000),  # never given away
            (None, 0),
        ):
            reader = await self.open(service.port, "reader")
            message = await self.snapshot(reader, epoch=epoch, after=after)
            self.assertIn("u5", message["body"]["users"])

    async def test_who_is_too_slow_gets_one_too(self) -> None:
        self.patch(publisher, "CHANGES_KEPT", 3)
        service = await self.followers()
        reader = await self.open(service.port, "reader")
        first = await self.snapshot(reader)
        link = next(iter(service._publisher._copying))
        with mock.patch.object(type(link), "busy", True):
            await self.take(service, *(event(i, JOIN, f"u{i}") for i in range(1, 6)))
        reader.send({"op": "credit", "address": "graph", "serial": first["serial"]})
        await reader.expect("subscribed", serial=first["serial"] + 5)
        message = await reader.expect("message", serial=first["serial"] + 5)
        self.assertIn("u5", message["body"]["users"])
        self.assertEqual(await reader.before_pong(), [], "the snapshot has all of it")

    async def test_a_list_says_what_all_copies_know(self) -> None:
        service = await self.followers()
        await self.is_registered(service, "bizlogic")
        copy = await self.open(service.port, "bizlogic")
        first = await self.snapshot(copy)
        reader = await self.open(service.port, "reader")
        reader.send({"op": "subscribe", "address": "graph/ann"})
        self.assertEqual(await reader.before_pong(), [], "the copy has not acked its snapshot")
        copy.send({"op": "credit", "address": "graph", "serial": first["serial"]})
        message = await reader.expect("message", address="graph/ann")
        self.assertEqual(
            message["body"],
            {
                "kind": "list",
                "user": "ann",
                "exists": True,
                "following": 1,
                "followed_by": 1,
                "follows": ["bob"],
                "followers": ["cid"],
            },
        )
        await self.take(service, event(1, FOLLOW, "bob", "ann"), event(2, JOIN, "dora"))
        change = await copy.expect("message", serial=first["serial"] + 1)
        self.assertEqual(await reader.before_pong(), [])
        copy.send({"op": "credit", "address": "graph", "serial": change["serial"]})
        message = await reader.expect("message", address="graph/ann")
        self.assertEqual(message["body"]["followers"], ["cid", "bob"])
        # And nobody waits for a copy that has gone.
        await self.take(service, event(1, UNFOLLOW, "bob", "ann", 2))
        copy.abort()
        message = await reader.expect("message", address="graph/ann")
        self.assertEqual(message["body"]["followers"], ["cid"])

    async def test_a_long_list_is_cut_and_counted(self) -> None:
        self.patch(publisher, "MAX_LISTED", 2)
        service = await self.followers()
        await self.take(service, *(event(i, FOLLOW, f"u{i}", "ann") for i in range(1, 5)))
        reader = await self.open(service.port, "reader")
        reader.send({"op": "subscribe", "address": "graph/ann"})
        message = await reader.expect("message", address="graph/ann")
        self.assertEqual(message["body"]["followed_by"], 5)
        self.assertEqual(len(message["body"]["followers"]), 2)

    async def test_the_longest_lists_fit_a_line(self) -> None:
        service = await self.followers()
        for i in range(publisher.MAX_LISTED + 1):
            name = f"z{i:019}"
            service.graph.apply({"kind": FOLLOW, "user": name, "whom": "z" * 20, "at": 1})
            service.graph.apply({"kind": FOLLOW, "user": "z" * 20, "whom": name, "at": 1})
        body = strictjson.dumps(service._publisher.list_of("z" * 20))
        self.assertLess(len(body) + 200, protocol.MAX_LINE_BYTES)

    async def test_promise_5_the_lists_of_all_links_have_an_end(self) -> None:
        self.patch(publisher, "MAX_LISTS_IN_ALL", 3)
        service = await self.followers()
        published = service._publisher
        one, two = [await self.open(service.port, "reader") for _ in range(2)]
        for wire, asked in ((one, ("ann", "bob", "ann")), (two, ("ann",))):
            for user in asked:
                wire.send({"op": "subscribe", "address": f"graph/{user}"})
                await wire.expect("message", address=f"graph/{user}")
        two.send({"op": "subscribe", "address": "graph/bob"})
        await two.expect("unreadable", address="graph/bob", code=protocol.TOO_MANY)
        one.abort()
        await until(lambda: published.readers == 1, "there is room again")
        two.send({"op": "subscribe", "address": "graph/bob"})
        await two.expect("message", address="graph/bob")

    async def test_promise_5_who_asks_for_lists_and_goes_leaves_nothing_to_tell(self) -> None:
        service = await self.followers()
        await self.is_registered(service, "copy")
        copy = await self.open(service.port, "copy")  # never acks, so no change holds
        copy.send({"op": "subscribe", "address": "graph"})
        await copy.expect("subscribed", address="graph")
        await self.take(service, event(1, JOIN, "dora"))
        for i in range(3):
            reader = await self.open(service.port, "reader")
            asked = [{"op": "subscribe", "address": f"graph/x{i}x{j}"} for j in range(5)]
            reader.send(*asked)
            self.assertEqual(await reader.before_pong(), [])
            self.assertEqual(len(service._publisher._touched), 5)
            reader.abort()
            await until(lambda: not service._publisher._lists, "it has gone")
            self.assertEqual(service._publisher._touched, {})

    async def test_what_can_t_be_read_is_refused(self) -> None:
        self.patch(publisher, "MAX_LISTS", 2)
        service = await self.followers()
        reader = await self.open(service.port, "reader")
        for address, code in (
            ("inbox/ann", protocol.BAD_MESSAGE),
            ("followers/ann", protocol.BAD_MESSAGE),
            ("graph/Ann", protocol.BAD_MESSAGE),
        ):
            reader.send({"op": "subscribe", "address": address})
            await reader.expect("unreadable", code=code, address=address)
        for user in ("ann", "bob", "ann"):
            reader.send({"op": "subscribe", "address": f"graph/{user}"})
            await reader.expect("message", address=f"graph/{user}")
        reader.send({"op": "subscribe", "address": "graph/cid"})
        await reader.expect("unreadable", code=protocol.TOO_MANY)


class WaitedTest(FollowersTest):
    """One that does not ack holds the others up for a moment only."""

    async def with_deaf_replica(self, *, subscribes: bool) -> tuple[Followers, Wire, Wire]:
        service = await self.followers("--name", "f1")
        await self.decides(service)
        place = await self.open(self.directory.port, "deaf")
        place.send(register("replica", "deaf", 9, policy="ordered"))
        await until(lambda: service._replicas.others == ["deaf"], "it is known")
        replica = await self.open(service.port, "deaf")
        if subscribes:
            replica.send({"op": "subscribe", "address": "followers"})
            await replica.expect("subscribed", address="followers")
        return service, replica, place

    async def test_events_go_on_without_a_replica_that_does_not_ack(self) -> None:
        for subscribes in (True, False):
            with self.subTest(subscribes=subscribes):
                service, replica, place = await self.with_deaf_replica(subscribes=subscribes)
                outbox = await self.open(service.port, "outbox")
                outbox.send(event(1, FOLLOW, "ann", "cid"))
                refused = [m["code"] for m in await outbox.before_pong() if m["op"] == "refuse"]
                self.assertEqual(refused, [] if subscribes else [protocol.FULL])
                await self.later(service)
                outbox.send(event(2, FOLLOW, "bob", "cid"))
                await outbox.up_to_ack(2)
                self.assertIn(
                    "not waited for, since no ack has come for long: deaf", service.lacks()
                )
                for wire in (outbox, replica, place):
                    wire.abort()
                service.stop()
                await until(lambda: not self.directory._services.get("replica"), "all have gone")

    async def test_no_name_is_given_away_without_it(self) -> None:
        service, replica, _ = await self.with_deaf_replica(subscribes=True)
        outbox = await self.open(service.port, "outbox")
        outbox.send(event(1, JOIN, "dora"))
        await outbox.expect("refuse", seq=1, code=protocol.UNDECIDED)
        await self.later(service)
        await outbox.expect("ack", seq=1)
        outbox.send(event(2, JOIN, "dora"))
        await outbox.expect("refuse", seq=2, code=protocol.UNDECIDED)
        await outbox.expect("ack", seq=2)
        replica.abort()

    async def test_it_is_waited_for_again_when_it_acks(self) -> None:
        service, replica, _ = await self.with_deaf_replica(subscribes=True)
        outbox = await self.take_without_it(service)
        last = service._publisher.last
        replica.send({"op": "credit", "address": "followers", "serial": last})
        await replica.before_pong()
        service.ticked()
        self.assertEqual(service._waited.laggards, [])
        outbox.send(event(2, FOLLOW, "bob", "cid"))
        self.assertEqual(await outbox.before_pong(), [])
        replica.send({"op": "credit", "address": "followers", "serial": last + 1})
        await outbox.expect("ack", seq=2)

    async def take_without_it(self, service: Followers) -> Wire:
        await self.later(service)
        outbox = await self.open(service.port, "outbox")
        outbox.send(event(1, FOLLOW, "ann", "cid"))
        await self.later(service)
        await outbox.expect("ack", seq=1)
        return outbox

    async def test_lists_are_told_without_a_copy_that_does_not_ack(self) -> None:
        service = await self.followers()
        await self.is_registered(service, "bizlogic")
        copy = await self.open(service.port, "bizlogic")
        copy.send({"op": "subscribe", "address": "graph"})
        await copy.expect("subscribed", address="graph")
        reader = await self.open(service.port, "reader")
        reader.send({"op": "subscribe", "address": "graph/ann"})
        self.assertEqual(await reader.before_pong(), [])
        await self.later(service)
        await reader.expect("message", address="graph/ann")
        self.assertIn("bizlogic", service.lacks())

    async def test_one_that_is_not_registered_is_not_waited_for(self) -> None:
        service = await self.followers()
        await self.registered()
        await until(lambda: service.routes.route("agent").by_name, "it knows who is registered")
        stranger = await self.open(service.port, "stranger")
        for address in ("graph", "followers"):
            stranger.send({"op": "subscribe", "address": address})
        await stranger.before_pong()
        reader = await self.open(service.port, "reader")
        reader.send({"op": "subscribe", "address": "graph/ann"})
        await reader.expect("message", address="graph/ann")
        await self.take(service, event(1, FOLLOW, "bob", "ann"))
        await reader.expect("message", address="graph/ann")

    async def test_a_registered_bizlogic_that_does_not_read_here_is_waited_for(self) -> None:
        """It may read another instance, or be between two links: it decides by an older graph."""
        service = await self.followers()
        directory = await self.open(self.directory.port, "biz")
        directory.send(register("bizlogic", "biz", policy="ordered"))
        await until(lambda: service.routes.route("bizlogic").targets, "it knows that one decides")
        reader = await self.open(service.port, "reader")
        reader.send({"op": "subscribe", "address": "graph/ann"})
        self.assertEqual(await reader.before_pong(), [])
        biz = await self.open(service.port, "biz")
        await self.snapshot(biz)
        biz.send({"op": "credit", "address": "graph", "serial": service._publisher.last})
        await reader.expect("message", address="graph/ann")
        biz.abort()
        await until(lambda: not service._publisher.acked("graph"), "it has lost its link")
        await self.take(service, event(1, FOLLOW, "bob", "ann"))
        self.assertEqual(await reader.before_pong(), [])
        directory.abort()
        await reader.expect("message", address="graph/ann")  # no other decides

    def test_one_that_goes_on_slowly_is_no_laggard(self) -> None:
        progress = waited.Progress()
        for second in range(20):
            progress.look({"slow": second, "dead": 7}, float(second), 3.0)
        self.assertEqual(progress.laggards, {"dead"})
        self.assertTrue(progress.look({}, 21.0, 3.0))
        self.assertEqual(progress.laggards, frozenset())
        progress.look({"dead": 7}, 22.0, 3.0)
        self.assertEqual(progress.laggards, frozenset(), "it has acked meanwhile")


class JournalTest(FollowersTest):
    def running(self) -> contextlib.AbstractAsyncContextManager[Followers]:
        """The same instance every time."""
        return serving(Followers, self.folder, "--name", "f", directory=self.directory.port)

    async def test_after_a_restart_the_graph_and_the_stream_are_the_same(self) -> None:
        async with self.running() as service:
            reader = await self.open(service.port, "reader")
            first = await self.snapshot(reader)
            await self.take(service, event(1, JOIN, "dora"), event(2, UNFOLLOW, "ann", "bob"))
            before, last = edges(service.graph), service._publisher.last
        (self.folder / "users.json").write_text("{}")  # nobody needs the seed any more
        async with self.running() as service:
            self.assertEqual(edges(service.graph), before)
            reader = await self.open(service.port, "reader")
            again = await self.snapshot(reader)
            self.assertEqual(again["serial"], last)
            # What was given a serial keeps it for this epoch alone: a folder may be an old copy.
            self.assertNotEqual(again["epoch"], first["epoch"])

    async def test_a_restart_does_not_replay_the_world(self) -> None:
        """A snapshot takes the place of what came before it, without a long pause."""
        small = 4000
        self.patch(followers, "Journal", lambda folder, fsync: Journal(folder, segment_bytes=small))
        self.patch(followers, "ROOM_BYTES", 2 * small)
        self.patch(Journal, "sync_from", synced)
        self.patch(graph, "PIECE_SIZE", 2)
        async with self.running() as service:
            at = 0
            for i in range(60):
                seqs = range(1, 11)
                kind = UNFOLLOW if i % 2 else FOLLOW
                await self.take(service, *(event(s, kind, f"u{s}", "ann", at + s) for s in seqs))
                at += 10
            self.assertLess(journal_of(service).size, 7 * small)
            self.assertGreater(min(journal_of(service).segments), 3, "old segments are gone")
            before, last = edges(service.graph), service._publisher.last
            counts = (service.graph.edges, service.graph.tombstones)
        async with self.running() as service:
            self.assertEqual(edges(service.graph), before)
            self.assertEqual((service.graph.edges, service.graph.tombstones), counts)
            self.assertEqual(service._publisher.last, last)

    async def test_damage_is_a_new_epoch(self) -> None:
        async with self.running() as service:
            await self.take(service, event(1, JOIN, "dora"))
            epoch = journal_of(service).epoch
            path = segment_of(service)
        *records, _closed = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(records)[:-4])
        with self.assertLogs("barker", "WARNING"):
            async with self.running() as service:
                self.assertNotEqual(journal_of(service).epoch, epoch)
                self.assertNotIn("dora", service.graph)
                self.assertIn("ann", service.graph)


class TwoTest(FollowersTest):
    """Two instances, and what is acked, is with both."""

    async def test_promise_5_of_replicas_that_have_gone_for_good_nothing_is_remembered(
        self,
    ) -> None:
        first, second = await self.two()
        replicas = first._replicas
        for i in range(5):
            replicas._places[f"gone{i}"] = Place()
        third = await self.followers("--name", "f3")
        await until(lambda: third.name in replicas.peers, "another one is there")
        self.assertEqual(replicas._places.keys(), {second.name, third.name})

    async def test_a_name_is_not_given_away_before_a_laggard_has_it(self) -> None:
        first, second = await self.two()
        await self.decides(first)
        outbox = await self.open(first.port, "outbox")
        with mock.patch.object(second._replicas, "_durable", lambda work: None):  # it does not ack
            outbox.send(event(1, JOIN, "dora"))
            self.assertEqual(await outbox.before_pong(), [])
            await self.later(first)
            self.assertEqual(first._waited.laggards, ["f2"])
            await outbox.expect("refuse", seq=1, code=protocol.UNDECIDED)
            await outbox.expect("ack", seq=1)
        outbox.send(event(2, FOLLOW, "ann", "cid"))
        await outbox.expect("ack", seq=2)
        await until(lambda: first._waited.settled == first._publisher.last, "it has all of it")
        first.ticked()
        outbox.send(event(3, JOIN, "dora") | {"bodies": event(1, JOIN, "dora")["bodies"]})
        await outbox.expect("ack", seq=3)

    async def test_what_is_acked_is_in_both_journals(self) -> None:
        first, second = await self.two()
        for service in (first, second):  # whichever it is put to
            said = event(1, FOLLOW, "ann", service.name), event(2, FOLLOW, "ann", "x")
            outbox = await self.take(service, *said)
            for other in (first, second):
                self.assertIn(service.name, other.graph)
                path = segment_of(other)
                self.assertIn(f'"whom":"{service.name}"', path.read_text())
            outbox.abort()
        self.assertEqual(edges(first.graph), edges(second.graph))

    async def test_nothing_is_acked_before_the_other_has_it(self) -> None:
        first, second = await self.two()
        outbox = await self.open(first.port, "outbox")
        # The other takes the message and does not get to its end of the batch yet.
        with mock.patch.object(second._replicas, "batch_end", lambda link: None):
            outbox.send(event(1, JOIN, "dora"))
            await until(lambda: "dora" in second.graph, "the other has heard of it")
            self.assertEqual(await outbox.before_pong(), [])
            self.assertRegex(first.lacks(), r"^events wait since number \d+ for f2$")
        second._replicas.batch_end(next(iter(second._replicas.peers.values())))
        await outbox.expect("ack", seq=1)
        self.assertIn("dora", second.graph)
        self.assertEqual(first.lacks(), "")

    async def test_a_replica_without_room_for_it_does_not_ack_and_asks_again(self) -> None:
        first, second = await self.two()
        outbox = await self.open(first.port, "outbox")
        with mock.patch.object(journal_of(second), "append", side_effect=OSError(28, "no space")):
            outbox.send(event(1, JOIN, "dora"))
            await until(lambda: not second._replicas.peers, "it has given up the link")
            self.assertNotIn("dora", second.graph)
        await until(lambda: "dora" in second.graph, "it has asked again")

    async def test_one_that_is_known_and_does_not_replicate_is_waited_for(self) -> None:
        first = await self.followers()
        await self.registered()
        ghost = await self.open(self.directory.port, "ghost")
        ghost.send(register("replica", "ghost", 9, policy="ordered"))
        await until(lambda: first._replicas.others == ["ghost"], "it is known")
        outbox = await self.open(first.port, "outbox")
        outbox.send(event(1, JOIN, "dora"))
        refusal = await outbox.expect("refuse", seq=1, code=protocol.FULL)
        self.assertIn("ghost", refusal["reason"])
        await outbox.expect("ack", seq=1)
        ghost.abort()  # the directory gives it up
        await until(lambda: not first._replicas.others, "it is gone")
        outbox.send(event(2, JOIN, "dora"))
        await outbox.expect("ack", seq=2)

    async def test_a_joiner_has_everything_before_it_registers(self) -> None:
        self.patch(graph, "PIECE_SIZE", 10)
        first = await self.followers("--name", "f1")
        await self.registered()
        await self.take(first, *(event(i, FOLLOW, f"u{i}", "ann") for i in range(1, 200)))
        known: list[int] = []
        tell = self.directory._register

        def note(link: object, register: ops.Register) -> None:
            if register.address == "followers":
                known.append(second.graph.edges)
            tell(link, register)  # type: ignore[arg-type]

        with mock.patch.object(self.directory, "_register", note):
            second = await self.followers("--name", "f2")
            await self.registered(2)
        self.assertEqual(known[0], first.graph.edges)
        self.assertEqual(edges(second.graph), edges(first.graph))

    async def test_a_joiner_answers_no_copy_and_no_list_before_it_has_everything(self) -> None:
        ghost = await self.open(self.directory.port, "ghost")
        ghost.send(register("replica", "ghost", 9, policy="ordered"))
        await ghost.before_pong()
        self.patch(publisher, "MAX_LISTS", 2)
        service = await self.followers()
        await until(lambda: service._replicas.others == ["ghost"], "it knows of another one")
        reader = await self.open(service.port, "reader")
        for address in ("graph", "graph/ann", "graph/bob"):  # the reader has an old route
            reader.send({"op": "subscribe", "address": address})
        self.assertEqual(await reader.before_pong(), [])
        reader.send({"op": "subscribe", "address": "graph/cid"})
        await reader.expect("unreadable", address="graph/cid", code=protocol.TOO_MANY)
        gone = await self.open(service.port, "gone")
        gone.send({"op": "subscribe", "address": "graph"})
        self.assertEqual(await gone.before_pong(), [])
        gone.abort()
        ghost.abort()  # the directory gives it up
        await self.registered()
        said = [await reader.heard() or {} for _ in range(4)]
        self.assertEqual(
            {"graph", "graph/ann", "graph/bob"}, {message["address"] for message in said}
        )
        self.assertEqual(service._publisher._early_wishes, 0)

    async def test_what_each_had_alone_both_have_when_they_meet(self) -> None:
        first = await self.followers("--name", "f1")
        second = await self.serve(Followers, "--name", "f2")  # without the directory
        await self.registered()
        await self.take(first, event(1, JOIN, "dora"))
        outbox = await self.open(second.port, "outbox")
        outbox.send(event(1, FOLLOW, "eve", "ann"), event(2, UNFOLLOW, "ann", "bob"))
        await outbox.expect("ack", seq=2)
        third = await self.followers("--name", "f3")
        await self.registered(2)
        fake = await self.open(self.directory.port, "f2")
        fake.send(register("replica", "f2", second.port, policy="ordered"))
        for service in (first, third):
            await until(lambda s=service: {"dora", "eve"} <= set(s.graph.names), "they meet")  # type: ignore[misc]
            self.assertEqual(service.graph.follows("ann"), [])

    async def test_one_that_was_frozen_serves_when_it_has_caught_up(self) -> None:
        first, second = await self.two()
        services = self.directory._services
        with (
            self.assertLogs("barker.process.node", "WARNING"),
            mock.patch.object(Followers, "subscribe", lambda *_: None),
        ):
            with mock.patch.object(first, "announcements", list):
                thaw(first)  # it is cut off from everybody
                await until(lambda: list(services["replica"]) == ["f2"], "it is given up")
                await until(lambda: not second._replicas.others, "the other has heard that")
                await self.take(second, event(1, JOIN, "dora"))
            first.announce()
            await until(lambda: len(services["replica"]) == 2, "it is there again")
            self.assertEqual(list(services["followers"]), ["f2"])  # whom it has not heard yet
        for link in [x for x in second.links if x.name == "f1"]:
            link.abort()
        await self.registered(2)
        self.assertIn("dora", first.graph)

    async def test_nobody_takes_itself_for_the_only_one_when_all_begin_again(self) -> None:
        """The directory, too: it can name nobody, if all wait to be told of the others first."""
        self.patch(directory, "SETTLE_S", 0.3)
        first = await self.followers("--name", "f1")
        await self.registered()
        await self.take(first, event(1, JOIN, "dora"))
        complete: list[bool] = []
        serve = Followers.serve

        def note(service: Followers, address: str, policy: str) -> None:
            if address == "followers":
                complete.append("dora" in service.graph)
            serve(service, address, policy)

        with (
            mock.patch.object(Followers, "serve", note),
            self.assertLogs("barker.process.node", "WARNING"),
        ):
            thaw(self.directory)
            thaw(first)
            await self.followers("--name", "f2")
            await self.registered(2)
        self.assertEqual(complete, [True, True])


class Reader(Feed[Graph]):
    def __init__(self, node: Node) -> None:
        super().__init__(node, Graph)
        self.replacements = 0
        self.heard: list[graph.Change] = []

    def replaced(self) -> None:
        self.replacements += 1

    def changed(self, changes: Sequence[graph.Change]) -> None:
        self.heard += changes


class Manifold(Member):
    """A node that keeps a copy."""

    async def started(self) -> None:
        self.feed = Reader(self)


class FeedTest(FollowersTest):
    """The reader's side, across failovers."""

    async def keeper(self) -> Manifold:
        args = copy.copy(self.directory.args)
        args.directory = ("127.0.0.1", self.directory.port)
        node = await self.enterAsyncContext(Manifold(args).running())
        await until(lambda: node.feed.complete, "it has a copy")
        return node

    async def test_a_copy_goes_on_over_a_break(self) -> None:
        service = await self.followers()
        reader = (await self.keeper()).feed
        for link in list(reader.peers.values()):
            link.abort()
        await self.take(service, event(1, JOIN, "dora"))
        await until(lambda: "dora" in reader.held, "it has heard of it")
        self.assertEqual(reader.replacements, 1, "no second snapshot was needed")
        self.assertEqual(reader.heard, [("dora", "", True)])

    async def test_a_copy_outlives_the_service_and_goes_on_with_the_next_one(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            port = self.directory.port
            first = await stack.enter_async_context(
                serving(Followers, self.folder, "--name", "f1", directory=port)
            )
            reader = (await self.keeper()).feed
            await self.take(first, event(1, JOIN, "dora"))
            await until(lambda: "dora" in reader.held, "it has heard of it")
        await until(lambda: not reader.peers, "nobody is there")
        self.assertIn("dora", reader.held)
        second = await self.followers("--name", "f2")
        await until(lambda: reader.replacements == 2, "another epoch, another snapshot")
        self.assertEqual(edges(reader.held), edges(second.graph))

    async def test_a_copy_follows_the_old_stream_until_the_next_one_has_come(self) -> None:
        first, second = await self.two()
        reader = (await self.keeper()).feed
        await until(lambda: len(reader.peers) == 2, "it could read either")
        copies = first._publisher.acked
        with mock.patch.object(Followers, "subscribe", lambda *_: None):  # the second is late
            reader.node.routes.update("graph", "ordered", [reader.route.by_name["f2"]])
            reader.peers_changed()
            await self.take(first, event(1, FOLLOW, "ann", "cid"))
            await until(lambda: ("ann", "cid", True) in reader.heard, "it follows the first")
            self.assertIn(reader.node.name, copies("graph"), "the first one waits for its acks")
        reader.peers["f2"].abort()
        await until(lambda: reader.replacements == 2, "the second one answers")
        await until(lambda: reader.node.name not in copies("graph"), "it has left the first")
        await self.take(second, event(1, FOLLOW, "bob", "cid"))
        await until(lambda: ("bob", "cid", True) in reader.heard, "it follows the second")

    async def test_without_a_stream_the_first_instance_to_answer_is_read(self) -> None:
        """The first in the route may have been started again, and not serve for long."""
        first, second = await self.two()
        reader = (await self.keeper()).feed
        await until(lambda: len(reader.peers) == 2, "it could read either")
        self.assertTrue(reader.is_current)
        with mock.patch.object(first, "subscribe", lambda *_: None):
            reader.renew()
            await until(lambda: reader.replacements == 2, "the second one answers")
            self.assertFalse(reader.may_lack)
            self.assertIn(reader.node.name, second._publisher.acked("graph"))
            self.assertTrue(reader.is_current)
            await self.take(second, event(1, FOLLOW, "ann", "cid"))
            await until(lambda: ("ann", "cid", True) in reader.heard, "it follows the second")
            await until(lambda: "f1" in reader.peers, "it has requested the first, too")
        reader.peers["f1"].abort()
        await until(lambda: reader.replacements == 3, "the first one answers")
        copies = second._publisher.acked
        await until(lambda: reader.node.name not in copies("graph"), "it has left the second")

    async def test_the_last_copy_counts_until_the_next_one_is_complete(self) -> None:
        self.patch(graph, "PIECE_SIZE", 2)
        await self.followers("--name", "f1")
        await self.registered()
        reader = (await self.keeper()).feed
        held = reader.held
        place = reader._place
        link = next(iter(reader.peers.values()))
        reader.on_subscribed(link, Subscribed("graph", "cd" * 8, 7, 7, 0))
        piece = {"kind": "graph", "more": True, "users": {"zoe": {}}}
        reader.on_message(link, ops.Message(["graph"], [strictjson.dumps(piece)]))
        self.assertIs(reader.held, held)
        self.assertFalse(place.caught_up)
        last = strictjson.dumps({**piece, "more": False})
        reader.on_message(link, ops.Message(["graph"], [last]))
        self.assertEqual(list(reader.held.names), ["zoe"])
        self.assertTrue(place.caught_up)
