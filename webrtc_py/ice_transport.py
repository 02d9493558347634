"""The path between two peers (W3C RTCIceTransport): started with the peer's parameters, it carries datagrams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType

from .errors import ConnectionClosedError, InvalidStateError
from .ice.candidate import Candidate
from .ice.data_path import DataReceiver, Traffic
from .ice.listener import AgentListener
from .ice.pair import CandidatePair
from .ice.stats import CandidatePairStats
from .ice_gatherer import ICEGatherer
from .ice_parameters import ICECandidate, ICECandidatePair, ICEParameters
from .runtime.event import Event, EventQueue
from .runtime.network import Address
from .states import ICERole, ICETransportState
from .train import Train

_CONNECTED = (ICETransportState.CONNECTED, ICETransportState.COMPLETED)


class ICETransport(AgentListener):
    """Events: ``on_connection_state_change(state)``, ``on_selected_candidate_pair_change(ICECandidatePair)``.

    Remote candidates may be added at any time: those that come before :meth:`start` wait for it.
    """

    def __init__(self, gatherer: ICEGatherer) -> None:
        self._gatherer = gatherer
        self._agent = gatherer.agent
        self._state = ICETransportState.NEW
        self._has_remote_candidate = False
        self._remote_parameters: ICEParameters | None = None
        self._is_started = False
        self._state_listeners: list[Callable[[ICETransportState], None]] = []
        self._had_path = False
        self._path: tuple[Address, Address] | None = None
        self._path_listeners: list[Callable[[bool], None]] = []
        self._events = EventQueue("ICE transport")
        self.on_connection_state_change = Event[ICETransportState]("on_connection_state_change", self._events)
        self.on_selected_candidate_pair_change = Event[ICECandidatePair](
            "on_selected_candidate_pair_change", self._events
        )
        self._agent.add_listener(self)

    async def __aenter__(self) -> ICETransport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def gatherer(self) -> ICEGatherer:
        return self._gatherer

    @property
    def name(self) -> str:
        """What log lines call the connection: its user fragment, which descriptions and captured checks show too."""
        return self._agent.get_local_user_credentials()[0]

    @property
    def state(self) -> ICETransportState:
        return self._state

    @property
    def role(self) -> ICERole | None:
        """None until :meth:`start`; a conflict with the peer's may change it."""
        return None if self._remote_parameters is None else self._agent.role

    @property
    def failure(self) -> str:
        """Why the transport has failed, in words; empty when it has not."""
        return self._agent.failure

    @property
    def is_restarting(self) -> bool:
        """Whether what :meth:`restart` began is still looking for a path, or waits for :meth:`start`."""
        has_failed = self._is_started and self._state is ICETransportState.FAILED
        return self._agent.is_restarting and not has_failed

    def explain(self) -> str:
        """Why the path is there or not: a few lines for people, of the agent that finds it."""
        return self._agent.explain()

    async def start(self, gatherer: ICEGatherer | None, remote: ICEParameters, role: ICERole | str) -> None:
        """Begin to check the peer's candidates, and return. ``role`` is ``controlling`` for the side that offered.

        Once, and again after each :meth:`restart`, with the peer's new parameters; the role then stays what it is (RFC
        8445 section 9). ``gatherer`` is the one that the transport was made with, or None. InvalidStateError when it is
        started or stopped already, InvalidAccessError when the parameters are outside RFC 8839 section 5.4.
        """
        role = ICERole(role)
        if gatherer is not None and gatherer is not self._gatherer:
            raise InvalidStateError("the ICE transport was made with another gatherer")
        if self._is_started or self._state is ICETransportState.CLOSED:
            raise InvalidStateError(f"the ICE transport is {self._state} and was started or stopped before")
        is_controlling = role is ICERole.CONTROLLING
        before, self._remote_parameters, self._is_started = self._remote_parameters, remote, True
        try:
            self._agent.start(is_controlling, remote.username_fragment, remote.password, remote_lite=remote.ice_lite)
        except BaseException:
            self._remote_parameters, self._is_started = before, False
            raise

    async def restart(self, local: ICEParameters | None = None) -> None:
        """Look for a path anew while the one there is carries on: begin to gather with new local parameters.

        They are ``local`` or random ones: the gatherer's :meth:`~ICEGatherer.get_local_parameters` from now on.
        Exchange them and the candidates with the peer, who restarts too, and call :meth:`start`. InvalidStateError
        before the first start and after :meth:`stop`, InvalidAccessError for parameters outside RFC 8839 section 5.4.
        """
        await self._agent.restart(*((local.username_fragment, local.password) if local is not None else ()))
        self._is_started = False
        await self._gatherer.gather()

    def cancel_restart(self) -> None:
        """Undo a :meth:`restart` that was not started again: all is as before it. InvalidStateError otherwise."""
        self._agent.cancel_restart()
        self._is_started = True

    def renominate(self, local: ICECandidate | Candidate, remote: ICECandidate | Candidate) -> None:
        """Change to the path between these candidates without a restart; it is taken when the peer has confirmed it.

        For the controlling side, with `SettingEngine.set_ice_renomination`. InvalidAccessError when there is no such
        pair, InvalidStateError when its checks are not answered, and when we or the peer may not do it.
        """
        self._agent.renominate(
            *(one.to_candidate() if isinstance(one, ICECandidate) else one for one in (local, remote))
        )

    def set_remote_renomination(self, understood: bool) -> None:
        """Whether the peer understands renomination, as its descriptions tell; unless told otherwise, it does."""
        self._agent.set_remote_renomination(understood)

    async def stop(self) -> None:
        """Close the path, and the gatherer with it. Nothing is left after two seconds."""
        await self._agent.close()

    def get_local_parameters(self) -> ICEParameters:
        """The gatherer's: what the peer is told."""
        return self._gatherer.get_local_parameters()

    def get_remote_parameters(self) -> ICEParameters | None:
        return self._remote_parameters

    # Candidates

    def add_remote_candidate(self, candidate: ICECandidate | None) -> None:
        """A candidate of the peer's; None when it has no more. What cannot be used is ignored and counted."""
        if self._state is ICETransportState.CLOSED:
            raise ConnectionClosedError("the ICE transport is closed")
        self._agent.add_remote_candidate(None if candidate is None else candidate.to_candidate())
        if candidate is not None:
            self._has_remote_candidate = True
            self._follow(self._agent.connection_state)

    def set_remote_candidates(self, candidates: Iterable[ICECandidate]) -> None:
        """Several at once."""
        for candidate in candidates:
            self.add_remote_candidate(candidate)

    def get_local_candidates(self) -> list[ICECandidate]:
        """The gatherer's: what has been found so far."""
        return self._gatherer.get_local_candidates()

    def get_remote_candidates(self) -> list[ICECandidate]:
        """What the peer has told, and what its checks came from."""
        return [ICECandidate.from_candidate(candidate) for candidate in self._agent.get_remote_candidates()]

    def get_selected_candidate_pair(self) -> ICECandidatePair | None:
        """The path in use."""
        pair = self._agent.get_selected_candidate_pair()
        return None if pair is None else _pair(*pair)

    def get_selected_candidate_pair_stats(self) -> CandidatePairStats | None:
        """What was counted about the path in use."""
        return self._agent.get_selected_candidate_pair_stats()

    def get_candidate_pairs_stats(self) -> list[CandidatePairStats]:
        return self._agent.get_candidate_pairs_stats()

    @property
    def traffic(self) -> Traffic:
        """What the layers above have sent and received, by all paths since the beginning."""
        return self._agent.traffic

    # The data path

    def send(self, train: Train) -> None:
        """Send over the path; without one the train is dropped and counted."""
        self._agent.send(train)

    def set_receiver(self, receiver: DataReceiver | None) -> None:
        """Who takes the peer's datagrams: only such as came from where the peer has been authenticated.

        A few that came before are handed over now.
        """
        self._agent.set_data_receiver(receiver)

    def add_state_listener(self, listener: Callable[[ICETransportState], None]) -> None:
        """For the layers above: called at once and in order, before the application's handlers."""
        self._state_listeners.append(listener)

    def add_path_listener(self, listener: Callable[[bool], None]) -> None:
        """For the layers above: called when the data takes another path than before, or the same after an outage.

        It is told whether there was an outage, be it too short to be ``disconnected``, or the old path was gone: then
        what was under way is as good as lost.
        """
        self._path_listeners.append(listener)

    # What the agent tells

    def state_changed(self, state: ICETransportState, reason: str) -> None:
        self._follow(state)

    def selected_pair_changed(self, pair: CandidatePair, *, lost: bool) -> None:
        # A candidate that is now known by another type is still on the same path, and so is one of a restart that has
        # found the path there was.
        before, self._path = self._path, ((pair.base.address, pair.base.port), pair.destination)
        if before is not None and (lost or before != self._path) and self._state in _CONNECTED:
            self._tell_path(lost=lost)
        self.on_selected_candidate_pair_change.emit(_pair(pair.local, pair.remote))

    def path_resumed(self) -> None:
        if self._state in _CONNECTED:
            self._tell_path(lost=True)

    def _follow(self, state: ICETransportState) -> None:
        """W3C's ``checking`` begins with the first remote candidate; a path to one that nobody signalled shows both."""
        if state is ICETransportState.CHECKING and not self._has_remote_candidate:
            return
        if self._state is ICETransportState.NEW and state in (ICETransportState.CONNECTED, ICETransportState.COMPLETED):
            self._set_state(ICETransportState.CHECKING)
        self._set_state(state)

    def _tell_path(self, *, lost: bool) -> None:
        for listener in list(self._path_listeners):
            listener(lost)

    def _set_state(self, state: ICETransportState) -> None:
        if state is self._state:
            return
        was_interrupted = self._had_path and self._state not in _CONNECTED
        self._state = state
        if state in _CONNECTED:
            self._had_path = True
            if was_interrupted:
                self._tell_path(lost=True)
        for listener in list(self._state_listeners):
            listener(state)
        self.on_connection_state_change.emit(state)
        if state is ICETransportState.CLOSED:
            self._events.close_after_queued()


def _pair(local: Candidate, remote: Candidate) -> ICECandidatePair:
    return ICECandidatePair(ICECandidate.from_candidate(local), ICECandidate.from_candidate(remote))
