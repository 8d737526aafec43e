"""The keys: made once, at one place; what is none is refused, with the reason."""

import os
import pathlib
from unittest import mock

from barker.disk.files import StateError
from barker.disk.keys import beside, clients_key, secret
from barker.wire import rights
from tests.unit.test_files import StateCase

SECRET = b"ab" * 32


class KeysCase(StateCase):
    def key(self, name: str, content: bytes, mode: int = 0o600) -> pathlib.Path:
        path = self.write(name, content)
        path.chmod(mode)
        return path

    def assertRefused(self, path: pathlib.Path, why: str, *, as_client: bool = False) -> None:
        with self.assertRaises(StateError) as caught:
            (clients_key if as_client else secret)(self.state, path)
        self.assertTrue(str(caught.exception).startswith(f"{path}: "), caught.exception)
        self.assertIn(why, str(caught.exception))


class SecretTest(KeysCase):
    def test_it_is_made_once_for_our_eyes_only_and_the_clients_key_with_it(self) -> None:
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        key = secret(self.state)
        self.assertRegex(key, rb"\A[0-9a-f]{64}\Z")
        self.assertEqual(secret(self.state), key)
        self.assertEqual(clients_key(self.state), rights.clients_key(key))
        self.assertEqual(self.files(), ["secret", "secret.clients"])
        for name in self.files():
            self.assertMode(self.state / name, 0o600)
        self.assertMode(self.state, 0o700)

    def test_two_systems_have_two_secrets(self) -> None:
        self.assertNotEqual(secret(self.state), secret(self.state / "other"))

    def test_a_file_of_its_own_takes_the_place_of_the_folder_s(self) -> None:
        path = self.key("my secret", b"\n" + SECRET + b"\r\n")
        self.assertEqual(secret(self.state, path), SECRET)
        self.assertEqual(clients_key(self.state, beside(path)), rights.clients_key(SECRET))
        self.assertEqual(self.files(), ["my secret", "my secret.clients"])

    def test_a_secret_in_a_folder_that_is_for_reading_is_good_for_a_service(self) -> None:
        path = self.key("my secret", SECRET)
        with mock.patch("barker.disk.keys.make_once", side_effect=StateError("read-only")):
            self.assertEqual(secret(self.state, path), SECRET)
        path = self.key("secret", SECRET)
        with mock.patch("barker.disk.keys.make_once", side_effect=StateError("read-only")):
            self.assertRaises(StateError, secret, self.state)

    def test_a_mistyped_name_makes_no_secret(self) -> None:
        self.state.mkdir(parents=True)
        for as_client in (False, True):
            path = self.state / "mistyped"
            self.assertRefused(path, "no such file", as_client=as_client)
        self.assertEqual(self.files(), [])

    def test_a_client_that_comes_first_makes_both(self) -> None:
        key = clients_key(self.state)
        self.assertEqual(key, rights.clients_key(secret(self.state)))

    def test_a_client_does_not_read_the_secret(self) -> None:
        secret(self.state)
        key = clients_key(self.state)
        (self.state / "secret").write_bytes(b"no key at all")
        self.assertEqual(clients_key(self.state), key)

    def test_a_clients_key_of_another_secret_is_refused(self) -> None:
        secret(self.state)
        (self.state / "secret.clients").write_bytes(rights.clients_key(SECRET))
        with self.assertRaisesRegex(StateError, "secret.clients: it is not made of .*delete it"):
            secret(self.state)


class BadKeyTest(KeysCase):
    def test_what_is_no_key_is_refused_with_the_reason(self) -> None:
        for content, why in (
            (b"", "empty"),
            (b" \n", "empty"),
            (b"0" * 64, "all zeros"),
            (b"\0" * 65, "all zeros"),
            (b"x" * 64, "it is no key"),
            (SECRET[:-1], "it is no key"),
            (SECRET + b"00", "it is no key"),
            (SECRET + b"\n" + SECRET, "it is no key"),
            (rights.clients_key(SECRET), "clients' key"),
        ):
            self.assertRefused(self.key("key", content), why)
        for content, why in (
            (b"", "empty"),
            (rights.CLIENTS_PREFIX + b"0" * 64, "all zeros"),
            (SECRET, "services' key; a client uses"),
        ):
            self.assertRefused(self.key("key", content), why, as_client=True)

    def test_a_file_that_is_open_to_others_is_refused(self) -> None:
        for mode in (0o640, 0o604, 0o620):
            self.assertRefused(self.key("key", SECRET, mode), "open to others; chmod 600")

    def test_what_is_no_plain_file_is_refused(self) -> None:
        real = self.key("real", SECRET)
        link = self.state / "link"
        link.symlink_to(real)
        self.assertRefused(link, "link")
        os.mkfifo(self.state / "fifo", 0o600)
        self.assertRefused(self.state / "fifo", "plain file")
        self.assertRefused(self.state, "")

    def test_a_link_in_the_state_folder_is_not_followed(self) -> None:
        elsewhere = self.key("elsewhere", SECRET)
        (self.state / "secret").symlink_to(elsewhere)
        with self.assertRaisesRegex(StateError, "link"):
            secret(self.state)
