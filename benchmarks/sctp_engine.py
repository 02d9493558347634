"""Two SCTP associations in memory, without sockets, DTLS or clocks: what the engine itself costs.

python benchmarks/sctp_engine.py            microseconds for each packet and message, both ends together
python benchmarks/sctp_engine.py --path     MB/s in virtual time on a path of 50 ms round trip with 1 % loss
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from webrtc_py.sctp.association import Association, AssociationConfig
from webrtc_py.sctp.events import MessageReceived


def associate(largest_packet_size: int) -> tuple[Association, Association]:
    """Two associations that are up."""
    a, b = (
        Association(
            config=AssociationConfig(largest_packet_size=largest_packet_size),
            verification_tag=tag,
            initial_tsn=tag,
            cookie_key=bytes([tag]) * 32,
            built=bytearray(1 << 17),
        )
        for tag in (1, 2)
    )
    a.connect(0.0)
    b.connect(0.0)
    while a.state.value != "established" or b.state.value != "established":
        for sender, receiver in ((a, b), (b, a)):
            for train in sender.datagrams_to_send(0.0):
                receiver.receive(train, 0.0)
    a.events(), b.events()
    return a, b


def transfer(message_size: int, total: int, largest_packet_size: int) -> tuple[float, int, int]:
    """Seconds that the engines took to move ``total`` bytes, and the packets with data and the messages it took."""
    a, b = associate(largest_packet_size)
    message = bytes(message_size)
    count = total // message_size
    sent = received = packets = 0
    now = 1.0
    start = time.perf_counter()
    while received < count:
        while sent < count and a.total_buffered_amount < 1 << 20:
            a.send(0, 53, message, now)
            sent += 1
        for train in a.datagrams_to_send(now):
            packets += len(train)
            b.receive(train, now)
        a.events()
        taken = 0
        for event in b.events():
            if type(event) is MessageReceived:
                taken += len(event.data)
                received += 1
        if taken:
            b.consumed(taken)
        for train in b.datagrams_to_send(now):
            a.receive(train, now)
        now += 0.0005
        for end in (a, b):
            due = end.next_timeout()
            if due is not None and due <= now:
                end.handle_timeout(now)
    return time.perf_counter() - start, packets, count


def measure(message_size: int, total: int, largest_packet_size: int, repeats: int) -> None:
    seconds, packets, count = min(transfer(message_size, total, largest_packet_size) for _ in range(repeats))
    print(
        f"{message_size:7d} B messages, packets to {largest_packet_size:5d} B: "
        f"{seconds / packets * 1e6:6.2f} us a packet, {seconds / count * 1e6:7.2f} us a message, "
        f"{total / seconds / 1e6:6.0f} MB/s"
    )


def lossy_path(seconds: float, loss: float, round_trip: float, seed: int) -> None:
    from tests.sctp.wire import Wire

    wire = Wire(delay=round_trip / 2, loss=loss, seed=seed)
    # Ethernet's 1500 bytes without IPv4, UDP and DTLS.
    wire.largest_packet = 1435
    wire.connect()
    message, received, start = bytes(65536), 0, wire.now
    while wire.now - start < seconds:
        while wire.a.total_buffered_amount < 1 << 20:
            wire.a.send(0, 53, message, wire.now)
        wire.run(0.1)
        received += sum(len(event.data) for event in wire.take(wire.b, MessageReceived))
    stats = wire.a.stats
    print(
        f"{round_trip * 1000:.0f} ms round trip, {loss:.0%} loss, seed {seed}: {received / seconds / 1e6:.3f} MB/s, "
        f"{stats.packets_sent} packets of {stats.mtu} B, {stats.retransmissions} chunks sent again"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", action="store_true")
    parser.add_argument("--megabytes", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.path:
        for seed in (1, 2, 3):
            lossy_path(60.0, 0.01, 0.05, seed)
        return
    for largest in (1148, 16384):
        for message_size in (65536, 1024, 100):
            total = arguments.megabytes * 1_000_000 // (1 if message_size > 1000 else 10)
            measure(message_size, total, largest, repeats=5)


if __name__ == "__main__":
    main()
