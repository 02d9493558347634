"""Application data in batches, through OpenSSL's own functions and through pyOpenSSL's public ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dtls.foreign import deliver, take
from tests.dtls.pair import Pair
from webrtc_py.dtls import Closed, session
from webrtc_py.train import MAX_TRAIN_LENGTH, MAX_TRAIN_SEGMENTS, Train

OVERHEAD = 37  # the record's header, AES-GCM's explicit nonce and its tag


@pytest.fixture(params=["private calls", "public calls"])
def pair(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pair:
    if request.param == "public calls":
        monkeypatch.setattr(session, "has_private_calls", lambda connection: False)
    pair = Pair.make().connect()
    expected = session.PublicSession if request.param == "public calls" else session.Session
    assert type(pair.client.connection._session) is expected
    return pair


def payloads(count: int, size: int, last: int | None = None) -> list[bytes]:
    found = [bytes((i % 256,)) * size for i in range(count)]
    return found if last is None else [*found, b"!" * last]


def seal(pair: Pair, data: list[bytes]) -> list[Train]:
    """The sealed trains, copied out of the shared buffer."""
    train = Train(memoryview(b"".join(data)), len(data[0]))
    return [Train(memoryview(bytes(t.data)), t.segment_size) for t in pair.client.connection.seal(train)]


def open_trains(pair: Pair, *trains: Train) -> list[bytes]:
    return [
        bytes(data) for train in trains for opened in pair.server.connection.receive(train, pair.now) for data in opened
    ]


@pytest.mark.parametrize(
    ("count", "size", "last"),
    [
        (1, 1, None),
        (1, 1200, None),
        (1, 1200, 1),
        (13, 1200, None),
        (14, 1200, 5),
        (53, 1163, 1162),
        (64, 100, None),
        (3, 16384, None),
    ],
)
def test_a_train_stays_a_train(pair: Pair, count: int, size: int, last: int | None) -> None:
    data = payloads(count, size, last)
    trains = seal(pair, data)
    assert [train.segment_size for train in trains] == [size + OVERHEAD]
    assert len(trains[0].data) == sum(map(len, data)) + OVERHEAD * len(data)
    opened = pair.server.connection.receive(trains[0], pair.now)
    assert [train.segment_size for train in opened] == [size]
    assert [bytes(datagram) for datagram in opened[0]] == data


def test_both_directions(pair: Pair) -> None:
    assert open_trains(pair, *seal(pair, [b"up"])) == [b"up"]
    pair.client.receive(pair.server.seal(b"down")[0], pair.now)
    assert pair.client.data == [b"down"]


@pytest.mark.parametrize(("count", "size"), [(65, 900), (200, 10), (MAX_TRAIN_LENGTH // 1200, 1200), (4, 16300)])
def test_a_train_that_grows_too_long_becomes_several(pair: Pair, count: int, size: int) -> None:
    data = payloads(count, size)
    trains = seal(pair, data)
    assert all(len(train) <= MAX_TRAIN_SEGMENTS and len(train.data) <= MAX_TRAIN_LENGTH for train in trains)
    assert open_trains(pair, *trains) == data


@pytest.mark.row("DTL-04")
def test_a_record_that_comes_twice_is_delivered_once(pair: Pair) -> None:
    [train] = seal(pair, payloads(13, 500))
    assert len(open_trains(pair, train)) == 13
    assert open_trains(pair, train) == []
    one = Train(train.data[: train.segment_size], train.segment_size)
    assert open_trains(pair, one) == []
    twice = [bytes(datagram) for datagram in seal(pair, [b"x" * 50])[0]] * 3
    assert open_trains(pair, Train(memoryview(b"".join(twice)), len(twice[0]))) == [b"x" * 50]


def test_records_may_come_in_another_order(pair: Pair) -> None:
    datagrams = [bytes(datagram) for datagram in seal(pair, payloads(13, 500))[0]]
    shuffled = datagrams[7:] + datagrams[:7]
    opened = open_trains(pair, Train(memoryview(b"".join(shuffled)), len(shuffled[0])))
    assert opened == payloads(13, 500)[7:] + payloads(13, 500)[:7]


@pytest.mark.row("DTL-05")
@pytest.mark.parametrize(
    "spoil", ["nonce", "ciphertext", "tag", "sequence", "epoch", "type", "version", "length", "zero"]
)
@pytest.mark.parametrize("position", [0, 6, 12])
def test_a_bad_record_costs_only_itself(pair: Pair, spoil: str, position: int) -> None:
    datagrams = [bytearray(datagram) for datagram in seal(pair, payloads(13, 500))[0]]
    bad = datagrams[position]
    at = {"nonce": 15, "ciphertext": 100, "tag": -1, "sequence": 9, "epoch": 4, "type": 0, "version": 2, "length": 12}
    if spoil == "zero":
        bad[:] = bytes(len(bad))
    else:
        bad[at[spoil]] ^= 0x11
    expected = payloads(13, 500)
    del expected[position]
    assert open_trains(pair, Train(memoryview(b"".join(datagrams)), len(bad))) == expected
    assert open_trains(pair, *seal(pair, [b"still alive"])) == [b"still alive"]
    assert pair.server.connection.events() == []
    assert list(pair.server.connection.datagrams_to_send(pair.now)) == []


@pytest.mark.row("DTL-05")
def test_a_truncated_record_is_not_joined_with_the_next(pair: Pair) -> None:
    cut = bytes(seal(pair, [b"y" * 100])[0].data)[:-1]
    assert open_trains(pair, Train.of(cut), *seal(pair, payloads(3, 99))) == payloads(3, 99)
    assert open_trains(pair, Train.of(b"\x17")) == []
    assert pair.server.connection.discarded == 2


def test_several_records_in_a_datagram(pair: Pair) -> None:
    datagram = b"".join(pair.client.seal(b"one") + pair.client.seal(b"three") + pair.client.seal(b"four"))
    opened = pair.server.connection.receive(Train.of(datagram), pair.now)
    assert [bytes(data) for train in opened for data in train] == [b"one", b"three", b"four"]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_records_of_any_sizes_come_out_as_trains(sizes: list[int]) -> None:
    data = [bytes((i,)) * size for i, size in enumerate(sizes)]
    opened = ESTABLISHED.server.connection.receive(
        Train.of(b"".join(record for datagram in data for record in ESTABLISHED.client.seal(datagram))), 0.0
    )
    assert [bytes(part) for train in opened for part in train] == data


ESTABLISHED = Pair.make().connect()


@pytest.mark.row("DTL-10")
def test_close_notify_is_sent_and_answered(pair: Pair) -> None:
    pair.client.connection.close(pair.now)
    [alert] = take(pair.client)
    assert alert[0] == 21
    assert alert[3:5] == b"\x00\x01"  # encrypted: nobody else could have sent it
    assert pair.client.events[-1] == Closed(by_peer=False)
    [answer] = deliver(pair.server, alert)
    assert answer[0] == 21
    assert pair.server.events[-1] == Closed(by_peer=True)
    assert deliver(pair.client, answer) == []
    for end in (pair.client, pair.server):
        assert end.seal(b"too late") == []
        assert end.connection.next_timeout() is None


def test_data_before_close_notify_in_the_same_batch_is_delivered(pair: Pair) -> None:
    datagrams = pair.client.seal(b"last words")
    pair.client.connection.close(pair.now)
    datagrams += take(pair.client)
    deliver(pair.server, b"".join(datagrams))
    assert pair.server.data == [b"last words"]
    assert pair.server.events[-1] == Closed(by_peer=True)


def test_data_after_close_notify_is_not(pair: Pair) -> None:
    late = pair.client.seal(b"late")
    pair.client.connection.close(pair.now)
    deliver(pair.server, *take(pair.client), *late)
    assert pair.server.data == []
    assert [event for event in pair.server.events if isinstance(event, Closed)] == [Closed(by_peer=True)]
