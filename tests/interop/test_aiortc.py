"""webrtc_py and aiortc: both roles, every size of message, the kinds of channels, and the ends of things."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from webrtc_py import DataChannel, PeerConnection

from .aiortc_peer import AiortcChannel, AiortcPeer, negotiate, peers

pytestmark = [pytest.mark.interop, pytest.mark.realtime]

# The last is the a=max-message-size that aiortc writes.
SIZES = (0, 1, 1024, 16 * 1024, 64 * 1024, 256 * 1024)
TIMEOUT = 100.0

both_offer = pytest.mark.parametrize("they_offer", [True, False], ids=["aiortc offers", "aiortc answers"])


def run(test: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(TIMEOUT):
            await test

    asyncio.run(bounded())


def message_of(binary: bool, size: int) -> bytes | str:
    pattern = bytes(range(256)) * (size // 256 + 1)
    return pattern[:size] if binary else "ü" * (size // 2) + "x" * (size % 2)


async def connected_channels(
    theirs: AiortcPeer, ours: PeerConnection, *, they_offer: bool, trickle: bool = True, **init: Any
) -> tuple[AiortcChannel, DataChannel]:
    """Connect with one channel, which the offerer makes; both ends of it, open."""
    if they_offer:
        announced: asyncio.Queue[DataChannel] = asyncio.Queue()
        ours.on_data_channel(announced.put_nowait)
        there = theirs.create_data_channel("chat", **init)
        await negotiate(theirs, ours, they_offer=True, trickle=trickle)
        here = await announced.get()
        ours.on_data_channel(None)
    else:
        here = ours.create_data_channel("chat", **init)
        await negotiate(theirs, ours, they_offer=False, trickle=trickle)
        there = await theirs.incoming.get()
    await there.opened.wait()
    await here.opened()
    return there, here


@pytest.mark.row("X-01", "DCH-02")
@pytest.mark.parametrize("trickle", [True, False], ids=["trickle", "complete"])
@both_offer
def test_messages_of_every_size_both_ways(they_offer: bool, trickle: bool) -> None:
    async def test() -> None:
        async with peers() as (theirs, ours):
            there, here = await connected_channels(theirs, ours, they_offer=they_offer, trickle=trickle)
            await ours.wait_connected()
            messages = [message_of(binary, size) for size in SIZES for binary in (False, True)]
            for message in messages:
                here.send(message)
                there.channel.send(message)
            assert [await here.recv() for _ in messages] == messages
            assert [await there.messages.get() for _ in messages] == messages

    run(test())


@both_offer
def test_many_small_messages_arrive_in_order(they_offer: bool) -> None:
    async def test() -> None:
        async with peers() as (theirs, ours):
            there, here = await connected_channels(theirs, ours, they_offer=they_offer)
            numbers = [str(number) for number in range(2000)]
            for number in numbers:
                here.send(number)
                there.channel.send(number)
            assert [await here.recv() for _ in numbers] == numbers
            assert [await there.messages.get() for _ in numbers] == numbers

    run(test())


@both_offer
def test_an_unordered_channel_without_retransmission(they_offer: bool) -> None:
    async def test() -> None:
        async with peers() as (theirs, ours):
            retransmits: dict[str, Any] = {"maxRetransmits": 0} if they_offer else {"max_retransmits": 0}
            there, here = await connected_channels(theirs, ours, they_offer=they_offer, ordered=False, **retransmits)
            assert (here.ordered, here.max_retransmits) == (False, 0)
            assert (there.channel.ordered, there.channel.maxRetransmits) == (False, 0)
            numbers = {str(number) for number in range(50)}
            for number in numbers:
                here.send(number)
                there.channel.send(number)
            assert {await here.recv() for _ in numbers} == numbers
            assert {await there.messages.get() for _ in numbers} == numbers

    run(test())


def test_a_negotiated_channel() -> None:
    async def test() -> None:
        async with peers() as (theirs, ours):
            here = ours.create_data_channel("ours", negotiated=7)
            there = theirs.create_data_channel("theirs", negotiated=True, id=7)
            await negotiate(theirs, ours, they_offer=True, trickle=True)
            await there.opened.wait()
            await here.opened()
            here.send("there")
            there.channel.send("here")
            assert await there.messages.get() == "there"
            assert await here.recv() == "here"

    run(test())


def test_labels_and_protocols_that_are_not_ascii() -> None:
    """Only those of webrtc_py: aiortc announces lengths in characters, which is malformed where they are not bytes."""
    label, protocol = "Grüße an 東京 🚀", "протокол/2"

    async def test() -> None:
        async with peers() as (theirs, ours):
            here = ours.create_data_channel(label, protocol=protocol)
            await negotiate(theirs, ours, they_offer=False, trickle=True)
            there = await theirs.incoming.get()
            assert (there.channel.label, there.channel.protocol) == (label, protocol)
            await here.opened()

            # aiortc's own malformed announcement harms neither the connection nor the other channel.
            theirs.create_data_channel(label)
            there.channel.send("still here")
            assert await here.recv() == "still here"

    run(test())


@pytest.mark.parametrize("they_close", [True, False], ids=["aiortc closes", "webrtc_py closes"])
@both_offer
def test_closing_a_channel(they_offer: bool, they_close: bool) -> None:
    """What was sent before arrives first, and another channel goes on."""

    async def test() -> None:
        async with peers() as (theirs, ours):
            there, here = await connected_channels(theirs, ours, they_offer=they_offer)
            other_here = ours.create_data_channel("other")
            other_there = await theirs.incoming.get()
            closed = asyncio.Event()
            here.on_close(closed.set)
            if they_close:
                there.channel.send(message_of(True, 100_000))
                there.channel.close()
                assert await here.recv() == message_of(True, 100_000)
            else:
                here.send(message_of(True, 100_000))
                await here.close()
                assert await there.messages.get() == message_of(True, 100_000)
            await there.closed.wait()
            await closed.wait()
            assert here.ready_state == "closed"
            other_here.send("still here")
            assert await other_there.messages.get() == "still here"

    run(test())


@both_offer
def test_aiortc_closes_the_connection(they_offer: bool) -> None:
    async def test() -> None:
        async with peers() as (theirs, ours):
            _, here = await connected_channels(theirs, ours, they_offer=they_offer)
            closed = asyncio.Event()
            here.on_close(closed.set)
            await theirs.connection.close()
            await closed.wait()
            assert here.ready_state == "closed"

    run(test())


@both_offer
def test_webrtc_py_closes_the_connection(they_offer: bool) -> None:
    async def test() -> None:
        async with peers() as (theirs, ours):
            there, here = await connected_channels(theirs, ours, they_offer=they_offer)
            await ours.close()
            assert here.ready_state == "closed"
            await there.closed.wait()

    run(test())
