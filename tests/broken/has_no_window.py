"""A bizlogic that takes, and sends, any number of entries without an ack."""

from barker.wire import protocol

ROLE = "bizlogic"
FAILS = {"window of outboxes", "window to inboxes"}


def break_it() -> None:
    protocol.UNACKED_WINDOW = 1_000_000
