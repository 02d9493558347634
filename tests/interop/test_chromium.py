"""webrtc_py and a real browser: connecting in every way, messages of every size, channels, and the ends of things."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from webrtc_py import DataChannel, ICECandidate, PeerConnection

from .chromium import BrowserChannel, BrowserPeer, Chromium, content, summary

pytestmark = [pytest.mark.interop, pytest.mark.realtime, pytest.mark.needs("chromium")]

SIZES = (0, 1, 1024, 16 * 1024, 64 * 1024, 256 * 1024)


@asynccontextmanager
async def peers(chromium: Chromium, *, mdns: bool = False) -> AsyncIterator[tuple[BrowserPeer, PeerConnection]]:
    browser = await chromium.peer(mdns=mdns)
    try:
        async with PeerConnection() as connection:
            yield browser, connection
    finally:
        await browser.close()


async def negotiate(browser: BrowserPeer, connection: PeerConnection, *, browser_offers: bool, trickle: bool) -> None:
    """Exchange descriptions and candidates; returns when both ends are set up, not when they are connected."""
    to_browser: asyncio.Queue[ICECandidate | None] = asyncio.Queue()
    if trickle:
        connection.on_ice_candidate(to_browser.put_nowait)
    if browser_offers:
        await connection.set_remote_description(await offer_of(browser, trickle))
        await browser.set_remote_description(await description_of(connection, trickle))
    else:
        await browser.set_remote_description(await description_of(connection, trickle))
        answer = await browser.create_answer()
        if not trickle:
            await browser.gathering_complete()
            answer = await browser.local_description()
        await connection.set_remote_description(answer)
    if trickle:
        await asyncio.gather(carry_to_browser(to_browser, browser), carry_from_browser(browser, connection))


async def offer_of(browser: BrowserPeer, trickle: bool) -> dict[str, str]:
    offer = await browser.create_offer()
    if trickle:
        return offer
    await browser.gathering_complete()
    return await browser.local_description()


async def description_of(connection: PeerConnection, trickle: bool) -> dict[str, str]:
    """What webrtc_py offers, or answers if it has an offer."""
    await connection.set_local_description()
    if not trickle:
        await connection.gathering_complete()
    assert connection.local_description is not None
    return connection.local_description.to_json()


async def carry_to_browser(candidates: asyncio.Queue[ICECandidate | None], browser: BrowserPeer) -> None:
    candidate: ICECandidate | None = None
    while candidate := await candidates.get():
        await browser.add_ice_candidate(candidate.to_json())
    await browser.add_ice_candidate(None)


async def carry_from_browser(browser: BrowserPeer, connection: PeerConnection) -> None:
    while candidate := await browser.candidates.get():
        await connection.add_ice_candidate(candidate)
    await connection.add_ice_candidate(None)


async def incoming(connection: PeerConnection) -> asyncio.Queue[DataChannel]:
    """The channels that the browser makes from now on."""
    channels: asyncio.Queue[DataChannel] = asyncio.Queue()
    connection.on_data_channel(channels.put_nowait)
    return channels


async def connected_channels(
    browser: BrowserPeer, connection: PeerConnection, *, browser_offers: bool = False, **init: Any
) -> tuple[BrowserChannel, DataChannel]:
    """Connect with one channel, which webrtc_py makes; both ends of it, open."""
    ours = connection.create_data_channel("first", **init)
    if browser_offers:
        await browser.create_data_channel("for the section")
    await negotiate(browser, connection, browser_offers=browser_offers, trickle=True)
    theirs = await browser.incoming_channel()
    await theirs.state("open")
    await ours.opened()
    return theirs, ours


async def exchange_every_size(theirs: BrowserChannel, ours: DataChannel) -> None:
    """Strings and binary of every size, both ways at once, in order and unchanged."""
    kinds = [(binary, size) for size in SIZES for binary in (False, True)]
    messages = [content(binary, size) for binary, size in kinds]
    for message in messages:
        ours.send(message)
    for binary, size in kinds:
        sent = await theirs.send_content(binary, size)
        assert summary(await ours.recv()) == sent
    assert await theirs.received(len(messages)) == [summary(message) for message in messages]


@pytest.mark.row("X-01", "X-10", "DCH-02")
@pytest.mark.parametrize("trickle", [True, False], ids=["trickle", "complete"])
@pytest.mark.parametrize("mdns", [True, False], ids=["mdns", "addresses"])
@pytest.mark.parametrize("browser_offers", [True, False], ids=["browser offers", "browser answers"])
def test_connecting_in_every_way_and_messages_of_every_size(
    chromium: Chromium, browser_offers: bool, mdns: bool, trickle: bool
) -> None:
    async def test() -> None:
        async with peers(chromium, mdns=mdns) as (browser, connection):
            if browser_offers:
                channels = await incoming(connection)
                theirs = await browser.create_data_channel("chat")
                await negotiate(browser, connection, browser_offers=True, trickle=trickle)
                ours = await channels.get()
            else:
                ours = connection.create_data_channel("chat")
                await negotiate(browser, connection, browser_offers=False, trickle=trickle)
                theirs = await browser.incoming_channel()
            await theirs.state("open")
            await ours.opened()
            await connection.wait_connected()
            await browser.connection_state("connected")
            await exchange_every_size(theirs, ours)

    chromium.run(test)


def test_candidates_have_names_or_addresses_as_the_test_asks(chromium: Chromium) -> None:
    """The two kinds of browser above are what they are called."""

    async def test() -> None:
        for mdns in (True, False):
            browser = await chromium.peer(mdns=mdns)
            await browser.create_data_channel("chat")
            await browser.create_offer()
            candidate = await browser.candidates.get()
            assert candidate is not None
            assert (".local " in candidate["candidate"]) is mdns
            await browser.close()

    chromium.run(test)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("browser_offers", [True, False], ids=["browser offers", "browser answers"])
def test_many_small_messages_arrive_in_order(chromium: Chromium, browser_offers: bool, binary: bool) -> None:
    count = 5000

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            theirs, ours = await connected_channels(browser, connection, browser_offers=browser_offers)
            expected = [str(number) for number in range(count)]
            for text in expected:
                ours.send(text.encode() if binary else text)
            await theirs.send_numbers(count)
            assert [await ours.recv() for _ in expected] == expected
            received = await theirs.received(count)
            assert received == [summary(text.encode() if binary else text) for text in expected]

    chromium.run(test)


@pytest.mark.parametrize(
    ("init", "described"),
    [
        ({"ordered": False}, {"ordered": False, "maxRetransmits": None, "maxPacketLifeTime": None}),
        ({"max_retransmits": 0}, {"ordered": True, "maxRetransmits": 0, "maxPacketLifeTime": None}),
        (
            {"ordered": False, "max_retransmits": 3},
            {"ordered": False, "maxRetransmits": 3, "maxPacketLifeTime": None},
        ),
        (
            {"ordered": False, "max_packet_life_time": 65535},
            {"ordered": False, "maxRetransmits": None, "maxPacketLifeTime": 65535},
        ),
    ],
    ids=["unordered", "no retransmission", "3 retransmissions", "65 s"],
)
@pytest.mark.parametrize("browser_creates", [True, False], ids=["browser creates", "browser is told"])
def test_unordered_and_partially_reliable_channels(
    chromium: Chromium, init: dict[str, Any], described: dict[str, Any], browser_creates: bool
) -> None:
    count = 200

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            channels = await incoming(connection)
            await connected_channels(browser, connection)
            if browser_creates:
                wanted = {name: value for name, value in described.items() if value is not None}
                theirs = await browser.create_data_channel("second", **wanted)
                ours = await channels.get()
            else:
                ours = connection.create_data_channel("second", **init)
                theirs = await browser.incoming_channel(1)
            await theirs.state("open")
            await ours.opened()
            assert (await theirs.describe()).items() >= described.items()
            assert ours.ordered is described["ordered"]
            assert ours.max_retransmits == described["maxRetransmits"]
            assert ours.max_packet_life_time == described["maxPacketLifeTime"]

            # Nothing is lost on this path, nor old when it is sent, so that all arrives; the order is the channel's own
            # affair.
            for number in range(count):
                ours.send(str(number))
            await theirs.send_numbers(count)
            expected = {str(number) for number in range(count)}
            assert {await ours.recv() for _ in range(count)} == expected
            assert set(await theirs.received_texts(count)) == expected

    chromium.run(test)


def test_a_negotiated_channel(chromium: Chromium) -> None:
    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            ours = connection.create_data_channel("ours", negotiated=7)
            theirs = await browser.create_data_channel("theirs", negotiated=True, id=7)
            await negotiate(browser, connection, browser_offers=False, trickle=True)
            await theirs.state("open")
            await ours.opened()
            assert ours.id == 7
            assert (await theirs.describe())["label"] == "theirs"
            await exchange_every_size(theirs, ours)

    chromium.run(test)


def test_labels_and_protocols_that_are_not_ascii(chromium: Chromium) -> None:
    label, protocol = "Grüße an 東京 🚀", "протокол/2"

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            channels = await incoming(connection)
            ours = connection.create_data_channel(label, protocol=protocol)
            await negotiate(browser, connection, browser_offers=False, trickle=True)
            described = await (await browser.incoming_channel()).describe()
            assert (described["label"], described["protocol"]) == (label, protocol)

            await browser.create_data_channel(protocol, protocol=label)
            theirs_here = await channels.get()
            assert (theirs_here.label, theirs_here.protocol) == (protocol, label)

            # And the smallest: neither has a character.
            await browser.create_data_channel("")
            empty_here = await channels.get()
            assert (empty_here.label, empty_here.protocol) == ("", "")
            await ours.opened()

    chromium.run(test)


def test_several_channels_at_once(chromium: Chromium) -> None:
    number_of_channels = 10

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            channels = await incoming(connection)
            names = [str(number) for number in range(number_of_channels)]
            ours = [connection.create_data_channel(f"ours {name}") for name in names]
            theirs = [await browser.create_data_channel(f"theirs {name}") for name in names]
            await negotiate(browser, connection, browser_offers=False, trickle=True)
            incoming_there = [await browser.incoming_channel(number) for number in range(number_of_channels)]
            incoming_here = [await channels.get() for _ in names]
            assert len({channel.id for channel in ours + incoming_here}) == 2 * number_of_channels

            for channel in ours + incoming_here:
                await channel.opened()
                channel.send(channel.label)
                channel.send(content(True, 64 * 1024))
            for there in incoming_there + theirs:
                label = (await there.describe())["label"]
                assert await there.received(2) == [summary(label), summary(content(True, 64 * 1024))]
                await there.send_text(f"to {label}")
            for channel in ours + incoming_here:
                assert await channel.recv() == f"to {channel.label}"

    chromium.run(test)


@pytest.mark.row("DCH-04")
@pytest.mark.parametrize("browser_closes", [True, False], ids=["browser closes", "webrtc_py closes"])
@pytest.mark.parametrize("browser_created", [True, False], ids=["browser's channel", "webrtc_py's channel"])
def test_closing_a_channel(chromium: Chromium, browser_created: bool, browser_closes: bool) -> None:
    """What was sent before arrives first, the connection stays, and the stream can be used again."""

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            channels = await incoming(connection)
            first_there, first_here = await connected_channels(browser, connection)
            for generation in range(2):
                if browser_created:
                    theirs = await browser.create_data_channel("brief")
                    ours = await channels.get()
                else:
                    ours = connection.create_data_channel("brief")
                    theirs = await browser.incoming_channel(1 + generation)
                closed = asyncio.Event()
                ours.on_close(closed.set)
                await theirs.state("open")
                await ours.opened()
                last_words = content(True, 200_000, generation)
                if browser_closes:
                    sent = await theirs.send_content(True, 200_000)
                    await theirs.close()
                    assert summary(await ours.recv()) == sent
                else:
                    ours.send(last_words)
                    await ours.close()
                    assert await theirs.received(1) == [summary(last_words)]
                await theirs.event("close")
                await closed.wait()
                assert ours.ready_state == "closed"
                assert (await theirs.describe())["readyState"] == "closed"

            first_here.send("still here")
            assert await first_there.received_texts(1) == ["still here"]
            await first_there.send_text("here too")
            assert await first_here.recv() == "here too"

    chromium.run(test)


def test_the_browser_closes_the_connection(chromium: Chromium) -> None:
    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            _, ours = await connected_channels(browser, connection)
            closed = asyncio.Event()
            ours.on_close(closed.set)
            await browser.evaluate("() => pc.close()")
            await closed.wait()
            assert ours.ready_state == "closed"

    chromium.run(test)


def test_webrtc_py_closes_the_connection(chromium: Chromium) -> None:
    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            theirs, ours = await connected_channels(browser, connection)
            await connection.close()
            assert ours.ready_state == "closed"
            await theirs.event("close")

    chromium.run(test)


@pytest.mark.row("SDP-03")
def test_media_sections_of_the_browsers_offer_are_rejected(chromium: Chromium) -> None:
    """Port 0 for audio and video, which stand first and carry the bundle's tag in the offer; the channel works."""

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            channels = await incoming(connection)
            await browser.add_transceiver("audio")
            await browser.add_transceiver("video")
            theirs = await browser.create_data_channel("chat")
            await negotiate(browser, connection, browser_offers=True, trickle=True)
            assert connection.local_description is not None
            media = [line for line in connection.local_description.sdp.splitlines() if line.startswith("m=")]
            assert [line.split()[0] for line in media] == ["m=audio", "m=video", "m=application"]
            assert [line.split()[1] == "0" for line in media] == [True, True, False]
            await theirs.state("open")
            await exchange_every_size(theirs, await channels.get())

    chromium.run(test)


@pytest.mark.parametrize("browser_offers", [True, False], ids=["browser offered", "webrtc_py offered"])
def test_the_browser_adds_media_later(chromium: Chromium, browser_offers: bool) -> None:
    """A renegotiation on a living connection: the new sections are rejected, and the channel does not notice."""

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            theirs, ours = await connected_channels(browser, connection, browser_offers=browser_offers)
            await browser.add_transceiver("audio")
            await connection.set_remote_description(await browser.create_offer())
            await browser.set_remote_description(await description_of(connection, trickle=True))
            assert connection.signaling_state == "stable"
            assert connection.local_description is not None
            assert "m=audio 0 " in connection.local_description.sdp
            await exchange_every_size(theirs, ours)

            # The other way round, with the rejected section still there.
            await browser.set_remote_description(await description_of(connection, trickle=True))
            await connection.set_remote_description(await browser.create_answer())
            assert connection.signaling_state == "stable"
            ours.send("after all that")
            assert "after all that" in await theirs.received_texts(2 * len(SIZES) + 1)

    chromium.run(test)


def test_the_paths_agree(chromium: Chromium) -> None:
    """Both ends name the same pair of addresses, seen from their sides."""

    async def test() -> None:
        async with peers(chromium) as (browser, connection):
            await connected_channels(browser, connection)
            assert connection.sctp is not None
            ice = connection.sctp.transport.ice_transport

            async def agree() -> bool:
                pair, ours = await browser.selected_pair(), ice.get_selected_candidate_pair()
                assert ours is not None
                named = [(pair[end]["address"], pair[end]["port"]) for end in ("local", "remote")]
                return named == [(ours.remote.address, ours.remote.port), (ours.local.address, ours.local.port)]

            # The browser's statistics are a snapshot, which may be older than our nomination.
            while not await agree():  # noqa: ASYNC110 - the browser tells nobody
                await asyncio.sleep(0.1)

    chromium.run(test)
