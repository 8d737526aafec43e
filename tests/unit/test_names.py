"""Names: two people are never told yes for one of them, whatever dies or is cut off."""

import random
import shutil
import unittest
from typing import Any
from unittest import mock

from barker.followers import Followers
from barker.graph.claims import Claims, Reign
from barker.graph.graph import PIECE, Graph
from barker.wire import protocol, strictjson
from barker.wire.bodies import FOLLOW, JOIN
from tests.tools.fleet import until
from tests.tools.wireclient import Wire, put, serving
from tests.unit.test_followers import FollowersTest, event


def claim(user: str, id_: str, reign: int = 1) -> dict[str, Any]:
    return {"kind": JOIN, "user": user, "id": id_, "at": 1, "reign": reign}


def ruled(n: int, by: str, *names: str) -> dict[str, Any]:
    fields: dict[str, Any] = strictjson.loads(Reign(n, by, names).body())
    return fields


class ClaimsTest(unittest.TestCase):
    def test_claims_and_reigns_depend_on_what_has_come_and_not_on_its_order(self) -> None:
        dice = random.Random(7)
        for _ in range(200):
            said = [
                claim(dice.choice("xyz"), dice.choice("abc"), dice.randint(1, 3)) for _ in range(6)
            ]
            for _ in range(4):
                by = dice.choice("fgh")
                said.append(ruled(dice.randint(1, 2), by, *sorted({by, dice.choice("fgh")})))
            some, others = Claims(), Claims()
            for fields in said:
                some.apply(fields)
            dice.shuffle(said)
            for fields in said * 2:
                others.apply(fields)
            for one in (some, others):
                self.assertFalse(any(map(one.is_news, said)))
            self.assertEqual(some.reign, others.reign)
            self.assertEqual([*map(some.id_of, "xyz")], [*map(others.id_of, "xyz")])

    def test_pieces_make_the_same_again_and_are_nothing_to_a_graph(self) -> None:
        some, copy, graph = Claims(), Claims(), Graph()
        some.apply(ruled(3, "f", "f", "g"))
        for i in range(1000):
            some.apply(claim(f"z{i:019}", "i" * 64, protocol.MAX_COUNT))
        for body, more in some.pieces():
            self.assertTrue(more)
            self.assertLess(len(body) + 200, protocol.MAX_LINE_BYTES)
            copy.apply(strictjson.loads(body))
            self.assertEqual(graph.apply(strictjson.loads(body)), [])
        self.assertEqual(list(copy.pieces()), list(some.pieces()))

    def test_the_later_reign_counts(self) -> None:
        some = Claims()
        for id_, reign in (("a", 1), ("b", 2), ("c", 1)):
            some.apply(claim("x", id_, reign))
        self.assertEqual(some.id_of("x"), "b")
        self.assertTrue(some.contradict(claim("x", "c", 1)))
        self.assertFalse(some.contradict(claim("x", "b", 1)))
        self.assertFalse(some.contradict(claim("x", "d", 3)))
        self.assertIsNone(some.id_of("y"))

    def test_of_two_reigns_with_one_number_neither_counts(self) -> None:
        some = Claims()
        some.apply(ruled(2, "f", "f", "g"))
        other = ruled(2, "h", "h")
        self.assertTrue(some.contradict(other))
        some.apply(other)
        self.assertEqual(some.reign, (2, "", ("f", "g", "h")))
        self.assertFalse(some.contradict(other), "that is known by now")
        some.apply(ruled(3, "h", "h"))
        self.assertEqual(some.reign.by, "h")

    def test_what_was_written_into_the_first_users_is_nobody_s_claim(self) -> None:
        some = Claims()
        some.apply({"kind": JOIN, "user": "x", "id": "users-json-x", "at": 0})
        some.apply({"kind": PIECE, "more": False, "users": {"y": {}}})
        self.assertEqual([some.id_of("x"), some.id_of("y")], [None, None])


class NamesTest(FollowersTest):
    """Two instances, `f1` the older one. Each join has an id."""

    async def two(self) -> tuple[Followers, Followers]:
        first = await self.followers("--name", "f1")
        await self.registered(1)
        second = await self.followers("--name", "f2")
        await self.registered(2)
        await until(lambda: second.claims.reign.names == ("f1", "f2"), "both are in a reign")
        await self.decides(first)
        return first, second

    async def ask(self, service: Followers, id_: str, user: str = "dora") -> Wire:
        outbox = await self.open(service.port, "outbox")
        outbox.send(put(1, ["followers"], {"kind": JOIN, "id": id_, "user": user, "at": 1}))
        return outbox

    async def answer(self, service: Followers, id_: str, user: str = "dora") -> str:
        """ "yes", or the code of the refusal."""
        outbox = await self.ask(service, id_, user)
        refusals = await outbox.up_to_ack(1)
        outbox.abort()
        return str(refusals[0]["code"]) if refusals else "yes"

    async def test_the_first_decides_and_the_id_is_the_claim(self) -> None:
        first, second = await self.two()
        for id_, expected in (("a", "yes"), ("b", "name-taken"), ("a", "yes")):
            self.assertEqual(await self.answer(first, id_), expected)
        self.assertEqual(await self.answer(first, "a", "ann"), "name-taken")
        self.assertEqual(await self.answer(second, "a"), protocol.UNDECIDED)
        self.assertEqual(await self.answer(second, "b"), protocol.NAME_TAKEN)
        self.assertEqual(second.claims.id_of("dora"), "a")

    async def test_of_two_in_one_line_one_has_it(self) -> None:
        service = await self.followers()
        await self.decides(service)
        outbox = await self.open(service.port, "outbox")
        outbox.send(event(1, JOIN, "dora"), event(2, JOIN, "dora"))
        await outbox.expect("refuse", seq=2, code=protocol.NAME_TAKEN)
        await outbox.expect("ack", seq=2)

    async def test_an_answer_outlives_a_restart(self) -> None:
        for answers in (("yes", "name-taken"), ("yes", "name-taken")):
            async with serving(
                Followers, self.folder, "--name", "f", directory=self.directory.port
            ) as service:
                await self.decides(service)
                for id_, expected in zip("ab", answers, strict=True):
                    self.assertEqual(await self.answer(service, id_), expected)

    async def test_one_that_was_away_does_not_know_what_was_given_meanwhile(self) -> None:
        """The first gives a name away while the second is away; then the second is alone."""
        async with serving(
            Followers, self.folder, "--name", "f1", directory=self.directory.port
        ) as first:
            await self.registered(1)
            async with serving(
                Followers, self.folder, "--name", "f2", directory=self.directory.port
            ) as second:
                await until(lambda: second.claims.reign.names == ("f1", "f2"), "both are in it")
            await until(lambda: first.claims.reign.names == ("f1",), "it goes on alone")
            await self.decides(first)
            self.assertEqual(await self.answer(first, "a"), "yes")
        second = await self.followers("--name", "f2")
        await self.registered(1)
        self.assertEqual(await self.answer(second, "b"), protocol.UNDECIDED)
        self.assertIn("wait for f1", second.lacks())
        outbox = await self.open(second.port, "outbox")
        outbox.send(event(1, FOLLOW, "ann", "cid"))  # which do not wait
        await outbox.expect("ack", seq=1)
        first = await self.followers("--name", "f1")
        await self.decides(second)
        self.assertEqual(await self.answer(second, "b"), protocol.NAME_TAKEN)
        self.assertEqual(await self.answer(second, "a"), "yes")
        self.assertEqual(second.lacks(), "")

    async def test_an_empty_one_of_the_same_name_takes_the_place_of_a_disk_that_is_lost(
        self,
    ) -> None:
        flags: dict[str, Any] = {"directory": self.directory.port}
        async with serving(Followers, self.folder, "--name", "f1", **flags):
            await self.registered(1)
            async with serving(Followers, self.folder, "--name", "f2", **flags) as second:
                await until(lambda: second.claims.reign.names == ("f1", "f2"), "both are in it")
                second.stop()
        second = await self.followers("--name", "f2")
        await until(lambda: second._decider.missing == ["f1"], "it waits")
        shutil.rmtree(self.folder / "journal" / "f1")
        await self.followers("--name", "f1")
        await self.decides(second)
        self.assertEqual(await self.answer(second, "a"), "yes")

    async def test_an_instance_does_not_ack_what_it_knows_to_be_another_s(self) -> None:
        service = await self.followers()
        await self.decides(service)
        self.assertEqual(await self.answer(service, "a"), "yes")
        for fields, holds in (
            (claim("dora", "a", 0), True),
            (claim("dora", "b", 0), False),
            (claim("eric", "b", 0), True),
            (ruled(1, "g", "g"), False),
        ):
            why = service._replicate([(strictjson.dumps(fields), fields)])
            self.assertEqual(why == "", holds, fields)
        self.assertEqual(service.claims.id_of("dora"), "a")
        self.assertEqual(service.claims.id_of("eric"), "b")

    async def test_nothing_is_told_while_a_replica_has_lost_its_link(self) -> None:
        first, _ = await self.two()
        with mock.patch.object(Followers, "subscribe", lambda *_: None):
            for link in [link for link in first.links if link.name == "f2"]:
                link.abort()
            await until(lambda: not first._publisher.replicas, "it has gone")
            self.assertIn(await self.answer(first, "a"), (protocol.FULL, protocol.UNDECIDED))
            self.assertNotIn("dora", first.graph)
        await until(lambda: first._publisher.replicas == {"f2"}, "it is back", 10)

    async def test_two_that_take_themselves_for_the_ruler_give_one_name_once(self) -> None:
        """The first is given up by the directory, and does not know it yet."""
        first, second = await self.two()
        services = self.directory._services
        # What the first takes, no other hears of; it can't hear of others either.
        with (
            mock.patch.object(first._publisher, "_send", lambda copying: None),
            mock.patch.object(first._replicas, "on_message", lambda *_: None),
            mock.patch.object(first, "announcements", list),
            mock.patch.object(type(first._decider), "_ruler", property(lambda d: d._node.name)),
        ):
            outbox = await self.ask(first, "a")
            await until(lambda: first.claims.id_of("dora") == "a", "the first has taken it")
            talk = next(link for link in self.directory.links if link.name == "f1")
            talk.abort()
            await until(lambda: list(services["replica"]) == ["f2"], "it is given up")
            await self.decides(second)
            self.assertEqual(await self.answer(second, "b"), "yes")
            self.assertEqual(await outbox.before_pong(), [], "the first can't tell anybody")
        first.announce()
        for link in [*first.links]:
            if link.name == "f2":
                link.abort()
        await until(lambda: first.claims.id_of("dora") == "b", "it hears who has the name", 10)
        await outbox.expect("refuse", seq=1, code=protocol.NAME_TAKEN)
        await outbox.expect("ack", seq=1)

        def rulers() -> list[Followers]:
            return [service for service in (first, second) if not service._decider.why_not()]

        await until(lambda: bool(rulers()), "one decides again", 10)
        (ruler,) = rulers()
        self.assertEqual(await self.answer(ruler, "c"), protocol.NAME_TAKEN)
        self.assertEqual(second.claims.id_of("dora"), "b")
