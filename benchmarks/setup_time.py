"""From nothing to connected, both ends in one process: connections with a channel, and ICE agents alone."""

from __future__ import annotations

import time
from functools import partial
from statistics import median

from benchmarks.peer import Stack
from benchmarks.process import Life, Parent, children
from benchmarks.report import Options, Row, interleaved, main

# Agents are several times as fast.
AGENTS_FOR_EACH_COUNT = 4


async def connect_peers(stack: Stack, parent: Parent, count: int) -> None:
    times = []
    # The first connection imports and warms up.
    for _ in range(1 + count):
        started = time.perf_counter()
        pair = await stack.connected_pair()
        times.append(time.perf_counter() - started)
        for peer in pair:
            await peer.close()
    parent.send(times[1:])


async def connect_agents(stack: Stack, parent: Parent, count: int) -> None:
    """With the addresses that the agents find on this machine."""
    times = []
    for _ in range(1 + AGENTS_FOR_EACH_COUNT * count):
        started = time.perf_counter()
        pair = await stack.connected_agents()
        times.append(time.perf_counter() - started)
        for agent in pair:
            await agent.close()
    parent.send(times[1:])


def measure(stack: str, life: Life, count: int) -> float:
    """Milliseconds, the median of the connections."""
    with children(stack, (life, count)) as (child,):
        return 1000 * float(median(child.receive()))


def rows(options: Options) -> list[Row]:
    return [
        Row(what, "ms", interleaved(options, partial(measure, life=life, count=options.count)))
        for life, what in (
            (connect_peers, "from creating the offerer to both channels open"),
            (connect_agents, "from creating two ICE agents to both connected"),
        )
    ]


if __name__ == "__main__":
    main(__doc__, rows)
