"""Many connected pairs of ICE agents in one process: the time to connect them, their memory, and what they cost idle.

Each agent has one address on loopback and no server, and nothing is sent but the checks that ask for consent. aioice
has no port that agents share. It nominates with its first check (RFC 5245's aggressive nomination) where webrtc_py
sends another one (RFC 8445's regular nomination), so that its pairs connect with two checks instead of three.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from benchmarks.memory import WARM_UP_PAIRS, settled
from benchmarks.peer import KEEPALIVE_INTERVAL, STACKS, Agent, Stack
from benchmarks.process import Life, Parent, children
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
    await watch(parent, pairs, seconds, lambda: stack.connected_agents(HOSTS))


async def hold_on_one_port(stack: Stack, parent: Parent, pairs: int, seconds: float) -> None:
    """One agent of each pair shares a port with those of all others, the other agent has its own. webrtc_py alone."""
    from benchmarks.peer_webrtc_py import Hosts, connected_agents
    from webrtc_py.ice.mux import UDPMux

    async with await UDPMux.listen(HOSTS, net=Hosts(HOSTS)) as port:
        await watch(parent, pairs, seconds, lambda: connected_agents(HOSTS, port))


async def watch(
    parent: Parent, pairs: int, seconds: float, connect: Callable[[], Awaitable[tuple[Agent, Agent]]]
) -> None:
    held = [await connect() for _ in range(WARM_UP_PAIRS)]
    before = await settled()
    started, cpu_started = time.perf_counter(), time.process_time()
    held += await asyncio.gather(*(connect() for _ in range(pairs)))
    connecting, connecting_cpu = time.perf_counter() - started, time.process_time() - cpu_started
    memory = (await settled() - before) / (2 * pairs) / 1024
    started, cpu_started = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    idle = 100 * (time.process_time() - cpu_started) / (time.perf_counter() - started)
    parent.send(Held(connecting, connecting_cpu, memory, idle))
    await asyncio.gather(*(agent.close() for pair in held for agent in pair))


def measure(stack: str, life: Life, pairs: int, seconds: float) -> Held:
    with children(stack, (life, pairs, seconds)) as (child,):
        return Held(*child.receive())


def rows(options: Options) -> list[Row]:
    pairs = PAIRS_FOR_EACH_COUNT * options.count
    found = []
    for life, stacks, where in ((hold, STACKS, ""), (hold_on_one_port, ("webrtc_py",), ", one end's on one port")):
        asked = replace(options, stacks=[stack for stack in options.stacks if stack in stacks])
        measured = interleaved(asked, partial(measure, life=life, pairs=pairs, seconds=options.seconds))
        found += figure_rows(
            measured,
            ("connecting", f"{pairs} pairs of ICE agents at once, to connect all{where}", "s"),
            ("connecting_cpu", f"{pairs} pairs of ICE agents at once, processor time{where}", "s"),
            ("memory", f"resident memory of an idle ICE agent{where}", "KiB"),
            ("idle", f"{pairs} idle pairs of ICE agents, keepalive each {KEEPALIVE_INTERVAL:g} s{where}", "% CPU"),
        )
    return found


if __name__ == "__main__":
    main(__doc__, rows)
