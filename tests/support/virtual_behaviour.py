"""A STUN server in the virtual network with two addresses and two ports, for NAT behaviour discovery (RFC 5780)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from webrtc_py.errors import ParseError
from webrtc_py.ice import stun
from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

if TYPE_CHECKING:
    from .virtual_host import VirtualHost, VirtualSocket
    from .virtual_network import VirtualNetwork

_CHANGE_IP = 4
_CHANGE_PORT = 2


class BehaviourServer:
    """Answers from the address and port that CHANGE-REQUEST asks for, and tells of its others in OTHER-ADDRESS."""

    def __init__(self, host: VirtualHost, addresses: tuple[str, str], ports: tuple[int, int]) -> None:
        self.host = host
        host.is_infrastructure = True
        self.addresses = addresses
        self.ports = ports
        self.obeys = True
        """Whether CHANGE-REQUEST is heeded: a server that knows nothing of it answers from where it was asked."""
        self.other_is_dead = False
        """The second address answers nothing, as behind a firewall that somebody forgot."""
        self._sockets: dict[Address, VirtualSocket] = {}
        for address in addresses:
            for port in ports:
                self._serve(host.bind(address, port))

    @classmethod
    def on(
        cls, network: VirtualNetwork, name: str, *addresses: str, ports: tuple[int, int] = (3478, 3479)
    ) -> BehaviourServer:
        """On a new host with two addresses, of which the first is what ``name`` resolves to."""
        first, second = addresses
        network.names[name] = [first]
        return cls(network.host(name, first, second), (first, second), ports)

    def _serve(self, socket: VirtualSocket) -> None:
        self._sockets[socket.local_address] = socket

        def on_train(train: Train, source: Address, now: float) -> None:
            for datagram in train:
                self._take(datagram, source, socket.local_address)

        socket.set_receiver(on_train)

    def _take(self, data: memoryview, source: Address, asked: Address) -> None:
        try:
            request = stun.parse_message(data)
        except ParseError:
            return
        if request.message_class is not stun.Class.REQUEST:
            return
        if self.other_is_dead and asked[0] == self.addresses[1]:
            return
        change = request.attributes.get("CHANGE-REQUEST", 0) if self.obeys else 0
        other = self._other(asked)
        origin = (other[0] if change & _CHANGE_IP else asked[0], other[1] if change & _CHANGE_PORT else asked[1])
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        answer.attributes |= {"XOR-MAPPED-ADDRESS": source, "RESPONSE-ORIGIN": origin, "OTHER-ADDRESS": other}
        self._sockets[origin].send(Train.of(stun.serialize(answer)), source)

    def _other(self, asked: Address) -> Address:
        host, port = asked
        return self.addresses[host == self.addresses[0]], self.ports[port == self.ports[0]]
