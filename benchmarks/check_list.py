"""What a large check list costs: 100 candidates on each side.

The core alone, without sockets: all local candidates are added, then all remote ones, with the limit of pairs that
agents have (RFC 8445 section 6.1.2.5) and with room for all pairs. Settling is what each packet and each timer brings:
the core looks what is to be checked now, and when to come back. Then two whole agents, each on 100 loopback addresses.
"""

from __future__ import annotations

import random
import time
from typing import NamedTuple

from benchmarks.peer import Stack
from benchmarks.process import Parent, children
from benchmarks.report import Options, Row, figure_rows, interleaved, main
from webrtc_py.ice import Candidate
from webrtc_py.ice.candidate import candidate_priority
from webrtc_py.ice.core import DEFAULT_MAX_PAIRS, Core
from webrtc_py.states import CandidateType

CANDIDATES = 100
HOSTS = tuple(f"127.0.0.{i}" for i in range(1, CANDIDATES + 1))
SETTLES = 50


class Costs(NamedTuple):
    """Milliseconds and microseconds of processor time."""

    adding: float
    settling: float


def candidates(network: str) -> list[Candidate]:
    """Of foundations of their own, as if each were an interface's."""
    found = []
    for i in range(1, CANDIDATES + 1):
        priority = candidate_priority(CandidateType.HOST, 65535 - i)
        found.append(Candidate(str(i), 1, "udp", priority, f"{network}.{i}", 5000 + i, CandidateType.HOST))
    random.Random(0).shuffle(found)
    return found


def fill(max_pairs: int) -> Costs:
    core = Core(tie_breaker=1, local_ufrag="ours", local_pwd="p" * 22, seed=bytes(16), max_pairs=max_pairs)
    now = 1000.0
    core.set_remote_credentials("theirs", "q" * 22, now)
    core.start(True, now)
    started = time.process_time()
    for base_id, candidate in enumerate(candidates("192.0.2")):
        core.add_local_candidate(candidate, base_id, now)
    for candidate in candidates("198.51.100"):
        core.add_remote_candidate(candidate, now)
    adding = time.process_time() - started
    assert len(core.pairs) == min(max_pairs, CANDIDATES**2)
    started = time.process_time()
    for _ in range(SETTLES):
        now += 0.05
        core.handle_timeout(now)
        core.datagrams_to_send(now)
        core.next_timeout()
    return Costs(1e3 * adding, 1e6 * (time.process_time() - started) / SETTLES)


async def connect_all(stack: Stack, parent: Parent) -> None:
    # The first connection imports and warms up.
    for hosts in (HOSTS[:1], HOSTS):
        started = time.perf_counter()
        pair = await stack.connected_agents(hosts)
        elapsed = time.perf_counter() - started
        for agent in pair:
            await agent.close()
    parent.send(elapsed)


def connect(stack: str) -> float:
    """Milliseconds."""
    with children(stack, (connect_all,)) as (child,):
        return 1000 * float(child.receive())


def rows(options: Options) -> list[Row]:
    found = []
    what = f"{CANDIDATES} x {CANDIDATES} candidates"
    if "webrtc_py" in options.stacks:
        for max_pairs in (DEFAULT_MAX_PAIRS, CANDIDATES**2):
            measured = {"webrtc_py": [fill(max_pairs) for _ in range(options.runs)]}
            limit = f"{what}, at most {max_pairs} pairs"
            found += figure_rows(
                measured, ("adding", f"{limit}: adding", "ms"), ("settling", f"{limit}: settling", "us")
            )
    return [*found, Row(f"{what}, from creating two ICE agents to both connected", "ms", interleaved(options, connect))]


if __name__ == "__main__":
    main(__doc__, rows)
