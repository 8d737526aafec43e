"""Peers: a link to every instance of a service, for as long as it is there.

Senders to a service need that, and so do its readers. The directory sends the routes, and so the
instances; after each break of a link a `barker.process.dialing.Dialer` opens it again.
"""

from barker.links.link import Conversation, Link
from barker.process.dialing import Dialer
from barker.process.node import Node
from barker.routing.routes import Route, Target

# An entry that was refused as another instance's is retried after this: about as long as a change
# of routes takes to reach all nodes.
ASK_AGAIN_S = 0.1
# A stream that can't be read, for lack of room, is requested again after this.
READ_AGAIN_S = 1.0


class Peers(Conversation):
    """A link to every `wanted` target of one service, opened again whenever it breaks."""

    def __init__(self, node: Node, service: str) -> None:
        super().__init__()
        self.node = node
        self.service = service
        self.peers: dict[str, Link] = {}  # links that are up, by name of the instance
        self._dialers: dict[str, Dialer] = {}
        node.watch(service, self._routes_changed)

    @property
    def route(self) -> Route:
        return self.node.routes.route(self.service)

    def wanted(self, target: Target) -> bool:
        """Is a link to this target needed?"""
        return True

    def peers_changed(self) -> None:
        """Called when a link came up or went down, or routes changed."""

    def dial(self) -> None:
        """Begin and end dialling, by the current route and `wanted`."""
        targets = {t.name: t for t in self.route.targets if self.wanted(t)}
        for name, dialer in list(self._dialers.items()):
            target = targets.get(name)
            if target is None or dialer.place != (target.host, target.port):
                self._dialers.pop(name).close()
                self.peers.pop(name, None)
        for name, target in targets.items():
            if name not in self._dialers:
                self._dialers[name] = Dialer(self.node, target.host, target.port, self, name)

    def _routes_changed(self) -> None:
        self.dial()
        self.peers_changed()

    def link_up(self, link: Link) -> None:
        self.peers[link.name] = link
        self.peers_changed()

    def link_down(self, link: Link) -> None:
        name = link.name
        if self.peers.get(name) is link:
            del self.peers[name]
            self.peers_changed()
