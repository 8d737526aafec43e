"""The greeting, both ends without a socket; its proof, and what that does not hold for."""

import hashlib
import hmac
import unittest

from barker.links import greeting
from barker.links.greeting import ACCEPTOR, OPENER, Greeting, Identity, Peer
from barker.wire import protocol
from barker.wire.messages import decode, encode
from barker.wire.ops import Error, Hello, Op, Ping, Proof
from barker.wire.protocol import BarkerError, ProtocolError
from barker.wire.rights import CLIENT, SERVICE, clients_key


class ProofTest(unittest.TestCase):
    SECRET, A, B = b"s" * 64, "a" * 32, "b" * 32

    def test_the_proof_is_hmac_sha_256_over_version_end_role_and_nonces(self) -> None:
        for end in (OPENER, ACCEPTOR):
            for role in (CLIENT, SERVICE):
                text = f"barker 1 {end} {role} {self.A} {self.B}".encode()
                mac = hmac.new(self.SECRET, text, hashlib.sha256).hexdigest()
                what = (self.SECRET, end, role, self.A, self.B)
                self.assertEqual(greeting.mac(*what), mac)
                self.assertTrue(greeting.holds(mac, *what))
                self.assertEqual(decode(encode(Proof(mac, "x"))), Proof(mac, "x"))

    def test_a_proof_holds_for_no_other_key_end_role_or_nonce(self) -> None:
        right = (self.SECRET, OPENER, SERVICE, self.A, self.B)
        mac = greeting.mac(*right)
        for other in (
            (self.SECRET, ACCEPTOR, SERVICE, self.A, self.B),  # sent back to us
            (self.SECRET, ACCEPTOR, SERVICE, self.B, self.A),
            (self.SECRET, OPENER, SERVICE, self.B, self.A),
            (self.SECRET, OPENER, SERVICE, self.A, self.A),
            (self.SECRET, OPENER, CLIENT, self.A, self.B),
            (self.SECRET[:-1], OPENER, SERVICE, self.A, self.B),
            (clients_key(self.SECRET), OPENER, SERVICE, self.A, self.B),
        ):
            self.assertFalse(greeting.holds(mac, *other))
        self.assertFalse(greeting.holds(mac[:-1], *right))

    def test_the_clients_key_is_hmac_sha_256_of_a_label(self) -> None:
        digest = hmac.new(self.SECRET, b"barker clients' key", hashlib.sha256).hexdigest()
        self.assertEqual(clients_key(self.SECRET), b"clients-" + digest.encode())


class GreetingTest(unittest.TestCase):
    SECRET = b"s" * 64
    NONCES = {OPENER: "a" * 32, ACCEPTOR: "b" * 32}

    def end(self, end: str, key: bytes = SECRET, role: str = SERVICE) -> Greeting:
        return Greeting(end, Identity(end, key, "e" * 16, role), self.NONCES[end])

    def assertRefused(
        self, end: Greeting, message: Op, code: str, kind: type[BarkerError] = ProtocolError
    ) -> None:
        with self.assertRaises(kind) as caught:
            end.receive(message)
        self.assertEqual(caught.exception.code, code)
        self.assertIsNone(end.peer)

    def meet(self, opener: Greeting, acceptor: Greeting) -> tuple[Op, ...]:
        """All that is said, in order."""
        self.assertEqual(acceptor.begin(), [])
        (hello,) = opener.begin()
        (back,) = acceptor.receive(hello)
        (proof,) = opener.receive(back)
        self.assertEqual((opener.peer, acceptor.peer), (None, None), "no verdict without a proof")
        (answer,) = acceptor.receive(proof)
        self.assertIsNone(opener.peer)
        self.assertEqual(opener.receive(answer), [])
        return hello, back, proof, answer

    def test_the_opener_proves_first_and_each_learns_who_the_other_is(self) -> None:
        opener, acceptor = self.end(OPENER), self.end(ACCEPTOR)
        said = self.meet(opener, acceptor)
        self.assertEqual([type(m) for m in said], [Hello, Hello, Proof, Proof])
        self.assertEqual(acceptor.peer, Peer(OPENER, SERVICE, "e" * 16))
        self.assertEqual(opener.peer, Peer(ACCEPTOR, SERVICE, "e" * 16))

    def test_a_client_and_a_service_meet_with_the_clients_key(self) -> None:
        opener = self.end(OPENER, clients_key(self.SECRET), CLIENT)
        acceptor = self.end(ACCEPTOR)
        self.meet(opener, acceptor)
        self.assertEqual(acceptor.peer, Peer(OPENER, CLIENT, "e" * 16))
        self.assertEqual(opener.peer, Peer(ACCEPTOR, SERVICE, "e" * 16))

    def test_the_clients_key_makes_no_service(self) -> None:
        opener, acceptor = self.end(OPENER, clients_key(self.SECRET)), self.end(ACCEPTOR)
        (back,) = acceptor.receive(*opener.begin())
        (proof,) = opener.receive(back)
        self.assertRefused(acceptor, proof, protocol.BAD_PROOF)

    def test_a_hello_tells_nothing_but_version_role_and_nonce(self) -> None:
        hello, back, *_ = self.meet(self.end(OPENER), self.end(ACCEPTOR))
        self.assertEqual(
            encode(hello), b'{"op":"hello","v":1,"role":"service","nonce":"%b"}' % (b"a" * 32)
        )
        self.assertEqual(back, Hello(1, SERVICE, self.NONCES[ACCEPTOR]))

    def test_another_secret_is_refused_and_nothing_is_proved_to_it(self) -> None:
        opener, acceptor = self.end(OPENER, b"x" * 64), self.end(ACCEPTOR)
        (back,) = acceptor.receive(*opener.begin())
        (proof,) = opener.receive(back)
        self.assertRefused(acceptor, proof, protocol.BAD_PROOF)

    def test_an_opener_s_own_proof_is_no_answer_to_it(self) -> None:
        opener = self.end(OPENER)
        opener.begin()
        (proof,) = opener.receive(Hello(1, SERVICE, self.NONCES[OPENER]))
        self.assertRefused(opener, proof, protocol.BAD_PROOF)

    def test_what_comes_out_of_turn_is_refused(self) -> None:
        hello = Hello(1, SERVICE, "c" * 32)
        for end in (OPENER, ACCEPTOR):
            self.assertRefused(self.end(end), Ping(), protocol.PROTOCOL)
            self.assertRefused(self.end(end), Proof("0" * 64, "x"), protocol.PROTOCOL)
            self.assertRefused(self.end(end), hello._replace(v=2), protocol.BAD_VERSION)
            late = self.end(end)
            late.receive(hello)
            self.assertRefused(late, hello, protocol.PROTOCOL)

    def test_an_error_is_a_no_and_no_fault_of_ours(self) -> None:
        for end in (OPENER, ACCEPTOR):
            self.assertRefused(self.end(end), Error("moved", "away"), "moved", BarkerError)
