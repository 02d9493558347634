"""Asks STUN servers how they see our sockets: the source of server-reflexive candidates (RFC 8445 section 5.1.1.2)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from ..errors import ParseError
from ..runtime.network import Address
from ..runtime.shared import Shared
from . import stun
from .retransmission import Retransmission
from .server_codes import UNREACHABLE
from .turn import is_unicast


class ServerError(Exception):
    """A server gave no candidate: its STUN error code and reason, or 701."""

    def __init__(self, error_code: int, reason: str) -> None:
        super().__init__(reason)
        self.error_code = error_code
        self.reason = reason


class BindingQueries:
    """Binding requests that wait for their servers. They use the sockets that the checks use, so what a socket receives
    is shown to :meth:`receive` first."""

    __slots__ = ("_pending", "_shared")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._pending: dict[bytes, tuple[Address, asyncio.Future[Address]]] = {}

    async def ask(self, send: Callable[[bytes, Address], None], server: Address, timeout: float) -> Address:
        """Our address as the server sees it. Raises :class:`ServerError`."""
        transaction_id, request = _binding_request()
        loop = self._shared.loop
        answer: asyncio.Future[Address] = loop.create_future()
        self._pending[transaction_id] = server, answer
        schedule = Retransmission(loop.time(), timeout=timeout)
        try:
            send(request, server)
            while True:
                await asyncio.wait([answer], timeout=max(0.0, schedule.due - loop.time()))
                now = loop.time()
                if answer.done():
                    return answer.result()
                if schedule.is_over(now):
                    raise ServerError(UNREACHABLE, "the server does not answer")
                if schedule.is_due(now):
                    send(request, server)
        finally:
            del self._pending[transaction_id]
            if not answer.cancel():
                answer.exception()  # taken, in case it came in the moment of a cancellation

    def receive(self, data: memoryview, source: Address) -> bool:
        """Take a STUN message when it answers a query; whether it did, or pretended to."""
        if not self._pending:
            return False
        pending = self._pending.get(bytes(data[8:20]))
        if pending is None:
            return False
        server, answer = pending
        if source != server or answer.done():
            return True
        try:
            message = stun.parse_message(data)
        except ParseError:
            return True
        if message.message_method != stun.Method.BINDING:
            return True
        mapped = message.attributes.get("XOR-MAPPED-ADDRESS")
        if message.message_class == stun.Class.ERROR:
            code, reason = message.attributes.get("ERROR-CODE", (UNREACHABLE, "an error response without a code"))
            answer.set_exception(ServerError(code, reason))
        elif message.message_class == stun.Class.RESPONSE and message.unknown_required:
            answer.set_exception(ServerError(UNREACHABLE, "the response needs attributes that nobody knows"))
        elif message.message_class == stun.Class.RESPONSE and mapped is not None:
            host, port = mapped
            if port and is_unicast(host):
                answer.set_result(mapped)
            else:
                answer.set_exception(ServerError(UNREACHABLE, f"the server sees us at {host} port {port}"))
        return True


def keepalive() -> bytes:
    """A Binding request whose answer nobody waits for: it keeps a NAT's mapping alive (RFC 8445 section 5.1.1.4)."""
    return _binding_request()[1]


def _binding_request() -> tuple[bytes, bytes]:
    transaction_id = secrets.token_bytes(12)
    return transaction_id, stun.serialize(stun.Message(stun.Method.BINDING, stun.Class.REQUEST, transaction_id))
