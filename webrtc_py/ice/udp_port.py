"""One UDP socket for several users of it: the generations of an agent, or the thousands of agents of a mux."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ..errors import InvalidAccessError
from ..mux import PROTOCOL_OF_FIRST_BYTE, Protocol
from ..runtime.network import Address, DatagramSocket, Receiver
from ..runtime.shared import Shared
from ..train import Train
from .candidate import without_zone
from .stun import is_stun, peek_transaction

# A request is answered within this time or never: it is longer than any is waited for (RFC 8489 section 6.2.1).
_ANSWER_TIME = 40.0
# A flight of DTLS for a few who are about to prove themselves.
_MAX_EARLY = 16
_MAX_EARLY_SIZE = 2048


class UDPEndpoint:
    """One user's share of a port: a datagram socket that gets what is meant for this user fragment.

    Its owner says what STUN cannot, by :meth:`claim`. ``on_lost`` is told when the port is closed under it, and why.
    """

    __slots__ = ("claims", "neighbour", "on_lost", "port", "receiver", "ufrag")

    def __init__(self, port: UDPPort, ufrag: str) -> None:
        self.port = port
        self.ufrag = ufrag
        self.receiver: Receiver | None = None
        self.claims: set[Address] = set()
        self.neighbour = ""
        """The user fragment of the peer, when that is an endpoint of the same port."""
        self.on_lost: Callable[[str], None] = lambda reason: None

    @property
    def local_address(self) -> Address:
        return self.port.local_address

    def set_receiver(self, receiver: Receiver | None) -> None:
        self.receiver = receiver
        self.port.route()

    def send(self, train: Train, address: Address) -> None:
        if train.data[0] < 2:
            self.port.expect_answer(train.data, self, address)
        elif self.neighbour and address == self.port.local_address:
            self.port.hand_over(self.neighbour, train)
            return
        self.port.socket.send(train, address)

    def claim(self, address: Address, *, has_answered: bool = True) -> None:
        """ICE has proved that the peer is at an address: what comes from there belongs to this endpoint.

        ``has_answered`` is whether the peer has answered a check there. Otherwise it has only made one, and whoever
        can forge a source can do that: so it takes no address that another endpoint has claimed.
        """
        self.port.claim(self, address, has_answered)

    def taken_by(self, address: Address) -> str:
        """The user fragment of the other endpoint that gets what comes from an address of our peer's, if one does."""
        return self.port.taken_from(self, address)

    def keep_claims(self, addresses: Collection[Address]) -> None:
        """Give up the claims to all other addresses: the peer is not looked for there any more."""
        for address in self.claims.difference(addresses):
            self.port.unclaim(self, address)

    def close(self) -> None:
        self.receiver = None
        self.port.leave(self)


class UDPPort:
    """A socket and its endpoints. The only endpoint gets everything; several get what their names and proofs say.

    A Binding request names its receiver (RFC 8445 section 7.2.2), a response belongs to who has asked, and anything
    else to whom its source was last proved to belong to. What belongs to nobody is counted and dropped, and costs no
    more with thousands of endpoints than with two.

    Two endpoints may have one remote address between them, when the peer's agents share a port too. Their checks are
    told apart all the same, but what else comes from there goes to the one that was proved last: between two shared
    ports there is room for one connection. Two endpoints of one port may be each other's peers, since what they send
    to the port itself need not leave it.
    """

    def __init__(self, socket: DatagramSocket, shared: Shared, *, is_shared: bool = False) -> None:
        """``is_shared`` keeps the socket when the last endpoint leaves, and nothing passes by the rules before."""
        self.socket = socket
        self.is_closed = False
        self.dropped = 0
        """Datagrams that were for nobody."""
        self._shared = shared
        self._is_shared = is_shared
        self._is_link_local = "%" in socket.local_address[0]
        self._endpoints: dict[str, UDPEndpoint] = {}
        self._claims: dict[Address, list[UDPEndpoint]] = {}
        # Whose a transaction is, where nothing else tells, and those of the time before.
        self._asked: dict[bytes, str] = {}
        self._asked_before: dict[bytes, str] = {}
        self._asked_until = 0.0
        self._early: tuple[tuple[Address, bytes], ...] = ()

    @property
    def local_address(self) -> Address:
        return self.socket.local_address

    def has(self, ufrag: str) -> bool:
        return ufrag in self._endpoints

    def open_endpoint(self, ufrag: str) -> UDPEndpoint:
        """InvalidAccessError when the user fragment is in use here."""
        if ufrag in self._endpoints:
            raise InvalidAccessError(f"the user fragment {ufrag!r} is used by another agent on this port")
        endpoint = self._endpoints[ufrag] = UDPEndpoint(self, ufrag)
        self.route()
        return endpoint

    def close(self, reason: str = "the port is closed") -> None:
        """Close the socket; the endpoints that are still there are told the reason."""
        if self.is_closed:
            return
        self.is_closed = True
        endpoints = list(self._endpoints.values())
        self._endpoints.clear()
        self._claims.clear()
        self._early = ()
        self.socket.set_receiver(None)
        self.socket.close()
        for endpoint in endpoints:
            endpoint.receiver = None
            endpoint.on_lost(reason)

    # What endpoints call

    def route(self) -> None:
        """Whom the socket hands things to, now that endpoints have come or gone."""
        if self.is_closed:
            return
        if len(self._endpoints) == 1 and not self._is_shared and not self._is_link_local:
            [endpoint] = self._endpoints.values()
            self.socket.set_receiver(endpoint.receiver)
        else:
            self.socket.set_receiver(self._receive)

    def expect_answer(self, request: memoryview, endpoint: UDPEndpoint, address: Address) -> None:
        """A STUN message of an endpoint's goes out: if it is a request, the answer belongs to that endpoint.

        Nothing needs to be kept for that where the endpoint is the only one, or the only one that has a peer there:
        of a thousand idle agents each asks for consent every few seconds.
        """
        if address == self.local_address:
            endpoint.neighbour = peek_transaction(request)[1] or endpoint.neighbour
        if (len(self._endpoints) == 1 and not self._is_shared) or self._claims.get(address) == [endpoint]:
            return
        now = self._shared.loop.time()
        if now >= self._asked_until:
            self._asked_before = self._asked if now < self._asked_until + _ANSWER_TIME else {}
            self._asked = {}
            self._asked_until = now + _ANSWER_TIME
        if request[0] == 0 and not request[1] & 0x10:
            self._asked[bytes(request[8:20])] = endpoint.ufrag

    def hand_over(self, ufrag: str, train: Train) -> None:
        """From one endpoint to another, whose peers have the port's own address: that tells nobody from nobody."""
        copy = Train(memoryview(bytes(train.data)), train.segment_size)
        self._shared.loop.call_soon(self._receive_inside, ufrag, copy)

    def _receive_inside(self, ufrag: str, train: Train) -> None:
        endpoint = self._endpoints.get(ufrag)
        if endpoint is None or endpoint.receiver is None:
            self.dropped += len(train)
            return
        with self._shared.step:
            endpoint.receiver(train, self.local_address, self._shared.loop.time())

    def claim(self, endpoint: UDPEndpoint, address: Address, has_answered: bool) -> None:
        claims = self._claims.setdefault(address, [])
        if endpoint in claims:
            if not has_answered:
                return
            claims.remove(endpoint)
        claims.insert(len(claims) if has_answered else 0, endpoint)
        endpoint.claims.add(address)
        if self._early and claims[-1] is endpoint:
            # Later: who is being told that the peer is there is in the middle of something.
            self._shared.step.post(lambda: self._hand_early(endpoint, address))

    def unclaim(self, endpoint: UDPEndpoint, address: Address) -> None:
        endpoint.claims.discard(address)
        claims = self._claims[address]
        claims.remove(endpoint)
        if not claims:
            del self._claims[address]

    def taken_from(self, endpoint: UDPEndpoint, address: Address) -> str:
        claims = self._claims.get(address, [])
        return claims[-1].ufrag if endpoint in claims[:-1] else ""

    def leave(self, endpoint: UDPEndpoint) -> None:
        if self._endpoints.get(endpoint.ufrag) is not endpoint:
            return
        del self._endpoints[endpoint.ufrag]
        endpoint.keep_claims(())
        if self._endpoints or self._is_shared:
            self.route()
        else:
            self.close()

    # What the socket calls

    def _receive(self, train: Train, source: Address, now: float) -> None:
        if self._is_link_local:
            # The zone is the socket's own; the peer's candidate does not have it.
            source = without_zone(source[0]), source[1]
        data = train.data
        if data[0] > 3 and (len(data) <= train.segment_size or min(train.first_bytes()) > 3):
            self._receive_data(train, source, now)
            return
        for datagram in train:
            if datagram[0] > 3:
                self._receive_data(Train.of(datagram), source, now)
            elif is_stun(datagram):
                self._receive_stun(datagram, source, now)
            else:
                self.dropped += 1

    def _receive_data(self, train: Train, source: Address, now: float) -> None:
        owner = self._owner_of(source)
        if owner is not None and owner.receiver is not None:
            owner.receiver(train, source, now)
            return
        self.dropped += len(train)
        for datagram in train:
            if PROTOCOL_OF_FIRST_BYTE[datagram[0]] is Protocol.DTLS and len(datagram) <= _MAX_EARLY_SIZE:
                # A ClientHello may overtake the check that proves the peer, and would come again only after a second.
                self._early = (*self._early, (source, bytes(datagram)))[-_MAX_EARLY:]

    def _receive_stun(self, datagram: memoryview, source: Address, now: float) -> None:
        transaction_id, ufrag = peek_transaction(datagram)
        if ufrag is None:
            ufrag = self._asked.get(transaction_id) or self._asked_before.get(transaction_id)
        endpoint = self._owner_of(source) if ufrag is None else self._endpoints.get(ufrag)
        if endpoint is None or endpoint.receiver is None:
            self.dropped += 1
        else:
            endpoint.receiver(Train.of(datagram), source, now)

    def _owner_of(self, source: Address) -> UDPEndpoint | None:
        """Whose the peer at this address is: the endpoint's that was proved last, or the only one's."""
        claims = self._claims.get(source)
        if claims:
            return claims[-1]
        if len(self._endpoints) == 1 and not self._is_shared:
            [only] = self._endpoints.values()
            return only
        return None

    def _hand_early(self, endpoint: UDPEndpoint, address: Address) -> None:
        if endpoint.receiver is None or self.is_closed:
            return
        now = self._shared.loop.time()
        mine = [datagram for source, datagram in self._early if source == address]
        self._early = tuple(entry for entry in self._early if entry[0] != address)
        with self._shared.step:
            for datagram in mine:
                if endpoint.receiver is not None:
                    self.dropped -= 1
                    endpoint.receiver(Train.of(datagram), address, now)
