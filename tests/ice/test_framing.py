"""RFC 4571: datagrams on a stream, however the network cuts it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrtc_py.errors import ParseError
from webrtc_py.ice.framing import MAX_FRAME, FrameReader, frame
from webrtc_py.train import MAX_TRAIN_LENGTH, Train


def datagrams(trains: list[Train]) -> list[bytes]:
    for train in trains:
        assert all(len(one) == train.segment_size for one in list(train)[:-1])
        assert len(train) == 1 or len(train.data) <= MAX_TRAIN_LENGTH
    return [bytes(one) for train in trains for one in train]


@pytest.mark.row("TCP-05")
@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"", []),
        (b"\x00\x01a", [b"a"]),
        (b"\x00\x03abc\x00\x02de", [b"abc", b"de"]),
        (b"\x00\x00", []),
        (b"\x00\x00\x00\x01a\x00\x00", [b"a"]),
        (b"\xff\xff" + b"z" * MAX_FRAME, [b"z" * MAX_FRAME]),
    ],
)
def test_frames_by_hand(stream: bytes, expected: list[bytes]) -> None:
    whole = FrameReader()
    assert datagrams(whole.feed(stream)) == expected
    assert whole.pending == 0
    slowly = FrameReader()
    assert [one for octet in stream for one in datagrams(slowly.feed(bytes([octet])))] == expected


@given(
    st.lists(st.one_of(st.binary(min_size=1, max_size=20), st.integers(1, 3000).map(bytes)), max_size=20),
    st.lists(st.integers(1, 2000), max_size=30),
)
@pytest.mark.row("TCP-05")
def test_what_is_framed_comes_out_again_however_it_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(Train.of(one)) for one in sent)
    reader = FrameReader()
    received: list[bytes] = []
    for cut in [*cuts, len(stream)]:
        received += datagrams(reader.feed(stream[:cut]))
        stream = stream[cut:]
    assert received == sent
    assert reader.pending == 0


@given(st.lists(st.binary(max_size=100), max_size=20))
@pytest.mark.row("TCP-07")
def test_any_octets_are_frames_and_little_of_them_is_kept(pieces: list[bytes]) -> None:
    reader = FrameReader()
    for piece in pieces:
        for one in datagrams(reader.feed(piece)):
            assert one
        assert reader.pending <= MAX_FRAME + 2


@given(st.integers(1, 40), st.integers(1, 1500), st.integers(0, 1500))
def test_a_train_is_framed_at_once_and_comes_back_as_a_train(count: int, size: int, last: int) -> None:
    data = bytes(range(256)) * 250
    train = Train(memoryview(data)[: size * count + min(last, size - 1)], size)
    octets = frame(train)
    assert octets == b"".join(frame(Train.of(one)) for one in train)
    [back] = FrameReader().feed(octets)
    assert (bytes(back.data), back.segment_size) == (bytes(train.data), size)


def test_trains_that_are_read_at_once_stay_within_a_buffer() -> None:
    stream = frame(Train(memoryview(bytes(64 * 1200)), 1200)) * 3
    trains = FrameReader().feed(stream)
    assert sum(map(len, trains)) == 3 * 64
    assert all(len(train.data) <= MAX_TRAIN_LENGTH for train in trains)


def test_a_datagram_that_no_frame_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="65536"):
        frame(Train.of(bytes(MAX_FRAME + 1)))


@pytest.mark.row("TCP-07")
def test_a_frame_that_is_too_long_is_refused_by_its_header() -> None:
    reader = FrameReader(100)
    assert datagrams(reader.feed(b"\x00\x64" + bytes(range(100)) + b"\x00")) == [bytes(range(100))]
    with pytest.raises(ParseError, match="101"):
        reader.feed(b"\x65")
