"""A TURN server in the virtual network (RFC 8656): UDP allocations, reached over UDP or over a stream."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

from .turn_server import FakeTurnServer
from .virtual_stream import VirtualStream

if TYPE_CHECKING:
    from .virtual_host import VirtualHost, VirtualSocket

Reply = Callable[[bytes], None]


class _Client:
    """What the server has for one client: its view of the protocol, and the relayed socket."""

    def __init__(self, server: FakeTurnServer, relay: VirtualSocket, reply: Reply) -> None:
        self._server = server
        self._relay = relay
        self._reply = reply
        relay.set_receiver(self._on_train)

    @property
    def allocated(self) -> bool:
        return self._server.allocated

    def take(self, data: bytes) -> None:
        for answer in self._server.receive(data):
            self._reply(answer)
        for payload, peer in self._server.to_peers:
            if payload:
                self._relay.send(Train.of(payload), peer)
        self._server.to_peers.clear()

    def close(self) -> None:
        self._server.allocated = False
        self._relay.close()

    def _on_train(self, train: Train, source: Address, now: float) -> None:
        for datagram in train if self.allocated else ():
            data = self._server.from_peer(bytes(datagram), source)
            if data is not None:
                self._reply(data + bytes(-len(data) % 4))


class TURNServer:
    """Relays between its clients and their peers. Allocations and permissions stay until they are given back."""

    def __init__(self, host: VirtualHost, port: int, username: str, password: str) -> None:
        self.host = host
        self.port = port
        self.username = username
        self.password = password
        self.silent = False
        """Take everything and answer nothing, as a dead server does."""
        self._clients: dict[Address, _Client] = {}
        host.is_infrastructure = True
        for interface in host.interfaces():
            for address in interface.addresses:
                self._serve_udp(host.bind(address, port))
                host.listen(address, port, self._serve_stream)

    @property
    def allocations(self) -> int:
        """How many clients hold one now."""
        return sum(client.allocated for client in self._clients.values())

    def _serve_udp(self, socket: VirtualSocket) -> None:
        def on_train(train: Train, source: Address, now: float) -> None:
            for datagram in train:
                self._take(
                    bytes(datagram), source, socket.local_address[0], lambda data: socket.send(Train.of(data), source)
                )

        socket.set_receiver(on_train)

    def _serve_stream(self, stream: VirtualStream) -> None:
        buffer = bytearray()

        def on_data(data: bytes) -> None:
            buffer.extend(data)
            while len(buffer) >= 4:
                length = struct.unpack_from("!H", buffer, 2)[0]
                # ChannelData is padded over streams (RFC 8656 section 12.5), STUN messages are by themselves.
                size = 4 + (length + 3) // 4 * 4 if buffer[0] & 0xC0 == 0x40 else 20 + length
                if len(buffer) < size:
                    return
                message = bytes(buffer[:size])
                del buffer[:size]
                self._take(message, stream.remote_address, stream.local_address[0], stream.write)

        def on_lost(error: Exception | None) -> None:
            client = self._clients.pop(stream.remote_address, None)
            if client is not None:
                client.close()
            stream.close()

        stream.set_receiver(on_data, on_lost)

    def _take(self, data: bytes, source: Address, local: str, reply: Reply) -> None:
        if self.silent:
            return
        client = self._clients.get(source)
        if client is None:
            relay = self.host.bind(local)
            server = FakeTurnServer(
                username=self.username, password=self.password, relayed=relay.local_address, mapped=source
            )
            client = self._clients[source] = _Client(server, relay, reply)
        client.take(data)
