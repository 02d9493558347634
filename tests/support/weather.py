"""A virtual network whose weather changes by chance, and counters that tell what it may have cost, and what not."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

from .virtual_host import VirtualHost
from .virtual_loop import START
from .virtual_network import DROP, Packet, VirtualNetwork
from .virtual_turn import TURNServer

LONG = 20.0
OUTAGES = (0.3, 1.0, 3.0, 4.5, LONG)


def now() -> float:
    return asyncio.get_running_loop().time()


class Weather:
    """Of two hosts, and perhaps a TURN server. ``tell`` keeps the story, which ``complain`` shows."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.delay = self.slowest = chance.choice((0.001, 0.02, 0.1))
        self.network = VirtualNetwork(seed=seed, delay=self.delay)
        self.turn: TURNServer | None = None
        if chance.random() < 0.4:
            self.turn = self.network.turn_server("turn.example", "192.0.2.4")
        self.hosts: list[VirtualHost] = []
        for name, net in (("alice", "198.51.100"), ("bob", "203.0.113")):
            host = self.network.host(name, f"{net}.1")
            for index in range(chance.choice((0, 0, 1, 2))):
                host.add_interface(f"wlan{index}", f"{net}.{index + 2}")
            self.hosts.append(host)
        self.no_udp = False
        self.moved = False
        """Whether an address is another one now."""
        self.was_cut_for_long = False
        """Whether a search for a path, or for a relay, may have ended in vain."""
        self.was_bad = False
        """Whether anything has been lost so far that was not to be lost."""
        self.calm_since: float | None = None
        self._dead: set[tuple[str, str]] = set()
        self._log: list[str] = []
        self.network.tap(self._tap)

    def tell(self, what: str) -> None:
        self._log.append(f"{now() - START:9.3f} {what}")

    def complain(self, *why: str) -> None:
        raise AssertionError("\n".join([*why, *self._log[-60:]]))

    async def wait(self, *seconds: float) -> None:
        await asyncio.sleep(self.chance.choice(seconds))

    def _tap(self, packet: Packet) -> Any:
        return DROP if self.no_udp or (packet.source[0], packet.destination[0]) in self._dead else None

    def _get_bad(self) -> None:
        self.was_bad = True
        self.calm_since = None

    @property
    def _links(self) -> list[tuple[VirtualHost, VirtualHost]]:
        alice, bob = self.hosts
        if self.turn is None:
            return [(alice, bob)]
        return [(alice, bob), (alice, self.turn.host), (bob, self.turn.host)]

    # What happens

    async def cut(self) -> None:
        """Some links or all."""
        self._get_bad()
        seconds, one_way = self.chance.choice(OUTAGES), self.chance.random() < 0.3
        chosen = self._links if self.chance.random() < 0.6 else [self.chance.choice(self._links)]
        self.tell(f"cut for {seconds}: {[(a.name, b.name) for a, b in chosen]}, {one_way=}")
        for link in chosen:
            self.network.cut_for(seconds, *link, one_way=one_way)
        self.was_cut_for_long |= seconds == LONG
        await self.wait(0, seconds / 2, seconds)

    async def cut_path(self, path: tuple[str, str] | None) -> None:
        """The one in use, between two addresses, whatever others there are."""
        if path is None or self.no_udp:
            return
        self._get_bad()
        seconds = self.chance.choice(OUTAGES)
        ways = {path, path[::-1]} if self.chance.random() < 0.6 else {path}
        self.tell(f"cut for {seconds}: {ways}")
        self._dead |= ways
        asyncio.get_running_loop().call_later(seconds, self._dead.difference_update, ways)
        self.was_cut_for_long |= seconds == LONG
        await self.wait(0, seconds / 2)

    async def lose(self) -> None:
        self._get_bad()
        loss = self.chance.choice((0.05, 0.2, 0.4))
        self.tell(f"loses {loss}")
        await self._for_a_while(loss=loss)
        for link in self._links:
            self.network.set_path(*link, loss=0.0)

    async def slow_down(self) -> None:
        """No bad weather: what is late is not lost."""
        delay = self.chance.choice((0.2, 0.4))
        self.slowest = max(self.slowest, delay)
        self.tell(f"takes {delay}")
        await self._for_a_while(delay=delay)
        for link in self._links:
            self.network.set_path(*link, delay=self.delay)

    async def _for_a_while(self, **conditions: float) -> None:
        for link in self._links:
            self.network.set_path(*link, **conditions)
        await self.wait(0.5, 3, 8)

    async def move(self) -> None:
        """An address goes, and another one comes, or the other way round."""
        host = self.chance.choice(self.hosts)
        last = [one for one in host.interfaces() if one.name != "lo"][-1]
        if not last.addresses:
            return
        self._get_bad()
        self.moved = True
        [old] = last.addresses
        net = old.rpartition(".")[0]
        new = next(one for n in range(10, 250) if (one := f"{net}.{n}") not in self.network.internet.nodes)
        comes_first = self.chance.random() < 0.5
        self.tell(f"{host.name} moves from {old} to {new}")
        if comes_first:
            host.add_address(last.name, new)
            await asyncio.sleep(1)
        host.remove_address(last.name, old)
        if not comes_first:
            await self.wait(0, 2)
            host.add_address(last.name, new)
        await asyncio.sleep(1)

    async def clear_up(self) -> None:
        """Until everything that is cut is whole again."""
        links = [way for link in self._links for way in (link, link[::-1])]
        while self._dead or any(self.network.link(*way).is_cut for way in links):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        self.tell("all is well")


class Count:
    """Numbers that go from one end to the other: ``send`` takes the next one."""

    def __init__(self, name: str, send: Callable[[int], object]) -> None:
        self.name = name
        self._send = send
        self._sent: list[float] = []
        self._arrived: dict[int, float] = {}
        self._checked = 0
        self.order: list[int] = []
        """Numbers as they came, with those that came twice."""

    @property
    def sent(self) -> int:
        return len(self._sent)

    def go_on(self) -> None:
        number = len(self._sent)
        self._sent.append(now())
        self._send(number)

    def heard(self, data: bytes | str) -> None:
        number = int(data)
        self.order.append(number)
        self._arrived.setdefault(number, now())

    def check(self, weather: Weather, patience: float) -> None:
        """Of what was sent in good weather nothing is lost, and no pause was longer than ``patience``."""
        until = now() - 2 * weather.slowest - patience
        since, first = weather.calm_since, self._checked
        while self._checked < len(self._sent) and self._sent[self._checked] < until:
            self._checked += 1
        if since is None:
            return
        numbers = [number for number in range(first, self._checked) if self._sent[number] >= since]
        lost = [(number, round(self._sent[number] - START, 3)) for number in numbers if number not in self._arrived]
        if lost:
            weather.complain(f"{self.name}: {len(lost)} are lost: {lost[:10]}")
        times = sorted(self._arrived[number] for number in numbers)
        for before, after in itertools.pairwise(times):
            if after - before > patience:
                weather.complain(f"{self.name}: nothing came from {before - START:.3f} to {after - START:.3f}")
