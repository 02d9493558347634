"""Whether the session wants another offer, and the event that asks for it (webrtc-pc section 4.7.3)."""

from __future__ import annotations

from collections.abc import Callable

from .runtime.event import Event, EventQueue
from .runtime.operations import OperationsChain


class NegotiationNeeded:
    """W3C's negotiation-needed flag, over the operations chain of the connection.

    ``on_negotiation_needed`` comes when the flag is set, and not again until an exchange of descriptions has cleared
    it. The flag is looked at when the chain is empty and the event's turn has come, so that nothing is asked for that
    an operation under way, or a handler before it, has settled.
    """

    def __init__(self, events: EventQueue, is_stable: Callable[[], bool], needs_offer: Callable[[], bool]) -> None:
        """``needs_offer`` is asked in the stable state only."""
        self.on_negotiation_needed: Event[()] = Event("on_negotiation_needed", events)
        self.chain = OperationsChain(self._on_chain_empty)
        self._events = events
        self._is_stable = is_stable
        self._needs_offer = needs_offer
        self._flag = False
        self._update_on_empty = False

    def update(self) -> None:
        """W3C's "update the negotiation-needed flag": something may want an offer now."""
        if not self.chain.empty:
            self._update_on_empty = True
        else:
            self._events.post(self.on_negotiation_needed.name, self._updated_handler, ())

    def exchanged(self) -> None:
        """Descriptions have been exchanged: what they left to be wished for is asked for anew."""
        self._flag = False
        self.update()

    def _on_chain_empty(self) -> None:
        if self._update_on_empty:
            self._update_on_empty = False
            self.update()

    def _updated_handler(self) -> Callable[[], object] | None:
        if not self.chain.empty:
            self._update_on_empty = True
            return None
        if not self._is_stable():
            return None
        before, self._flag = self._flag, self._needs_offer()
        return self.on_negotiation_needed.handler if self._flag and not before else None
