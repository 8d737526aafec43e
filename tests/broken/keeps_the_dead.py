"""A directory that goes on telling of instances whose links have ended."""

from barker.directory import Directory
from barker.links.link import Link

ROLE = "directory"
FAILS = {"gone", "ordered"}


def break_it() -> None:
    def link_down(self: Directory, link: Link) -> None:
        self._watchers.pop(link, None)
        self._resolvers.pop(link, None)

    Directory.link_down = link_down  # type: ignore[method-assign]
