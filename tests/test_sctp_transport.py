"""Two SCTP transports and their channels over a wire in place of DTLS, on virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.sctp.wire import packet_to
from tests.support.virtual_loop import run
from webrtc_py import sctp_transport
from webrtc_py.data_channel import DataChannel
from webrtc_py.datachannel import dcep
from webrtc_py.datachannel.message import PPID
from webrtc_py.dtls_transport import DTLSTransport
from webrtc_py.errors import InvalidStateError, OperationError, RTCError
from webrtc_py.runtime.shared import Shared
from webrtc_py.sctp.chunk import (
    BEGINNING,
    END,
    AbortChunk,
    Chunk,
    DataChunk,
    ReconfigChunk,
    ShutdownChunk,
)
from webrtc_py.sctp.parameter import AddOutgoingStreamsRequest, OutgoingResetRequest
from webrtc_py.sctp_transport import SCTPCapabilities, SCTPTransport
from webrtc_py.setting_engine import SettingEngine
from webrtc_py.states import DataChannelState, DTLSRole, DTLSTransportState, SCTPTransportState
from webrtc_py.train import Train

DELAY = 0.01


class Wire:
    """A DTLS transport of one end: what it sends arrives at the other after ``DELAY``, unless ``lost(datagram)``."""

    def __init__(self, role: DTLSRole) -> None:
        self.role = role
        self.state = DTLSTransportState.NEW
        self.name = "wire"
        self.ice_transport = self
        self.path_listeners: list[Callable[[bool], None]] = []
        self.peer: Wire
        self.lost: Callable[[bytes], bool] = lambda datagram: False
        self.sent = 0
        self._receiver: Callable[[Train, float], None] | None = None
        self._listeners: list[Callable[[DTLSTransportState], None]] = []
        self._shared = Shared.of_running_loop()

    def send(self, train: Train) -> None:
        for datagram in train:
            data = bytes(datagram)
            self.sent += 1
            if not self.lost(data):
                self._shared.loop.call_later(DELAY, self.peer.arrive, data)

    def arrive(self, data: bytes) -> None:
        if self._receiver is not None and self.state is DTLSTransportState.CONNECTED:
            with self._shared.step:
                self._receiver(Train.of(data), self._shared.loop.time())

    def set_data_receiver(self, receiver: Callable[[Train, float], None] | None) -> None:
        self._receiver = receiver

    def add_state_listener(self, listener: Callable[[DTLSTransportState], None]) -> None:
        self._listeners.append(listener)

    def add_path_listener(self, listener: Callable[[bool], None]) -> None:
        self.path_listeners.append(listener)

    def become(self, state: DTLSTransportState) -> None:
        self.state = state
        for listener in self._listeners:
            listener(state)


class Pair:
    """Two transports, ``a`` the DTLS client; ``incoming`` holds what each side's peer opened."""

    def __init__(self, **settings: Any) -> None:
        engine = SettingEngine()
        for name, value in settings.items():
            setattr(engine, name, value)
        self.wires = (Wire(DTLSRole.CLIENT), Wire(DTLSRole.SERVER))
        self.wires[0].peer, self.wires[1].peer = self.wires[1], self.wires[0]
        self.a, self.b = (SCTPTransport(cast(DTLSTransport, wire), engine) for wire in self.wires)
        self.incoming: tuple[list[DataChannel], list[DataChannel]] = ([], [])
        self._arrived = asyncio.Event()
        self.a.set_listener(self.incoming[0].append)
        self.b.set_listener(self._b_has_channel)

    def _b_has_channel(self, channel: DataChannel) -> None:
        self.incoming[1].append(channel)
        self._arrived.set()

    def start(self, max_message_size: int = 262144) -> None:
        for transport in (self.a, self.b):
            transport.start(SCTPCapabilities(max_message_size))

    def connect(self) -> None:
        for wire in self.wires:
            wire.become(DTLSTransportState.CONNECTED)

    async def channel(self, **init: Any) -> tuple[DataChannel, DataChannel]:
        """A channel of ``a``, and its other end."""
        self._arrived.clear()
        channel = self.a.create_data_channel("label", **init)
        await self._arrived.wait()
        return channel, self.incoming[1][-1]


def on_pair(test: Callable[[Pair], Coroutine[Any, Any, None]], *, connected: bool = True, **settings: Any) -> None:
    async def main() -> None:
        pair = Pair(**settings)
        if connected:
            pair.start()
            pair.connect()
            await asyncio.sleep(10 * DELAY)
            assert pair.a.state is pair.b.state is SCTPTransportState.CONNECTED
        await test(pair)
        pair.a.stop()
        pair.b.stop()
        await asyncio.sleep(2 * DELAY)

    run(main())


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


def raw_send(transport: SCTPTransport, stream_id: int, ppid: int, data: bytes) -> None:
    """Say something on a stream that no channel of ours would say."""
    association = transport.association
    assert association is not None
    association.send(stream_id, ppid, data, asyncio.get_running_loop().time())
    transport.consumed(1)
    # The flush that consumed() posts sends it.


@pytest.mark.row("DCH-10", "DCE-05", "DCE-06")
@pytest.mark.parametrize(
    ("stream_id", "ppid", "data"),
    [
        (10, PPID.STRING, b"nobody opened this"),
        (10, PPID.DCEP, b"\x03"),
        (10, PPID.DCEP, b""[:0] or b"\x99"),
        (10, PPID.DCEP, b"\x02"),
        (11, PPID.DCEP, dcep.Open("wrong parity").serialize()),
        (0, PPID.DCEP, b"\x77 unknown"),
        (0, PPID.DCEP, b"\x02"),
        (0, 99, b"unknown identifier"),
        (0, PPID.DCEP, dcep.Open("again").serialize()),
        (0, PPID.BINARY_PARTIAL, b"partial"),
    ],
)
def test_what_a_peer_must_not_say_ends_at_most_its_own_channel(
    stream_id: int, ppid: int, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(pair: Pair) -> None:
        first, _ = await pair.channel()
        assert first.id == 0
        other, their_other = await pair.channel()
        raw_send(pair.a, stream_id, ppid, data)
        await asyncio.sleep(1)
        other.send("still here")
        assert await their_other.recv() == "still here"
        assert len(pair.incoming[1]) == 2
        assert pair.b.state is SCTPTransportState.CONNECTED

    on_pair(test)
    # A peer can say it as often as it likes.
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def from_peer(pair: Pair, *chunks: Chunk) -> None:
    """A packet that ``b`` gets as if ``a`` had sent it."""
    assert pair.b.association is not None
    pair.wires[1].arrive(bytes(packet_to(pair.b.association, *chunks).data))


def data_of_peer(pair: Pair, stream_id: int, ppid: int, data: bytes, *, ahead: int = 1) -> DataChunk:
    assert pair.b.association is not None
    tsn = pair.b.association._inbound.cumulative + ahead & 0xFFFFFFFF
    return DataChunk(BEGINNING | END, tsn, stream_id, 0, ppid, data)


def shutdown_of_peer(pair: Pair) -> ShutdownChunk:
    assert pair.b.association is not None
    return ShutdownChunk(pair.b.association._outbound.rtx.cumulative & 0xFFFFFFFF)


@pytest.mark.row("SCP-28")
@pytest.mark.parametrize("end", [shutdown_of_peer, lambda pair: AbortChunk(0, ())], ids=["SHUTDOWN", "ABORT"])
@pytest.mark.parametrize(
    ("stream_id", "ppid", "data"),
    [
        (10, PPID.DCEP, dcep.Open("late").serialize()),
        (11, PPID.DCEP, dcep.Open("wrong parity").serialize()),
        (10, PPID.DCEP, b"\x99"),
        (10, PPID.STRING, b"nobody opened this"),
        (0, PPID.BINARY_PARTIAL, b"partial"),
    ],
)
def test_what_comes_in_one_packet_with_the_end_needs_no_answer(
    stream_id: int, ppid: int, data: bytes, end: Callable[[Pair], Chunk]
) -> None:
    async def test(pair: Pair) -> None:
        _, theirs = await pair.channel()
        from_peer(pair, data_of_peer(pair, stream_id, ppid, data), end(pair))
        await asyncio.sleep(1)
        assert pair.b.state is SCTPTransportState.CLOSED
        assert theirs.ready_state is DataChannelState.CLOSED
        assert pair.b.channels == []

    on_pair(test)


def test_a_reset_in_one_packet_with_the_end() -> None:
    async def test(pair: Pair) -> None:
        _, theirs = await pair.channel()
        association = pair.b.association
        assert association is not None
        assert association._reset is not None
        request = OutgoingResetRequest(association._reset._peer_sequence, 0, association._inbound.cumulative, (0,))
        from_peer(pair, ReconfigChunk((request.serialize(),)), shutdown_of_peer(pair))
        assert theirs.ready_state is DataChannelState.CLOSING
        pair.b.stop()
        assert theirs.ready_state is DataChannelState.CLOSED

    on_pair(test)


def test_while_the_peer_shuts_the_association_down_channels_close_and_none_is_made() -> None:
    async def test(pair: Pair) -> None:
        _, theirs = await pair.channel()
        pair.wires[1].lost = lambda datagram: True
        theirs.send("the association waits for this to be acknowledged")
        await asyncio.sleep(0)
        from_peer(pair, shutdown_of_peer(pair))
        with pytest.raises(InvalidStateError):
            theirs.send("too late")
        with pytest.raises(InvalidStateError):
            pair.b.create_data_channel("too late")
        await theirs.close()
        assert theirs.ready_state is DataChannelState.CLOSING
        pair.b.stop()
        assert theirs.ready_state is DataChannelState.CLOSED

    on_pair(test)


def test_a_channel_on_a_stream_that_has_no_way_back_is_refused() -> None:
    """The peer asks for more streams to send on than it takes."""

    async def test(pair: Pair) -> None:
        pair.start()
        assert pair.a.association is not None
        pair.a.association._config = replace(pair.a.association._config, streams=4)
        pair.connect()
        _, theirs = await pair.channel()
        association = pair.b.association
        assert association is not None
        assert association._reset is not None
        assert pair.b.max_channels == 4
        assert [pair.b.create_data_channel("x").id for _ in range(2)] == [1, 3]
        with pytest.raises(OperationError, match="every second of 4"):
            pair.b.create_data_channel("x")
        # What follows is not of pair.a, and would surprise it.
        pair.wires[1].lost = lambda datagram: True
        more = AddOutgoingStreamsRequest(association._reset._peer_sequence, 100)
        from_peer(pair, ReconfigChunk((more.serialize(),)))
        from_peer(pair, data_of_peer(pair, 50, PPID.DCEP, dcep.Open("x").serialize()))
        await asyncio.sleep(1)
        assert pair.incoming[1] == [theirs]
        assert pair.b.state is SCTPTransportState.CONNECTED

    on_pair(test, connected=False)


def test_the_labels_of_a_peers_channels_have_a_largest_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(pair: Pair) -> None:
        monkeypatch.setattr(sctp_transport, "_MAX_TEXT", 10_000)
        ours = [pair.a.create_data_channel("x" * 2000, protocol="y" * 2000) for _ in range(4)]
        await asyncio.sleep(1)
        assert [channel.ready_state.value for channel in ours] == ["open", "open", "closed", "closed"]
        await ours[0].close()
        again = pair.a.create_data_channel("x" * 2000)
        await asyncio.sleep(1)
        assert again.ready_state is DataChannelState.OPEN
        assert len(pair.incoming[1]) == 3

    on_pair(test)


def test_an_unknown_identifier_costs_only_its_message_and_broken_text_is_mended() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        assert ours.id is not None
        raw_send(pair.a, ours.id, 99, b"unknown")
        raw_send(pair.a, ours.id, PPID.STRING, b"a\xff")
        ours.send("next")
        assert [await theirs.recv(), await theirs.recv()] == ["a\ufffd", "next"]
        assert pair.b.messages_dropped == 1

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


@pytest.mark.row("DCH-07", "DCH-10")
def test_the_peers_abort_closes_all_channels_with_an_error() -> None:
    async def test(pair: Pair) -> None:
        channels = [*(await pair.channel()), pair.b.create_data_channel("b")]
        await asyncio.sleep(1)
        errors: list[RTCError] = []
        log: list[str] = []
        pair.b.on_error(errors.append)
        channels[1].on_error(lambda error: log.append(f"error {error.error_detail} {error.sctp_cause_code}"))
        channels[1].on_close(lambda: log.append("close"))
        pair.a.stop()
        assert channels[0].ready_state is DataChannelState.CLOSED
        await asyncio.sleep(1)
        assert pair.b.state is SCTPTransportState.CLOSED
        assert {channel.ready_state for channel in channels} == {DataChannelState.CLOSED}
        assert log == ["error sctp-failure 12", "close"]
        assert [error.error_detail for error in errors] == ["sctp-failure"]
        with pytest.raises(InvalidStateError):
            pair.b.create_data_channel("late")

    on_pair(test)


@pytest.mark.row("SCP-21")
def test_a_peer_that_disappears_closes_the_channels_in_the_end() -> None:
    async def test(pair: Pair) -> None:
        ours, _ = await pair.channel()
        errors: list[RTCError] = []
        ours.on_error(errors.append)
        for wire in pair.wires:
            wire.lost = lambda datagram: True
        ours.send("into the void")
        await asyncio.sleep(400)
        assert ours.ready_state is DataChannelState.CLOSED
        assert errors[0].error_detail == "sctp-failure"

    on_pair(test)


@pytest.mark.row("SCP-23")
def test_a_peer_that_has_lost_the_association_says_so_when_it_is_spoken_to() -> None:
    async def test(pair: Pair) -> None:
        ours, theirs = await pair.channel()
        errors: list[RTCError] = []
        theirs.on_error(errors.append)
        assert pair.a.association is not None
        pair.wires[0].lost = lambda datagram: True
        pair.a.association.abort("an ABORT that gets lost", asyncio.get_running_loop().time())
        pair.a.consumed(1)  # has it sent
        await asyncio.sleep(5 * DELAY)
        assert ours.ready_state is DataChannelState.CLOSED
        assert theirs.ready_state is DataChannelState.OPEN
        pair.wires[0].lost = lambda datagram: False
        theirs.send("are you there?")
        await asyncio.sleep(5 * DELAY)
        assert theirs.ready_state is DataChannelState.CLOSED
        assert [error.error_detail for error in errors] == ["sctp-failure"]

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


@pytest.mark.parametrize(("state", "detail"), [("closed", None), ("failed", "dtls-failure")])
def test_the_end_of_dtls_is_the_end_of_sctp(state: str, detail: str | None) -> None:
    async def test(pair: Pair) -> None:
        ours, _ = await pair.channel()
        errors: list[RTCError] = []
        ours.on_error(errors.append)
        pair.wires[0].become(DTLSTransportState(state))
        await asyncio.sleep(0)
        assert ours.ready_state is DataChannelState.CLOSED
        assert pair.a.state is SCTPTransportState.CLOSED
        assert [error.error_detail for error in errors] == ([detail] if detail else [])

    on_pair(test)


def test_stop_before_start_and_twice() -> None:
    async def test(pair: Pair) -> None:
        channel = pair.a.create_data_channel("x")
        pair.a.stop()
        pair.a.stop()
        assert channel.ready_state is DataChannelState.CLOSED
        pair.a.start(SCTPCapabilities(0))
        assert pair.a.association is None

    on_pair(test, connected=False)


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


@pytest.mark.row("RCF-05")
def test_a_reset_of_all_streams_closes_the_channels_that_never_brought_anything() -> None:
    async def test(pair: Pair) -> None:
        silent = [transport.create_data_channel("", negotiated=7) for transport in (pair.a, pair.b)]
        _, theirs = await pair.channel()
        a, b = pair.a.association, pair.b.association
        assert a is not None
        assert b is not None
        request = OutgoingResetRequest(a._local_initial_tsn, 0, b._inbound.cumulative & 0xFFFFFFFF, ())
        from_peer(pair, ReconfigChunk((request.serialize(),)))
        assert silent[1].ready_state is theirs.ready_state is DataChannelState.CLOSING

    on_pair(test)


@pytest.mark.row("RCF-04")
def test_a_peer_that_refuses_to_reset_a_stream_loses_its_channel_all_the_same() -> None:
    async def test(pair: Pair) -> None:
        ours, _ = await pair.channel()
        assert pair.a.association is not None
        assert pair.a.association._reset is not None
        pair.a.association._reset.supported = False
        await ours.close()
        assert ours.ready_state is DataChannelState.CLOSED
        again = pair.a.create_data_channel("again")
        assert again.id != ours.id, "the peer's end of the old stream is still there"

    on_pair(test)
