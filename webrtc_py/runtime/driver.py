"""Runs a sans-IO engine: its datagrams out, its events up, its timer armed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from .shared import Shared

# How early a timer may fire for nothing, and how seldom it is put off instead: an idle process should sleep through,
# and a busy one not move a timer with each packet.
_TOO_EARLY = 0.25
# A deadline that is far is met at a full tick of the clock: the timers of a thousand idle connections then wake the
# process a few times a second and not a thousand times, and waking costs as much as what is then done.
_FAR = 1.0
_TICK = 0.05

Datagram = TypeVar("Datagram", covariant=True)
Happening = TypeVar("Happening", covariant=True)
D = TypeVar("D")
E = TypeVar("E")


class Engine(Protocol[Datagram, Happening]):
    """What every protocol's core offers beside ``receive`` and its own commands. It knows no clock but ``now``."""

    def handle_timeout(self, now: float) -> None:
        """Do what was due at or before ``now``."""

    def next_timeout(self) -> float | None:
        """When to come back, in the loop's seconds, or None."""

    def datagrams_to_send(self, now: float) -> Iterable[Datagram]:
        """What is to be sent now. Each item is valid until the next is asked for."""

    def events(self) -> Iterable[Happening]:
        """What happened since the last call, in order."""


class Driver(Generic[D, E]):
    """The contract: mutate, then flush. After any call that changes an engine, whoever made it calls :meth:`flush`.

    Time is the loop's monotonic seconds, read once where a batch enters and passed on. The timer is brought
    forward at once, but put off only now and then: one that fires early finds nothing due and is armed again, which is
    cheaper than a cancel for each packet.
    """

    __slots__ = (
        "_again",
        "_closed",
        "_engine",
        "_flushing",
        "_latest",
        "_may_put_off",
        "_on_event",
        "_send",
        "_shared",
        "_timer",
        "_timer_due",
    )

    def __init__(
        self,
        engine: Engine[D, E],
        send: Callable[[D], None],
        on_event: Callable[[E], None],
        shared: Shared | None = None,
    ) -> None:
        self._engine = engine
        self._send = send
        self._on_event = on_event
        self._shared = shared or Shared.of_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._latest = 0.0
        self._may_put_off = 0.0
        self._flushing = False
        self._again = False
        self._closed = False

    def flush(self, now: float) -> None:
        """Send what is to be sent, report what happened, arm the timer. ``send`` and ``on_event`` may call it too."""
        if self._closed:
            return
        if self._flushing:
            self._again = True
            return
        self._flushing = True
        try:
            while True:
                self._again = False
                for datagram in self._engine.datagrams_to_send(now):
                    self._send(datagram)
                for event in self._engine.events():
                    self._on_event(event)
                if not self._again or self._closed:
                    break
        finally:
            self._flushing = False
        self._arm(now)

    def close(self) -> None:
        """Stop the timer; the engine is not called again."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, now: float) -> None:
        if self._closed:
            return
        due = self._engine.next_timeout()
        if due is None:
            return
        if self._timer is not None:
            if self._timer_due <= due:
                if due - self._timer_due < _TOO_EARLY or now < self._may_put_off:
                    return
                self._may_put_off = now + _TOO_EARLY
            self._timer.cancel()
        self._timer_due = due
        if due > now + _FAR:
            due = math.ceil(due / _TICK) * _TICK
        self._timer = self._shared.loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        with self._shared.step:
            # A loop may fire a timer a clock tick early; the deadline itself is then the time that has come. For the
            # next one time must not go back, or what has just happened would be taken back.
            now = self._latest = max(self._shared.loop.time(), self._timer_due, self._latest)
            due = self._engine.next_timeout()
            if due is not None and due <= now:
                self._engine.handle_timeout(now)
                self.flush(now)
            else:
                self._arm(now)
