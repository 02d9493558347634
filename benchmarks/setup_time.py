"""From creating the offerer to both channels open, both ends in one process."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.peer import Stack
from benchmarks.process import Parent, children
from benchmarks.report import Options, Row, interleaved, main


async def connect_often(stack: Stack, parent: Parent, count: int) -> None:
    times = []
    # The first connection imports and warms up.
    for _ in range(1 + count):
        started = time.perf_counter()
        pair = await stack.connected_pair()
        times.append(time.perf_counter() - started)
        for peer in pair:
            await peer.close()
    parent.send(times[1:])


def measure(stack: str, count: int) -> float:
    """Milliseconds, the median of ``count`` connections."""
    with children(stack, (connect_often, count)) as (child,):
        return 1000 * float(median(child.receive()))


def rows(options: Options) -> list[Row]:
    measured = interleaved(options, lambda stack: measure(stack, options.count))
    return [Row("from creating the offerer to both channels open", "ms", measured)]


if __name__ == "__main__":
    main(__doc__, rows)
