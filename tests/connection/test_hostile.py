"""A live connection under bad input, from strangers and in the peer's name: it goes on, or ends with a reason.

``run`` fails a test for any exception that reaches the event loop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import re
import tracemalloc

import pytest

from tests.support.connections import Call
from tests.support.virtual_loop import run
from tests.support.virtual_network import Packet, VirtualNetwork
from webrtc_py import DataChannel, RTCError, SessionDescription
from webrtc_py.runtime.network import Address
from webrtc_py.train import Train

STRANGER = ("203.0.113.66", 6666)


def addresses(call: Call) -> tuple[Address, Address]:
    """The offerer's and the answerer's end of their path."""
    assert call.offerer.pc.sctp is not None
    pair = call.offerer.pc.sctp.transport.ice_transport.get_selected_candidate_pair()
    assert pair is not None
    return (pair.local.address, pair.local.port), (pair.remote.address, pair.remote.port)


async def still_works(near: DataChannel, far: DataChannel) -> None:
    near.send("still there?")
    assert await far.recv() == "still there?"
    far.send(b"still here")
    assert await near.recv() == b"still here"


def garbage(source: random.Random) -> list[bytes]:
    """Empty, short, long and random datagrams of every first byte, and what looks like STUN, DTLS and ChannelData."""
    found = [b""]
    for first in range(256):
        start = bytes([first])
        found += [start, start + bytes(3), start + source.randbytes(30), start + source.randbytes(1400)]
    for _ in range(100):
        found += [
            b"\x00\x01" + source.randbytes(2) + b"\x21\x12\xa4\x42" + source.randbytes(40),
            b"\x01\x01\x00\x08\x21\x12\xa4\x42" + source.randbytes(20),
            bytes([source.randrange(20, 26)]) + b"\xfe\xfd" + source.randbytes(40),
            b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28",
            b"\x17\xfe\xfd\x00\x01" + source.randbytes(6) + b"\x00\x20" + source.randbytes(32),
            b"\x16\xfe\xfd" + bytes(8) + b"\x00\x19\x01\xff\xff\xff" + source.randbytes(22),
        ]
    return found


@pytest.mark.row("ICE-53", "DMX-04", "DTL-05", "DTL-15", "SEC-03", "X-09")
@pytest.mark.parametrize("forged", [False, True], ids=["from strangers", "in the peer's name"])
def test_garbage_on_a_live_connection(forged: bool) -> None:
    network = VirtualNetwork(seed=1)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            offerer, answerer = addresses(call)
            for datagram in garbage(random.Random(8)):
                network.inject(datagram, source=answerer if forged else STRANGER, destination=offerer)
                network.inject(datagram, source=offerer if forged else STRANGER, destination=answerer)
            await asyncio.sleep(1)
            await still_works(near, far)
            assert call.offerer.states == call.answerer.states == ["connecting", "connected"]

    run(main())


@pytest.mark.row("DMX-04", "DTL-05")
def test_garbage_while_connecting() -> None:
    """A stranger sends to the ports before anything is known of the peer, and all the way through the handshake."""
    network = VirtualNetwork(seed=2, delay=0.05)
    source = random.Random(9)
    everything = garbage(source)

    async def main() -> None:
        call = Call.over(network)
        ports: set[Address] = set()

        def tap(packet: Packet) -> None:
            if packet.sender is not None:
                ports.add(packet.source)

        async def flood() -> None:
            while True:
                for port in ports:
                    for datagram in source.sample(everything, 20):
                        network.inject(datagram, source=STRANGER, destination=port)
                await asyncio.sleep(0.005)

        network.tap(tap)
        flooding = asyncio.create_task(flood())
        async with call:
            near, far = await call.connect()
            await still_works(near, far)
            flooding.cancel()

    run(main())


@pytest.mark.row("X-09", "DTL-04")
def test_packets_that_are_damaged_cut_or_doubled_on_their_way() -> None:
    network = VirtualNetwork(seed=3, delay=0.01, duplicate=0.1)
    source = random.Random(10)

    def damage(packet: Packet) -> bytes | None:
        data = bytearray(packet.data)
        if source.random() < 0.1 and data:
            where = source.randrange(len(data))
            data[where] ^= 1 << source.randrange(8)
            return bytes(data)
        if source.random() < 0.05:
            return bytes(data[: source.randrange(len(data) + 1)])
        return None

    async def main() -> None:
        async with Call.over(network) as call:
            network.tap(damage)
            near, far = await call.connect()
            for number in range(20):
                message = random.Random(number).randbytes(20_000)
                near.send(message)
                assert await far.recv() == message
            assert call.offerer.states == ["connecting", "connected"]

    run(main())


@pytest.mark.row("SCP-28", "DCH-10")
def test_garbage_inside_dtls() -> None:
    """The peer itself sends rubbish for SCTP packets."""
    network = VirtualNetwork(seed=4)
    source = random.Random(11)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            assert call.offerer.pc.sctp is not None
            for size in [1, 4, 11, 12, 13, 16, 28, 100, 1100] * 20:
                call.offerer.pc.sctp.transport.send(Train.of(source.randbytes(size)))
                call.offerer.pc.sctp.transport.send(Train.of(b"\x13\x88\x13\x88" + source.randbytes(size)))
            await asyncio.sleep(1)
            await still_works(near, far)

    run(main())


def test_memory_stays_flat_under_a_flood() -> None:
    network = VirtualNetwork(seed=5)
    source = random.Random(12)
    everything = garbage(source)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            offerer, answerer = addresses(call)

            async def flood(rounds: int) -> None:
                for number in range(rounds):
                    # A stranger at a new address each time, and the peer's.
                    stranger = (f"203.0.113.{source.randrange(256)}", source.randrange(1, 65536))
                    network.inject(source.choice(everything), source=stranger, destination=offerer)
                    network.inject(source.choice(everything), source=answerer, destination=offerer)
                    if number % 50 == 0:
                        await asyncio.sleep(0.01)
                gc.collect()

            await flood(2000)
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                await flood(4000)
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert grown < 100_000
            await still_works(near, far)

    run(main())


def test_a_flood_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    network = VirtualNetwork(seed=6)

    async def main() -> None:
        async with Call.over(network) as call:
            await call.connect()
            offerer, answerer = addresses(call)
            caplog.clear()
            with caplog.at_level(logging.INFO, "webrtc_py"):
                for datagram in garbage(random.Random(13)):
                    network.inject(datagram, source=answerer, destination=offerer)
                    network.inject(datagram, source=STRANGER, destination=offerer)
                await asyncio.sleep(1)
            assert len(caplog.records) < 10

    run(main())


def test_a_handler_that_raises_changes_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    network = VirtualNetwork(seed=7)

    async def main() -> None:
        async with Call.over(network) as call:
            near, far = await call.connect()
            got: list[bytes | str] = []

            def on_message(message: bytes | str) -> None:
                got.append(message)
                raise ValueError(f"no good: {message!r}")

            far.on_message(on_message)
            near.send("one")
            near.send("two")
            await asyncio.sleep(1)
            assert got == ["one", "two"]
            far.on_message(None)
            await still_works(near, far)

    run(main())
    assert caplog.text.count("no good") >= 2


@pytest.mark.row("FPR-04", "FPR-06")
@pytest.mark.parametrize("liar", ["offerer", "answerer"])
def test_a_wrong_fingerprint_fails_the_connection(liar: str) -> None:
    """The description names another certificate than the one that comes."""
    network = VirtualNetwork(seed=8)

    def lie(description: SessionDescription) -> SessionDescription:
        changed = re.sub(r"(a=fingerprint:sha-256 )..", r"\g<1>00", description.sdp)
        if changed == description.sdp:
            changed = re.sub(r"(a=fingerprint:sha-256 )..", r"\g<1>01", description.sdp)
        return SessionDescription(description.type, changed)

    async def main() -> None:
        call = Call.over(network)
        offerer, answerer = call.offerer.pc, call.answerer.pc
        async with call:
            channel = offerer.create_data_channel("test")
            errors: list[Exception] = []
            channel.on_error(errors.append)
            got: list[bytes | str] = []
            answerer.on_data_channel(lambda far: got.append("a channel"))
            await offerer.set_local_description()
            await offerer.gathering_complete()
            offer = offerer.local_description
            assert offer is not None
            await answerer.set_remote_description(lie(offer) if liar == "offerer" else offer)
            await answerer.set_local_description()
            await answerer.gathering_complete()
            answer = answerer.local_description
            assert answer is not None
            await offerer.set_remote_description(lie(answer) if liar == "answerer" else answer)
            await asyncio.sleep(20)
            deceived = call.answerer if liar == "offerer" else call.offerer
            assert deceived.states[-1] == "failed"
            assert deceived.pc.sctp is not None
            assert deceived.pc.sctp.transport.state == "failed"
            assert got == []
            assert channel.ready_state != "open"
            assert all(isinstance(error, RTCError) for error in errors)

    run(main())


def test_labels_and_texts_of_all_alphabets() -> None:
    network = VirtualNetwork(seed=9)
    label = "канал ☎ 频道 \U0001f4de"

    async def main() -> None:
        async with Call.over(network) as call:
            near = call.offerer.pc.create_data_channel(label, protocol="протокол")
            await call.negotiate()
            far = await call.answerer.channels.get()
            assert (far.label, far.protocol) == (label, "протокол")
            near.send(label)
            assert await far.recv() == label

    run(main())
