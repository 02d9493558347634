"""A call between two PeerConnections in namespaces: signalling is what the tests pass on, and it never fails."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .remote import Remote

PROGRAM = "tests.netns.connections"


@dataclass(frozen=True)
class Report:
    """What one end has seen. Times are seconds of the machine's clock."""

    sent: int
    received: int
    wrong: list[tuple[int, int]]
    """Which number was expected, and which came instead."""
    silences: list[tuple[float, float]]
    """From when to when nothing came, where that was long."""
    stall: float
    """How long in all the program itself was kept from running."""
    states: list[tuple[float, str]]
    """ICE's, and since when."""
    errors: list[str]
    types: tuple[str, str]
    """Of the local and the remote candidate in use."""
    addresses: tuple[str, str]
    ports: tuple[int, int]

    @classmethod
    def of(cls, told: dict[str, Any]) -> Report:
        return cls(**{key: tuple(value) if key in _PAIRS else value for key, value in told.items()})


_PAIRS = ("types", "addresses", "ports")


class CallEnd:
    """One connection of a call."""

    def __init__(self, line: Remote, name: str) -> None:
        self.line = line
        self.name = name
        self.peer: CallEnd
        self.states: list[tuple[float, str]] = []
        self._changed = asyncio.Event()
        self._holding = True
        self._held: list[dict[str, Any]] = []
        line.takers[name] = self.take

    @property
    def state(self) -> str:
        """ICE's."""
        return self.states[-1][1] if self.states else "new"

    @property
    def history(self) -> list[str]:
        return [state for _, state in self.states]

    async def do(self, method: str, **arguments: Any) -> Any:
        return await self.line.call(method, name=self.name, **arguments)

    def hold(self) -> None:
        """Keep candidates until the description that they belong to has been passed on."""
        self._holding = True

    def release(self) -> None:
        self._holding = False
        held, self._held = self._held, []
        for event in held:
            self.take(event)

    def take(self, event: dict[str, Any]) -> None:
        if event["event"] == "state":
            self.states.append((event["at"], event["state"]))
            self._changed.set()
        elif self._holding:
            self._held.append(event)
        else:
            self.peer.line.post("candidate", name=self.name, candidate=event["candidate"])

    async def until(self, *states: str, timeout: float) -> float:
        """Wait for one of these states of ICE; since when it is so. AssertionError when it does not come in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.state not in states:
                    self._changed.clear()
                    await self._changed.wait()
        assert self.state in states, (
            f"{self.line.label} is {self.state}, not {' or '.join(states)}, after {timeout:g} s; it was {self.history}"
        )
        return self.states[-1][0]


class Call:
    """``left`` makes the first offer."""

    def __init__(self, name: str, left: Remote, right: Remote) -> None:
        self.left, self.right = CallEnd(left, name), CallEnd(right, name)
        self.left.peer, self.right.peer = self.right, self.left
        self._ufrags: set[str] = set()

    @property
    def ends(self) -> tuple[CallEnd, CallEnd]:
        return self.left, self.right

    async def connect(
        self,
        *,
        ca_file: Path,
        urls: tuple[str, ...] = (),
        policy: str = "all",
        continual: bool = False,
        interval: float = 0.02,
        size: int = 100,
    ) -> None:
        """Let both ends count, a message of ``size`` octets every ``interval`` seconds."""
        for end in self.ends:
            await end.do("open", urls=urls, policy=policy, ca_file=str(ca_file), continual=continual)
        await self.negotiate()
        for end in self.ends:
            await end.do("connected")
            await end.do("count", interval=interval, size=size)

    async def negotiate(self, *, ice_restart: bool = False, offerer: CallEnd | None = None) -> None:
        """Offer and answer, each with its candidates behind it."""
        offerer = offerer or self.left
        answerer = offerer.peer
        offerer.hold()
        answerer.hold()
        offer = await offerer.do("offer", ice_restart=ice_restart)
        answer = await self._pass_on(offerer, offer, "answer")
        await self._pass_on(answerer, answer, "accept")

    async def _pass_on(self, sender: CallEnd, description: dict[str, str], method: str) -> Any:
        self._ufrags.update(re.findall("a=ice-ufrag:(.*)", description["sdp"]))
        doing = asyncio.create_task(sender.peer.do(method, description=description))
        # The line with the description is written before those with the candidates.
        await asyncio.sleep(0)
        sender.release()
        return await doing

    async def finish(self, timeout: float = 60.0) -> tuple[Report, Report]:
        """Stop to count; when all numbers have arrived, close. AssertionError when one has not, or out of turn."""
        sent = [await end.do("stop") for end in self.ends]
        deadline = time.monotonic() + timeout
        while True:
            left, right = [Report.of(await end.do("report")) for end in self.ends]
            if [right.received, left.received] == sent or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
        for end in self.ends:
            await end.do("end")
        for report, wanted in ((right, sent[0]), (left, sent[1])):
            assert not report.wrong, f"expected and received: {report.wrong[:10]}"
            assert report.received == wanted, f"{report.received} of {wanted} messages came"
        return left, right

    def logs(self) -> str:
        """What both ends logged of this call."""
        return "\n".join(end.line.log_text(*self._ufrags, lines=100) for end in self.ends)
