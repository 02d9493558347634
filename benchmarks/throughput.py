"""One way, two processes: MB/s, and MB for each second of processor time that both processes took together."""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple

from benchmarks.peer import Stack
from benchmarks.process import Child, Parent, children, connect
from benchmarks.report import Options, Row, figure_rows, interleaved, main

KIB, MIB = 1024, 1024 * 1024
MESSAGE_SIZES = (KIB, 16 * KIB, 64 * KIB)
# The sender's buffered amount: refilled up to the second when it has fallen to the first.
LOW_WATER, HIGH_WATER = MIB, 4 * MIB
WARM_UP = 1.0


class Throughput(NamedTuple):
    rate: float
    rate_per_cpu: float


async def send(stack: Stack, parent: Parent, size: int) -> None:
    _peer, channel = await parent.connect(stack, offers=True)
    message = bytes(size)

    def refill() -> None:
        for _ in range((HIGH_WATER - channel.buffered_amount) // size):
            channel.send(message)

    channel.on_low(LOW_WATER, refill)
    parent.send("open")
    await parent.receive()
    refill()
    await parent.serve_marks(lambda: 0)


async def count(stack: Stack, parent: Parent) -> None:
    _peer, channel = await parent.connect(stack, offers=False)
    total = 0

    def received(message: bytes) -> None:
        nonlocal total
        total += len(message)

    channel.on_message(received)
    parent.send("open")
    await parent.serve_marks(lambda: total)


def watch(sender: Child, receiver: Child, seconds: float, warm_up: float = WARM_UP) -> Throughput:
    """Let a connected ``send`` and ``count`` run, and measure between two moments."""
    for child in (sender, receiver):
        assert child.receive() == "open"
    sender.send("go")
    time.sleep(warm_up)
    sent_from, received_from = sender.mark(), receiver.mark()
    time.sleep(seconds)
    sent_to, received_to = sender.mark(), receiver.mark()
    sender.send("stop")
    receiver.send("stop")
    megabytes = (received_to.bytes - received_from.bytes) / 1e6
    cpu = sent_to.cpu - sent_from.cpu + received_to.cpu - received_from.cpu
    return Throughput(megabytes / (received_to.time - received_from.time), megabytes / cpu)


def measure(stack: str, size: int, seconds: float) -> Throughput:
    with children(stack, (send, size), (count,)) as (sender, receiver):
        connect(sender, receiver)
        return watch(sender, receiver, seconds)


def rows(options: Options) -> list[Row]:
    found: list[Row] = []
    for size in MESSAGE_SIZES:
        measured = interleaved(options, partial(measure, size=size, seconds=options.seconds))
        messages = f"{size // KIB} KiB messages"
        found += figure_rows(
            measured,
            ("rate", f"throughput, {messages}", "MB/s"),
            ("rate_per_cpu", f"throughput for CPU time, {messages}", "MB/CPU s"),
        )
    return found


if __name__ == "__main__":
    main(__doc__, rows)
