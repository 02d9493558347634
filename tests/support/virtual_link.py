"""One direction of a path in the virtual network, and what it does to packets."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

# What IP and UDP put in front of a datagram's payload.
IPV4_OVERHEAD = 28
IPV6_OVERHEAD = 48


@dataclass
class Conditions:
    """What a path does. Seconds, bytes and probabilities; the defaults are a quiet local network."""

    delay: float = 0.001
    """One way."""
    jitter: float = 0.0
    """Up to so much more delay, evenly spread. It never changes the order: ``reorder`` does."""
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """How many packets are held back, by ``reorder_delay``, while later ones pass them."""
    reorder_delay: float = 0.005
    bandwidth: float | None = None
    """Bytes a second, headers included; None for no limit."""
    queue: int = 256 * 1024
    """Bytes that wait for ``bandwidth``; a packet that finds the queue full is dropped."""
    mtu: int = 1500
    """The largest IP packet. A larger one is dropped without a word, as by a path-MTU black hole."""


@dataclass
class Link:
    """The conditions from one host to another, and what has passed. Change ``conditions`` at any time."""

    conditions: Conditions
    random: random.Random
    is_cut: bool = False
    passed: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    _free_at: float = 0.0
    _last_arrival: float = 0.0

    def arrivals(self, size: int, now: float) -> list[float]:
        """When a packet of ``size`` bytes arrives: no time when it is lost, two when it is doubled."""
        conditions = self.conditions
        if self.is_cut:
            return self._drop("cut")
        if size > conditions.mtu:
            return self._drop("mtu")
        leaves = now
        if conditions.bandwidth is not None:
            start = max(now, self._free_at)
            if (start - now) * conditions.bandwidth + size > conditions.queue:
                return self._drop("queue")
            leaves = self._free_at = start + size / conditions.bandwidth
        if conditions.loss and self.random.random() < conditions.loss:
            return self._drop("loss")
        arrival = leaves + conditions.delay
        if conditions.jitter:
            arrival += self.random.random() * conditions.jitter
        if conditions.reorder and self.random.random() < conditions.reorder:
            arrival += conditions.reorder_delay
        else:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        self.passed += 1
        if conditions.duplicate and self.random.random() < conditions.duplicate:
            return [arrival, arrival]
        return [arrival]

    def _drop(self, reason: str) -> list[float]:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        return []
