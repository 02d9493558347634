"""Resident memory of each idle connection (one end): many connected pairs in one process, settled and collected."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

from benchmarks.peer import Stack
from benchmarks.process import Parent, children
from benchmarks.report import Options, Row, interleaved, main

# What the first connections bring (imports, caches, pools of the allocator) belongs to the process, not to them.
WARM_UP_PAIRS = 5
SETTLE = 2.0


def resident() -> int:
    """The process's resident set in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def settled() -> int:
    await asyncio.sleep(SETTLE)
    gc.collect()
    return resident()


async def hold(stack: Stack, parent: Parent, pairs: int) -> None:
    held = [await stack.connected_pair() for _ in range(WARM_UP_PAIRS)]
    before = await settled()
    held += [await stack.connected_pair() for _ in range(pairs)]
    parent.send((await settled() - before) / (2 * pairs))
    for pair in held:
        for peer in pair:
            await peer.close()


def measure(stack: str, pairs: int) -> float:
    """KiB for each connection."""
    with children(stack, (hold, pairs)) as (child,):
        return float(child.receive()) / 1024


def rows(options: Options) -> list[Row]:
    measured = interleaved(options, lambda stack: measure(stack, options.count))
    return [Row("resident memory of an idle connection", "KiB", measured)]


if __name__ == "__main__":
    main(__doc__, rows)
