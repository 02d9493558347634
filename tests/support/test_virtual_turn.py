"""The virtual TURN server relays, over datagrams and over a stream, for who has the password."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest

from webrtc_py.ice import stun
from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

from .turn_server import FakeTurnServer
from .virtual_loop import run
from .virtual_network import VirtualNetwork

SERVER = ("192.0.2.3", 3478)


class Client:
    """As much of a client as it takes."""

    def __init__(self, send: Callable[[bytes], None], password: str = "secret") -> None:
        self.send = send
        self.key = FakeTurnServer(password=password).key
        self.received: list[bytes] = []

    async def ask(self, method: stun.Method, **attributes: Any) -> stun.Message:
        request = stun.Message(method, stun.Class.REQUEST)
        for name, value in attributes.items():
            request.attributes[name.replace("_", "-")] = value
        request.attributes.update({"USERNAME": "user", "REALM": "example.org", "NONCE": b"nonce-1"})
        request.add_message_integrity(self.key)
        self.received.clear()
        self.send(bytes(request))
        await asyncio.sleep(0.1)
        return stun.parse_message(self.received[0])


@pytest.mark.parametrize("over_stream", [False, True])
def test_a_relayed_conversation(over_stream: bool) -> None:
    network = VirtualNetwork()
    server = network.turn_server("turn.example", "192.0.2.3")
    alice = network.nat("router", "198.51.100.1", kind="symmetric").host("alice", "10.0.0.1")
    bob = network.host("bob", "192.0.2.2").bind("192.0.2.2", 5000)

    async def main() -> None:
        at_bob: list[tuple[bytes, Address]] = []
        bob.set_receiver(lambda train, source, now: at_bob.append((bytes(train.data), source)))
        close: Callable[[], None]
        if over_stream:
            stream = await alice.connect_tcp(SERVER)
            client, close = Client(stream.write), stream.close
            stream.set_receiver(client.received.append, lambda error: None)
        else:
            socket = alice.bind("10.0.0.1")
            client, close = Client(lambda data: socket.send(Train.of(data), SERVER)), socket.close
            socket.set_receiver(lambda train, source, now: client.received.append(bytes(train.data)))
        answer = await client.ask(stun.Method.ALLOCATE, REQUESTED_TRANSPORT=0x11000000)
        relayed = answer.attributes["XOR-RELAYED-ADDRESS"]
        assert relayed[0] == "192.0.2.3"
        assert answer.attributes["XOR-MAPPED-ADDRESS"][0] == "198.51.100.1"
        assert server.allocations == 1

        bob.send(Train.of(b"not permitted"), relayed)
        await client.ask(stun.Method.CREATE_PERMISSION, XOR_PEER_ADDRESS=bob.local_address)
        client.received.clear()
        bob.send(Train.of(b"permitted"), relayed)
        await asyncio.sleep(0.1)
        [indication] = [stun.parse_message(data) for data in client.received]
        assert indication.attributes["DATA"] == b"permitted"

        await client.ask(stun.Method.CHANNEL_BIND, XOR_PEER_ADDRESS=bob.local_address, CHANNEL_NUMBER=0x4000)
        client.received.clear()
        client.send(struct.pack("!HH", 0x4000, 2) + b"hi\0\0")
        await asyncio.sleep(0.1)
        assert at_bob == [(b"hi", relayed)]
        bob.send(Train.of(b"hello"), relayed)
        await asyncio.sleep(0.1)
        assert client.received == [struct.pack("!HH", 0x4000, 5) + b"hello\0\0\0"]

        await client.ask(stun.Method.REFRESH, LIFETIME=0)
        assert server.allocations == 0
        close()
        await asyncio.sleep(0.1)
        bob.close()

    run(main())


def test_a_wrong_password_and_a_silent_server() -> None:
    network = VirtualNetwork()
    server = network.turn_server("turn.example", "192.0.2.3")
    alice = network.host("alice", "192.0.2.1")

    async def main() -> None:
        socket = alice.bind("192.0.2.1")
        client = Client(lambda data: socket.send(Train.of(data), SERVER), password="wrong")
        socket.set_receiver(lambda train, source, now: client.received.append(bytes(train.data)))
        answer = await client.ask(stun.Method.ALLOCATE, REQUESTED_TRANSPORT=0x11000000)
        assert answer.attributes["ERROR-CODE"][0] == 401
        server.silent = True
        with pytest.raises(IndexError):
            await client.ask(stun.Method.ALLOCATE, REQUESTED_TRANSPORT=0x11000000)
        assert server.allocations == 0
        socket.close()

    run(main())
