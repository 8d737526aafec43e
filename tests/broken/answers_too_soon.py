"""A directory that tells who is there before all could come back to it."""

from barker.directory import Directory

ROLE = "directory"
FAILS = {"settling"}


def break_it() -> None:
    Directory._settle = lambda self: None  # type: ignore[method-assign]
