"""Handlers: a type checker sees both ends of them, what is decoded and what takes it.

mypy reads this file, too, and reports a `type: ignore` at a line where it finds no error. So each
of these comments says that mypy refuses its line.
"""

import unittest

from barker.links.link import Conversation, Link
from barker.wire.ops import Ack, Item, Put, Refuse


def on_put(link: Link, put: Put) -> None: ...
def on_item(link: Link, item: Item) -> None: ...
def on_nothing(link: Link) -> None: ...
def on_acks(link: Link, answer: Ack | Refuse) -> None: ...


class HandlersTest(unittest.TestCase):
    def test_a_handler_is_found_by_the_type_that_it_takes(self) -> None:
        conversation = Conversation()
        conversation.add_handler(Put, on_put)
        conversation.add_handler(Ack, on_acks)
        self.assertEqual(conversation.handlers, {Put: on_put, Ack: on_acks})

    def test_a_type_checker_refuses_what_does_not_fit(self) -> None:
        add = Conversation().add_handler
        add(Ack, on_put)  # type: ignore[arg-type]
        add(Put, on_nothing)  # type: ignore[arg-type]
        add(Item, on_item)  # type: ignore[type-var]
        add("put", on_put)  # type: ignore[arg-type]


class Takes(Conversation):
    def __init__(self) -> None:
        super().__init__()
        self.add_handler(Put, self.on_put)

    def on_put(self, link: Link, put: Put) -> None: ...


class TakesAnother(Takes):
    def on_put(self, link: Link, put: Ack) -> None: ...  # type: ignore[override]
