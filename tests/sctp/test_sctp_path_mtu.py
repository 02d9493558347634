"""Larger packets where the path carries them, and back when it does not (RFC 8899)."""

from __future__ import annotations

import itertools

import pytest

from tests.sctp.wire import Wire, chunks_of, make_association
from webrtc_py.sctp.association import Association, AssociationState
from webrtc_py.sctp.chunk import FORWARD_TSN, RE_CONFIG, DataChunk, HeartbeatAckChunk, HeartbeatChunk, PadChunk
from webrtc_py.sctp.parameter import FORWARD_TSN_SUPPORTED, SUPPORTED_EXTENSIONS, Parameter
from webrtc_py.sctp.path_mtu import PathMtu, probe_sizes

pytestmark = pytest.mark.row("SCD-03")


def connected(largest_packet: int = 65535, **options: object) -> Wire:
    wire = Wire(**options)  # type: ignore[arg-type]
    wire.largest_packet = largest_packet
    wire.connect()
    return wire


def fill(wire: Wire, total: int) -> None:
    for _ in range(total // 50_000):
        wire.a.send(0, 53, bytes(50_000), wire.now)


def arrived(wire: Wire) -> int:
    return sum(len(message.data) for message in wire.messages(wire.b))


@pytest.mark.parametrize(
    ("path", "found"), [(1148, 1148), (1399, 1148), (1400, 1400), (1500, 1400), (9000, 7964), (65535, 15916)]
)
def test_what_the_path_carries_is_found(path: int, found: int) -> None:
    wire = connected(path)
    largest = 0

    def look(packet: bytes, sender: Association) -> bool:
        nonlocal largest
        assert len(packet) <= 16384
        if any(isinstance(chunk, DataChunk) for chunk in chunks_of(packet)):
            largest = max(largest, len(packet))
        return False

    wire.drop = look
    fill(wire, 10_000_000)
    assert wire.run(60.0, lambda: arrived(wire) == 10_000_000)
    assert wire.a.stats.mtu == found
    assert found - 400 < largest <= found
    # What only listens has no reason to look.
    assert wire.b.stats.mtu == 1148
    assert wire.a.stats.retransmissions == 0


def test_a_peer_that_does_not_list_pad_gets_neither_probes_nor_larger_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    # werift's process ends at a chunk that it does not know. aiortc reads 1500 bytes of a record at a time: the rest
    # would stand before all that comes later.
    said = (Parameter(FORWARD_TSN_SUPPORTED), Parameter(SUPPORTED_EXTENSIONS, bytes((RE_CONFIG, FORWARD_TSN))))
    monkeypatch.setattr("webrtc_py.sctp.lifecycle.init_parameters", lambda zero_checksum: said)
    wire = connected()
    largest = 0

    def look(packet: bytes, sender: Association) -> bool:
        nonlocal largest
        largest = max(largest, len(packet))
        assert not any(isinstance(chunk, PadChunk) for chunk in chunks_of(packet))
        return False

    wire.drop = look
    fill(wire, 10_000_000)
    assert wire.run(60.0, lambda: arrived(wire) == 10_000_000)
    assert wire.a.stats.mtu == 1148
    assert largest <= 1148


def test_probes_are_few_and_harmless() -> None:
    wire = connected(1148)
    probes: list[tuple[float, int]] = []

    def look(packet: bytes, sender: Association) -> bool:
        chunks = chunks_of(packet)
        if any(isinstance(chunk, PadChunk) for chunk in chunks):
            assert [type(chunk) for chunk in chunks] == [HeartbeatChunk, PadChunk]
            probes.append((wire.now, len(packet)))
        return False

    wire.drop = look
    for _ in range(50):
        fill(wire, 500_000)
        wire.run(2.0)
    assert [size for _, size in probes] == [1400] * 3
    assert all(later - earlier >= 1.0 for (earlier, _), (later, _) in itertools.pairwise(probes))
    assert wire.a._outbound.errors == 0
    assert wire.a.stats.retransmissions == 0
    assert arrived(wire) == 50 * 500_000
    # After ten minutes it is worth another look.
    wire.run(600.0)
    wire.largest_packet = 65535
    fill(wire, 2_000_000)
    wire.run(5.0)
    assert wire.a.stats.mtu == 15916


def test_no_probes_without_need() -> None:
    wire = connected()
    for _ in range(100):
        wire.a.send(0, 51, b"a line of chat", wire.now)
        wire.run(1.0)
    assert wire.a.stats.mtu == 1148
    assert wire.a.stats.bytes_sent < 100 * 200


@pytest.mark.parametrize("smaller", [1148, 1400, 8000])
def test_a_path_that_shrinks_under_way(smaller: int) -> None:
    wire = connected()
    fill(wire, 5_000_000)
    assert wire.run(10.0, lambda: arrived(wire) > 2_000_000)
    assert wire.a.stats.mtu == 15916
    wire.largest_packet = smaller
    fill(wire, 5_000_000)
    assert wire.run(30.0, lambda: arrived(wire) == 10_000_000)
    assert wire.a.state is AssociationState.ESTABLISHED
    assert wire.a.stats.mtu <= smaller
    fill(wire, 20_000_000)
    assert wire.run(120.0, lambda: arrived(wire) == 30_000_000)


def test_a_black_hole_for_large_packets_among_small_ones() -> None:
    # Small packets keep arriving, so that T3-rtx never goes off: only the losses tell.
    wire = connected()
    fill(wire, 5_000_000)
    wire.run(10.0)
    assert wire.a.stats.mtu == 15916
    wire.largest_packet = 1148
    for _ in range(200):
        wire.a.send(1, 53, bytes(30_000), wire.now)
        for _ in range(5):
            wire.a.send(2, 51, bytes(500), wire.now)
            wire.run(0.02)
    assert wire.a.stats.mtu == 1148
    assert wire.run(60.0, lambda: sum(message.stream_id == 1 for message in wire.messages(wire.b)) == 200)


def test_another_path_begins_with_the_smallest_packet_and_loses_nothing() -> None:
    wire = connected()
    fill(wire, 5_000_000)
    assert wire.run(10.0, lambda: arrived(wire) > 2_000_000)
    wire._queue.clear()
    wire.largest_packet = 1280
    wire.a.set_path_changed(wire.now, lost=True)
    wire.b.set_path_changed(wire.now, lost=True)
    assert wire.a.stats.mtu == 1148
    started = wire.now
    # What was under way is sent again at once, in packets that fit: no timer has to run out first.
    assert wire.run(0.1, lambda: arrived(wire) > 2_100_000)
    assert wire.run(60.0, lambda: arrived(wire) == 5_000_000)
    assert wire.a.stats.mtu == 1148
    assert wire.now > started


def test_large_packets_on_a_lossy_path() -> None:
    wire = connected(loss=0.02, seed=5)
    fill(wire, 20_000_000)
    assert wire.run(300.0, lambda: arrived(wire) == 20_000_000)
    assert wire.a._outbound.rtx.flight <= wire.a.stats.congestion_window + 16384


def test_every_chunk_fits_into_the_smallest_packet() -> None:
    wire = connected()

    def look(packet: bytes, sender: Association) -> bool:
        for chunk in chunks_of(packet):
            if isinstance(chunk, DataChunk):
                assert len(chunk.serialize()) <= 1148 - 12
        return False

    wire.drop = look
    fill(wire, 5_000_000)
    assert wire.run(10.0, lambda: arrived(wire) == 5_000_000)


def test_discovery_can_be_kept_small() -> None:
    wire = Wire(make_association(1, 1, largest_packet_size=1148), make_association(2, 2))
    wire.connect()
    fill(wire, 5_000_000)
    assert wire.run(20.0, lambda: arrived(wire) == 5_000_000)
    assert wire.a.stats.mtu == 1148


@pytest.mark.parametrize(
    ("base", "largest", "sizes"),
    [(1148, 16384, (1400, 7964, 15916)), (1148, 1400, (1400,)), (1148, 1148, ()), (1400, 1500, ())],
)
def test_probe_sizes(base: int, largest: int, sizes: tuple[int, ...]) -> None:
    assert probe_sizes(base, largest) == sizes


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_ones() -> None:
    mtu = PathMtu(1148, 16384)
    probe = mtu.take_probe(0.0)
    assert probe is not None
    assert mtu.take_probe(0.0) is None, "one at a time"
    first = probe[0][4:]
    mtu.lost(1.0)
    assert mtu.take_probe(1.0) is not None
    assert not mtu.acknowledged(first)
    assert mtu.size == 1148


def test_answers_nobody_waits_for_change_nothing() -> None:
    wire = connected()
    from tests.sctp.wire import packet_to

    wire.a.receive(packet_to(wire.a, HeartbeatAckChunk(b"\0\1\0\x0c" + bytes(8))), wire.now)
    assert wire.a.stats.mtu == 1148
