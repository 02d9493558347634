"""What is read of a datagram before anything is authenticated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dtls.pair import record
from webrtc_py.dtls.record import (
    CLIENT_MESSAGES,
    MAX_HANDSHAKE_MESSAGE,
    SERVER_MESSAGES,
    alert_name,
    check_handshake,
    cut_flight,
    is_one_data_record_each,
    parse_records,
)
from webrtc_py.errors import ParseError


def handshake(kind: int, body: bytes, *, total: int | None = None, offset: int = 0, size: int | None = None) -> bytes:
    """A handshake fragment with its header, whose lengths may lie."""
    return (
        bytes((kind,))
        + (len(body) if total is None else total).to_bytes(3, "big")
        + bytes(2)
        + offset.to_bytes(3, "big")
        + (len(body) if size is None else size).to_bytes(3, "big")
        + body
    )


def test_records_of_a_datagram() -> None:
    datagram = record(22, b"abc") + record(20, b"\x01", epoch=0) + record(23, b"", epoch=1)
    found = list(parse_records(memoryview(datagram)))
    assert [(r.content_type, r.epoch, bytes(r.payload)) for r in found] == [
        (22, 0, b"abc"),
        (20, 0, b"\x01"),
        (23, 1, b""),
    ]
    assert b"".join(bytes(r.data) for r in found) == datagram
    assert list(parse_records(memoryview(b""))) == []


@pytest.mark.row("DTL-05")
@pytest.mark.parametrize(
    "bad",
    [
        b"\x16",
        record(22, b"abc")[:-1],
        record(22, b"abc")[:12],
        record(22, b"abc", version=0x0303),
        record(22, b"abc", version=0xFEFC),
        record(19, b"abc"),
        record(24, b"abc"),
        record(63, b"abc"),
        record(23, bytes(16384 + 2049), epoch=1),
    ],
)
def test_what_is_no_record_ends_the_datagram_and_what_came_before_stands(bad: bytes) -> None:
    records = parse_records(memoryview(record(21, b"\x01\x00") + bad))
    assert next(records).content_type == 21
    with pytest.raises(ParseError):
        next(records)


@given(st.binary(max_size=100))
def test_any_bytes_are_records_or_a_parse_error(data: bytes) -> None:
    taken = 0
    try:
        for found in parse_records(memoryview(data)):
            assert bytes(found.data) == data[taken : taken + len(found.data)]
            taken += len(found.data)
    except ParseError:
        return
    assert taken == len(data)


def test_handshake_fragments_that_a_peer_sends() -> None:
    hello = handshake(1, b"abc")
    check_handshake(memoryview(hello), CLIENT_MESSAGES)
    check_handshake(memoryview(hello + handshake(16, b"")), CLIENT_MESSAGES)
    check_handshake(memoryview(handshake(1, b"abc", total=1000, offset=997)), CLIENT_MESSAGES)
    check_handshake(memoryview(handshake(14, b"")), SERVER_MESSAGES)


@pytest.mark.row("DTL-05", "DTL-14")
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x01\x00",
        handshake(1, b"abc")[:-1],
        handshake(1, b"abc") + b"\x01",
        handshake(2, b"abc"),
        handshake(20, b"abc"),
        handshake(255, b"abc"),
        handshake(1, b"abc", total=2),
        handshake(1, b"abc", total=5, offset=3),
        handshake(1, b"abc", size=1000),
        handshake(1, b"", total=5),
        handshake(1, b"abc", total=MAX_HANDSHAKE_MESSAGE + 1),
        handshake(1, b"abc", total=0xFFFFFF),
        handshake(1, b"abc", total=0xFFFFFF, offset=0xFFFFFC),
    ],
)
def test_handshake_fragments_that_nobody_sends(payload: bytes) -> None:
    with pytest.raises(ParseError):
        check_handshake(memoryview(payload), CLIENT_MESSAGES)


@given(st.binary(max_size=60))
def test_any_handshake_bytes_pass_or_are_a_parse_error(payload: bytes) -> None:
    try:
        check_handshake(memoryview(payload), CLIENT_MESSAGES)
    except ParseError:
        return
    assert len(payload) >= 12


DATA = record(23, b"x" * 20, epoch=1)


@pytest.mark.parametrize("count", [1, 2, 13])
def test_a_train_of_data_records(count: int) -> None:
    assert is_one_data_record_each(memoryview(DATA * count), len(DATA))
    assert is_one_data_record_each(memoryview(DATA * count + record(23, b"y", epoch=1)), len(DATA))


@pytest.mark.row("DTL-05")
@pytest.mark.parametrize(
    "bad",
    [
        record(22, b"x" * 20, epoch=1),
        record(23, b"x" * 19, epoch=1) + b"z",
        record(23, b"x" * 20, epoch=1, version=0xFEFF),
        record(23, b"x" * 20, epoch=1, version=0x03FD),
        bytes(len(DATA)),
    ],
)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_bad_record_in_a_train_is_seen(bad: bytes, position: int) -> None:
    train = [DATA, DATA, DATA]
    train[position] = bad
    assert not is_one_data_record_each(memoryview(b"".join(train)), len(DATA))
    assert not is_one_data_record_each(memoryview(bad), len(bad))


@pytest.mark.parametrize("last", [b"\x17", DATA[:-1], DATA[:13], record(23, b"", epoch=1)])
def test_the_short_last_record_is_looked_at_too(last: bytes) -> None:
    assert not is_one_data_record_each(memoryview(DATA + last), len(DATA))


@given(st.binary(min_size=1, max_size=80), st.integers(1, 40))
def test_any_train_may_be_asked(data: bytes, size: int) -> None:
    assert not is_one_data_record_each(memoryview(data), min(size, len(data))) or data[0] == 23


@pytest.mark.row("DTL-03")
def test_flights_are_cut_between_records() -> None:
    records = [record(22, bytes(length)) for length in (500, 500, 500, 1500, 1, 1)]
    assert cut_flight(b"".join(records), 1200) == [
        records[0] + records[1],
        records[2],
        records[3],
        records[4] + records[5],
    ]
    assert cut_flight(records[0], 1200) == [records[0]]


def test_alerts_have_names() -> None:
    assert alert_name(42) == "bad_certificate (42)"
    assert alert_name(200) == "unknown (200)"
