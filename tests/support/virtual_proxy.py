"""Proxies in the virtual network: HTTP CONNECT and SOCKS 5, to whatever they are asked for."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import struct
from collections.abc import Callable

from webrtc_py.runtime.network import Stream

from .virtual_host import VirtualHost
from .virtual_stream import VirtualStream


class VirtualProxy:
    """Listens on all addresses of its host. ``clients`` asked for ``asked``; ``seen`` is all that they sent."""

    def __init__(self, host: VirtualHost, port: int, scheme: str, *, username: str = "", password: str = "") -> None:
        self.host = host
        self.scheme = scheme
        self.username = username
        self.password = password
        self.asked: list[tuple[str, int]] = []
        self.clients: list[str] = []
        self.seen = bytearray()
        self.answer: bytes | None = None
        """Said instead of everything else."""
        host.is_infrastructure = True
        self._tasks: set[asyncio.Task[None]] = set()
        for interface in host.interfaces():
            for address in interface.addresses:
                host.listen(address, port).set_acceptor(self._accept)

    def _accept(self, stream: VirtualStream) -> None:
        self.clients.append(stream.remote_address[0])
        task = asyncio.get_running_loop().create_task(self._serve(stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, stream: Stream) -> None:
        reader = _Reader(stream, self.seen)
        try:
            if self.answer is not None:
                stream.write(self.answer)
                return
            target = await (self._http(stream, reader) if self.scheme == "http" else self._socks(stream, reader))
            if target is not None:
                self.asked.append(target)
                await self._connect(stream, reader, target)
        except EOFError:
            stream.close()

    async def _connect(self, near: Stream, reader: _Reader, target: tuple[str, int]) -> None:
        try:
            far = await self.host.connect_tcp((await self.host.resolve(*target))[0])
        except OSError:
            near.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n" if self.scheme == "http" else b"\x05\x05\0\x01" + bytes(6))
            near.close()
            return
        if self.scheme == "http":
            near.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        else:
            near.write(b"\x05\x00\x00\x01" + bytes(6))
        far.set_receiver(near.write, lambda error: near.close())
        reader.pass_on_to(far)

    async def _http(self, stream: Stream, reader: _Reader) -> tuple[str, int] | None:
        head = (await reader.until(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        host, _, port = lines[0].split(" ")[1].rpartition(":")
        wanted = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        if self.username and f"Proxy-Authorization: Basic {wanted}" not in lines:
            stream.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return None
        return host.strip("[]"), int(port)

    async def _socks(self, stream: Stream, reader: _Reader) -> tuple[str, int] | None:
        _, count = await reader.exactly(2)
        methods = await reader.exactly(count)
        method = 2 if self.username else 0
        if method not in methods:
            stream.write(b"\x05\xff")
            return None
        stream.write(bytes((5, method)))
        if self.username:
            await reader.exactly(1)
            username = await reader.exactly((await reader.exactly(1))[0])
            password = await reader.exactly((await reader.exactly(1))[0])
            if (username.decode(), password.decode()) != (self.username, self.password):
                stream.write(b"\x01\x01")
                return None
            stream.write(b"\x01\x00")
        _, _, _, kind = await reader.exactly(4)
        if kind == 3:
            host = (await reader.exactly((await reader.exactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.exactly(4 if kind == 1 else 16)))
        return host, struct.unpack("!H", await reader.exactly(2))[0]


class _Reader:
    def __init__(self, stream: Stream, seen: bytearray) -> None:
        self._buffer = b""
        self._seen = seen
        self._changed = asyncio.Event()
        self._ended = False
        self._pass_on: Callable[[bytes], None] | None = None
        self._on_end: Callable[[], None] | None = None
        stream.set_receiver(self._on_data, self._on_lost)

    def _on_data(self, data: bytes) -> None:
        self._seen += data
        if self._pass_on is not None:
            self._pass_on(data)
        else:
            self._buffer += data
            self._changed.set()

    def _on_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._changed.set()
        if self._on_end is not None:
            self._on_end()

    async def _more(self) -> None:
        if self._ended:
            raise EOFError
        self._changed.clear()
        await self._changed.wait()

    async def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._more()
        return await self.exactly(self._buffer.index(end) + len(end))

    def pass_on_to(self, stream: Stream) -> None:
        self._pass_on, self._on_end = stream.write, stream.close
        stream.write(self._buffer)
        if self._ended:
            stream.close()
