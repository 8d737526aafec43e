"""The greeting, both sides without a socket; its proof, and what that does not hold for."""

import hashlib
import hmac
import unittest

from barker.links import greeting
from barker.links.greeting import ACCEPTOR, OPENER, Greeting, Identity
from barker.wire import protocol
from barker.wire.messages import decode, encode
from barker.wire.ops import Error, Hello, Op, Ping, Proof
from barker.wire.protocol import BarkerError, ProtocolError


class ProofTest(unittest.TestCase):
    SECRET, A, B = b"s" * 64, "a" * 32, "b" * 32

    def test_the_proof_is_hmac_sha_256_over_version_role_and_nonces(self) -> None:
        for role in (greeting.OPENER, greeting.ACCEPTOR):
            text = f"barker 1 {role} {self.A} {self.B}".encode()
            mac = hmac.new(self.SECRET, text, hashlib.sha256).hexdigest()
            self.assertEqual(greeting.mac(self.SECRET, role, self.A, self.B), mac)
            self.assertTrue(greeting.holds(mac, self.SECRET, role, self.A, self.B))
            self.assertEqual(decode(encode(Proof(mac))), Proof(mac))

    def test_a_known_vector(self) -> None:
        self.assertEqual(
            greeting.mac(b"0" * 64, "opener", "0" * 32, "1" * 32),
            "c60c2479770fe91569b1702b47d520ae4d5777ddddf8f71aba2d0238097b0520",
        )

    def test_a_proof_holds_for_no_other_secret_role_or_nonce(self) -> None:
        mac = greeting.mac(self.SECRET, greeting.OPENER, self.A, self.B)
        for secret, role, opener, acceptor in (
            (self.SECRET, greeting.ACCEPTOR, self.A, self.B),  # sent back to us
            (self.SECRET, greeting.ACCEPTOR, self.B, self.A),
            (self.SECRET, greeting.OPENER, self.B, self.A),
            (self.SECRET, greeting.OPENER, self.A, self.A),
            (self.SECRET[:-1], greeting.OPENER, self.A, self.B),
        ):
            self.assertFalse(greeting.holds(mac, secret, role, opener, acceptor))
        self.assertFalse(greeting.holds(mac[:-1], self.SECRET, greeting.OPENER, self.A, self.B))


class GreetingTest(unittest.TestCase):
    SECRET = b"s" * 64
    NONCES = {OPENER: "a" * 32, ACCEPTOR: "b" * 32}

    def side(self, role: str, secret: bytes = SECRET) -> Greeting:
        return Greeting(role, Identity(role, secret, "e" * 16), self.NONCES[role])

    def assertRefused(
        self, side: Greeting, message: Op, code: str, kind: type[BarkerError] = ProtocolError
    ) -> None:
        with self.assertRaises(kind) as caught:
            side.receive(message)
        self.assertEqual(caught.exception.code, code)
        self.assertIsNone(side.peer)

    def test_the_opener_proves_first_and_each_learns_who_the_other_is(self) -> None:
        opener, acceptor = self.side(OPENER), self.side(ACCEPTOR)
        self.assertEqual(acceptor.begin(), [])
        (hello,) = opener.begin()
        (back,) = acceptor.receive(hello)
        (proof,) = opener.receive(back)
        self.assertEqual([type(m) for m in (hello, back, proof)], [Hello, Hello, Proof])
        self.assertEqual((opener.peer, acceptor.peer), (None, None), "no verdict without a proof")
        (answer,) = acceptor.receive(proof)
        self.assertEqual((opener.peer, acceptor.peer), (None, hello))
        self.assertEqual(opener.receive(answer), [])
        self.assertEqual(opener.peer, back)
        self.assertEqual(hello, Hello(1, OPENER, self.NONCES[OPENER], "e" * 16))
        self.assertEqual(back, Hello(1, ACCEPTOR, self.NONCES[ACCEPTOR], "e" * 16))

    def test_another_secret_is_refused_and_nothing_is_proved_to_it(self) -> None:
        opener, acceptor = self.side(OPENER, b"x" * 64), self.side(ACCEPTOR)
        (back,) = acceptor.receive(*opener.begin())
        (proof,) = opener.receive(back)
        self.assertRefused(acceptor, proof, protocol.BAD_PROOF)

    def test_an_opener_s_own_proof_is_no_answer_to_it(self) -> None:
        opener = self.side(OPENER)
        opener.begin()
        (proof,) = opener.receive(Hello(1, "mirror", self.NONCES[OPENER]))
        self.assertRefused(opener, proof, protocol.BAD_PROOF)

    def test_what_comes_out_of_turn_is_refused(self) -> None:
        for role in (OPENER, ACCEPTOR):
            self.assertRefused(self.side(role), Ping(), protocol.PROTOCOL)
            self.assertRefused(self.side(role), Proof("0" * 64), protocol.PROTOCOL)
            self.assertRefused(self.side(role), Hello(2, "x", "c" * 32), protocol.BAD_VERSION)
            side = self.side(role)
            side.receive(Hello(1, "x", "c" * 32))
            self.assertRefused(side, Hello(1, "x", "c" * 32), protocol.PROTOCOL)

    def test_an_error_is_a_no_and_no_fault_of_ours(self) -> None:
        for role in (OPENER, ACCEPTOR):
            self.assertRefused(self.side(role), Error("moved", "away"), "moved", BarkerError)
