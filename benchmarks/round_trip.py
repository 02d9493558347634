"""The round trip of a small message between two processes: there, and at once back."""

from __future__ import annotations

import asyncio
import time
from statistics import median, quantiles
from typing import NamedTuple

from benchmarks.peer import Stack
from benchmarks.process import Parent, children, connect
from benchmarks.report import Options, Row, figure_rows, interleaved, main

MESSAGE = bytes(64)
WARM_UP = 200
ROUNDS_FOR_EACH_COUNT = 40


class RoundTrip(NamedTuple):
    """Microseconds."""

    median: float
    p99: float


async def ping(stack: Stack, parent: Parent, rounds: int) -> None:
    _peer, channel = await parent.connect(stack, offers=True)
    times: list[float] = []
    finished = asyncio.Event()
    sent = 0.0

    def start_round() -> None:
        nonlocal sent
        sent = time.perf_counter()
        channel.send(MESSAGE)

    def returned(_message: bytes) -> None:
        times.append(time.perf_counter() - sent)
        if len(times) < WARM_UP + rounds:
            start_round()
        else:
            finished.set()

    channel.on_message(returned)
    parent.send("open")
    await parent.receive()
    start_round()
    await finished.wait()
    parent.send(times[WARM_UP:])


async def echo(stack: Stack, parent: Parent) -> None:
    _peer, channel = await parent.connect(stack, offers=False)
    channel.on_message(channel.send)
    parent.send("open")
    await parent.receive()


def measure(stack: str, rounds: int) -> RoundTrip:
    with children(stack, (ping, rounds), (echo,)) as (pinging, echoing):
        connect(pinging, echoing)
        for child in (pinging, echoing):
            assert child.receive() == "open"
        pinging.send("go")
        times = [1e6 * seconds for seconds in pinging.receive()]
        echoing.send("stop")
    return RoundTrip(median(times), quantiles(times, n=100)[98])


def rows(options: Options) -> list[Row]:
    measured = interleaved(options, lambda stack: measure(stack, ROUNDS_FOR_EACH_COUNT * options.count))
    what = f"round trip of {len(MESSAGE)} bytes"
    return figure_rows(measured, ("median", f"{what}, median", "us"), ("p99", f"{what}, 99th percentile", "us"))


if __name__ == "__main__":
    main(__doc__, rows)
