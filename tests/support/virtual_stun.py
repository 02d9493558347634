"""A STUN server in the virtual network: it tells who asks from where it is seen (RFC 8489 section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aioice import stun

from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

if TYPE_CHECKING:
    from .virtual_host import VirtualHost, VirtualSocket


class STUNServer:
    """Answers Binding requests on all addresses of its host. ``silent`` makes it a dead one."""

    def __init__(self, host: VirtualHost, port: int) -> None:
        self.host = host
        self.port = port
        self.silent = False
        self.error_code: int | None = None
        """Answer with this error instead."""
        self.mapped: Address | None = None
        """Tell this address instead of where the request came from."""
        self.requests = 0
        host.is_infrastructure = True
        for interface in host.interfaces():
            for address in interface.addresses:
                self._serve(host.bind(address, port))

    def _serve(self, socket: VirtualSocket) -> None:
        def on_train(train: Train, source: Address, now: float) -> None:
            for datagram in train:
                answer = self._answer(bytes(datagram), source)
                if answer is not None:
                    socket.send(Train.of(answer), source)

        socket.set_receiver(on_train)

    def _answer(self, data: bytes, source: Address) -> bytes | None:
        try:
            request = stun.parse_message(data)
        except ValueError:
            return None
        if request.message_method != stun.Method.BINDING or request.message_class != stun.Class.REQUEST:
            return None
        self.requests += 1
        if self.silent:
            return None
        answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, request.transaction_id)
        if self.error_code is not None:
            answer.message_class = stun.Class.ERROR
            answer.attributes["ERROR-CODE"] = (self.error_code, "as the test wishes")
        else:
            answer.attributes["XOR-MAPPED-ADDRESS"] = self.mapped or source
        answer.add_fingerprint()
        return bytes(answer)
