"""One UDP socket for several users of it: the generations of an agent, or the thousands of agents of a mux."""

from __future__ import annotations

from collections.abc import Callable

from ..runtime.network import Address, DatagramSocket, Receiver
from ..runtime.shared import Shared
from ..train import Train
from .candidate import without_zone
from .stun import is_stun, peek_transaction

# More addresses than this nobody checks: a check list has a hundred pairs.
_MAX_ASKED = 256


class UDPEndpoint:
    """One user's share of a port: a datagram socket that gets what is meant for this user fragment.

    Its owner tells what STUN cannot: ``expects(transaction_id)`` says whether a response belongs to it, and
    :meth:`claim` that the peer has been proved to be at an address, so that what comes from there belongs to it too.
    """

    def __init__(self, port: UDPPort, ufrag: str) -> None:
        self.port = port
        self.ufrag = ufrag
        self.expects: Callable[[bytes], bool] = lambda transaction_id: False
        self.receiver: Receiver | None = None
        self.asked: set[Address] = set()
        self.claims: set[Address] = set()

    @property
    def local_address(self) -> Address:
        return self.port.local_address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self.receiver = receiver
        self.port.route()

    def send(self, train: Train, address: Address) -> None:
        if train.data[0] < 2 and address not in self.asked:
            self.port.ask(self, address)
        self.port.socket.send(train, address)

    def claim(self, address: Address) -> None:
        """ICE has proved that the peer is at ``address``."""
        self.port.claim(self, address)

    def close(self) -> None:
        self.receiver = None
        self.port.leave(self)


class UDPPort:
    """A socket and its endpoints. The only endpoint gets everything; several get what their names and proofs say.

    A Binding request names its receiver (RFC 8445 section 7.2.2), a response is known by its transaction, and
    anything else goes to whom its source was last proved to belong to. What belongs to nobody is counted and dropped.
    """

    def __init__(self, socket: DatagramSocket, shared: Shared, *, is_shared: bool = False) -> None:
        """``is_shared`` keeps the socket when the last endpoint leaves."""
        self.socket = socket
        self.dropped = 0
        """Datagrams that were for nobody."""
        self._shared = shared
        self._is_shared = is_shared
        self._is_link_local = "%" in socket.local_address[0]
        self._endpoints: dict[str, UDPEndpoint] = {}
        self._asked: dict[Address, list[UDPEndpoint]] = {}
        self._claims: dict[Address, list[UDPEndpoint]] = {}
        self.is_closed = False

    @property
    def local_address(self) -> Address:
        return self.socket.local_address

    def open_endpoint(self, ufrag: str) -> UDPEndpoint:
        endpoint = self._endpoints[ufrag] = UDPEndpoint(self, ufrag)
        self.route()
        return endpoint

    def close(self) -> None:
        self.is_closed = True
        self._endpoints.clear()
        self._asked.clear()
        self._claims.clear()
        self.socket.set_receiver(None)
        self.socket.close()

    # What endpoints call

    def route(self) -> None:
        """Whom the socket hands things to, now that endpoints have come or gone."""
        if self.is_closed:
            return
        if len(self._endpoints) == 1 and not self._is_link_local:
            [endpoint] = self._endpoints.values()
            self.socket.set_receiver(endpoint.receiver)
        else:
            self.socket.set_receiver(self._receive)

    def ask(self, endpoint: UDPEndpoint, address: Address) -> None:
        if len(endpoint.asked) < _MAX_ASKED:
            endpoint.asked.add(address)
            self._asked.setdefault(self._key(address), []).append(endpoint)

    def claim(self, endpoint: UDPEndpoint, address: Address) -> None:
        address = self._key(address)
        claims = self._claims.setdefault(address, [])
        if endpoint in claims:
            claims.remove(endpoint)
        claims.append(endpoint)
        endpoint.claims.add(address)

    def leave(self, endpoint: UDPEndpoint) -> None:
        if self._endpoints.get(endpoint.ufrag) is not endpoint:
            return
        del self._endpoints[endpoint.ufrag]
        for addresses, table in ((endpoint.asked, self._asked), (endpoint.claims, self._claims)):
            for address in map(self._key, addresses):
                users = table.get(address, [])
                if endpoint in users:
                    users.remove(endpoint)
                if not users:
                    table.pop(address, None)
        if self._endpoints or self._is_shared:
            self.route()
        else:
            self.close()

    # What the socket calls

    def _receive(self, train: Train, source: Address, now: float) -> None:
        source = self._key(source)
        first = train.data[0]
        if first > 3 and (len(train.data) <= train.segment_size or min(train.first_bytes()) > 3):
            self._hand(self._owner_of(source), train, source, now)
            return
        for datagram in train:
            owner = self._owner_of_stun(datagram, source) if is_stun(datagram) else self._owner_of(source)
            self._hand(owner, Train.of(datagram), source, now)

    def _hand(self, owner: UDPEndpoint | None, train: Train, source: Address, now: float) -> None:
        if owner is None or owner.receiver is None:
            self.dropped += len(train)
        else:
            owner.receiver(train, source, now)

    def _owner_of(self, source: Address) -> UDPEndpoint | None:
        claims = self._claims.get(source)
        if claims:
            return claims[-1]
        if len(self._endpoints) == 1:
            [only] = self._endpoints.values()
            return only
        return None

    def _owner_of_stun(self, datagram: memoryview, source: Address) -> UDPEndpoint | None:
        transaction_id, ufrag = peek_transaction(datagram)
        if ufrag is not None:
            return self._endpoints.get(ufrag)
        for endpoint in self._asked.get(source, ()):
            if endpoint.expects(transaction_id):
                return endpoint
        return None

    def _key(self, address: Address) -> Address:
        """A link-local peer's address without the zone, which is the socket's own."""
        return (without_zone(address[0]), address[1]) if self._is_link_local else address
