"""What the lab is built of does what it says: the NATs of RFC 4787, firewalls and cables, seen with plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import pytest

from .lab import HAS_IPV6, Lab, Router
from .namespaces import sweep
from .nat import NAT, Firewall, NATKind
from .remote import ROOT, Remote

pytestmark = [pytest.mark.netns, pytest.mark.realtime, pytest.mark.needs("netns")]

Address = tuple[str, int]

# For what must not come, and for what must: no machine is so busy that it takes so long.
SILENCE = 0.4
PATIENCE = 50.0
# Of mappings, where they end: a busy machine must not be late to use them.
TIMEOUT = 5
ONE, ONE_AGAIN, OTHER = SERVERS = ("192.0.2.1", 4001), ("192.0.2.1", 4002), ("192.0.2.2", 4001)


@dataclass
class Setting:
    router: Router
    inside: Remote
    neighbour: Remote
    server: Remote

    async def outside_of(self, socket: Address, server: Address, *, patience: float = PATIENCE) -> Address | None:
        """The address that a server sees of a socket inside, or None when it has seen nothing for so long."""
        await self.inside.call("send", socket=socket, to=server, text="who am I")
        seen = await self.server.call("receive", socket=server, timeout=patience)
        return seen and tuple(seen[1])

    async def comes_in(self, server: Address, outside: Address, socket: Address, *, patience: float = PATIENCE) -> bool:
        await self.server.call("send", socket=server, to=outside, text=f"from {server}")
        return await self.inside.call("receive", socket=socket, timeout=patience) is not None


@contextlib.asynccontextmanager
async def setting(nat: NAT, directory: Path) -> AsyncIterator[Setting]:
    with Lab() as lab:
        router = lab.router("router", "203.0.113.1", nat)
        server = lab.public("server", "192.0.2.1", "192.0.2.2")
        async with contextlib.AsyncExitStack() as stack:
            remotes = [
                await stack.enter_async_context(Remote.start("tests.netns.sockets", namespace, directory))
                for namespace in (
                    router.host("inside", isolated=True),
                    router.host("neighbour", isolated=True),
                    server.namespace,
                )
            ]
            for address in SERVERS:
                await remotes[2].call("open", host=address[0], port=address[1])
            yield Setting(router, *remotes)


def run(nat: NAT, directory: Path, test: Callable[[Setting], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        async with setting(nat, directory) as made:
            await test(made)

    asyncio.run(main())


FILTERS = {
    # Whether another port of the same address, and another address, may come in.
    NATKind.FULL_CONE: (True, True),
    NATKind.RESTRICTED: (True, False),
    NATKind.PORT_RESTRICTED: (False, False),
    NATKind.SYMMETRIC: (False, False),
}


@pytest.mark.parametrize("kind", NATKind)
def test_mapping_and_filtering_are_those_of_the_kind(kind: NATKind, tmp_path: Path) -> None:
    async def test(lab: Setting) -> None:
        socket = await lab.inside.call("open", host="192.168.1.2")
        seen = [await lab.outside_of(socket, server) for server in SERVERS]
        assert {address[0] for address in seen if address} == {"203.0.113.1"}
        assert len(set(seen)) == (3 if kind is NATKind.SYMMETRIC else 1)
        # The mapping stays while it is used.
        assert await lab.outside_of(socket, ONE) == seen[0]

        fresh = await lab.inside.call("open", host="192.168.1.2")
        outside = await lab.outside_of(fresh, ONE)
        assert outside not in (None, *seen)
        assert await lab.comes_in(ONE, outside, fresh)
        for stranger, lets_in in zip((ONE_AGAIN, OTHER), FILTERS[kind], strict=True):
            patience = PATIENCE if lets_in else SILENCE
            assert await lab.comes_in(stranger, outside, fresh, patience=patience) == lets_in
        # Nobody knocks in vain and is then in the way: what was refused does not change the mapping.
        assert (await lab.outside_of(fresh, OTHER) == outside) == (kind is not NATKind.SYMMETRIC)

    # So many ports that two of them are the same by chance once in a blue moon.
    run(NAT(kind, ports=(2000, 59999)), tmp_path, test)


def test_full_cone_lets_strangers_in_and_answers_from_the_same_port(tmp_path: Path) -> None:
    async def test(lab: Setting) -> None:
        socket = await lab.inside.call("open", host="192.168.1.2")
        outside = await lab.outside_of(socket, ONE)
        assert outside is not None
        assert await lab.comes_in(OTHER, outside, socket)
        assert await lab.outside_of(socket, OTHER) == outside

    run(NAT(NATKind.FULL_CONE), tmp_path, test)


def test_packets_that_meet_in_a_router_keep_their_ports(tmp_path: Path) -> None:
    """Both ends of a new path send at once, as ICE's checks do: each is seen from the port that the server saw."""

    async def main() -> None:
        with Lab() as lab:
            async with contextlib.AsyncExitStack() as stack:
                homes = [lab.router(f"home-{i}", f"203.0.113.{i}", NATKind.FULL_CONE) for i in (1, 2)]
                places = [*(home.host("host" + home.address) for home in homes), lab.public("server", ONE[0]).namespace]
                *ends, server = [
                    await stack.enter_async_context(Remote.start("tests.netns.sockets", place, tmp_path))
                    for place in places
                ]
                await server.call("open", host=ONE[0], port=ONE[1])
                for _ in range(100):
                    sockets, outside = [], []
                    for end in ends:
                        sockets.append(await end.call("open", host="192.168.1.2"))
                        await end.call("send", socket=sockets[-1], to=ONE, text="who am I")
                        outside.append((await server.call("receive", socket=ONE, timeout=PATIENCE))[1])
                    for end, socket, to in zip(ends, sockets, outside[::-1], strict=True):
                        end.post("send", socket=socket, to=to, text="hello")
                    met = [end.call("receive", socket=sockets[i], timeout=PATIENCE) for i, end in enumerate(ends)]
                    assert await asyncio.gather(*met) == [["hello", outside[1]], ["hello", outside[0]]]

    asyncio.run(main())


@pytest.mark.parametrize("hairpin", [True, False])
def test_hairpinning(hairpin: bool, tmp_path: Path) -> None:
    async def test(lab: Setting) -> None:
        socket = await lab.inside.call("open", host="192.168.1.2")
        neighbour = await lab.neighbour.call("open", host="192.168.1.3")
        outside = await lab.outside_of(socket, ONE)
        await lab.neighbour.call("send", socket=neighbour, to=ONE, text="who am I")
        neighbours_outside = (await lab.server.call("receive", socket=ONE, timeout=PATIENCE))[1]
        # Isolated from each other, they have no other way than the router.
        await lab.neighbour.call("send", socket=neighbour, to=socket, text="directly")
        assert await lab.inside.call("receive", socket=socket, timeout=SILENCE) is None
        await lab.neighbour.call("send", socket=neighbour, to=outside, text="by the router")
        received = await lab.inside.call("receive", socket=socket, timeout=PATIENCE if hairpin else SILENCE)
        assert received == (["by the router", neighbours_outside] if hairpin else None)
        if hairpin:
            await lab.inside.call("send", socket=socket, to=neighbours_outside, text="and back")
            assert await lab.neighbour.call("receive", socket=neighbour, timeout=PATIENCE) == [
                "and back",
                list(outside),
            ]

    run(NAT(NATKind.FULL_CONE, hairpin=hairpin), tmp_path, test)


def test_mappings_end(tmp_path: Path) -> None:
    """When nothing has passed for the time, or when the router restarts: all kinds at once."""

    async def test(lab: Setting, kind: NATKind) -> None:
        socket = await lab.inside.call("open", host="192.168.1.2")
        first = await lab.outside_of(socket, ONE)
        assert first is not None
        for _ in range(3):
            await asyncio.sleep(0.4 * TIMEOUT)
            assert await lab.outside_of(socket, ONE) == first, "it was in use"
        await asyncio.sleep(TIMEOUT + 1)
        assert not await lab.comes_in(ONE, first, socket, patience=SILENCE)
        second = await lab.outside_of(socket, ONE)
        assert second not in (None, first)

        lab.router.rebind(NAT(kind, ports=(30000, 39999)))
        assert not await lab.comes_in(ONE, second, socket, patience=SILENCE)
        third = await lab.outside_of(socket, ONE)
        assert third is not None
        assert 30000 <= third[1] <= 39999

    async def one(kind: NATKind) -> None:
        directory = tmp_path / kind.name
        directory.mkdir()
        async with setting(NAT(kind, timeout=TIMEOUT), directory) as lab:
            await test(lab, kind)

    async def main() -> None:
        await asyncio.gather(*(one(kind) for kind in NATKind))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("firewall", "passing"),
    [
        (Firewall.OPEN, {"udp", "tcp 443", "tcp 3478"}),
        (Firewall.NO_UDP, {"tcp 443", "tcp 3478"}),
        (Firewall.ONLY_TCP_443, {"tcp 443"}),
        (Firewall.CLOSED, set()),
    ],
)
def test_firewalls(firewall: Firewall, passing: set[str], tmp_path: Path) -> None:
    async def test(lab: Setting) -> None:
        socket = await lab.inside.call("open", host="192.168.1.2")
        assert await lab.outside_of(socket, ONE)
        lab.router.set_firewall(firewall)
        patience = {what: PATIENCE if what in passing else SILENCE for what in ("udp", "tcp 443", "tcp 3478")}
        passed = {"udp"} if await lab.outside_of(socket, ONE, patience=patience["udp"]) else set()
        for port in (443, 3478):
            await lab.server.call("listen", host="192.0.2.1", port=port)
            timeout = patience[f"tcp {port}"]
            if await lab.inside.call("connects", host="192.0.2.1", port=port, timeout=timeout):
                passed.add(f"tcp {port}")
        assert passed == passing
        # What was mapped is still so when the firewall opens again.
        lab.router.set_firewall(Firewall.OPEN)
        assert await lab.outside_of(socket, ONE)

    run(NAT(NATKind.PORT_RESTRICTED), tmp_path, test)


def test_a_cable_that_is_pulled_and_plugged_in_again(tmp_path: Path) -> None:
    async def test(lab: Setting) -> None:
        socket = await lab.inside.call("open", host="192.168.1.2")
        outside = await lab.outside_of(socket, ONE)
        assert outside is not None
        lab.router.cable.pull()
        assert not await lab.outside_of(socket, ONE, patience=SILENCE)
        lab.router.cable.plug_in()
        # The kernel may take a second to notice, and what is sent in the meantime is lost.
        async with asyncio.timeout(PATIENCE):
            while (seen := await lab.outside_of(socket, ONE, patience=SILENCE)) is None:
                pass
        assert seen == outside

    run(NAT(NATKind.PORT_RESTRICTED), tmp_path, test)


@pytest.mark.skipif(not HAS_IPV6, reason="not applicable: this kernel has no IPv6")
def test_ipv6_comes_in_only_when_it_is_asked_for(tmp_path: Path) -> None:
    async def main() -> None:
        with Lab() as lab:
            home = lab.router("home", "203.0.113.1", NATKind.SYMMETRIC, ipv6_prefix="2001:db8:1")
            server = lab.public("server", "192.0.2.1", "2001:db8:2::1")
            async with (
                Remote.start("tests.netns.sockets", home.host("inside"), tmp_path) as inside,
                Remote.start("tests.netns.sockets", server.namespace, tmp_path) as outside,
            ):
                here = await inside.call("open", host="2001:db8:1::2")
                there = await outside.call("open", host="2001:db8:2::1")
                await outside.call("send", socket=there, to=here, text="unasked")
                assert await inside.call("receive", socket=here, timeout=SILENCE) is None
                await inside.call("send", socket=here, to=there, text="ask")
                assert await outside.call("receive", socket=there, timeout=PATIENCE) == ["ask", here]
                await outside.call("send", socket=there, to=here, text="answer")
                assert await inside.call("receive", socket=here, timeout=PATIENCE) == ["answer", there]

    asyncio.run(main())


def test_what_a_killed_run_leaves_is_swept_up() -> None:
    """A process makes a lab with something running in it, and is killed."""
    script = """
import subprocess, sys, time
from tests.netns.lab import Lab
lab = Lab()
with lab:
    inside = lab.public("left", "192.0.2.1").namespace
    subprocess.Popen(inside.command("sleep", "60"))
    print(inside.name, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None
    with process.stdout:
        name = process.stdout.readline().strip()
    assert name
    while not (pids := _output("ip", "netns", "pids", name).split()):
        time.sleep(0.01)  # it is on its way in
    assert len(pids) == 1
    process.kill()
    process.wait()
    sweep()
    assert name not in _output("ip", "netns", "list")
    while "sleep" in _command_line(pids[0]):
        time.sleep(0.01)  # it has been killed, and needs a moment to die


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _command_line(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_text()
    except FileNotFoundError:
        return ""
