"""HTTP and SOCKS 5 proxies on loopback, with user name and password."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
from collections.abc import AsyncIterator

USERNAME, PASSWORD = "me", "p@ss:word"


class RealProxy:
    """``asked`` is what it was asked for; ``octets`` all that clients said to servers through it."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.port = 0
        self.asked: list[tuple[str, int]] = []
        self.octets = bytearray()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"{self.scheme}://me:p%40ss%3Aword@127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(OSError, EOFError):
            target = await (self._http(reader) if self.scheme == "http" else self._socks(reader, writer))
            self.asked.append(target)
            far_reader, far_writer = await asyncio.open_connection(*target)
            self._writers.append(far_writer)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" if self.scheme == "http" else b"\x05\0\0\x01" + bytes(6))
            await asyncio.gather(self._pass(reader, far_writer, record=True), self._pass(far_reader, writer))

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bool = False) -> None:
        while data := await reader.read(65536):
            if record:
                self.octets += data
            writer.write(data)
        writer.close()

    async def _http(self, reader: asyncio.StreamReader) -> tuple[str, int]:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        wanted = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        assert f"Proxy-Authorization: Basic {wanted}" in lines
        host, _, port = lines[0].split()[1].rpartition(":")
        return host.strip("[]"), int(port)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        await reader.readexactly((await reader.readexactly(2))[1])
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        username = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        assert (username.decode(), password.decode()) == (USERNAME, PASSWORD)
        writer.write(b"\x01\0")
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        return host, int.from_bytes(await reader.readexactly(2), "big")


@contextlib.asynccontextmanager
async def real_proxy(scheme: str) -> AsyncIterator[RealProxy]:
    proxy = RealProxy(scheme)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)
