"""Two SCTP transports: what a peer must not say, and how associations end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.sctp.transports import DELAY, Pair, on_pair, raw_send
from tests.sctp.wire import packet_to
from webrtc_py import sctp_transport
from webrtc_py.datachannel import dcep
from webrtc_py.datachannel.message import PPID
from webrtc_py.errors import InvalidStateError, OperationError, RTCError
from webrtc_py.sctp.chunk import BEGINNING, END, AbortChunk, Chunk, DataChunk, ReconfigChunk, ShutdownChunk
from webrtc_py.sctp.parameter import AddOutgoingStreamsRequest, OutgoingResetRequest
from webrtc_py.sctp_transport import SCTPCapabilities
from webrtc_py.states import DataChannelState, DTLSTransportState, SCTPTransportState


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
