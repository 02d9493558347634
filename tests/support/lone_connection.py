"""One connection by itself, on a virtual network, and what its events tell."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from tests.jsep.ends import data_section, offer_of
from tests.support.virtual_loop import run
from tests.support.virtual_network import VirtualNetwork
from webrtc_py import API, Configuration, ICECandidate, PeerConnection, SessionDescription, SettingEngine

REMOTE_OFFER = SessionDescription("offer", offer_of(data_section(), group="0"))


def connection(
    network: VirtualNetwork | None = None,
    configuration: Configuration | None = None,
    settings: SettingEngine | None = None,
) -> PeerConnection:
    network = network or VirtualNetwork()
    host = network.hosts.get("alice") or network.host("alice", "192.0.2.101", "2001:db8::101")
    settings = settings or SettingEngine()
    settings.set_net(host)
    return API(setting_engine=settings).new_peer_connection(configuration)


def in_connection(
    body: Callable[[PeerConnection], Coroutine[Any, Any, None]],
    configuration: Configuration | None = None,
) -> None:
    """Run ``body`` with a connection that is closed afterwards."""

    async def main() -> None:
        async with connection(configuration=configuration) as pc:
            await body(pc)

    run(main())


def ufrag_line(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("a=ice-ufrag"))


def description_of(pc: PeerConnection) -> SessionDescription:
    description = pc.local_description
    assert description is not None
    return description


class Log:
    """What a connection's events told, in order."""

    def __init__(self, pc: PeerConnection) -> None:
        self.entries: list[str] = []
        self.candidates: list[ICECandidate | None] = []
        pc.on_signaling_state_change(lambda state: self.entries.append(f"signaling {state}"))
        pc.on_ice_gathering_state_change(lambda state: self.entries.append(f"gathering {state}"))
        pc.on_ice_connection_state_change(lambda state: self.entries.append(f"ice {state}"))
        pc.on_connection_state_change(lambda state: self.entries.append(f"connection {state}"))
        pc.on_negotiation_needed(lambda: self.entries.append("negotiation needed"))
        pc.on_ice_candidate(self._candidate)

    def _candidate(self, candidate: ICECandidate | None) -> None:
        self.candidates.append(candidate)
        self.entries.append("candidate" if candidate else "no more candidates")
