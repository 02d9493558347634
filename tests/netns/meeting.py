"""Two agents in namespaces are introduced to each other; signalling is what the tests pass on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from .remote import Remote
from .turn import TurnServer

PROGRAM = "tests.netns.agents"
# An agent that finds no path gives up after so long: where there is none, when the acceptance wait of relays is long
# over, and where there is one, when even the busiest machine should have found it.
NO_PATH = 4.0
A_PATH = 40.0
GATHER_TIMEOUT = 6.0
_TIMEOUT = 100.0


@dataclass(frozen=True)
class Outcome:
    """What came of it at one end."""

    types: tuple[str, str] | None
    """Of the local and the remote candidate in use; None when there is no path."""
    addresses: tuple[str, str] | None
    transport: str | None
    seconds: float
    reason: str


NO_END = Outcome(None, None, None, _TIMEOUT, "neither connected nor failed")


@dataclass(frozen=True)
class Met:
    left: Outcome
    right: Outcome
    logs: str

    @property
    def types(self) -> tuple[str, str] | None:
        """The left end's candidate and the right end's, when both ends see the same."""
        seen = self.right.types and self.right.types[::-1]
        assert self.left.types == seen, f"the ends do not agree: {self.left}, {self.right}\n{self.logs}"
        return self.left.types


class _End:
    """One agent: its candidates are passed on once the peer knows its credentials."""

    def __init__(self, place: Remote) -> None:
        self.place = place
        self.ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._peer: Remote | None = None
        self._held: list[dict[str, Any]] = []

    def forward_to(self, peer: Remote) -> None:
        self._peer = peer
        for event in self._held:
            self.take(event)

    def take(self, event: dict[str, Any]) -> None:
        if event["event"] == "ended":
            types, addresses = (event[key] and tuple(event[key]) for key in ("types", "addresses"))
            if not self.ended.done():
                self.ended.set_result(Outcome(types, addresses, event["transport"], event["seconds"], event["reason"]))
        elif self._peer is None:
            self._held.append(event)
        else:
            self._peer.post("candidate", name=event["name"], candidate=event["candidate"])


async def meet(
    name: str,
    left: Remote,
    right: Remote,
    urls: list[str] | tuple[str, ...] = (),
    candidate_types: tuple[str, ...] = ("host", "srflx", "relay"),
    server: TurnServer | None = None,
    network_types: tuple[str, ...] = ("udp4", "udp6"),
    patience: float = A_PATH,
) -> Met:
    """A new agent at each place; the left one controls. Returns when both have connected or failed, and are closed."""
    timings = {"disconnected_timeout": 1.0, "failed_timeout": patience - 1.0, "keepalive_interval": 0.5}
    ends = _End(left), _End(right)
    for end in ends:
        end.place.takers[name] = end.take
    opening = [
        end.place.call(
            "open",
            name=name,
            urls=list(urls),
            candidate_types=candidate_types,
            timings=timings,
            gather_timeout=GATHER_TIMEOUT,
            ca_file=str(server.certificate) if server is not None else None,
            network_types=network_types,
        )
        for end in ends
    ]
    credentials = await asyncio.gather(*opening)
    for end, peer, (ufrag, pwd) in zip(ends, ends[::-1], credentials[::-1], strict=True):
        end.place.post("start", name=name, controlling=end is ends[0], ufrag=ufrag, pwd=pwd)
        end.forward_to(peer.place)
    await asyncio.wait([end.ended for end in ends], timeout=_TIMEOUT)
    outcomes = [end.ended.result() if end.ended.done() else NO_END for end in ends]
    await asyncio.gather(*(end.place.call("end", name=name) for end in ends))
    ufrags = [ufrag for ufrag, _ in credentials]
    return Met(*outcomes, logs="\n".join(end.place.log_text(*ufrags) for end in ends))
