"""One listening TCP port for many agents: each connection goes to the agent that its first check names."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from ..runtime.network import Address, Listener, Stream
from ..runtime.shared import Shared
from ..train import Train
from .stun import peek_transaction
from .tcp import MAX_CONNECTIONS, Dial, TCPConnection, TCPEndpoint

# How long a new connection may take to say whom it is for. An agent does so at once, and three losses in a row take
# seven seconds to be made good. Who says nothing must not hold descriptors for longer.
_FIRST_CHECK_TIMEOUT = 10.0


@dataclass(slots=True)
class _Newcomer:
    network: str
    find: Callable[[str], TCPEndpoint | None]
    deadline: float


class Lobby:
    """Where connections wait until they have said whom they are for, and where all are counted.

    ``most`` is how many there may be, ``most_of_network`` how many from one network: from an IPv4 address or an IPv6
    /64, the least that somebody has. Of newcomers a sixteenth of both may wait. Where they are too many the oldest
    goes, which is hardly ever an agent, since agents do not wait.
    """

    def __init__(self, shared: Shared, most: int, most_of_network: int) -> None:
        self._shared = shared
        self._most = most
        self._most_of_network = most_of_network
        self._most_new = max(16, most // 16)
        self._most_new_of_network = max(4, most_of_network // 16)
        self._of_network = Counter[str]()
        self._new: dict[TCPConnection, _Newcomer] = {}
        self._new_of_network: dict[str, dict[TCPConnection, None]] = {}
        self._inside: dict[TCPConnection, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.refused = 0
        """Connections that were closed because there were too many, or because they named nobody in time."""

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._inside)

    def enter(self, stream: Stream, find: Callable[[str], TCPEndpoint | None]) -> None:
        """A connection has come in; ``find`` is asked for the endpoint of the user fragment that it names."""
        connection = TCPConnection(stream, self._shared)
        network = _network_of(connection.remote_address[0])
        neighbours = self._new_of_network.get(network, {})
        if len(neighbours) >= self._most_new_of_network:
            self._turn_away(next(iter(neighbours)))
        elif len(self._new) >= self._most_new:
            self._turn_away(next(iter(self._new)))
        if self.count >= self._most or self._of_network[network] >= self._most_of_network:
            self.refused += 1
            connection.close()
            return
        self._inside[connection] = network
        self._of_network[network] += 1
        deadline = self._shared.loop.time() + _FIRST_CHECK_TIMEOUT
        self._new[connection] = _Newcomer(network, find, deadline)
        self._new_of_network.setdefault(network, {})[connection] = None
        connection.start(self._receive, lambda connection, reason: self._turn_away(connection))
        if self._timer is None:
            self._timer = self._shared.loop.call_at(deadline, self._on_timer)

    def leave(self, connection: TCPConnection) -> None:
        """A connection is over. One that has not come in here, but was opened from here, is none of those counted."""
        network = self._inside.pop(connection, None)
        if network is not None:
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]

    def close(self) -> None:
        """Turn away all who wait."""
        for connection in list(self._new):
            self._turn_away(connection)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _receive(self, connection: TCPConnection, train: Train, now: float) -> None:
        _, ufrag = peek_transaction(next(iter(train)))
        endpoint = self._new[connection].find(ufrag) if ufrag else None
        if endpoint is None:
            self._turn_away(connection)
            return
        self._forget(connection)
        endpoint.adopt(connection)
        endpoint.receive(connection, train, now)

    def _turn_away(self, connection: TCPConnection) -> None:
        self.refused += 1
        self._forget(connection)
        connection.close()
        self.leave(connection)

    def _forget(self, connection: TCPConnection) -> None:
        network = self._new.pop(connection).network
        neighbours = self._new_of_network[network]
        del neighbours[connection]
        if not neighbours:
            del self._new_of_network[network]

    def _on_timer(self) -> None:
        self._timer = None
        now = self._shared.loop.time()
        with self._shared.step:
            for connection, newcomer in list(self._new.items()):
                if newcomer.deadline > now:
                    self._timer = self._shared.loop.call_at(newcomer.deadline, self._on_timer)
                    break
                self._turn_away(connection)


def _network_of(host: str) -> str:
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(host)) >> 64 << 64))


class TCPPort:
    """A listener and the endpoints that share it."""

    def __init__(self, listener: Listener, shared: Shared, lobby: Lobby | None = None) -> None:
        """``lobby`` is that of all ports of a mux. A port without one has its own, and its last endpoint closes it."""
        self._listener = listener
        self._shared = shared
        self._has_own_lobby = lobby is None
        self._lobby = lobby or Lobby(shared, MAX_CONNECTIONS, MAX_CONNECTIONS)
        self._endpoints: dict[str, TCPEndpoint] = {}
        self._is_closed = False
        listener.set_acceptor(lambda stream: self._lobby.enter(stream, self._endpoints.get))

    @property
    def local_address(self) -> Address:
        return self._listener.local_address

    def has(self, ufrag: str) -> bool:
        return ufrag in self._endpoints

    def open_endpoint(self, ufrag: str, dial: Dial | None = None) -> TCPEndpoint:
        """What takes the connections that name a user fragment, which nobody else has.

        With ``dial`` it opens connections from the port as well (simultaneous open).
        """
        endpoint = TCPEndpoint(self.local_address, self._shared, dial, is_simultaneous=dial is not None)
        endpoint.on_connection_closed = self._lobby.leave
        endpoint.on_closed = lambda: self._leave(ufrag)
        self._endpoints[ufrag] = endpoint
        return endpoint

    def close(self, reason: str) -> None:
        """Close the listener and all connections; those who use them are told the reason."""
        if not self._is_closed:
            self._is_closed = True
            self._listener.close()
            for endpoint in list(self._endpoints.values()):
                endpoint.lose(reason)
            if self._has_own_lobby:
                self._lobby.close()

    def _leave(self, ufrag: str) -> None:
        del self._endpoints[ufrag]
        if not self._endpoints and self._has_own_lobby:
            self.close("nobody uses it")
