"""Chat between your browser and Python: ``make demo-browser``, then open the address that it prints.

The page offers a connection with one data channel, this program answers. Signalling is two plain HTTP requests: the
browser POSTs its messages, and takes ours as server-sent events. What you type in the terminal goes to all browsers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from webrtc_py import DataChannel, ICECandidate, PeerConnection, SessionDescription

PAGE = Path(__file__).with_name("browser.html")
MAX_BODY = 64 * 1024


class Visitor:
    """One browser tab and its connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pc = PeerConnection()
        self.channel: DataChannel | None = None
        self.to_browser: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self.pc.on_ice_candidate(self.on_ice_candidate)
        self.pc.on_connection_state_change(lambda state: print(f"{name}: {state}"))
        self.pc.on_data_channel(self.on_data_channel)

    def on_ice_candidate(self, candidate: ICECandidate | None) -> None:
        self.to_browser.put_nowait({"candidate": None if candidate is None else candidate.to_json()})

    def on_data_channel(self, channel: DataChannel) -> None:
        self.channel = channel
        transport = self.pc.sctp.transport.ice_transport
        channel.send(
            f"Hello, I am Python {sys.version.split()[0]}. Our path: {transport.get_selected_candidate_pair()}"
        )
        channel.on_message(self.on_message)
        channel.on_close(lambda: print(f"{self.name}: the channel is closed"))

    def on_message(self, message: bytes | str) -> None:
        print(f"{self.name}: {message!r}")
        assert self.channel is not None
        if isinstance(message, bytes):
            self.channel.send(f"{len(message)} bytes, thank you")
        else:
            self.channel.send(f"You said: {message}")

    async def take(self, message: dict[str, Any]) -> None:
        """One message of the browser's signalling."""
        if "description" in message:
            await self.pc.set_remote_description(SessionDescription.from_json(message["description"]))
            answer = await self.pc.create_answer()
            # Before it is set: a browser takes no candidates before the description, and setting it starts them.
            self.to_browser.put_nowait({"description": answer.to_json()})
            await self.pc.set_local_description(answer)
        else:
            await self.pc.add_ice_candidate(message["candidate"])


class Server:
    """As much of HTTP as the page needs."""

    def __init__(self) -> None:
        self.visitors: dict[str, Visitor] = {}

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next((int(h[15:]) for h in head.split("\r\n") if h.lower().startswith("content-length:")), 0)
                body = await reader.readexactly(min(length, MAX_BODY))
            method, target, _ = head.split(" ", 2)
            await self.answer(method, target, body, writer)
        except (TimeoutError, ValueError, KeyError, OSError, asyncio.IncompleteReadError) as error:
            with suppress(OSError):
                self.respond(writer, "400 Bad Request", "text/plain", str(error).encode())
        finally:
            writer.close()

    async def answer(self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(target)
        name = parse_qs(url.query).get("visitor", [""])[0][:8]
        if (method, url.path) == ("GET", "/"):
            self.respond(writer, "200 OK", "text/html; charset=utf-8", PAGE.read_bytes())
        elif (method, url.path) == ("GET", "/events") and name:
            await self.send_events(name, writer)
        elif (method, url.path) == ("POST", "/signal") and name in self.visitors:
            await self.visitors[name].take(json.loads(body))
            self.respond(writer, "204 No Content", "text/plain", b"")
        else:
            self.respond(writer, "404 Not Found", "text/plain", b"There is only the page, at /")
        await writer.drain()

    async def send_events(self, name: str, writer: asyncio.StreamWriter) -> None:
        """A visitor stays as long as this request does."""
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n: hello\n\n"
        )
        visitor = self.visitors[name] = Visitor(name)
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        writer.write(b"data: " + json.dumps(await visitor.to_browser.get()).encode() + b"\n\n")
                writer.write(b": still here\n\n")
                await writer.drain()
        finally:
            del self.visitors[name]
            await visitor.pc.close()

    def respond(self, writer: asyncio.StreamWriter, status: str, content_type: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)


async def read_terminal(server: Server) -> None:
    """Send the lines that are typed here."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        for visitor in server.visitors.values():
            if visitor.channel is not None and visitor.channel.ready_state == "open":
                visitor.channel.send(line.decode().rstrip("\n"))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080, help="0 for any that is free")
    parser.add_argument("--no-open", action="store_true", help="do not open the browser")
    options = parser.parse_args()
    server = Server()
    listening = await asyncio.start_server(server.on_connection, "127.0.0.1", options.port)
    address = f"http://localhost:{listening.sockets[0].getsockname()[1]}/"
    print(f"Open {address} in a browser. Ctrl-C ends.", flush=True)
    if not options.no_open:
        webbrowser.open(address)
    typing = asyncio.create_task(read_terminal(server)) if sys.stdin.isatty() else None
    try:
        await asyncio.Event().wait()  # until Ctrl-C
    finally:
        listening.close()
        if typing is not None:
            typing.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
