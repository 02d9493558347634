"""A TURN server in the virtual network (RFC 8656): UDP allocations, reached over UDP, DTLS, TCP and TLS."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from webrtc_py.ice.links import MessageFramer
from webrtc_py.runtime.network import Address, Stream
from webrtc_py.runtime.tls import start_tls
from webrtc_py.train import Train

from .dtls_server import DTLSServerSession
from .server_certificate import ServerCertificate
from .turn_server import FakeTurnServer
from .virtual_stream import VirtualStream

if TYPE_CHECKING:
    from .virtual_host import VirtualHost, VirtualSocket

Reply = Callable[[bytes], None]


class _Client:
    """What the server has for one client: its view of the protocol, and the relayed sockets."""

    def __init__(self, server: FakeTurnServer, relays: list[VirtualSocket], reply: Reply) -> None:
        self.server = server
        self._relays = {":" in relay.local_address[0]: relay for relay in relays}
        self._reply = reply
        for relay in relays:
            relay.set_receiver(self._on_train)

    def take(self, data: bytes, now: float) -> None:
        self.server.now = now
        for answer in self.server.receive(data):
            self._reply(answer)
        for payload, peer in self.server.to_peers:
            relay = self._relays.get(":" in peer[0])
            if payload and relay is not None:
                relay.send(Train.of(payload), peer)
        self.server.to_peers.clear()

    def close(self) -> None:
        self.server.allocated = False
        for relay in self._relays.values():
            relay.close()

    def _on_train(self, train: Train, source: Address, now: float) -> None:
        self.server.now = now
        for datagram in train if self.server.allocated else ():
            data = self.server.from_peer(bytes(datagram), source)
            if data is not None:
                self._reply(data + bytes(-len(data) % 4))


class TURNServer:
    """Relays between its clients and their peers. It is strict about how long things last."""

    def __init__(self, host: VirtualHost, port: int, username: str, password: str) -> None:
        self.host = host
        self.port = port
        self.username = username
        self.password = password
        self.silent = False
        """Take everything and answer nothing, as a dead server does."""
        self.prepare: Callable[[FakeTurnServer], None] = lambda server: None
        """Is shown what serves a client, before its first message."""
        self.clients: dict[Address, _Client] = {}
        self._streams: list[Stream] = []
        self._tasks: set[asyncio.Task[None]] = set()
        host.is_infrastructure = True
        for address in self._addresses():
            self._serve_udp(host.bind(address, port))
            host.listen(address, port).set_acceptor(self._serve_stream)

    def secure(self, certificate: ServerCertificate, port: int = 5349) -> None:
        """Take TLS and DTLS on this port too."""
        context = certificate.server_context()

        async def shake_hands(stream: VirtualStream) -> None:
            with contextlib.suppress(OSError):
                self._serve_stream(await start_tls(stream, context, None, server_side=True))

        def accept(stream: VirtualStream) -> None:
            task = asyncio.get_running_loop().create_task(shake_hands(stream))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        for address in self._addresses():
            self.host.listen(address, port).set_acceptor(accept)
            self._serve_dtls(self.host.bind(address, port), certificate)

    @property
    def allocations(self) -> int:
        """How many clients hold one now."""
        return sum(client.server.allocated for client in self.clients.values())

    @property
    def served(self) -> list[FakeTurnServer]:
        """What has served each client so far, the latest last."""
        return [client.server for client in self.clients.values()]

    def drop_streams(self) -> None:
        """Close all connections, as a server does that dies in order."""
        for stream in self._streams:
            self._forget(stream)

    def _addresses(self) -> list[str]:
        return [address for interface in self.host.interfaces() for address in interface.addresses]

    def _serve_udp(self, socket: VirtualSocket) -> None:
        def on_train(train: Train, source: Address, now: float) -> None:
            for datagram in train:
                self._take(bytes(datagram), source, socket.local_address[0], lambda data: reply(data, source))

        def reply(data: bytes, client: Address) -> None:
            socket.send(Train.of(data), client)

        socket.set_receiver(on_train)

    def _serve_dtls(self, socket: VirtualSocket, certificate: ServerCertificate) -> None:
        sessions: dict[Address, DTLSServerSession] = {}

        def on_train(train: Train, source: Address, now: float) -> None:
            if self.silent:
                return
            session = sessions.setdefault(source, DTLSServerSession(certificate))

            def reply(data: bytes) -> None:
                session.send(data)
                flush()

            def flush() -> None:
                for datagram in session.output():
                    socket.send(Train.of(datagram), source)

            for datagram in train:
                for message in session.receive(bytes(datagram)):
                    self._take(message, source, socket.local_address[0], reply)
                flush()

        socket.set_receiver(on_train)

    def _serve_stream(self, stream: Stream) -> None:
        framer = MessageFramer()
        self._streams.append(stream)

        def on_data(data: bytes) -> None:
            for message in framer.feed(data):
                self._take(bytes(message), stream.remote_address, stream.local_address[0], stream.write)

        stream.set_receiver(on_data, lambda error: self._forget(stream))

    def _forget(self, stream: Stream) -> None:
        """A connection that ends takes its allocation with it."""
        client = self.clients.pop(stream.remote_address, None)
        if client is not None:
            client.close()
        stream.close()

    def _take(self, data: bytes, source: Address, local: str, reply: Reply) -> None:
        if self.silent:
            return
        client = self.clients.get(source)
        if client is None:
            client = self.clients[source] = self._new_client(source, local, reply)
        client.take(data, asyncio.get_running_loop().time())

    def _new_client(self, source: Address, local: str, reply: Reply) -> _Client:
        """It relays from the address that the client talks to, and from the first of the other family."""
        others = [one for one in self._addresses() if (":" in one) != (":" in local) and not _is_loopback(one)]
        relays = [self.host.bind(address) for address in (local, *others[:1])]
        addresses = [relay.local_address for relay in relays]
        server = FakeTurnServer(
            username=self.username,
            password=self.password,
            relayed=addresses[0],
            also_relayed=addresses[1] if others else None,
            mapped=source,
        )
        self.prepare(server)
        return _Client(server, relays, reply)


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
