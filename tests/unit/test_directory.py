"""The directory: who is told what, at once; and how it comes back."""

import functools
import socket
from unittest import mock

from barker import directory
from barker.bizlogic import BizLogic
from barker.directory import Directory
from barker.followers import Followers
from barker.inbox import Inbox
from barker.links import turns
from barker.outbox import Outbox
from barker.process import node
from barker.routing import routes
from barker.routing.routes import Route, Target
from barker.wire import protocol
from monitoring.monitor import Monitor
from tests.tools.fleet import until
from tests.tools.wireclient import Message, Wire, WireTest, register, serving, thaw

OLD_EPOCH = "0123456789abcdef"
# Of the directories here: long enough for a few greetings on a busy machine.
SETTLE_S = 1.0


def names(routes: Message) -> list[str]:
    return [t["name"] for t in routes["targets"]]


class DirectoryTest(WireTest):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.directory = await self.serve(Directory)

    async def link(self, name: str = "wire", epoch: str | None = None) -> Wire:
        return await self.open(self.directory.port, name, epoch)

    async def watcher(self, prefix: str) -> Wire:
        """Watches; what it is told at first is still to be heard."""
        watcher = await self.link("watcher")
        watcher.send({"op": "watch", "prefix": prefix})
        return watcher

    async def assertToldOf(self, watcher: Wire, address: str, expected: list[str]) -> Message:
        routes = await watcher.expect("routes", address=address)
        self.assertEqual(names(routes), expected)
        return routes


class WatchTest(DirectoryTest):
    async def test_a_registration_is_told_to_watchers_and_goes_with_its_link(self) -> None:
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", [])
        service = await self.link("inbox-1")
        service.send(register("inbox", "inbox-1", 1234, since=17))
        routes = await self.assertToldOf(watcher, "inbox", ["inbox-1"])
        self.assertEqual(routes["policy"], "consistent")
        target = {"name": "inbox-1", "host": "127.0.0.1", "port": 1234, "since": 17}
        self.assertEqual(routes["targets"][0], {**target, "kind": "inbox"})
        service.abort()
        await self.assertToldOf(watcher, "inbox", [])

    async def test_a_clean_goodbye_is_as_quick_as_a_broken_link(self) -> None:
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", [])
        service = await self.link()
        service.send(register("inbox", "a"), register("inbox", "b"))
        await self.assertToldOf(watcher, "inbox", ["a", "b"])
        service.end()
        await self.assertToldOf(watcher, "inbox", [])

    async def test_who_comes_later_is_told_the_whole_list(self) -> None:
        service = await self.link()
        service.send(register("inbox", "a"), register("outbox", "b"))
        await service.before_pong()
        await self.assertToldOf(await self.watcher("inbox"), "inbox", ["a"])

    async def test_the_order_is_by_since_and_then_by_name(self) -> None:
        service = await self.link()
        born = {"c": 5, "b": 7, "a": 7, "z": 1, "e": 2**53 - 1}
        service.send(*(register("bizlogic", n, since=s, policy="ordered") for n, s in born.items()))
        await service.before_pong()
        watcher = await self.watcher("bizlogic")
        routes = await self.assertToldOf(watcher, "bizlogic", ["z", "c", "a", "b", "e"])
        self.assertEqual(routes["policy"], "ordered")

    async def test_a_prefix_is_a_name_and_not_the_beginning_of_one(self) -> None:
        service = await self.link()
        service.send(register("inbox", "a"), register("inboxes", "b"), register("inbox/x", "c"))
        await service.before_pong()
        watcher = await self.watcher("inbox")
        told = {m["address"] for m in await watcher.before_pong()}
        self.assertEqual(told, {"inbox", "inbox/x"})
        service.send(register("inboxes", "d"))
        await service.before_pong()
        self.assertEqual(await watcher.before_pong(), [])

    async def test_the_empty_prefix_is_everything(self) -> None:
        watcher = await self.watcher("")
        self.assertNotIn("", [m["address"] for m in await watcher.before_pong()])
        service = await self.link()
        service.send(register("anything", "a"))
        await self.assertToldOf(watcher, "anything", ["a"])

    async def test_many_changes_at_once_are_told_once(self) -> None:
        self.patch(turns, "TURN_S", 60.0)  # on a busy machine, one read may take two turns
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", [])
        service = await self.link()
        service.send(*(register("inbox", f"n{i}", since=i) for i in range(50)))
        await self.assertToldOf(watcher, "inbox", [f"n{i}" for i in range(50)])
        service.abort()
        await self.assertToldOf(watcher, "inbox", [])
        self.assertEqual(await watcher.before_pong(), [])

    async def test_a_link_that_goes_takes_only_its_own_along(self) -> None:
        one, other = await self.link(), await self.link()
        one.send(register("inbox", "a"), register("outbox", "c"))
        other.send(register("inbox", "b"))
        await one.before_pong()
        await other.before_pong()
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", ["a", "b"])
        one.abort()
        await self.assertToldOf(watcher, "inbox", ["b"])

    async def test_what_is_taken_back_is_gone_though_the_link_goes_on(self) -> None:
        one, other = await self.link(), await self.link()
        one.send(register("inbox", "a"), register("agent", "a", policy="ordered"))
        other.send(register("inbox", "b"))
        await one.before_pong()
        await other.before_pong()
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", ["a", "b"])
        # Not by others, and not what nobody knows.
        other.send({"op": "unregister", "address": "inbox", "name": "a"})
        other.send({"op": "unregister", "address": "inbox", "name": "c"})
        other.send({"op": "unregister", "address": "outbox", "name": "b"})
        await other.before_pong()
        one.send({"op": "unregister", "address": "inbox", "name": "a"})
        await self.assertToldOf(watcher, "inbox", ["b"])
        one.send(register("inbox", "a"))
        await self.assertToldOf(watcher, "inbox", ["a", "b"])
        one.send({"op": "unregister", "address": "inbox", "name": "a"})
        await self.assertToldOf(watcher, "inbox", ["b"])
        agents = await (await self.watcher("agent")).expect("routes", address="agent")
        self.assertIn("a", names(agents))

    async def test_a_watcher_that_has_gone_disturbs_nobody(self) -> None:
        watchers = [await self.watcher("inbox") for _ in range(20)]
        for watcher in watchers[1:]:
            watcher.abort()
        service = await self.link()
        service.send(register("inbox", "a"))
        await self.assertToldOf(watchers[0], "inbox", [])
        await self.assertToldOf(watchers[0], "inbox", ["a"])


class NameTest(DirectoryTest):
    async def test_a_name_is_taken_while_its_link_lives(self) -> None:
        first, second = await self.link(), await self.link()
        first.send(register("inbox", "a", 1000))
        await first.before_pong()
        second.send(register("inbox", "a", 2000))
        error = await second.expect("error", code=protocol.NAME_TAKEN)
        self.assertIn("a is at 127.0.0.1:1000", error["reason"])
        self.assertEqual(await second.rest(), [])
        await self.assertToldOf(await self.watcher("inbox"), "inbox", ["a"])
        first.abort()
        third = await self.link()
        watcher = await self.watcher("inbox")
        third.send(register("inbox", "a", 2000))
        while (await watcher.expect("routes"))["targets"][:1] == []:
            pass
        await third.before_pong()

    async def test_a_registration_belongs_to_its_link_also_at_the_same_place(self) -> None:
        """Else a second link could take it over, hang up, and leave the service in no route."""
        first, second = await self.link(), await self.link()
        first.send(register("inbox", "a", 1000, since=1))
        await first.before_pong()
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", ["a"])
        second.send(register("inbox", "a", 1000, since=2))
        await second.expect("error", code=protocol.NAME_TAKEN)
        await until(lambda: len(self.directory.links) == 2, "the second link is gone")
        self.assertEqual(await watcher.before_pong(), [])
        first.send(register("inbox", "a", 1000, since=3))  # its own link may change it
        routes = await self.assertToldOf(watcher, "inbox", ["a"])
        self.assertEqual(routes["targets"][0]["since"], 3)

    async def test_the_directory_s_own_registration_is_no_link_s(self) -> None:
        link = await self.link()
        link.send(register("agent", self.directory.name, self.directory.port, policy="ordered"))
        await link.expect("error", code=protocol.NAME_TAKEN)

    async def test_a_service_that_is_missing_in_its_routes_registers_again(self) -> None:
        inbox = await self.serve(Inbox, directory=self.directory.port)
        watcher = await self.watcher("inbox")
        while not (await watcher.expect("routes"))["targets"]:
            pass
        del self.directory._services["inbox"][inbox.name]
        self.directory._tell("inbox")
        with self.assertLogs("barker.process.service", "DEBUG") as logs:
            await self.assertToldOf(watcher, "inbox", [])
            await self.assertToldOf(watcher, "inbox", [inbox.name])
        self.assertIn("registering again", "".join(logs.output))

    async def test_a_service_has_one_policy(self) -> None:
        first, second = await self.link(), await self.link()
        first.send(register("inbox", "a"))
        await first.before_pong()
        second.send(register("inbox", "b", policy="ordered"))
        error = await second.expect("error", code=protocol.PROTOCOL)
        self.assertIn("the policy of inbox is consistent", error["reason"])
        await self.assertToldOf(await self.watcher("inbox"), "inbox", ["a"])
        first.abort()
        await until(lambda: len(self.directory.links) < 3, "nobody serves it any more")
        third = await self.link()
        third.send(register("inbox", "b", policy="ordered"))
        await third.before_pong()
        routes = await (await self.watcher("inbox")).expect("routes")
        self.assertEqual(routes["policy"], "ordered")

    async def test_a_name_that_no_resolver_takes_brings_nobody_down(self) -> None:
        """It may come from a typing error after --advertise; everybody would dial it."""
        port = self.directory.port
        outbox = await self.serve(Outbox, directory=port)
        friend = await self.open(outbox.port)
        with mock.patch.object(outbox, "dial_failed") as dial_failed:
            for i, host in enumerate(("a..b", "x" * 64 + ".example", "\u00e9" * 60)):
                with self.subTest(host):
                    service, watcher = await self.link(), await self.watcher("bizlogic")
                    service.send(register("bizlogic", f"b{i}", host=host, policy="ordered"))
                    service.send({"op": "ping"})
                    heard = await service.heard()
                    assert heard
                    if heard["op"] == "pong":  # it was taken; so it is told, and dialled
                        await self.assertToldOf(watcher, "bizlogic", [])
                        await self.assertToldOf(watcher, "bizlogic", [f"b{i}"])
                        dial_failed.reset_mock()
                        await until(lambda: dial_failed.called, "the outbox has tried")
                        service.abort()
                        await self.assertToldOf(watcher, "bizlogic", [])
                    await friend.before_pong()


class ResolveTest(DirectoryTest):
    async def test_an_answer_stands_and_comes_again_at_every_change(self) -> None:
        page = await self.link()
        page.send({"op": "resolve", "address": "inbox/ark3"})
        await page.expect("target", address="inbox/ark3", name=None, host=None, port=None)
        first, second = await self.link(), await self.link()
        first.send(register("inbox", "a", 1000))
        await page.expect("target", address="inbox/ark3", name="a", host="127.0.0.1", port=1000)
        second.send(*(register("inbox", f"b{i}", 2000 + i) for i in range(8)))
        await second.before_pong()
        watcher = await self.watcher("inbox")
        routes = await watcher.expect("routes")
        targets = [Target(t["name"], t["host"], t["port"], t["since"]) for t in routes["targets"]]
        owner = Route("consistent", targets).owner("ark3")
        assert owner
        self.assertNotEqual(owner.name, "a", "the test needs a user that moves")
        await page.expect("target", name=owner.name, port=owner.port)
        second.abort()
        await page.expect("target", name="a", port=1000)
        first.abort()
        await page.expect("target", name=None, host=None, port=None)

    async def test_a_change_that_changes_nothing_is_not_told(self) -> None:
        page, service = await self.link(), await self.link()
        service.send(register("bizlogic", "first", policy="ordered", since=1))
        await service.before_pong()
        page.send({"op": "resolve", "address": "bizlogic"})
        await page.expect("target", name="first")
        service.send(register("bizlogic", "second", policy="ordered", since=2))
        service.send(register("other", "third"))
        await service.before_pong()
        self.assertEqual(await page.before_pong(), [])

    async def test_one_page_may_ask_for_many_addresses(self) -> None:
        page, service = await self.link(), await self.link()
        service.send(register("inbox", "a"), register("outbox", "b"))
        await service.before_pong()
        asked = ["inbox/ark3", "outbox/ark3", "bizlogic"]
        page.send(*({"op": "resolve", "address": address} for address in asked))
        answers = {m["address"]: m["name"] for m in await page.before_pong()}
        self.assertEqual(answers, dict(zip(asked, ["a", "b", None], strict=True)))
        service.abort()
        gone = [await page.expect("target", name=None) for _ in range(2)]
        self.assertEqual({m["address"] for m in gone}, {"inbox/ark3", "outbox/ark3"})


class LimitTest(DirectoryTest):
    async def too_many(self, *asked: Message) -> None:
        """All but the last are taken; that one ends its link."""
        link = await self.link()
        link.send(*asked[:-1])
        await link.before_pong()
        link.send(asked[-1])
        while (message := await link.heard()) and message["op"] in ("routes", "target"):
            pass
        self.assertEqual((message or {}).get("code"), protocol.TOO_MANY)
        link.abort()

    async def test_promise_5_what_a_link_asks_for_has_an_end_and_so_has_what_all_do(self) -> None:
        watches = [{"op": "watch", "prefix": f"s{i}"} for i in range(6)]
        resolves = [{"op": "resolve", "address": f"s{i}/x"} for i in range(6)]
        service = self.directory
        with mock.patch.object(directory, "MAX_ASKED", 5):
            for asked in (watches, resolves):
                await self.too_many(*asked[:5], asked[0], asked[5])
        await until(lambda: not service._watchers and not service._resolvers, "both have gone")
        self.assertEqual(service._asked, 0)
        with mock.patch.object(directory, "MAX_ASKED_IN_ALL", 9):
            other = await self.link()
            other.send(*watches[:3], *resolves[:3])
            await other.before_pong()
            await self.too_many(*watches[:2], *resolves[:2])
            await until(lambda: service._asked == 6, "what the other has asked for stands")

    async def test_promise_5_services_and_instances_have_an_end(self) -> None:
        self.patch(directory, "MAX_SERVICES", 4)  # its own agent is one
        self.patch(directory, "MAX_INSTANCES", 3)
        await self.too_many(*(register(f"s{i}", "a") for i in range(4)))
        await self.too_many(*(register("t", f"t{i}") for i in range(4)))
        for i in range(10):  # those that have gone make room
            link = await self.link()
            link.send(register(f"u{i}", "a"))
            await link.before_pong()
            link.abort()
            await until(lambda: sum(map(bool, self.directory._services.values())) == 1, "gone")
            self.assertLessEqual(len(self.directory._services), 4)


class SettlingTest(DirectoryTest):
    """Promise 4: whoever asks too early is not told of half a ring."""

    async def asyncSetUp(self) -> None:
        self.patch(directory, "SETTLE_S", SETTLE_S)
        await super().asyncSetUp()

    async def test_a_fresh_directory_answers_at_once(self) -> None:
        begun = self.directory.now()
        await self.assertToldOf(await self.watcher("inbox"), "inbox", [])
        self.assertLess(self.directory.now() - begun, 0.25)

    async def test_each_life_has_an_epoch_of_its_own(self) -> None:
        watcher = await self.link()
        self.assertEqual(watcher.proof["epoch"], self.directory.epoch)
        other = await self.serve(Directory)
        self.assertNotEqual(other.epoch, self.directory.epoch)

    async def test_nobody_is_answered_before_all_had_time_to_come_back(self) -> None:
        began = self.directory._begun
        watcher = await self.link("one", OLD_EPOCH)
        watcher.send({"op": "watch", "prefix": "inbox"}, {"op": "resolve", "address": "inbox/x"})
        first = await self.link("two", OLD_EPOCH)
        first.send(register("inbox", "a"))
        newcomer = await self.watcher("inbox")  # knows no epoch, and would believe anything
        self.assertEqual(await newcomer.before_pong(), [])
        self.assertEqual(await watcher.before_pong(), [])
        second = await self.link("three", OLD_EPOCH)
        second.send(register("inbox", "b"))
        await self.assertToldOf(watcher, "inbox", ["a", "b"])
        self.assertGreaterEqual(self.directory.now() - began, 0.9 * SETTLE_S)
        self.assertIn((await watcher.expect("target"))["name"], ("a", "b"))
        await self.assertToldOf(newcomer, "inbox", ["a", "b"])
        # and from now on at once
        second.abort()
        await self.assertToldOf(watcher, "inbox", ["a"])

    async def test_what_comes_and_goes_meanwhile_is_not_told(self) -> None:
        watcher = await self.link("one", OLD_EPOCH)
        watcher.send({"op": "watch", "prefix": "inbox"})
        service = await self.link("two", OLD_EPOCH)
        service.send(register("inbox", "a"))
        await service.before_pong()
        service.abort()
        await self.assertToldOf(watcher, "inbox", [])

    async def test_a_memory_of_long_ago_settles_nothing(self) -> None:
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", [])
        began = self.directory.now()
        await until(lambda: self.directory.now() > began + SETTLE_S, "the settling time is over")
        late = await self.link("late", OLD_EPOCH)
        late.send(register("inbox", "a"))
        await self.assertToldOf(watcher, "inbox", ["a"])

    async def test_after_a_frost_those_who_have_given_it_up_come_back_first(self) -> None:
        service = await self.link("one")
        service.send(register("inbox", "a"))
        await service.before_pong()
        stayed = await self.watcher("inbox")
        await self.assertToldOf(stayed, "inbox", ["a"])
        (link,) = [link for link in self.directory.links if link.name == "one"]
        link._connection._transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.directory, given_up=False)
            await until(lambda: link not in self.directory.links, "that link is down")
        newcomer = await self.watcher("inbox")
        for watcher in (stayed, newcomer):
            self.assertEqual(await watcher.before_pong(), [], "one may be missing still")
        again = await self.link("two", self.directory.epoch)
        again.send(register("inbox", "b"))
        for watcher in (stayed, newcomer):
            await self.assertToldOf(watcher, "inbox", ["b"])

    async def test_after_a_frost_that_nobody_has_noticed_nothing_is_told(self) -> None:
        service = await self.link()
        service.send(register("inbox", "a"))
        await service.before_pong()
        watcher = await self.watcher("inbox")
        await self.assertToldOf(watcher, "inbox", ["a"])
        epoch = self.directory.epoch
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.directory, given_up=False)
            service.send(register("inbox", "c"))
            await self.assertToldOf(watcher, "inbox", ["a", "c"])
        self.assertEqual(self.directory.epoch, epoch)
        await self.assertToldOf(await self.watcher("inbox"), "inbox", ["a", "c"])

    async def test_after_a_frost_while_it_settles_it_settles_for_longer(self) -> None:
        await self.link("one", OLD_EPOCH)
        began = self.directory.now()
        watcher = await self.watcher("inbox")
        await until(lambda: self.directory.now() > began + SETTLE_S / 2, "half of it is over")
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.directory)
            await until(lambda: not self.directory.links, "all have given it up")
        thawed = self.directory.now()
        await self.assertToldOf(await self.watcher("inbox"), "inbox", [])
        self.assertGreaterEqual(self.directory.now() - thawed, 0.9 * SETTLE_S)
        watcher.abort()

    async def test_what_is_due_in_a_frost_waits_for_a_look_at_the_links(self) -> None:
        began = self.directory.now()
        service = await self.link("one", OLD_EPOCH)
        service.send(register("inbox", "a"))
        await service.before_pong()
        newcomer = await self.watcher("inbox")
        self.assertEqual(await newcomer.before_pong(), [])
        while self.directory.now() < began + SETTLE_S:
            pass  # the loop stands still, and its timers are late
        (link,) = [link for link in self.directory.links if link.name == "one"]
        link._connection._transport.get_extra_info("socket").shutdown(socket.SHUT_RD)
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.directory, given_up=False)
            self.assertEqual(await newcomer.before_pong(), [], "the service may come back")
        again = await self.link("one", self.directory.epoch)
        again.send(register("inbox", "b"))
        await self.assertToldOf(newcomer, "inbox", ["b"])

    async def test_a_newcomer_who_is_there_first_is_not_told_that_it_is_alone(self) -> None:
        """It would take its own graph for the newest, or all of the ring for its own."""
        async with serving(Directory, self.folder) as first:
            service = await self.open(first.port)
            service.send(register("inbox", "a"))
            await service.before_pong()
        self.directory = await self.serve(Directory, "--port", str(first.port), settles=True)
        newcomer = await self.watcher("inbox")
        self.assertEqual(await newcomer.before_pong(), [])
        again = await self.link("one", OLD_EPOCH)
        again.send(register("inbox", "a"))
        await self.assertToldOf(newcomer, "inbox", ["a"])

    async def test_only_without_settling_it_answers_at_once(self) -> None:
        for settles in (False, True):
            with self.subTest(settles=settles):
                self.directory = await self.serve(Directory, settles=settles)
                begun = self.directory.now()
                await self.assertToldOf(await self.watcher("inbox"), "inbox", [])
                took_s = self.directory.now() - begun
                self.assertGreaterEqual(took_s, 0.9 * SETTLE_S * settles)
                self.assertLess(took_s - SETTLE_S * settles, 0.25)


class NodeTest(DirectoryTest):
    """The other side of it: what a node does with what it is told."""

    async def test_a_node_registers_again_and_goes_on_with_the_routes_it_knew(self) -> None:
        self.patch(directory, "SETTLE_S", SETTLE_S)
        await self.serve(Followers, "--no-journal", directory=self.directory.port)
        bizlogic = await self.serve(BizLogic, directory=self.directory.port)
        service = await self.link()
        service.send(register("inbox", "a", 9))
        await until(lambda: bizlogic.routes.route("inbox").targets, "it knows the inbox")
        route = bizlogic.routes.route("inbox")
        await until(lambda: self.directory._services.get("bizlogic"), "it has registered")
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.directory)
        await until(lambda: self.directory._services.get("bizlogic"), "it has registered again")
        self.assertIs(bizlogic.routes.route("inbox"), route)
        # The inbox did not come back: that is an answer too, when the time is over.
        await until(lambda: not bizlogic.routes.route("inbox").targets, "the inbox is gone")

    async def test_a_watcher_of_everything_keeps_no_route_that_ended_with_a_directory(self) -> None:
        self.patch(directory, "SETTLE_S", SETTLE_S)
        monitor = await self.serve(Monitor, directory=self.directory.port)
        service = await self.link()
        service.send(register("sheep", "a", 9), register("sheep", "b", 9))
        await until(lambda: monitor.routes.route("sheep").targets, "it is told of the sheep")
        with self.assertLogs("barker.process.node", "WARNING"):
            thaw(self.directory)
        await until(lambda: not monitor.routes.route("sheep").targets, "the sheep are gone")

    async def test_promise_5_what_a_node_was_told_has_an_end(self) -> None:
        self.patch(routes, "MAX_ROUTES", 10)
        self.patch(node, "MAX_ROUTES", 10)
        monitor = await self.serve(Monitor, directory=self.directory.port)
        for i in range(30):
            service = await self.link()
            service.send(register(f"sheep{i}", "a", 9))
            await until(functools.partial(monitor.told.__contains__, f"sheep{i}"), "it is told")
            service.abort()
            await until(lambda: "sheep" not in " ".join(monitor.routes.served), "it is gone")
            self.assertLessEqual(len(monitor.told), 10)
            self.assertLessEqual(len(monitor.routes.services), 10)
