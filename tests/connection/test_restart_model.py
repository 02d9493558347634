"""Two connections that restart ICE, signalling and a network that do what chance wants: no message is missed.

A story that fails is told again by its seed: ``pytest -k "[17]"``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.connection.session import description, ice_of
from tests.support.connections import Peer
from tests.support.virtual_host import VirtualHost
from tests.support.virtual_loop import run
from tests.support.weather import Count, Weather, now
from webrtc_py import Configuration, DataChannel, ICECandidate, ICEServer, SettingEngine, WebRTCError
from webrtc_py.ice import RenominationOptions

SERVERS = [ICEServer("turn:turn.example", "user", "secret")]
CHANNELS: dict[str, dict[str, Any]] = {"reliable": {}, "fleeting": {"ordered": False, "max_retransmits": 0}}
PACE = 0.05
LINGER = 8.0
# From when all is well until both ends use one path, and what was lost has been sent again.
RECOVERY = 60.0
LEGAL = {
    "new": {"connecting"},
    "connecting": {"connected", "disconnected", "failed"},
    "connected": {"connecting", "disconnected"},
    "disconnected": {"connecting", "connected", "failed"},
    "failed": {"connecting", "connected"},
}


class End:
    """One connection, and the application that signals for it: perfect negotiation over ways that may lose something.

    Each offer has a number, and its answer the same.
    """

    def __init__(self, story: Story, host: VirtualHost, configuration: Configuration, *, polite: bool) -> None:
        self.story = story
        self.polite = polite
        settings = SettingEngine()
        if story.renominates:
            settings.set_ice_renomination(RenominationOptions())
        if story.continual:
            settings.set_ice_continual_gathering("continually")
        self.peer = Peer(host, configuration, settings)
        self.pc = self.peer.pc
        self.name = host.name
        self.pc.on_ice_candidate(self._found)
        self.pc.on_negotiation_needed(self.offer)
        self.other: End
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.last_arrival = self.last_candidate = 0.0
        self.making_offer = False
        self.offers = 0
        self.taken = 0
        """The number of the other's offer that was answered last."""
        self.counts: dict[str, Count] = {}
        self.channels: dict[str, DataChannel] = {}
        self.closed = False
        self.working = asyncio.create_task(self._work(), name=f"signalling of {self.name}")

    def _found(self, candidate: ICECandidate | None) -> None:
        self.story.signal(self, candidate=candidate.to_json() if candidate else None)

    def use(self, label: str, channel: DataChannel) -> None:
        """Count on it, and let the other end hear what comes here."""
        self.channels[label] = channel
        self.counts[label] = Count(f"{label} from {self.name}", lambda number: channel.send(str(number)))
        channel.on_message(lambda message: self.other.counts[label].heard(message))

    # Signalling

    async def offer(self, *, restart: bool = False, is_sent: bool = True) -> None:
        self.making_offer = True
        try:
            offer = await self.pc.create_offer(ice_restart=restart)
            if self.pc.signaling_state in ("stable", "have-local-offer"):
                await self.pc.set_local_description(offer)
                self.offers += 1
                self.story.weather.tell(f"{self.name} offers {self.offers}, {restart=}")
                if is_sent:
                    self.repeat()
        except WebRTCError as error:
            # The other side's offer has come between.
            self.story.weather.tell(f"{self.name} offers nothing: {error}")
        finally:
            self.making_offer = False

    def repeat(self) -> None:
        """The offer that waits for an answer, or the last answer."""
        local = self.pc.local_description
        if local is not None and self.pc.signaling_state in ("stable", "have-local-offer"):
            number = self.offers if local.type == "offer" else self.taken
            self.story.signal(self, number=number, description=local.to_json())

    async def roll_back(self) -> None:
        if self.pc.signaling_state == "have-local-offer":
            self.story.weather.tell(f"{self.name} takes back {self.offers}")
            await self.pc.set_local_description({"type": "rollback", "sdp": ""})

    async def _work(self) -> None:
        while True:
            message = await self.inbox.get()
            if self.closed:
                continue
            if "candidate" in message:
                # It may belong to what was taken back, or not taken.
                with contextlib.suppress(WebRTCError):
                    await self.pc.add_ice_candidate(message["candidate"])
            elif message["description"]["type"] == "offer":
                await self._take_offer(message["number"], message["description"])
            elif message["number"] == self.offers and self.pc.signaling_state == "have-local-offer":
                self.story.weather.tell(f"{self.name} has its answer to {self.offers}")
                await self.pc.set_remote_description(message["description"])

    async def _take_offer(self, number: int, offer: dict[str, Any]) -> None:
        is_collision = self.making_offer or self.pc.signaling_state != "stable"
        if number == self.taken and not is_collision:
            self.repeat()
        elif number >= self.taken and (self.polite or not is_collision):
            await self.pc.set_remote_description(offer)
            await self.pc.set_local_description()
            self.taken = number
            self.story.weather.tell(f"{self.name} answers {number}")
            self.repeat()


class Story:
    def __init__(self, seed: int) -> None:
        self.weather = weather = Weather(seed)
        self.chance = chance = weather.chance
        self.renominates = chance.random() < 0.4
        self.continual = chance.random() < 0.4
        self.signalling = chance.choice([(0.05,), (0.001, 0.05, 0.3, 1.5)])
        self.signalling_loss = chance.choice((0, 0, 0.15))
        self.loses_signals = self.is_rough = False
        self.is_split = False
        """Whether an offer was taken back that the other end may have answered."""

    async def open(self) -> None:
        servers = SERVERS if self.weather.turn is not None else []
        polite = self.chance.random() < 0.5
        alice, bob = (
            End(self, host, Configuration(ice_servers=servers), polite=is_polite)
            for host, is_polite in zip(self.weather.hosts, (polite, not polite), strict=True)
        )
        self.ends = alice, bob
        alice.other, bob.other = bob, alice
        for label, init in CHANNELS.items():
            alice.use(label, alice.pc.create_data_channel(label, **init))
        for _ in CHANNELS:
            channel = await asyncio.wait_for(bob.peer.channels.get(), 30)
            bob.use(channel.label, channel)
            await channel.opened()
        self.counting = asyncio.create_task(self._count(), name="count")

    async def _count(self) -> None:
        await asyncio.sleep(2)
        while True:
            for end in self.ends:
                for label, count in end.counts.items():
                    # What is not reliable has no use for a queue.
                    is_of_use = label == "reliable" or end.pc.connection_state == "connected"
                    if is_of_use and end.channels[label].ready_state == "open":
                        count.go_on()
                generations = ice_of(end.peer)._agent._generations
                assert len(list(generations)) <= 3 + generations.awaits_peer
            await asyncio.sleep(PACE)

    def signal(self, source: End, **message: Any) -> None:
        """Descriptions keep their order, and may be lost; candidates come behind theirs, and may be late."""
        arrival = max(now() + self.chance.choice(self.signalling), source.last_arrival)
        if message.get("candidate", message) is None:
            # None may come behind the end.
            arrival = max(arrival, source.last_candidate)
        elif "candidate" in message:
            source.last_candidate = max(arrival, source.last_candidate)
        if "description" in message:
            if self.loses_signals and self.chance.random() < self.signalling_loss:
                self.weather.tell(f"lost: {message['description']['type']} {message['number']} of {source.name}")
                return
            source.last_arrival = arrival
        asyncio.get_running_loop().call_at(arrival, source.other.inbox.put_nowait, message)

    # What may happen

    async def restart(self) -> None:
        end = self.chance.choice(self.ends)
        for _ in range(self.chance.choice((1, 1, 1, 2, 4))):
            end.pc.restart_ice()
            await self.weather.wait(0, 0, 0.02, 0.4)

    async def restart_both(self) -> None:
        for end in self.chance.sample(self.ends, 2):
            end.pc.restart_ice()
            await self.weather.wait(0, 0, 0.03)

    async def offer_again(self) -> None:
        """A new restart while the last one is not answered."""
        end = self.chance.choice(self.ends)
        for _ in range(self.chance.choice((2, 3))):
            await end.offer(restart=True)
            await self.weather.wait(0, 0, 0.02, 0.4)

    async def take_back(self) -> None:
        end = self.chance.choice(self.ends)
        is_sent = self.chance.random() < 0.5
        await end.offer(restart=True, is_sent=is_sent)
        await self.weather.wait(0, 0.01, 0.06, 0.5)
        self.is_split |= is_sent
        await end.roll_back()

    async def repeat(self) -> None:
        for end in self.ends:
            end.repeat()

    async def change_configuration(self) -> None:
        if self.weather.turn is None:
            return
        end = self.chance.choice(self.ends)
        configuration = end.pc.get_configuration()
        configuration.ice_transport_policy = self.chance.choice(("all", "relay"))
        configuration.ice_servers = SERVERS
        if configuration.ice_transport_policy == "all" and self.chance.random() < 0.3:
            configuration.ice_servers = []
        self.weather.tell(f"{end.name}: {configuration.ice_transport_policy}, {len(configuration.ice_servers)} servers")
        end.pc.set_configuration(configuration)
        end.pc.restart_ice()

    async def renominate(self) -> None:
        for end in self.ends:
            agent = ice_of(end.peer)._agent
            pair = self.chance.choice(agent._in_use.core.pairs or [None])
            if pair is not None:
                with contextlib.suppress(WebRTCError):
                    ice_of(end.peer).renominate(pair.local, pair.remote)

    async def cut_path(self) -> None:
        pair = ice_of(self.ends[0].peer).get_selected_candidate_pair()
        await self.weather.cut_path(None if pair is None else (pair.local.address, pair.remote.address))

    async def go_on(self) -> None:
        deeds: dict[Callable[[], Awaitable[None]], int] = {
            self.restart: 5,
            self.restart_both: 3,
            self.offer_again: 2,
            self.take_back: 3,
            self.repeat: 2,
            self.change_configuration: 3,
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
        self.weather.moved = self.weather.was_cut_for_long = self.is_split = False
        self.is_rough = self.chance.random() < 0.5
        self.loses_signals = True
        for _ in range(self.chance.randint(1, 5)):
            await self.go_on()
        self.loses_signals = False
        await self.find_peace()

    async def find_peace(self) -> None:
        """What was begun comes to its end; only ends that have lost each other restart."""
        await self.weather.clear_up()
        for _ in range(3):
            # Whose offer was lost offers it again.
            await asyncio.sleep(4)
            await self.repeat()
        await asyncio.sleep(4)
        has_failed = any(end.pc.connection_state == "failed" for end in self.ends)
        if has_failed and not self.weather.was_bad:
            self.weather.complain("failed in good weather")
        is_away = self.weather.was_cut_for_long or (self.weather.moved and not self.continual)
        if has_failed or is_away or self.is_split:
            end = self.chance.choice(self.ends)
            self.weather.tell(f"{end.name} heals")
            await end.offer(restart=True)
            await asyncio.sleep(6)
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
    def is_quiet(self) -> bool:
        """Whether both ends agree, use one path, and no message waits."""
        if any(end.pc.connection_state != "connected" or end.pc.signaling_state != "stable" for end in self.ends):
            return False
        one, other = (ice_of(end.peer) for end in self.ends)
        if one.is_restarting or other.is_restarting:
            return False
        pairs = [ice.get_selected_candidate_pair() for ice in (one, other)]
        paths = [
            None if p is None else ((p.local.address, p.local.port), (p.remote.address, p.remote.port)) for p in pairs
        ]
        is_behind = any(
            count.sent - len(count.order) > 30
            for end in self.ends
            for count in end.counts.values()
            if "reliable" in count.name
        )
        return paths[0] is not None and paths[1] is not None and paths[0] == paths[1][::-1] and not is_behind

    def check(self) -> None:
        if not self.is_quiet:
            self.weather.complain("no peace", *(end.pc.explain() for end in self.ends))
        patience = 4 * self.weather.slowest + 2 * PACE
        for end in self.ends:
            states = end.peer.states
            for before, after in zip(["new", *states], states, strict=False):
                assert after in LEGAL[before], states
            reliable, fleeting = (end.counts[label] for label in CHANNELS)
            assert reliable.order == list(range(len(reliable.order)))
            assert len(fleeting.order) == len(set(fleeting.order))
            for count in (reliable, fleeting):
                count.check(self.weather, patience)
            agent = ice_of(end.peer)._agent
            assert len(list(agent._generations)) == 1
            text = description(end.pc.local_description).sdp
            assert f"a=ice-ufrag:{agent.get_local_user_credentials()[0]}\r\n" in text
        if self.counting.done():
            self.counting.result()

    async def end(self) -> None:
        """One end goes in the middle of whatever it is; later the other one."""
        for _ in range(self.chance.randint(0, 2)):
            await self.go_on()
        for end in self.chance.sample(self.ends, 2):
            end.closed = True
            await end.pc.close()
            await self.weather.wait(0, 1, 50)
        tasks = self.counting, *(end.working for end in self.ends)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome
        await self.weather.clear_up()
        await asyncio.sleep(3)


async def live(seed: int) -> None:
    story = Story(seed)
    await story.open()
    await story.find_peace()
    for _ in range(story.chance.randint(1, 3)):
        await story.act()
    await story.end()


@pytest.mark.row("ICE-41", "ICE-42", "X-04")
@pytest.mark.parametrize("seed", range(5))
def test_whatever_restarts_and_however_no_message_is_missed(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    run(live(seed), timeout_virtual=3000, seed=seed)
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING]
