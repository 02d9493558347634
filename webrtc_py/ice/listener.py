"""How an agent tells the layer above what happens."""

from __future__ import annotations

import asyncio

from ..states import ICEGathererState, ICETransportState
from .candidate import Candidate
from .gather_plan import GatheringError
from .pair import CandidatePair


class AgentListener:
    """Called at once, in the engine's order, and before the application's handlers. Override what is of interest."""

    def local_candidate(self, candidate: Candidate | None) -> None:
        """A candidate to tell the peer; None when there are no more."""

    def local_candidate_removed(self, candidate: Candidate) -> None:
        """A candidate that the peer was told of is no more."""

    def gathering_failed(self, error: GatheringError) -> None:
        """A server gave no candidate."""

    def gathering_state_changed(self, state: ICEGathererState) -> None: ...

    def first_round_over(self) -> None:
        """All that was there has been gathered; with continual gathering, more may come."""

    def state_changed(self, state: ICETransportState, reason: str) -> None: ...

    def selected_pair_changed(self, pair: CandidatePair, *, lost: bool) -> None:
        """``lost`` says whether the pair before was gone or silent, so that what was under way on it is lost."""

    def path_resumed(self) -> None:
        """The peer is heard again on the selected pair, which was silent for a while: what was sent then is lost."""


class Waiter(AgentListener):
    """Wakes somebody who waits for a change of the agent."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    def gathering_state_changed(self, state: ICEGathererState) -> None:
        self.changed.set()

    def first_round_over(self) -> None:
        self.changed.set()

    def state_changed(self, state: ICETransportState, reason: str) -> None:
        self.changed.set()

    def selected_pair_changed(self, pair: CandidatePair, *, lost: bool) -> None:
        self.changed.set()
