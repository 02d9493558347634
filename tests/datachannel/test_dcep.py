"""DCEP's bytes both ways, user messages, and stream ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.datachannel import dcep
from webrtc_py.datachannel.dcep import Ack, Open
from webrtc_py.datachannel.message import PPID, decode, encode
from webrtc_py.datachannel.stream_id import StreamIDs
from webrtc_py.errors import ParseError

_TABLE = [
    (Open("chat"), "03 00 0100 00000000 0004 0000 63686174"),
    (Open("", ordered=False), "03 80 0100 00000000 0000 0000"),
    (Open("a", "b", max_retransmits=0), "03 01 0100 00000000 0001 0001 61 62"),
    (Open("a", "b", ordered=False, max_retransmits=3), "03 81 0100 00000003 0001 0001 61 62"),
    (Open("a", max_packet_life_time=500, priority=512), "03 02 0200 000001f4 0001 0000 61"),
    (Open("a", ordered=False, max_packet_life_time=1), "03 82 0100 00000001 0001 0000 61"),
    # Lengths are octets of UTF-8, not characters.
    (Open("\u00fc\U0001f600", "\u00df"), "03 00 0100 00000000 0006 0002 c3bcf09f9880 c39f"),
    (Ack(), "02"),
]


@pytest.mark.row("DCE-01", "DCE-02")
@pytest.mark.parametrize(("message", "octets"), _TABLE)
def test_messages_both_ways(message: Open | Ack, octets: str) -> None:
    data = bytes.fromhex(octets)
    assert message.serialize() == data
    assert dcep.parse(data) == message


@pytest.mark.row("DCE-06")
@pytest.mark.parametrize(
    "octets",
    [
        "",
        "00",
        "04 00",
        "03",
        "03 00 0100 00000000 0004 00",
        "03 00 0100 00000000 0004 0000 636861",
        "03 00 0100 00000000 0003 0000 63686174",
        "03 00 0100 00000000 ffff ffff 63",
        "03 03 0100 00000000 0000 0000",
        "03 00 0100 00000000 0001 0000 ff",
        "03 00 0100 00000000 0000 0001 c3",
    ],
)
def test_malformed_messages_are_refused(octets: str) -> None:
    with pytest.raises(ParseError):
        dcep.parse(bytes.fromhex(octets))


@pytest.mark.fuzz
@pytest.mark.row("DCE-06")
@given(st.binary(max_size=64) | st.builds(lambda rest: b"\x03" + rest, st.binary(max_size=64)))
def test_any_bytes_are_a_message_or_a_parse_error(data: bytes) -> None:
    try:
        message = dcep.parse(data)
    except ParseError:
        return
    assert dcep.parse(message.serialize()) == message


@pytest.mark.fuzz
@given(st.text(max_size=50), st.text(max_size=50), st.booleans(), st.integers(0, 2**32 - 1))
def test_open_there_and_back(label: str, protocol: str, ordered: bool, retransmits: int) -> None:
    message = Open(label, protocol, ordered, max_retransmits=retransmits)
    assert dcep.parse(message.serialize()) == message


@pytest.mark.row("DCH-01", "DCH-02")
@pytest.mark.parametrize(
    ("message", "ppid", "octets"),
    [
        ("text", PPID.STRING, b"text"),
        ("\u00fc", PPID.STRING, b"\xc3\xbc"),
        (b"data", PPID.BINARY, b"data"),
        (bytearray(b"data"), PPID.BINARY, b"data"),
        (memoryview(b"data"), PPID.BINARY, b"data"),
        ("", PPID.STRING_EMPTY, b"\0"),
        (b"", PPID.BINARY_EMPTY, b"\0"),
        (memoryview(b""), PPID.BINARY_EMPTY, b"\0"),
    ],
)
def test_user_messages_both_ways(message: bytes | str, ppid: PPID, octets: bytes) -> None:
    assert encode(message) == (ppid, octets)
    assert decode(ppid, octets) == message


def test_text_that_is_none_becomes_replacement_characters() -> None:
    assert decode(PPID.STRING, b"a\xff\xc3") == "a\ufffd\ufffd"
    assert encode("a\ud800b\U0001f600") == (PPID.STRING, "a\ufffdb\U0001f600".encode())


@pytest.mark.parametrize("ppid", [0, 50, 52, 54, 55, 58, 2**32 - 1])
def test_other_identifiers_carry_no_message(ppid: int) -> None:
    with pytest.raises(ParseError):
        decode(ppid, b"x")


@pytest.mark.row("DCE-03", "DCH-03")
@pytest.mark.parametrize("parity", [0, 1])
def test_ids_have_the_parity_of_the_role(parity: int) -> None:
    ids = StreamIDs()
    ids.parity = parity
    ids.reserve(parity + 2)
    assert [ids.allocate() for _ in range(3)] == [parity, parity + 4, parity + 6]
    ids.release(parity + 4)
    assert ids.allocate() == parity + 4
    assert ids.allocate() == parity + 8


@pytest.mark.row("DCH-03")
def test_ids_run_out_before_65535() -> None:
    ids = StreamIDs()
    ids.parity = 1
    given_out = []
    while (stream_id := ids.allocate()) is not None:
        given_out.append(stream_id)
    assert given_out == list(range(1, 65535, 2))
    ids.limit = 10
    ids.release(5)
    ids.release(11)
    assert [ids.allocate(), ids.allocate()] == [5, None]
