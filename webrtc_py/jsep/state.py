"""The negotiation's state: one frozen value. A description makes the next one, and a rollback goes back."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..states import SignalingState
from .candidates import TrickledCandidate
from .description import LocalDescription, RemoteDescription
from .remote import Agreement, DataSection


@dataclass(frozen=True, slots=True)
class State:
    """All that an offer/answer exchange changes."""

    signaling: SignalingState = SignalingState.STABLE
    current_local: LocalDescription | None = None
    pending_local: LocalDescription | None = None
    current_remote: RemoteDescription | None = None
    pending_remote: RemoteDescription | None = None
    offered: DataSection | None = None
    """The data section of the pending remote offer, which our answer accepts."""
    agreement: Agreement | None = None
    is_restarting: bool = False
    """Whether an offer of ours has begun an ICE restart that no answer has settled yet."""
    early: tuple[TrickledCandidate, ...] = ()
    """The peer's candidates that came before any description of the peer."""

    @property
    def has_generations(self) -> bool:
        """Whether ICE was ever restarted, or is about to be: candidates may then be of one generation or another."""
        agreed, offered = self.agreement, self.offered
        if agreed is None:
            return False
        is_offered = offered is not None and agreed.is_restarted_by(offered)
        return agreed.is_restarted or self.is_restarting or is_offered

    @property
    def local(self) -> LocalDescription | None:
        return self.pending_local or self.current_local

    @property
    def remote(self) -> RemoteDescription | None:
        return self.pending_remote or self.current_remote

    def rolled_back(self) -> State:
        """Without the exchange that is going on: an offer alone changes no agreement (RFC 8829 section 5.7)."""
        return replace(
            self,
            signaling=SignalingState.STABLE,
            pending_local=None,
            pending_remote=None,
            offered=None,
            is_restarting=False,
        )

    def settled(self, agreement: Agreement | None) -> State:
        """With what an answer agreed on; a final one makes the pending descriptions the current ones."""
        if self.signaling is not SignalingState.STABLE:
            return replace(self, agreement=agreement)
        return State(
            current_local=self.pending_local,
            current_remote=self.pending_remote,
            agreement=agreement,
            early=self.early,
        )
