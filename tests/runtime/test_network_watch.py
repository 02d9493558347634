"""Changes of the interfaces, on virtual time: looks, hints, and how many of them."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from tests.support.real_loop import run_real
from tests.support.virtual_loop import run
from webrtc_py.runtime import network_watch
from webrtc_py.runtime.network import Interface
from webrtc_py.runtime.network_watch import NetworkWatch

ETH0 = Interface("eth0", ("192.0.2.1",))
WLAN0 = Interface("wlan0", ("192.0.2.2",))


class System:
    """Interfaces that a test changes, and how often they were looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interfaces = [ETH0]
        self.looks = 0
        self.error: OSError | None = None
        monkeypatch.setattr(network_watch, "system_interfaces", self._look)
        monkeypatch.setattr(network_watch, "_open_netlink", lambda: None)

    def _look(self) -> list[Interface]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return list(self.interfaces)


@pytest.mark.row("ICE-52")
def test_a_poll_tells_once_of_each_change(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start, told = loop.time(), list[float]()
        watch = NetworkWatch.add(lambda: told.append(loop.time() - start), 2.0)
        await asyncio.sleep(9)
        assert told == []
        system.interfaces = [ETH0, WLAN0]
        await asyncio.sleep(10)
        system.interfaces = [WLAN0]
        await asyncio.sleep(10)
        assert told == pytest.approx([10, 20])
        assert system.looks <= 16
        watch.close()
        watch.close()
        await asyncio.sleep(10)
        assert system.looks <= 16

    run(main())


def test_several_share_the_looks_at_the_pace_of_the_most_curious(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)

    async def main() -> None:
        told: list[str] = []
        slow = NetworkWatch.add(lambda: told.append("slow"), 10.0)
        quick = NetworkWatch.add(lambda: told.append("quick"), 1.0)
        system.interfaces = [WLAN0]
        await asyncio.sleep(1.5)
        assert told == ["slow", "quick"]
        quick.close()
        system.interfaces = [ETH0]
        await asyncio.sleep(21)
        assert told == ["slow", "quick", "slow"]
        assert system.looks <= 6
        slow.close()

    run(main())


def test_interfaces_that_cannot_be_read_are_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)

    async def main() -> None:
        told: list[str] = []
        watch = NetworkWatch.add(lambda: told.append("changed"), 1.0)
        system.error = OSError("no more descriptors")
        await asyncio.sleep(5)
        assert told == []
        system.error = None
        system.interfaces = []
        await asyncio.sleep(1)
        assert told == ["changed"]
        watch.close()

    run(main())


def test_a_watch_may_begin_while_the_interfaces_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)

    async def main() -> None:
        told: list[str] = []
        system.error = OSError("no more descriptors")
        watch = NetworkWatch.add(lambda: told.append("changed"), 1.0)
        await asyncio.sleep(5)
        assert told == []
        system.error = None
        await asyncio.sleep(1)
        assert told == ["changed"]
        watch.close()

    run(main())


@pytest.mark.row("ICE-52")
def test_a_storm_of_hints_costs_a_look_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)
    hinting, hinted = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    hinted.setblocking(False)
    hinting.setblocking(False)
    monkeypatch.setattr(network_watch, "_open_netlink", lambda: hinted)
    monkeypatch.setattr(network_watch, "_SETTLING_TIME", 0.05)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        watch = NetworkWatch.add(told.set, 0.001)
        start = loop.time()
        while loop.time() < start + 0.3:
            hinting.send(b"changed")
            await asyncio.sleep(0)
        assert not told.is_set()
        assert system.looks <= 8
        system.interfaces = [WLAN0]
        hinting.send(b"changed")
        await told.wait()
        watch.close()
        assert hinted.fileno() < 0

    run_real(main())
    hinting.close()


def test_a_system_without_netlink_is_polled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> socket.socket:
        raise PermissionError("no netlink in this sandbox")

    monkeypatch.setattr(socket, "socket", refuse)
    assert network_watch._open_netlink() is None
    monkeypatch.setattr(sys, "platform", "darwin")
    assert network_watch._open_netlink() is None
