"""Two processes find each other and talk over data channels: ``make demo``.

The main process starts an offerer and an answerer that share nothing but a pipe for signalling. They exchange offer,
answer and candidates over it, connect over UDP, say a few words, and then move a large file's worth of data. Exits
with 0 when everything arrived, and with 1 and the reason otherwise.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import ifaddr

from webrtc_py import API, DataChannel, PeerConnection, SessionDescription, SettingEngine

TRANSFER = 64 * 1024 * 1024
MESSAGE = 64 * 1024
# How much may wait in the channel: enough to keep it busy, little enough not to fill memory.
BUFFERED = 4 * 1024 * 1024
PATIENCE = 30.0
LOOPBACK = ("127.", "::1")

Say = Callable[[str], None]


class Signalling:
    """Descriptions and candidates as lines of JSON. Over a network this is your web server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, pipe: socket.socket) -> Signalling:
        return cls(*await asyncio.open_connection(sock=pipe))

    def send(self, **message: Any) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        while line := await self._reader.readline():
            yield json.loads(line)

    def close(self) -> None:
        self._writer.close()


def local_addresses() -> list[str]:
    """The addresses of this machine that a candidate could have, and those of its loopback interface."""
    found = [str(ip.ip if ip.is_IPv4 else ip.ip[0]) for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [address for address in found if not address.startswith("fe80:")]


def new_peer_connection(signalling: Signalling, say: Say) -> PeerConnection:
    """A connection that sends its candidates as they are found, and says what happens to it."""
    settings = SettingEngine()
    if all(address.startswith(LOOPBACK) for address in local_addresses()):
        say("no network but loopback: using that")
        settings.set_include_loopback_candidate(True)
    pc = API(setting_engine=settings).new_peer_connection()

    @pc.on_ice_candidate
    def on_ice_candidate(candidate: Any) -> None:
        if candidate is not None:
            say(f"candidate {candidate}")
        signalling.send(candidate=None if candidate is None else candidate.to_json())

    pc.on_ice_candidate_error(lambda error: say(f"candidate error {error}"))
    pc.on_ice_connection_state_change(lambda state: say(f"ICE {state}"))
    pc.on_connection_state_change(lambda state: say(f"connection {state}"))
    return pc


async def follow_signalling(signalling: Signalling, pc: PeerConnection) -> None:
    """Apply what the other side sends, and answer its offer."""
    async for message in signalling.messages():
        if "candidate" in message:
            await pc.add_ice_candidate(message["candidate"])
            continue
        await pc.set_remote_description(SessionDescription(**message["description"]))
        if message["description"]["type"] == "offer":
            await pc.set_local_description()
            signalling.send(description=pc.local_description.to_json())


def describe_path(pc: PeerConnection) -> str:
    transport = pc.sctp.transport.ice_transport
    pair, statistics = transport.get_selected_candidate_pair(), transport.get_selected_candidate_pair_stats()
    return f"path {pair}, round trip {statistics.current_round_trip_time * 1000:.2f} ms"


async def offer(pc: PeerConnection, signalling: Signalling, say: Say) -> None:
    """Open two channels, say hello on one, and send the data on the other."""
    chat, data = pc.create_data_channel("chat"), pc.create_data_channel("data")
    await pc.set_local_description()
    signalling.send(description=pc.local_description.to_json())
    await chat.opened()
    say(describe_path(pc))
    for message in ("Hello from the offerer!", "Grüße, 世界", b"\x00\x01\x02 some bytes"):
        chat.send(message)
        say(f"sent {message!r}, got {await chat.recv()!r}")

    block, digest = os.urandom(MESSAGE), hashlib.sha256()
    await data.opened()
    for _ in range(TRANSFER // MESSAGE):
        await data.drain(BUFFERED)
        data.send(block)
        digest.update(block)
    chat.send(digest.hexdigest())
    verdict = await chat.recv()
    if verdict != "all arrived":
        raise RuntimeError(f"the data came out wrong: {verdict!r}")


async def answer(pc: PeerConnection, signalling: Signalling, say: Say) -> None:
    """Answer what is said, take the data, and compare its hash."""
    channels: asyncio.Queue[DataChannel] = asyncio.Queue()
    pc.on_data_channel(channels.put_nowait)
    by_label = {channel.label: channel for channel in [await channels.get(), await channels.get()]}
    chat, data = by_label["chat"], by_label["data"]
    for _ in range(3):
        message = await chat.recv()
        chat.send(f"I got {len(message)} {'characters' if isinstance(message, str) else 'bytes'}")

    digest, received, begin = hashlib.sha256(), 0, time.perf_counter()
    shown = 0.0
    while received < TRANSFER:
        block = await data.recv()
        assert isinstance(block, bytes)
        digest.update(block)
        received += len(block)
        elapsed = time.perf_counter() - begin
        if received == TRANSFER or elapsed - shown > 0.1:
            shown = elapsed
            show_progress(received, elapsed)
    rate = TRANSFER / 1e6 / elapsed
    say(f"received {TRANSFER / 1e6:.0f} MB in {elapsed:.2f} s: {rate:.0f} MB/s ({rate * 8:.0f} Mbit/s)")
    chat.send("all arrived" if await chat.recv() == digest.hexdigest() else "the hashes differ")
    async for _ in chat:  # until the offerer closes: then it has the verdict
        pass


def show_progress(received: int, elapsed: float) -> None:
    """A bar that redraws itself on a terminal; in a log only the full one is written."""
    full = received == TRANSFER
    if full or sys.stdout.isatty():
        bar = "█" * (32 * received // TRANSFER)
        line = f"  [{bar:<32}] {100 * received // TRANSFER:3d} %  {received / 1e6 / elapsed:6.1f} MB/s"
        print(line, end="\n" if full else "\r", flush=True)


Part = Callable[[PeerConnection, Signalling, Say], Coroutine[Any, Any, None]]


async def run_peer(part: Part, pipe: socket.socket, say: Say) -> None:
    signalling = await Signalling.over(pipe)
    async with new_peer_connection(signalling, say) as pc, asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow_signalling(signalling, pc))
        await part(pc, signalling, say)
        following.cancel()
    signalling.close()
    say("closed")


def peer(name: str, part: Part, pipe: socket.socket, begin: float) -> None:
    """One process. What it says carries the time since ``begin``, which both processes share."""

    def say(text: str) -> None:
        print(f"{time.time() - begin:7.3f} s  {name:8}  {text}", flush=True)

    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await run_peer(part, pipe, say)

    try:
        asyncio.run(limited())
    except TimeoutError:
        say(f"FAILED: not done after {PATIENCE:.0f} s")
        sys.exit(1)
    except ExceptionGroup as failures:
        say(f"FAILED: {failures.exceptions[0]!r}")
        sys.exit(1)


def main() -> int:
    if not local_addresses():
        print("FAILED: no network interface is up, not even loopback.")
        return 1
    spawn = multiprocessing.get_context("spawn")
    ends = socket.socketpair()
    processes = [
        spawn.Process(target=peer, args=(name, part, end, time.time()), name=name)
        for (name, part), end in zip([("offerer", offer), ("answerer", answer)], ends, strict=True)
    ]
    for process in processes:
        process.start()
    for end in ends:
        end.close()
    for process in processes:
        process.join()
    failed = [process.name for process in processes if process.exitcode]
    print(f"The demo failed: see the {failed[0]}'s last line." if failed else "All done.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
