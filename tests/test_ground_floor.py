"""The small rules that everything stands on: trains, serial numbers, the first byte, the combined states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.mux import PROTOCOL_OF_FIRST_BYTE, Protocol, is_rtcp
from webrtc_py.serial import diff32, gt16
from webrtc_py.states import (
    DTLSTransportState,
    ICEConnectionState,
    ICETransportState,
    PeerConnectionState,
    combine_connection,
    combine_ice_connection,
)
from webrtc_py.train import Train


@given(st.lists(st.binary(min_size=7, max_size=7), max_size=5), st.binary(min_size=1, max_size=7))
def test_a_train_gives_back_its_datagrams(full: list[bytes], last: bytes) -> None:
    datagrams = [*full, last]
    train = Train(memoryview(b"".join(datagrams)), 7 if full else len(last))
    assert [bytes(datagram) for datagram in train] == datagrams
    assert len(train) == len(datagrams)
    assert train.first_bytes() == bytes(datagram[0] for datagram in datagrams)


@pytest.mark.row("DMX-01", "DMX-02")
def test_the_first_byte_names_the_protocol() -> None:
    ranges = {
        Protocol.STUN: range(4),
        Protocol.ZRTP: range(16, 20),
        Protocol.DTLS: range(20, 64),
        Protocol.TURN_CHANNEL: range(64, 80),
        Protocol.RTP: range(128, 192),
    }
    expected = {byte: protocol for protocol, bytes_ in ranges.items() for byte in bytes_}
    assert len(PROTOCOL_OF_FIRST_BYTE) == 256
    for byte in range(256):
        assert PROTOCOL_OF_FIRST_BYTE[byte] is expected.get(byte, Protocol.UNKNOWN)


@pytest.mark.row("DMX-03")
def test_rtcp_is_told_from_rtp_by_the_second_byte() -> None:
    assert [byte for byte in range(256) if is_rtcp(byte)] == list(range(192, 224))


@pytest.mark.row("SCP-26")
def test_serial_numbers_wrap() -> None:
    assert gt16(0, 0xFFFF)
    assert not gt16(0xFFFF, 0)
    assert not gt16(5, 5)
    assert diff32(1, 0xFFFFFFFF) == 2
    assert diff32(0xFFFFFFFF, 1) == -2


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31) + 1, 2**31 - 1))
def test_serial_difference_undoes_addition(a: int, n: int) -> None:
    assert diff32((a + n) & 0xFFFFFFFF, a) == n


def test_a_wrong_state_names_the_right_ones() -> None:
    assert ICETransportState("checking") is ICETransportState.CHECKING
    with pytest.raises(ValueError, match="'chekcing' is not a ICETransportState; it is one of 'new', 'checking'"):
        ICETransportState("chekcing")


_ICE = {
    # RTCIceConnectionState's table, by what is present among the transports.
    (): "new",
    ("new",): "new",
    ("new", "closed"): "new",
    ("checking",): "checking",
    ("new", "connected"): "checking",
    ("checking", "completed"): "checking",
    ("connected",): "connected",
    ("connected", "completed"): "connected",
    ("connected", "closed"): "connected",
    ("completed",): "completed",
    ("completed", "closed"): "completed",
    ("disconnected", "connected"): "disconnected",
    ("disconnected", "checking"): "disconnected",
    ("failed", "disconnected", "connected"): "failed",
}


@pytest.mark.row("WPC-07")
@pytest.mark.parametrize(("present", "expected"), _ICE.items())
def test_ice_connection_state_combines(present: tuple[str, ...], expected: str) -> None:
    states = [ICETransportState(state) for state in present]
    assert combine_ice_connection(states, closed=False) is ICEConnectionState(expected)
    assert combine_ice_connection(states, closed=True) is ICEConnectionState.CLOSED


_CONNECTION = [
    # RTCPeerConnectionState's table: ICE transports, DTLS transports, the connection.
    ((), (), "new"),
    (("new",), ("new",), "new"),
    (("closed",), ("new",), "new"),
    (("checking",), ("new",), "connecting"),
    (("connected",), ("new",), "connecting"),
    (("connected",), ("connecting",), "connecting"),
    (("new",), ("connected",), "connecting"),
    (("connected",), ("connected",), "connected"),
    (("completed",), ("connected", "closed"), "connected"),
    (("connected",), ("closed",), "connected"),
    (("disconnected",), ("connected",), "disconnected"),
    (("disconnected",), ("failed",), "failed"),
    (("failed",), ("connected",), "failed"),
]


@pytest.mark.row("WPC-07")
@pytest.mark.parametrize(("ice", "dtls", "expected"), _CONNECTION)
def test_connection_state_combines(ice: tuple[str, ...], dtls: tuple[str, ...], expected: str) -> None:
    ice_states = [ICETransportState(state) for state in ice]
    dtls_states = [DTLSTransportState(state) for state in dtls]
    assert combine_connection(ice_states, dtls_states, closed=False) is PeerConnectionState(expected)
    assert combine_connection(ice_states, dtls_states, closed=True) is PeerConnectionState.CLOSED
