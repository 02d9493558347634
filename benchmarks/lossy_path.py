"""One way over a path with 50 ms round-trip time and 1 % loss in each direction: reliable, ordered, two processes.

Packets of Ethernet's size pass, larger ones do not, whatever the loopback underneath would carry.

The path is a UDP relay in this process: each side sees the relay's address as the other's only candidate.
"""

from __future__ import annotations

import random
import re
import select
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from itertools import count as numbers

from benchmarks.process import children
from benchmarks.report import Options, Row, interleaved, main
from benchmarks.throughput import KIB, count, send, watch

ROUND_TRIP_TIME = 0.050
LOSS = 0.01
# What an MTU of 1500 leaves for UDP over IPv4.
LARGEST_DATAGRAM = 1472
MESSAGE_SIZE = 16 * KIB
# The growth of the congestion window needs some round trips more than a machine's loopback does.
WARM_UP = 3.0
# A run here has to see many losses, or the medians are luck.
LENGTHENED = 3

Address = tuple[str, int]

# A host candidate over UDP with an IPv4 address (RFC 8839 section 5.1): before the address, address and port, after.
HOST_CANDIDATE = re.compile(r"(a=candidate:\S+ 1 udp \d+ )(\d+\.\d+\.\d+\.\d+) (\d+)( typ host\b.*)", re.IGNORECASE)


class Path(threading.Thread):
    """Two sockets, one for each peer: what comes in at one goes out of the other, to the other peer, late or never."""

    def __init__(self, address: str, seed: int) -> None:
        super().__init__(daemon=True)
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for facing in self._sockets:
            facing.setblocking(False)
            facing.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * KIB)
            facing.bind((address, 0))
        self._peers: list[Address | None] = [None, None]
        self._random = random.Random(seed)
        self._flying: deque[tuple[float, int, bytes]] = deque()
        self._ended = threading.Event()

    def attach(self, side: int, peer: Address) -> Address:
        """The peer at one end (0 or 1) has this address; the answer is where the other peer finds it."""
        self._peers[side] = peer
        address: Address = self._sockets[1 - side].getsockname()
        return address

    def run(self) -> None:
        while not self._ended.is_set():
            wait = self._flying[0][0] - time.monotonic() if self._flying else 0.1
            readable, _, _ = select.select(self._sockets, (), (), max(0.0, wait))
            for facing in readable:
                self._take(self._sockets.index(facing))
            self._deliver()
        for facing in self._sockets:
            facing.close()

    def _take(self, side: int) -> None:
        with suppress(BlockingIOError):
            for _ in range(64):
                data, source = self._sockets[side].recvfrom(65536)
                if source != self._peers[side] or len(data) > LARGEST_DATAGRAM:
                    continue
                if self._random.random() >= LOSS:
                    self._flying.append((time.monotonic() + ROUND_TRIP_TIME / 2, 1 - side, data))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._flying and self._flying[0][0] <= now:
            _, side, data = self._flying.popleft()
            peer = self._peers[side]
            if peer is not None:
                self._sockets[side].sendto(data, peer)

    def end(self) -> None:
        self._ended.set()
        self.join()


def host_candidate(description: str) -> Address:
    found = HOST_CANDIDATE.search(description)
    if found is None:
        raise ValueError(f"a description without a host candidate over UDP and IPv4:\n{description}")
    return found[2], int(found[3])


def reroute(description: str, address: Address) -> str:
    """The description with one candidate only, at another address."""
    lines = description.splitlines()
    candidates = [line for line in lines if line.startswith("a=candidate:")]
    kept = next(line for line in candidates if HOST_CANDIDATE.match(line))
    moved = HOST_CANDIDATE.sub(rf"\g<1>{address[0]} {address[1]}\g<4>", kept)
    return "".join(f"{moved if line is kept else line}\r\n" for line in lines if line is kept or line not in candidates)


def measure(stack: str, seconds: float, seed: int) -> float:
    """MB/s."""
    with children(stack, (send, MESSAGE_SIZE), (count,)) as (sender, receiver):
        offer = sender.receive()
        offerer = host_candidate(offer)
        path = Path(offerer[0], seed)
        path.start()
        try:
            receiver.send(reroute(offer, path.attach(0, offerer)))
            answer = receiver.receive()
            sender.send(reroute(answer, path.attach(1, host_candidate(answer))))
            return watch(sender, receiver, seconds, WARM_UP).rate
        finally:
            path.end()


def rows(options: Options) -> list[Row]:
    seeds = numbers()
    measured = interleaved(options, lambda stack: measure(stack, LENGTHENED * options.seconds, next(seeds)))
    what = f"throughput at {1000 * ROUND_TRIP_TIME:.0f} ms round trip and {LOSS:.0%} loss"
    return [Row(what, "MB/s", measured)]


if __name__ == "__main__":
    main(__doc__, rows)
