"""One ICE core whose peer is played by hand, message by message."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.ice.core_pair import ALICE, BOB, host
from webrtc_py.ice import stun
from webrtc_py.ice.candidate import Candidate
from webrtc_py.ice.core import Core
from webrtc_py.ice.options import AgentTimings
from webrtc_py.ice.pair import CandidatePair

HERE = ("192.0.2.1", 5000)
THERE = ("192.0.2.2", 5000)


class Hand:
    """Plays the peer of one core by hand: what the core is sent, and what it sends."""

    def __init__(
        self,
        *,
        controlling: bool,
        local: Candidate | None = None,
        core: Mapping[str, Any] = MappingProxyType({}),
        **options: Any,
    ) -> None:
        """``core`` are its own options, the others are those of its times."""
        self.now = 100.0
        timings = AgentTimings(**options) if options else None
        self.core = Core(
            tie_breaker=5, local_ufrag=ALICE[0], local_pwd=ALICE[1], seed=b"alice" * 4, timings=timings, **core
        )
        self.core.add_local_candidate(local or host(*HERE), 0, self.now)
        self.core.set_remote_credentials(*BOB, self.now)
        self.core.start(controlling, self.now)
        self._asked = 0

    def requests(self) -> list[tuple[tuple[str, int], stun.Message]]:
        """What the core asks, since the last call."""
        sent = [(o.destination, stun.parse_message(o.data)) for o in self.core.datagrams_to_send(self.now)]
        return [(where, message) for where, message in sent if message.message_class is stun.Class.REQUEST]

    def answer(self, request: tuple[tuple[str, int], stun.Message]) -> None:
        where, message = request
        data = stun.binding_success(message.transaction_id, mapped_address=HERE, key=BOB[1].encode())
        self.core.receive(data, 0, where, self.now)

    def ask(
        self,
        source: tuple[str, int] = THERE,
        *,
        use_candidate: bool = False,
        transaction_id: bytes | None = None,
        **more: Any,
    ) -> None:
        self._asked += 1
        data = stun.binding_request(
            transaction_id or self._asked.to_bytes(12, "big"),
            username=f"{ALICE[0]}:{BOB[0]}",
            key=ALICE[1].encode(),
            use_candidate=use_candidate,
            **{"priority": 1, "controlling": not self.core.controlling, "tie_breaker": 1} | more,
        )
        self.core.receive(data, 0, source, self.now)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.core.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.handle_timeout(self.now)
        self.now = end

    def pair(self, source: tuple[str, int] = THERE) -> CandidatePair:
        return next(pair for pair in self.core.pairs if pair.destination == source)
