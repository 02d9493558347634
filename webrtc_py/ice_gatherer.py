"""Gathers local candidates for ICE transports, one by one (W3C ORTC's RTCIceGatherer, as Pion has it)."""

from __future__ import annotations

from .errors import InvalidAccessError
from .ice.agent import Agent
from .ice.agent_options import AgentOptions
from .ice.candidate import Candidate
from .ice.gather_plan import GatheringError
from .ice.listener import AgentListener
from .ice_parameters import ICECandidate, ICECandidateError, ICEGatherOptions, ICEParameters
from .runtime.closing import ClosedOnExit
from .runtime.event import Event, EventQueue
from .setting_engine import SettingEngine
from .states import CandidateType, ICEGathererState, ICETransportPolicy

# The transport policy is a question of what is gathered (RFC 8828 section 5.2 calls "relay" mode 4).
_CANDIDATE_TYPES = {
    ICETransportPolicy.ALL: (CandidateType.HOST, CandidateType.SRFLX, CandidateType.RELAY),
    ICETransportPolicy.NO_HOST: (CandidateType.SRFLX, CandidateType.RELAY),
    ICETransportPolicy.RELAY: (CandidateType.RELAY,),
}


class GathererListener:
    """Called at once, in the engine's order, and before the application's handlers. Override what is of interest."""

    def local_candidate(self, candidate: ICECandidate | None) -> None:
        """A candidate to tell the peer; None when there are no more."""

    def local_candidate_removed(self, candidate: ICECandidate) -> None:
        """A candidate that the peer was told of is no more."""

    def gathering_failed(self, error: ICECandidateError) -> None:
        """A server gave no candidate."""

    def gathering_changed(self) -> None:
        """The state has changed, or :attr:`ICEGatherer.has_gathered`."""


class ICEGatherer(AgentListener, ClosedOnExit):
    """Events: ``on_local_candidate(ICECandidate | None)``, None at the end, ``on_state_change(ICEGathererState)``,
    ``on_error(ICECandidateError)`` for each server that gave no candidate, ``on_local_candidate_removed(ICECandidate)``
    for each that is no more, with continual gathering."""

    def __init__(self, options: ICEGatherOptions | None = None, setting_engine: SettingEngine | None = None) -> None:
        """URLSyntaxError or InvalidAccessError for servers that cannot be used and settings that exclude each other."""
        options = options or ICEGatherOptions()
        self._settings = setting_engine or SettingEngine()
        self.agent = Agent(_agent_options(options, self._settings))
        self.agent.add_listener(self)
        self._listeners: list[GathererListener] = []
        self._events = EventQueue("ICE gatherer")
        self.on_local_candidate = Event[ICECandidate | None]("on_local_candidate", self._events)
        self.on_local_candidate_removed = Event[ICECandidate]("on_local_candidate_removed", self._events)
        self.on_state_change = Event[ICEGathererState]("on_state_change", self._events)
        self.on_error = Event[ICECandidateError]("on_error", self._events)

    @property
    def state(self) -> ICEGathererState:
        return self.agent.gathering_state

    @property
    def has_gathered(self) -> bool:
        """Whether all candidates have been found; with continual gathering, all that were there at the beginning."""
        return self.agent.has_gathered

    def set_options(self, options: ICEGatherOptions) -> None:
        """Other servers, or another policy, for the next gathering. What was gathered stays as it is."""
        self.agent.set_options(_agent_options(options, self._settings))

    async def gather(self) -> None:
        """Begin to gather, and return. Candidates come as they are found. InvalidStateError the second time."""
        await self.agent.gather_candidates()

    def discard(self) -> None:
        """Give up what was gathered, to gather anew. InvalidStateError once a transport has been started with it."""
        self.agent.discard_candidates()

    async def gathering_complete(self) -> None:
        """Wait until :attr:`has_gathered`. ConnectionClosedError when the gatherer is closed before."""
        await self.agent.gathering_complete()

    def get_local_parameters(self) -> ICEParameters:
        """The credentials to tell the peer, and whether we are a lite agent."""
        return ICEParameters(*self.agent.get_local_user_credentials(), ice_lite=self._settings.lite)

    def get_local_candidates(self) -> list[ICECandidate]:
        """What has been found so far."""
        return [ICECandidate.from_candidate(candidate) for candidate in self.agent.get_local_candidates()]

    async def close(self) -> None:
        """Stop gathering and give up all candidates, and with them the transport that uses them."""
        await self.agent.close()

    def add_listener(self, listener: GathererListener) -> None:
        self._listeners.append(listener)

    # What the agent tells

    def local_candidate(self, candidate: Candidate | None) -> None:
        found = None if candidate is None else ICECandidate.from_candidate(candidate)
        for listener in self._listeners:
            listener.local_candidate(found)
        self.on_local_candidate.emit(found)

    def local_candidate_removed(self, candidate: Candidate) -> None:
        removed = ICECandidate.from_candidate(candidate)
        for listener in self._listeners:
            listener.local_candidate_removed(removed)
        self.on_local_candidate_removed.emit(removed)

    def first_round_over(self) -> None:
        for listener in self._listeners:
            listener.gathering_changed()

    def gathering_state_changed(self, state: ICEGathererState) -> None:
        for listener in self._listeners:
            listener.gathering_changed()
        self.on_state_change.emit(state)
        if state is ICEGathererState.CLOSED:
            self._events.close_after_queued()

    def gathering_failed(self, error: GatheringError) -> None:
        address, port = error.base or (None, None)
        failed = ICECandidateError(str(error.url), address, port, error.error_code, error.reason)
        for listener in self._listeners:
            listener.gathering_failed(failed)
        self.on_error.emit(failed)


def _agent_options(options: ICEGatherOptions, settings: SettingEngine) -> AgentOptions:
    ufrag, pwd = settings.ice_credentials or ("", "")
    policy = ICETransportPolicy(options.ice_gather_policy)
    candidate_types = (CandidateType.HOST,) if settings.lite else _CANDIDATE_TYPES[policy]
    if settings.lite and policy is not ICETransportPolicy.ALL:
        raise InvalidAccessError(f"a lite agent has host candidates only, which the policy {policy.value!r} forbids")
    return AgentOptions(
        urls=[url for server in options.ice_servers for url in server.parse_urls()],
        network_types=settings.network_types,
        candidate_types=candidate_types,
        timings=settings.ice_timings,
        lite=settings.lite,
        renomination=settings.ice_renomination,
        max_pairs=settings.ice_max_pairs,
        use_candidate_check_priority=settings.ice_use_candidate_check_priority,
        on_binding_request=settings.ice_binding_request_handler,
        tcp_priority_offset=settings.ice_tcp_priority_offset,
        stun_gather_timeout=settings.stun_gather_timeout,
        local_ufrag=ufrag,
        local_pwd=pwd,
        port_range=settings.ephemeral_udp_port_range,
        interface_filter=settings.interface_filter,
        ip_filter=settings.ip_filter,
        remote_ip_filter=settings.remote_ip_filter,
        include_loopback=settings.include_loopback_candidate,
        multicast_dns_mode=settings.ice_multicast_dns_mode,
        multicast_dns_host_name=settings.multicast_dns_host_name,
        # The settings are for all connections, whatever the policy of each.
        address_rewrite_rules=[
            rule for rule in settings.ice_address_rewrite_rules if rule.as_candidate_type in candidate_types
        ],
        continual_gathering=settings.ice_continual_gathering,
        network_monitor_interval=settings.ice_network_monitor_interval,
        udp_mux=settings.ice_udp_mux,
        tcp_mux=settings.ice_tcp_mux,
        active_tcp=settings.active_tcp,
        tls_context=settings.turn_tls_context,
        turn_transport_protocols=settings.turn_transport_protocols,
        proxy=settings.ice_proxy,
        net=settings.network,
        logger=settings.logger,
    )
