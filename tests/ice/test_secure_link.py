"""DTLS to a server: the handshake over a bad path, data in trains, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dtls_server import DTLSServerSession
from tests.support.server_certificate import server_certificate
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py.ice.secure_link import SecureLink, start_dtls, trust_of
from webrtc_py.runtime.network import Address
from webrtc_py.runtime.shared import Shared
from webrtc_py.train import Train

NAME = "turn.example"
SERVER = ("192.0.2.4", 5349)


class Server:
    """One session. ``received`` is what came decrypted."""

    def __init__(self, host: VirtualHost) -> None:
        host.is_infrastructure = True
        self.session = DTLSServerSession(server_certificate(NAME))
        self.received: list[bytes] = []
        self.silent = False
        self._socket = host.bind(*SERVER)
        self._client: Address = ("", 0)
        self._socket.set_receiver(self._receive)

    def _receive(self, train: Train, source: Address, now: float) -> None:
        self._client = source
        for datagram in train if not self.silent else ():
            self.received += self.session.receive(bytes(datagram))
        self.flush()

    def flush(self) -> None:
        for datagram in self.session.output():
            self._socket.send(Train.of(datagram), self._client)

    def send(self, data: bytes) -> None:
        self.session.send(data)
        self.flush()


class Link:
    """The client's end, with what it was told."""

    def __init__(self, link: SecureLink) -> None:
        self.link = link
        self.received: list[bytes] = []
        self.lost: list[str] = []
        link.set_receiver(lambda train, now: self.received.extend(bytes(one) for one in train), self.lost.append)


def with_server(test: Callable[[VirtualHost, Server], Awaitable[None]], **conditions: float) -> None:
    network = VirtualNetwork(seed=3, **conditions)
    alice = network.host("alice", "192.0.2.1")

    async def main() -> None:
        await test(alice, Server(network.host("server", SERVER[0])))
        await asyncio.sleep(1)

    run(main())


async def connect(alice: VirtualHost) -> Link:
    trust = trust_of(server_certificate(NAME).client_context())
    socket = await alice.open_udp("0.0.0.0")
    return Link(await start_dtls(socket, SERVER, NAME, trust, Shared.of_running_loop()))


def test_messages_and_trains_go_encrypted_both_ways() -> None:
    async def test(alice: VirtualHost, server: Server) -> None:
        network = alice.network
        network.cut_for(1.0, alice, network.hosts["server"])  # the first flights are lost, and sent again
        client = await connect(alice)
        client.link.send_message(b"request")
        client.link.send_channel_data(0x4000, Train(memoryview(b"aaabbbcc"), 3))
        await asyncio.sleep(1)
        assert server.received == [
            b"request",
            b"\x40\x00\x00\x03aaa",
            b"\x40\x00\x00\x03bbb",
            b"\x40\x00\x00\x02cc",
        ]
        server.send(b"response")
        await asyncio.sleep(1)
        assert client.received == [b"response"]
        client.link.close()
        client.link.send_message(b"after close")
        await asyncio.sleep(1)
        assert server.session.closed
        assert client.lost == []

    with_server(test, delay=0.02)


@pytest.mark.row("TRN-15")
def test_what_is_not_the_servers_changes_nothing() -> None:
    async def test(alice: VirtualHost, server: Server) -> None:
        client = await connect(alice)
        here = client.link.local_address[1]
        for source in (SERVER, ("192.0.2.66", 5349)):
            for rubbish in (
                b"\x00\x01",
                b"\x17\xfe\xfd" + bytes(40),
                b"\x15\xfe\xfd\0\0\0\0\0\0\0\x63\0\2\2\x28",
                b"hello",
            ):
                alice.network.inject(rubbish, source=source, destination=("192.0.2.1", here))
        await asyncio.sleep(1)
        server.send(b"response")
        await asyncio.sleep(1)
        assert (client.received, client.lost) == ([b"response"], [])
        client.link.close()

    with_server(test)


def test_a_server_that_closes_is_lost_once() -> None:
    async def test(alice: VirtualHost, server: Server) -> None:
        client = await connect(alice)
        server.session.close()
        server.flush()
        server.flush()
        await asyncio.sleep(1)
        assert client.lost == ["the server closed the DTLS connection"]
        client.link.close()

    with_server(test)


def test_who_stops_waiting_leaves_no_socket() -> None:
    async def test(alice: VirtualHost, server: Server) -> None:
        server.silent = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await connect(alice)
        with pytest.raises(ConnectionError, match="no answer"):
            await connect(alice)
        assert alice.sockets == {}

    with_server(test)


@pytest.mark.row("TRN-16")
def test_what_of_a_tls_context_counts() -> None:
    certificate = server_certificate(NAME)
    context = certificate.client_context()
    assert trust_of(context).authorities == (ssl.PEM_cert_to_DER_cert(certificate.certificate.decode()),)
    assert (trust_of(context).verify, trust_of(context).check_name) == (True, True)
    context.check_hostname = False
    assert (trust_of(context).verify, trust_of(context).check_name) == (True, False)
    context.verify_mode = ssl.CERT_NONE
    assert not trust_of(context).verify
    # A context that trusts nobody is not taken for one that trusts the system's authorities.
    assert trust_of(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).authorities == ()
    assert trust_of(None).authorities is None


JUNK = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.tuples(st.sampled_from([20, 21, 22, 23, 25, 32]), st.integers(0, 3), st.binary(max_size=40)).map(
        lambda record: (
            bytes([record[0]])
            + b"\xfe\xfd"
            + record[1].to_bytes(8, "big")
            + len(record[2]).to_bytes(2, "big")
            + record[2]
        )
    ),
)


@pytest.mark.row("TRN-15")
@settings(max_examples=25)
@given(st.lists(JUNK, max_size=20))
def test_any_datagrams_in_the_servers_name_are_dropped(junk: list[bytes]) -> None:
    """Before the handshake they may end it, as whoever is on the path may anyway; after it they are nothing."""

    async def test(alice: VirtualHost, server: Server) -> None:
        client = await connect(alice)
        sent = alice.network.counters["sent"]
        here = (alice.interfaces()[1].addresses[0], client.link.local_address[1])
        for datagram in junk:
            alice.network.inject(datagram, source=SERVER, destination=here)
        await asyncio.sleep(1)
        assert alice.network.counters["sent"] - sent <= 2 * len(junk)
        client.link.send_message(b"request")
        await asyncio.sleep(1)
        server.send(b"response")
        await asyncio.sleep(1)
        assert (server.received, client.received, client.lost) == ([b"request"], [b"response"], [])
        client.link.close()

    with_server(test)
