"""TCP in the virtual network: octets in order, after the path's delay. A cut path holds them back, and loses none."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from webrtc_py.runtime.network import Address

from .virtual_link import Link

if TYPE_CHECKING:
    from .virtual_host import VirtualHost

# How often a cut path is tried again.
_RETRANSMISSION = 0.2


class VirtualListener:
    """Where TCP connections come in (:class:`webrtc_py.runtime.network.Listener`)."""

    def __init__(self, address: Address, forget: Callable[[], object]) -> None:
        self._address = address
        self._forget = forget
        self._acceptor: Callable[[VirtualStream], None] | None = None
        self._closed = False

    @property
    def local_address(self) -> Address:
        return self._address

    def set_acceptor(self, acceptor: Callable[[VirtualStream], None] | None) -> None:
        self._acceptor = acceptor

    def accept(self, stream: VirtualStream) -> None:
        if self._acceptor is None:
            stream.close()
        else:
            self._acceptor(stream)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._forget()

    def __repr__(self) -> str:
        return f"VirtualListener({self._address})"


class VirtualStream:
    """One end of a TCP connection (:class:`webrtc_py.runtime.network.Stream`)."""

    def __init__(self, host: VirtualHost, local: Address, remote: Address, link: Link) -> None:
        self._host = host
        self._local = local
        self._remote = remote
        self._link = link
        self.peer: VirtualStream | None = None
        self._on_data: Callable[[bytes], None] | None = None
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._in_flight: deque[bytes] = deque()
        self._early: list[bytes] = []
        self._ended = False
        self._closed = False
        host.remember_stream(self)

    @property
    def local_address(self) -> Address:
        return self._local

    @property
    def remote_address(self) -> Address:
        return self._remote

    @property
    def write_buffer_size(self) -> int:
        return sum(map(len, self._in_flight)) if self._link.is_cut else 0

    def set_receiver(self, on_data: Callable[[bytes], None], on_lost: Callable[[Exception | None], None]) -> None:
        self._on_data, self._on_lost = on_data, on_lost
        early, self._early = self._early, []
        for data in early:
            on_data(data)
        if self._ended and not self._closed:
            on_lost(None)

    def write(self, data: bytes) -> None:
        if not self._closed and data:
            self._send(bytes(data))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._host.forget_stream(self)
            self._send(b"")

    def _send(self, data: bytes) -> None:
        """Put ``data`` on the way; empty is the end of the stream."""
        self._in_flight.append(data)
        network = self._host.network
        network.schedule(network.shared.loop.time() + self._link.conditions.delay, self._arrive)

    def _arrive(self) -> None:
        network = self._host.network
        if self._link.is_cut:
            network.schedule(network.shared.loop.time() + _RETRANSMISSION, self._arrive)
            return
        data = self._in_flight.popleft()
        assert self.peer is not None
        with network.shared.step:
            self.peer.take(data)

    def take(self, data: bytes) -> None:
        """What the other end sent has arrived."""
        if self._closed:
            return
        if data:
            if self._on_data is None:
                self._early.append(data)
            else:
                self._on_data(data)
            return
        self._ended = True
        self._host.forget_stream(self)
        if self._on_lost is not None:
            self._on_lost(None)

    def __repr__(self) -> str:
        return f"VirtualStream({self._host.name}, {self._local} to {self._remote})"
