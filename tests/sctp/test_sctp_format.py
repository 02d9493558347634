"""SCTP on the wire: bytes to objects and back, and whatever else bytes may be."""

from __future__ import annotations

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from tests.sctp.wire import chunks_of, packet_checksum
from webrtc_py.errors import ParseError
from webrtc_py.sctp import chunk as c
from webrtc_py.sctp import parameter as p
from webrtc_py.sctp.handshake import read_init
from webrtc_py.sctp.packet import (
    CHECKSUM,
    HEADER_SIZE,
    RawChunk,
    build_packet,
    padded,
    split_chunks,
)
from webrtc_py.sctp.parameter import Parameter, parse_parameters, parse_reconfig, serialize_parameters

# The INITs of Chromium 156, as recorded in both DTLS roles.
CHROMIUM_INITS = [
    "13881388000000001a755ca50100001e3b23ad3100500000ffffffff32e296bfc00000048008000682c00000",
    "13881388000000000250a9a40100001e54ebfaa300500000ffffffff5aab10aec00000048008000682c00000",
]

TABLE: list[tuple[str, c.Chunk]] = [
    ("0003001400000001000200030000003368690a7c", c.DataChunk(3, 1, 2, 3, 51, b"hi\n|")),
    ("000c001100000001000200030000003378000000", c.DataChunk(c.UNORDERED | c.IMMEDIATE, 1, 2, 3, 51, b"x")),
    ("01000014000000640000ffff0001000200001000", c.InitChunk(100, 65535, 1, 2, 4096)),
    (
        "02000020000000640000ffff00010002000010000007000663630000c0000004",
        c.InitChunk(100, 65535, 1, 2, 4096, (Parameter(7, b"cc"), Parameter(0xC000)), is_ack=True),
    ),
    # The example of RFC 9260 section 3.3.4.
    ("030000180000000c0000123400020000" + "0002000300050005", c.SackChunk(12, 4660, ((2, 3), (5, 5)))),
    ("030000180000000c000000000000000200000013" + "00000013", c.SackChunk(12, 0, (), (19, 19))),
    ("0400000a0001000661620000", c.HeartbeatChunk(bytes.fromhex("000100066162"))),
    ("0500000a0001000661620000", c.HeartbeatAckChunk(bytes.fromhex("000100066162"))),
    ("06010004", c.AbortChunk(1)),
    ("0600000d000c0009627965210a000000", c.AbortChunk(0, (Parameter(12, b"bye!\n"),))),
    ("07000008000000ff", c.ShutdownChunk(255)),
    ("08000004", c.ShutdownAckChunk()),
    ("0900000c0003000800000001", c.ErrorChunk((Parameter(3, b"\0\0\0\1"),))),
    ("0a00000763636300", c.CookieEchoChunk(b"ccc")),
    ("0b000004", c.CookieAckChunk()),
    ("0e010004", c.ShutdownCompleteChunk(1)),
    (
        "82000018000d00140000000100000002000000030004000582000008",
        c.ReconfigChunk((p.OutgoingResetRequest(1, 2, 3, (4, 5)).serialize(),)),
    ),
    ("8400000700000000", c.PadChunk(3)),
    ("c000000c0000000900050006", c.ForwardTsnChunk(9, ((5, 6),))),
    ("3f0100057a000000", c.UnknownChunk(0x3F, 1, b"z")),
]
TABLE[16] = (TABLE[16][0][:48], TABLE[16][1])


@pytest.mark.row("SCP-03", "SCP-14")
@pytest.mark.parametrize(("octets", "chunk"), TABLE, ids=lambda item: type(item).__name__)
def test_chunk_both_ways(octets: str, chunk: c.Chunk) -> None:
    data = bytes.fromhex(octets)
    assert chunk.serialize() == data
    (raw,) = split_chunks(memoryview(data), 0, len(data))
    assert c.parse_chunk(raw) == chunk


RECONFIG_TABLE: list[tuple[str, p.ReconfigRequest | p.ReconfigResponse]] = [
    ("000d0012000000010000000200000003000a0000", p.OutgoingResetRequest(1, 2, 3, (10,))),
    ("000e00080000000100000000"[:16], p.IncomingResetRequest(1)),
    ("000e000c0000000100020003", p.IncomingResetRequest(1, (2, 3))),
    ("000f000800000001", p.TsnResetRequest(1)),
    ("0010000c0000000100000006", p.ReconfigResponse(1, 6)),
    ("0011000c0000000100200000", p.AddOutgoingStreamsRequest(1, 32)),
    ("0012000c0000000100200000", p.AddIncomingStreamsRequest(1, 32)),
]


@pytest.mark.parametrize(("octets", "item"), RECONFIG_TABLE, ids=lambda item: type(item).__name__)
def test_reconfig_parameter_both_ways(octets: str, item: p.ReconfigRequest | p.ReconfigResponse) -> None:
    data = bytes.fromhex(octets)
    assert item.serialize().serialize() == data
    (parameter,) = parse_parameters(memoryview(data))
    assert parse_reconfig(parameter) == item


@pytest.mark.row("SCP-02")
@pytest.mark.parametrize(
    ("data", "expected"),
    # RFC 3720 appendix B.4.
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
    ids=["zeros", "ones", "ascending"],
)
def test_checksum_is_crc32c(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.row("SCP-02", "SCD-02")
@pytest.mark.parametrize("octets", CHROMIUM_INITS, ids=["chromium-server", "chromium-client"])
def test_chromium_init(octets: str) -> None:
    packet = bytes.fromhex(octets)
    assert CHECKSUM.unpack_from(packet, 8)[0] == packet_checksum(packet)
    (init,) = chunks_of(packet)
    assert isinstance(init, c.InitChunk)
    assert build_packet(5000, 5000, 0, [init.serialize()]) == packet
    peer = read_init(init).peer
    assert (peer.a_rwnd, peer.outbound_streams, peer.forward_tsn, peer.reconfig) == (5 << 20, 65535, True, True)
    assert not peer.zero_checksum


@pytest.mark.row("SCP-02")
def test_checksum_stands_with_its_lowest_byte_first() -> None:
    packet = build_packet(5000, 5000, 1, [c.CookieAckChunk().serialize()])
    assert packet[8:12] == packet_checksum(packet).to_bytes(4, "little")
    assert build_packet(5000, 5000, 1, [], checksum=False)[8:12] == bytes(4)


@pytest.mark.row("SCP-03")
def test_padding_is_zero_not_counted_and_forgiven_at_the_end() -> None:
    data = c.CookieEchoChunk(b"12345").serialize()
    assert len(data) == 12
    assert data[2:4] == b"\0\x09"
    assert data[9:] == bytes(3)
    (raw,) = split_chunks(memoryview(data), 0, 9)
    assert bytes(raw.value) == b"12345"
    noisy = data[:9] + b"\xaa\xbb\xcc"
    assert [bytes(raw.value) for raw in split_chunks(memoryview(noisy), 0, 12)] == [b"12345"]


@pytest.mark.row("SCP-03", "SCP-18")
@pytest.mark.parametrize("octets", ["00", "000003", "00000000", "00000003", "0a000005", "0b00000400"])
def test_partial_chunks_are_refused(octets: str) -> None:
    data = memoryview(bytes.fromhex(octets))
    with pytest.raises(ParseError):
        list(split_chunks(data, 0, len(data)))


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (c.DATA, 11),
        (c.INIT, 15),
        (c.INIT_ACK, 15),
        (c.SACK, 11),
        (c.SHUTDOWN, 3),
        (c.FORWARD_TSN, 3),
        (c.FORWARD_TSN, 6),
        (c.ABORT, 3),
        (c.RE_CONFIG, 5),
    ],
)
def test_short_values_are_refused(type_: int, value: int) -> None:
    with pytest.raises(ParseError):
        c.parse_chunk(RawChunk(type_, 0, memoryview(b"\xff" * value)))


def test_a_sack_must_have_all_its_blocks() -> None:
    value = bytes.fromhex("0000000c00000000ffffffff")
    with pytest.raises(ParseError):
        c.parse_chunk(RawChunk(c.SACK, 0, memoryview(value)))


@pytest.mark.row("SCP-04")
@pytest.mark.parametrize(
    ("type_", "stops", "reported"),
    [(0x0042, True, False), (0x4042, True, True), (0x8042, False, False), (0xC042, False, True)],
)
def test_a_parameters_highest_bits(type_: int, stops: bool, reported: bool) -> None:
    parameter = Parameter(type_)
    assert (parameter.stops_processing, parameter.is_reported) == (stops, reported)


parameters = st.builds(Parameter, st.integers(0, 0xFFFF), st.binary(max_size=20))
u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
chunks = st.one_of(
    st.builds(c.DataChunk, st.integers(0, 15), u32, u16, u16, u32, st.binary(max_size=40)),
    st.builds(c.InitChunk, u32, u32, u16, u16, u32, st.lists(parameters, max_size=4).map(tuple), st.booleans()),
    st.builds(
        c.SackChunk,
        u32,
        u32,
        st.lists(st.tuples(u16, u16), max_size=5).map(tuple),
        st.lists(u32, max_size=5).map(tuple),
    ),
    st.builds(c.ForwardTsnChunk, u32, st.lists(st.tuples(u16, u16), max_size=5).map(tuple)),
    st.builds(c.AbortChunk, st.integers(0, 1), st.lists(parameters, max_size=3).map(tuple)),
    st.builds(c.ReconfigChunk, st.lists(parameters, max_size=3).map(tuple)),
    st.builds(c.CookieEchoChunk, st.binary(max_size=40)),
    st.builds(c.PadChunk, st.integers(0, 40)),
)


@given(st.lists(chunks, max_size=5))
def test_packets_there_and_back(items: list[c.Chunk]) -> None:
    assert chunks_of(build_packet(1, 2, 3, [item.serialize() for item in items])) == items


@pytest.mark.row("SCP-28")
@given(st.binary(max_size=200))
def test_any_bytes_are_chunks_or_a_parse_error(data: bytes) -> None:
    try:
        for raw in split_chunks(memoryview(data), 0, len(data)):
            chunk = c.parse_chunk(raw)
            if isinstance(chunk, c.ReconfigChunk):
                for parameter in chunk.parameters:
                    parse_reconfig(parameter)
    except ParseError:
        pass


@given(
    st.sampled_from([c.INIT, c.INIT_ACK, c.SACK, c.ABORT, c.ERROR, c.RE_CONFIG, c.FORWARD_TSN]), st.binary(max_size=80)
)
def test_any_value_is_a_chunk_or_a_parse_error(type_: int, value: bytes) -> None:
    try:
        chunk = c.parse_chunk(RawChunk(type_, 0, memoryview(value)))
        if isinstance(chunk, c.ReconfigChunk):
            for parameter in chunk.parameters:
                parse_reconfig(parameter)
    except ParseError:
        pass


@given(st.lists(parameters, max_size=5))
def test_parameters_there_and_back(items: list[Parameter]) -> None:
    data = serialize_parameters(items)
    assert parse_parameters(memoryview(data)) == tuple(items)
    if items:
        assert padded(len(data)) == sum(padded(4 + len(item.value)) for item in items)


def test_header_size() -> None:
    assert len(build_packet(1, 2, 3, [])) == HEADER_SIZE
