"""Interactive Connectivity Establishment: a path through NATs and firewalls, found and kept alive.

The core (``core``, with ``checklist``, ``pair``, ``selection``, ``liveness``, ``transaction``, ``stun``, ``candidate``,
``explain`` and ``options``) knows no socket, no clock and no random source. It implements RFC 8445 (ICE) for full
agents and one component, RFC 8838 (Trickle ICE), RFC 8863 (Patient ICE), RFC 7675 (consent), and of RFC 8489 (STUN)
what these need; ``candidate`` holds the grammar of RFC 8839 section 5.1 and the ordering of RFC 8421.

Around it stand the rooms that touch the world: ``agent`` with its ``data_path``, ``gather`` (interfaces, STUN and TURN
servers), ``relay`` (a socket round the TURN client of ``turn``, RFC 8656), ``mdns`` (``.local`` names) and ``conn``.
The package stands alone::

    async with Agent(AgentOptions(urls=["stun:stun.example.org"])) as agent:
        agent.on_candidate(lambda candidate: signal(candidate and candidate.marshal()))
        await agent.gather_candidates()
        conn = await agent.dial(ufrag, pwd)
        conn.send(b"hello")
"""

from __future__ import annotations

from ..states import ICETransportState as ConnectionState
from .agent import Agent
from .agent_options import AgentOptions
from .candidate import Candidate, UnsupportedCandidateError, unmarshal_candidate
from .conn import Conn
from .gather_plan import GatheringError
from .options import AgentTimings
from .stats import CandidatePairStats
from .url import ServerURL, parse_url

__all__ = [
    "Agent",
    "AgentOptions",
    "AgentTimings",
    "Candidate",
    "CandidatePairStats",
    "Conn",
    "ConnectionState",
    "GatheringError",
    "ServerURL",
    "UnsupportedCandidateError",
    "parse_url",
    "unmarshal_candidate",
]
