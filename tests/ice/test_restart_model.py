"""Two agents that restart, signalling and a network that do what chance wants: the data goes on.

A story that fails is told again by its seed: ``pytest -k "[17]"``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.weather import Count, Weather, now
from webrtc_py.errors import InvalidAccessError, InvalidStateError
from webrtc_py.ice.agent import Agent
from webrtc_py.ice.agent_options import AgentOptions
from webrtc_py.ice.candidate import Candidate, unmarshal_candidate
from webrtc_py.ice.conn import Conn
from webrtc_py.ice.mux import UDPMux
from webrtc_py.ice.options import RenominationOptions
from webrtc_py.ice.url import ServerURL
from webrtc_py.states import ICETransportState as State

TURN = ServerURL("turn", "turn.example", 3478, "udp", "user", "secret")
POLICIES = [("host", "srflx", "relay"), ("relay",)]
PACE = 0.02
MOST_STARTED = 3
# What lives beside the newest generation does so for 5 s; an allocation is given back some round trips later.
LINGER = 8.0
# From when all is well until both ends use one pair.
RECOVERY = 40.0
CONNECTED = (State.CONNECTED, State.COMPLETED)
LEGAL = {
    State.NEW: {State.CHECKING},
    State.CHECKING: {State.CONNECTED, State.DISCONNECTED, State.FAILED},
    State.CONNECTED: {State.COMPLETED, State.DISCONNECTED, State.CHECKING},
    State.COMPLETED: {State.CONNECTED, State.DISCONNECTED, State.CHECKING},
    State.DISCONNECTED: {State.CONNECTED, State.COMPLETED, State.CHECKING, State.FAILED},
    State.FAILED: {State.CHECKING, State.CONNECTED},
}
"""``connected`` again is what a restart begins with, ``checking`` is one whose old path goes silent."""


class End:
    """One agent, and the application that signals for it: offers, answers, and perfect negotiation between them."""

    def __init__(self, story: Story, host: VirtualHost, options: dict[str, Any], *, polite: bool) -> None:
        self.story = story
        self.host = host
        self.polite = polite
        self.options = options
        self.agent = Agent(AgentOptions(net=host, **options))
        self.agent.on_candidate(self._found)
        self.agent.on_connection_state_change(self._changed)
        self.states: list[State] = [State.NEW]
        self.inbox: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.last_arrival = 0.0
        self.offered = ""
        """The user fragment of our offer that waits for an answer."""
        self.working = asyncio.create_task(self._work(), name=f"signalling of {host.name}")
        self.closed = False
        self.peer: End
        self.conn: Conn
        self.count = Count(f"from {host.name}", lambda number: self.conn.send(b"%d" % number))

    def _found(self, candidate: Candidate | None) -> None:
        if candidate is not None:
            self.story.signal(self, "candidate", candidate.marshal())

    def _changed(self, state: State) -> None:
        assert state is State.CLOSED or state in LEGAL[self.states[-1]], [*self.states, state]
        self.states.append(state)
        self.story.weather.tell(f"{self.host.name} is {state}")

    # Signalling

    async def offer(self) -> None:
        """Restart. What waits for an answer is superseded."""
        await self.agent.restart()
        await self.agent.gather_candidates()
        self.offered = self.agent.get_local_user_credentials()[0]
        self.story.weather.tell(f"{self.host.name} offers {self.offered}")
        self.repeat()

    def repeat(self) -> None:
        """The offer that waits, or the last answer."""
        ours, theirs = self.agent.get_local_user_credentials(), self.agent.get_remote_user_credentials()
        if self.offered:
            self.story.signal(self, "offer", *ours)
        elif theirs is not None:
            self.story.signal(self, "answer", theirs[0], *ours)

    def cancel(self) -> None:
        if self.offered:
            self.story.weather.tell(f"{self.host.name} cancels {self.offered}")
            self.agent.cancel_restart()
            self.offered = ""

    async def _work(self) -> None:
        while True:
            kind, *texts = await self.inbox.get()
            if self.closed:
                continue
            if kind == "candidate":
                self.agent.add_remote_candidate(unmarshal_candidate(texts[0]))
            elif kind == "answer":
                self._take_answer(*texts)
            else:
                await self._take_offer(*texts)

    def _take_answer(self, offered: str, ufrag: str, pwd: str) -> None:
        if offered == self.offered:
            self.story.weather.tell(f"{self.host.name} completes {offered} with {ufrag}")
            self.offered = ""
            self.agent.set_remote_credentials(ufrag, pwd)

    async def _take_offer(self, ufrag: str, pwd: str) -> None:
        remote = self.agent.get_remote_user_credentials()
        if remote is not None and remote[0] == ufrag:
            self.repeat()
            return
        if self.offered and not self.polite:
            return
        self.cancel()
        await self.agent.restart()
        gather_and_start = [self.agent.gather_candidates, self._start(ufrag, pwd)]
        for step in self.story.chance.sample(gather_and_start, 2):
            await step()
        self.story.weather.tell(f"{self.host.name} answers {ufrag} with {self.agent.get_local_user_credentials()[0]}")
        self.repeat()

    def _start(self, ufrag: str, pwd: str) -> Callable[[], Awaitable[None]]:
        async def start() -> None:
            self.agent.set_remote_credentials(ufrag, pwd)

        return start

    # What is used

    @property
    def names(self) -> tuple[str, str | None]:
        core = self.agent._in_use.core
        return core.local_ufrag, core.remote_ufrag

    @property
    def path(self) -> tuple[Any, Any] | None:
        """Its two ends. A TCP connection has one port more than are told."""
        pair = self.agent.get_selected_candidate_pair()
        if pair is None:
            return None
        ours, theirs = [(one.address, one.port if one.transport == "udp" else 0) for one in pair]
        return ours, theirs

    def check(self) -> None:
        """When nothing is going on, one generation is left, and no socket that it does not need."""
        assert len(list(self.agent._generations)) == 1
        assert len(self.count.order) == len(set(self.count.order))
        if "udp_mux" not in self.options:
            addresses = [one for interface in self.host.interfaces() for one in interface.addresses]
            assert len(self.host.sockets) <= len(addresses) + self.relays

    @property
    def relays(self) -> int:
        return sum(base.relay is not None for base in self.agent._newest.bases())


class Story:
    def __init__(self, seed: int) -> None:
        self.weather = weather = Weather(seed)
        self.chance = chance = weather.chance
        self.is_tcp = chance.random() < 0.25
        weather.no_udp = self.is_tcp and chance.random() < 0.5 and weather.turn is None
        self.has_mux = chance.random() < 0.3
        self.continual = chance.random() < 0.4
        self.signalling = chance.choice([(0.05,), (0.001, 0.05, 0.3, 1.5)])
        self.signalling_loss = chance.choice((0, 0, 0.15))
        self.loses_signals = False
        self.is_rough = False
        self.mux: UDPMux | None = None

    async def open(self) -> None:
        options = [self._options(), self._options()]
        if self.has_mux:
            self.mux = options[1]["udp_mux"] = await UDPMux.listen(port=9000, net=self.weather.hosts[1])
        polite = self.chance.random() < 0.5
        self.alice = End(self, self.weather.hosts[0], options[0], polite=polite)
        self.bob = End(self, self.weather.hosts[1], options[1], polite=not polite)
        self.ends = self.alice, self.bob
        self.alice.peer, self.bob.peer = self.bob, self.alice
        connecting = []
        for end, role in zip(self.ends, self.chance.sample(("dial", "accept"), 2), strict=True):
            await end.agent.gather_candidates()
            connecting.append(getattr(end.agent, role)(*end.peer.agent.get_local_user_credentials()))
        for end, conn in zip(self.ends, await asyncio.gather(*connecting), strict=True):
            end.conn = conn
            conn.on_data(end.peer.count.heard)
        self.counting = asyncio.create_task(self._count(), name="count")

    def _options(self) -> dict[str, Any]:
        automatic = self.chance.choice((None, True, False))
        return {
            "urls": [TURN] if self.weather.turn is not None else [],
            "network_types": ["udp4", "udp6", *(["tcp4", "tcp6"] if self.is_tcp else [])],
            "renomination": None if automatic is None else RenominationOptions(automatic=automatic),
            "continual_gathering": "continually" if self.continual else "once",
        }

    async def _count(self) -> None:
        while True:
            for end in self.ends:
                if not end.closed and end.agent.connection_state is not State.FAILED:
                    end.count.go_on()
                assert len(list(end.agent._generations)) <= MOST_STARTED + end.agent._generations.awaits_peer
            await asyncio.sleep(PACE)

    def signal(self, source: End, *message: str) -> None:
        """Offers and answers keep their order, and may be lost; candidates may overtake them, or be late."""
        arrival = now() + self.chance.choice(self.signalling)
        if message[0] != "candidate":
            if self.loses_signals and self.chance.random() < self.signalling_loss:
                self.weather.tell(f"lost: {message[:2]} of {source.host.name}")
                return
            arrival = source.last_arrival = max(arrival, source.last_arrival)
        asyncio.get_running_loop().call_at(arrival, source.peer.inbox.put_nowait, message)

    # What may happen

    async def restart(self) -> None:
        end = self.chance.choice(self.ends)
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            await end.offer()
            await self.weather.wait(0, 0, 0.02, 0.4)

    async def restart_both(self) -> None:
        for end in self.chance.sample(self.ends, 2):
            await end.offer()
            await self.weather.wait(0, 0, 0.03)

    async def restart_as_one(self) -> None:
        """Each takes the other's offer for the answer to its own."""
        if any(end.offered or end.last_arrival >= now() for end in self.ends):
            return
        for end in self.ends:
            await end.agent.restart()
            await end.agent.gather_candidates()
        for end in self.chance.sample(self.ends, 2):
            end.agent.set_remote_credentials(*end.peer.agent.get_local_user_credentials())
            await self.weather.wait(0, 0.05, 0.5)

    async def cancel(self) -> None:
        end = self.chance.choice(self.ends)
        await end.offer()
        await self.weather.wait(0, 0.01, 0.06, 0.5)
        end.cancel()

    async def repeat(self) -> None:
        for end in self.ends:
            end.repeat()

    async def change_policy(self) -> None:
        if self.weather.turn is None:
            return
        end = self.chance.choice(self.ends)
        end.options["candidate_types"] = self.chance.choice(POLICIES)
        self.weather.tell(f"{end.host.name} now has {end.options['candidate_types']}")
        end.agent.set_options(AgentOptions(net=end.host, **end.options))
        await end.offer()

    async def renominate(self) -> None:
        for end in self.ends:
            pair = self.chance.choice(end.agent._in_use.core.pairs or [None])
            if pair is not None:
                with contextlib.suppress(InvalidStateError, InvalidAccessError):
                    end.agent.renominate(pair.local, pair.remote)
                    self.weather.tell(f"{end.host.name} renominates {pair}")

    async def cut_path(self) -> None:
        path = self.alice.path
        await self.weather.cut_path(None if path is None else (path[0][0], path[1][0]))

    async def go_on(self) -> None:
        deeds: dict[Callable[[], Awaitable[None]], int] = {
            self.restart: 5,
            self.restart_both: 3,
            self.restart_as_one: 2,
            self.cancel: 3,
            self.repeat: 2,
            self.change_policy: 3,
            self.renominate: 2,
            self.weather.slow_down: 2,
        }
        if self.is_rough:
            deeds |= {self.weather.cut: 2, self.cut_path: 2, self.weather.lose: 2, self.weather.move: 1}
        [deed] = self.chance.choices(list(deeds), list(deeds.values()))
        self.weather.tell(f"* {deed.__name__}")
        await deed()
        await self.weather.wait(0, 0, 0.05, 0.3, 1, 6)

    async def act(self) -> None:
        """Some deeds, and then peace."""
        self.weather.moved = self.weather.was_cut_for_long = False
        self.is_rough = self.chance.random() < 0.5
        self.loses_signals = True
        for _ in range(self.chance.randint(1, 6)):
            await self.go_on()
        self.loses_signals = False
        await self.find_peace()

    async def find_peace(self) -> None:
        """What was begun comes to its end; only ends that have lost each other restart."""
        await self.weather.clear_up()
        await asyncio.sleep(4)
        for end in self.ends:
            if self.chance.random() < 0.5:
                end.cancel()
            end.repeat()
        await asyncio.sleep(4)
        if self.is_split:
            self.weather.tell("heals")
            for end in self.ends:
                end.cancel()
            await self.chance.choice(self.ends).offer()
            await asyncio.sleep(4)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECOVERY):
                while not self.is_quiet:  # noqa: ASYNC110  any of many things may make it so
                    await asyncio.sleep(0.1)
        if self.weather.calm_since is None:
            self.weather.calm_since = now() + 0.5
        await asyncio.sleep(LINGER)
        self.check()

    # What must be

    @property
    def is_split(self) -> bool:
        """Whether signals were lost, so that each end waits for another than the other one, or more than a cut."""
        one, other = [end.agent._newest.core for end in self.ends]
        has_failed = any(end.agent.connection_state is State.FAILED for end in self.ends)
        assert not has_failed or self.weather.was_bad
        is_away = self.weather.was_cut_for_long or (self.weather.moved and not self.continual)
        are_strange = one.local_ufrag != other.remote_ufrag or other.local_ufrag != one.remote_ufrag
        return has_failed or is_away or are_strange

    @property
    def is_quiet(self) -> bool:
        """Whether both ends use one path, of the newest generation."""
        alice, bob = self.ends
        return (
            all(end.agent.connection_state in CONNECTED and not end.agent.is_restarting for end in self.ends)
            and alice.names == bob.names[::-1]
            and alice.path is not None
            and bob.path is not None
            and alice.path == bob.path[::-1]
        )

    def check(self) -> None:
        if not self.is_quiet:
            told = [f"{end.host.name}: {end.names}, {end.path}\n{end.agent.explain()}" for end in self.ends]
            self.weather.complain("no peace", *told)
        for end in self.ends:
            end.check()
            end.count.check(self.weather, 4 * self.weather.slowest + 2 * PACE)
        if self.weather.turn is not None and not self.weather.was_bad:
            assert self.weather.turn.allocations == sum(end.relays for end in self.ends)
        if self.counting.done():
            self.counting.result()

    async def end(self) -> None:
        """One end goes in the middle of whatever it is; later the other one."""
        for _ in range(self.chance.randint(0, 2)):
            await self.go_on()
        for end in self.chance.sample(self.ends, 2):
            end.closed = True
            await end.agent.close()
            await self.weather.wait(0, 1, 50)
        for task in (self.counting, *(end.working for end in self.ends)):
            task.cancel()
        for outcome in await asyncio.gather(self.counting, *(e.working for e in self.ends), return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome
        await self.weather.clear_up()
        if self.mux is not None:
            self.mux.close()
        await asyncio.sleep(3)


async def live(seed: int) -> None:
    story = Story(seed)
    await story.open()
    await story.find_peace()
    for _ in range(story.chance.randint(1, 4)):
        await story.act()
    await story.end()


@pytest.mark.row("ICE-41", "ICE-42")
@pytest.mark.parametrize("seed", range(12))
def test_whatever_restarts_and_however_the_data_goes_on(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    run(live(seed), timeout_virtual=3000, seed=seed)
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING]
