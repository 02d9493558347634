"""A data channel by itself: its states, its events, its queues, against a transport that records what it is told."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.support.virtual_loop import run, turns
from webrtc_py.data_channel import MAX_BUFFERED_AMOUNT, DataChannel, DataChannelInit, make_init
from webrtc_py.datachannel.message import PPID
from webrtc_py.errors import ArgumentTypeError, ConnectionClosedError, InvalidStateError, OperationError, RTCError
from webrtc_py.states import DataChannelState


class RecordingTransport:
    """Queues what is sent until the test lets it out, and says when the amount falls to the threshold."""

    def __init__(self) -> None:
        self.max_message_size: float = 65536
        self.sent: list[tuple[int, bytes]] = []
        self.consumed_bytes = 0
        self.closing: list[DataChannel] = []
        self.queued = 0
        self.threshold = 0

    def send(self, channel: DataChannel, ppid: int, data: bytes, counted: bool) -> None:
        self.sent.append((ppid, data))
        self.queued += len(data) if counted else 0

    def close_channel(self, channel: DataChannel) -> None:
        self.closing.append(channel)

    def consumed(self, size: int) -> None:
        self.consumed_bytes += size

    def buffered_amount(self, channel: DataChannel) -> int:
        return self.queued

    def set_low_threshold(self, channel: DataChannel, threshold: int) -> None:
        self.threshold = threshold

    def transmit(self, channel: DataChannel, size: int) -> None:
        before, self.queued = self.queued, self.queued - size
        if before > self.threshold >= self.queued:
            channel.buffered_amount_is_low()


def on_channel(
    test: Callable[[DataChannel, RecordingTransport], Coroutine[Any, Any, None]], *, opened: bool = True, **init: Any
) -> None:
    async def main() -> None:
        transport = RecordingTransport()
        channel = DataChannel(transport, "label", DataChannelInit(**init))
        if opened:
            channel.set_open()
            await asyncio.sleep(0)
        await test(channel, transport)
        channel.set_closed()

    run(main())


@pytest.mark.row("WPC-10")
def test_send_needs_an_open_channel() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        assert channel.ready_state is DataChannelState.CONNECTING
        with pytest.raises(InvalidStateError, match="'label' is connecting"):
            channel.send("x")
        channel.set_open()
        channel.send("x")
        channel.start_closing()
        with pytest.raises(InvalidStateError, match="closing"):
            channel.send("x")
        channel.set_closed()
        with pytest.raises(InvalidStateError, match="closed"):
            channel.send("x")
        assert transport.sent == [(PPID.STRING, b"x")]

    on_channel(test, opened=False)


@pytest.mark.row("WPC-10", "DSD-03")
def test_send_refuses_other_types_and_what_the_peer_does_not_take() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        for wrong in (5, None, ["x"], object()):
            with pytest.raises(TypeError, match="a message is bytes"):
                channel.send(wrong)  # type: ignore[arg-type]
        channel.send(b"x" * 65536)
        with pytest.raises(ArgumentTypeError, match="65537 bytes is larger than the 65536"):
            channel.send(b"x" * 65537)
        with pytest.raises(ArgumentTypeError):
            channel.send("\u00fc" * 32769)
        transport.max_message_size = math.inf
        channel.send(b"x" * 65537)

    on_channel(test)


@pytest.mark.row("WPC-10")
def test_send_refuses_when_the_buffer_is_full() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        transport.max_message_size = math.inf
        # One message of any size is taken while nothing else is queued.
        channel.send(bytes(MAX_BUFFERED_AMOUNT))
        with pytest.raises(OperationError, match=r"await drain\(\)"):
            channel.send(b"x")
        transport.transmit(channel, 1)
        channel.send(b"x")

    on_channel(test)


@pytest.mark.row("WPC-10")
def test_buffered_amount_counts_application_bytes_exactly() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        for message, size in (("\u00fc", 2), (b"", 0), ("", 0), (bytearray(5), 5), (memoryview(b"abc"), 3)):
            before = channel.buffered_amount
            channel.send(message)
            assert channel.buffered_amount - before == size
        assert (channel.messages_sent, channel.bytes_sent) == (5, 10)

    on_channel(test)


def test_a_mutable_buffer_may_change_after_send() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        buffer = bytearray(b"before")
        channel.send(buffer)
        channel.send(memoryview(buffer)[:3])
        buffer[:] = b"after!"
        assert transport.sent == [(PPID.BINARY, b"before"), (PPID.BINARY, b"bef")]

    on_channel(test)


@pytest.mark.row("WPC-10")
def test_buffered_amount_low_comes_once_for_each_fall() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        seen: list[int] = []
        channel.on_buffered_amount_low(lambda: seen.append(channel.buffered_amount))
        channel.buffered_amount_low_threshold = 100
        channel.send(bytes(100))
        transport.transmit(channel, 50)
        await turns()
        assert seen == [], "it never was above the threshold"
        channel.send(bytes(100))
        transport.transmit(channel, 10)
        await turns()
        assert seen == []
        transport.transmit(channel, 60)
        transport.transmit(channel, 60)
        await turns()
        assert seen == [20]
        channel.send(bytes(200))
        transport.transmit(channel, 120)
        await turns()
        assert seen == [20, 100]
        with pytest.raises(TypeError):
            channel.buffered_amount_low_threshold = -1

    on_channel(test)


def test_drain_waits_for_its_own_level_beside_the_threshold() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        lows: list[int] = []
        channel.buffered_amount_low_threshold = 500
        channel.on_buffered_amount_low(lambda: lows.append(channel.buffered_amount))
        channel.send(bytes(1000))
        drains = {level: asyncio.create_task(channel.drain(level)) for level in (800, 200, 0)}
        await turns()

        def done() -> list[int]:
            return [level for level, task in drains.items() if task.done()]

        for amount, expected_done, expected_lows in (
            (150, [], 0),
            (50, [800], 0),
            (300, [800], 1),
            (400, [800, 200], 1),
        ):
            transport.transmit(channel, amount)
            await turns()
            assert done() == expected_done
            assert len(lows) == expected_lows
        transport.transmit(channel, 100)
        await turns()
        assert done() == [800, 200, 0]
        await channel.drain()

    on_channel(test)


def test_drain_and_recv_and_opened_end_when_the_channel_closes() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        channel.send(bytes(10))
        waiting = [asyncio.create_task(wait) for wait in (channel.drain(), channel.recv(), channel.recv())]
        await turns()
        channel.set_closed()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectionClosedError] * 3
        with pytest.raises(ConnectionClosedError):
            await channel.opened()
        assert [message async for message in channel] == []

    on_channel(test)


def test_opened_waits_and_fails_with_the_channel() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        first = asyncio.create_task(channel.opened())
        await turns()
        assert not first.done()
        channel.set_open()
        await first
        await channel.opened()

    async def closed(channel: DataChannel, transport: RecordingTransport) -> None:
        waiting = asyncio.create_task(channel.opened())
        await turns()
        channel.set_closed()
        with pytest.raises(ConnectionClosedError):
            await waiting

    on_channel(test, opened=False)
    on_channel(closed, opened=False)


def test_messages_wait_for_whoever_comes_first() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        for number in range(5):
            channel.message_received(f"m{number}", 2)
        assert transport.consumed_bytes == 0, "what nobody has read holds the window"
        assert await channel.recv() == "m0"
        async for message in channel:
            assert message == "m1"
            break
        assert transport.consumed_bytes == 4
        seen: list[bytes | str] = []
        channel.on_message(seen.append)
        assert seen == []
        await turns()
        assert seen == ["m2", "m3", "m4"]
        assert transport.consumed_bytes == 10
        channel.message_received(b"m5", 2)
        await turns()
        assert seen[3:] == [b"m5"]
        assert channel.messages_received == 6
        assert channel.bytes_received == 12

    on_channel(test)


def test_readers_are_served_in_order_and_a_cancelled_one_loses_nothing() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        readers = [asyncio.create_task(channel.recv()) for _ in range(3)]
        await turns()
        channel.message_received("one", 3)
        # The first reader has been woken, and is cancelled before it runs.
        readers[0].cancel()
        channel.message_received("two", 3)
        assert await asyncio.gather(*readers[1:]) == ["one", "two"]

    on_channel(test)


def test_a_coroutine_handler_takes_one_message_at_a_time() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        gate = asyncio.Event()
        log: list[str] = []

        @channel.on_message
        async def handler(message: bytes | str) -> None:
            log.append(f"{message!s} starts")
            await gate.wait()
            log.append(f"{message!s} ends")

        for number in range(3):
            channel.message_received(str(number), 1)
        await turns()
        assert log == ["0 starts"]
        assert transport.consumed_bytes == 1, "two messages still hold the window"
        channel.set_closed()
        channel.on_close(lambda: log.append("closed"))
        gate.set()
        await turns(20)
        assert log == ["0 starts", "0 ends", "1 starts", "1 ends", "2 starts", "2 ends", "closed"]

    on_channel(test)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_a_handler_that_raises_loses_only_its_message(
    caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        seen: list[bytes | str] = []

        @channel.on_message
        def handler(message: bytes | str) -> None:
            seen.append(message)
            raise error("no")

        channel.message_received("a", 1)
        channel.message_received("b", 1)
        await turns()

        @channel.on_message
        async def coroutine(message: bytes | str) -> None:
            seen.append(message)
            raise error("no")

        with channel._shared.step:
            channel.message_received("c", 1)
            channel.message_received("d", 1)
        await turns()
        assert seen == ["a", "b", "c", "d"]
        assert channel.ready_state is DataChannelState.OPEN

    with caplog.at_level(logging.ERROR):
        on_channel(test)
    assert len([record for record in caplog.records if "on_message handler raised" in record.message]) == 4


def test_a_detached_channel_is_read_and_not_told() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        seen: list[bytes | str] = []
        channel.on_message(seen.append)
        stream = await channel.detach()
        channel.message_received("x", 1)
        await turns()
        assert seen == []
        assert await stream.read() == "x"
        await stream.write("y")
        assert transport.sent == [(PPID.STRING, b"y")]
        channel.set_closed()
        with pytest.raises(ConnectionClosedError):
            await stream.read()

    on_channel(test)


@pytest.mark.row("WPC-10")
def test_closing_runs_through_its_states_and_events() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        log: list[str] = []
        channel.on_closing(lambda: log.append(f"closing {channel.ready_state}"))
        channel.on_close(lambda: log.append(f"close {channel.ready_state}"))
        channel.on_error(lambda error: log.append(f"error {error.error_detail}"))
        closing = asyncio.create_task(channel.close())
        await turns()
        assert transport.closing == [channel]
        assert log == ["closing closing"]
        await channel.close()
        assert transport.closing == [channel]
        channel.set_closed(RTCError("sctp-failure", "gone"))
        await closing
        channel.set_closed()
        await turns()
        assert log == ["closing closing", "error sctp-failure", "close closed"]

    on_channel(test)


def test_close_ends_though_the_peer_does_not() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        start = asyncio.get_running_loop().time()
        await channel.close()
        assert asyncio.get_running_loop().time() - start <= 2
        assert channel.ready_state is DataChannelState.CLOSING

    on_channel(test)


def test_close_from_inside_a_handler() -> None:
    async def test(channel: DataChannel, transport: RecordingTransport) -> None:
        @channel.on_message
        async def handler(message: bytes | str) -> None:
            await channel.close()

        channel.message_received("x", 1)
        await turns()
        assert channel.ready_state is DataChannelState.CLOSING
        channel.set_closed()

    on_channel(test)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_retransmits": 1, "max_packet_life_time": 1},
        {"max_retransmits": -1},
        {"max_retransmits": 1.5},
        {"max_retransmits": "3"},
        {"max_packet_life_time": True},
        {"max_packet_life_time": 65536},
        {"negotiated": 65535},
        {"negotiated": -1},
        {"negotiated": True},
        {"negotiated": True, "id": 65535},
        {"negotiated": 7.0},
        {"negotiated": "7"},
        {"protocol": b"x"},
        {"protocol": "\u00fc" * 32768},
        {"no_such_field": 1},
    ],
)
@pytest.mark.row("WPC-10")
def test_init_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        make_init(None, fields)


def test_negotiated_ids_in_both_spellings() -> None:
    assert make_init(None, {"negotiated": 7}).stream_id == 7
    assert make_init(DataChannelInit(ordered=False), {"negotiated": True, "id": 7}).stream_id == 7
    assert make_init(None, {"id": 7}).stream_id is None
    assert make_init(None, {"negotiated": 0}).stream_id == 0


def test_a_label_has_a_longest_length_in_octets() -> None:
    async def main() -> None:
        DataChannel(RecordingTransport(), "x" * 65535, DataChannelInit())
        with pytest.raises(ArgumentTypeError):
            DataChannel(RecordingTransport(), "\u00fc" * 32768, DataChannelInit())

    run(main())


@pytest.mark.parametrize("label", [None, 5, b"label"])
def test_a_label_is_a_string(label: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="label is a string"):
            DataChannel(RecordingTransport(), label, DataChannelInit())

    run(main())


def test_lone_surrogates_in_label_and_protocol_are_mended_as_w3c_does() -> None:
    async def main() -> None:
        channel = DataChannel(RecordingTransport(), "a\ud800b", DataChannelInit(protocol="\udc00"))
        assert (channel.label, channel.protocol) == ("a\ufffdb", "\ufffd")

    run(main())


def test_what_is_left_in_a_closed_channel_holds_the_window_only_for_a_handler() -> None:
    async def unread(channel: DataChannel, transport: RecordingTransport) -> None:
        channel.message_received(b"12345", 5)
        channel.message_received("", 1)
        assert channel.bytes_received == 5
        channel.set_closed()
        assert transport.consumed_bytes == 6
        assert [message async for message in channel] == [b"12345", ""]
        assert transport.consumed_bytes == 6, "once"

    async def handled(channel: DataChannel, transport: RecordingTransport) -> None:
        finish = asyncio.Event()
        channel.on_message(lambda message: finish.wait())
        for _ in range(3):
            channel.message_received(b"1", 1)
        await turns()
        channel.set_closed()
        assert transport.consumed_bytes == 1
        finish.set()
        await turns(10)
        assert transport.consumed_bytes == 3

    on_channel(unread)
    on_channel(handled)
