"""An inbox that marks nothing as late."""

from barker.manifold.timelines import Entry, Timeline

ROLE = "inbox"
FAILS = {"late"}


def break_it() -> None:
    take = Timeline.take

    def unmarked(self: Timeline, entry: Entry) -> bool:
        entry.late = False
        return take(self, entry)

    Timeline.take = unmarked  # type: ignore[method-assign]
