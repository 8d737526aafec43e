"""The vocabulary of dogs."""

import random
import re
import unittest

from barker.autobark import VOCABULARY, Vocabulary
from barker.wire.bodies import MAX_CONTENT_CHARS, Bark, encode_bark, parse_bark


class VocabularyTest(unittest.TestCase):
    def setUp(self) -> None:
        self.text = VOCABULARY.read_text(encoding="utf-8")
        self.vocabulary = Vocabulary(self.text)
        self.users = ["x" * 20]  # the longest name there may be

    def test_every_template_fits_a_bark_with_its_longest_words(self) -> None:
        words = self.vocabulary._words
        longest = {name: max(some, key=len) for name, some in words.items()}
        self.assertGreater(len(self.vocabulary.templates), 20)
        for template in self.vocabulary.templates:
            text = template.format(user=self.users[0], **longest)
            self.assertLessEqual(len(text), MAX_CONTENT_CHARS, template)
            self.assertTrue(text.isprintable() and text == text.strip(), template)

    def test_no_word_is_unknown_and_none_is_idle(self) -> None:
        asked = set(re.findall(r"\{(\w+)\}", "\n".join(self.vocabulary.templates)))
        self.assertEqual(asked, {*self.vocabulary._words, "user"})
        for name, some in self.vocabulary._words.items():
            self.assertGreater(len(some), 1, name)
            self.assertEqual(len(set(some)), len(some), f"{name} has a word twice")
            self.assertTrue(all(some), f"{name} has an empty word")
            self.assertNotRegex("".join(some), r"[{}]")

    def test_a_template_that_asks_for_unknown_words_is_an_error(self) -> None:
        with self.assertRaisesRegex(ValueError, "no words for 'cat'"):
            Vocabulary("thing: stick | ball\nThe {thing} saw the {cat}.")

    def test_what_it_says_is_a_bark(self) -> None:
        dice = random.Random(1)
        for _ in range(500):
            said = Bark("x", "ark3", self.vocabulary.say(dice, self.users), 1)
            self.assertEqual(parse_bark(encode_bark(said)), said)
