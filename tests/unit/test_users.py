"""Users: a small world in which everybody has something to read, and its text form."""

import hashlib
import json
import unittest

from barker.disk import users
from barker.disk.users import DOGS, PEOPLE, World
from barker.wire.protocol import USER_NAME


class GenerateTest(unittest.TestCase):
    WORLD = users.generate()
    SEEDS = (0, 1, 3, 4711)

    def test_about_a_hundred_dogs_and_the_three(self) -> None:
        self.assertEqual(PEOPLE, ("ark3", "rdl", "rhs"))
        self.assertTrue(90 <= len(DOGS) <= 120, len(DOGS))
        self.assertEqual(sorted(self.WORLD.names), sorted({*PEOPLE, *DOGS}))
        self.assertEqual(len(self.WORLD.names), len(PEOPLE) + len(DOGS))

    def test_every_name_is_a_user_name(self) -> None:
        for name in self.WORLD.names:
            self.assertTrue(USER_NAME.fullmatch(name), name)

    def test_everyone_follows_at_least_two_of_the_three(self) -> None:
        for seed in self.SEEDS:
            for user, followed in users.generate(seed).follows.items():
                self.assertGreaterEqual(len({*followed} & {*PEOPLE}), 2, (seed, user))

    def test_every_dog_is_followed_by_at_least_two_of_the_three(self) -> None:
        for seed in self.SEEDS:
            world = users.generate(seed)
            for dog in DOGS:
                self.assertGreaterEqual(len({*world.followers(dog)} & {*PEOPLE}), 2, (seed, dog))

    def test_nobody_follows_themselves_a_stranger_or_anyone_twice(self) -> None:
        for user, followed in self.WORLD.follows.items():
            self.assertNotIn(user, followed)
            self.assertLessEqual({*followed}, {*self.WORLD.names})
            self.assertEqual(len({*followed}), len(followed))

    def test_a_seed_means_one_world_in_every_process_and_python(self) -> None:
        digest = hashlib.sha256(users.dump(self.WORLD).encode()).hexdigest()
        self.assertEqual(digest, "c6166875d99fa498e6e1cdc825e707f2f909ff59dd7a9a97b9e6eaddc0822689")
        self.assertNotEqual(users.generate(1).follows, users.generate(2).follows)


class WorldTest(unittest.TestCase):
    def test_followers_are_the_other_side_of_follows(self) -> None:
        world = users.generate()
        for author in world.names:
            expected = {user for user, followed in world.follows.items() if author in followed}
            self.assertEqual({*world.followers(author)}, expected)
            self.assertEqual(len(world.followers(author)), len(expected))

    def test_strangers_are_not_there_and_have_no_followers(self) -> None:
        world = World({"a": ["b"], "b": []})
        self.assertEqual(("a" in world, "c" in world), (True, False))
        self.assertEqual((world.followers("b"), world.followers("c")), (("a",), ()))


class TextTest(unittest.TestCase):
    def test_a_world_survives_its_text(self) -> None:
        few = World({"b": ["a"], "a": ["b"]})
        for world in (users.generate(), few, World({"a": []}), World({})):
            again = users.parse(users.dump(world))
            self.assertEqual((again.follows, again.names), (world.follows, world.names))

    def test_the_text_has_a_line_for_each_user(self) -> None:
        world = users.generate()
        first, *lines, last = users.dump(world).splitlines()
        self.assertEqual((first, last), ("{", "}"))
        for line, name in zip(lines, world.names, strict=True):
            followed = json.loads("{" + line.rstrip(",") + "}")
            self.assertEqual(followed, {name: list(world.follows[name])})

    def test_what_is_wrong_is_said_with_the_name_of_the_entry(self) -> None:
        for text, complaint in (
            ("", "Expecting value"),
            ("{", "Expecting property name"),
            ("[" * 100_000, "nested too deep"),
            ("[]", "one JSON object"),
            ("null", "one JSON object"),
            ('{"Ark3": []}', "'Ark3' is no user name"),
            ('{"": []}', "'' is no user name"),
            ('{"a\\n": []}', "is no user name"),
            ('{"%s": []}' % ("a" * 21), "is no user name"),
            ('{"a": "b", "b": []}', "what a follows is not a list"),
            ('{"a": null}', "what a follows is not a list"),
            ('{"a": [1]}', "what a follows is not a list"),
            ('{"a": [["a"]]}', "what a follows is not a list"),
            ('{"a": ["b"]}', "a follows a user that does not exist"),
            ('{"a": ["b", "b"], "b": []}', "a follows a user twice"),
        ):
            with self.assertRaises(ValueError, msg=text[:40]) as caught:
                users.parse(text)
            self.assertIn(complaint, str(caught.exception))
