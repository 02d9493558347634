"""The states of a peer connection that come from its transports, their events, and who waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .errors import ConnectionClosedError
from .runtime.event import Event, EventQueue
from .runtime.shared import Shared
from .states import (
    DTLSTransportState,
    ICEConnectionState,
    ICEGatheringState,
    ICETransportState,
    PeerConnectionState,
    combine_connection,
    combine_ice_connection,
)


class ConnectionStates:
    """Each change is logged, told as an event, and wakes those who wait for it; after :meth:`close` none is told."""

    def __init__(self, events: EventQueue, shared: Shared, log: Callable[[str], None]) -> None:
        self.gathering = ICEGatheringState.NEW
        self.ice = ICEConnectionState.NEW
        self.connection = PeerConnectionState.NEW
        self.on_gathering_change: Event[ICEGatheringState] = Event("on_ice_gathering_state_change", events)
        self.on_ice_change: Event[ICEConnectionState] = Event("on_ice_connection_state_change", events)
        self.on_connection_change: Event[PeerConnectionState] = Event("on_connection_state_change", events)
        self._shared = shared
        self._log = log
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []

    def set_gathering(self, state: ICEGatheringState) -> None:
        if state is not self.gathering:
            self._log(f"ICE gathering state: {self.gathering.value} -> {state.value}")
            self.gathering = state
            self.on_gathering_change.emit(state)
            self.wake()

    def update(self, ice: ICETransportState, dtls: DTLSTransportState, failure: str) -> None:
        """The transports have changed. ``failure`` says why they have failed, if they have."""
        ice_state = combine_ice_connection([ice], closed=False)
        if ice_state is not self.ice:
            self._log(f"ICE connection state: {self.ice.value} -> {ice_state.value}")
            self.ice = ice_state
            self.on_ice_change.emit(ice_state)
        state = combine_connection([ice], [dtls], closed=False)
        if state is not self.connection:
            why = failure or f"ICE is {ice.value}, DTLS is {dtls.value}"
            self._log(f"connection state: {self.connection.value} -> {state.value} ({why})")
            self.connection = state
            self.on_connection_change.emit(state)
            self.wake()

    def close(self) -> None:
        self._log(f"connection state: {self.connection.value} -> closed")
        self._closed = True
        self.ice = ICEConnectionState.CLOSED
        self.connection = PeerConnectionState.CLOSED
        self.wake()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for :meth:`wake` and the condition. ConnectionClosedError when the connection is closed before."""
        while not condition():
            if self._closed:
                raise ConnectionClosedError("the connection is closed")
            waiter = self._shared.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    def wake(self) -> None:
        """Something has changed that somebody may wait for."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
