"""Two SCTP transports over a wire in place of DTLS, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

from tests.support.virtual_loop import run
from webrtc_py.data_channel import DataChannel
from webrtc_py.dtls_transport import DTLSTransport
from webrtc_py.runtime.shared import Shared
from webrtc_py.sctp_transport import SCTPCapabilities, SCTPTransport
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import DTLSRole, DTLSTransportState, SCTPTransportState
from webrtc_py.train import Train

DELAY = 0.01


class Wire:
    """A DTLS transport of one end: what it sends arrives at the other after ``DELAY``, unless ``lost(datagram)``."""

    def __init__(self, role: DTLSRole) -> None:
        self.role = role
        self.state = DTLSTransportState.NEW
        self.name = "wire"
        self.ice_transport = self
        self.path_listeners: list[Callable[[bool], None]] = []
        self.peer: Wire
        self.lost: Callable[[bytes], bool] = lambda datagram: False
        self.sent = 0
        self._receiver: Callable[[Train, float], None] | None = None
        self._listeners: list[Callable[[DTLSTransportState], None]] = []
        self._shared = Shared.of_running_loop()

    def send(self, train: Train) -> None:
        for datagram in train:
            data = bytes(datagram)
            self.sent += 1
            if not self.lost(data):
                self._shared.loop.call_later(DELAY, self.peer.arrive, data)

    def arrive(self, data: bytes) -> None:
        if self._receiver is not None and self.state is DTLSTransportState.CONNECTED:
            with self._shared.step:
                self._receiver(Train.of(data), self._shared.loop.time())

    def set_data_receiver(self, receiver: Callable[[Train, float], None] | None) -> None:
        self._receiver = receiver

    def add_state_listener(self, listener: Callable[[DTLSTransportState], None]) -> None:
        self._listeners.append(listener)

    def add_path_listener(self, listener: Callable[[bool], None]) -> None:
        self.path_listeners.append(listener)

    def become(self, state: DTLSTransportState) -> None:
        self.state = state
        for listener in self._listeners:
            listener(state)


class Pair:
    """Two transports, ``a`` the DTLS client; ``incoming`` holds what each side's peer opened."""

    def __init__(self, **settings: Any) -> None:
        engine = SettingEngine()
        for name, value in settings.items():
            setattr(engine, name, value)
        self.wires = (Wire(DTLSRole.CLIENT), Wire(DTLSRole.SERVER))
        self.wires[0].peer, self.wires[1].peer = self.wires[1], self.wires[0]
        self.a, self.b = (SCTPTransport(cast(DTLSTransport, wire), engine) for wire in self.wires)
        self.incoming: tuple[list[DataChannel], list[DataChannel]] = ([], [])
        self._arrived = asyncio.Event()
        self.a.set_listener(self.incoming[0].append)
        self.b.set_listener(self._b_has_channel)

    def _b_has_channel(self, channel: DataChannel) -> None:
        self.incoming[1].append(channel)
        self._arrived.set()

    def start(self, max_message_size: int = 262144) -> None:
        for transport in (self.a, self.b):
            transport.start(SCTPCapabilities(max_message_size))

    def connect(self) -> None:
        for wire in self.wires:
            wire.become(DTLSTransportState.CONNECTED)

    async def channel(self, **init: Any) -> tuple[DataChannel, DataChannel]:
        """A channel of ``a``, and its other end."""
        self._arrived.clear()
        channel = self.a.create_data_channel("label", **init)
        await self._arrived.wait()
        return channel, self.incoming[1][-1]


def on_pair(test: Callable[[Pair], Coroutine[Any, Any, None]], *, connected: bool = True, **settings: Any) -> None:
    async def main() -> None:
        pair = Pair(**settings)
        if connected:
            pair.start()
            pair.connect()
            await asyncio.sleep(10 * DELAY)
            assert pair.a.state is pair.b.state is SCTPTransportState.CONNECTED
        await test(pair)
        pair.a.stop()
        pair.b.stop()
        await asyncio.sleep(2 * DELAY)

    run(main())


def raw_send(transport: SCTPTransport, stream_id: int, ppid: int, data: bytes) -> None:
    """Say something on a stream that no channel of ours would say."""
    association = transport.association
    assert association is not None
    association.send(stream_id, ppid, data, asyncio.get_running_loop().time())
    # The flush that consumed() posts sends it.
    transport.consumed(1)
