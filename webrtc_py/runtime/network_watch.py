"""Tells when the system's interfaces change: an event where the system gives one, a look now and then elsewhere.

Linux says on a netlink socket that links or addresses have changed. Its messages are not read but counted as one hint
to look, because they also tell of much that changes nothing: a router's advertisement renews each address it has given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

from .interfaces import forget_recent_interfaces, system_interfaces
from .network import Interface
from .shared import Shared

logger = logging.getLogger(__name__)

# linux/rtnetlink.h: links, IPv4 addresses, IPv6 addresses.
_GROUPS = 0x1 | 0x10 | 0x100

# An interface that comes up tells of it many times. After this long, all that belongs together has happened.
_SETTLING_TIME = 0.2
_MAX_READS = 64


class NetworkWatch:
    """What all agents of a loop share: one netlink socket or one timer, closed with the last of them."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._watches: list[_Watch] = []
        self._known: list[Interface] = []
        self._timer: asyncio.TimerHandle | None = None
        self._hints: socket.socket | None = None

    @staticmethod
    def add(on_change: Callable[[], None], interval: float) -> _Watch:
        """Watch with the running loop's object."""
        shared = Shared.of_running_loop()
        watching = _of_loop.get(shared.loop)
        if watching is None:
            watching = _of_loop[shared.loop] = NetworkWatch(shared)
        watch = _Watch(watching, on_change, interval)
        watching._watches.append(watch)
        if len(watching._watches) == 1:
            watching._known = watching._find()
            watching._hints = _open_netlink()
            if watching._hints is not None:
                shared.loop.add_reader(watching._hints.fileno(), watching._on_hint)
        if watching._hints is None:
            watching._look_in(watch.interval)
        return watch

    def remove(self, watch: _Watch) -> None:
        if watch not in self._watches:
            return  # closed before; the loop may have another object by now
        self._watches.remove(watch)
        if self._watches:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._hints is not None:
            self._shared.loop.remove_reader(self._hints.fileno())
            self._hints.close()
            self._hints = None
        _of_loop.pop(self._shared.loop, None)

    def _on_hint(self) -> None:
        assert self._hints is not None
        # An error is that nothing is left, or that there was more than the socket could hold: a hint as well.
        with contextlib.suppress(OSError):
            for _ in range(_MAX_READS):
                self._hints.recv(8192)
        self._look_in(_SETTLING_TIME)

    def _look_in(self, seconds: float) -> None:
        """Look then, unless a look is due before: under a storm of hints the looks still come at their pace."""
        when = self._shared.loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = self._shared.loop.call_at(when, self._look)

    def _look(self) -> None:
        self._timer = None
        found = self._find()
        if self._hints is None:
            self._look_in(min(watch.interval for watch in self._watches))
        if found == self._known:
            return
        self._known = found
        forget_recent_interfaces()
        with self._shared.step:
            for watch in list(self._watches):
                watch.on_change()

    def _find(self) -> list[Interface]:
        """The interfaces, or those that are known where the system does not tell."""
        try:
            return system_interfaces()
        except OSError as error:
            logger.debug("the interfaces could not be read: %s", error)
            return self._known


class _Watch:
    """See :class:`webrtc_py.runtime.network.Watch`."""

    def __init__(self, watching: NetworkWatch, on_change: Callable[[], None], interval: float) -> None:
        self._watching = watching
        self.on_change = on_change
        self.interval = interval

    def close(self) -> None:
        self._watching.remove(self)


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, NetworkWatch] = WeakKeyDictionary()


def _open_netlink() -> socket.socket | None:
    """A socket that hears of changes, or None where there is none, a sandbox refuses it or the loop cannot watch it."""
    if sys.platform != "linux":
        return None
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    except OSError as error:
        logger.debug("changes of the network are polled for: no netlink socket: %s", error)
        return None
    try:
        sock.setblocking(False)
        sock.bind((0, _GROUPS))
    except OSError as error:
        sock.close()
        logger.debug("changes of the network are polled for: %s", error)
        return None
    return sock
