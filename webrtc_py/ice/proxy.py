"""Proxies on the way to TURN servers over TCP and TLS: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS 5 (RFC 1928).

The proxy is asked for a stream of octets to the server, by the server's name where it has one, and TLS then runs
inside: the proxy sees no more than any router. A proxy is spoken to in the clear, its password included, as these
protocols do.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

from ..errors import ParseError, URLSyntaxError
from ..runtime.network import Address, Network, Stream
from ..runtime.reasons import why

LocalHost = Callable[[Address], str | None]
"""The local address from which to reach a remote one, None for the system's choice. OSError when there is none."""

# An HTTP proxy's answer has a few lines; SOCKS' longest is 262 octets.
_MAX_ANSWER = 16 << 10
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r?\n")

_SOCKS_VERSION = 5
_NO_AUTHENTICATION = 0
_USERNAME_PASSWORD = 2
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_SOCKS_PORT = struct.Struct("!H")
_SOCKS_REFUSALS = {
    1: "it has failed",
    2: "its rules do not allow it",
    3: "the network is unreachable",
    4: "the server is unreachable",
    5: "the server refuses the connection",
    6: "it took too long",
    7: "it knows no CONNECT",
    8: "it does not know this kind of address",
}


@dataclass(frozen=True, slots=True)
class Proxy:
    """``scheme`` is http or socks5."""

    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """Read ``http://[user:password@]host:port`` or ``socks5://...``. Octets that URLs keep for themselves are
    percent-encoded in the user and the password. Raises URLSyntaxError, which never quotes them.
    """
    wanted = "a proxy is http://[user:password@]host:port, or the same with socks5"
    try:
        parts = urlsplit(text)
        port = parts.port
        username = unquote(parts.username or "", errors="strict")
        password = unquote(parts.password or "", errors="strict")
    except (ValueError, AttributeError, TypeError):
        raise URLSyntaxError(f"{wanted}; what was given cannot be read") from None
    if parts.scheme not in ("http", "socks5"):
        raise URLSyntaxError(f"{wanted}; {parts.scheme or 'no scheme'!r} is none of both")
    if not parts.hostname or not port or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise URLSyntaxError(f"{wanted}; what was given lacks a host or a port, or goes on behind them")
    if parts.scheme == "http" and ":" in username:
        raise URLSyntaxError("an HTTP proxy's user name has no colon (RFC 7617 section 2)")
    if parts.scheme == "socks5" and max(len(username.encode()), len(password.encode())) > 255:
        raise URLSyntaxError("a SOCKS proxy's user name and password have at most 255 octets (RFC 1929)")
    return Proxy(parts.scheme, parts.hostname, port, username, password)


async def connect_through(
    proxy: Proxy, network: Network, target: Address, local_host: LocalHost = lambda remote: None
) -> Stream:
    """A stream to ``target``, a host name or numeric address and a port, by way of the proxy.

    OSError, saying that it was the proxy, when there is none. Whoever stops waiting closes the connection.
    """
    try:
        addresses = await network.resolve(proxy.host, proxy.port)
        stream = await _connect_to_any(network, addresses, local_host)
    except OSError as error:
        raise ConnectionError(f"the proxy {proxy} cannot be reached: {why(error)}") from None
    conversation: _Conversation = _HTTPConnect(proxy, target) if proxy.scheme == "http" else _SOCKS5(proxy, target)
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _Dialogue(stream, conversation, done)
    try:
        await done
    except ParseError as error:
        stream.close()
        raise ConnectionError(f"the proxy {proxy}: {error}") from None
    except BaseException:
        stream.close()
        if done.done() and not done.cancelled():
            done.exception()  # taken, in case it came in the moment of a cancellation
        raise
    return stream


async def _connect_to_any(network: Network, addresses: list[Address], local_host: LocalHost) -> Stream:
    """The first of a proxy's addresses that can be connected to."""
    refused: OSError = OSError("it has no address")
    for address in addresses:
        try:
            return await network.connect_tcp(address, local_host=local_host(address))
        except OSError as error:
            refused = error
    raise refused


class _Conversation(Protocol):
    """What is said to a proxy before the tunnel is open, as a sans-IO machine."""

    def begin(self) -> bytes: ...

    def receive(self, data: bytes) -> bytes | None:
        """What to say next, or None when the tunnel is open. ParseError, with the reason, when it never will be."""


class _Dialogue:
    """A conversation over a stream."""

    def __init__(self, stream: Stream, conversation: _Conversation, done: asyncio.Future[None]) -> None:
        self._stream = stream
        self._conversation = conversation
        self._done = done
        stream.set_receiver(self._receive, self._lose)
        stream.write(conversation.begin())

    def _receive(self, data: bytes) -> None:
        if self._done.done():
            return  # a server behind a proxy waits for us to speak first: what comes now is nobody's
        try:
            answer = self._conversation.receive(data)
        except ParseError as error:
            self._done.set_exception(error)
            return
        if answer is None:
            self._done.set_result(None)
        elif answer:
            self._stream.write(answer)

    def _lose(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(ParseError(f"it closed the connection{f': {error}' if error else ''}"))


class _HTTPConnect:
    """One request, and the head of its response."""

    def __init__(self, proxy: Proxy, target: Address) -> None:
        host, port = target
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.username:
            credentials = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {credentials}")
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._answer = b""

    def begin(self) -> bytes:
        return self._request

    def receive(self, data: bytes) -> bytes | None:
        self._answer += data
        while True:
            head, separator, rest = self._answer.partition(b"\r\n\r\n")
            if not separator:
                if len(self._answer) > _MAX_ANSWER:
                    raise ParseError("its answer has no end")
                return b""
            status = _STATUS_LINE.match(head + b"\r\n")
            if status is None:
                raise ParseError("its answer is no HTTP response")
            code = int(status[1])
            if not 100 <= code < 200:
                break
            self._answer = rest  # an interim response; the final one follows
        if not 200 <= code < 300:
            reason = (status[2] or b"").decode("ascii", "replace")[:100]
            raise ParseError(f"it answers {code} {_printable(reason)}".rstrip())
        if rest:
            raise ParseError("something came through it before anything was asked")
        return None


class _SOCKS5:
    """The choice of a method, perhaps user name and password (RFC 1929), and the request."""

    def __init__(self, proxy: Proxy, target: Address) -> None:
        self._proxy = proxy
        self._target = target
        self._answer = b""
        self._step: Callable[[], bytes | None] = self._choose

    def begin(self) -> bytes:
        methods = bytes((_NO_AUTHENTICATION, _USERNAME_PASSWORD) if self._proxy.username else (_NO_AUTHENTICATION,))
        return bytes((_SOCKS_VERSION, len(methods))) + methods

    def receive(self, data: bytes) -> bytes | None:
        self._answer += data
        return self._step()

    def _take(self, size: int) -> bytes | None:
        """So many octets of the answer, when they are there."""
        if len(self._answer) < size:
            return None
        taken, self._answer = self._answer[:size], self._answer[size:]
        return taken

    def _choose(self) -> bytes | None:
        answer = self._take(2)
        if answer is None:
            return b""
        version, method = answer
        if version != _SOCKS_VERSION:
            raise ParseError("it does not speak SOCKS 5")
        if method == _USERNAME_PASSWORD and self._proxy.username:
            self._step = self._authenticated
            username, password = self._proxy.username.encode(), self._proxy.password.encode()
            return b"\x01" + bytes((len(username),)) + username + bytes((len(password),)) + password
        if method != _NO_AUTHENTICATION:
            raise ParseError("it wants to know who asks, and in another way than by a password that was given")
        return self._ask()

    def _authenticated(self) -> bytes | None:
        answer = self._take(2)
        if answer is None:
            return b""
        if answer[1] != 0:
            raise ParseError("it refuses the user name or the password")
        return self._ask()

    def _ask(self) -> bytes:
        self._step = self._connected
        host, port = self._target
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.encode()
            if len(name) > 255:
                raise ParseError("the server's name is too long for it") from None
            where = bytes((_NAME, len(name))) + name
        else:
            where = bytes((_IPV6 if address.version == 6 else _IPV4,)) + address.packed
        return bytes((_SOCKS_VERSION, _CONNECT, 0)) + where + _SOCKS_PORT.pack(port)

    def _connected(self) -> bytes | None:
        if len(self._answer) < 5:
            return b""
        version, status, _, kind, first = self._answer[:5]
        if version != _SOCKS_VERSION:
            raise ParseError("it does not speak SOCKS 5")
        if status:
            raise ParseError(_SOCKS_REFUSALS.get(status, f"it refuses with {status}"))
        sizes = {_IPV4: 10, _IPV6: 22, _NAME: 7 + first}
        if kind not in sizes:
            raise ParseError(f"its answer has an address of kind {kind}")
        if self._take(sizes[kind]) is None:
            return b""
        if self._answer:
            raise ParseError("something came through it before anything was asked")
        return None


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
