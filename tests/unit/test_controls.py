"""Controls: what it takes and from whom; the launcher's side of its pipes is played by the test."""

import json
import threading
import time
from typing import Any
from unittest import mock

from barker import controls
from barker.bizlogic import BizLogic
from barker.controls import Controls
from barker.disk.files import UsageError
from barker.followers import Followers
from barker.inbox import Inbox
from barker.launching import talk
from barker.launching.child import ChildProcess
from barker.launching.talk import MAX_REQUESTS, Mailbox, Request, parse_request, request_line
from barker.outbox import Outbox
from barker.process import logs
from barker.wire import protocol
from barker.wire.rights import CLIENT, OPERATOR, clients_key, operators_key
from tests.tools.children import DEADLINE_S
from tests.tools.fleet import until
from tests.tools.wireclient import Message, Wire, WireTest, bark, put, serving

STATE = {"typed": {"kill": "kill -9"}, "processes": [{"process": "outbox-1", "state": "running"}]}


def wish(act: str = "kill", process: str = "outbox-1", id_: str = "one") -> Message:
    return {"id": id_, "act": act, "process": process}


class ControlsTest(WireTest):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.controls = await self.serve(Controls)
        self.said: list[Request] = []
        self.patch(logs, "say", self.hear)

    def hear(self, program: str, line: str) -> None:
        if request := parse_request(line):
            self.said.append(request)

    def answer(self, n: int, why: str = "") -> None:
        self.controls.launcher_said(talk.answer_line(n, why).encode())

    async def operator(self, port: int = 0) -> Wire:
        key = operators_key(self.secret)
        wire = await Wire.open(port or self.controls.port, key, "page", role=OPERATOR)
        return await self.enterAsyncContext(wire)

    async def test_a_request_is_acked_once_the_launcher_has_done_it(self) -> None:
        page = await self.operator()
        page.send(put(1, ["controls"], wish("freeze")))
        await until(lambda: self.said, "the launcher gets it")
        self.assertEqual(self.said, [Request(1, "freeze", "outbox-1")])
        self.assertEqual(await page.before_pong(), [])
        self.answer(1)
        await page.expect("ack", seq=1)

    async def test_a_refusal_has_the_launcher_s_reason_and_others_go_on(self) -> None:
        page = await self.operator()
        page.send(put(1, ["controls"], wish()), put(2, ["controls"], wish("more", id_="two")))
        await until(lambda: len(self.said) == 2, "the launcher gets both")
        self.answer(2)
        self.assertEqual(await page.before_pong(), [])  # acks are in order
        self.answer(1, "outbox-1 does not run")
        await page.expect("refuse", seq=1, code="failed", reason="outbox-1 does not run")
        await page.expect("ack", seq=2)

    async def test_nonsense_never_gets_to_the_launcher(self) -> None:
        page = await self.operator()
        wrong: list[Any] = [
            {},
            {**wish(), "pid": 1},
            wish("signal"),
            wish("kill", "outbox 1"),
            wish("kill", "../1"),
            wish("kill", "x\u202e"),
            wish("kill", "-1"),
            wish("kill", "x" * 65),
            wish("kill", id_="a b"),
            {**wish(), "process": 5203},
            {**wish(), "process": None},
            {**wish(), "act": ["kill"]},
            {**wish(), "process": "x" * 9000},
            bark("ark3", "1"),
        ]
        for seq, body in enumerate(wrong, start=1):
            page.send(put(seq, ["controls"], body))
            heard = await page.up_to_ack(seq)
            self.assertEqual([m["op"] for m in heard], ["refuse"], body)
        self.assertEqual(self.said, [])

    async def test_a_request_that_comes_again_is_answered_and_not_done_again(self) -> None:
        page = await self.operator()
        page.send(put(1, ["controls"], wish()), put(2, ["controls"], wish()))
        await page.expect("refuse", seq=2, code="bad-message")
        self.answer(1, "no")
        await page.expect("refuse", seq=1, reason="no")
        await page.expect("ack", seq=2)
        again = await self.operator()
        again.send(put(1, ["controls"], wish()))
        await again.expect("refuse", seq=1, reason="no")
        self.assertEqual(len(self.said), 1)

    async def test_promise_5_ten_thousand_requests_are_few_with_the_launcher(self) -> None:
        page = await self.operator()
        refused = 0
        for first in range(1, 10_001, 1000):
            page.send(*(put(n, ["controls"], wish(id_=str(n))) for n in range(first, first + 1000)))
            while self.said:
                self.assertLessEqual(len(self.said), MAX_REQUESTS)
                self.answer(self.said.pop(0).n)
            heard: list[Message] = []
            while not heard or heard[-1].get("seq") != first + 999 or heard[-1]["op"] != "ack":
                message = await page.heard()
                assert message
                heard.append(message)
                while self.said:
                    self.answer(self.said.pop(0).n)
            refused += sum(m["op"] == "refuse" and m["code"] == "full" for m in heard)
        self.assertGreater(refused, 5000)
        self.assertLessEqual(len(self.controls._outcomes), controls.REMEMBERED)

    async def test_more_unacked_requests_than_the_window_close_the_link(self) -> None:
        page = await self.operator()
        for n in range(1, protocol.UNACKED_WINDOW + 2):
            page.send(put(n, ["controls"], wish(id_=str(n))))
        with self.assertLogs("barker", "WARNING"):
            heard = await page.rest()
        self.assertEqual(heard[-1]["code"], protocol.PROTOCOL)

    async def test_a_reader_gets_the_state_and_each_change_of_it(self) -> None:
        page = await self.operator()
        self.controls.launcher_said(talk.state_line({**STATE, "old": 1}).encode())
        self.controls.launcher_said(talk.state_line(STATE).encode())
        page.send({"op": "subscribe", "address": "controls"})
        await page.expect("subscribed", last=2, history=1)
        self.assertEqual((await page.expect("message"))["body"], STATE)
        self.controls.launcher_said(b"ready")
        self.controls.launcher_said(talk.state_line({**STATE, "processes": []}).encode())
        await page.expect("message", body={**STATE, "processes": []})

    async def test_a_page_that_goes_away_leaves_nothing_behind(self) -> None:
        page = await self.operator()
        page.send({"op": "subscribe", "address": "controls"}, put(1, ["controls"], wish()))
        await until(lambda: self.said, "the launcher gets it")
        page.abort()
        await until(lambda: not self.controls.links, "the link is down")
        self.answer(1)
        self.controls.launcher_said(talk.state_line(STATE).encode())
        self.assertEqual(self.controls.gauges()["readers"], 0)
        self.assertEqual(self.controls.gauges()["backlog"], 0)

    # --- rights ---

    async def assertForbidden(self, port: int, key: bytes, role: str, message: Message) -> None:
        wire = await self.enterAsyncContext(await Wire.open(port, key, "page", role=role))
        wire.send(message)
        with self.assertLogs("barker", "WARNING"):
            heard = await wire.rest()
        self.assertEqual([m.get("code") for m in heard], [protocol.FORBIDDEN], message)

    async def test_a_client_s_key_may_not_kill_or_see_what_runs(self) -> None:
        key = clients_key(self.secret)
        for message in (
            put(1, ["controls"], wish()),
            {"op": "subscribe", "address": "controls"},
        ):
            await self.assertForbidden(self.controls.port, key, CLIENT, message)
        self.assertEqual(self.said, [])

    async def test_a_client_s_key_is_no_proof_of_an_operator(self) -> None:
        wire = await self.enterAsyncContext(await Wire.connect(self.controls.port))
        wire.say_hello(role=OPERATOR)
        hello = await wire.expect("hello")
        wire.prove(clients_key(self.secret), "0123456789abcdef" * 2, hello["nonce"], role=OPERATOR)
        await wire.expect("error", code=protocol.BAD_PROOF)

    async def test_an_operator_may_do_nothing_else(self) -> None:
        key = operators_key(self.secret)
        outbox = await self.serve(Outbox)
        for message in (
            put(1, ["outbox/ark3"], bark("ark3", "1")),
            put(1, ["controls", "outbox/ark3"], wish()),
            {"op": "subscribe", "address": "inbox/ark3"},
            {"op": "subscribe", "address": "monitor"},
            {"op": "watch", "prefix": ""},
            {"op": "resolve", "address": "outbox/ark3"},
        ):
            await self.assertForbidden(outbox.port, key, OPERATOR, message)

    async def test_no_other_service_takes_a_request_for_something_of_its_own(self) -> None:
        for kind in (Outbox, Inbox, BizLogic, Followers):
            service = await self.serve(kind)
            for body in (wish(), bark("ark3", "1")):
                page = await self.operator(service.port)
                page.send(put(1, ["controls"], body))
                heard = await page.up_to_ack(1)
                self.assertEqual([m["op"] for m in heard], ["refuse"], kind)


class MailboxTest(WireTest):
    """The launcher never waits for a `controls` that does not read."""

    def test_of_states_that_are_not_written_the_newest_is_enough(self) -> None:
        child = mock.Mock(spec=ChildProcess)
        may_write, sent = threading.Event(), []
        until_s = time.monotonic() + DEADLINE_S

        def send(line: str) -> None:
            sent.append(line)
            may_write.wait(DEADLINE_S)

        child.send = send
        mailbox = Mailbox(child)
        mailbox.answer("first")
        while not sent:
            self.assertLess(time.monotonic(), until_s)
        for n in range(10_000):
            mailbox.show(f"state {n}")
            mailbox.answer(f"answer {n}")
        may_write.set()
        while not sent[-1].startswith("state"):
            self.assertLess(time.monotonic(), until_s)
        mailbox.close()
        self.assertEqual(sent[-1], "state 9999")
        self.assertEqual(sent[1:-1], [f"answer {n}" for n in range(10_000 - MAX_REQUESTS, 10_000)])

    def test_a_state_fits_a_line_whatever_the_flags(self) -> None:
        row = {"process": "x", "start": "y" * 3000, "more": "y" * 3000}
        line = talk.state_line({"typed": {}, "processes": [row] * 40})
        self.assertLess(len(line), talk.MAX_STATE_BYTES)
        self.assertIsNone(json.loads(line)["state"]["processes"][0]["start"])

    def test_only_a_request_is_one(self) -> None:
        request = Request(1, "kill", "outbox-1")
        self.assertEqual(parse_request(request_line(request)), request)
        for line in (
            "READY 127.0.0.1:1",
            "REQUEST",
            "REQUEST {",
            "REQUEST []",
            "REQUEST {}",
            'REQUEST {"n":1,"act":"kill"}',
            'REQUEST {"n":1,"act":"kill","process":7}',
            'REQUEST {"n":"1","act":"kill","process":"x"}',
            'REQUEST {"n":1,"act":"kill","process":"x","pid":1}',
            'xREQUEST {"n":1,"act":"kill","process":"x"}',
        ):
            self.assertIsNone(parse_request(line), line)


class AloneTest(WireTest):
    def test_without_a_launcher_it_does_not_run(self) -> None:
        with mock.patch.dict("os.environ", clear=False) as environ:
            environ.pop("BARKER_LEASH", None)
            with self.assertRaisesRegex(UsageError, "launch.py --controls"):
                controls.under_launcher(mock.Mock())

    async def test_it_listens_at_no_other_address_than_this_machine_s(self) -> None:
        secret = str(self.folder / "secret")
        for flags in (["--host", "0.0.0.0"], ["--advertise", "one.lan"]):
            with (
                mock.patch("barker.process.service.logs.complain") as told,
                self.assertRaisesRegex(AssertionError, "has stopped by itself"),
            ):
                async with serving(Controls, self.folder, *flags, "--secret-file", secret):
                    pass
            self.assertRegex(told.call_args[0][1], "this machine alone|no address to be reached")
