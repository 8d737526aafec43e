"""Health: a service that can't do its part leaves the directory, as long as others are there.

Registration is the only sign of health that peers see. So a service that has not been able to do
its part for a while unregisters, and others do it. The last one stays, since it is better than
none. It registers again when it has been well for as long, or when no other is left.
"""

import random
from collections.abc import Callable

from barker.process.node import log
from barker.process.service import Service

# It must be ill for so long, or well again. Peers wait for it a little longer than that: within
# three heartbeats, others have its part.
PATIENCE_HEARTBEATS = 2.0
# And a random time more: of two that fall ill together, only one leaves.
SPREAD_HEARTBEATS = 0.5


class Health:
    """Registers and unregisters one service at `address`. `look` is to be called often."""

    def __init__(
        self, service: Service, address: str, policy: str, illness: Callable[[], str]
    ) -> None:
        """`illness` returns why the service can't do its part now; "" if it can."""
        self._service = service
        self._address, self._policy = address, policy
        self._illness = illness
        self._begun = False
        self._since = 0.0  # when its health last agreed with its registration
        self._patience_s = 0.0
        self.is_out = False  # it has unregistered for its health

    def begin(self) -> None:
        """It is registered from now on."""
        self._begun = True
        self._wait(self._service.now())
        self._service.serve(self._address, self._policy)

    def end(self) -> None:
        """It is no longer registered, whatever its health."""
        self._begun = self.is_out = False
        self._service.unserve(self._address)

    def look(self) -> None:
        """Unregister it, or register it again, if it is time."""
        if not self._begun:
            return
        now, illness = self._service.now(), self._illness()
        if bool(illness) == self.is_out:
            self._wait(now)
        lasts = now - self._since > self._patience_s
        if not self.is_out:
            if lasts and self._others():
                self.is_out = True
                self._wait(now)
                log.warning("%s; leaving %s to others meanwhile", illness, self._address)
                self._service.unserve(self._address)
        elif lasts or not self._others():
            self.is_out = False
            self._wait(now)
            log.info("serving %s again", self._address)
            self._service.serve(self._address, self._policy)

    def _wait(self, now: float) -> None:
        """Begin the wait: its health must stay the same for a while before anything is done."""
        self._since = now
        spread = random.uniform(0, SPREAD_HEARTBEATS)
        self._patience_s = (PATIENCE_HEARTBEATS + spread) * self._service.heartbeat_s

    def _others(self) -> bool:
        """Is another one registered, as far as we know from the directory?"""
        name = self._service.name
        route = self._service.routes.route(self._address)
        return self._service.has_directory and any(t.name != name for t in route.targets)
