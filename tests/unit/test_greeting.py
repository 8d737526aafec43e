"""The greeting's proof: what it is made of, and what it does not hold for."""

import hashlib
import hmac
import unittest

from barker.links import greeting
from barker.wire.messages import decode, encode
from barker.wire.ops import Proof


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
