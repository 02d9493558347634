"""What strangers send, in every state: nothing raises, nothing grows, and the connection goes on."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dtls.foreign import deliver, take
from tests.dtls.pair import CERTIFICATE, End, Pair, make_connection, record
from webrtc_py.dtls import Connection, Failed
from webrtc_py.dtls.record import is_one_data_record_each
from webrtc_py.states import DTLSRole
from webrtc_py.train import Train


def in_state(name: str) -> tuple[Pair, Connection]:
    """A pair, and that end of it which is attacked."""
    pair = Pair.make()
    if name == "new":
        return pair, pair.server.connection
    pair.start()
    if name == "client waits":
        return pair, pair.client.connection
    if name == "server waits":
        return pair, pair.server.connection
    pair.run(until={"server sent its flight": 0.015, "client sent its flight": 0.025}.get(name, 1.0))
    if name == "server closed":
        pair.server.connection.close(1.0)
    return pair, pair.client.connection if name.startswith("client") else pair.server.connection


IN_HANDSHAKE = ["client waits", "server waits", "server sent its flight", "client sent its flight"]
STATES = ["new", *IN_HANDSHAKE, "client established", "server established", "server closed"]


def garbage(seed: int) -> list[bytes]:
    """Datagrams with DTLS' first bytes: noise, and noise that looks better and better."""
    dice = random.Random(seed)
    found = []
    for first in range(20, 64):
        noise = dice.randbytes(dice.randrange(100))
        found.append(bytes((first,)) + noise)
        found.append(bytes((first,)) + b"\xfe\xfd" + noise)
        for epoch in (0, 1, 2):
            found.append(record(first, noise, epoch=epoch, sequence=dice.randrange(2**48)))
    for kind in range(30):
        noise = dice.randbytes(40)
        header = (
            bytes((kind,)) + dice.randrange(2**24).to_bytes(3, "big") + bytes(5) + dice.randrange(50).to_bytes(3, "big")
        )
        found.append(record(22, header + noise))
        found.append(record(22, bytes((kind,)) + noise))
    return found


def alive(pair: Pair) -> bool:
    """Whether the handshake completes, and data passes both ways."""
    pair.connect()
    for end, peer in ((pair.client, pair.server), (pair.server, pair.client)):
        before = len(peer.data)
        for datagram in end.seal(b"still alive"):
            peer.receive(datagram, pair.now)
        if peer.data[before:] != [b"still alive"]:
            return False
    return not any(isinstance(event, Failed) for event in pair.client.events + pair.server.events)


@pytest.mark.row("DTL-05")
@pytest.mark.parametrize("state", [state for state in STATES if state != "server closed"])
def test_garbage_ends_nothing(state: str) -> None:
    pair, target = in_state(state)
    for datagram in garbage(7):
        assert target.receive(Train.of(datagram), pair.now) == []
    assert target.discarded > 100 or state == "new"
    if state != "new":
        pair.flush()
    assert alive(pair)


@pytest.mark.row("DTL-05")
@pytest.mark.parametrize("state", STATES)
@given(data=st.binary(min_size=1, max_size=200), size=st.integers(1, 200))
def test_any_train_in_any_state(state: str, data: bytes, size: int) -> None:
    pair, target = TARGETS.setdefault(state, in_state(state))
    assert target.receive(Train(memoryview(data), min(size, len(data))), pair.now) == []
    list(target.datagrams_to_send(pair.now))
    assert not [event for event in target.events() if isinstance(event, Failed)]


TARGETS: dict[str, tuple[Pair, Connection]] = {}


@given(st.integers(0, 2**32))
def test_datagrams_with_changed_bytes(seed: int) -> None:
    """Beside each datagram of a handshake goes a forged copy, sooner or later: a reason, or a connection."""
    dice = random.Random(seed)
    forged: list[tuple[bool, bytes]] = []

    def fate(from_client: bool, number: int, datagram: bytes) -> tuple[float, ...]:
        changed = bytearray(datagram)
        changed[dice.randrange(len(changed))] ^= dice.randrange(1, 256)
        forged.append((from_client, bytes(changed[: dice.choice((len(changed), dice.randrange(1, len(changed) + 1)))])))
        return (dice.choice((0.001, 0.01)),)

    pair = Pair.make(fate)
    pair.start()
    while pair.now < 40 and not pair.connected:
        pair.run(until=pair.now + 0.005)
        for from_client, datagram in forged:
            (pair.server if from_client else pair.client).receive(datagram, pair.now)
        forged.clear()
        pair.flush()
    assert pair.connected or [event for event in pair.client.events + pair.server.events if isinstance(event, Failed)]


# Alerts in the clear


@pytest.mark.row("DTL-15")
@pytest.mark.parametrize("alert", [b"\x02\x28", b"\x01\x00", b"\x02\x00", b"\x01\x64", b"\x02", b"\x02\x28\x00", b""])
@pytest.mark.parametrize("state", ["client established", "server established", *IN_HANDSHAKE])
def test_an_alert_that_anybody_could_send_ends_nothing(alert: bytes, state: str) -> None:
    pair, target = in_state(state)
    for sequence in range(5):
        assert target.receive(Train.of(record(21, alert, sequence=1000 + sequence)), pair.now) == []
        # With the keys' epoch, but without the keys:
        assert (
            target.receive(Train.of(record(21, alert + bytes(24), epoch=1, sequence=1000 + sequence)), pair.now) == []
        )
    pair.flush()
    assert alive(pair)


@pytest.mark.row("DTL-13", "DTL-15")
def test_a_fatal_alert_is_believed_when_the_handshake_then_stands_still() -> None:
    pair = Pair.make(lambda from_client, number, datagram: ())
    pair.start()
    pair.client.receive(record(21, b"\x02\x28"), 0.5)
    assert pair.client.connection.next_timeout() == 0.1
    pair.run(until=1.49)
    assert pair.client.events == []
    pair.run(until=5)
    assert pair.client.events == [Failed("the peer refused the DTLS handshake: handshake_failure (40)", "dtls-failure")]


@pytest.mark.row("DTL-15")
def test_warnings_are_no_reason() -> None:
    pair = Pair.make(lambda from_client, number, datagram: ())
    pair.start()
    pair.client.receive(record(21, b"\x01\x29"), 0.5)
    pair.run(until=10)
    assert pair.client.events == []


# Records of the next epoch


@pytest.mark.row("DTL-07")
def test_finished_and_data_before_their_keys_do_not_fail_the_handshake() -> None:
    """The client's last flight and its first data arrive in reverse order, record by record."""
    held: list[bytes] = []

    def fate(from_client: bool, number: int, datagram: bytes) -> tuple[float, ...]:
        if from_client and number == 1:
            held.append(datagram)
            return ()
        return (0.01,)

    pair = Pair.make(fate)
    pair.run(until=0.05)
    [flight] = held
    records = []
    while flight:
        length = 13 + int.from_bytes(flight[11:13], "big")
        records.append(flight[:length])
        flight = flight[length:]
    assert records[-1][3:5] == b"\x00\x01"
    for part in reversed(records):
        pair.server.receive(part, pair.now)
    assert alive(pair)


@pytest.mark.row("DTL-07")
@pytest.mark.parametrize("fingerprints_known", [True, False])
def test_data_that_overtakes_finished_is_delivered_after_it(fingerprints_known: bool) -> None:
    pair = Pair.make(lambda from_client, number, datagram: () if not from_client and number == 1 else (0.01,))
    if not fingerprints_known:
        pair.client = End(make_connection(DTLSRole.CLIENT, remote_fingerprints=None))
    pair.run(until=0.035)
    assert pair.server.completed is not None
    for data in (b"early", b"and more"):
        for datagram in pair.server.seal(data):
            pair.client.receive(datagram, pair.now)
    assert pair.client.data == []
    pair.run(until=1)
    if not fingerprints_known:
        assert pair.client.data == []
        [train] = pair.client.connection.set_remote_fingerprints(CERTIFICATE.get_fingerprints(), 1.0)[:1]
        assert bytes(train.data) == b"early"
        return
    assert pair.client.data == [b"early", b"and more"]
    assert alive(pair)


# Memory and amplification


@pytest.mark.row("DTL-14")
@pytest.mark.parametrize("state", STATES)
def test_a_flood_takes_no_memory_and_is_not_answered(state: str) -> None:
    pair, target = in_state(state)
    dice = random.Random(1)
    list(target.datagrams_to_send(pair.now))

    def flood(count: int) -> int:
        sent = 0
        for i in range(count):
            for datagram in (
                # The start of a huge message, of many messages, and a second ClientHello.
                record(22, b"\x01\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x10" + bytes(16), sequence=i),
                record(22, b"\x0b\x00\x70\x00" + (i % 9).to_bytes(2, "big") + b"\x00\x00\x00\x00\x00\x10" + bytes(16)),
                record(22, b"\x0b\x00\x70\x00" + i.to_bytes(2, "big") + b"\x00\x00\x00\x00\x00\x10" + bytes(16)),
                record(23, dice.randbytes(50), epoch=1, sequence=i),
                record(22, dice.randbytes(50), epoch=1, sequence=i),
            ):
                target.receive(Train.of(datagram), pair.now)
            sent += sum(len(train.data) for train in target.datagrams_to_send(pair.now))
        return sent

    tracemalloc.start()
    try:
        sent = flood(200)
        before = tracemalloc.get_traced_memory()[0]
        sent += flood(1000)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()
    # At one moment the last flight is sent again once at most, however often it is asked for.
    assert sent < 200


def test_the_last_flight_is_sent_again_but_not_on_and_on() -> None:
    pair = Pair.make(lambda from_client, number, datagram: () if not from_client and number == 1 else (0.01,))
    pair.run(until=0.05)
    assert pair.server.completed is not None
    assert pair.client.completed is None
    finished = record(22, bytes(48), epoch=1, sequence=9)
    answers = 0
    for i in range(1000):
        answers += len(deliver(pair.server, finished, now=1.0 + i / 100))
    assert 2 < answers < 30


def test_who_sent_data_has_had_our_last_flight() -> None:
    pair = Pair.make().connect()
    assert deliver(pair.server, record(22, bytes(48), epoch=1, sequence=9), now=5.0)
    for datagram in pair.client.seal(b"data"):
        pair.server.receive(datagram, 5.0)
    assert deliver(pair.server, record(22, bytes(48), epoch=1, sequence=10), now=9.0) == []


def test_a_forged_train_among_good_ones() -> None:
    """Everything that looks right from outside, without the keys: dropped, and the rest of the batch lives."""
    pair = Pair.make().connect()
    good = pair.client.seal(b"g" * 100)[0]
    forged = record(23, bytes(124), epoch=1, sequence=77)
    train = forged + good + forged
    assert is_one_data_record_each(memoryview(train), len(good))
    opened = pair.server.connection.receive(Train(memoryview(train), len(good)), pair.now)
    assert [bytes(data) for part in opened for data in part] == [b"g" * 100]
    assert take(pair.server) == []
