"""Two SCTP transports and their channels: made, used, closed, and moved to another path."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.sctp.transports import DELAY, Pair, on_pair
from webrtc_py.errors import OperationError
from webrtc_py.states import DataChannelState


@pytest.mark.row("DSD-04", "DCE-03", "DCE-07")
def test_channels_made_early_open_with_ids_of_their_roles() -> None:
    async def test(pair: Pair) -> None:
        early = [side.create_data_channel(name) for side, name in ((pair.a, "a0"), (pair.b, "b1"), (pair.a, "a2"))]
        assert [channel.id for channel in early] == [None, None, None]
        pair.start()
        assert all(channel.ready_state is DataChannelState.CONNECTING for channel in early)
        pair.connect()
        await asyncio.gather(*(channel.opened() for channel in early))
        await asyncio.sleep(5 * DELAY)
        assert [channel.id for channel in early] == [0, 1, 2]
        assert [channel.label for channel in pair.incoming[1]] == ["a0", "a2"]
        assert [channel.label for channel in pair.incoming[0]] == ["b1"]
        assert all(channel.ready_state is DataChannelState.OPEN for channel in pair.incoming[0] + pair.incoming[1])

    on_pair(test, connected=False)


@pytest.mark.row("DCH-02", "DCH-05", "DCH-06")
def test_messages_of_all_sizes_both_ways() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        for size in (0, 1, 1000, 1119, 1120, 1121, 16384, 65536, 262144):
            for sender, receiver in ((ours, theirs), (theirs, ours)):
                message = hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1)
                sender.send(message[:size])
                assert await receiver.recv() == message[:size]
                sender.send("\u00fc" * (size // 2))
                assert await receiver.recv() == "\u00fc" * (size // 2)
                assert sender.buffered_amount == 0

    on_pair(test)


def test_the_fields_of_a_channel_reach_the_peer() -> None:
    async def test(pair: Pair) -> None:
        _, theirs = await pair.channel(ordered=False, max_retransmits=3, protocol="pr\u00f6tocol")
        assert (theirs.ordered, theirs.max_retransmits, theirs.max_packet_life_time) == (False, 3, None)
        assert (theirs.label, theirs.protocol, theirs.negotiated) == ("label", "pr\u00f6tocol", False)
        _, theirs = await pair.channel(max_packet_life_time=500)
        assert (theirs.ordered, theirs.max_retransmits, theirs.max_packet_life_time) == (True, None, 500)

    on_pair(test)


@pytest.mark.row("DCE-04")
def test_user_data_follows_the_open_at_once_and_in_order() -> None:
    async def test(pair: Pair) -> None:
        channel = pair.a.create_data_channel("quick", ordered=False)
        for number in range(20):
            channel.send(str(number))
        await asyncio.sleep(10 * DELAY)
        theirs = pair.incoming[1][0]
        log: list[bytes | str] = []
        theirs.on_open(lambda: log.append("open"))
        theirs.on_message(log.append)
        await asyncio.sleep(0)
        assert log == ["open", *(str(number) for number in range(20))]

    on_pair(test)


def test_negotiated_channels_need_no_announcement() -> None:
    async def test(pair: Pair) -> None:
        ours = pair.a.create_data_channel("x", negotiated=77)
        theirs = pair.b.create_data_channel("y", negotiated=True, id=77)
        assert ours.ready_state is theirs.ready_state is DataChannelState.OPEN
        theirs.send("hello")
        assert await ours.recv() == "hello"
        assert pair.incoming == ([], [])
        with pytest.raises(OperationError, match="77 is in use"):
            pair.a.create_data_channel("z", negotiated=77)

    on_pair(test)


@pytest.mark.row("DCH-04")
@pytest.mark.parametrize("closer", [0, 1])
def test_close_lets_queued_data_out_and_frees_the_id(closer: int) -> None:
    async def test(pair: Pair) -> None:
        channels = await pair.channel()
        log: list[str] = []
        for name, channel in zip("ab", channels, strict=True):
            channel.on_closing(lambda name=name: log.append(f"{name} closing"))
            channel.on_close(lambda name=name: log.append(f"{name} close"))
        for _ in range(10):
            channels[closer].send(bytes(60_000))
        await channels[closer].close()
        received = [message async for message in channels[1 - closer]]
        assert [len(message) for message in received] == [60_000] * 10
        assert {channel.ready_state for channel in channels} == {DataChannelState.CLOSED}
        await asyncio.sleep(0)
        assert sorted(log) == ["a close", "a closing", "b close", "b closing"]
        again, theirs = await pair.channel()
        assert again.id == channels[0].id
        again.send("fresh")
        assert await theirs.recv() == "fresh"

    on_pair(test)


@pytest.mark.row("DCH-04")
def test_both_sides_close_at_once() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        await asyncio.gather(ours.close(), theirs.close())
        assert ours.ready_state is theirs.ready_state is DataChannelState.CLOSED
        again, _ = await pair.channel()
        assert again.id == ours.id

    on_pair(test)


@pytest.mark.row("SCP-27")
def test_a_reader_that_stalls_stalls_the_sender_and_not_the_memory() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        for _ in range(40):
            ours.send(bytes(100_000))
        await asyncio.sleep(30)
        assert ours.buffered_amount > 2_500_000
        assert theirs.bytes_received <= 1_200_000
        got = 0
        for _ in range(40):
            got += len(await theirs.recv())
        assert got == 4_000_000

    on_pair(test)


@pytest.mark.row("SCD-04")
def test_on_another_path_sctp_begins_with_small_packets_and_a_small_window() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        for _ in range(100):
            ours.send(bytes(60_000))
        for _ in range(100):
            await theirs.recv()
        assert pair.a.association is not None
        before = pair.a.association.stats
        for listener in pair.wires[0].path_listeners:
            listener(True)
        after = pair.a.association.stats
        assert after.mtu < before.mtu
        assert after.congestion_window < before.congestion_window
        ours.send("still here")
        assert await theirs.recv() == "still here"

    on_pair(test)


def test_a_channel_closed_before_it_could_open_is_never_announced() -> None:
    async def test(pair: Pair) -> None:
        channel = pair.a.create_data_channel("x")
        await channel.close()
        assert channel.ready_state is DataChannelState.CLOSED
        pair.start()
        pair.connect()
        await asyncio.sleep(1)
        assert pair.incoming[1] == []

    on_pair(test, connected=False)


def test_closed_channels_that_nobody_read_do_not_stall_the_others() -> None:
    async def test(pair: Pair) -> None:
        for _ in range(6):
            ours, theirs = await pair.channel()
            for _ in range(4):
                ours.send(bytes(60_000))
            await ours.close()
            await asyncio.sleep(1)
            assert theirs.ready_state is DataChannelState.CLOSED
        ours, theirs = await pair.channel()
        ours.send("through")
        assert await theirs.recv() == "through"

    on_pair(test)


def test_what_was_lost_with_the_old_path_is_sent_on_the_new_one_at_once() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        pair.wires[0].lost = lambda datagram: True
        ours.send("lost with the path")
        await asyncio.sleep(2 * DELAY)
        pair.wires[0].lost = lambda datagram: False
        for listener in pair.wires[0].path_listeners:
            listener(True)
        async with asyncio.timeout(2 * DELAY):
            assert await theirs.recv() == "lost with the path"

    on_pair(test)


def test_a_closed_channel_says_nothing_of_the_one_that_has_its_stream_now() -> None:
    async def test(pair: Pair) -> None:
        closed, _ = await pair.channel()
        await closed.close()
        ours, _ = await pair.channel()
        assert ours.id == closed.id == 0
        ours.buffered_amount_low_threshold = 1000
        ours.send(bytes(100_000))
        assert closed.buffered_amount == 0
        closed.buffered_amount_low_threshold = 0
        assert pair.a.association is not None
        assert pair.a.association._outbound.queue.streams[0].low_threshold == 1000

    on_pair(test)
