"""Many connected pairs of ICE agents in one process: the time to connect them, their memory, and what they cost idle.

Each agent has one socket on loopback and no server, and nothing is sent but the checks that ask for consent.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

from benchmarks.memory import WARM_UP_PAIRS, settled
from benchmarks.peer import KEEPALIVE_INTERVAL, Stack
from benchmarks.process import Parent, children
from benchmarks.report import Options, Row, figure_rows, interleaved, main

HOSTS = ("127.0.0.1",)
PAIRS_FOR_EACH_COUNT = 10


class Held(NamedTuple):
    """Seconds and processor seconds until all were connected, KiB for each agent, and per cent of one core."""

    connecting: float
    connecting_cpu: float
    memory: float
    idle: float


async def hold(stack: Stack, parent: Parent, pairs: int, seconds: float) -> None:
    held = [await stack.connected_agents(HOSTS) for _ in range(WARM_UP_PAIRS)]
    before = await settled()
    started, cpu_started = time.perf_counter(), time.process_time()
    held += await asyncio.gather(*(stack.connected_agents(HOSTS) for _ in range(pairs)))
    connecting, connecting_cpu = time.perf_counter() - started, time.process_time() - cpu_started
    memory = (await settled() - before) / (2 * pairs) / 1024
    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    idle = 100 * (time.process_time() - cpu_started) / (time.perf_counter() - started)
    parent.send(Held(connecting, connecting_cpu, memory, idle))
    await asyncio.gather(*(agent.close() for pair in held for agent in pair))


def measure(stack: str, pairs: int, seconds: float) -> Held:
    with children(stack, (hold, pairs, seconds)) as (child,):
        return Held(*child.receive())


def rows(options: Options) -> list[Row]:
    pairs = PAIRS_FOR_EACH_COUNT * options.count
    measured = interleaved(options, lambda stack: measure(stack, pairs, options.seconds))
    return figure_rows(
        measured,
        ("connecting", f"{pairs} pairs of ICE agents at once, until all are connected", "s"),
        ("connecting_cpu", f"{pairs} pairs of ICE agents at once, processor time to connect", "s"),
        ("memory", "resident memory of a connected ICE agent", "KiB"),
        ("idle", f"{pairs} idle pairs of ICE agents, consent each {KEEPALIVE_INTERVAL:g} s", "% CPU"),
    )


if __name__ == "__main__":
    main(__doc__, rows)
