"""Interactive Connectivity Establishment: a path through NATs and firewalls, found and kept alive.

The core knows no socket, no clock and no random source: ``core`` with its ``session``. ``pairing`` and ``checklist``
make candidate pairs, ``search`` checks and nominates them (``checks``, ``transaction``, ``selection``, ``outcomes``,
``incoming``, ``early``), ``upkeep`` keeps what was found (``liveness``), and can change it (``renomination``); ``lite``
is the other kind of agent. It implements RFC 8445 (ICE) for one component, RFC 8838 (Trickle ICE), RFC 8863 (Patient
ICE), RFC 7675 (consent), RFC 6544 (TCP candidates), draft-thatcher-ice-renomination, and of RFC 8489 (STUN) what these
need; ``candidate`` holds the grammar of RFC 8839 section 5.1 and the ordering of RFC 8421.

Around it stand the rooms that touch the world. An ``agent`` has ``generation`` after generation, one for each pair of
credentials: sockets (``udp_port``, ``tcp``, or a port for many agents: ``mux``), candidates (``gather``, ``rewrite``,
``mdns``, and the peer's that are ``ahead``), servers (``relay`` round the client of ``turn``, RFC 8656, by the ways of
``dialer`` and ``proxy``), and a ``data_path``; ``conn`` is for those who want nothing else. ``trace`` and ``explain``
tell how it went. The package stands alone::

    async with Agent(AgentOptions(urls=["stun:stun.example.org"])) as agent:
        agent.on_candidate(lambda candidate: signal(candidate and candidate.marshal()))
        await agent.gather_candidates()
        signal(agent.get_local_user_credentials())
        ...                              # agent.add_remote_candidate(unmarshal_candidate(line)) for each of the peer's
        conn = await agent.dial(ufrag, pwd)
        conn.send(b"hello")
"""

from __future__ import annotations

from ..states import AddressRewriteMode, ContinualGatheringPolicy
from ..states import ICETransportState as ConnectionState
from .agent import Agent
from .agent_options import AgentOptions
from .candidate import Candidate, UnsupportedCandidateError, unmarshal_candidate
from .conn import Conn
from .events import BindingRequest
from .gather_plan import GatheringError
from .mux import TCPMux, UDPMux
from .options import AgentTimings, RenominationOptions
from .rewrite import AddressRewriteRule, nat_1to1_rules
from .stats import CandidatePairStats, CandidateStats
from .time_limited import time_limited_credentials
from .url import ServerURL, parse_url

__all__ = [
    "AddressRewriteMode",
    "AddressRewriteRule",
    "Agent",
    "AgentOptions",
    "AgentTimings",
    "BindingRequest",
    "Candidate",
    "CandidatePairStats",
    "CandidateStats",
    "Conn",
    "ConnectionState",
    "ContinualGatheringPolicy",
    "GatheringError",
    "RenominationOptions",
    "ServerURL",
    "TCPMux",
    "UDPMux",
    "UnsupportedCandidateError",
    "nat_1to1_rules",
    "parse_url",
    "time_limited_credentials",
    "unmarshal_candidate",
]
